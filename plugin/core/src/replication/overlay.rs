//! The edits of the management API, kept apart from the policies of the configurations ("inline policies").
//!
//! A process can hold several inline policies under one prefix: an update drains the old one, an update is taken back, a
//! new module runs beside the old one, and two listeners can have different ones for good. From inside these cases look
//! alike, so one rule serves all of them. Every inline policy is used as it is, and all of them share the edits:
//!
//! > An edit applies to an inline policy if that has the very record that the edit replaced, or lacks it likewise.
//!
//! A key that the API made therefore works under every inline policy with its team and owner. An edit of a record that
//! differs in another inline policy has no effect there: policies do not mix. It is reported ([`Overlay::unapplied`]).
//! Withdrawals hold under every inline policy (`withdrawals`).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::Replica;
use super::withdrawals::{
    SecretFates, after_edit, fates_after, hashes, home, is_removed, withdraw, withdraws,
};
use crate::collections::sort::once;
use crate::json::out_of_line::{object, text};
use crate::policy::{
    Basis, Change, Document, Edit, Key, Policy, SecretFate, Section, Withdrawals, secret_hash,
};
use crate::text::hash::fingerprint;

/// Number of documents that the edits are distributed over. A commit writes one or a few of them.
const BUCKETS: u64 = 64;

/// Maximum number of remembered secrets of one version of a key. The oldest is dropped.
const MAX_SECRETS: usize = 8;

/// Maximum number of kept edits of one record that replaced different records of inline policies. The oldest is dropped.
const MAX_VERSIONS: usize = 8;

/// A record: the position of its section in [`Section::ALL`], and its id. Records sort after those that they name.
type RecordName = (usize, String);

/// An edit that is kept, for the inline policies whose record it replaced.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    /// Fingerprint of the replaced record; 0 if there was none.
    basis: u64,
    /// The organization of the team that the new record names.
    organization: Option<String>,
    record: Option<Value>,
    /// Hashes of the secrets that the key had.
    secrets: Vec<u64>,
}

/// A record of the inline policy that was replaced or removed; `None` if it lacks the record.
#[derive(Clone, Debug, PartialEq)]
struct Own {
    fingerprint: u64,
    record: Option<Value>,
}

/// The edits of all configurations of a process under one prefix.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    edits: BTreeMap<RecordName, Vec<Version>>,
    withdrawals: BTreeMap<RecordName, Withdrawals>,
    fates: SecretFates,
    /// The inline policy's records that are not in force.
    inline: BTreeMap<RecordName, Own>,
}

/// The reason why an edit has no effect on an inline policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnappliedReason {
    /// The inline policy has another record of this name, which is in force.
    OtherRecord,
    /// The inline policy has no such record.
    NoRecord,
    /// The organization, team or owner that the record names does not exist, or the team is in another organization.
    MissingReference,
}

impl UnappliedReason {
    pub(super) fn name(self) -> &'static str {
        match self {
            UnappliedReason::OtherRecord => "other_record",
            UnappliedReason::NoRecord => "no_record",
            UnappliedReason::MissingReference => "missing_reference",
        }
    }
}

/// An edit without effect on the inline policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unapplied {
    pub(super) section: Section,
    pub(super) id: String,
    /// The edit removed the record.
    pub(super) removal: bool,
    pub(super) reason: UnappliedReason,
}

fn record_name(section: Section, id: &str) -> RecordName {
    (Section::ALL.iter().position(|known| *known == section).unwrap_or_default(), id.to_string())
}

fn section_of(name: &RecordName) -> Section {
    Section::ALL.get(name.0).copied().unwrap_or(Section::Keys)
}

/// The name of the document that keeps the edits of a record. It depends on the record's name alone.
fn bucket(name: &RecordName) -> String {
    let hash = fingerprint(name.1.as_bytes()).wrapping_add(name.0 as u64);
    format!("edits/{}", hash.checked_rem(BUCKETS).unwrap_or_default())
}

/// The name of the document that keeps the fate of a secret.
fn bucket_of(secret: u64) -> String {
    format!("edits/{}", secret.checked_rem(BUCKETS).unwrap_or_default())
}

fn own_record(record: Option<Value>) -> Own {
    // 0 stands for no record.
    let fingerprint = record.as_ref().map_or(0, |record| fingerprint(text(record).as_bytes()).max(1));
    Own { fingerprint, record }
}

