//! The polling lease of a process, the freshness of its policy, and its drain: three small records in shared data.

use alloc::vec::Vec;

use crate::time::{Now, SECOND};

/// Interval at which a VM tries to take the lease (ns).
pub const POLL_INTERVAL: u64 = SECOND / 4;
/// Duration of the lease unless renewed (ns): longer than a late tick, and short enough that another VM takes over
/// within a second of a trap.
pub(crate) const LEASE: u64 = SECOND * 6 / 10;
/// Age from which a policy is reported as stale (ns).
pub(crate) const STALE_AFTER: u64 = 2 * SECOND;

const FORMAT: u8 = 1;

/// Returns the record to store to take or renew the lease; `None` if another VM holds it.
///
/// If two VMs take it at once, both poll, which costs one extra call.
pub(crate) fn take_lease(record: &[u8], vm: u64, now: Now) -> Option<Vec<u8>> {
    let held = numbers(record).is_some_and(|[holder, until]| {
        // A lease that ends too late is from another clock, such as before a reboot.
        holder != vm && until > now.monotonic && until <= now.monotonic.saturating_add(LEASE)
    });
    (!held).then(|| bytes([vm, now.monotonic.saturating_add(LEASE)]))
}

/// The time of the last read from etcd, and the revision read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// Start of the read on the monotonic clock (ns).
    pub at: u64,
    /// Revision of the last write.
    pub revision: u64,
}

impl Freshness {
    /// Returns the record's bytes.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        bytes([self.at, self.revision])
    }

    /// Reads a record; `None` if etcd was never read in this process.
    pub(crate) fn from_bytes(record: &[u8]) -> Option<Self> {
        numbers(record).map(|[at, revision]| Freshness { at, revision })
    }

    /// Returns the maximum of both, so that a delayed VM cannot set the record back.
    pub(crate) fn later(self, other: Option<Freshness>) -> Freshness {
        match other {
            Some(other) => {
                Freshness { at: self.at.max(other.at), revision: self.revision.max(other.revision) }
            }
            None => self,
        }
    }

    /// Returns the age of the read data (ns).
    pub(crate) fn age(self, now: Now) -> u64 {
        now.monotonic.saturating_sub(self.at)
    }
}

/// The preparation of a planned stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drain {
    /// End on the monotonic clock (ns): a gateway that was not stopped by then leases slices again.
    until: u64,
    /// The number of slices that are not back; `None` before they were counted.
    pub left: Option<u64>,
}

/// Duration of a drain (ns).
const DRAIN: u64 = 300 * SECOND;

impl Drain {
    /// Begins a drain.
    pub(crate) fn begin(now: Now) -> Self {
        Drain { until: now.monotonic.saturating_add(DRAIN), left: None }
    }

    /// The same drain with so many slices that are not back.
    pub(crate) fn counted(self, left: u64) -> Self {
        Drain { left: Some(left), ..self }
    }

    /// Returns true until it ends.
    pub(crate) fn lasts(self, now: Now) -> bool {
        // An end that is too late is from another clock, such as before a reboot.
        now.monotonic < self.until && self.until <= now.monotonic.saturating_add(DRAIN)
    }

    /// Returns the record's bytes.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        bytes([self.until, self.left.unwrap_or(u64::MAX)])
    }

    /// Reads a record; `None` if no drain has begun.
    pub(crate) fn from_bytes(record: &[u8]) -> Option<Self> {
        let [until, left] = numbers(record)?;
        Some(Drain { until, left: (left != u64::MAX).then_some(left) })
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
    fn the_lease_passes_on_once_it_is_not_renewed() {
        let first = take_lease(&[], 1, at(0)).unwrap();
        assert_eq!(take_lease(&first, 2, at(LEASE - 1)), None);
        let again = take_lease(&first, 1, at(POLL_INTERVAL)).unwrap();
        assert_eq!(take_lease(&again, 2, at(LEASE)), None);
        assert!(take_lease(&again, 2, at(POLL_INTERVAL + LEASE)).is_some());
        // A lease from another clock.
        assert!(take_lease(&again, 2, at(0)).is_some());
    }

    #[test]
    fn freshness_never_decreases() {
        let old = Freshness { at: 5, revision: 9 };
        let new = Freshness { at: 7, revision: 8 };
        let both = new.later(Some(old));
        assert_eq!(both, Freshness { at: 7, revision: 9 });
        assert_eq!(Freshness::from_bytes(&both.to_bytes()), Some(both));
        assert_eq!(both.age(at(10)), 3);
        assert_eq!(Freshness::from_bytes(b"\x02"), None);
    }
}
