//! The edits of the management API, kept apart from the policies of the configurations ("inline policies").
//!
//! A process can hold several inline policies under one prefix: an update drains the old one, an update is taken back, a
//! new module runs beside the old one, and two listeners can have different ones for good. From inside these cases look
//! alike, so one rule serves all of them. Every inline policy is used as it is, and all of them share the edits:
//!
//! > An edit applies to an inline policy if that has the very record that the edit replaced, or lacks it likewise.
//!
//! A key that the API made therefore works under every inline policy with its team and owner, and a revoked key stays
//! revoked under every one whose record of it is the same. An edit of a record that differs in another inline policy has
//! no effect there: policies do not mix. One edit is stronger: a revoked key stays revoked under every inline policy that
//! gives it the same team and secret, whatever else its record says. The edits without effect are reported ([`Overlay::unapplied`]).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::Replica;
use crate::json::out_of_line::{object, text};
use crate::policy::{Basis, Change, Document, Edit, Policy, Section};
use crate::text::hash::fingerprint;

/// Number of documents that the edits are distributed over. A commit writes one or a few of them.
const BUCKETS: u64 = 64;

/// Maximum number of remembered secrets of one key. The oldest is dropped.
const MAX_SECRETS: usize = 8;

/// Maximum number of kept edits of one record that replaced different records of inline policies. The oldest is dropped.
const MAX_VERSIONS: usize = 8;

/// A record: the position of its section in [`Section::ALL`], and its id. Records sort after those that they name.
type RecordName = (usize, String);

/// An edit with its basis.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    basis: Basis,
    record: Option<Value>,
}

/// The edits of all configurations of a process under one prefix.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    edits: BTreeMap<RecordName, Vec<Version>>,
    /// Fingerprints of the inline policy's records that were replaced or removed; 0 if it lacks the record.
    inline: BTreeMap<RecordName, u64>,
    /// The organization of each team of the inline policy, and the team of each of its service accounts, that was replaced
    /// or removed.
    homes: BTreeMap<RecordName, String>,
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

fn record_fingerprint(policy: &Policy, section: Section, id: &str) -> u64 {
    // 0 stands for no record.
    policy.record(section, id).map_or(0, |record| fingerprint(text(&record).as_bytes()).max(1))
}

/// Returns the organization of the team that a record names.
fn organization(policy: &Policy, record: Option<&Value>) -> Option<String> {
    let team = policy.record(Section::Teams, record?.get("team")?.as_str()?)?;
    Some(team.get("organization")?.as_str()?.to_string())
}

/// Returns the organization that a team names, or the team that a service account names.
fn home(section: Section, record: &Value) -> Option<&str> {
    let name = match section {
        Section::Teams => "organization",
        Section::ServiceAccounts => "team",
        Section::Targets | Section::Users | Section::Organizations | Section::Keys => return None,
    };
    record.get(name)?.as_str()
}

