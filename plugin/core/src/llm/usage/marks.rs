//! The few bytes of an event that matter if it is not parsed. A hand-written SIMD scan: one pass finds all of them.

use crate::json::simd::{STEP, SimdStep};
use crate::llm::dialect::MemberName;

/// The bit in which `u` and `e` differ.
const LETTERS_DIFFER: u8 = b'u' ^ b'e';

/// Iterates over the positions, from the third byte on, of the last byte of each `":"`, `"u`, `\u`, `"e` and `\e`,
/// and of each CR and LF. A text shorter than two bytes and one step has no marks.
#[derive(Debug)]
pub(super) struct QuoteMarks<'a> {
    text: &'a [u8],
    /// The start of the current step.
    start: usize,
    /// The marks in it, one bit per byte; the lowest bit is the first byte.
    found: u32,
    /// The start of the next step.
    next: usize,
}

impl<'a> QuoteMarks<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { text, start: 0, found: 0, next: 2 }
    }

    /// Scans the next step. The last one overlaps the step before it.
    fn step(&mut self) -> Option<()> {
        let seen = self.next;
        self.start = seen.min(self.text.len().checked_sub(STEP)?);
        self.next = self.start + STEP;
        let [two_before, one_before, here] = [self.start.checked_sub(2)?, self.start - 1, self.start]
            .map(|start| self.text.get(start..).and_then(<[u8]>::first_chunk).map(SimdStep::of));
        let (two_before, one_before, here) = (two_before?, one_before?, here?);
        let value = here.is(b'"').and(one_before.is(b':')).and(two_before.is(b'"'));
        // One comparison finds the escape, the first letter of a usage member, and that of `error`.
        const { assert!(MemberName::INITIAL == b'u' && b'u' == b'e' | LETTERS_DIFFER) };
        let letter = here.is_either(b'e', LETTERS_DIFFER).and(one_before.is(b'"').or(one_before.is(b'\\')));
        let line = here.is(b'\n').or(here.is(b'\r'));
        self.found = value.or(letter).or(line).high_bits() & (u32::MAX << (seen - self.start));
        Some(())
    }
}

impl Iterator for QuoteMarks<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            if self.next >= self.text.len() {
                return None;
            }
            self.step()?;
        }
        let at = self.start + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_mark_is_found_once_and_in_order(text in "[\":eu\\\\\r\nx]{0,80}") {
            let text = text.as_bytes();
            let expected = (2..text.len()).filter(|at| {
                let seen = &text[..=*at];
                [b"\"u", b"\\u", b"\"e", b"\\e"].iter().any(|mark| seen.ends_with(*mark)) || seen.ends_with(b"\":\"") || matches!(text[*at], b'\r' | b'\n')
            });
            let expected: Vec<usize> = if text.len() < STEP + 2 { Vec::new() } else { expected.collect() };
            prop_assert_eq!(QuoteMarks::of(text).collect::<Vec<_>>(), expected);
        }
    }
}
