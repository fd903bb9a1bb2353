//! Time, always as an argument: the core never asks a clock.

use alloc::format;
use alloc::string::String;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Now {
    /// The wall clock as a [`Timestamp`] (rounded down).
    pub fn timestamp(self) -> Timestamp {
        Timestamp::at(self.wall)
    }
}

/// A moment that may be asked for only where it matters: a host's clock costs a call.
pub trait Clock: Copy {
    /// That moment.
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
    /// This moment of the wall clock, in nanoseconds since the Unix epoch (rounded down).
    pub fn at(wall: u64) -> Self {
        Timestamp(wall / 1_000_000)
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

/// Year, month and day (from 1) of a day since the Unix epoch; `civil_from_days` of the same paper.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days - era * 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
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
            let (year, month, _) = civil_from_days(days);
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

/// The last moment that RFC 3339 can write in UTC: the end of the year 9999.
const LAST: Timestamp = Timestamp(253_402_300_799_999);

/// A moment as RFC 3339, 5.6 writes it, in UTC, with milliseconds where there are some. Later ones than the year
/// 9999 are its end.
///
/// ```
/// use tollgate_core::time::{Timestamp, rfc3339};
/// assert_eq!(rfc3339(Timestamp(1_795_482_123_500)), "2026-11-24T01:02:03.500Z");
/// ```
pub fn rfc3339(moment: Timestamp) -> String {
    let millis = moment.min(LAST).0;
    let (year, month, day) = civil_from_days(millis / 86_400_000);
    let (hour, minute) = (millis / 3_600_000 % 24, millis / 60_000 % 60);
    let second = millis / 1_000 % 60;
    let fraction = match millis % 1_000 {
        0 => String::new(),
        millis => format!(".{millis:03}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Reads a moment as RFC 3339, 5.6 writes it. A leap second is the second after it. One that is past the year 9999
/// in UTC is not read: it could not be written.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_at_checked(10)?;
    let time = time.strip_prefix(['T', 't', ' '])?;
    let number = |part: Option<&str>, digits: usize| -> Option<u64> {
        let part = part?;
        (part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next(), 4)?, number(parts.next(), 2)?, number(parts.next(), 2)?);
    let days = days_from_civil(year, month, day);
    let month_ends = days_from_civil(if month == 12 { year + 1 } else { year }, month % 12 + 1, 1);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || days >= month_ends || parts.next().is_some() {
        return None;
    }

    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(zone_at)?;
    let (clock, fraction) =
        clock.split_once('.').map_or((clock, None), |(clock, fraction)| (clock, Some(fraction)));
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (number(parts.next(), 2)?, number(parts.next(), 2)?, number(parts.next(), 2)?);
    if hour > 23 || minute > 59 || second > 60 || parts.next().is_some() {
        return None;
    }
    let millis = match fraction {
        None => 0,
        Some(digits) if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            return None;
        }
        Some(digits) => {
            digits.bytes().chain([b'0'; 3]).take(3).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
        }
    };

    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => seconds,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let (hours, minutes) = (number(Some(hours), 2)?, number(Some(minutes), 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3_600 + minutes * 60;
            if sign == "+" { seconds.checked_sub(offset)? } else { seconds + offset }
        }
    };
    Some(Timestamp(seconds * 1_000 + millis)).filter(|moment| *moment <= LAST)
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
    fn moments_are_read_as_rfc_3339_writes_them() {
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
            ("9999-12-31T23:59:60Z", None),
            ("9999-12-31T23:59:59-00:01", None),
        ];
        for (text, millis) in table {
            assert_eq!(parse_rfc3339(text), millis.map(Timestamp), "{text}");
        }
    }

    #[test]
    fn moments_are_written_as_they_are_read() {
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
