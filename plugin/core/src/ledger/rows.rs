//! Packed sums, each with a label. A sum is changed in place, so that counting a call decodes one row.
//!
//! ```text
//! row     label's length:u16  sums' length:u8  label  sums
//! label   period:varint  then key, user and target, each as length:u8 and text
//! sums    requests, refused, input, cached input, output, cost, its estimated part: varints
//! ```

use alloc::vec::Vec;

use super::Amounts;
use crate::money::Pico;

/// The label of a sum. Parts that a record does not tell apart are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label<'a> {
    /// The number of the hour, day or month.
    pub(super) period: u64,
    /// The instance of the key.
    pub(super) key: &'a str,
    /// The instance of the user.
    pub(super) user: &'a str,
    /// The target.
    pub(super) target: &'a str,
}

impl<'a> Label<'a> {
    fn to_bytes(self) -> Vec<u8> {
        let Label { period, key, user, target } = self;
        let texts = [key, user, target];
        let mut bytes =
            Vec::with_capacity(texts.iter().map(|text| text.len()).sum::<usize>().saturating_add(8));
        put_number(&mut bytes, period.into());
        for text in texts {
            // Ids, with their number, and targets are shorter.
            let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
            bytes.push(length);
            bytes.extend(text.bytes().take(length.into()));
        }
        bytes
    }

    fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let period = u64::try_from(take_number(&mut bytes)?).ok()?;
        let mut text = || {
            let (length, rest) = bytes.split_first()?;
            let (text, rest) = rest.split_at_checked(usize::from(*length))?;
            bytes = rest;
            core::str::from_utf8(text).ok()
        };
        Some(Label { period, key: text()?, user: text()?, target: text()? })
    }
}

/// Packed sums by label, in the order of their first addition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows(pub(super) Vec<u8>);

const ROW_HEADER: usize = 3;

