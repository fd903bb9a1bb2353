//! The plain stretches of a string.

use crate::json::step::Step;

/// The start of `bytes` that stands for itself in a JSON string (RFC 8259, 7): everything before the
/// first quote, backslash or control character. Whether the encoding is UTF-8 is for the caller to
/// check, but only where `ascii` is false.
pub(super) struct Plain<'a> {
    /// The stretch itself.
    pub(super) run: &'a [u8],
    /// Whatever follows it; empty when the piece ended first.
    pub(super) rest: &'a [u8],
    /// No byte of the stretch is above 127.
    pub(super) ascii: bool,
}

impl<'a> Plain<'a> {
    #[inline]
    fn new(bytes: &'a [u8], length: usize, ascii: bool) -> Self {
        let (run, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        Self { run, rest, ascii }
    }
}

/// Splits off the plain start of `bytes`.
#[inline]
pub(super) fn split(bytes: &[u8]) -> Plain<'_> {
    let (mut rest, mut high) = (bytes, 0);
    while let Some((step, others)) = rest.split_first_chunk() {
        let step = Step::of(step);
        let special = step.is(b'"').or(step.is(b'\\')).or(step.at_most(0x1f)).high_bits();
        if special != 0 {
            let before = special.trailing_zeros();
            high |= step.high_bits() & !(u32::MAX << before);
            return Plain::new(bytes, bytes.len() - rest.len() + before as usize, high == 0);
        }
        high |= step.high_bits();
        rest = others;
    }
    let length = rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len());
    let ascii = high == 0 && rest.iter().take(length).all(u8::is_ascii);
    Plain::new(bytes, bytes.len() - rest.len() + length, ascii)
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_ends_before_the_first_special_byte_at_every_distance() {
        for special in [b'"', b'\\', 0, 0x1f] {
            for before in 0..50 {
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
    fn a_high_byte_is_noticed_only_within_the_stretch() {
        for length in 1..50 {
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
