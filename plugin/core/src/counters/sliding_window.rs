//! A sliding window of requests or tokens: no span of its length ever contains more than the limit.
//!
//! Hand-written: it works on the bytes of a stored record, keeps ages when the clock jumps back, and corrects a charge in
//! the slot it was made in. Rate limiters such as `governor` keep their state in
//! the memory of one process.

use core::borrow::BorrowMut;

use crate::time::SECOND;

/// The number of slots: the current one and the sixty before it. A span of the window's length touches sixty-one slots,
/// so with sixty it could contain more than the limit.
pub const SLOTS: usize = 61;

/// The bytes of head and shift.
const LONGS: usize = 16;

/// The time that a clock may be behind the newest slot and still be counted in that slot.
const TOLERANCE: u64 = 2 * SECOND;

/// The length of one slot: a sixtieth of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// One second a slot: any 60 s.
    Minute,
    /// One minute a slot: any 3600 s.
    Hour,
}

impl Span {
    /// The length of a slot in nanoseconds.
    pub fn slot(self) -> u64 {
        match self {
            Span::Minute => SECOND,
            Span::Hour => 60 * SECOND,
        }
    }

    /// The number of whole slots in a time. Dividing by a constant compiles to a multiplication.
    pub(crate) fn slots(self, nanos: u64) -> u64 {
        match self {
            Span::Minute => nanos / SECOND,
            Span::Hour => nanos / (60 * SECOND),
        }
    }

    /// The begin of a slot in nanoseconds, saturating.
    pub(crate) fn begin(self, slot: u64) -> u64 {
        // A multiplication with an overflow check is a call in wasm; this one cannot overflow.
        if slot > u64::MAX / self.slot() { u64::MAX } else { slot * self.slot() }
    }
}

/// The bytes of a stored window.
const BYTES: usize = LONGS + 4 * SLOTS;

/// The counts of the last [`SLOTS`] slots, changed in the bytes that store them: `head:u64 shift:u64`, then a u32 for each
/// slot; all integers are little-endian. Zeros are an empty window.
///
/// Slots are numbered on the window's own time line, `clock / slot + shift`. When the clock jumps back,
/// `shift` grows and slots keep their numbers, so that ages are kept and the slot of a receipt stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow<B = [u8; BYTES]> {
    span: Span,
    bytes: B,
}

impl SlidingWindow {
    /// The bytes of a stored window.
    pub const BYTES: usize = BYTES;

    /// An empty window.
    pub fn new(span: Span) -> Self {
        SlidingWindow { span, bytes: [0; BYTES] }
    }
}

impl<B: BorrowMut<[u8; BYTES]>> SlidingWindow<B> {
    /// The window that is stored in these bytes.
    pub fn over(span: Span, bytes: B) -> Self {
        SlidingWindow { span, bytes }
    }

    /// Advances the head to the slot of this moment, and drops the slots that left the window.
    pub fn advance(&mut self, now: u64) {
        let [head, shift] = self.longs();
        let moment = self.span.slots(now).saturating_add(shift);
        if moment > head {
            let steps = (moment - head).min(SLOTS as u64);
            for slot in (moment - (steps - 1))..=moment {
                self.put(slot, 0);
            }
            self.put_longs([moment, shift]);
        } else {
            let behind = head - moment;
            if behind > self.span.slots(TOLERANCE + self.span.slot() - 1) {
                self.put_longs([head, shift.saturating_add(behind)]);
            }
        }
    }

    /// The slot that a charge goes to; call [`SlidingWindow::advance`] first.
    pub fn head(&self) -> u64 {
        let [head, _] = self.longs();
        head
    }

    /// The number of requests or tokens in the window.
    pub fn used(&self) -> u64 {
        self.words().first_chunk().map_or(u64::MAX, sum)
    }

    /// Adds a charge to the head slot.
    pub fn charge(&mut self, amount: u64) {
        let head = self.head();
        self.put(head, u64::from(self.get(head)).saturating_add(amount));
    }

    /// Corrects an earlier charge in its slot; does nothing if the slot has left the window.
    pub fn correct(&mut self, slot: u64, charged: u64, actual: u64) {
        let head = self.head();
        if slot <= head && head - slot < SLOTS as u64 {
            let count = u64::from(self.get(slot)).saturating_add(actual).saturating_sub(charged);
            self.put(slot, count);
        }
    }

    /// Nanoseconds until `amount` fits under `limit` if no other request comes; `None`: never.
    pub fn wait(&self, now: u64, amount: u64, limit: u64) -> Option<u64> {
        if amount > limit {
            return None;
        }
        let mut used = self.used();
        if used.saturating_add(amount) <= limit {
            return Some(0);
        }
        for slot in self.oldest()..=self.head() {
            used = used.saturating_sub(u64::from(self.get(slot)));
            if used.saturating_add(amount) <= limit {
                return Some(self.until_gone(slot, now));
            }
        }
        None
    }

    /// Nanoseconds until the window is empty if no other request comes.
    pub fn until_empty(&self, now: u64) -> u64 {
        let newest = (self.oldest()..=self.head()).rev().find(|slot| self.get(*slot) > 0);
        newest.map_or(0, |slot| self.until_gone(slot, now))
    }

