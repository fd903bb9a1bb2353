//! Counters that follow the UTC calendar: the requests or tokens of a day, and the money of a budget.

use crate::money::{Period, Pico};
use crate::time::{DAY, period_end, period_index};

/// The requests or tokens of one UTC day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DailyCounter {
    day: u64,
    used: u64,
}

impl DailyCounter {
    /// The bytes of a stored counter.
    pub const BYTES: usize = 16;

    /// Reads the bytes that [`DailyCounter::store`] wrote.
    pub fn load(bytes: &[u8; Self::BYTES]) -> Self {
        let both = u128::from_le_bytes(*bytes);
        DailyCounter { day: both as u64, used: (both >> 64) as u64 }
    }

    /// Writes the counter, little-endian.
    pub fn store(&self, bytes: &mut [u8; Self::BYTES]) {
        *bytes = (u128::from(self.day) | u128::from(self.used) << 64).to_le_bytes();
    }

    /// Starts over at midnight UTC. A clock that is one day behind counts in the newest day; a clock further behind
    /// relabels that day, so that a moment in the far future cannot freeze the count.
    pub fn advance(&mut self, wall: u64) {
        let day = wall / DAY;
        if day > self.day {
            *self = DailyCounter { day, used: 0 };
        } else if self.day - day > 1 {
            self.day = day;
        }
    }

    /// The number of the day that a charge goes to; call [`DailyCounter::advance`] first.
    pub fn number(&self) -> u64 {
        self.day
    }

    /// The number of requests or tokens of the day.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Adds a charge.
    pub fn charge(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
    }

    /// Corrects a charge of the same day; a past day keeps its estimate.
    pub fn correct(&mut self, day: u64, charged: u64, actual: u64) {
        if day == self.day {
            self.used = self.used.saturating_add(actual).saturating_sub(charged);
        }
    }

    /// Nanoseconds until the day ends.
    pub fn until_over(&self, wall: u64) -> u64 {
        (self.day.saturating_add(1)).saturating_mul(DAY).saturating_sub(wall)
    }
}

/// The money spent in one period of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpendCounter {
    period: Period,
    index: u64,
    spent: u128,
    estimated: u128,
}

impl SpendCounter {
    /// The bytes of a stored counter.
    pub const BYTES: usize = 48;

    /// Reads the bytes that [`SpendCounter::store`] wrote; an unknown period reads as `lifetime`.
    pub fn load(bytes: &[u8; Self::BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<16>();
        let mut words = words.iter().map(|word| u128::from_le_bytes(*word));
        let mut word = || words.next().unwrap_or(0);
        let head = word();
        let period = match (head >> 64) as u64 {
            0 => Period::Hour,
            1 => Period::Day,
            2 => Period::Week,
            3 => Period::Month,
            _ => Period::Lifetime,
        };
        SpendCounter { period, index: head as u64, spent: word(), estimated: word() }
    }

    /// Writes the counter, little-endian.
    pub fn store(&self, bytes: &mut [u8; Self::BYTES]) {
        let period: u128 = match self.period {
            Period::Hour => 0,
            Period::Day => 1,
            Period::Week => 2,
            Period::Month => 3,
            Period::Lifetime => 4,
        };
        let (words, _) = bytes.as_chunks_mut::<16>();
        let values = [u128::from(self.index) | period << 64, self.spent, self.estimated];
        for (word, value) in words.iter_mut().zip(values) {
            *word = value.to_le_bytes();
        }
    }

    /// Starts over with the period. If the budget's period was changed, or the clock went back by more than a period, the
    /// money spent is kept and counts in the present period.
    pub fn advance(&mut self, period: Period, wall: u64) {
        let index = period_index(period, wall);
        if period != self.period {
            self.period = period;
            self.index = index;
        } else if index > self.index {
            *self = SpendCounter { period, index, spent: 0, estimated: 0 };
        } else if self.index - index > 1 {
            self.index = index;
        }
    }

    /// The number of the period that a charge goes to; call [`SpendCounter::advance`] first.
    pub fn number(&self) -> u64 {
        self.index
    }

    /// The money charged in this period, reservations included.
    pub fn spent(&self) -> Pico {
        Pico(self.spent)
    }

    /// The part of [`SpendCounter::spent`] that is estimated: requests under way, and requests whose usage was not
    /// reported.
    pub fn estimated(&self) -> Pico {
        Pico(self.estimated)
    }

    /// Adds a reservation.
    pub fn charge(&mut self, amount: Pico) {
        self.spent = self.spent.saturating_add(amount.0);
        self.estimated = self.estimated.saturating_add(amount.0);
    }

    /// Corrects a reservation of the same period; a past period keeps its estimate. `estimated` is true if `actual` is an
    /// estimate too.
    pub fn correct(&mut self, index: u64, charged: Pico, actual: Pico, estimated: bool) {
        if index == self.index {
            self.spent = self.spent.saturating_add(actual.0).saturating_sub(charged.0);
            self.estimated = self.estimated.saturating_sub(charged.0);
            if estimated {
                self.estimated = self.estimated.saturating_add(actual.0);
            }
        }
    }

    /// Nanoseconds until the period ends; `None`: never.
    pub fn until_over(&self, wall: u64) -> Option<u64> {
        period_end(self.period, self.index).map(|end| end.saturating_sub(wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn a_day_resets_exactly_at_midnight() {
        let mut day = DailyCounter::default();
        day.advance(3 * DAY - 1);
        day.charge(7);
        assert_eq!(day.until_over(3 * DAY - 1), 1);
        day.advance(3 * DAY - 1);
        assert_eq!(day.used(), 7);
        day.advance(3 * DAY);
        assert_eq!(day.used(), 0);
        day.advance(3 * DAY - SECOND);
        day.charge(1);
        assert_eq!((day.number(), day.used()), (3, 1), "a clock just behind stays in the newest day");
    }

    #[test]
    fn a_moment_in_the_far_future_does_not_freeze_the_day() {
        let mut day = DailyCounter::default();
        day.advance(9000 * DAY);
        day.charge(4);
        day.advance(20 * DAY);
        assert_eq!((day.number(), day.used()), (20, 4));
        day.advance(21 * DAY);
        assert_eq!(day.used(), 0);
    }

    #[test]
    fn a_changed_period_keeps_what_was_spent() {
        let mut spend = SpendCounter::default();
        spend.advance(Period::Day, 40 * DAY);
        spend.charge(Pico(10));
        spend.advance(Period::Month, 40 * DAY);
        assert_eq!(spend.spent(), Pico(10));
        spend.advance(Period::Month, 60 * DAY);
        assert_eq!(spend.spent(), Pico(0), "1970-03-02 is in another month than 1970-02-10");
    }

    #[test]
    fn settled_money_is_no_longer_an_estimate() {
        let mut spend = SpendCounter::default();
        spend.advance(Period::Lifetime, 0);
        spend.charge(Pico(10));
        spend.charge(Pico(20));
        spend.correct(spend.number(), Pico(10), Pico(4), false);
        assert_eq!((spend.spent(), spend.estimated()), (Pico(24), Pico(20)));
        spend.correct(spend.number(), Pico(20), Pico(6), true);
        assert_eq!((spend.spent(), spend.estimated()), (Pico(10), Pico(6)));
        let mut bytes = [0; SpendCounter::BYTES];
        spend.store(&mut bytes);
        assert_eq!(SpendCounter::load(&bytes), spend);
    }
}
