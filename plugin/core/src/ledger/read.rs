//! Reading sums: those of sheets, and of the inbox those that its sheets do not have yet.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::inbox::Inbox;
use super::posting::matching;
use super::rows::Rows;
use super::sheet::Sheet;
use super::{Amounts, HOUR, LedgerNames, Subject, Unit};
use crate::collections::sort::sort;
use crate::counters::{CounterStore, StoreError};

/// The number of times that a reading begins anew because a posting has ended meanwhile.
const MAX_READS: u32 = 16;

/// The sums of one period and target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeriodSum {
    /// The number of the hour, day or month.
    pub period: u64,
    /// The target; empty for calls without one, and where sums are not kept by target.
    pub target: String,
    /// The sums.
    pub amounts: Amounts,
}

/// A reader of the sums of a team and of its keys and members, all as of one moment.
#[derive(Debug)]
pub struct TeamReader<'n> {
    names: &'n LedgerNames,
    team: &'n str,
    inbox: Inbox,
}

/// Reads with `read` until no posting ends meanwhile: it returns `None` to begin anew.
///
/// # Errors
/// Those of `read`, and [`StoreError::Contention`] after 16 attempts.
pub fn consistent<'n, C: CounterStore, R>(
    store: &mut C,
    names: &'n LedgerNames,
    team: &'n str,
    mut read: impl FnMut(&mut C, &TeamReader<'n>) -> Result<Option<R>, StoreError>,
) -> Result<R, StoreError> {
    for _ in 0..MAX_READS {
        let (bytes, _) = store.read(&names.inbox(team))?;
        let mut inbox = Inbox::read(&bytes)?;
        if bytes.is_empty() {
            // A host that has lost the inbox still has the sheets.
            inbox.number = u64::MAX;
        }
        let reader = TeamReader { names, team, inbox };
        if let Some(result) = read(store, &reader)? {
            return Ok(result);
        }
    }
    Err(StoreError::Contention)
}

impl TeamReader<'_> {
    /// Returns the sums of the periods in a range, ordered by period and target. `None`: a posting has ended since the
    /// inbox was read. Keys and members have no hours, and no targets.
    ///
    /// # Errors
    /// Those of the store.
    pub fn sums<C: CounterStore>(
        &self,
        store: &mut C,
        subject: Subject<'_>,
        unit: Unit,
        periods: &RangeInclusive<u64>,
    ) -> Result<Option<Vec<PeriodSum>>, StoreError> {
        let Some(stored) = subject.stored(unit) else { return Ok(Some(Vec::new())) };
        let mut sums = Vec::new();
        let mut add = |wall: u64, target: &str, amounts: &Amounts| {
            let period = unit.index(wall);
            if periods.contains(&period) {
                sums.push(PeriodSum { period, target: target.into(), amounts: *amounts });
            }
        };
        for number in stored.sheet_range(unit, periods) {
            let name = self.names.sheet(self.team, subject, stored, number);
            let (bytes, _) = store.read(&name)?;
            let sheet = Sheet::read(&bytes)?;
            if sheet.last > self.inbox.number {
                return Ok(None);
            }
            if sheet.sheet == number {
                for (label, amounts) in sheet.rows.iter() {
                    add(stored.start(label.period), label.target, &amounts);
                }
            }
            let lacks = sheet.last < self.inbox.number;
            let closed = lacks.then_some(&self.inbox.closed);
            for (label, amounts) in closed.into_iter().chain([&self.inbox.open]).flat_map(Rows::iter) {
                let wall = label.period.saturating_mul(HOUR);
                if stored.sheet(wall) == number && matching(&label, subject) {
                    let target = if subject == Subject::Team { label.target } else { "" };
                    add(wall, target, &amounts);
                }
            }
        }
        sort(&mut sums);
        sums.dedup_by(|more, sum| {
            let same = more.period == sum.period && more.target == sum.target;
            if same {
                sum.amounts.add(&more.amounts);
            }
            same
        });
        Ok(Some(sums))
    }
}

/// Returns the first moment that is counted (ns of the wall clock); `None` before the first configuration.
///
/// # Errors
/// Those of the store.
pub fn since<C: CounterStore>(store: &mut C, names: &LedgerNames) -> Result<Option<u64>, StoreError> {
    let (bytes, _) = store.read(&names.since)?;
    Ok(bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)))
}