/// Returns the organization of the team that a record names.
fn organization(policy: &Policy, record: Option<&Value>) -> Option<String> {
    let team = policy.record(Section::Teams, record?.get("team")?.as_str()?)?;
    Some(team.get("organization")?.as_str()?.to_string())
}

/// Returns false if the organization or the owner that a record names does not exist.
fn has_references(policy: &Policy, record: &Value) -> bool {
    let exists = |section, id: &str| policy.record(section, id).is_some();
    let field = |name: &str| record.get(name).and_then(Value::as_str);
    field("organization").is_none_or(|id| exists(Section::Organizations, id))
        && field("owner").is_none_or(|owner| match owner.split_once('/') {
            Some(("user", id)) => exists(Section::Users, id),
            Some((_, id)) => exists(Section::ServiceAccounts, id),
            None => true,
        })
}

/// Returns true if a record names another one.
fn refers_to(record: &Value, (section, id): (Section, &str)) -> bool {
    let field = |name: &str| record.get(name).and_then(Value::as_str);
    let owner = |kind: &str| field("owner").and_then(|owner| owner.split_once('/')) == Some((kind, id));
    match section {
        Section::Organizations => field("organization") == Some(id),
        Section::Teams => field("team") == Some(id),
        Section::Users => owner("user"),
        Section::ServiceAccounts => owner("service_account"),
        Section::Targets | Section::Keys => false,
    }
}

impl Unapplied {
    /// Returns the form in responses.
    pub(super) fn to_json(&self) -> Value {
        let Unapplied { section, id, removal, reason } = self;
        object!({
            "section": section.name(),
            "id": id,
            "change": if *removal { "removed" } else { "put" },
            "reason": reason.name(),
        })
    }
}

impl Overlay {
    /// Adds the basis of each edit of a change that was decided on this policy.
    pub(super) fn bind(&self, policy: &Policy, mut change: Change) -> Change {
        change.sort();
        // A key can be in a team that the same change creates.
        let teams: Vec<Edit> =
            change.edits.iter().filter(|edit| edit.section == Section::Teams).cloned().collect();
        for edit in &mut change.edits {
            let name = record_name(edit.section, &edit.id);
            let own_team = || {
                let team = edit.record.as_ref()?.get("team")?.as_str()?;
                let new = teams.iter().rev().find(|edit| edit.id == team)?;
                Some(new.record.as_ref()?.get("organization")?.as_str()?.to_string())
            };
            let organization = own_team().or_else(|| organization(policy, edit.record.as_ref()));
            let current = policy.record(edit.section, &edit.id);
            let (current, new) = (current.as_ref(), edit.record.as_ref());
            let record = self.own(policy, &name).fingerprint;
            edit.basis = Some(if edit.section == Section::Keys {
                let secrets = self.related(&name, current, new);
                let fates = fates_after(&self.fates, current, new, &secrets);
                Basis { record, organization, secrets, fates, withdrawals: Withdrawals::default() }
            } else {
                let before = self.withdrawals.get(&name).cloned().unwrap_or_default();
                let withdrawals = after_edit(&before, edit.section, current, new);
                Basis { record, organization, withdrawals, ..Basis::default() }
            });
        }
        change
    }

    /// Returns the hashes of a key's secrets before and after an edit, and of those of its versions that share one.
    fn related(&self, name: &RecordName, current: Option<&Value>, new: Option<&Value>) -> Vec<u64> {
        let mut secrets = hashes(current);
        for version in self.edits.get(name).into_iter().flatten() {
            if version.secrets.iter().any(|secret| secrets.contains(secret)) {
                secrets.splice(0..0, version.secrets.iter().copied());
            }
        }
        secrets.extend(hashes(new));
        let mut seen = BTreeSet::new();
        secrets.retain(|secret| seen.insert(*secret));
        secrets
    }

