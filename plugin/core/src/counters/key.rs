//! The names of counter records in a store.

use alloc::rc::Rc;
use alloc::string::String;

use crate::text::hash::{continued, fingerprint};

/// The name of a record in a store, and the fingerprint of the name.
///
/// The record carries the fingerprint, which distinguishes it from a record of another name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct RecordKey {
    text: Rc<str>,
    fingerprint: u64,
}

impl RecordKey {
    /// Joins the configured prefix and the parts of a principal: `tollgate/1/` + `team` + `search`.
    pub fn new(prefix: &str, parts: &[&str]) -> Self {
        let length = parts.iter().map(|part| part.len().saturating_add(1)).sum::<usize>();
        let mut text = String::with_capacity(prefix.len().saturating_add(length));
        text.push_str(prefix);
        for (position, part) in parts.iter().enumerate() {
            if position > 0 {
                text.push('/');
            }
            text.push_str(part);
        }
        let fingerprint = fingerprint(text.as_bytes());
        RecordKey { text: text.into(), fingerprint }
    }

    /// Appends parts: `tollgate/1/team` + `search`.
    pub fn below(&self, parts: &[&str]) -> Self {
        let length = parts.iter().map(|part| part.len().saturating_add(1)).sum::<usize>();
        let mut text = String::with_capacity(self.text.len().saturating_add(length));
        text.push_str(&self.text);
        for part in parts {
            text.push('/');
            text.push_str(part);
        }
        // Continues the hash of the first part.
        let more = text.as_bytes().get(self.text.len()..).unwrap_or_default();
        let fingerprint = continued(self.fingerprint, more);
        RecordKey { text: text.into(), fingerprint }
    }

    /// The name in the store.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The fingerprint that the record carries.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// The names of counter records, with the prefix of each level prepared.
///
/// A principal is named by its id and, if it has one, the number that tells it from an earlier one of the same id.
#[derive(Clone, Debug)]
pub struct RecordKeys {
    pub(crate) keys: RecordKey,
    pub(crate) members: RecordKey,
    pub(crate) self_service: RecordKey,
    pub(crate) users: RecordKey,
    pub(crate) teams: RecordKey,
    pub(crate) organizations: RecordKey,
}

impl RecordKeys {
    /// Names below this prefix.
    pub fn new(prefix: &str) -> Self {
        let level = |name| RecordKey::new(prefix, &[name]);
        RecordKeys {
            keys: level("key"),
            members: level("member"),
            self_service: level("self_service"),
            users: level("user"),
            teams: level("team"),
            organizations: level("organization"),
        }
    }

    /// The record of a key.
    pub fn key(&self, key: &str) -> RecordKey {
        self.keys.below(&[key])
    }

    /// The record of a user within a team.
    pub fn member(&self, team: &str, user: &str) -> RecordKey {
        self.members.below(&[team, user])
    }

    /// The record of a user's self-service keys within a team, of those with budgets of one period.
    pub fn self_service(&self, team: &str, user: &str, period: &str) -> RecordKey {
        self.self_service.below(&[team, user, period])
    }

    /// The record of a user within an organization.
    pub fn user(&self, organization: &str, user: &str) -> RecordKey {
        self.users.below(&[organization, user])
    }

    /// The record of a team.
    pub fn team(&self, team: &str) -> RecordKey {
        self.teams.below(&[team])
    }

    /// The record of an organization.
    pub fn organization(&self, organization: &str) -> RecordKey {
        self.organizations.below(&[organization])
    }
}
