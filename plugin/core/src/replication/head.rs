//! The head record of the journal: the newest change.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use crate::json::out_of_line::{object, text};
use crate::policy::Change;

/// The audit entry of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Name of the organization's log; `None` for the platform's.
    pub organization: Option<String>,
    /// Id of the user.
    pub actor: String,
    /// The entry as JSON.
    pub text: String,
}

/// The head record.
pub(super) struct JournalHead {
    pub(super) base: u64,
    /// Number of the format of the changes and documents.
    pub(super) format: u64,
    pub(super) revision: u64,
    pub(super) documents: Vec<String>,
    pub(super) change: Change,
    pub(super) entry: Option<LogEntry>,
}

impl JournalHead {
    pub(super) fn to_json(&self) -> String {
        let entry = self
            .entry
            .as_ref()
            .map(|LogEntry { organization, actor, text }| json!([organization, actor, text]));
        text(&object!({
            "base": self.base,
            "format": self.format,
            "revision": self.revision,
            "documents": self.documents,
            "change": self.change.to_json(),
            "entry": entry,
        }))
    }

    /// Returns the base of a head in any format.
    pub(super) fn base_of(body: &[u8]) -> Option<u64> {
        super::record::json(body).ok()?.get("base")?.as_u64()
    }

    pub(super) fn read(body: &[u8]) -> Option<JournalHead> {
        let json = super::record::json(body).ok()?;
        let number = |name: &str| json.get(name)?.as_u64();
        let entry = match json.get("entry")?.as_array().map(Vec::as_slice) {
            Some([organization, actor, text]) => Some(LogEntry {
                organization: organization.as_str().map(ToString::to_string),
                actor: actor.as_str()?.to_string(),
                text: text.as_str()?.to_string(),
            }),
            _ => None,
        };
        Some(JournalHead {
            base: number("base")?,
            format: number("format")?,
            revision: number("revision")?,
            documents: documents(json.get("documents")?)?,
            change: Change::from_json(json.get("change")?)?,
            entry,
        })
    }
}

/// Parses a list of document names.
pub(super) fn documents(names: &Value) -> Option<Vec<String>> {
    names.as_array()?.iter().map(|name| Some(name.as_str()?.to_string())).collect()
}

/// The head record with its epoch and version.
pub(super) struct VersionedHead<V> {
    pub(super) epoch: u64,
    pub(super) head: JournalHead,
    pub(super) version: V,
}
