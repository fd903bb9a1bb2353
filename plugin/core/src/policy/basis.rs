//! The circumstances of an edit that is kept for several policies (`replication`).

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use crate::time::Timestamp;

/// The circumstances of an edit, from which another policy can tell if it applies there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// Fingerprint of the record that the edit replaces or removes; 0 if there was none.
    pub record: u64,
    /// The organization of the team that the new record names.
    pub organization: Option<String>,
    /// Hashes of the secrets that the key had, the new one included; empty for other records.
    pub secrets: Vec<u64>,
    /// The secrets with a new fate.
    pub fates: Vec<(u64, SecretFate)>,
    /// The withdrawals of the record after the edit; none for keys, whose secrets have fates.
    pub withdrawals: Withdrawals,
}

/// The end of a secret, in every policy that gives it to a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecretFate {
    /// Time from which the secret is rejected: 0 if it was revoked, `None` if it has no end.
    pub until: Option<Timestamp>,
    /// True for the secret of a blocked key.
    pub blocked: bool,
}

/// The withdrawals of a record other than a key, in every policy that has a record of this name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawals {
    /// True if the record was blocked.
    pub blocked: bool,
    /// Ids of the members that were removed.
    pub members: BTreeSet<String>,
    /// The organization of a removed team, or the team of a removed service account; empty for another removed record.
    pub removed: Option<String>,
}

impl SecretFate {
    /// The fate of a revoked secret.
    pub const REVOKED: SecretFate = SecretFate { until: Some(Timestamp(0)), blocked: false };

    /// Returns true if the secret is restricted.
    pub fn is_restricted(&self) -> bool {
        self.until.is_some() || self.blocked
    }

    /// Returns the earlier end of two.
    pub fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (only, None) | (None, only) => only,
        }
    }

    /// Returns the JSON form of a secret with its fate: `[hash, until, blocked]`.
    pub fn to_json(secret: u64, SecretFate { until, blocked }: SecretFate) -> Value {
        json!([secret, until.map(|until| until.0), blocked])
    }

    /// Reads the JSON form.
    pub fn from_json(json: &Value) -> Option<(u64, SecretFate)> {
        let [secret, until, blocked] = json.as_array()?.as_slice() else { return None };
        let until = if until.is_null() { None } else { Some(Timestamp(until.as_u64()?)) };
        Some((secret.as_u64()?, SecretFate { until, blocked: blocked.as_bool()? }))
    }
}

impl Withdrawals {
    /// Returns true if nothing is withdrawn.
    pub fn is_empty(&self) -> bool {
        *self == Withdrawals::default()
    }

    /// Returns the JSON form: `[blocked, members, removed]`.
    pub fn to_json(&self) -> Value {
        let Withdrawals { blocked, members, removed } = self;
        json!([blocked, members, removed])
    }

    /// Reads the JSON form.
    pub fn from_json(json: &Value) -> Option<Withdrawals> {
        let [blocked, members, removed] = json.as_array()?.as_slice() else { return None };
        let members: Option<BTreeSet<String>> =
            members.as_array()?.iter().map(|id| Some(id.as_str()?.to_string())).collect();
        Some(Withdrawals {
            blocked: blocked.as_bool()?,
            members: members?,
            removed: removed.as_str().map(ToString::to_string),
        })
    }
}

impl Basis {
    pub(super) fn to_json(&self) -> Value {
        let Basis { record, organization, secrets, fates, withdrawals } = self;
        let fates: Vec<Value> =
            fates.iter().map(|(secret, fate)| SecretFate::to_json(*secret, *fate)).collect();
        json!([record, organization, secrets, fates, withdrawals.to_json()])
    }

    pub(super) fn from_json(json: &Value) -> Option<Basis> {
        let [record, organization, secrets, fates, withdrawals] = json.as_array()?.as_slice() else {
            return None;
        };
        let secrets: Option<Vec<u64>> = secrets.as_array()?.iter().map(Value::as_u64).collect();
        let fates: Option<Vec<_>> = fates.as_array()?.iter().map(SecretFate::from_json).collect();
        Some(Basis {
            record: record.as_u64()?,
            organization: organization.as_str().map(ToString::to_string),
            secrets: secrets?,
            fates: fates?,
            withdrawals: Withdrawals::from_json(withdrawals)?,
        })
    }
}
