//! The fleet's clock: two bounds of one time that all gateways share, whatever their wall clocks are.
//!
//! A gateway's *earliest* time is a time that some gateway had, plus the time since on its own monotonic clock. It runs as
//! fast as true time, and is adopted from others only with delay, so that the largest lead of any gateway over true time
//! never grows. Its *latest* time bounds the earliest time of every other gateway from above. Spends are stamped with the
//! latest time and leave a window by the earliest: both are on the safe side, without slots to spare.
//!
//! # The upper bound
//!
//! A member's value `(T, seen)` says: its earliest time was `T` at a moment after it had received a response of etcd at
//! revision `seen`. A reader that has itself received a response of a lower revision, which it asked for at the moment `m`,
//! concludes that `T` was evaluated after `m`, so that the member's earliest time is at most `T` plus the time since `m`.
//! Without such a response it uses that a gateway whose value is not renewed for [`super::MARGIN`] forgets its clock.

use alloc::vec::Vec;

use super::bytes::{Reader, put};
use super::member::{GatewayId, MARGIN};
use crate::time::Now;

/// A moment of the fleet's clock: nanoseconds since the Unix epoch, as the first gateway's wall clock said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FleetTime(pub u64);

impl FleetTime {
    /// Adds nanoseconds, saturating.
    #[must_use]
    pub fn plus(self, nanos: u64) -> Self {
        FleetTime(self.0.saturating_add(nanos))
    }
}

/// The bounds of the fleet's time at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FleetNow {
    /// A time that has passed for certain: what leaves a window is decided by it.
    pub earliest: FleetTime,
    /// No gateway's earliest time is later: spends are stamped with it.
    pub latest: FleetTime,
}

/// The value of `member/<gateway>`: a bound of its gateway's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberValue {
    /// Its earliest time when it sent the value.
    pub time: FleetTime,
    /// The revision of a response that it had received before.
    pub seen: u64,
}

const FORMAT: u8 = 1;

impl MemberValue {
    /// Returns the bytes to store.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::from([FORMAT]);
        put(&mut bytes, u128::from(self.time.0));
        put(&mut bytes, u128::from(self.seen));
        bytes
    }

    /// Reads the bytes; `None` for another format.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let mut reader = Reader::new(rest);
        let value = MemberValue { time: FleetTime(reader.long()?), seen: reader.long()? };
        reader.end()?;
        (*format == FORMAT).then_some(value)
    }
}

/// One response of etcd that lists the members.
#[derive(Clone, Copy, Debug)]
pub struct MembersRead<'r> {
    /// The revision in the response's header.
    pub revision: u64,
    /// The moment of sending the request.
    pub sent: Now,
    /// The moment of receiving the response.
    pub received: Now,
    /// The value of `clock`; 0 if missing.
    pub clock: FleetTime,
    /// All other members.
    pub members: &'r [(GatewayId, MemberValue)],
}

/// A fleet time and the moment at which it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Anchor {
    time: FleetTime,
    wall: u64,
    monotonic: u64,
}

impl Anchor {
    fn new(time: FleetTime, at: Now) -> Self {
        Anchor { time, wall: at.wall, monotonic: at.monotonic }
    }

    /// The time that has passed at least: the monotonic clock stops while a machine is suspended.
    fn at_least(&self, now: Now) -> FleetTime {
        self.time.plus(now.monotonic.saturating_sub(self.monotonic))
    }

    /// The time that has passed at most: by the faster of both clocks.
    fn at_most(&self, now: Now) -> FleetTime {
        let at = Now { wall: self.wall, monotonic: self.monotonic };
        self.time.plus(elapsed(at, now))
    }
}

/// The time since an earlier moment: the larger of both clocks' differences, since a suspended machine stops one of them.
pub(super) fn elapsed(since: Now, now: Now) -> u64 {
    now.monotonic.saturating_sub(since.monotonic).max(now.wall.saturating_sub(since.wall))
}

/// Responses that are remembered for the upper bound.
const READS: usize = 16;

/// The bounds of the fleet's time, as all VMs of a gateway use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClockReading {
    earliest: Anchor,
    latest: Anchor,
}

