//! Moments, calendar periods and RFC 3339. Time is always an argument: the core reads no clock.

use alloc::format;
use alloc::string::String;

use ::time::format_description::well_known::Rfc3339;
use ::time::{Date, Month, OffsetDateTime};

use crate::money::Period;

/// One moment on the host's two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since the Unix epoch. May step, also backward. Calendar periods and expiry use it.
    pub wall: u64,
    /// Nanoseconds of a clock that all VMs of the process share and that does not step back; the wall clock if the
    /// host has none. Sliding windows use it.
    pub monotonic: u64,
}

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a UTC day (POSIX time: no leap seconds).
pub const DAY: u64 = 86_400 * SECOND;

/// A moment of the wall clock: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Now {
    /// Returns the wall clock as a [`Timestamp`] (rounded down).
    pub fn timestamp(self) -> Timestamp {
        Timestamp::at(self.wall)
    }
}

/// A moment that is read only if it is needed: reading a host's clock costs a call.
pub trait Clock: Copy {
    /// Reads the moment.
    fn timestamp(&self) -> Timestamp;
}

impl Clock for Timestamp {
    fn timestamp(&self) -> Timestamp {
        *self
    }
}

impl<F: Fn() -> Timestamp + Copy> Clock for F {
    fn timestamp(&self) -> Timestamp {
        self()
    }
}

impl Timestamp {
    /// Converts nanoseconds since the Unix epoch (rounded down).
    pub fn at(wall: u64) -> Self {
        Timestamp(wall / 1_000_000)
    }
}

/// The Julian day number of 1970-01-01.
const EPOCH: i32 = 2_440_588;

/// The UTC date of a day since the Unix epoch; the last one in the year 9999 if it is later.
fn date(days: u64) -> Date {
    let julian_day = i32::try_from(days).ok().and_then(|days| days.checked_add(EPOCH));
    julian_day.and_then(|day| Date::from_julian_day(day).ok()).unwrap_or(Date::MAX)
}

/// Days since the Unix epoch of the first day of a month, counted from January of year 0: 0 before 1970, `u64::MAX` after
/// the year 9999.
fn first_of_month(month: u64) -> u64 {
    let first = i32::try_from(month / 12).ok().zip(u8::try_from(month % 12).ok());
    let first = first
        .and_then(|(year, month)| Date::from_calendar_date(year, Month::January.nth_next(month), 1).ok());
    first.map_or(u64::MAX, |first| u64::try_from(first.to_julian_day().saturating_sub(EPOCH)).unwrap_or(0))
}

/// The number of the period that contains a moment of the wall clock (ns); it grows by one at each boundary.
pub fn period_index(period: Period, wall: u64) -> u64 {
    let days = wall / DAY;
    match period {
        Period::Hour => wall / (3_600 * SECOND),
        Period::Day => days,
        // 1970-01-01 was a Thursday: three days into a week that began on Monday.
        Period::Week => (days + 3) / 7,
        Period::Month => {
            let date = date(days);
            u64::from(date.year().unsigned_abs()) * 12 + (u64::from(u8::from(date.month())) - 1)
        }
        Period::Lifetime => 0,
    }
}

/// The end of a period (ns of the wall clock, exclusive); `None`: never.
pub fn period_end(period: Period, index: u64) -> Option<u64> {
    let next = index.saturating_add(1);
    let days = match period {
        Period::Hour => return Some(next.saturating_mul(3_600 * SECOND)),
        Period::Day => next,
        Period::Week => next.saturating_mul(7).saturating_sub(3),
        Period::Month => first_of_month(next),
        Period::Lifetime => return None,
    };
    Some(days.saturating_mul(DAY))
}

/// The last moment that RFC 3339 can express in UTC: the end of the year 9999.
const LAST: Timestamp = Timestamp(253_402_300_799_999);

/// Formats a moment as RFC 3339 in UTC, with three digits of milliseconds if there are any. A moment after the year 9999
/// is the end of that year. Written here because `time` formats only with `std`, and drops trailing zeros.
///
/// ```
/// use tollgate_core::time::{Timestamp, rfc3339};
/// assert_eq!(rfc3339(Timestamp(1_795_482_123_500)), "2026-11-24T01:02:03.500Z");
/// ```
pub fn rfc3339(moment: Timestamp) -> String {
    let millis = moment.min(LAST).0;
    let date = date(millis / 86_400_000);
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute) = (millis / 3_600_000 % 24, millis / 60_000 % 60);
    let second = millis / 1_000 % 60;
    let fraction = match millis % 1_000 {
        0 => String::new(),
        millis => format!(".{millis:03}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Parses an RFC 3339 moment. A leap second at the end of a month is the last millisecond before it. `None`: another
/// text, or a moment before 1970 or after the year 9999 in UTC.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    // `time` accepts any separator.
    if !matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let millis = u64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()?;
    Some(Timestamp(millis)).filter(|moment| *moment <= LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_contiguous() {
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
    fn rfc3339_moments_are_parsed() {
        let table = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-24T01:02:03.5Z", Some(1_795_482_123_500)),
            ("2026-11-24t03:02:03.5004+02:00", Some(1_795_482_123_500)),
            ("2024-02-29T00:00:00-00:30", Some(1_709_166_600_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-24T24:00:00Z", None),
            ("2026-11-24", None),
            ("2026-11-24T01:02:03", None),
            ("2026-11-24T01:02:03.Z", None),
            ("2026-11-24T01:02:03+0200", None),
            ("+026-11-24T01:02:03Z", None),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("9999-12-31T23:59:60Z", Some(253_402_300_799_999)),
            ("9999-12-31T23:59:59-00:01", None),
            ("2026-11-24T12:00:60Z", None),
            ("2016-12-31T23:59:60Z", Some(1_483_228_799_999)),
            ("1969-12-31T23:30:00-01:00", Some(1_800_000)),
            ("1969-12-31T23:30:00Z", None),
        ];
        for (text, millis) in table {
            assert_eq!(parse_rfc3339(text), millis.map(Timestamp), "{text}");
        }
    }

    #[test]
    fn formatted_moments_parse_to_themselves() {
        for millis in (0..253_402_300_800_000_u64).step_by(86_399_999 * 17) {
            let text = rfc3339(Timestamp(millis));
            assert_eq!(parse_rfc3339(&text), Some(Timestamp(millis)), "{text}");
        }
        assert_eq!(rfc3339(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999Z");
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
