//! Usage that is counted whether or not a limit is set: by team, key, user, target and time.
//!
//! A call is counted once, when it has ended, by one compare-and-swap of its team's *inbox*. From there it is *posted* to
//! *sheets*, which keep the past and are what the management API shows:
//!
//! ```text
//! usage/team/T/inbox        sums by hour, key, user and target since the last posting
//! usage/team/T/hours/S      sums by hour and target: a sheet for each day, of which the last 3 are kept
//! usage/team/T/days/S       sums by day and target: a sheet for each month, the last 4
//! usage/team/T/months/0     sums by month and target: one sheet, the last 13 months
//! usage/key/T/K/S           sums by day of a key in its team: a sheet for each month, the last 4
//! usage/member/T/U/S        sums by day of a user in a team: a sheet for each month, the last 4
//! usage/teams/S             the names of all teams with an inbox
//! usage/since               the first moment that is counted
//! ```
//!
//! `S` is the number of a sheet modulo the number of those that are kept, so that names are used again: a host never removes
//! a record. T, K and U are names of instances ([`crate::policy::instance`]), so that an id that is used again inherits
//! nothing.
//!
//! # Posting
//!
//! A VM can trap between any two host calls, and two VMs can post at once. A posting therefore has a number and three steps,
//! which any VM may repeat:
//!
//! 1. the inbox *closes* its sums as the posting of number n, larger than all before;
//! 2. each sheet takes the sums of n, unless the number of its last posting is n or larger;
//! 3. the inbox drops the sums of n.
//!
//! A sheet belongs to one inbox, so that the one number decides: see `tests/ledger` for every interleaving.

mod inbox;
mod names;
mod posting;
mod read;
mod recorder;
mod rows;
mod sheet;

pub use names::{LedgerNames, Subject};
pub use posting::Poster;
pub use read::{PeriodSum, TeamReader, consistent, since};
pub use recorder::{CROWDED, Recorder, begin};

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::ops::RangeInclusive;

use crate::money::{Period, Pico};
use crate::time::{DAY, SECOND, period_end, period_index};

/// Nanoseconds in an hour.
const HOUR: u64 = 3_600 * SECOND;

/// Sums of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amounts {
    /// The number of forwarded requests.
    pub requests: u64,
    /// The number of refused requests.
    pub refused: u64,
    /// Input tokens, cached ones included.
    pub input: u64,
    /// Input tokens that a cache served.
    pub cached_input: u64,
    /// Output tokens.
    pub output: u64,
    /// The cost.
    pub cost: Pico,
    /// The part of the cost that is estimated, since the provider did not report the usage.
    pub estimated: Pico,
}

impl Amounts {
    /// Adds other sums, saturating.
    pub fn add(&mut self, other: &Amounts) {
        let Amounts { requests, refused, input, cached_input, output, cost, estimated } = self;
        let counts = [
            (requests, other.requests),
            (refused, other.refused),
            (input, other.input),
            (cached_input, other.cached_input),
            (output, other.output),
        ];
        for (sum, more) in counts {
            *sum = sum.saturating_add(more);
        }
        *cost = cost.plus(other.cost);
        *estimated = estimated.plus(other.estimated);
    }
}

/// A call that has ended, to be counted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedCall {
    /// The instance of the key's team.
    pub team: Box<str>,
    /// The instance of the key.
    pub key: Box<str>,
    /// The instance of the key's owner; empty if that is not a user.
    pub user: Box<str>,
    /// The target, if the catalogue has it.
    pub target: Option<Rc<str>>,
    /// The time of the decision about it (ns of the wall clock): a call counts in the hour in which its budget was charged.
    pub wall: u64,
    /// The sums of this one call.
    pub amounts: Amounts,
}

/// The length of the periods that sums are kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Full hours, UTC.
    Hour,
    /// UTC days.
    Day,
    /// Calendar months, UTC.
    Month,
}

impl Unit {
    /// All units.
    pub const ALL: [Unit; 3] = [Unit::Hour, Unit::Day, Unit::Month];

    /// Returns the name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Hour => "hour",
            Unit::Day => "day",
            Unit::Month => "month",
        }
    }

    /// Returns the number of periods that are kept at least, the present one included.
    pub fn kept(self) -> u64 {
        match self {
            Unit::Hour => 48,
            Unit::Day => 62,
            Unit::Month => 13,
        }
    }

    fn period(self) -> Period {
        match self {
            Unit::Hour => Period::Hour,
            Unit::Day => Period::Day,
            Unit::Month => Period::Month,
        }
    }

    /// Returns the number of the period that contains a moment of the wall clock (ns).
    pub fn index(self, wall: u64) -> u64 {
        period_index(self.period(), wall)
    }

    /// Returns the first moment of a period (ns of the wall clock).
    pub fn start(self, index: u64) -> u64 {
        index.checked_sub(1).and_then(|before| period_end(self.period(), before)).unwrap_or(0)
    }

    /// Returns the number of the sheet that holds a moment.
    fn sheet(self, wall: u64) -> u64 {
        match self {
            Unit::Hour => wall / DAY,
            Unit::Day => Unit::Month.index(wall),
            Unit::Month => 0,
        }
    }

    /// Returns the sheets of this unit that hold periods of another one, without those that are no longer kept at the end of
    /// the range.
    fn sheet_range(self, unit: Unit, periods: &RangeInclusive<u64>) -> RangeInclusive<u64> {
        let first = self.sheet(unit.start(*periods.start()));
        let last = self.sheet(unit.start(periods.end().saturating_add(1)).saturating_sub(1));
        first.max(last.saturating_add(1).saturating_sub(self.sheets()))..=last
    }

    /// Returns the number of sheets that are kept: those that [`Unit::kept`] periods can touch.
    fn sheets(self) -> u64 {
        match self {
            Unit::Hour => 3,
            Unit::Day => 4,
            Unit::Month => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_starts_where_the_one_before_ends() {
        for wall in [0, DAY - 1, DAY, 31 * DAY, 20_000 * DAY + HOUR, 20_057 * DAY - 1] {
            for unit in Unit::ALL {
                let index = unit.index(wall);
                assert!(unit.start(index) <= wall && wall < unit.start(index + 1), "{unit:?} {wall}");
            }
        }
    }

    #[test]
    fn the_kept_periods_lie_in_the_kept_sheets() {
        for day in 18_000..22_000 {
            for unit in Unit::ALL {
                let wall = day * DAY + 23 * HOUR;
                let oldest = unit.start(unit.index(wall) - (unit.kept() - 1));
                assert!(unit.sheet(wall) - unit.sheet(oldest) < unit.sheets(), "{unit:?} {day}");
            }
        }
    }
}
