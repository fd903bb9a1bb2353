//! Numbers and durations as text, without an allocation.

use core::fmt;

use smol_str::SmolStr;

use crate::time::SECOND;

/// Formats a duration as OpenAI does in `x-ratelimit-reset-*`: `250ms`, `8.64s`, `6m0s`, `23h59m59s`. Rounds up, to a
/// millisecond below a minute and to a second above.
pub fn duration(nanos: u64) -> DurationText {
    let millis = nanos.div_ceil(1_000_000);
    let seconds = nanos.div_ceil(SECOND);
    let [minutes, hours] = [seconds / 60, seconds / 3_600];
    let mut text = DurationText { bytes: [0; 16], length: 0 };
    match (millis, seconds) {
        (..1_000, _) => text.put(millis, b"ms"),
        (..60_000, _) => {
            text.put(millis / 1_000, b"");
            let mut left = millis % 1_000;
            if left > 0 {
                text.push(b".");
            }
            while left > 0 {
                text.put(left / 100, b"");
                left = left % 100 * 10;
            }
            text.push(b"s");
        }
        (_, ..3_600) => {
            text.put(minutes, b"m");
            text.put(seconds % 60, b"s");
        }
        _ => {
            text.put(hours, b"h");
            text.put(minutes % 60, b"m");
            text.put(seconds % 60, b"s");
        }
    }
    text
}

/// The text of a duration, without an allocation.
#[derive(Clone, Debug)]
pub struct DurationText {
    /// Enough for `5124095h34m34s`, the longest duration in a `u64` of nanoseconds.
    bytes: [u8; 16],
    length: usize,
}

impl DurationText {
    fn put(&mut self, count: u64, unit: &[u8]) {
        self.push(itoa::Buffer::new().format(count).as_bytes());
        self.push(unit);
    }

    fn push(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(bytes) {
            *place = *byte;
        }
        self.length = self.length.saturating_add(bytes.len());
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..self.length).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Formats a number in decimal, without an allocation.
pub(crate) fn number(number: u64) -> SmolStr {
    SmolStr::new(itoa::Buffer::new().format(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_formatted_as_openai_does() {
        let table = [
            (0, "0ms"),
            (1, "1ms"),
            (250_000_000, "250ms"),
            (1_005_000_000, "1.005s"),
            (1_110_000_000, "1.11s"),
            (8_640_000_000, "8.64s"),
            (10 * SECOND, "10s"),
            (59_999_000_000, "59.999s"),
            (59_999_900_000, "1m0s"),
            (360 * SECOND, "6m0s"),
            (86_399 * SECOND, "23h59m59s"),
            (u64::MAX, "5124095h34m34s"),
        ];
        for (nanos, text) in table {
            assert_eq!(duration(nanos).as_str(), text);
        }
    }
}
