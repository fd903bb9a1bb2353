//! The bytes of a counter record: a header with the fingerprint of its name, then one block for each counter.
//!
//! ```text
//! header  "TGc" version:u8  0:u32  fingerprint:u64
//! block   kind:u8  in flight:u40  minute:u16  target:u64  payload (its length follows from the kind)
//! ```
//!
//! `in flight` is the part of the count that unfinished calls reserve (money in units of 2^20 picodollars), and `minute` the
//! time of the last of them. Earlier versions wrote zeros there, and keep what they find.
//!
//! All integers are little-endian. A record of another format is never overwritten: a newer version may have written it.

use alloc::vec::Vec;

use super::calendar::{DailyCounter, SpendCounter};
use super::sliding_window::{SlidingWindow, Span};
use super::{StoreError, UnavailableError};
use crate::quota::{Window, WindowSpan};
use crate::time::{Now, SECOND};

const MAGIC: [u8; 4] = *b"TGc\x01";
const HEADER: usize = 16;
const BLOCK_HEADER: usize = 16;

/// The largest amount in flight that a block stores.
const MAX_IN_FLIGHT: u64 = (1 << 40) - 1;

/// Minutes after which a call is taken for lost: no call of a provider's runs longer, and a call whose worker was stopped is
/// never settled.
const LOST_AFTER: u16 = 15;

/// The unit that a block counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum CounterKind {
    /// Requests or tokens of a window.
    Window(Window),
    /// Money.
    Budget,
}

/// The identity of a block within a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The code of the kind in stored records.
    pub(crate) fn code(self) -> u8 {
        match self {
            CounterKind::Window(window) => window.code(),
            CounterKind::Budget => BUDGET,
        }
    }

    /// The kind with this code.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        if code == BUDGET {
            Some(CounterKind::Budget)
        } else {
            Window::from_code(code).map(CounterKind::Window)
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
pub(crate) fn sliding(span: WindowSpan) -> Option<Span> {
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

    pub(crate) fn into_bytes(self) -> Vec<u8> {
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

    /// Adds an amount to what unfinished calls reserve in a block; nothing if the block is missing.
    pub fn add_in_flight(&mut self, id: CounterId, amount: u128, now: Now) {
        let minute = minute_of(now);
        self.change_in_flight(id, |held, since| {
            let held = if is_lost(since, minute) { 0 } else { held };
            (held.saturating_add(in_units(id.kind, amount)), minute)
        });
    }

    /// Removes the same amount when its call ends.
    pub fn remove_in_flight(&mut self, id: CounterId, amount: u128) {
        self.change_in_flight(id, |held, since| (held.saturating_sub(in_units(id.kind, amount)), since));
    }

    /// The amount that unfinished calls reserve in a block; calls that are probably lost do not count.
    pub fn in_flight(&self, id: CounterId, now: Now) -> u128 {
        let stored = find(&self.bytes, id).and_then(|(start, _)| {
            let at = start.saturating_sub(BLOCK_HEADER);
            self.bytes.get(at..)?.first_chunk::<8>().copied()
        });
        let (_, held, since) = split(stored.unwrap_or_default());
        if is_lost(since, minute_of(now)) { 0 } else { u128::from(held) << unit_bits(id.kind) }
    }

    fn change_in_flight(&mut self, id: CounterId, change: impl FnOnce(u64, u16) -> (u64, u16)) {
        let Some((start, _)) = find(&self.bytes, id) else { return };
        let at = start.saturating_sub(BLOCK_HEADER);
        let Some(word) = self.bytes.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut::<8>()) else {
            return;
        };
        let (kind, held, since) = split(*word);
        let (held, since) = change(held, since);
        let held = held.min(MAX_IN_FLIGHT);
        *word = (u64::from(kind) | held << 8 | u64::from(since) << 48).to_le_bytes();
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

/// The kind of a block, the amount in flight, and its minute.
fn split(word: [u8; 8]) -> (u8, u64, u16) {
    let word = u64::from_le_bytes(word);
    (word as u8, word >> 8 & MAX_IN_FLIGHT, (word >> 48) as u16)
}

/// The minute of the wall clock, modulo 2^16.
fn minute_of(now: Now) -> u16 {
    (now.wall / (60 * SECOND)) as u16
}

fn is_lost(since: u16, minute: u16) -> bool {
    // A clock that is slightly behind loses no call.
    (LOST_AFTER..=u16::MAX - 1).contains(&minute.wrapping_sub(since))
}

/// Units that an amount in flight is stored in: single requests and tokens, and 2^20 picodollars, about a millionth of a dollar.
fn unit_bits(kind: CounterKind) -> u32 {
    match kind {
        CounterKind::Window(_) => 0,
        CounterKind::Budget => 20,
    }
}

/// An amount in these units, rounded up.
fn in_units(kind: CounterKind, amount: u128) -> u64 {
    let bits = unit_bits(kind);
    let units = amount >> bits;
    let rest = u128::from(units << bits != amount);
    u64::try_from(units.saturating_add(rest)).unwrap_or(u64::MAX)
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

/// The first bytes of the records of counted usage.
pub const LEDGER_MAGIC: [u8; 4] = *b"TGu\x01";

/// The fingerprint that a record carries; `None` if it is of no format that has one.
pub(super) fn owner(bytes: &[u8]) -> Option<u64> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let (magic, rest) = header.split_first_chunk::<4>()?;
    let fingerprint = rest.last_chunk::<8>()?;
    [MAGIC, DOCUMENT_MAGIC, LEDGER_MAGIC].contains(magic).then(|| u64::from_le_bytes(*fingerprint))
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
    fn amounts_in_flight_end_with_their_calls_or_are_lost_after_a_quarter_of_an_hour() {
        let mut record = charged();
        let id = CounterId { kind: CounterKind::Window(Window::Tpd), target: 0 };
        let later = |minutes: u64| Now { wall: NOW.wall + minutes * 60 * SECOND, ..NOW };
        record.add_in_flight(id, 700, NOW);
        record.add_in_flight(id, 300, later(1));
        assert_eq!(record.in_flight(id, later(2)), 1_000);
        record.remove_in_flight(id, 700);
        assert_eq!(record.in_flight(id, later(15)), 300);
        assert_eq!(record.in_flight(id, later(16)), 0);
        record.add_in_flight(id, 5, later(16));
        assert_eq!(record.in_flight(id, later(16)), 5, "a lost call is forgotten");
        assert_eq!(record.counter(Window::Tpd, 0, NOW).unwrap().used(), 1, "the count is another");
        let reread = CounterRecord::open(record.bytes, 7).unwrap();
        assert_eq!(reread.in_flight(id, later(16)), 5);
        let missing = CounterId { kind: CounterKind::Budget, target: 0 };
        assert_eq!(reread.in_flight(missing, NOW), 0);
    }

    #[test]
    fn money_in_flight_is_never_below_its_amount() {
        let mut record = CounterRecord::open(Vec::new(), 7).unwrap();
        record.spend_mut().unwrap();
        let id = CounterId { kind: CounterKind::Budget, target: 0 };
        for amount in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000_000] {
            record.add_in_flight(id, amount, NOW);
            let held = record.in_flight(id, NOW);
            assert!(held >= amount && held - amount < 1 << 20, "{amount} {held}");
            record.remove_in_flight(id, amount);
            assert_eq!(record.in_flight(id, NOW), 0);
        }
        record.add_in_flight(id, u128::MAX, NOW);
        assert_eq!(record.in_flight(id, NOW), u128::from(MAX_IN_FLIGHT) << 20);
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
