//! The index: everything a request needs, found without allocating.

use alloc::boxed::Box;
use hashbrown::HashTable;

use super::model::*;
use super::table::Table;
use crate::time::Now;

/// A policy, every name resolved.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The catalogue.
    pub targets: Table<Target>,
    /// Every group that is carried or granted anywhere.
    pub groups: Table<()>,
    /// Tenants.
    pub organizations: Table<Organization>,
    /// Working units.
    pub teams: Table<Team>,
    /// People.
    pub users: Table<User>,
    /// Owners that are no people.
    pub service_accounts: Table<ServiceAccount>,
    /// Keys by id.
    pub keys: Table<Key>,
    /// What a budget does about a target without a price.
    pub unpriced: Unpriced,
    digests: HashTable<u32>,
    previous: HashTable<u32>,
}

/// A digest is its own hash.
fn hash(digest: &Digest) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

impl Policy {
    /// Whose key this is. A rotated secret counts while its grace period lasts.
    pub fn key_by_digest(&self, digest: &Digest, now: Now) -> Option<(KeyIx, &Key)> {
        let hash = hash(digest);
        let current =
            self.digests.find(hash, |row| self.keys.get(*row).is_some_and(|key| key.digest == *digest));
        let row = current.or_else(|| {
            self.previous.find(hash, |row| {
                self.keys
                    .get(*row)
                    .and_then(Key::previous)
                    .is_some_and(|(previous, until)| *previous == *digest && now.timestamp() < until)
            })
        });
        let row = *row?;
        Some((KeyIx(row), self.keys.get(row)?))
    }

    /// A target by its public name.
    pub fn target(&self, name: &str) -> Option<(TargetIx, &Target)> {
        let position = self.targets.find(name)?;
        Some((TargetIx(position), self.targets.get(position)?))
    }

    /// Enters a key's digests, the present one and the one before. Where another digest is the same, present
    /// or past, it is not entered: the answer says which of the two could be.
    pub(super) fn enter_digests(&mut self, row: u32) -> [bool; 2] {
        let Some(key) = self.keys.get(row) else { return [true; 2] };
        let (digest, previous) = (key.digest, key.previous().map(|(digest, _)| *digest));
        let current_is_new = !self.has_digest(&digest);
        let keys = &self.keys;
        if current_is_new {
            let hash_of = |other: &u32| keys.get(*other).map_or(0, |key| hash(&key.digest));
            self.digests.insert_unique(hash(&digest), row, hash_of);
        }
        let Some(previous) = previous else { return [current_is_new, true] };
        let previous_is_new = !self.has_digest(&previous);
        let keys = &self.keys;
        if previous_is_new {
            let hash_of =
                |other: &u32| keys.get(*other).and_then(Key::previous).map_or(0, |(digest, _)| hash(digest));
            self.previous.insert_unique(hash(&previous), row, hash_of);
        }
        [current_is_new, previous_is_new]
    }

    fn has_digest(&self, digest: &Digest) -> bool {
        let key = |row: &u32| self.keys.get(*row);
        let current = |row: &u32| key(row).is_some_and(|key| key.digest == *digest);
        let previous = |row: &u32| key(row).and_then(Key::previous).is_some_and(|(old, _)| old == digest);
        self.digests.find(hash(digest), current).is_some()
            || self.previous.find(hash(digest), previous).is_some()
    }

    /// Gives back what growing left over.
    pub(super) fn shrink(&mut self) {
        self.keys.shrink();
        let keys = &self.keys;
        self.digests.shrink_to_fit(|row| keys.get(*row).map_or(0, |key| hash(&key.digest)));
    }
}

impl Key {
    /// The rotated secret's digest, and when it stops working.
    pub fn previous(&self) -> Option<(&Digest, crate::time::Timestamp)> {
        self.more.as_ref()?.previous.as_ref().map(|(digest, until)| (digest, *until))
    }

    /// Which part of the team's access it has.
    pub fn access(&self) -> &Scope {
        static INHERIT: Scope = Scope::Inherit;
        self.more.as_ref().map_or(&INHERIT, |more| &more.access)
    }

    /// Its limits and budget.
    pub fn allowance(&self) -> Option<&Allowance> {
        self.more.as_ref()?.allowance.as_deref()
    }
}

impl Selection {
    /// From what was read; sorted, without repetition.
    pub(super) fn new(
        all: bool,
        mut targets: alloc::vec::Vec<TargetIx>,
        mut groups: alloc::vec::Vec<GroupIx>,
    ) -> Self {
        targets.sort_unstable();
        targets.dedup();
        groups.sort_unstable();
        groups.dedup();
        Selection { all, targets: targets.into(), groups: groups.into() }
    }
}

impl Allowance {
    /// `None` where nothing is limited.
    pub(super) fn boxed(self) -> Option<Box<Allowance>> {
        let empty = self.limits.is_empty() && self.target_limits.is_empty() && self.budget.is_none();
        (!empty).then(|| Box::new(self))
    }
}
