//! The bytes of a cell: a header that names its principal, then one block for each thing counted.
//!
//! ```text
//! header  "TGc" version:u8  0:u32  fingerprint:u64
//! block   kind:u8  0:u24  0:u32  target:u64  payload (its length follows from the kind)
//! ```
//!
//! All integers little-endian. A record that does not read so is never overwritten: it may be a newer
//! version's.

use alloc::vec::Vec;

use super::calendar::{DailyCounter, SpendCounter};
use super::sliding_window::{SlidingWindow, Span};
use super::{StoreError, Unavailable};
use crate::quota::Window;
use crate::time::Now;

const MAGIC: [u8; 4] = *b"TGc\x01";
const HEADER: usize = 16;
const BLOCK_HEADER: usize = 16;

/// What a block counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum CounterKind {
    /// Requests or tokens of a window.
    Window(Window),
    /// Money.
    Budget,
}

/// A block within a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct CounterId {
    /// What it counts.
    pub kind: CounterKind,
    /// Fingerprint of the target whose use is counted; 0: the principal as a whole.
    pub target: u64,
}

impl CounterKind {
    fn code(self) -> u8 {
        match self {
            CounterKind::Window(window) => window as u8,
            CounterKind::Budget => 16,
        }
    }

    fn payload(code: u8) -> Option<usize> {
        match code {
            0..=2 => Some(SlidingWindow::BYTES),
            3 | 4 => Some(DailyCounter::BYTES),
            16 => Some(SpendCounter::BYTES),
            _ => None,
        }
    }
}

/// How a window of the catalogue is counted.
fn span(window: Window) -> Option<Span> {
    match window {
        Window::Rpm | Window::Tpm => Some(Span::Minute),
        Window::Rph => Some(Span::Hour),
        Window::Rpd | Window::Tpd => None,
    }
}

/// A counter for requests or tokens, sliding or by the day, in its cell.
#[derive(Debug, PartialEq, Eq)]
pub enum Counter<'c> {
    /// A sliding window.
    Sliding(SlidingWindow<&'c mut [u8; SlidingWindow::BYTES]>),
    /// A UTC day, and where it is stored.
    Daily(DailyCounter, &'c mut [u8; DailyCounter::BYTES]),
}

impl Counter<'_> {
    /// Moves to this moment.
    pub fn advance(&mut self, now: Now) {
        match self {
            Counter::Sliding(ring) => ring.advance(now.monotonic),
            Counter::Daily(day, stored) => {
                day.advance(now.wall);
                day.store(stored);
            }
        }
    }

    /// What is within the window.
    pub fn used(&self) -> u64 {
        match self {
            Counter::Sliding(ring) => ring.used(),
            Counter::Daily(day, _) => day.used(),
        }
    }

    /// The slot or day that a charge of this moment goes to.
    pub fn slot(&self) -> u64 {
        match self {
            Counter::Sliding(ring) => ring.head(),
            Counter::Daily(day, _) => day.number(),
        }
    }

    /// Counts.
    pub fn charge(&mut self, amount: u64) {
        match self {
            Counter::Sliding(ring) => ring.charge(amount),
            Counter::Daily(day, stored) => {
                day.charge(amount);
                day.store(stored);
            }
        }
    }

    /// Corrects an earlier charge in its own slot or day.
    pub fn correct(&mut self, slot: u64, charged: u64, actual: u64) {
        match self {
            Counter::Sliding(ring) => ring.correct(slot, charged, actual),
            Counter::Daily(day, stored) => {
                day.correct(slot, charged, actual);
                day.store(stored);
            }
        }
    }

    /// Nanoseconds until `amount` fits under `limit`; `None`: never.
    pub fn wait(&self, now: Now, amount: u64, limit: u64) -> Option<u64> {
        match self {
            Counter::Sliding(ring) => ring.wait(now.monotonic, amount, limit),
            Counter::Daily(..) if amount > limit => None,
            Counter::Daily(day, _) if day.used().saturating_add(amount) <= limit => Some(0),
            Counter::Daily(day, _) => Some(day.until_over(now.wall)),
        }
    }

    /// Nanoseconds until nothing is counted any more.
    pub fn until_empty(&self, now: Now) -> u64 {
        match self {
            Counter::Sliding(ring) => ring.until_empty(now.monotonic),
            Counter::Daily(day, _) if day.used() == 0 => 0,
            Counter::Daily(day, _) => day.until_over(now.wall),
        }
    }
}

/// A cell's record, known to be ours and well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterRecord {
    bytes: Vec<u8>,
}

