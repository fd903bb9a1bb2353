//! The bytes of request bodies that are held, bounded over all VMs of a process.
//!
//! A host holds a request's body while the request is undecided, so that many slow senders could fill its memory. All
//! VMs share one record with a claim for each: the number of blocks of [`BLOCK`] bytes that the VM may hold. A VM
//! writes the record only when it needs another block, and on its tick. A trap gives nothing back, so a claim that is
//! not renewed ends after [`CLAIM_SECONDS`].

use alloc::vec::Vec;

use super::{CounterStore, DOCUMENT_MAGIC, RecordKey, StoreError, UnavailableError, Update};
use crate::time::SECOND;

/// The unit of a claim in bytes. Ordinary bodies of a VM fit into one, so that they need no call.
pub const BLOCK: u64 = 4 * 1024 * 1024;

/// The time after which a claim that was not renewed ends, in seconds.
const CLAIM_SECONDS: u64 = 30;
/// The age at which a tick renews a claim, in seconds.
const RENEW_SECONDS: u64 = 5;
/// Magic, zeros and fingerprint, as in every record.
const HEADER: usize = 16;
/// VM, blocks and the wall clock's seconds.
const CLAIM: usize = 20;

/// Error for bytes that would exceed the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// The bytes that one VM holds, and its claim.
#[derive(Debug)]
pub struct BodyClaim {
    vm: u64,
    held: u64,
    blocks: u32,
    /// The wall clock's second of the last write.
    renewed: u64,
}

impl BodyClaim {
    /// Creates the account of a VM with this random id.
    #[must_use]
    pub fn new(vm: u64) -> Self {
        BodyClaim { vm, held: 0, blocks: 0, renewed: 0 }
    }

    /// The number of bytes that are held.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Adds bytes that are held from now on. `max` is the bound over all VMs in bytes, and `wall` the wall clock in
    /// nanoseconds. A VM whose host has no shared data is bounded by itself.
    ///
    /// # Errors
    /// [`NoRoom`]: the bytes are not added.
    pub fn add<S: CounterStore>(
        &mut self,
        store: &mut S,
        name: &RecordKey,
        bytes: u64,
        max: u64,
        wall: u64,
    ) -> Result<(), NoRoom> {
        let held = self.held.saturating_add(bytes);
        let blocks = u32::try_from(held.div_ceil(BLOCK)).map_err(|_| NoRoom)?;
        if blocks > self.blocks {
            match self.claim(store, name, blocks, max / BLOCK, wall) {
                Ok(true) => {}
                Ok(false) | Err(StoreError::Contention) => return Err(NoRoom),
                Err(StoreError::Unavailable(_)) if held <= max => {}
                Err(StoreError::Unavailable(_)) => return Err(NoRoom),
            }
        }
        self.held = held;
        Ok(())
    }

    /// Removes bytes that are no longer held.
    pub fn remove(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// Renews the claim, and gives back blocks that are not needed. To be called on each tick.
    pub fn tick<S: CounterStore>(&mut self, store: &mut S, name: &RecordKey, max: u64, wall: u64) {
        let needed = u32::try_from(self.held.div_ceil(BLOCK)).unwrap_or(u32::MAX);
        let is_old = (wall / SECOND).saturating_sub(self.renewed) >= RENEW_SECONDS;
        if needed < self.blocks || self.blocks > 0 && is_old {
            // A tick that finds no room or no store keeps the claim, which then ends by its age.
            let _ = self.claim(store, name, needed, max / BLOCK, wall);
        }
    }

    /// Sets the claim; returns false if there is no room for it. A lower claim always has room.
    fn claim<S: CounterStore>(
        &mut self,
        store: &mut S,
        name: &RecordKey,
        blocks: u32,
        max_blocks: u64,
        wall: u64,
    ) -> Result<bool, StoreError> {
        let (vm, before, seconds) = (self.vm, self.blocks, wall / SECOND);
        let claimed = store.update_bytes(name, |_, bytes| {
            let mut claims = read(bytes, name)?;
            // A clock that was set back ends no claim early.
            claims.retain(|claim| {
                claim.vm != vm && seconds.saturating_sub(claim.seconds) < CLAIM_SECONDS && claim.blocks > 0
            });
            let others: u64 = claims.iter().map(|claim| u64::from(claim.blocks)).sum();
            if blocks > before && others.saturating_add(blocks.into()) > max_blocks {
                return Ok(Update::Keep(false));
            }
            claims.push(Claim { vm, blocks, seconds });
            *bytes = write(&claims, name);
            Ok::<_, StoreError>(Update::Write(true))
        })?;
        if claimed {
            (self.blocks, self.renewed) = (blocks, seconds);
        }
        Ok(claimed)
    }
}

/// The claim of one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    vm: u64,
    blocks: u32,
    seconds: u64,
}

fn read(bytes: &[u8], name: &RecordKey) -> Result<Vec<Claim>, StoreError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let (claims, rest) = bytes.get(HEADER..).unwrap_or_default().as_chunks::<CLAIM>();
    if super::record::owner(bytes) != Some(name.fingerprint()) || !rest.is_empty() {
        return Err(StoreError::Unavailable(UnavailableError::Format));
    }
    let claim = |claim: &[u8; CLAIM]| {
        let (vm, rest) = claim.split_first_chunk::<8>()?;
        let (blocks, rest) = rest.split_first_chunk::<4>()?;
        let seconds = rest.first_chunk::<8>()?;
        let (vm, seconds) = (u64::from_le_bytes(*vm), u64::from_le_bytes(*seconds));
        Some(Claim { vm, blocks: u32::from_le_bytes(*blocks), seconds })
    };
    Ok(claims.iter().filter_map(claim).collect())
}

