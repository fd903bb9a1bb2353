//! The time that a counter counts over, and the numbers of its slots on the fleet's clock.

use super::clock::{FleetNow, FleetTime};
use crate::counters::{CounterKind, SLOTS, Span, sliding};
use crate::money::Period;
use crate::time::{period_end, period_index};

/// The time that a counter counts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Term {
    /// Any span of this length: one slot is a sixtieth of it.
    Sliding(Span),
    /// The periods of the UTC calendar: one slot is one period.
    Calendar(Period),
}

impl Term {
    /// The term of a counter; `period` is that of a budget.
    pub fn of(kind: CounterKind, period: Period) -> Term {
        match kind {
            CounterKind::Budget => Term::Calendar(period),
            CounterKind::Window(window) => {
                sliding(window.span()).map_or(Term::Calendar(Period::Day), Term::Sliding)
            }
        }
    }

    /// The slot of a moment.
    pub fn slot(self, time: FleetTime) -> u64 {
        match self {
            Term::Sliding(span) => span.slots(time.0),
            Term::Calendar(period) => period_index(period, time.0),
        }
    }

    /// The slot that a spend of this moment is stamped with: the latest that it can be. Late is safe.
    pub fn stamp(self, now: FleetNow) -> u64 {
        self.slot(now.latest)
    }

    /// The oldest slot that counts. A span of a sliding window's length touches [`SLOTS`] slots, and the earliest time decides
    /// what has left it.
    pub fn oldest(self, now: FleetNow) -> u64 {
        match self {
            Term::Sliding(_) => self.slot(now.earliest).saturating_sub(SLOTS as u64 - 1),
            Term::Calendar(_) => self.slot(now.latest),
        }
    }

    /// The moment at which a slot no longer counts; `None`: never.
    pub fn leaves(self, slot: u64) -> Option<FleetTime> {
        match self {
            Term::Sliding(span) => Some(FleetTime(span.begin(slot.saturating_add(SLOTS as u64)))),
            Term::Calendar(period) => period_end(period, slot).map(FleetTime),
        }
    }

    /// The code in stored records.
    pub(super) fn code(self) -> u8 {
        match self {
            Term::Sliding(Span::Minute) => 0,
            Term::Sliding(Span::Hour) => 1,
            Term::Calendar(Period::Hour) => 2,
            Term::Calendar(Period::Day) => 3,
            Term::Calendar(Period::Week) => 4,
            Term::Calendar(Period::Month) => 5,
            Term::Calendar(Period::Lifetime) => 6,
        }
    }

    /// The term with this code.
    pub(super) fn from_code(code: u64) -> Option<Term> {
        Some(match code {
            0 => Term::Sliding(Span::Minute),
            1 => Term::Sliding(Span::Hour),
            2 => Term::Calendar(Period::Hour),
            3 => Term::Calendar(Period::Day),
            4 => Term::Calendar(Period::Week),
            5 => Term::Calendar(Period::Month),
            6 => Term::Calendar(Period::Lifetime),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Window;
    use crate::time::{DAY, SECOND};

    fn at(earliest: u64, latest: u64) -> FleetNow {
        FleetNow { earliest: FleetTime(earliest), latest: FleetTime(latest) }
    }

    #[test]
    fn a_spend_counts_in_every_span_that_contains_it() {
        let term = Term::of(CounterKind::Window(Window::Rpm), Period::Day);
        for offset in (0..1_000).map(|step| step * SECOND / 1_000) {
            let slot = term.stamp(at(0, 1_000 * SECOND + offset));
            assert!(slot >= term.oldest(at(1_060 * SECOND + offset, u64::MAX)), "{offset}");
            assert_eq!(term.leaves(slot), Some(FleetTime(1_061 * SECOND)));
            assert!(slot < term.oldest(at(1_061 * SECOND, u64::MAX)));
        }
    }

    #[test]
    fn a_spend_near_a_border_counts_in_the_later_period() {
        let term = Term::of(CounterKind::Budget, Period::Day);
        assert_eq!(term.stamp(at(3 * DAY - 1, 3 * DAY)), 3);
        assert_eq!(term.oldest(at(3 * DAY - 1, 3 * DAY)), 3);
        assert_eq!(Term::of(CounterKind::Budget, Period::Lifetime).leaves(0), None);
        assert_eq!(Term::of(CounterKind::Window(Window::Tpd), Period::Hour), Term::Calendar(Period::Day));
    }

    #[test]
    fn codes_read_back() {
        for code in 0..7 {
            assert_eq!(Term::from_code(code).map(Term::code).map(u64::from), Some(code));
        }
        assert_eq!(Term::from_code(7), None);
    }
}