impl Rows {
    /// Adds sums to those of a label.
    pub(super) fn add(&mut self, label: Label<'_>, amounts: &Amounts) {
        let label = label.to_bytes();
        let mut at = 0;
        while let Some(row) = RawRow::read(&self.0, at) {
            if row.label == label {
                let mut sums = read_amounts(row.sums).unwrap_or_default();
                sums.add(amounts);
                let sums = amounts_to_bytes(&sums);
                let range = row.start.saturating_sub(1)..row.end;
                let length = u8::try_from(sums.len()).unwrap_or(u8::MAX);
                let label_range = row.start..row.start.saturating_add(label.len());
                debug_assert_eq!(self.0.get(label_range), Some(label.as_slice()));
                let replaced = core::iter::once(length).chain(label).chain(sums);
                drop(self.0.splice(range, replaced));
                return;
            }
            at = row.end;
        }
        let sums = amounts_to_bytes(amounts);
        self.0.extend_from_slice(&u16::try_from(label.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.0.push(u8::try_from(sums.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(&label);
        self.0.extend_from_slice(&sums);
    }

    /// Returns all sums with their labels.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Label<'_>, Amounts)> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let row = RawRow::read(&self.0, at)?;
            at = row.end;
            Some((Label::read(row.label)?, read_amounts(row.sums)?))
        })
    }

    /// Removes the rows of periods before this one.
    pub(super) fn keep_from(&mut self, period: u64) {
        let mut kept = Vec::new();
        let mut at = 0;
        while let Some(row) = RawRow::read(&self.0, at) {
            if Label::read(row.label).is_some_and(|label| label.period >= period) {
                kept.extend_from_slice(self.0.get(at..row.end).unwrap_or_default());
            }
            at = row.end;
        }
        self.0 = kept;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if there are more rows than that.
    pub(super) fn exceeds(&self, rows: usize) -> bool {
        let mut at = 0;
        for _ in 0..=rows {
            match RawRow::read(&self.0, at) {
                Some(row) => at = row.end,
                None => return false,
            }
        }
        true
    }

    /// Returns true if all bytes are rows.
    pub(super) fn well_formed(&self) -> bool {
        let mut at = 0;
        while let Some(row) = RawRow::read(&self.0, at) {
            if Label::read(row.label).is_none() || read_amounts(row.sums).is_none() {
                return false;
            }
            at = row.end;
        }
        at == self.0.len()
    }
}

/// The parts of a row.
struct RawRow<'r> {
    /// The offset of the label.
    start: usize,
    label: &'r [u8],
    sums: &'r [u8],
    /// The offset of the next row.
    end: usize,
}

impl<'r> RawRow<'r> {
    fn read(bytes: &'r [u8], at: usize) -> Option<Self> {
        let ([low, high, sums], rest) = bytes.get(at..)?.split_first_chunk::<ROW_HEADER>()?;
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (label, rest) = rest.split_at_checked(length)?;
        let (sums, _) = rest.split_at_checked(usize::from(*sums))?;
        let start = at.saturating_add(ROW_HEADER);
        Some(RawRow { start, label, sums, end: start.saturating_add(length).saturating_add(sums.len()) })
    }
}

fn amounts_to_bytes(amounts: &Amounts) -> Vec<u8> {
    let Amounts { requests, refused, input, cached_input, output, cost, estimated } = *amounts;
    let mut bytes = Vec::with_capacity(24);
    for number in [requests, refused, input, cached_input, output] {
        put_number(&mut bytes, number.into());
    }
    for Pico(number) in [cost, estimated] {
        put_number(&mut bytes, number);
    }
    bytes
}

fn read_amounts(mut bytes: &[u8]) -> Option<Amounts> {
    let mut count = || u64::try_from(take_number(&mut bytes)?).ok();
    let [requests, refused, input, cached_input, output] = [count()?, count()?, count()?, count()?, count()?];
    let [cost, estimated] = [Pico(take_number(&mut bytes)?), Pico(take_number(&mut bytes)?)];
    bytes.is_empty().then_some(Amounts { requests, refused, input, cached_input, output, cost, estimated })
}

/// Appends a number in groups of 7 bits, the lowest first (LEB128).
fn put_number(bytes: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number off the front.
fn take_number(bytes: &mut &[u8]) -> Option<u128> {
    let mut number: u128 = 0;
    for shift in (0..128).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u128::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(requests: u64, cost: u128) -> Amounts {
        Amounts {
            requests,
            refused: 1,
            input: requests << 20,
            cached_input: 3,
            output: 200,
            cost: Pico(cost),
            estimated: Pico(cost / 2),
        }
    }

    fn label(period: u64, key: &'static str) -> Label<'static> {
        Label { period, key, user: "bob", target: "gpt" }
    }

    #[test]
    fn a_label_has_one_sum_whatever_its_size() {
        let mut rows = Rows::default();
        let labels = [label(1, "a"), label(2, "a"), label(1, "b"), Label::default()];
        for (round, label) in (0..40_u32).flat_map(|round| labels.map(|label| (round, label))) {
            rows.add(label, &amounts(1 << round, 1 << (3 * round)));
            assert!(rows.well_formed());
        }
        let (count, cost) = ((1 << 40) - 1, (0..40).map(|round| 1 << (3 * round)).sum());
        let sum = Amounts {
            refused: 40,
            input: count << 20,
            cached_input: 120,
            output: 8_000,
            estimated: Pico((0..40).map(|round| (1 << (3 * round)) / 2).sum()),
            ..amounts(count, cost)
        };
        let stored: Vec<_> = rows.iter().collect();
        assert_eq!(stored, labels.map(|label| (label, sum)));
        assert!(rows.exceeds(3) && !rows.exceeds(4));
        rows.keep_from(1);
        assert_eq!(rows.iter().count(), 3);
        rows.keep_from(2);
        assert_eq!(rows.iter().map(|(label, _)| label).collect::<Vec<_>>(), [label(2, "a")]);
    }

    #[test]
    fn the_largest_sums_are_kept_and_do_not_overflow() {
        let most = Amounts {
            requests: u64::MAX,
            refused: u64::MAX,
            input: u64::MAX,
            cached_input: u64::MAX,
            output: u64::MAX,
            cost: Pico(u128::MAX),
            estimated: Pico(u128::MAX),
        };
        let mut rows = Rows::default();
        for _ in 0..2 {
            rows.add(label(u64::MAX, "a"), &most);
        }
        assert_eq!(rows.iter().collect::<Vec<_>>(), [(label(u64::MAX, "a"), most)]);
    }

    #[test]
    fn cut_rows_are_not_well_formed() {
        let mut rows = Rows::default();
        rows.add(label(1, "a"), &amounts(1, 1));
        let first = rows.0.len();
        rows.add(label(2, "a"), &amounts(1, 1));
        for end in 1..rows.0.len() {
            let cut = Rows(rows.0[..end].to_vec());
            assert_eq!(cut.well_formed(), end == first, "{end}");
            assert!(cut.iter().count() <= 1);
        }
    }
}