/// Returns the fingerprint of a key's team and secret.
fn secret_fingerprint(policy: &Policy, name: &RecordName) -> Option<u64> {
    let record = policy.record(section_of(name), &name.1).filter(|_| section_of(name) == Section::Keys)?;
    let field = |field: &str| record.get(field).and_then(Value::as_str);
    Some(fingerprint(format!("{} {}", field("team")?, field("digest")?).as_bytes()))
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
            let record = self.own(policy, &name);
            let secrets = self.secrets(policy, &name, record);
            edit.basis = Some(Basis { record, organization, secrets });
        }
        change
    }

    /// Returns the section and id of a record that a change would put elsewhere than in its place in the inline policy: a
    /// team into another organization, or a service account into another team. Keys of inline policies can name the
    /// record, and would follow it there.
    pub(super) fn moved<'c>(&self, change: &'c Change) -> Option<(Section, &'c str)> {
        let moved = |edit: &&Edit| {
            let new = edit.record.as_ref().and_then(|record| home(edit.section, record));
            let own = self.homes.get(&record_name(edit.section, &edit.id));
            own.is_some_and(|own| new.is_some_and(|new| own != new))
        };
        change.edits.iter().find(moved).map(|edit| (edit.section, edit.id.as_str()))
    }

    /// Returns the fingerprint of the inline policy's record.
    fn own(&self, policy: &Policy, name: &RecordName) -> u64 {
        // A record that no edit has changed is the inline policy's.
        let changed = self.inline.get(name).copied();
        changed.unwrap_or_else(|| record_fingerprint(policy, section_of(name), &name.1))
    }

    /// Returns the fingerprints of the secrets that a key has and had, with its team. `own` is its record's in the inline
    /// policy.
    fn secrets(&self, policy: &Policy, name: &RecordName, own: u64) -> Vec<u64> {
        let edits = self.edits.get(name).into_iter().flatten();
        let earlier =
            edits.filter(|version| version.basis.record == own).flat_map(|version| &version.basis.secrets);
        let mut secrets: Vec<u64> = earlier.copied().collect();
        if let Some(secret) = secret_fingerprint(policy, name).filter(|secret| !secrets.contains(secret)) {
            secrets.push(secret);
        }
        let dropped = secrets.len().saturating_sub(MAX_SECRETS);
        secrets.drain(..dropped);
        secrets
    }

    /// Returns true if an edit applies to the inline policy: that has the record that the edit replaced, or the edit
    /// revoked a key that has the same team and secret there.
    fn applies(&self, policy: &Policy, name: &RecordName, version: &Version) -> bool {
        let revokes = || {
            version.record.is_none()
                && secret_fingerprint(policy, name)
                    .is_some_and(|secret| version.basis.secrets.contains(&secret))
        };
        version.basis.record == self.own(policy, name) || revokes()
    }

    /// Keeps an edit.
    fn keep(&mut self, name: &RecordName, version: Version) {
        let versions = self.edits.entry(name.clone()).or_default();
        versions.retain(|kept| kept.basis.record != version.basis.record);
        // Nothing is left of a record that the API made and removed.
        if version.record.is_some() || version.basis.record != 0 {
            versions.push(version);
        }
        if versions.len() > MAX_VERSIONS {
            versions.remove(0);
        }
        if versions.is_empty() {
            self.edits.remove(name);
        }
    }

    /// Carries out an edit if it applies to the inline policy.
    fn carry_out(&mut self, policy: &mut Policy, name: &RecordName, version: &Version) {
        let own = self.own(policy, name);
        if !self.applies(policy, name, version) || missing_reference(policy, version) {
            return;
        }
        let (section, id) = (section_of(name), name.1.clone());
        if !self.inline.contains_key(name)
            && let Some(record) = policy.record(section, &id)
            && let Some(home) = home(section, &record)
        {
            self.homes.insert(name.clone(), home.to_string());
        }
        let edit = Edit { section, id, record: version.record.clone(), basis: None };
        // A malformed record was written by another version of this module; it is as if the edit did not apply.
        if Policy::apply(policy, &Change { edits: Vec::from([edit]), unpriced: None }).is_ok() {
            if version.record.is_none() && own == 0 {
                self.inline.remove(name);
            } else {
                self.inline.insert(name.clone(), own);
            }
        }
    }

    /// Carries out the edits that had no effect as long as this record did not exist.
    fn carry_out_those_of(&mut self, policy: &mut Policy, created: RecordName) {
        let mut created = Vec::from([created]);
        while let Some(new) = created.pop() {
            let new = (section_of(&new), new.1.as_str());
            let refers =
                |version: &&Version| version.record.as_ref().is_some_and(|record| refers_to(record, new));
            let edits = self.edits.iter().flat_map(|(name, versions)| {
                versions.iter().filter(refers).map(move |version| (name.clone(), version.clone()))
            });
            let edits: Vec<(RecordName, Version)> = edits.collect();
            for (name, version) in edits {
                let before = policy.record(section_of(&name), &name.1);
                if before == version.record {
                    continue;
                }
                self.carry_out(policy, &name, &version);
                if before.is_none() && policy.record(section_of(&name), &name.1).is_some() {
                    created.push(name);
                }
            }
        }
    }

    /// Returns the edits that have no effect on the policy, and the number of all of them; at most `limit`.
    pub(super) fn unapplied(&self, policy: &Policy, limit: usize) -> (Vec<Unapplied>, usize) {
        let (mut first, mut count) = (Vec::new(), 0_usize);
        for (name, versions) in &self.edits {
            let own = self.own(policy, name);
            let Some(version) =
                versions.iter().find(|version| version.basis.record == own).or(versions.last())
            else {
                continue;
            };
            let removal = version.record.is_none();
            if removal && policy.record(section_of(name), &name.1).is_none() {
                // There is nothing to remove, or it was removed.
                continue;
            }
            let reason = if version.basis.record == own {
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

    /// Returns the content of a document: `{"keys": {"k1": [[fingerprint, organization, record, secrets], ...]}}`.
    fn document(&self, document: &str) -> Option<Value> {
        let mut records = Vec::new();
        for (name, versions) in self.edits.iter().filter(|(name, _)| bucket(name) == document) {
            let versions: Vec<Value> = versions
                .iter()
                .map(|Version { basis, record }| {
                    json!([basis.record, basis.organization, record, basis.secrets])
                })
                .collect();
            records.push(json!([section_of(name).name(), name.1, versions]));
        }
        (!records.is_empty()).then_some(Value::Array(records))
    }

    /// Replaces the edits of a document, and carries out those that apply.
    fn replace(&mut self, policy: &mut Policy, documents: &[(String, Option<Value>)]) -> Option<()> {
        let mut given: BTreeMap<RecordName, Vec<Version>> = BTreeMap::new();
        for (_, content) in documents {
            for record in content.as_ref().and_then(Value::as_array).into_iter().flatten() {
                let [section, id, versions] = record.as_array()?.as_slice() else { return None };
                let name = record_name(Section::named(section.as_str()?)?, id.as_str()?);
                let versions: Option<Vec<Version>> = versions.as_array()?.iter().map(version).collect();
                given.insert(name, versions?);
            }
        }
        let is_given = |name: &RecordName| documents.iter().any(|(document, _)| *document == bucket(name));
        let is_new = |version: &Version| version.basis.record == 0;
        let has_new = |versions: &Vec<Version>| versions.iter().any(is_new);
        let gone = self.edits.iter().filter(|(name, versions)| {
            is_given(name) && has_new(versions) && !given.get(*name).is_some_and(has_new)
        });
        let gone: Vec<RecordName> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            // Made and removed since: only such an edit leaves nothing behind.
            let basis = Basis { record: 0, organization: None, secrets: Vec::new() };
            let removed = Version { basis, record: None };
            self.carry_out(policy, &name, &removed);
        }
        self.edits.retain(|name, _| !is_given(name));
        for (name, versions) in given {
            for version in &versions {
                self.carry_out(policy, &name, version);
            }
            self.edits.insert(name, versions);
        }
        Some(())
    }
}

fn version(json: &Value) -> Option<Version> {
    let [fingerprint, organization, record, secrets] = json.as_array()?.as_slice() else { return None };
    let organization = organization.as_str().map(ToString::to_string);
    let secrets: Option<Vec<u64>> = secrets.as_array()?.iter().map(Value::as_u64).collect();
    let basis = Basis { record: fingerprint.as_u64()?, organization, secrets: secrets? };
    Some(Version { basis, record: (!record.is_null()).then(|| record.clone()) })
}

/// Returns true if the policy lacks a record that the edit names.
fn missing_reference(policy: &Policy, version: &Version) -> bool {
    version.record.as_ref().is_some_and(|record| {
        organization(policy, Some(record)) != version.basis.organization || !has_references(policy, record)
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
            let version = Version { basis, record: record.clone() };
            let existed = self.policy.record(*section, id).is_some();
            overlay.carry_out(self.policy, &name, &version);
            overlay.keep(&name, version);
            // No record names a key.
            if !existed && *section != Section::Keys && self.policy.record(*section, id).is_some() {
                created.push(name);
            }
        }
        for name in created {
            overlay.carry_out_those_of(self.policy, name);
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
            Some(_) => change.edits.iter().map(|edit| bucket(&record_name(edit.section, &edit.id))).collect(),
            None => self.policy.touched(change).iter().map(ToString::to_string).collect(),
        }
    }
}
