//! The bytes of a counter record: a header with the fingerprint of its name, then one block for each counter.
//!
//! ```text
//! header  "TGc" version:u8  0:u32  fingerprint:u64
//! block   kind:u8  0:u24  0:u32  target:u64  payload (its length follows from the kind)
//! ```
//!
//! All integers are little-endian. A record of another format is never overwritten: a newer version may have written it.

use alloc::vec::Vec;

use super::calendar::{DailyCounter, SpendCounter};
use super::sliding_window::{SlidingWindow, Span};
use super::{StoreError, UnavailableError};
use crate::quota::{Window, WindowSpan};
use crate::time::Now;

const MAGIC: [u8; 4] = *b"TGc\x01";
const HEADER: usize = 16;
const BLOCK_HEADER: usize = 16;

/// The unit that a block counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum CounterKind {
    /// Requests or tokens of a window.
    Window(Window),
    /// Money.
    Budget,
}

/// The identity of a block within a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct CounterId {
    /// The unit that it counts.
    pub kind: CounterKind,
    /// The fingerprint of the target whose use is counted; 0: all targets.
    pub target: u64,
}

/// The kind of a budget's block.
const BUDGET: u8 = 16;
const _: () = assert!(Window::from_code(BUDGET).is_none());

impl CounterKind {
    fn code(self) -> u8 {
        match self {
            CounterKind::Window(window) => window.code(),
            CounterKind::Budget => BUDGET,
        }
    }

    fn payload(code: u8) -> Option<usize> {
        if code == BUDGET {
            return Some(SpendCounter::BYTES);
        }
        Some(match sliding(Window::from_code(code)?.span()) {
            Some(_) => SlidingWindow::BYTES,
            None => DailyCounter::BYTES,
        })
    }
}

/// The slots of a sliding window; `None`: a UTC day.
fn sliding(span: WindowSpan) -> Option<Span> {
    match span {
        WindowSpan::Minute => Some(Span::Minute),
        WindowSpan::Hour => Some(Span::Hour),
        WindowSpan::Day => None,
    }
}

/// A counter of requests or tokens, in its record.
#[derive(Debug, PartialEq, Eq)]
pub enum Counter<'c> {
    /// A sliding window.
    Sliding(SlidingWindow<&'c mut [u8; SlidingWindow::BYTES]>),
    /// A UTC day, and the bytes that store it.
    Daily(DailyCounter, &'c mut [u8; DailyCounter::BYTES]),
}

impl Counter<'_> {
    /// Advances to this moment.
    pub fn advance(&mut self, now: Now) {
        match self {
            Counter::Sliding(window) => window.advance(now.monotonic),
            Counter::Daily(day, stored) => {
                day.advance(now.wall);
                day.store(stored);
            }
        }
    }

    /// The number of requests or tokens in the window.
    pub fn used(&self) -> u64 {
        match self {
            Counter::Sliding(window) => window.used(),
            Counter::Daily(day, _) => day.used(),
        }
    }

    /// The slot or day that a charge goes to; call [`Counter::advance`] first.
    pub fn slot(&self) -> u64 {
        match self {
            Counter::Sliding(window) => window.head(),
            Counter::Daily(day, _) => day.number(),
        }
    }

    /// Adds a charge.
    pub fn charge(&mut self, amount: u64) {
        match self {
            Counter::Sliding(window) => window.charge(amount),
            Counter::Daily(day, stored) => {
                day.charge(amount);
                day.store(stored);
            }
        }
    }

    /// Corrects an earlier charge in the slot or day it was made in.
    pub fn correct(&mut self, slot: u64, charged: u64, actual: u64) {
        match self {
            Counter::Sliding(window) => window.correct(slot, charged, actual),
            Counter::Daily(day, stored) => {
                day.correct(slot, charged, actual);
                day.store(stored);
            }
        }
    }

    /// Nanoseconds until `amount` fits under `limit`; `None`: never.
    pub fn wait(&self, now: Now, amount: u64, limit: u64) -> Option<u64> {
        match self {
            Counter::Sliding(window) => window.wait(now.monotonic, amount, limit),
            Counter::Daily(..) if amount > limit => None,
            Counter::Daily(day, _) if day.used().saturating_add(amount) <= limit => Some(0),
            Counter::Daily(day, _) => Some(day.until_over(now.wall)),
        }
    }

    /// Nanoseconds until the window is empty if no other request comes.
    pub fn until_empty(&self, now: Now) -> u64 {
        match self {
            Counter::Sliding(window) => window.until_empty(now.monotonic),
            Counter::Daily(day, _) if day.used() == 0 => 0,
            Counter::Daily(day, _) => day.until_over(now.wall),
        }
    }
}

