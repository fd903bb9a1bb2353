//! Runs of characters without escapes within a string.

use crate::json::simd::{STEP, SimdStep};

/// The bytes before the first quote, backslash or control character, which represent themselves in a JSON string (RFC 8259,
/// 7). Unless `ascii` is set, the caller checks the UTF-8 encoding.
pub(super) struct Plain<'a> {
    /// The run itself.
    pub(super) run: &'a [u8],
    /// The rest of the piece; empty if the piece ends within the run.
    pub(super) rest: &'a [u8],
    /// True if no byte of the run is above 127.
    pub(super) ascii: bool,
}

impl<'a> Plain<'a> {
    #[inline]
    fn new(bytes: &'a [u8], length: usize, ascii: bool) -> Self {
        let (run, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        Self { run, rest, ascii }
    }

    /// The run as text, if it is UTF-8.
    #[inline]
    pub(super) fn text(&self) -> Option<&'a str> {
        if self.ascii {
            // SAFETY: no byte is above 127, and such bytes are UTF-8.
            return Some(unsafe { core::str::from_utf8_unchecked(self.run) });
        }
        core::str::from_utf8(self.run).ok()
    }
}

/// Splits off the run at the start of `bytes`.
#[inline(always)]
pub(super) fn split(bytes: &[u8]) -> Plain<'_> {
    let (mut rest, mut high) = (bytes, 0);
    let mut first = true;
    while let Some((step, others)) = rest.split_first_chunk() {
        let step = SimdStep::of(step);
        let special = specials(step).high_bits();
        if special != 0 {
            let before = special.trailing_zeros();
            high |= step.high_bits() & !(u32::MAX << before);
            return Plain::new(bytes, bytes.len() - rest.len() + before as usize, high == 0);
        }
        high |= step.high_bits();
        rest = others;
        // A run that does not end in its first step is likely to be long.
        if core::mem::take(&mut first) {
            let (others, among_them) = blocks(rest);
            high |= among_them;
            rest = others;
        }
    }
    let length = rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len());
    let ascii = high == 0 && rest.iter().take(length).all(u8::is_ascii);
    Plain::new(bytes, bytes.len() - rest.len() + length, ascii)
}

/// Skips blocks of four steps without special bytes. Returns the rest, and the high bits (0: all skipped bytes are ASCII).
#[inline(never)]
fn blocks(bytes: &[u8]) -> (&[u8], u32) {
    let (mut rest, mut high) = (bytes, SimdStep::of(&[0; STEP]));
    while let Some((block, others)) = rest.split_first_chunk::<{ 4 * STEP }>() {
        let (steps, _) = block.as_chunks();
        let [one, two, three, four] = steps else { break };
        let [one, two, three, four] = [one, two, three, four].map(SimdStep::of);
        let special = specials(one).or(specials(two)).or(specials(three).or(specials(four)));
        if special.high_bits() != 0 {
            break;
        }
        high = high.or(one.or(two).or(three.or(four)));
        rest = others;
    }
    (rest, high.high_bits())
}

#[inline]
fn specials(step: SimdStep) -> SimdStep {
    step.is_quote_or_control().or(step.is(b'\\'))
}

/// Skips the valid content of a string. The rest begins with the closing quote, or with bytes that need the byte-wise
/// reader: an error, or an escape or character that the end of the piece cuts.
pub(super) fn skip(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    loop {
        let plain = split(rest);
        // A character may continue in the next piece.
        if !plain.ascii && plain.text().is_none() {
            return rest;
        }
        rest = match escape(plain.rest) {
            Some(length) => plain.rest.get(length..).unwrap_or_default(),
            None => return plain.rest,
        };
    }
}

/// The length of the escape at the start of `bytes`, if it is complete and valid.
fn escape(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(2),
        [b'\\', b'u', digits @ ..] => match (unit(digits)?, digits.get(4..)?) {
            (0xd800..=0xdbff, [b'\\', b'u', low @ ..]) => matches!(unit(low)?, 0xdc00..=0xdfff).then_some(12),
            (0xd800..=0xdfff, _) => None,
            _ => Some(6),
        },
        _ => None,
    }
}

/// The value of four hexadecimal digits.
fn unit(digits: &[u8]) -> Option<u32> {
    let digits: &[u8; 4] = digits.first_chunk()?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_run_ends_before_the_first_special_byte() {
        for special in [b'"', b'\\', 0, 0x1f] {
            for before in 0..170 {
                for after in 0..20 {
                    let mut bytes = vec![b'~'; before];
                    bytes.push(special);
                    bytes.extend(vec![0xc3; after]);
                    let plain = split(&bytes);
                    assert_eq!((plain.run.len(), plain.ascii), (before, true));
                    assert_eq!(plain.rest.first(), Some(&special));
                }
            }
        }
    }

    #[test]
    fn a_high_byte_is_reported_only_within_the_run() {
        for length in 1..170 {
            for high in 0..length {
                let mut bytes = vec![b' '; length];
                bytes[high] = 0x80;
                assert!(!split(&bytes).ascii);
                bytes.insert(high, b'"');
                assert!(split(&bytes).ascii);
            }
        }
    }
}
