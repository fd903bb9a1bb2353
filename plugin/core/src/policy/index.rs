//! The index: everything a request needs, found without allocating.

use crate::secret::api_key::Digest;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use hashbrown::HashTable;

use crate::collections::sort::once;
use crate::policy::arena::Arena;
use crate::policy::model::*;
use crate::time::{Clock, Timestamp};

/// A policy, every name resolved.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The catalogue.
    pub targets: Arena<Target>,
    /// Every group that is carried or granted anywhere.
    pub groups: Arena<()>,
    /// Tenants.
    pub organizations: Arena<Organization>,
    /// Working units.
    pub teams: Arena<Team>,
    /// People.
    pub users: Arena<User>,
    /// Owners that are no people.
    pub service_accounts: Arena<ServiceAccount>,
    /// Keys by id.
    pub keys: Arena<Key>,
    /// What a budget does about a target without a price.
    pub unpriced: Unpriced,
    /// Keys by digest. Where several have the same, which only a policy with errors does, all are in it.
    digests: HashTable<u32>,
    /// Keys by the digest from before their last rotation.
    previous: HashTable<u32>,
    /// Users by token: the position among the user's own comes second.
    tokens: HashTable<(u32, u32)>,
    team_keys: BTreeSet<(TeamId, KeyId)>,
}

/// A digest is its own hash.
fn hash(digest: &Digest) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

fn forget(rows: &mut HashTable<u32>, digest: &Digest, row: u32) {
    if let Ok(entry) = rows.find_entry(hash(digest), |entry| *entry == row) {
        entry.remove();
    }
}

impl Policy {
    /// Whose key this is. A rotated secret counts while its grace period lasts.
    pub fn key_by_digest(&self, digest: &Digest, now: impl Clock) -> Option<(KeyId, &Key)> {
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
        Some((KeyId(row), self.keys.get(row)?))
    }

    /// A target by its public name.
    pub fn target(&self, name: &str) -> Option<(TargetId, &Target)> {
        let position = self.targets.find(name)?;
        Some((TargetId(position), self.targets.get(position)?))
    }

    /// Whose token this is, at the management API.
    pub fn user_by_token(&self, digest: &Digest) -> Option<(UserId, &User)> {
        let holds = |(row, at): &(u32, u32)| self.token(*row, *at) == Some(digest);
        let (row, _) = *self.tokens.find(hash(digest), holds)?;
        Some((UserId(row), self.users.get(row)?))
    }

    /// Whether this is of a secret of ours: a key's, also from before its last rotation, or a user's token.
    pub fn knows(&self, digest: &Digest) -> bool {
        self.holders(digest).next().is_some() || self.user_by_token(digest).is_some()
    }

    /// The keys of a team.
    pub fn keys_of(&self, team: TeamId) -> impl Iterator<Item = (KeyId, &Key)> {
        let rows = self.team_keys.range((team, KeyId(0))..=(team, KeyId(u32::MAX)));
        rows.filter_map(|(_, ix)| Some((*ix, self.keys.get(ix.0)?)))
    }

    /// The service accounts of a team.
    pub fn service_accounts_of(
        &self,
        team: TeamId,
    ) -> impl Iterator<Item = (ServiceAccountId, &ServiceAccount)> {
        let accounts = self.service_accounts.iter().filter(move |(_, _, account)| account.team == team);
        accounts.map(|(position, _, account)| (ServiceAccountId(position), account))
    }

    /// The teams of an organization.
    pub fn teams_of(&self, organization: OrganizationId) -> impl Iterator<Item = (TeamId, &Team)> {
        let teams = self.teams.iter().filter(move |(_, _, team)| team.organization == organization);
        teams.map(|(position, _, team)| (TeamId(position), team))
    }

    /// Every key that has a digest, now (`false`) or from before its last rotation (`true`).
    pub(super) fn holders(&self, digest: &Digest) -> impl Iterator<Item = (KeyId, bool)> {
        let key = |row: &u32| self.keys.get(*row);
        let now = self.digests.iter_hash(hash(digest));
        let now = now.filter(move |row| key(row).is_some_and(|key| key.digest == *digest));
        let before = self.previous.iter_hash(hash(digest));
        let before = before.filter(move |row| {
            key(row).and_then(Key::previous).is_some_and(|(previous, _)| previous == digest)
        });
        now.map(|row| (KeyId(*row), false)).chain(before.map(|row| (KeyId(*row), true)))
    }