    fn oldest(&self) -> u64 {
        self.head().saturating_sub(SLOTS as u64 - 1)
    }

    fn until_gone(&self, slot: u64, now: u64) -> u64 {
        let [_, shift] = self.longs();
        let gone = slot.saturating_add(SLOTS as u64).saturating_sub(shift);
        self.span.begin(gone).saturating_sub(now)
    }

    fn get(&self, slot: u64) -> u32 {
        self.words().get((slot % SLOTS as u64) as usize).map_or(0, |word| u32::from_le_bytes(*word))
    }

    fn put(&mut self, slot: u64, count: u64) {
        let (_, words) = self.bytes.borrow_mut().split_at_mut(LONGS);
        let (words, _) = words.as_chunks_mut();
        if let Some(place) = words.get_mut((slot % SLOTS as u64) as usize) {
            *place = u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
        }
    }

    fn words(&self) -> &[[u8; 4]] {
        let (_, words) = self.bytes.borrow().split_at(LONGS);
        words.as_chunks().0
    }

    /// Head and shift.
    fn longs(&self) -> [u64; 2] {
        let (longs, _) = self.bytes.borrow().split_at(LONGS);
        let mut both = [0; 2];
        for (place, long) in both.iter_mut().zip(longs.as_chunks().0) {
            *place = u64::from_le_bytes(*long);
        }
        both
    }

    fn put_longs(&mut self, both: [u64; 2]) {
        let (longs, _) = self.bytes.borrow_mut().split_at_mut(LONGS);
        for (place, long) in longs.as_chunks_mut().0.iter_mut().zip(both) {
            *place = long.to_le_bytes();
        }
    }
}

/// The sum of all slots.
// Not inlined: a loop of known length would be unrolled at every call.
#[inline(never)]
fn sum(words: &[[u8; 4]; SLOTS]) -> u64 {
    // Two wrapping 32-bit sums, which vectorize: of all counts, and of their upper halves. The sum of the lower halves fits
    // into 32 bits, so it is the difference of the two modulo 2^32.
    let [all, high] = words.iter().fold([0_u32; 2], |[all, high], word| {
        let count = u32::from_le_bytes(*word);
        [all.wrapping_add(count), high.wrapping_add(count >> 16)]
    });
    (u64::from(high) << 16) + u64::from(all.wrapping_sub(high << 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> u64 {
        seconds * SECOND
    }

    #[test]
    fn capacity_returns_exactly_when_its_slot_leaves() {
        let mut window = SlidingWindow::new(Span::Minute);
        window.advance(at(100) + 999_999_999);
        window.charge(3);
        window.advance(at(160));
        assert_eq!(window.used(), 3);
        assert_eq!(window.wait(at(160), 1, 3), Some(at(1)));
        window.advance(at(161) - 1);
        assert_eq!(window.used(), 3);
        window.advance(at(161));
        assert_eq!(window.used(), 0);
    }

    #[test]
    fn a_clock_that_jumps_back_keeps_ages_and_receipts() {
        let mut window = SlidingWindow::new(Span::Minute);
        window.advance(at(1000));
        window.charge(5);
        let slot = window.head();
        window.advance(at(1030));
        window.charge(1);
        window.advance(at(10));
        assert_eq!(window.used(), 6, "a jump back frees nothing");
        window.correct(slot, 5, 2);
        assert_eq!(window.used(), 3, "a receipt from before the jump still finds its slot");
        assert_eq!(window.wait(at(10), 3, 4), Some(at(31)), "thirty of its sixty-one seconds had passed");
        window.advance(at(41));
        assert_eq!(window.used(), 1);
    }

    #[test]
    fn a_clock_two_seconds_behind_counts_in_the_newest_slot() {
        let mut window = SlidingWindow::new(Span::Minute);
        window.advance(at(1000));
        window.advance(at(998));
        window.charge(1);
        window.advance(at(1060));
        assert_eq!(window.used(), 1);
        window.advance(at(1061));
        assert_eq!(window.used(), 0);
    }

    #[test]
    fn a_correction_of_a_slot_that_left_changes_nothing() {
        let mut window = SlidingWindow::new(Span::Hour);
        window.advance(at(60));
        window.charge(9);
        let slot = window.head();
        window.advance(at(60 * 62));
        window.charge(4);
        window.correct(slot, 9, 100);
        assert_eq!(window.used(), 4);
    }

    #[test]
    fn a_stored_window_reads_back() {
        let mut bytes = [0; SlidingWindow::BYTES];
        let mut window = SlidingWindow::over(Span::Hour, &mut bytes);
        window.advance(u64::MAX / 3);
        window.charge(u64::from(u32::MAX) + 5);
        window.advance(u64::MAX / 3 + 60 * SECOND);
        window.charge(7);
        window.advance(0);
        let slot = window.head();
        let mut again = SlidingWindow::over(Span::Hour, bytes);
        assert_eq!(again.used(), u64::from(u32::MAX) + 7, "a slot saturates at u32::MAX");
        again.correct(slot, 7, 2);
        assert_eq!(again.used(), u64::from(u32::MAX) + 2);
        assert_eq!(again.until_empty(0), SLOTS as u64 * 60 * SECOND, "its newest slot is this moment's");
    }
}
