//! The part of the edits that holds under every inline policy: revocations, blocks and removals.
//!
//! An edit that gives something applies to the inline policies that it fits (`overlay`). One that takes something away
//! applies to all of them, whatever else their records say:
//!
//! - A secret that was revoked, or that a rotation has ended, is accepted from no key, under any id and in any team.
//! - A key is blocked as long as its secret is that of a key that was blocked.
//! - A team, organization or service account that was blocked is blocked, and a removed member is not a member, until an
//!   edit reverses it.
//! - A team, service account or organization that was removed does not come back at the same place.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use crate::policy::{Basis, SecretFate, Section, Withdrawals};
use crate::time::{Timestamp, parse_rfc3339, rfc3339};

/// The restricted secrets, by hash.
#[derive(Debug, Default)]
pub(super) struct SecretFates(BTreeMap<u64, SecretFate>);

/// Returns the hash of a secret: the first bytes of its digest, as in the policy's index.
fn hash(digest: &Value) -> Option<u64> {
    let hex = digest.as_str()?.strip_prefix("sha256:")?;
    Some(u64::from_str_radix(hex.get(..16)?, 16).ok()?.swap_bytes())
}

fn time(value: Option<&Value>) -> Option<Timestamp> {
    parse_rfc3339(value?.as_str()?)
}

/// Returns the hashes of a key's secrets, each with the time of its end.
fn secrets(record: Option<&Value>) -> Vec<(u64, Option<Timestamp>)> {
    let Some(record) = record else { return Vec::new() };
    let current = record.get("digest").and_then(hash).map(|secret| (secret, None));
    let previous = record.get("previous").and_then(|previous| {
        let end = time(previous.get("until")).unwrap_or_default();
        Some((hash(previous.get("digest")?)?, Some(end)))
    });
    current.into_iter().chain(previous).collect()
}

/// Returns the hashes of a key's secrets.
pub(super) fn hashes(record: Option<&Value>) -> Vec<u64> {
    secrets(record).into_iter().map(|(secret, _)| secret).collect()
}

fn is_blocked(record: &Value) -> bool {
    record.get("state").and_then(Value::as_str) == Some("blocked")
}

fn members(record: Option<&Value>) -> impl Iterator<Item = &String> {
    record
        .and_then(|record| record.get("members")?.as_object())
        .into_iter()
        .flat_map(|members| members.keys())
}

/// Returns the place of a record: the organization of a team, the team of a service account, and else an empty text.
fn place(section: Section, record: &Value) -> String {
    home(section, record).unwrap_or_default().to_string()
}

/// Returns the organization that a team names, or the team that a service account names.
pub(super) fn home(section: Section, record: &Value) -> Option<&str> {
    let name = match section {
        Section::Teams => "organization",
        Section::ServiceAccounts => "team",
        Section::Targets | Section::Users | Section::Organizations | Section::Keys => return None,
    };
    record.get(name)?.as_str()
}

/// Returns the withdrawals of a record after an edit. Only what the edit changes is added or reversed: another inline
/// policy's record can differ in the rest.
pub(super) fn after_edit(
    before: &Withdrawals,
    section: Section,
    current: Option<&Value>,
    new: Option<&Value>,
) -> Withdrawals {
    let mut after = before.clone();
    let is_member =
        |record: Option<&Value>, id: &str| record.and_then(|record| record.get("members")?.get(id)).is_some();
    after.members.extend(members(current).filter(|id| !is_member(new, id)).cloned());
    after.members.retain(|id| is_member(current, id) || !is_member(new, id));
    match (current, new) {
        (Some(current), Some(new)) if is_blocked(current) == is_blocked(new) => {}
        (_, Some(new)) => after.blocked = is_blocked(new),
        (_, None) => {}
    }
    after.removed = match (current, new) {
        (_, Some(_)) => None,
        (Some(current), None) => Some(place(section, current)),
        (None, None) => after.removed,
    };
    after
}

