//! Variable-length numbers: the encoding of all records of a fleet.

use alloc::vec::Vec;

/// Appends a number: seven bits a byte, lowest first; the last byte has its highest bit clear.
pub(super) fn put(bytes: &mut Vec<u8>, mut number: u128) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Appends a signed number, so that those near zero are short.
pub(super) fn put_signed(bytes: &mut Vec<u8>, number: i128) {
    put(bytes, (number << 1 ^ number >> 127) as u128);
}

/// A reader of the numbers that [`put`] wrote. After the first error every result is `None`.
#[derive(Debug)]
pub(super) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Reader(bytes)
    }

    /// Reads a number.
    pub(super) fn number(&mut self) -> Option<u128> {
        let mut number = 0_u128;
        for position in 0..19_u32 {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let part = u128::from(byte & 0x7f);
            let shifted = part << (7 * position);
            if shifted >> (7 * position) != part {
                return None;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Reads a number of at most 64 bits.
    pub(super) fn long(&mut self) -> Option<u64> {
        u64::try_from(self.number()?).ok()
    }

    /// Reads a number that [`put_signed`] wrote.
    pub(super) fn signed(&mut self) -> Option<i128> {
        let number = self.number()?;
        Some((number >> 1) as i128 ^ -((number & 1) as i128))
    }

    /// Reads a count and as many elements.
    pub(super) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        // An element has at least one byte: a count above the rest is an error, and reserves nothing.
        if count > self.0.len() {
            return None;
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(read(self)?);
        }
        Some(list)
    }

    /// Succeeds if all bytes were read.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        let unsigned = [0, 1, 127, 128, 1 << 63, u128::from(u64::MAX), u128::MAX - 1, u128::MAX];
        let signed = [0, -1, 1, 63, -64, i128::from(i64::MIN), i128::MIN, i128::MAX];
        let mut bytes = Vec::new();
        unsigned.iter().for_each(|number| put(&mut bytes, *number));
        signed.iter().for_each(|number| put_signed(&mut bytes, *number));
        let mut reader = Reader::new(&bytes);
        unsigned.iter().for_each(|number| assert_eq!(reader.number(), Some(*number)));
        signed.iter().for_each(|number| assert_eq!(reader.signed(), Some(*number)));
        assert_eq!(reader.end(), Some(()));
    }

    #[test]
    fn damaged_numbers_are_errors() {
        assert_eq!(Reader::new(&[]).number(), None);
        assert_eq!(Reader::new(&[0x80]).number(), None);
        assert_eq!(Reader::new(&[0xff; 18]).number(), None);
        let mut above = [0xff; 19];
        above[18] = 0x04;
        assert_eq!(Reader::new(&above).number(), None, "129 bits");
        assert_eq!(Reader::new(&[0xff, 1]).list(Reader::number), None, "more elements than bytes");
        assert_eq!(Reader::new(&[0]).end(), None);
    }
}
