//! A fingerprint of a policy's content.

use alloc::vec::Vec;

use crate::json::out_of_line::text;
use crate::policy::change::Section;
use crate::policy::index::Policy;
use crate::policy::model::{Key, KeyDetails, Owner};
use crate::text::hash::fingerprint;

impl Policy {
    /// Returns a hash of the policy's whole content. It does not depend on the order of records, and is the same in
    /// every VM and on every machine. It is not collision-resistant against the author of a policy.
    pub fn fingerprint(&self) -> u64 {
        let mut sum = fingerprint(self.unpriced.name().as_bytes());
        let mut bytes = Vec::new();
        for section in Section::ALL {
            for position in 0..u32::try_from(self.position_count(section)).unwrap_or(u32::MAX) {
                bytes.clear();
                if self.feed(section, position, &mut bytes).is_some() {
                    sum = sum.wrapping_add(mix(fingerprint(&bytes)));
                }
            }
        }
        sum
    }

    /// Appends a record with its section and name. `None` if the position has no record.
    fn feed(&self, section: Section, position: u32, bytes: &mut Vec<u8>) -> Option<()> {
        part(bytes, section.name());
        match section {
            // A policy can have a hundred thousand keys: fed field by field, without the text of the record.
            Section::Keys => self.feed_key(self.keys.get(position)?, bytes),
            Section::Targets
            | Section::Organizations
            | Section::Teams
            | Section::Users
            | Section::ServiceAccounts => {
                part(bytes, self.name(section, position));
                part(bytes, &text(&self.record_at(section, position)?));
            }
        }
        Some(())
    }

    fn feed_key(&self, key: &Key, bytes: &mut Vec<u8>) {
        let Key { id, team, owner, digest, more, expires_at, state } = key;
        part(bytes, id);
        part(bytes, self.teams.name(team.0));
        part(bytes, state.name());
        match owner {
            Owner::None => bytes.push(0),
            Owner::User(user) => {
                bytes.push(1);
                part(bytes, self.users.name(user.0));
            }
            Owner::ServiceAccount(account) => {
                bytes.push(2);
                part(bytes, self.service_accounts.name(account.0));
            }
        }
        bytes.extend_from_slice(digest);
        let expires_at = expires_at.map_or(u64::MAX, |moment| moment.0);
        bytes.extend_from_slice(&expires_at.to_le_bytes());
        let Some(more) = more else { return };
        let KeyDetails { name, hint, previous, access, allowance, self_service, created } = &**more;
        for text in [name, hint] {
            bytes.push(text.is_some().into());
            part(bytes, text.as_deref().unwrap_or_default());
        }
        if let Some((digest, until)) = previous {
            bytes.extend_from_slice(digest);
            bytes.extend_from_slice(&until.0.to_le_bytes());
        }
        if let Some(restrictions) = self.key_restrictions(access, allowance.as_deref()) {
            part(bytes, &text(&restrictions));
        }
        // Keys without these fields have the fingerprint that they had before the fields existed.
        if *self_service {
            part(bytes, "self_service");
        }
        if let Some(created) = created {
            part(bytes, "created");
            bytes.extend_from_slice(&created.get().to_le_bytes());
        }
    }
}

/// Appends a text and a terminating zero: no name and no text of a policy contains one.
fn part(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

/// Mixes a fingerprint over all bits, so that sums of them do not cancel out (the finalizer of MurmurHash3).
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