fn write(claims: &[Claim], name: &RecordKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + CLAIM * claims.len());
    bytes.extend_from_slice(&DOCUMENT_MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&name.fingerprint().to_le_bytes());
    for Claim { vm, blocks, seconds } in claims {
        bytes.extend_from_slice(&vm.to_le_bytes());
        bytes.extend_from_slice(&blocks.to_le_bytes());
        bytes.extend_from_slice(&seconds.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Cas;
    use proptest::prelude::*;

    /// One record in memory, or no store.
    #[derive(Default)]
    struct Memory {
        bytes: Vec<u8>,
        version: u32,
        is_missing: bool,
        writes: u32,
    }

    impl CounterStore for Memory {
        type Version = u32;

        fn read(&mut self, _: &RecordKey) -> Result<(Vec<u8>, u32), StoreError> {
            if self.is_missing {
                return Err(StoreError::Unavailable(UnavailableError::NoSharedData));
            }
            Ok((self.bytes.clone(), self.version))
        }

        fn compare_and_swap(&mut self, _: &RecordKey, version: u32, bytes: &[u8]) -> Result<Cas, StoreError> {
            if version != self.version {
                return Ok(Cas::Conflict);
            }
            self.bytes = bytes.to_vec();
            self.version += 1;
            self.writes += 1;
            Ok(Cas::Stored)
        }
    }

    const MAX: u64 = 4 * BLOCK;

    fn name() -> RecordKey {
        RecordKey::new("tollgate/1/", &["held"])
    }

    #[test]
    fn bodies_within_one_block_write_the_record_once() {
        let (mut store, mut held) = (Memory::default(), BodyClaim::new(1));
        for _ in 0..1_000 {
            assert_eq!(held.add(&mut store, &name(), BLOCK / 2, MAX, 0), Ok(()));
            held.remove(BLOCK / 2);
        }
        assert_eq!(store.writes, 1);
    }

    #[test]
    fn all_vms_together_hold_at_most_the_bound() {
        let (mut store, mut one, mut other) = (Memory::default(), BodyClaim::new(1), BodyClaim::new(2));
        assert_eq!(one.add(&mut store, &name(), 3 * BLOCK, MAX, 0), Ok(()));
        assert_eq!(other.add(&mut store, &name(), BLOCK + 1, MAX, 0), Err(NoRoom));
        assert_eq!(other.add(&mut store, &name(), BLOCK, MAX, 0), Ok(()));
        assert_eq!(other.add(&mut store, &name(), 1, MAX, 0), Err(NoRoom));
        one.remove(3 * BLOCK);
        one.tick(&mut store, &name(), MAX, 0);
        assert_eq!(other.add(&mut store, &name(), 1, MAX, 0), Ok(()));
    }

    #[test]
    fn the_claim_of_a_vm_that_is_gone_ends_and_that_of_a_living_one_stays() {
        let (mut store, mut gone, mut alive) = (Memory::default(), BodyClaim::new(1), BodyClaim::new(2));
        gone.add(&mut store, &name(), 2 * BLOCK, MAX, 0).unwrap();
        alive.add(&mut store, &name(), 2 * BLOCK, MAX, 0).unwrap();
        let mut next = BodyClaim::new(3);
        for second in 1..29 {
            alive.tick(&mut store, &name(), MAX, second * SECOND);
        }
        assert_eq!(next.add(&mut store, &name(), 1, MAX, 29 * SECOND), Err(NoRoom));
        assert_eq!(next.add(&mut store, &name(), 3 * BLOCK, MAX, 30 * SECOND), Err(NoRoom));
        assert_eq!(next.add(&mut store, &name(), 2 * BLOCK, MAX, 30 * SECOND), Ok(()));
    }

    #[test]
    fn without_shared_data_each_vm_is_bounded_by_itself() {
        let (mut store, mut held) = (Memory { is_missing: true, ..Memory::default() }, BodyClaim::new(1));
        assert_eq!(held.add(&mut store, &name(), MAX, MAX, 0), Ok(()));
        assert_eq!(held.add(&mut store, &name(), 1, MAX, 0), Err(NoRoom));
    }

    proptest! {
        #[test]
        fn the_sum_never_exceeds_the_bound(steps in proptest::collection::vec((0_usize..3, any::<bool>(), 0..2 * BLOCK), 1..60)) {
            let mut store = Memory::default();
            let mut vms = [BodyClaim::new(1), BodyClaim::new(2), BodyClaim::new(3)];
            for (vm, adds, bytes) in steps {
                if adds {
                    let _ = vms[vm].add(&mut store, &name(), bytes, MAX, 0);
                } else {
                    vms[vm].remove(bytes);
                    vms[vm].tick(&mut store, &name(), MAX, 0);
                }
                prop_assert!(vms.iter().map(BodyClaim::held).sum::<u64>() <= MAX);
            }
        }
    }
}
