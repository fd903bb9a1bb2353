//! The names of counter records in a store.

use alloc::rc::Rc;
use alloc::string::String;

use crate::text::hash::{continued, fingerprint};

/// The name of a principal's cell, and the fingerprint of that name which the record itself carries.
///
/// The fingerprint distinguishes a foreign record from one that belongs to the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct RecordKey {
    text: Rc<str>,
    fingerprint: u64,
}

impl RecordKey {
    /// Joins the configured prefix and the principal's own parts: `tollgate/1/` + `team` + `search`.
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

    /// This name with further parts: `tollgate/1/team` + `search`.
    pub fn below(&self, parts: &[&str]) -> Self {
        let length = parts.iter().map(|part| part.len().saturating_add(1)).sum::<usize>();
        let mut text = String::with_capacity(self.text.len().saturating_add(length));
        text.push_str(&self.text);
        for part in parts {
            text.push('/');
            text.push_str(part);
        }
        // What was hashed of it is not hashed again.
        let more = text.as_bytes().get(self.text.len()..).unwrap_or_default();
        let fingerprint = continued(self.fingerprint, more);
        RecordKey { text: text.into(), fingerprint }
    }

    /// The name in shared data.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the record carries to tell that it belongs to this name.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// The names of principals' cells, made as far as they are the same for all.
#[derive(Clone, Debug)]
pub struct RecordKeys {
    pub(crate) keys: RecordKey,
    pub(crate) members: RecordKey,
    pub(crate) users: RecordKey,
    pub(crate) teams: RecordKey,
    pub(crate) organizations: RecordKey,
}

impl RecordKeys {
    /// Below this prefix.
    pub fn new(prefix: &str) -> Self {
        let level = |name| RecordKey::new(prefix, &[name]);
        RecordKeys {
            keys: level("key"),
            members: level("member"),
            users: level("user"),
            teams: level("team"),
            organizations: level("organization"),
        }
    }

    /// Where a key's counters live.
    pub fn key(&self, key: &str) -> RecordKey {
        self.keys.below(&[key])
    }

    /// Where those of a user within a team live.
    pub fn member(&self, team: &str, user: &str) -> RecordKey {
        self.members.below(&[team, user])
    }

    /// Where those of a user within an organization live.
    pub fn user(&self, organization: &str, user: &str) -> RecordKey {
        self.users.below(&[organization, user])
    }

    /// Where a team's live.
    pub fn team(&self, team: &str) -> RecordKey {
        self.teams.below(&[team])
    }

    /// Where an organization's live.
    pub fn organization(&self, organization: &str) -> RecordKey {
        self.organizations.below(&[organization])
    }
}
