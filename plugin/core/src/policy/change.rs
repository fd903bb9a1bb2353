//! A change of a policy: records put and removed as one unit.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde_json::{Map, Value};

use crate::collections::sort::sort_by_key;
use crate::policy::basis::Basis;
use crate::policy::model::Unpriced;

/// A section of a policy document: an object of records by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// `targets`
    Targets,
    /// `organizations`
    Organizations,
    /// `teams`
    Teams,
    /// `users`
    Users,
    /// `service_accounts`
    ServiceAccounts,
    /// `keys`
    Keys,
}

impl Section {
    /// All sections. Records name only records of the same or an earlier section.
    pub const ALL: [Section; 6] = [
        Section::Targets,
        Section::Users,
        Section::Organizations,
        Section::Teams,
        Section::ServiceAccounts,
        Section::Keys,
    ];

    /// Returns the name in a document.
    pub fn name(self) -> &'static str {
        match self {
            Section::Targets => "targets",
            Section::Organizations => "organizations",
            Section::Teams => "teams",
            Section::Users => "users",
            Section::ServiceAccounts => "service_accounts",
            Section::Keys => "keys",
        }
    }

    /// Returns the name of one of its records, for messages.
    pub fn singular(self) -> &'static str {
        match self {
            Section::Targets => "target",
            Section::Organizations => "organization",
            Section::Teams => "team",
            Section::Users => "user",
            Section::ServiceAccounts => "service account",
            Section::Keys => "key",
        }
    }

    /// Returns the section with this name.
    pub fn named(name: &str) -> Option<Section> {
        Section::ALL.into_iter().find(|section| section.name() == name)
    }
}

/// A record that is put or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Section of the record.
    pub section: Section,
    /// Id of the record.
    pub id: String,
    /// The whole record in the form of a document. `None`: the record is removed.
    pub record: Option<Value>,
    /// The circumstances of the edit, if it is kept for several policies (`replication`).
    pub basis: Option<Basis>,
}

/// An atomic change of several records.
///
/// Its JSON form is a fragment of a policy document with `null` for each removed record:
/// `{"teams": {"search": {…}}, "keys": {"k1": null}, "unpriced": "allow"}`. Edits with a [`Basis`] add
/// `"bases": {"teams": {"search": [fingerprint, organization, secrets, fates, withdrawals]}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Edits in order. The later of two edits of one record applies.
    pub edits: Vec<Edit>,
    /// The new value of `unpriced`. `None`: unchanged.
    pub unpriced: Option<Unpriced>,
}

impl Change {
    /// Adds or replaces a record.
    #[inline(never)]
    pub fn put(&mut self, section: Section, id: &str, record: Value) {
        self.edits.push(Edit { section, id: id.to_string(), record: Some(record), basis: None });
    }

    /// Removes a record.
    #[inline(never)]
    pub fn remove(&mut self, section: Section, id: &str) {
        self.edits.push(Edit { section, id: id.to_string(), record: None, basis: None });
    }

    /// Returns true if nothing changes.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.unpriced.is_none()
    }

    /// Sorts the edits into the order of [`Section::ALL`].
    pub(crate) fn sort(&mut self) {
        sort_by_key(&mut self.edits, |edit| Section::ALL.iter().position(|section| *section == edit.section));
    }

    /// Returns the JSON form.
    pub fn to_json(&self) -> Value {
        let (mut sections, mut bases) = (Map::new(), Map::new());
        for Edit { section, id, record, basis } in &self.edits {
            insert(&mut sections, *section, id, record.clone().unwrap_or_default());
            if let Some(basis) = basis {
                insert(&mut bases, *section, id, basis.to_json());
            }
        }
        if !bases.is_empty() {
            sections.insert("bases".into(), Value::Object(bases));
        }
        if let Some(unpriced) = self.unpriced {
            sections.insert("unpriced".into(), unpriced.name().into());
        }
        Value::Object(sections)
    }

    /// Reads the JSON form. `None` if it is not a change.
    pub fn from_json(json: &Value) -> Option<Change> {
        let mut change = Change::default();
        let bases = json.get("bases");
        for (name, records) in json.as_object()? {
            if name == "bases" {
                continue;
            }
            if name == "unpriced" {
                change.unpriced = Some(Unpriced::named(records.as_str()?)?);
                continue;
            }
            let section = Section::named(name)?;
            for (id, record) in records.as_object()? {
                let record = (!record.is_null()).then(|| record.clone());
                let basis = bases.and_then(|bases| bases.get(name)?.get(id));
                let basis = match basis {
                    Some(basis) => Some(Basis::from_json(basis)?),
                    None => None,
                };
                change.edits.push(Edit { section, id: id.clone(), record, basis });
            }
        }
        change.sort();
        Some(change)
    }
}

/// Inserts a value at the place of a record.
fn insert(sections: &mut Map<String, Value>, section: Section, id: &str, value: Value) {
    let section = sections.entry(section.name()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(records) = section {
        records.insert(id.to_string(), value);
    }
}

/// A part of the policy that is stored and replaced as a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Document {
    /// All targets, and `unpriced`.
    Catalog,
    /// An organization.
    Organization(String),
    /// A user.
    User(String),
    /// A team with its service accounts and keys.
    Team(String),
}

impl Document {
    /// Returns the document with this name (`catalog`, `organization/acme`, `user/bob`, `team/search`).
    pub fn named(name: &str) -> Option<Document> {
        if name == "catalog" {
            return Some(Document::Catalog);
        }
        let (kind, id) = name.split_once('/')?;
        match kind {
            "organization" => Some(Document::Organization(id.to_string())),
            "user" => Some(Document::User(id.to_string())),
            "team" => Some(Document::Team(id.to_string())),
            _ => None,
        }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Document::Catalog => write!(f, "catalog"),
            Document::Organization(id) => write!(f, "organization/{id}"),
            Document::User(id) => write!(f, "user/{id}"),
            Document::Team(id) => write!(f, "team/{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::basis::{SecretFate, Withdrawals};
    use crate::time::Timestamp;

    #[test]
    fn a_change_round_trips_through_json() {
        let mut change = Change::default();
        change.put(Section::Teams, "search", serde_json::json!({ "organization": "acme" }));
        change.remove(Section::Keys, "k1");
        change.unpriced = Some(Unpriced::Allow);
        let fate = SecretFate { until: Some(Timestamp(7)), blocked: true };
        let secrets = Vec::from([1, u64::MAX]);
        let fates = Vec::from([(u64::MAX, fate), (0, SecretFate::REVOKED), (1, SecretFate::default())]);
        change.edits[0].basis = Some(Basis { record: u64::MAX, secrets, fates, ..Basis::default() });
        let withdrawals = Withdrawals {
            blocked: true,
            members: ["bob".to_string()].into(),
            removed: Some("acme".to_string()),
        };
        let organization = Some("acme".to_string());
        change.edits[1].basis = Some(Basis { organization, withdrawals, ..Basis::default() });
        assert_eq!(Change::from_json(&change.to_json()), Some(change));
        assert_eq!(Change::from_json(&serde_json::json!({ "teams": 1 })), None);
        assert_eq!(Change::from_json(&serde_json::json!({ "version": 1 })), None);
    }

    #[test]
    fn a_document_round_trips_through_its_name() {
        for name in ["catalog", "organization/acme", "user/bob", "team/search"] {
            assert_eq!(Document::named(name).map(|document| document.to_string()).as_deref(), Some(name));
        }
        assert_eq!(Document::named("team"), None);
    }
}
