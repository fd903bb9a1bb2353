//! The sizes of slices, and the times of refills and returns: the only place of these decisions.
//!
//! Far below a limit a slice lasts for half a minute, so that requests never wait and engine calls are rare. Near it, slices
//! are small and return as soon as they are idle, so that the limit can be used to the end. Where not even two typical
//! requests are left for each gateway, a request takes its amount with a call of its own. Slices then cover only the time
//! that the calls of a large fleet are apart, which is nothing with a few gateways.

use crate::time::SECOND;

use super::clock::FleetTime;
use super::member::GatewayId;

/// The time after which half of a use is forgotten.
const HALF_LIFE: u64 = 8 * SECOND;
/// The time that a slice lasts far below the limit.
const RELAXED: u64 = 30 * SECOND;
/// The same for money, which is tied up by a slice: a crash strands it.
const RELAXED_MONEY: u64 = 8 * SECOND;
/// The time that a slice lasts otherwise.
const CLOSE: u64 = SECOND;
/// The time before the end of a slice at which a refill is due, far below the limit.
const LEAD: u64 = 4 * SECOND;
/// Nanoseconds without use after which a slice far below the limit is idle.
const IDLE: u64 = 30 * SECOND;
/// Nanoseconds without use after which another slice is idle.
const IDLE_CLOSE: u64 = SECOND / 2;

/// The time in nanoseconds for which one gateway writes a row without a lost race, so that a fleet's calls are this far apart.
const TURN: u64 = SECOND / 100;

/// The round of a fleet that is large.
const LARGE: u64 = SECOND / 5;

/// The time in nanoseconds in which each gateway of a fleet can write a row once.
pub(super) fn round(live: u64) -> u64 {
    live.saturating_mul(TURN).min(SECOND)
}

/// The time in nanoseconds to wait before a call is tried again, after this many lost races. `random` is any random number.
/// The first answer of two brings a fresh row, with which the call is tried at once. In between, the calls of a large fleet
/// for one row are spread over a part of a round that a request waits for.
pub fn backoff(lost: u32, live: u64, random: u64) -> u64 {
    if !lost.is_multiple_of(2) {
        return 0;
    }
    (round(live) / 4).saturating_mul(random >> 32) >> 32
}

/// A moment of a gateway's own within a round that begins at `time`, so that the gateways of a fleet do not call at once
/// when something is left again.
pub(super) fn turn(time: FleetTime, gateway: GatewayId, live: u64) -> FleetTime {
    // Ids are random; the factor gives another order at each time.
    let mixed = (gateway.0 as u64 ^ time.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let span = if live > 1 { round(live) } else { 0 };
    time.plus(span.saturating_mul(mixed) >> 32)
}

/// The recent use of one counter at one gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Demand {
    /// The amounts used, of which half is forgotten after every half-life.
    pub(super) recent: u128,
    /// The moment of the last use.
    pub(super) last: FleetTime,
    /// The amount of a typical request.
    pub(super) typical: u128,
}

impl Demand {
    /// Adds a use.
    pub(super) fn add(&mut self, amount: u128, now: FleetTime) {
        self.recent = self.recent_at(now).saturating_add(amount);
        self.last = self.last.max(now);
        // A moving average over about eight requests, rounded up.
        self.typical = match self.typical {
            0 => amount,
            typical => typical.saturating_mul(7).saturating_add(amount).saturating_add(7) / 8,
        };
    }

    /// Removes a use that did not happen.
    pub(super) fn remove(&mut self, amount: u128) {
        self.recent = self.recent.saturating_sub(amount);
    }

    fn recent_at(&self, now: FleetTime) -> u128 {
        let passed = now.0.saturating_sub(self.last.0);
        let halved = self.recent >> (passed / HALF_LIFE).min(127);
        // Between two half-lives the decay is linear.
        let part = u128::from(passed % HALF_LIFE);
        halved - (halved / 2).saturating_mul(part) / u128::from(HALF_LIFE)
    }

    /// The use expected in a time. Uses that follow each other soon decay along the line that begins a half-life, so that a
    /// steady use adds up to that of two half-lives.
    fn expected(&self, nanos: u64, now: FleetTime) -> u128 {
        self.recent_at(now).saturating_mul(u128::from(nanos)) / u128::from(2 * HALF_LIFE)
    }
}

/// The state of one counter in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Supply {
    /// The limit.
    pub limit: u128,
    /// The amount spent in the window or period.
    pub used: u128,
    /// The amount in all slices.
    pub leased: u128,
    /// True if it counts money.
    pub is_money: bool,
    /// The number of gateways that are alive, at least 1.
    pub live: u64,
    /// True if another gateway wants what slices hold.
    pub wanted: bool,
}

impl Supply {
    fn left(&self) -> u128 {
        self.limit.saturating_sub(self.used.saturating_add(self.leased))
    }

    /// True if less than five eighths of the limit are spent: half, and some more at times. Slices do not count, since they are
    /// given back where they are wanted.
    fn is_relaxed(&self) -> bool {
        self.used < self.limit.saturating_sub(self.limit / 8 * 3)
    }

    /// True if less than two typical requests are left for each gateway.
    fn is_tight(&self, demand: &Demand) -> bool {
        self.left() < demand.typical.saturating_mul(2).saturating_mul(u128::from(self.live))
    }