/// A counter record that belongs to its name and is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterRecord {
    bytes: Vec<u8>,
}

impl CounterRecord {
    /// Opens a stored record; empty bytes begin a new one.
    ///
    /// # Errors
    /// [`UnavailableError::Foreign`] for a record of another name, [`UnavailableError::Format`] for another format.
    pub fn open(mut bytes: Vec<u8>, fingerprint: u64) -> Result<CounterRecord, StoreError> {
        if bytes.is_empty() {
            bytes.extend_from_slice(&MAGIC);
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&fingerprint.to_le_bytes());
        }
        match owner(&bytes) {
            Some(owner) if owner != fingerprint => Err(StoreError::Unavailable(UnavailableError::Foreign)),
            Some(_) if well_formed(&bytes) => Ok(CounterRecord { bytes }),
            _ => Err(StoreError::Unavailable(UnavailableError::Format)),
        }
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The counter of a window, advanced to this moment; created if missing. Never `None`: the block of a window has room
    /// for its counter.
    // Inlined with its callees: called for each window of a request.
    #[inline(always)]
    pub fn counter(&mut self, window: Window, target: u64, now: Now) -> Option<Counter<'_>> {
        let mut counter =
            counter(window, self.payload_mut(CounterId { kind: CounterKind::Window(window), target })?)?;
        counter.advance(now);
        Some(counter)
    }

    /// The counter of a window as stored, without advancing it: for corrections, which name their slot.
    pub fn stored_counter(&mut self, window: Window, target: u64) -> Option<Counter<'_>> {
        let (start, end) = find(&self.bytes, CounterId { kind: CounterKind::Window(window), target })?;
        counter(window, self.bytes.get_mut(start..end)?)
    }

    /// The counter of the budget as stored, without advancing it; empty if missing.
    pub fn spend(&self) -> SpendCounter {
        let stored = self.payload(CounterId { kind: CounterKind::Budget, target: 0 });
        stored.and_then(|bytes| bytes.first_chunk()).map_or(SpendCounter::default(), SpendCounter::load)
    }

    /// The counter of the budget as stored, without advancing it, and the bytes that store it; created if missing. Never
    /// `None`: the block of a budget has room for its counter.
    pub fn spend_mut(&mut self) -> Option<(SpendCounter, &mut [u8; SpendCounter::BYTES])> {
        let stored =
            self.payload_mut(CounterId { kind: CounterKind::Budget, target: 0 })?.first_chunk_mut()?;
        Some((SpendCounter::load(stored), stored))
    }

    /// Corrects the stored counter of the budget, if there is one.
    pub fn correct_spend(&mut self, correct: impl FnOnce(&mut SpendCounter)) {
        let Some((start, end)) = find(&self.bytes, CounterId { kind: CounterKind::Budget, target: 0 }) else {
            return;
        };
        let bytes = self.bytes.get_mut(start..end);
        if let Some(bytes) = bytes.and_then(|bytes| bytes.first_chunk_mut()) {
            let mut spend = SpendCounter::load(bytes);
            correct(&mut spend);
            spend.store(bytes);
        }
    }

    fn payload(&self, id: CounterId) -> Option<&[u8]> {
        let (start, end) = find(&self.bytes, id)?;
        self.bytes.get(start..end)
    }

    #[inline(always)]
    fn payload_mut(&mut self, id: CounterId) -> Option<&mut [u8]> {
        let (start, end) = match find(&self.bytes, id) {
            Some(place) => place,
            None => self.begin(id)?,
        };
        self.bytes.get_mut(start..end)
    }

    /// Appends a block.
    #[cold]
    fn begin(&mut self, id: CounterId) -> Option<(usize, usize)> {
        let length = CounterKind::payload(id.kind.code())?;
        self.bytes.extend_from_slice(&[id.kind.code(), 0, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend_from_slice(&id.target.to_le_bytes());
        let start = self.bytes.len();
        let end = start.saturating_add(length);
        self.bytes.resize(end, 0);
        Some((start, end))
    }
}

#[inline(always)]
fn counter(window: Window, payload: &mut [u8]) -> Option<Counter<'_>> {
    Some(match sliding(window.span()) {
        Some(span) => Counter::Sliding(SlidingWindow::over(span, payload.first_chunk_mut()?)),
        None => {
            let stored = payload.first_chunk_mut()?;
            Counter::Daily(DailyCounter::load(stored), stored)
        }
    })
}

