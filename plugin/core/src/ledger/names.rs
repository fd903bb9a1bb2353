//! The names of the ledger's records.

use alloc::string::ToString;
use core::ops::RangeInclusive;

use super::Unit;
use crate::counters::RecordKey;

/// The number of lists of teams. A tick of a VM walks through a part of them.
pub(super) const LISTS: u64 = 8;

/// The owner of a sheet within a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject<'a> {
    /// The team itself, by target.
    Team,
    /// The instance of one of its keys.
    Key(&'a str),
    /// The instance of a user, for the calls of the user's keys in the team.
    Member(&'a str),
}

impl Subject<'_> {
    /// Returns the unit of the sheets from which periods of a unit are read: days of keys and members also stand in for
    /// their months. `None`: they have no hours.
    pub(super) fn stored(self, unit: Unit) -> Option<Unit> {
        match (self, unit) {
            (Subject::Team, unit) => Some(unit),
            (Subject::Key(_) | Subject::Member(_), Unit::Day | Unit::Month) => Some(Unit::Day),
            (Subject::Key(_) | Subject::Member(_), Unit::Hour) => None,
        }
    }

    /// Returns the number of sheets that a reading of these periods reads.
    pub fn sheets(self, unit: Unit, periods: &RangeInclusive<u64>) -> usize {
        let range = self.stored(unit).map(|stored| stored.sheet_range(unit, periods));
        range.map_or(0, |range| {
            usize::try_from(range.end().saturating_sub(*range.start()))
                .unwrap_or(usize::MAX)
                .saturating_add(1)
        })
    }
}

/// The names of records, with the prefix prepared.
#[derive(Clone, Debug)]
pub struct LedgerNames {
    teams: RecordKey,
    keys: RecordKey,
    members: RecordKey,
    lists: RecordKey,
    /// The first moment that is counted.
    pub(super) since: RecordKey,
    /// The turn of one VM of the process to post.
    pub lease: RecordKey,
}

impl LedgerNames {
    /// Names below this prefix.
    pub fn new(prefix: &str) -> Self {
        let name = |last: &str| RecordKey::new(prefix, &["usage", last]);
        LedgerNames {
            teams: name("team"),
            keys: name("key"),
            members: name("member"),
            lists: name("teams"),
            since: name("since"),
            lease: name("lease"),
        }
    }

    pub(super) fn inbox(&self, team: &str) -> RecordKey {
        self.teams.below(&[team, "inbox"])
    }

    /// The sheet of this number.
    pub(super) fn sheet(&self, team: &str, subject: Subject<'_>, unit: Unit, sheet: u64) -> RecordKey {
        let slot = (sheet % unit.sheets()).to_string();
        let units = match unit {
            Unit::Hour => "hours",
            Unit::Day => "days",
            Unit::Month => "months",
        };
        match subject {
            Subject::Team => self.teams.below(&[team, units, &slot]),
            Subject::Key(key) => self.keys.below(&[team, key, &slot]),
            Subject::Member(user) => self.members.below(&[team, user, &slot]),
        }
    }

    pub(super) fn list(&self, list: u64) -> RecordKey {
        self.lists.below(&[&list.to_string()])
    }
}