    /// Returns the section and id of a record that a change would put elsewhere than in its place in the inline policy: a
    /// team into another organization, or a service account into another team. Keys of inline policies can name the
    /// record, and would follow it there.
    pub(super) fn moved<'c>(&self, change: &'c Change) -> Option<(Section, &'c str)> {
        let moved = |edit: &&Edit| {
            let new = edit.record.as_ref().and_then(|record| home(edit.section, record));
            let own = self.inline.get(&record_name(edit.section, &edit.id));
            let own = own.and_then(|own| home(edit.section, own.record.as_ref()?));
            own.is_some_and(|own| new.is_some_and(|new| own != new))
        };
        change.edits.iter().find(moved).map(|edit| (edit.section, edit.id.as_str()))
    }

    /// Returns the sections and ids of the inline policy's records from which a bound change takes something away. The end
    /// of the process brings it back.
    pub(super) fn withdrawn<'c>(&self, policy: &Policy, change: &'c Change) -> Vec<(Section, &'c str)> {
        let is_withdrawn = |edit: &&Edit| {
            let own = self.own(policy, &record_name(edit.section, &edit.id)).record;
            own.zip(edit.basis.as_ref())
                .is_some_and(|(own, basis)| withdraws(edit.section, basis, edit.record.is_none(), &own))
        };
        change.edits.iter().filter(is_withdrawn).map(|edit| (edit.section, edit.id.as_str())).collect()
    }

    /// Returns the inline policy's record.
    fn own(&self, policy: &Policy, name: &RecordName) -> Own {
        // A record that no edit has changed is the inline policy's.
        let in_force = || own_record(policy.record(section_of(name), &name.1));
        self.inline.get(name).cloned().unwrap_or_else(in_force)
    }

    /// Keeps an edit with its basis.
    fn keep(&mut self, name: &RecordName, basis: Basis, record: Option<Value>) {
        let Basis { record: basis, organization, mut secrets, fates, withdrawals } = basis;
        fates.into_iter().for_each(|(secret, fate)| self.fates.set(secret, fate));
        // Nothing is left of a record that the API made and removed.
        let is_gone = record.is_none() && basis == 0;
        if withdrawals.is_empty() || is_gone {
            self.withdrawals.remove(name);
        } else {
            self.withdrawals.insert(name.clone(), withdrawals);
        }
        let versions = self.edits.entry(name.clone()).or_default();
        versions.retain(|kept| kept.basis != basis);
        if !is_gone {
            let dropped = secrets.len().saturating_sub(MAX_SECRETS);
            secrets.drain(..dropped);
            versions.push(Version { basis, organization, record, secrets });
        }
        if versions.len() > MAX_VERSIONS {
            versions.remove(0);
        }
        if versions.is_empty() {
            self.edits.remove(name);
        }
    }

    /// Returns the record that is in force, from the inline policy's record and the edit that applies to it.
    fn in_force(&self, name: &RecordName, own: Option<&Value>, version: Option<&Version>) -> Option<Value> {
        let section = section_of(name);
        let none = Withdrawals::default();
        let withdrawals = self.withdrawals.get(name).unwrap_or(&none);
        let record = match version {
            Some(version) => version.record.clone(),
            None => own.filter(|own| !is_removed(section, withdrawals, own)).cloned(),
        }?;
        if section == Section::Keys {
            self.fates.restrict(record)
        } else {
            Some(withdraw(section, withdrawals, record))
        }
    }

    /// Puts the record into the policy that is in force.
    fn settle(&mut self, policy: &mut Policy, name: &RecordName) {
        let (section, id) = (section_of(name), name.1.clone());
        let own = self.own(policy, name);
        let versions = self.edits.get(name).into_iter().flatten();
        let version = versions.into_iter().find(|version| version.basis == own.fingerprint);
        let version = version.filter(|version| !missing_reference(policy, version));
        // A malformed record was written by another version of this module; it is as if the edit did not apply.
        let candidates = version.map(Some).into_iter().chain([None]);
        let candidates: Vec<Option<Value>> =
            candidates.map(|version| self.in_force(name, own.record.as_ref(), version)).collect();
        for record in candidates {
            if policy.record(section, &id) != record {
                let edit = Edit { section, id: id.clone(), record, basis: None };
                if Policy::apply(policy, &Change { edits: Vec::from([edit]), unpriced: None }).is_err() {
                    continue;
                }
            }
            if policy.record(section, &id) == own.record {
                self.inline.remove(name);
            } else {
                self.inline.insert(name.clone(), own);
            }
            return;
        }
    }

    /// Settles the keys with these secrets.
    fn settle_secrets(&mut self, policy: &mut Policy, secrets: &[u64]) {
        let keys = secrets.iter().flat_map(|secret| policy.keys_by_hash(*secret));
        let names: Vec<RecordName> = keys.map(|key| record_name(Section::Keys, &key.id)).collect();
        names.iter().for_each(|name| self.settle(policy, name));
    }

    /// Carries out the edits that had no effect as long as this record did not exist.
    fn settle_those_of(&mut self, policy: &mut Policy, created: RecordName) {
        let mut created = Vec::from([created]);
        while let Some(new) = created.pop() {
            let new = (section_of(&new), new.1.as_str());
            let refers =
                |version: &Version| version.record.as_ref().is_some_and(|record| refers_to(record, new));
            let edits = self.edits.iter().filter(|(_, versions)| versions.iter().any(refers));
            let names: Vec<RecordName> = edits.map(|(name, _)| name.clone()).collect();
            for name in names {
                let existed = policy.record(section_of(&name), &name.1).is_some();
                self.settle(policy, &name);
                if !existed && policy.record(section_of(&name), &name.1).is_some() {
                    created.push(name);
                }
            }
        }
    }

    /// Returns the edits that have no effect on the policy, and the number of all of them; at most `limit`.
    pub(super) fn unapplied(&self, policy: &Policy, limit: usize) -> (Vec<Unapplied>, usize) {
        let (mut first, mut count) = (Vec::new(), 0_usize);
        for (name, versions) in &self.edits {
            let own = self.own(policy, name).fingerprint;
            let Some(version) = versions.iter().find(|version| version.basis == own).or(versions.last())
            else {
                continue;
            };
            let removal = version.record.is_none();
            if removal && policy.record(section_of(name), &name.1).is_none() {
                // There is nothing to remove, or it was removed.
                continue;
            }
            let reason = if version.basis == own {
                if !missing_reference(policy, version) {
                    continue;
                }
                UnappliedReason::MissingReference
            } else if own != 0 {
                UnappliedReason::OtherRecord
            } else {
                UnappliedReason::NoRecord
            };
            count = count.saturating_add(1);
            if first.len() < limit {
                first.push(Unapplied { section: section_of(name), id: name.1.clone(), removal, reason });
            }
        }
        (first, count)
    }

    /// Returns the content of a document:
    /// `{"edits": [["keys", "k1", [[fingerprint, organization, record, secrets], ...], withdrawals], ...], "fates": [...]}`.
    fn document(&self, document: &str) -> Option<Value> {
        let is_here = |name: &&RecordName| bucket(name) == document;
        let mut names: Vec<&RecordName> =
            self.edits.keys().chain(self.withdrawals.keys()).filter(is_here).collect();
        once(&mut names);
        let edits: Vec<Value> = names
            .into_iter()
            .map(|name| {
                let versions: Vec<Value> =
                    self.edits.get(name).into_iter().flatten().map(Version::to_json).collect();
                let withdrawals = self.withdrawals.get(name).map(Withdrawals::to_json);
                json!([section_of(name).name(), name.1, versions, withdrawals])
            })
            .collect();
        let fates = self.fates.iter().filter(|(secret, _)| bucket_of(*secret) == document);
        let fates: Vec<Value> = fates.map(|(secret, fate)| SecretFate::to_json(secret, fate)).collect();
        let is_empty = edits.is_empty() && fates.is_empty();
        (!is_empty).then(|| object!({ "edits": edits, "fates": fates }))
    }

    /// Replaces the edits of documents, and settles the records that they name.
    fn replace(&mut self, policy: &mut Policy, documents: &[(String, Option<Value>)]) -> Option<()> {
        let mut edits: BTreeMap<RecordName, Vec<Version>> = BTreeMap::new();
        let mut withdrawals: BTreeMap<RecordName, Withdrawals> = BTreeMap::new();
        let mut fates = Vec::new();
        for (_, content) in documents {
            let Some(content) = content else { continue };
            for record in content.get("edits")?.as_array()? {
                let [section, id, versions, withdrawn] = record.as_array()?.as_slice() else { return None };
                let name = record_name(Section::named(section.as_str()?)?, id.as_str()?);
                let versions: Option<Vec<Version>> =
                    versions.as_array()?.iter().map(Version::from_json).collect();
                let versions = versions?;
                if !versions.is_empty() {
                    edits.insert(name.clone(), versions);
                }
                if !withdrawn.is_null() {
                    withdrawals.insert(name, Withdrawals::from_json(withdrawn)?);
                }
            }
            for fate in content.get("fates")?.as_array()? {
                fates.push(SecretFate::from_json(fate)?);
            }
        }
        let is_given = |bucket: &str| documents.iter().any(|(document, _)| document == bucket);
        let known = self.edits.keys().chain(self.withdrawals.keys());
        let mut names: BTreeSet<RecordName> = known.filter(|name| is_given(&bucket(name))).cloned().collect();
        names.extend(edits.keys().chain(withdrawals.keys()).cloned());
        self.edits.retain(|name, _| !is_given(&bucket(name)));
        self.withdrawals.retain(|name, _| !is_given(&bucket(name)));
        let blocked: Vec<u64> = self.fates.iter().map(|(secret, _)| secret).collect();
        self.fates.retain(|secret| !is_given(&bucket_of(secret)));
        self.edits.extend(edits);
        self.withdrawals.extend(withdrawals);
        fates.into_iter().for_each(|(secret, fate)| self.fates.set(secret, fate));
        names.iter().for_each(|name| self.settle(policy, name));
        if !self.fates.is_empty() {
            let is_restricted = |key: &Key| {
                let previous =
                    key.previous().is_some_and(|(digest, _)| self.fates.contains(secret_hash(digest)));
                previous || self.fates.contains(secret_hash(&key.digest))
            };
            let keys = policy.keys.iter().filter(|(_, _, key)| is_restricted(key));
            let restricted: Vec<RecordName> = keys.map(|(_, id, _)| record_name(Section::Keys, id)).collect();
            restricted.iter().for_each(|name| self.settle(policy, name));
        }
        self.settle_secrets(policy, &blocked);
        Some(())
    }
}

