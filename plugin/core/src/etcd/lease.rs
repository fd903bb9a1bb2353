//! Who polls for a process, and how fresh its policy is. Both are small records in shared data.

use alloc::vec::Vec;

use crate::time::{Now, SECOND};

/// How often a VM looks whether it should poll (ns).
pub const TICK: u64 = SECOND / 4;
/// How long one VM's turn at polling lasts unless it takes it again (ns): longer than a late tick, and short
/// enough that after a trap another VM begins within a second.
pub const LEASE: u64 = SECOND * 6 / 10;
/// From this age on a policy is said to be behind (ns).
pub const BEHIND: u64 = 2 * SECOND;

const FORMAT: u8 = 1;

/// The record to store if this VM is to poll now: nobody has the turn, or this VM does. `None`: another one has.
///
/// Two that take it at once poll both: that costs a call, no more.
pub fn take_lease(record: &[u8], me: u64, now: Now) -> Option<Vec<u8>> {
    let held = numbers(record).is_some_and(|[vm, until]| {
        // A turn that ends later than one could be taken is from another clock: of a reboot, of another format.
        vm != me && until > now.monotonic && until <= now.monotonic.saturating_add(LEASE)
    });
    (!held).then(|| bytes([me, now.monotonic.saturating_add(LEASE)]))
}

/// When etcd was last read, and what was the last write there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Nanoseconds of the monotonic clock, when the reading began.
    pub at: u64,
    /// Revision of the last write.
    pub revision: u64,
}

impl Freshness {
    /// The record.
    pub fn to_bytes(self) -> Vec<u8> {
        bytes([self.at, self.revision])
    }

    /// Reads it; `None`: etcd was never read in this process.
    pub fn from_bytes(record: &[u8]) -> Option<Self> {
        numbers(record).map(|[at, revision]| Freshness { at, revision })
    }

    /// The later of two: who was overtaken does not set it back.
    pub fn later(self, other: Option<Freshness>) -> Freshness {
        match other {
            Some(other) => {
                Freshness { at: self.at.max(other.at), revision: self.revision.max(other.revision) }
            }
            None => self,
        }
    }

    /// How old what was read is (ns).
    pub fn age(self, now: Now) -> u64 {
        now.monotonic.saturating_sub(self.at)
    }
}

fn bytes([first, second]: [u64; 2]) -> Vec<u8> {
    let mut record = Vec::with_capacity(17);
    record.push(FORMAT);
    record.extend_from_slice(&first.to_le_bytes());
    record.extend_from_slice(&second.to_le_bytes());
    record
}

fn numbers(record: &[u8]) -> Option<[u64; 2]> {
    let (format, rest) = record.split_first()?;
    let (first, rest) = rest.split_first_chunk()?;
    let second = rest.try_into().ok()?;
    (*format == FORMAT).then(|| [u64::from_le_bytes(*first), u64::from_le_bytes(second)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic: u64) -> Now {
        Now { wall: 0, monotonic }
    }

    #[test]
    fn one_vm_polls_until_it_stops_taking_its_turn() {
        let first = take_lease(&[], 1, at(0)).unwrap();
        assert_eq!(take_lease(&first, 2, at(LEASE - 1)), None);
        let again = take_lease(&first, 1, at(TICK)).unwrap();
        assert_eq!(take_lease(&again, 2, at(LEASE)), None);
        assert!(take_lease(&again, 2, at(TICK + LEASE)).is_some());
        // Of another clock.
        assert!(take_lease(&again, 2, at(0)).is_some());
    }

    #[test]
    fn what_was_seen_is_not_set_back() {
        let old = Freshness { at: 5, revision: 9 };
        let new = Freshness { at: 7, revision: 8 };
        let both = new.later(Some(old));
        assert_eq!(both, Freshness { at: 7, revision: 9 });
        assert_eq!(Freshness::from_bytes(&both.to_bytes()), Some(both));
        assert_eq!(both.age(at(10)), 3);
        assert_eq!(Freshness::from_bytes(b"\x02"), None);
    }
}
