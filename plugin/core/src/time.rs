//! Time, always as an argument: the core never asks a clock.

use crate::money::Period;

/// One moment, as the host's two clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since the Unix epoch. May step, also backward. Calendar periods and expiry use it.
    pub wall: u64,
    /// Nanoseconds of a clock that all VMs of the process share and that does not step back; where a host
    /// has none, the wall clock again. Sliding windows use it.
    pub monotonic: u64,
}

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a UTC day (POSIX time: no leap seconds).
pub const DAY: u64 = 86_400 * SECOND;

/// A point of the wall clock: milliseconds since the Unix epoch, as RFC 3339 texts are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Now {
    /// The wall clock as a [`Timestamp`] (rounded down).
    pub fn timestamp(self) -> Timestamp {
        Timestamp(self.wall / 1_000_000)
    }
}

/// Days since the Unix epoch of a date in the proleptic Gregorian calendar. `month` counts from 1.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let era = year / 400;
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
    (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).saturating_sub(719_468)
}

/// Year and month (from 1) of a day since the Unix epoch; `civil_from_days` of the same paper.
fn year_and_month(days: u64) -> (u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days - era * 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month)
}

/// The number of the period that a moment of the wall clock (ns) lies in; it grows by one at each border.
pub fn period_index(period: Period, wall: u64) -> u64 {
    let days = wall / DAY;
    match period {
        Period::Hour => wall / (3_600 * SECOND),
        Period::Day => days,
        // 1970-01-01 was a Thursday: three days into a week that began on Monday.
        Period::Week => (days + 3) / 7,
        Period::Month => {
            let (year, month) = year_and_month(days);
            year * 12 + (month - 1)
        }
        Period::Lifetime => 0,
    }
}

/// When a period ends (ns of the wall clock, exclusive); `None`: never.
pub fn period_end(period: Period, index: u64) -> Option<u64> {
    let next = index.saturating_add(1);
    let days = match period {
        Period::Hour => return Some(next.saturating_mul(3_600 * SECOND)),
        Period::Day => next,
        Period::Week => next.saturating_mul(7).saturating_sub(3),
        Period::Month => days_from_civil(next / 12, next % 12 + 1, 1),
        Period::Lifetime => return None,
    };
    Some(days.saturating_mul(DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_period_ends_where_the_next_begins() {
        for day in 0..60_000 {
            for period in [Period::Hour, Period::Day, Period::Week, Period::Month] {
                let wall = day * DAY + 7 * SECOND;
                let index = period_index(period, wall);
                let end = period_end(period, index).unwrap();
                assert!(end > wall);
                assert_eq!(period_index(period, end - 1), index, "{period:?} at day {day}");
                assert_eq!(period_index(period, end), index + 1, "{period:?} at day {day}");
            }
        }
    }

    #[test]
    fn months_and_weeks_follow_the_calendar() {
        let leap_day = 19_782 * DAY;
        assert_eq!(
            period_end(Period::Month, period_index(Period::Month, leap_day)),
            Some(leap_day + DAY),
            "2024-02-29"
        );
        let sunday = 20_000 * DAY + 5 * DAY;
        let monday = period_end(Period::Week, period_index(Period::Week, sunday)).unwrap() / DAY;
        assert_eq!((monday + 3) % 7, 0);
        assert!(monday - sunday / DAY <= 7);
    }
}
