//! The sliding window: no span of its length ever holds more than was admitted into it.

use core::borrow::BorrowMut;

use crate::time::SECOND;

/// The current slot and the sixty before it. With sixty slots alone, a span could touch sixty-one of
/// them and hold more than the limit.
pub const SLOTS: usize = 61;

/// Bytes of head and shift in a stored ring.
const LONGS: usize = 16;

/// How far a clock may be behind the newest slot and still mean that slot.
const TOLERANCE: u64 = 2 * SECOND;

/// The length of one slot: a sixtieth of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// One second a slot: any 60 s.
    Minute,
    /// One minute a slot: any 3600 s.
    Hour,
}

impl Span {
    /// Nanoseconds a slot lasts.
    pub fn slot(self) -> u64 {
        match self {
            Span::Minute => SECOND,
            Span::Hour => 60 * SECOND,
        }
    }

    /// How many whole slots so many nanoseconds are. By a number that is known they are divided by a product.
    fn slots(self, nanos: u64) -> u64 {
        match self {
            Span::Minute => nanos / SECOND,
            Span::Hour => nanos / (60 * SECOND),
        }
    }

    /// Nanoseconds at which this slot begins; the last that there are, if that is later.
    fn begin(self, slot: u64) -> u64 {
        // A product that may overflow is a call in wasm; this one cannot.
        if slot > u64::MAX / self.slot() { u64::MAX } else { slot * self.slot() }
    }
}

/// Bytes of a ring.
const BYTES: usize = LONGS + 4 * SLOTS;

/// Counts of the last [`SLOTS`] slots, worked on where they are stored: `head:u64 shift:u64`, then a u32 for each
/// slot; all integers little-endian. Zeros are a ring that has counted nothing.
///
/// Slots are numbered on the ring's own time line, `clock / slot + shift`. When the clock jumps back,
/// `shift` grows instead of slots moving: ages are kept, and a receipt's slot number stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow<B = [u8; BYTES]> {
    span: Span,
    bytes: B,
}

impl SlidingWindow {
    /// Bytes of a stored ring.
    pub const BYTES: usize = BYTES;

    /// Nothing counted yet.
    pub fn new(span: Span) -> Self {
        SlidingWindow { span, bytes: [0; BYTES] }
    }
}

impl<B: BorrowMut<[u8; BYTES]>> SlidingWindow<B> {
    /// The ring that is stored in these bytes.
    pub fn over(span: Span, bytes: B) -> Self {
        SlidingWindow { span, bytes }
    }

    /// Moves the head to the slot of this moment, forgetting what left the window.
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

    /// The slot that a charge of this moment goes to; call [`SlidingWindow::advance`] first.
    pub fn head(&self) -> u64 {
        let [head, _] = self.longs();
        head
    }

    /// Everything within the window.
    pub fn used(&self) -> u64 {
        self.words().first_chunk().map_or(u64::MAX, sum)
    }

    /// Counts in the head slot.
    pub fn charge(&mut self, amount: u64) {
        let head = self.head();
        self.put(head, u64::from(self.get(head)).saturating_add(amount));
    }

    /// Corrects an earlier charge where it was made; nothing if that slot has left the window.
    pub fn correct(&mut self, slot: u64, charged: u64, actual: u64) {
        let head = self.head();
        if slot <= head && head - slot < SLOTS as u64 {
            let count = u64::from(self.get(slot)).saturating_add(actual).saturating_sub(charged);
            self.put(slot, count);
        }
    }

    /// Nanoseconds until `amount` fits under `limit` if nothing else comes; `None` if it never does.
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

    /// Nanoseconds until the window is empty if nothing else comes.
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

/// The sum of all. Not inlined: of a known length it would be written out at every place where it is asked for.
#[inline(never)]
fn sum(words: &[[u8; 4]; SLOTS]) -> u64 {
    // Of the lower halves the sum fits into 32 bits, so that it is what the upper halves leave of the sum of all, of which
    // 32 bits are kept: several are added at once.
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
    fn capacity_returns_when_its_slot_has_left_and_not_before() {
        let mut ring = SlidingWindow::new(Span::Minute);
        ring.advance(at(100) + 999_999_999);
        ring.charge(3);
        ring.advance(at(160));
        assert_eq!(ring.used(), 3);
        assert_eq!(ring.wait(at(160), 1, 3), Some(at(1)));
        ring.advance(at(161) - 1);
        assert_eq!(ring.used(), 3);
        ring.advance(at(161));
        assert_eq!(ring.used(), 0);
    }

    #[test]
    fn a_clock_that_jumps_back_keeps_ages_and_receipts() {
        let mut ring = SlidingWindow::new(Span::Minute);
        ring.advance(at(1000));
        ring.charge(5);
        let slot = ring.head();
        ring.advance(at(1030));
        ring.charge(1);
        ring.advance(at(10));
        assert_eq!(ring.used(), 6, "a jump back frees nothing");
        ring.correct(slot, 5, 2);
        assert_eq!(ring.used(), 3, "a receipt from before the jump still finds its slot");
        assert_eq!(ring.wait(at(10), 3, 4), Some(at(31)), "thirty of its sixty-one seconds had passed");
        ring.advance(at(41));
        assert_eq!(ring.used(), 1);
    }

    #[test]
    fn two_seconds_behind_is_the_newest_slot() {
        let mut ring = SlidingWindow::new(Span::Minute);
        ring.advance(at(1000));
        ring.advance(at(998));
        ring.charge(1);
        ring.advance(at(1060));
        assert_eq!(ring.used(), 1);
        ring.advance(at(1061));
        assert_eq!(ring.used(), 0);
    }

    #[test]
    fn a_correction_after_its_slot_left_changes_nothing() {
        let mut ring = SlidingWindow::new(Span::Hour);
        ring.advance(at(60));
        ring.charge(9);
        let slot = ring.head();
        ring.advance(at(60 * 62));
        ring.charge(4);
        ring.correct(slot, 9, 100);
        assert_eq!(ring.used(), 4);
    }

    #[test]
    fn what_is_stored_is_what_is_read() {
        let mut bytes = [0; SlidingWindow::BYTES];
        let mut ring = SlidingWindow::over(Span::Hour, &mut bytes);
        ring.advance(u64::MAX / 3);
        ring.charge(u64::from(u32::MAX) + 5);
        ring.advance(u64::MAX / 3 + 60 * SECOND);
        ring.charge(7);
        ring.advance(0);
        let slot = ring.head();
        let mut again = SlidingWindow::over(Span::Hour, bytes);
        assert_eq!(again.used(), u64::from(u32::MAX) + 7, "a slot holds no more than its u32");
        again.correct(slot, 7, 2);
        assert_eq!(again.used(), u64::from(u32::MAX) + 2);
        assert_eq!(again.until_empty(0), SLOTS as u64 * 60 * SECOND, "its newest slot is this moment's");
    }
}