/// The first bytes of a journal record; its fingerprint is at the same place as in a counter record.
pub const DOCUMENT_MAGIC: [u8; 4] = *b"TGd\x01";

/// The fingerprint that a record carries; `None` if it is neither a counter record nor a journal record of this format.
pub(super) fn owner(bytes: &[u8]) -> Option<u64> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let (magic, rest) = header.split_first_chunk::<4>()?;
    let fingerprint = rest.last_chunk::<8>()?;
    (*magic == MAGIC || *magic == DOCUMENT_MAGIC).then(|| u64::from_le_bytes(*fingerprint))
}

/// The block at this offset: its kind, its target, and the end of its payload; `None` if there is no valid block.
fn block(bytes: &[u8], at: usize) -> Option<(u8, u64, usize)> {
    let header = bytes.get(at..)?.first_chunk::<BLOCK_HEADER>()?;
    let kind = *header.first()?;
    let end = at.saturating_add(BLOCK_HEADER).saturating_add(CounterKind::payload(kind)?);
    (end <= bytes.len()).then_some((kind, u64::from_le_bytes(*header.last_chunk()?), end))
}

fn well_formed(bytes: &[u8]) -> bool {
    let mut at = HEADER;
    while let Some((_, _, end)) = block(bytes, at) {
        at = end;
    }
    at == bytes.len()
}

/// The start and end of a block's payload.
fn find(bytes: &[u8], id: CounterId) -> Option<(usize, usize)> {
    let code = id.kind.code();
    let mut at = HEADER;
    loop {
        let (kind, target, end) = block(bytes, at)?;
        if kind == code && target == id.target {
            return Some((at.saturating_add(BLOCK_HEADER), end));
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { wall: 1_000_000_000_000_000_000, monotonic: 5_000_000_000 };

    fn charged() -> CounterRecord {
        let mut record = CounterRecord::open(Vec::new(), 7).unwrap();
        for (window, target) in [(Window::Rpm, 0), (Window::Tpd, 0), (Window::Rpm, 99), (Window::Rph, 0)] {
            record.counter(window, target, NOW).unwrap().charge(target + 1);
        }
        record
    }

    #[test]
    fn blocks_of_one_record_are_independent() {
        let mut record = CounterRecord::open(charged().bytes, 7).unwrap();
        let mut used = |window, target| record.counter(window, target, NOW).unwrap().used();
        assert_eq!(used(Window::Rpm, 0), 1);
        assert_eq!(used(Window::Rpm, 99), 100);
        assert_eq!(used(Window::Rph, 0), 1);
        assert_eq!(used(Window::Tpd, 0), 1);
        assert_eq!(used(Window::Tpm, 0), 0);
    }

    #[test]
    fn a_foreign_record_and_a_damaged_one_are_different_errors() {
        let bytes = charged().bytes;
        assert_eq!(
            CounterRecord::open(bytes.clone(), 8),
            Err(StoreError::Unavailable(UnavailableError::Foreign))
        );
        for end in 1..bytes.len() {
            let cut = CounterRecord::open(bytes[..end].to_vec(), 7);
            let whole_blocks =
                [HEADER, HEADER + 276, HEADER + 276 + 32, HEADER + 276 + 32 + 276].contains(&end);
            assert_eq!(cut.is_ok(), whole_blocks, "cut at {end}");
        }
        let mut newer = bytes;
        newer[3] = 2;
        assert_eq!(CounterRecord::open(newer, 7), Err(StoreError::Unavailable(UnavailableError::Format)));
    }
}
