//! The policy as an index: every lookup of a request is answered without an allocation.

use crate::secret::api_key::Digest;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use hashbrown::HashTable;

use crate::collections::sort::once;
use crate::policy::arena::Arena;
use crate::policy::model::*;
use crate::time::{Clock, Timestamp};

/// A policy, every name resolved.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The catalog.
    pub targets: Arena<Target>,
    /// Every access group that a target belongs to or a record names.
    pub groups: Arena<()>,
    /// Organizations by id.
    pub organizations: Arena<Organization>,
    /// Teams by id.
    pub teams: Arena<Team>,
    /// Users by id.
    pub users: Arena<User>,
    /// Service accounts by id.
    pub service_accounts: Arena<ServiceAccount>,
    /// Keys by id.
    pub keys: Arena<Key>,
    /// The decision about calls that count against a budget and whose target has no price.
    pub unpriced: Unpriced,
    /// Keys by digest. Contains every key of a shared digest, which only an invalid policy has.
    digests: HashTable<u32>,
    /// Keys by the digest before their last rotation.
    previous: HashTable<u32>,
    /// Users by token digest, each with the index of the token in the user's list.
    tokens: HashTable<(u32, u32)>,
    /// Keys by team.
    team_keys: BTreeSet<(TeamId, KeyId)>,
}

/// Returns the first bytes of a digest as its hash.
pub(crate) fn hash(digest: &Digest) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

fn remove(table: &mut HashTable<u32>, digest: &Digest, position: u32) {
    if let Ok(entry) = table.find_entry(hash(digest), |entry| *entry == position) {
        entry.remove();
    }
}

impl Policy {
    /// Returns the key with this digest. The previous digest of a rotated key is valid until its grace period ends.
    pub fn key_by_digest(&self, digest: &Digest, now: impl Clock) -> Option<(KeyId, &Key)> {
        let hash = hash(digest);
        let current = self
            .digests
            .find(hash, |position| self.keys.get(*position).is_some_and(|key| key.digest == *digest));
        let position = current.or_else(|| {
            self.previous.find(hash, |position| {
                self.keys
                    .get(*position)
                    .and_then(Key::previous)
                    .is_some_and(|(previous, until)| *previous == *digest && now.timestamp() < until)
            })
        });
        let position = *position?;
        Some((KeyId(position), self.keys.get(position)?))
    }

    /// Returns the target with this public name.
    pub fn target(&self, name: &str) -> Option<(TargetId, &Target)> {
        let position = self.targets.find(name)?;
        Some((TargetId(position), self.targets.get(position)?))
    }

    /// Returns the user with this token for the management API.
    pub fn user_by_token(&self, digest: &Digest) -> Option<(UserId, &User)> {
        let holds = |(position, index): &(u32, u32)| self.token(*position, *index) == Some(digest);
        let (position, _) = *self.tokens.find(hash(digest), holds)?;
        Some((UserId(position), self.users.get(position)?))
    }

    /// Returns true for the digest of a secret in this policy: a current or previous key, or a token.
    pub fn contains_secret(&self, digest: &Digest) -> bool {
        self.holders(digest).next().is_some() || self.user_by_token(digest).is_some()
    }

    /// Returns the keys of a team.
    pub fn keys_of(&self, team: TeamId) -> impl Iterator<Item = (KeyId, &Key)> {
        let ids = self.team_keys.range((team, KeyId(0))..=(team, KeyId(u32::MAX)));
        ids.filter_map(|(_, id)| Some((*id, self.keys.get(id.0)?)))
    }

    /// Returns the service accounts of a team.
    pub fn service_accounts_of(
        &self,
        team: TeamId,
    ) -> impl Iterator<Item = (ServiceAccountId, &ServiceAccount)> {
        let accounts = self.service_accounts.iter().filter(move |(_, _, account)| account.team == team);
        accounts.map(|(position, _, account)| (ServiceAccountId(position), account))
    }

    /// Returns the teams of an organization.
    pub fn teams_of(&self, organization: OrganizationId) -> impl Iterator<Item = (TeamId, &Team)> {
        let teams = self.teams.iter().filter(move |(_, _, team)| team.organization == organization);
        teams.map(|(position, _, team)| (TeamId(position), team))
    }

    /// Returns every key whose current or previous secret has this hash.
    pub(crate) fn keys_by_hash(&self, secret: u64) -> impl Iterator<Item = &Key> {
        let all = self.digests.iter_hash(secret).chain(self.previous.iter_hash(secret));
        all.filter_map(|position| self.keys.get(*position)).filter(move |key| key.has_hash(secret))
    }

    /// Returns every key with a digest: as its current one (`false`) or its previous one (`true`).
    pub(super) fn holders(&self, digest: &Digest) -> impl Iterator<Item = (KeyId, bool)> {
        let key = |position: &u32| self.keys.get(*position);
        let now = self.digests.iter_hash(hash(digest));
        let now = now.filter(move |position| key(position).is_some_and(|key| key.digest == *digest));
        let before = self.previous.iter_hash(hash(digest));
        let before = before.filter(move |position| {
            key(position).and_then(Key::previous).is_some_and(|(previous, _)| previous == digest)
        });
        now.map(|position| (KeyId(*position), false)).chain(before.map(|position| (KeyId(*position), true)))
    }