impl ClockReading {
    /// The bounds at this moment.
    pub fn now(&self, now: Now) -> FleetNow {
        let earliest = self.earliest.at_least(now);
        FleetNow { earliest, latest: self.latest.at_most(now).max(earliest) }
    }

    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        for Anchor { time, wall, monotonic } in [self.earliest, self.latest] {
            [time.0, wall, monotonic].into_iter().for_each(|number| put(bytes, u128::from(number)));
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut anchor = || {
            let time = FleetTime(reader.long()?);
            Some(Anchor { time, wall: reader.long()?, monotonic: reader.long()? })
        };
        Some(ClockReading { earliest: anchor()?, latest: anchor()? })
    }
}

/// The clock of the VM that renews the membership: a reading, and the facts that improve its upper bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    reading: ClockReading,
    /// Revisions of responses, each with the moment of asking; oldest first.
    reads: Vec<(u64, u64, u64)>,
    /// The upper bound of each other member, in the order of their ids.
    bounds: Vec<(GatewayId, Anchor)>,
}

impl Clock {
    /// The clock of a gateway that joins. `None`: no member is alive, so that the clock begins with
    /// [`Clock::first`]. The stored value of `clock` does not count here: it may be from a gateway that is gone and was ahead
    /// of those that are alive, whose upper bounds hold only while their greatest lead does not grow.
    pub fn join(read: &MembersRead<'_>) -> Option<Clock> {
        let earliest = read.members.iter().map(|(_, value)| value.time).max()?;
        let earliest = Anchor::new(earliest, read.received);
        let latest = Anchor::new(earliest.time.plus(MARGIN), read.sent);
        let reading = ClockReading { earliest, latest };
        let mut clock = Clock { reading, reads: Vec::new(), bounds: Vec::new() };
        clock.sample(read);
        Some(clock)
    }

    /// The clock of the first gateway of a fleet: its own from before its lease ended, or else the wall clock; but not before
    /// any moment that was stored. The transaction that joins must put `era`, and like all that join compare that it did not
    /// change since the read.
    pub fn first(read: &MembersRead<'_>, own: Option<ClockReading>) -> Clock {
        let now = read.received;
        let own = own.map_or(FleetTime(now.wall), |own| own.earliest.at_least(now));
        let anchor = Anchor::new(own.max(read.clock), now);
        let reading = ClockReading { earliest: anchor, latest: anchor };
        Clock { reading, reads: Vec::new(), bounds: Vec::new() }
    }

    /// The clock of a VM that takes over the renewal, from the reading that all VMs share.
    pub fn resume(reading: ClockReading) -> Clock {
        Clock { reading, reads: Vec::new(), bounds: Vec::new() }
    }

    /// The reading for all VMs.
    pub fn reading(&self) -> ClockReading {
        self.reading
    }

    /// The value to publish in a transaction that is sent at this moment, after a response at revision `seen`.
    pub fn value(&self, seen: u64, now: Now) -> MemberValue {
        MemberValue { time: self.reading.now(now).earliest, seen }
    }

    /// Improves both bounds by a response that lists all other members.
    pub fn sample(&mut self, read: &MembersRead<'_>) {
        let now = read.received;
        let mut bounds = Vec::with_capacity(read.members.len());
        for (member, value) in read.members {
            let sample = Anchor::new(value.time, read.received);
            if sample.at_least(now) > self.reading.earliest.at_least(now) {
                self.reading.earliest = sample;
            }
            let asked = self.reads.iter().rev().find(|(revision, ..)| *revision < value.seen);
            let bound = match asked {
                Some((_, wall, monotonic)) => Anchor { time: value.time, wall: *wall, monotonic: *monotonic },
                None => Anchor::new(value.time.plus(MARGIN), read.sent),
            };
            let known = self.bounds.binary_search_by_key(member, |(id, _)| *id).ok();
            let known = known.and_then(|at| self.bounds.get(at)).map(|(_, known)| *known);
            let best = known.filter(|known| known.at_most(now) < bound.at_most(now)).unwrap_or(bound);
            bounds.push((*member, best));
        }
        bounds.sort_unstable_by_key(|(id, _)| *id);
        self.bounds = bounds;
        let own = self.reading.earliest;
        let others = self.bounds.iter().map(|(_, bound)| *bound);
        let latest = others.chain([own]).max_by_key(|bound| bound.at_most(now)).unwrap_or(own);
        // A member above the bound has come from a store that was restored: the bound begins anew.
        let is_broken = read.members.iter().any(|(_, value)| value.time > self.reading.latest.at_most(now));
        if is_broken || latest.at_most(now) < self.reading.latest.at_most(now) {
            self.reading.latest = latest;
        }
        self.reads.push((read.revision, read.sent.wall, read.sent.monotonic));
        if self.reads.len() > READS {
            self.reads.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::time::SECOND;

    fn at(seconds: u64) -> Now {
        Now { wall: seconds * SECOND, monotonic: seconds * SECOND }
    }

    fn read<'r>(
        revision: u64,
        sent: Now,
        received: Now,
        members: &'r [(GatewayId, MemberValue)],
    ) -> MembersRead<'r> {
        MembersRead { revision, sent, received, clock: FleetTime(0), members }
    }