impl CounterRecord {
    /// Takes a stored record; empty bytes begin a new one.
    ///
    /// # Errors
    /// [`Trouble::Foreign`] where it names another principal, [`Trouble::Format`] where it does not read.
    pub fn open(mut bytes: Vec<u8>, fingerprint: u64) -> Result<CounterRecord, StoreError> {
        if bytes.is_empty() {
            bytes.extend_from_slice(&MAGIC);
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&fingerprint.to_le_bytes());
        }
        match owner(&bytes) {
            Some(owner) if owner != fingerprint => Err(StoreError::Unavailable(Unavailable::Foreign)),
            Some(_) if well_formed(&bytes) => Ok(CounterRecord { bytes }),
            _ => Err(StoreError::Unavailable(Unavailable::Format)),
        }
    }

    /// The record to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The counter of a window, moved to this moment. One that is not there yet begins with nothing. `None` never
    /// comes: a block of a window has room for its counter.
    // Inlined, with what it calls: each window of a request comes here.
    #[inline(always)]
    pub fn counter(&mut self, window: Window, target: u64, now: Now) -> Option<Counter<'_>> {
        let mut counter =
            counter(window, self.payload_mut(CounterId { kind: CounterKind::Window(window), target })?)?;
        counter.advance(now);
        Some(counter)
    }

    /// The counter of a window as stored, not moved: for corrections, which name their slot.
    pub fn stored_counter(&mut self, window: Window, target: u64) -> Option<Counter<'_>> {
        let (start, end) = find(&self.bytes, CounterId { kind: CounterKind::Window(window), target })?;
        counter(window, self.bytes.get_mut(start..end)?)
    }

    /// The money spent, as stored or none; not yet moved to this moment.
    pub fn spend(&self) -> SpendCounter {
        let stored = self.payload(CounterId { kind: CounterKind::Budget, target: 0 });
        stored.and_then(|bytes| bytes.first_chunk()).map_or(SpendCounter::default(), SpendCounter::load)
    }

    /// The money spent, as stored and not yet moved to this moment, and where it is stored. One that is not there yet begins
    /// with nothing. `None` never comes: a block of a budget has room for its purse.
    pub fn spend_mut(&mut self) -> Option<(SpendCounter, &mut [u8; SpendCounter::BYTES])> {
        let stored =
            self.payload_mut(CounterId { kind: CounterKind::Budget, target: 0 })?.first_chunk_mut()?;
        Some((SpendCounter::load(stored), stored))
    }

    /// Corrects the money spent where it is stored; nothing where none is.
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

    /// A block that is not there yet: once for each that a principal has.
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
    Some(match span(window) {
        Some(span) => Counter::Sliding(SlidingWindow::over(span, payload.first_chunk_mut()?)),
        None => {
            let stored = payload.first_chunk_mut()?;
            Counter::Daily(DailyCounter::load(stored), stored)
        }
    })
}

/// What a record of the journal begins with; its fingerprint stands where a cell's does.
pub const DOCUMENT_MAGIC: [u8; 4] = *b"TGd\x01";

/// The fingerprint a record carries; `None` where it is neither a cell nor a journal's, of this format.
pub(super) fn owner(bytes: &[u8]) -> Option<u64> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let (magic, rest) = header.split_first_chunk::<4>()?;
    let fingerprint = rest.last_chunk::<8>()?;
    (*magic == MAGIC || *magic == DOCUMENT_MAGIC).then(|| u64::from_le_bytes(*fingerprint))
}

/// The block at this place: its kind, its target, and where its payload ends; `None` where there is none that reads.
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

/// Start and end of a block's payload.
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
    fn blocks_of_one_cell_do_not_touch_one_another() {
        let mut record = CounterRecord::open(charged().bytes, 7).unwrap();
        let mut used = |window, target| record.counter(window, target, NOW).unwrap().used();
        assert_eq!(used(Window::Rpm, 0), 1);
        assert_eq!(used(Window::Rpm, 99), 100);
        assert_eq!(used(Window::Rph, 0), 1);
        assert_eq!(used(Window::Tpd, 0), 1);
        assert_eq!(used(Window::Tpm, 0), 0);
    }

    #[test]
    fn a_foreign_record_is_told_from_one_that_does_not_read() {
        let bytes = charged().bytes;
        assert_eq!(CounterRecord::open(bytes.clone(), 8), Err(StoreError::Unavailable(Unavailable::Foreign)));
        for end in 1..bytes.len() {
            let cut = CounterRecord::open(bytes[..end].to_vec(), 7);
            let whole_blocks =
                [HEADER, HEADER + 276, HEADER + 276 + 32, HEADER + 276 + 32 + 276].contains(&end);
            assert_eq!(cut.is_ok(), whole_blocks, "cut at {end}");
        }
        let mut newer = bytes;
        newer[3] = 2;
        assert_eq!(CounterRecord::open(newer, 7), Err(StoreError::Unavailable(Unavailable::Format)));
    }
}