    /// Returns every user with a token, and the index of the token.
    pub(super) fn token_holders(&self, digest: &Digest) -> impl Iterator<Item = (UserId, u32)> {
        let same = self.tokens.iter_hash(hash(digest));
        same.filter(move |(position, index)| self.token(*position, *index) == Some(digest))
            .map(|(position, index)| (UserId(*position), *index))
    }

    fn token(&self, position: u32, index: u32) -> Option<&Digest> {
        self.users.get(position)?.tokens.get(index as usize)
    }

    /// Replaces or removes the key at a position. Returns the previous one.
    pub(super) fn replace_key(&mut self, position: u32, key: Option<Key>) -> Option<Key> {
        if let Some(old) = self.keys.get(position) {
            self.team_keys.remove(&(old.team, KeyId(position)));
            remove(&mut self.digests, &old.digest, position);
            if let Some((digest, _)) = old.previous() {
                remove(&mut self.previous, digest, position);
            }
        }
        let old = self.keys.replace(position, key);
        let keys = &self.keys;
        if let Some(key) = keys.get(position) {
            self.team_keys.insert((key.team, KeyId(position)));
            let hash_of = |other: &u32| keys.get(*other).map_or(0, |key| hash(&key.digest));
            self.digests.insert_unique(hash(&key.digest), position, hash_of);
            if let Some((digest, _)) = key.previous() {
                let hash_of = |other: &u32| {
                    keys.get(*other).and_then(Key::previous).map_or(0, |(digest, _)| hash(digest))
                };
                self.previous.insert_unique(hash(digest), position, hash_of);
            }
        }
        old
    }

    /// Replaces or removes the user at a position. Returns the previous one.
    pub(super) fn replace_user(&mut self, position: u32, user: Option<User>) -> Option<User> {
        if let Some(old) = self.users.get(position) {
            for (index, token) in (0_u32..).zip(&old.tokens) {
                if let Ok(entry) = self.tokens.find_entry(hash(token), |entry| *entry == (position, index)) {
                    entry.remove();
                }
            }
        }
        let old = self.users.replace(position, user);
        let users = &self.users;
        if let Some(user) = users.get(position) {
            let token = |position: u32, index: u32| users.get(position)?.tokens.get(index as usize);
            for (index, digest) in (0_u32..).zip(&user.tokens) {
                let hash_of = |(position, index): &(u32, u32)| token(*position, *index).map_or(0, hash);
                self.tokens.insert_unique(hash(digest), (position, index), hash_of);
            }
        }
        old
    }

    /// Frees unused capacity.
    pub(super) fn shrink(&mut self) {
        self.keys.shrink();
        let keys = &self.keys;
        self.digests.shrink_to_fit(|position| keys.get(*position).map_or(0, |key| hash(&key.digest)));
    }
}

impl Key {
    /// Returns the digest of the previous secret and the end of its grace period.
    pub fn previous(&self) -> Option<(&Digest, Timestamp)> {
        self.more.as_ref()?.previous.as_ref().map(|(digest, until)| (digest, *until))
    }

    /// Returns true if the current or the previous secret has this hash.
    pub(crate) fn has_hash(&self, secret: u64) -> bool {
        hash(&self.digest) == secret || self.previous().is_some_and(|(digest, _)| hash(digest) == secret)
    }

    /// Returns the access of the key within that of its team.
    pub fn access(&self) -> &AccessScope {
        static INHERIT: AccessScope = AccessScope::Inherit;
        self.more.as_ref().map_or(&INHERIT, |more| &more.access)
    }

    /// Returns the number that tells the key from an earlier one of the same id.
    pub fn created(&self) -> Created {
        self.more.as_ref()?.created
    }

    /// Returns the budget of all self-service keys of the key's owner in its team. `None` if the key is no self-service key
    /// with a budget of its own, or if the team does not bound them.
    pub fn self_service_budget(&self, team: &Team) -> Option<Quota> {
        if !self.more.as_ref()?.self_service {
            return None;
        }
        team.self_service.as_ref()?.budget(self.allowance()?.budget?.period)
    }

    /// Returns the limits and the budget of the key.
    pub fn allowance(&self) -> Option<&Quota> {
        self.more.as_ref()?.allowance.as_deref()
    }
}

macro_rules! instances {
    ($($record:ident)*) => {$(
        impl $record {
            /// Returns the name of the record in the names of counters; see [`instance`].
            pub fn instance(&self) -> Cow<'_, str> {
                instance(&self.id, self.created)
            }
        }
    )*};
}
instances!(Organization Team User);

impl Key {
    /// Returns the name of the record in the names of counters; see [`instance`].
    pub fn instance(&self) -> Cow<'_, str> {
        instance(&self.id, self.created())
    }
}

impl TargetSet {
    /// Returns a selection, sorted and without duplicates.
    pub(super) fn new(all: bool, mut targets: Vec<TargetId>, mut groups: Vec<GroupId>) -> Self {
        once(&mut targets);
        once(&mut groups);
        TargetSet { all, targets: targets.into(), groups: groups.into() }
    }
}

impl Quota {
    /// Returns the quota, or `None` if nothing is limited.
    pub(super) fn boxed(self) -> Option<Box<Quota>> {
        let empty = self.limits.is_empty() && self.target_limits.is_empty() && self.budget.is_none();
        (!empty).then(|| Box::new(self))
    }
}