    /// The time for which a gateway makes no further call near the limit: a round of a fleet so large that its calls would
    /// conflict more often than not.
    pub(super) fn pause(&self, demand: &Demand) -> Option<u64> {
        let round = round(self.live);
        (round >= LARGE && self.is_tight(demand)).then_some(round)
    }

    /// The amount that a gateway with this demand should have in hand.
    fn target(&self, demand: &Demand, now: FleetTime) -> u128 {
        if self.is_tight(demand) {
            // Twice, since a demand that is refused in part is larger than it looks.
            return demand.expected(round(self.live).saturating_mul(2), now);
        }
        let time = match (self.is_relaxed(), self.is_money) {
            (true, false) => RELAXED,
            (true, true) => RELAXED_MONEY,
            (false, _) => CLOSE,
        };
        demand.expected(time, now).saturating_add(demand.typical)
    }

    /// The amount to grant to a gateway that has `free` in hand.
    pub(super) fn grant(&self, demand: &Demand, free: u128, now: FleetTime) -> u128 {
        if self.wanted || self.is_idle(demand, now) {
            return 0;
        }
        let share = if self.is_money { u128::from(self.live).saturating_mul(4) } else { 2 };
        self.target(demand, now).saturating_sub(free).min(self.left() / share.max(2))
    }

    /// The amount to give back of `free`.
    pub(super) fn excess(&self, demand: &Demand, free: u128, now: FleetTime) -> u128 {
        if self.wanted || self.is_idle(demand, now) {
            return free;
        }
        if self.is_relaxed() { 0 } else { free.saturating_sub(self.target(demand, now).saturating_mul(2)) }
    }

    /// True if a refill is due before the slice is used up.
    pub(super) fn is_low(&self, demand: &Demand, free: u128, now: FleetTime) -> bool {
        let lead = if self.is_relaxed() { LEAD } else { CLOSE / 2 };
        !self.is_idle(demand, now) && free < demand.expected(lead, now).saturating_add(demand.typical)
    }

    fn is_idle(&self, demand: &Demand, now: FleetTime) -> bool {
        let after = if self.is_relaxed() { IDLE } else { IDLE_CLOSE };
        now.0.saturating_sub(demand.last.0) > after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: FleetTime = FleetTime(1_000 * SECOND);

    /// The demand of a request of 10 each second for a minute.
    fn steady() -> Demand {
        let mut demand = Demand::default();
        for second in 0..60 {
            demand.add(10, FleetTime(NOW.0 - (59 - second) * SECOND));
        }
        demand
    }

    fn supply(used: u128, leased: u128, live: u64) -> Supply {
        Supply { limit: 10_000, used, leased, is_money: false, live, wanted: false }
    }

    #[test]
    fn a_slice_lasts_for_half_a_minute_far_below_the_limit_and_for_a_second_near_it() {
        let demand = steady();
        assert_eq!(demand.typical, 10);
        let far = supply(0, 0, 3).grant(&demand, 0, NOW);
        assert!((270..=370).contains(&far), "{far}");
        let near = supply(9_000, 0, 3).grant(&demand, 0, NOW);
        assert!((15..=30).contains(&near), "{near}");
        let money = Supply { is_money: true, ..supply(0, 0, 3) }.grant(&demand, 0, NOW);
        assert!((80..=110).contains(&money), "{money}");
    }

    #[test]
    fn nothing_is_leased_where_two_requests_for_each_gateway_are_not_left() {
        assert_eq!(supply(9_950, 0, 3).grant(&steady(), 0, NOW), 0);
        assert_eq!(Supply { wanted: true, ..supply(0, 0, 3) }.grant(&steady(), 0, NOW), 0);
        assert_eq!(supply(9_950, 0, 3).pause(&steady()), None);
        assert_eq!(supply(9_950, 0, 100).pause(&steady()), Some(SECOND), "a round of a hundred gateways");
    }

    #[test]
    fn a_slice_goes_back_when_it_is_idle_or_wanted() {
        let later = |nanos: u64| NOW.plus(nanos);
        let far = supply(0, 300, 3);
        assert_eq!(far.excess(&steady(), 300, later(IDLE)), 0);
        assert_eq!(far.excess(&steady(), 300, later(IDLE + 1)), 300);
        let near = supply(9_000, 20, 3);
        assert_eq!(near.excess(&steady(), 20, later(IDLE_CLOSE)), 0);
        assert_eq!(near.excess(&steady(), 20, later(IDLE_CLOSE + 1)), 20);
        assert_eq!(Supply { wanted: true, ..far }.excess(&steady(), 300, NOW), 300);
        assert!(far.is_low(&steady(), 20, NOW) && !far.is_low(&steady(), 200, NOW));
    }

    #[test]
    fn the_calls_of_a_large_fleet_are_spread_over_a_round() {
        let turns = (0..1_000).map(|id| turn(NOW, GatewayId(id), 100).0 - NOW.0);
        let early = turns.clone().filter(|turn| *turn < SECOND / 2).count();
        assert!((400..600).contains(&early), "{early}");
        assert!(turns.max() < Some(SECOND));
        assert_eq!(turn(NOW, GatewayId(7), 1), NOW);
        assert_eq!(backoff(1, 100, u64::MAX), 0);
        assert!(backoff(2, 100, u64::MAX) < SECOND / 4 && backoff(2, 3, u64::MAX) < SECOND / 100);
    }
}
