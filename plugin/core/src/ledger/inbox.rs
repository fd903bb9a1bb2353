//! The inbox of a team: the sums since the last posting, and those of a posting that is under way.
//!
//! ```text
//! "TGu" version:u8  0:u32  fingerprint:u64  number:u64  closed rows' length:u64  closed rows  open rows
//! ```
//!
//! All integers are little-endian. A record of another format is never overwritten: a newer version may have written it.

use alloc::vec::Vec;

use super::rows::Rows;
use crate::counters::{LEDGER_MAGIC, StoreError, UnavailableError};

/// The header of all records of the ledger: magic, fingerprint and two numbers.
pub(super) const HEADER: usize = 32;

/// Writes the header.
pub(super) fn put_header(bytes: &mut Vec<u8>, fingerprint: u64, numbers: [u64; 2]) {
    let [first, second] = numbers;
    bytes.extend_from_slice(&LEDGER_MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    for number in [fingerprint, first, second] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
}

/// Splits a record into the two numbers of its header and the rest.
pub(super) fn split_header(bytes: &[u8]) -> Result<([u64; 2], &[u8]), StoreError> {
    let format = StoreError::Unavailable(UnavailableError::Format);
    let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(format)?;
    let (numbers, _) = header.as_chunks::<8>();
    match numbers {
        [magic, _, first, second] if magic.starts_with(&LEDGER_MAGIC) => {
            Ok(([first, second].map(|number| u64::from_le_bytes(*number)), rest))
        }
        _ => Err(format),
    }
}

/// The inbox of a team.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inbox {
    /// The number of the last posting that was begun.
    pub(super) number: u64,
    /// The sums of that posting until all sheets have them; then empty.
    pub(super) closed: Rows,
    /// The sums since then.
    pub(super) open: Rows,
}

impl Inbox {
    /// Reads a record; an empty one is a new inbox.
    ///
    /// # Errors
    /// Another format.
    pub(super) fn read(bytes: &[u8]) -> Result<Inbox, StoreError> {
        if bytes.is_empty() {
            return Ok(Inbox::default());
        }
        let ([number, length], rest) = split_header(bytes)?;
        let parts = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
        let (closed, open) = parts.ok_or(StoreError::Unavailable(UnavailableError::Format))?;
        let [closed, open] = [closed, open].map(|rows| Rows(rows.to_vec()));
        if closed.well_formed() && open.well_formed() {
            Ok(Inbox { number, closed, open })
        } else {
            Err(StoreError::Unavailable(UnavailableError::Format))
        }
    }

    /// Returns the record's bytes.
    pub(super) fn to_bytes(&self, fingerprint: u64) -> Vec<u8> {
        let Inbox { number, closed, open } = self;
        let mut bytes =
            Vec::with_capacity(HEADER.saturating_add(closed.0.len()).saturating_add(open.0.len()));
        put_header(&mut bytes, fingerprint, [*number, closed.0.len() as u64]);
        bytes.extend_from_slice(&closed.0);
        bytes.extend_from_slice(&open.0);
        bytes
    }

    /// Begins a posting of the open sums, if none is under way. Returns false if there is nothing to post.
    pub(super) fn close(&mut self, wall: u64) -> bool {
        if self.closed.is_empty() && !self.open.is_empty() {
            // A host that has lost the inbox but not the sheets would begin with numbers that they know: time grows faster.
            self.number = self.number.saturating_add(1).max(wall / 1_000_000);
            self.closed = core::mem::take(&mut self.open);
        }
        !self.closed.is_empty()
    }

    /// Ends a posting that all sheets have taken. Returns false if another VM has ended it.
    pub(super) fn finish(&mut self, number: u64) -> bool {
        let under_way = self.number == number && !self.closed.is_empty();
        if under_way {
            self.closed = Rows::default();
        }
        under_way
    }
}

#[cfg(test)]
mod tests {
    use super::super::Amounts;
    use super::super::rows::Label;
    use super::*;

    #[test]
    fn an_inbox_is_read_as_written_and_refused_in_parts() {
        let mut inbox = Inbox::default();
        let one = Amounts { requests: 1, ..Amounts::default() };
        inbox.open.add(Label { period: 7, key: "a", user: "", target: "gpt" }, &one);
        assert!(inbox.close(5_000_000));
        inbox.open.add(Label { period: 8, key: "b", user: "u", target: "" }, &one);
        let bytes = inbox.to_bytes(99);
        assert_eq!(Inbox::read(&bytes), Ok(inbox.clone()));
        assert_eq!(inbox.number, 5);
        for end in 1..bytes.len() {
            let whole = end == HEADER + inbox.closed.0.len();
            assert_eq!(Inbox::read(&bytes[..end]).is_ok(), whole, "cut at {end}");
        }
        let mut newer = bytes;
        newer[3] = 2;
        assert_eq!(Inbox::read(&newer), Err(StoreError::Unavailable(UnavailableError::Format)));
    }

    #[test]
    fn numbers_grow_although_the_clock_goes_back() {
        let mut inbox = Inbox::default();
        let mut numbers = Vec::new();
        for wall in [9_000_000, 1_000_000, 20_000_000] {
            inbox.open.add(Label::default(), &Amounts::default());
            assert!(inbox.close(wall));
            numbers.push(inbox.number);
            assert!(
                !inbox.finish(inbox.number - 1) && inbox.finish(inbox.number) && !inbox.finish(inbox.number)
            );
            assert!(!inbox.close(wall), "there is nothing to post");
        }
        assert_eq!(numbers, [9, 10, 20]);
    }
}