/// Returns the fates of secrets after an edit of a key. `related` are the secrets that the key had in any version.
pub(super) fn fates_after(
    before: &SecretFates,
    current: Option<&Value>,
    new: Option<&Value>,
    related: &[u64],
) -> Vec<(u64, SecretFate)> {
    let (now, then) = (secrets(current), secrets(new));
    let was_blocked = current.is_some_and(is_blocked);
    let blocks = new.map(is_blocked).filter(|blocked| *blocked != was_blocked);
    let mut fates = BTreeMap::new();
    let mut set = |secret: u64, change: &dyn Fn(&mut SecretFate)| {
        change(fates.entry(secret).or_insert_with(|| before.0.get(&secret).copied().unwrap_or_default()));
    };
    for secret in related {
        match (new, blocks) {
            (None, _) => set(*secret, &|fate| fate.until = SecretFate::REVOKED.until),
            (Some(_), Some(blocked)) => set(*secret, &|fate| fate.blocked = blocked),
            (Some(_), None) => {}
        }
    }
    for (secret, _) in then.iter().filter(|(secret, _)| !now.iter().any(|(known, _)| known == secret)) {
        // A new secret of a key that stays blocked.
        let blocked = new.is_some_and(is_blocked);
        set(*secret, &|fate| fate.blocked = blocked);
    }
    for (secret, end) in &now {
        let new_end = match then.iter().find(|(known, _)| known == secret) {
            Some((_, end)) => *end,
            None => SecretFate::REVOKED.until,
        };
        if SecretFate::earlier(*end, new_end) != *end {
            set(*secret, &|fate| fate.until = SecretFate::earlier(fate.until, new_end));
        }
    }
    let changed =
        |(secret, fate): &(u64, SecretFate)| before.0.get(secret).copied().unwrap_or_default() != *fate;
    fates.into_iter().filter(changed).collect()
}

/// Returns a record with its withdrawals, in an inline policy that has it.
pub(super) fn withdraw(section: Section, withdrawals: &Withdrawals, mut record: Value) -> Value {
    let Some(fields) = record.as_object_mut() else { return record };
    let has_state = matches!(section, Section::Teams | Section::Organizations | Section::ServiceAccounts);
    if withdrawals.blocked && has_state {
        fields.insert("state".into(), "blocked".into());
    }
    if let Some(Value::Object(members)) = fields.get_mut("members") {
        members.retain(|id, _| !withdrawals.members.contains(id));
    }
    record
}

/// Returns true if a record that was removed has the place of this one.
pub(super) fn is_removed(section: Section, withdrawals: &Withdrawals, record: &Value) -> bool {
    withdrawals.removed.as_ref().is_some_and(|removed| *removed == place(section, record))
}

/// Returns true if an edit withdraws something that a record has: the process's end brings it back with the record.
pub(super) fn withdraws(section: Section, basis: &Basis, removes: bool, own: &Value) -> bool {
    let Basis { fates, withdrawals, .. } = basis;
    let secrets = hashes(Some(own));
    let restricted = |(secret, fate): &(u64, SecretFate)| fate.is_restricted() && secrets.contains(secret);
    removes && section != Section::Keys
        || fates.iter().any(restricted)
        || withdrawals.blocked && !is_blocked(own)
        || members(Some(own)).any(|id| withdrawals.members.contains(id))
}

impl SecretFates {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, secret: u64) -> bool {
        self.0.contains_key(&secret)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, SecretFate)> {
        self.0.iter().map(|(secret, fate)| (*secret, *fate))
    }

    /// Sets the fate of a secret. Its end is never later than before.
    pub(super) fn set(&mut self, secret: u64, fate: SecretFate) {
        let known = self.0.get(&secret).and_then(|known| known.until);
        let fate = SecretFate { until: SecretFate::earlier(known, fate.until), ..fate };
        if fate.is_restricted() {
            self.0.insert(secret, fate);
        } else {
            self.0.remove(&secret);
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.0.retain(|secret, _| keep(*secret));
    }

    /// Returns a key's record as its secrets allow; `None` if its secret was revoked.
    pub(super) fn restrict(&self, mut record: Value) -> Option<Value> {
        let fate_of = |digest: Option<&Value>| {
            digest.and_then(hash).and_then(|secret| self.0.get(&secret)).copied().unwrap_or_default()
        };
        let fate = fate_of(record.get("digest"));
        let previous = record.get("previous").map(|previous| {
            let SecretFate { until, blocked } = fate_of(previous.get("digest"));
            let until = SecretFate::earlier(until, time(previous.get("until")));
            until.filter(|until| until.0 > 0 && !blocked)
        });
        let expires_at = SecretFate::earlier(time(record.get("expires_at")), fate.until);
        if expires_at.is_some_and(|end| end.0 == 0) {
            return None;
        }
        let fields = record.as_object_mut()?;
        match previous {
            Some(None) => drop(fields.remove("previous")),
            Some(Some(until)) => {
                if let Some(previous) = fields.get_mut("previous").and_then(Value::as_object_mut) {
                    previous.insert("until".into(), rfc3339(until).into());
                }
            }
            None => {}
        }
        if let (Some(end), true) = (expires_at, fate.until.is_some()) {
            fields.insert("expires_at".into(), rfc3339(end).into());
        }
        if fate.blocked {
            fields.insert("state".into(), "blocked".into());
        }
        Some(record)
    }
}