    /// Every user that has a token, and which of its tokens it is.
    pub(super) fn token_holders(&self, digest: &Digest) -> impl Iterator<Item = (UserId, u32)> {
        let same = self.tokens.iter_hash(hash(digest));
        same.filter(move |(row, at)| self.token(*row, *at) == Some(digest))
            .map(|(row, at)| (UserId(*row), *at))
    }

    fn token(&self, row: u32, at: u32) -> Option<&Digest> {
        self.users.get(row)?.tokens.get(at as usize)
    }

    /// Puts a key in its place, or takes it away; the one that was there.
    pub(super) fn replace_key(&mut self, row: u32, key: Option<Key>) -> Option<Key> {
        if let Some(old) = self.keys.get(row) {
            self.team_keys.remove(&(old.team, KeyId(row)));
            forget(&mut self.digests, &old.digest, row);
            if let Some((digest, _)) = old.previous() {
                forget(&mut self.previous, digest, row);
            }
        }
        let old = self.keys.replace(row, key);
        let keys = &self.keys;
        if let Some(key) = keys.get(row) {
            self.team_keys.insert((key.team, KeyId(row)));
            let hash_of = |other: &u32| keys.get(*other).map_or(0, |key| hash(&key.digest));
            self.digests.insert_unique(hash(&key.digest), row, hash_of);
            if let Some((digest, _)) = key.previous() {
                let hash_of = |other: &u32| {
                    keys.get(*other).and_then(Key::previous).map_or(0, |(digest, _)| hash(digest))
                };
                self.previous.insert_unique(hash(digest), row, hash_of);
            }
        }
        old
    }

    /// Puts a user in its place, or takes it away; the one that was there.
    pub(super) fn replace_user(&mut self, row: u32, user: Option<User>) -> Option<User> {
        if let Some(old) = self.users.get(row) {
            for (at, token) in (0_u32..).zip(&old.tokens) {
                if let Ok(entry) = self.tokens.find_entry(hash(token), |entry| *entry == (row, at)) {
                    entry.remove();
                }
            }
        }
        let old = self.users.replace(row, user);
        let users = &self.users;
        if let Some(user) = users.get(row) {
            let token = |row: u32, at: u32| users.get(row)?.tokens.get(at as usize);
            for (at, digest) in (0_u32..).zip(&user.tokens) {
                let hash_of = |(row, at): &(u32, u32)| token(*row, *at).map_or(0, hash);
                self.tokens.insert_unique(hash(digest), (row, at), hash_of);
            }
        }
        old
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
    pub fn previous(&self) -> Option<(&Digest, Timestamp)> {
        self.more.as_ref()?.previous.as_ref().map(|(digest, until)| (digest, *until))
    }

    /// Which part of the team's access it has.
    pub fn access(&self) -> &AccessScope {
        static INHERIT: AccessScope = AccessScope::Inherit;
        self.more.as_ref().map_or(&INHERIT, |more| &more.access)
    }

    /// Its limits and budget.
    pub fn allowance(&self) -> Option<&Quota> {
        self.more.as_ref()?.allowance.as_deref()
    }
}

impl TargetSet {
    /// From what was read; sorted, without repetition.
    pub(super) fn new(
        all: bool,
        mut targets: alloc::vec::Vec<TargetId>,
        mut groups: alloc::vec::Vec<GroupId>,
    ) -> Self {
        once(&mut targets);
        once(&mut groups);
        TargetSet { all, targets: targets.into(), groups: groups.into() }
    }
}

impl Quota {
    /// `None` where nothing is limited.
    pub(super) fn boxed(self) -> Option<Box<Quota>> {
        let empty = self.limits.is_empty() && self.target_limits.is_empty() && self.budget.is_none();
        (!empty).then(|| Box::new(self))
    }
}
