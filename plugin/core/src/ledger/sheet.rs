//! A sheet: the sums of a team, a key or a member for the periods of one day, month or year, and the number of the last
//! posting that it has taken.

use alloc::vec::Vec;

use super::inbox::{HEADER, put_header, split_header};
use super::rows::{Label, Rows};
use super::{Amounts, Unit};
use crate::counters::{StoreError, UnavailableError};

/// A sum for a sheet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Posting<'a> {
    /// The number of the sheet.
    pub(super) sheet: u64,
    /// The number of the hour, day or month.
    pub(super) period: u64,
    /// The target; empty on the sheets of keys and members.
    pub(super) target: &'a str,
    /// The sum.
    pub(super) amounts: Amounts,
}

/// A sheet. Its record is used again for a later one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sheet {
    /// The number of the last posting; it stays when the record is used for another sheet.
    pub(super) last: u64,
    /// The number of the sheet.
    pub(super) sheet: u64,
    /// The sums by period and target.
    pub(super) rows: Rows,
}

impl Sheet {
    /// Reads a record; an empty one is a new sheet.
    ///
    /// # Errors
    /// Another format.
    pub(super) fn read(bytes: &[u8]) -> Result<Sheet, StoreError> {
        if bytes.is_empty() {
            return Ok(Sheet::default());
        }
        let ([last, sheet], rows) = split_header(bytes)?;
        let rows = Rows(rows.to_vec());
        if rows.well_formed() {
            Ok(Sheet { last, sheet, rows })
        } else {
            Err(StoreError::Unavailable(UnavailableError::Format))
        }
    }

    /// Returns the record's bytes.
    pub(super) fn to_bytes(&self, fingerprint: u64) -> Vec<u8> {
        let Sheet { last, sheet, rows } = self;
        let mut bytes = Vec::with_capacity(HEADER.saturating_add(rows.0.len()));
        put_header(&mut bytes, fingerprint, [*last, *sheet]);
        bytes.extend_from_slice(&rows.0);
        bytes
    }

    /// Takes the sums of a posting, made at a moment of the wall clock. Returns false if the sheet has it already.
    pub(super) fn take(&mut self, number: u64, postings: &[Posting<'_>], unit: Unit, wall: u64) -> bool {
        if self.last >= number {
            return false;
        }
        self.last = number;
        let newest = unit.sheet(wall).saturating_add(1);
        for posting in postings {
            // The record holds a later sheet, and not one of a clock that was in the future: the sum is too old to be kept.
            if posting.sheet < self.sheet && self.sheet <= newest {
                continue;
            }
            if posting.sheet != self.sheet {
                self.sheet = posting.sheet;
                self.rows = Rows::default();
            }
            self.rows.add(
                Label { period: posting.period, target: posting.target, ..Label::default() },
                &posting.amounts,
            );
        }
        if unit == Unit::Month {
            // The one sheet of all months.
            self.rows.keep_from((unit.index(wall).saturating_add(1)).saturating_sub(unit.kept()));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment of a month, counted from January of year 0.
    fn month(number: u64) -> u64 {
        Unit::Month.start(number)
    }

    /// January 1970.
    const FIRST: u64 = 1_970 * 12;

    fn posting(sheet: u64, period: u64) -> Posting<'static> {
        Posting { sheet, period, target: "gpt", amounts: Amounts { requests: 1, ..Amounts::default() } }
    }

    fn periods(sheet: &Sheet) -> Vec<(u64, u64)> {
        sheet.rows.iter().map(|(label, amounts)| (label.period, amounts.requests)).collect()
    }

    #[test]
    fn a_posting_is_taken_once() {
        let mut sheet = Sheet::default();
        assert!(sheet.take(
            5,
            &[posting(FIRST + 2, 60), posting(FIRST + 2, 61), posting(FIRST + 2, 60)],
            Unit::Day,
            month(FIRST + 2)
        ));
        for number in [1, 4, 5] {
            assert!(!sheet.take(number, &[posting(FIRST + 2, 60)], Unit::Day, month(FIRST + 2)));
        }
        assert_eq!(periods(&sheet), [(60, 2), (61, 1)]);
        assert_eq!(Sheet::read(&sheet.to_bytes(1)), Ok(sheet));
    }

    #[test]
    fn a_record_is_used_again_and_remembers_its_last_posting() {
        let mut sheet = Sheet::default();
        assert!(sheet.take(5, &[posting(FIRST + 2, 60)], Unit::Day, month(FIRST + 2)));
        assert!(sheet.take(6, &[posting(FIRST + 6, 180)], Unit::Day, month(FIRST + 6)));
        assert!(sheet.take(7, &[posting(FIRST + 2, 60)], Unit::Day, month(FIRST + 6)), "too old");
        assert_eq!((periods(&sheet), sheet.sheet), (Vec::from([(180, 1)]), FIRST + 6));
        assert!(!sheet.take(5, &[posting(FIRST + 6, 180)], Unit::Day, month(FIRST + 6)));
    }

    #[test]
    fn a_moment_in_the_far_future_does_not_block_a_sheet() {
        let mut sheet = Sheet::default();
        assert!(sheet.take(5, &[posting(400, 9_000)], Unit::Day, month(FIRST + 400)));
        assert!(sheet.take(6, &[posting(FIRST + 2, 60)], Unit::Day, month(FIRST + 2)));
        assert_eq!(periods(&sheet), [(60, 1)]);
    }

    #[test]
    fn thirteen_months_are_kept() {
        let mut sheet = Sheet::default();
        for number in FIRST + 1..=FIRST + 30 {
            assert!(sheet.take(number, &[posting(0, number)], Unit::Month, month(number)));
        }
        assert_eq!(periods(&sheet), (FIRST + 18..=FIRST + 30).map(|number| (number, 1)).collect::<Vec<_>>());
    }
}