    #[test]
    fn the_first_gateway_begins_with_the_wall_clock_or_with_what_was_stored() {
        let mut none = read(1, at(100), at(101), &[]);
        let clock = Clock::first(&none, None);
        let now = clock.reading().now(at(103));
        assert_eq!((now.earliest.0, now.latest.0), (103 * SECOND, 103 * SECOND));
        none.clock = FleetTime(500 * SECOND);
        assert_eq!(Clock::first(&none, None).reading().now(at(103)).earliest.0, 502 * SECOND);
        assert_eq!(Clock::join(&none), None);
    }

    #[test]
    fn a_newcomer_is_between_its_bounds_and_they_close_with_each_renewal() {
        // The other gateway is 1,000 s ahead of this one's clocks.
        let other = GatewayId(7);
        let value = |seconds: u64, seen| {
            vec![(other, MemberValue { time: FleetTime((1_000 + seconds) * SECOND), seen })]
        };
        // Its value is 2 s old.
        let members = value(10, 3);
        let mut clock = Clock::join(&read(5, at(12), at(13), &members)).unwrap();
        let now = clock.reading().now(at(13));
        assert_eq!(now.earliest.0, 1_010 * SECOND);
        assert_eq!(now.latest.0, 1_011 * SECOND + MARGIN);
        // It renews at 14 after it saw revision 6, and is read at 15.
        let members = value(14, 6);
        clock.sample(&read(7, at(15), at(15), &members));
        let now = clock.reading().now(at(15));
        assert_eq!(now.earliest.0, 1_014 * SECOND);
        // The first read was sent at 12, at revision 5.
        assert_eq!(now.latest.0, 1_017 * SECOND);
        let members = value(16, 8);
        clock.sample(&read(9, at(16), at(16), &members));
        let now = clock.reading().now(at(16));
        assert_eq!(now.earliest.0, 1_016 * SECOND);
        assert_eq!(now.latest.0, 1_017 * SECOND);
        // It is gone.
        clock.sample(&read(20, at(30), at(30), &[]));
        let now = clock.reading().now(at(30));
        assert_eq!(now.latest, now.earliest);
    }

    #[test]
    fn a_suspended_machine_and_a_stepped_clock_only_widen_the_bounds() {
        let clock = Clock::first(&read(1, at(100), at(100), &[]), None);
        let suspended = Now { wall: 160 * SECOND, monotonic: 101 * SECOND };
        let now = clock.reading().now(suspended);
        assert_eq!((now.earliest.0, now.latest.0), (101 * SECOND, 160 * SECOND));
        let back = Now { wall: 20 * SECOND, monotonic: 101 * SECOND };
        let now = clock.reading().now(back);
        assert_eq!((now.earliest.0, now.latest.0), (101 * SECOND, 101 * SECOND));
    }

    #[test]
    fn values_read_back() {
        let value = MemberValue { time: FleetTime(u64::MAX), seen: 300 };
        let bytes = value.to_bytes();
        assert_eq!(MemberValue::from_bytes(&bytes), Some(value));
        assert_eq!(MemberValue::from_bytes(&bytes[..3]), None);
        assert_eq!(MemberValue::from_bytes(&[2, 0, 0]), None);
    }
}