impl Version {
    fn to_json(&self) -> Value {
        let Version { basis, organization, record, secrets } = self;
        json!([basis, organization, record, secrets])
    }

    fn from_json(json: &Value) -> Option<Version> {
        let [basis, organization, record, secrets] = json.as_array()?.as_slice() else { return None };
        let secrets: Option<Vec<u64>> = secrets.as_array()?.iter().map(Value::as_u64).collect();
        Some(Version {
            basis: basis.as_u64()?,
            organization: organization.as_str().map(ToString::to_string),
            record: (!record.is_null()).then(|| record.clone()),
            secrets: secrets?,
        })
    }
}

/// Returns true if the policy lacks a record that the edit names.
fn missing_reference(policy: &Policy, version: &Version) -> bool {
    version.record.as_ref().is_some_and(|record| {
        organization(policy, Some(record)) != version.organization || !has_references(policy, record)
    })
}

/// The policy of one VM, as a journal replicates it.
pub(super) struct PolicyReplica<'a> {
    pub(super) policy: &'a mut Policy,
    /// `None` with etcd: documents replace those of the inline policy then.
    pub(super) overlay: Option<&'a mut Overlay>,
}

impl Replica for PolicyReplica<'_> {
    fn apply(&mut self, change: &Change) -> bool {
        let Some(overlay) = &mut self.overlay else { return Policy::apply(self.policy, change).is_ok() };
        let mut created = Vec::new();
        for Edit { section, id, record, basis } in &change.edits {
            let Some(basis) = basis.clone() else { return false };
            let name = record_name(*section, id);
            let existed = self.policy.record(*section, id).is_some();
            let secrets: Vec<u64> = basis.fates.iter().map(|(secret, _)| *secret).collect();
            overlay.keep(&name, basis, record.clone());
            overlay.settle(self.policy, &name);
            overlay.settle_secrets(self.policy, &secrets);
            // No record names a key.
            if !existed && *section != Section::Keys && self.policy.record(*section, id).is_some() {
                created.push(name);
            }
        }
        for name in created {
            overlay.settle_those_of(self.policy, name);
        }
        true
    }

    fn replace(&mut self, documents: &[(String, Option<Value>)]) -> bool {
        if let Some(overlay) = &mut self.overlay {
            return overlay.replace(self.policy, documents).is_some();
        }
        let named =
            |(name, content): &(String, Option<Value>)| Some((Document::named(name)?, content.clone()));
        let documents: Option<Vec<_>> = documents.iter().map(named).collect();
        let difference = documents.and_then(|documents| self.policy.difference(&documents).ok());
        difference.is_some_and(|change| Policy::apply(self.policy, &change).is_ok())
    }

    fn document(&self, document: &str) -> Option<Value> {
        match &self.overlay {
            Some(overlay) => overlay.document(document),
            None => Policy::document(self.policy, &Document::named(document)?),
        }
    }

    fn touched(&self, change: &Change) -> Vec<String> {
        match self.overlay {
            Some(_) => {
                let records = change.edits.iter().map(|edit| bucket(&record_name(edit.section, &edit.id)));
                let fates = change.edits.iter().filter_map(|edit| edit.basis.as_ref());
                let fates = fates.flat_map(|basis| &basis.fates).map(|(secret, _)| bucket_of(*secret));
                records.chain(fates).collect()
            }
            None => self.policy.touched(change).iter().map(ToString::to_string).collect(),
        }
    }
}
