//! The membership of a gateway: its id, the end of its trust in itself, and the record that its VMs share.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::bytes::{Reader, put};
use super::clock::{ClockReading, FleetNow, elapsed};
use crate::time::{Now, SECOND};

/// The time to live of a gateway's lease in etcd, in seconds.
pub const LEASE_SECONDS: u64 = 10;
/// The time after sending a renewal, in nanoseconds, for which a gateway spends from its slices and trusts its clock: three
/// seconds less than etcd keeps the lease at least.
pub const MARGIN: u64 = (LEASE_SECONDS - 3) * SECOND;
/// The interval of renewals in nanoseconds.
pub const RENEWAL: u64 = 2 * SECOND;
/// The time after which the keys of a retired gateway are deleted, in nanoseconds of the fleet's clock: no gateway that
/// comes back after it still has a call whose outcome it does not know.
pub const FORGET_AFTER: u64 = 3_600 * SECOND;

/// The random name of a gateway, from the start of its process or from the end of its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub u128);

impl GatewayId {
    /// The name in keys: 32 hexadecimal digits.
    pub fn text(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Reads a name from a key.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let whole = text.len() == 32 && text.as_bytes().iter().all(is_digit);
        whole.then(|| u128::from_str_radix(text, 16).ok().map(GatewayId)).flatten()
    }
}

/// The standing of a gateway in its fleet: one record in shared data, written by the VM that renews it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The id.
    pub id: GatewayId,
    /// Moment of sending the last renewal that etcd acknowledged, on the wall clock (ns).
    wall: u64,
    /// The same moment on the monotonic clock (ns).
    monotonic: u64,
    clock: ClockReading,
}

const FORMAT: u8 = 1;

impl Membership {
    /// The membership after etcd acknowledged a join or a renewal: both the lease and the value of `member/<gateway>`.
    /// `sent` is the moment of sending the first of its requests.
    pub fn renewed(id: GatewayId, sent: Now, clock: ClockReading) -> Self {
        Membership { id, wall: sent.wall, monotonic: sent.monotonic, clock }
    }

    /// The fleet's time; `None` if the margin has passed: nothing may be spent from slices, and the gateway joins anew,
    /// with a new id and without its clock, even if a renewal is acknowledged later.
    pub fn now(&self, now: Now) -> Option<FleetNow> {
        let sent = Now { wall: self.wall, monotonic: self.monotonic };
        (elapsed(sent, now) < MARGIN).then(|| self.clock.now(now))
    }

    /// The same membership with a newer reading of the clock, from a response between two renewals.
    #[must_use]
    pub fn with_clock(self, clock: ClockReading) -> Self {
        Membership { clock, ..self }
    }

    /// The reading of the clock, for a VM that takes over the renewal.
    pub fn clock(&self) -> ClockReading {
        self.clock
    }

    /// Returns the bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::from([FORMAT]);
        put(&mut bytes, self.id.0);
        put(&mut bytes, u128::from(self.wall));
        put(&mut bytes, u128::from(self.monotonic));
        self.clock.put(&mut bytes);
        bytes
    }

    /// Reads the bytes; `None` for another format.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let mut reader = Reader::new(rest);
        let id = GatewayId(reader.number()?);
        let [wall, monotonic] = [reader.long()?, reader.long()?];
        let clock = ClockReading::read(&mut reader)?;
        reader.end()?;
        (*format == FORMAT).then_some(Membership { id, wall, monotonic, clock })
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::{Clock, FleetTime, MembersRead};
    use super::*;

    #[test]
    fn a_gateway_stops_before_its_lease_can_have_ended() {
        let at = |wall: u64, monotonic: u64| Now { wall: wall * SECOND, monotonic: monotonic * SECOND };
        let sent = at(50, 1_000);
        let read = MembersRead { revision: 1, sent, received: sent, clock: FleetTime(0), members: &[] };
        let member = Membership::renewed(GatewayId(5), sent, Clock::first(&read, None).reading());
        assert!(member.now(at(56, 1_006)).is_some());
        assert!(member.now(at(50, 1_007)).is_none(), "the wall clock stepped back");
        assert!(member.now(at(57, 1_001)).is_none(), "the machine was suspended");
        assert_eq!(Membership::from_bytes(&member.to_bytes()), Some(member));
        assert_eq!(Membership::from_bytes(&[]), None);
    }

    #[test]
    fn names_read_back() {
        for id in [0, 1, u128::MAX] {
            assert_eq!(GatewayId::parse(&GatewayId(id).text()), Some(GatewayId(id)));
        }
        for text in ["", "+0000000000000000000000000000001", "0000000000000000000000000000000G"] {
            assert_eq!(GatewayId::parse(text), None);
        }
    }
}
