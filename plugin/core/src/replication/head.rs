//! The head record of the journal: the newest change.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use crate::json::out_of_line::{object, text};
use crate::policy::{Change, Document};

/// The head record.
pub(super) struct JournalHead {
    pub(super) base: u64,
    /// Fingerprint of the inline policy below the documents.
    pub(super) inline: u64,
    pub(super) revision: u64,
    pub(super) documents: Vec<Document>,
    pub(super) change: Change,
    pub(super) entry: Option<(Option<String>, String)>,
}

impl JournalHead {
    pub(super) fn to_json(&self) -> String {
        let names: Vec<String> = self.documents.iter().map(Document::to_string).collect();
        let entry = self.entry.as_ref().map(|(organization, text)| json!([organization, text]));
        text(&object!({
            "base": self.base,
            "inline": self.inline,
            "revision": self.revision,
            "documents": names,
            "change": self.change.to_json(),
            "entry": entry,
        }))
    }

    pub(super) fn read(body: &[u8]) -> Option<JournalHead> {
        let json = super::record::json(body).ok()?;
        let number = |name: &str| json.get(name)?.as_u64();
        let entry = match json.get("entry")?.as_array().map(Vec::as_slice) {
            Some([organization, text]) => {
                Some((organization.as_str().map(ToString::to_string), text.as_str()?.to_string()))
            }
            _ => None,
        };
        Some(JournalHead {
            base: number("base")?,
            inline: number("inline")?,
            revision: number("revision")?,
            documents: documents(json.get("documents")?)?,
            change: Change::from_json(json.get("change")?)?,
            entry,
        })
    }
}

/// Parses a list of document names.
pub(super) fn documents(names: &Value) -> Option<Vec<Document>> {
    names.as_array()?.iter().map(|name| Document::named(name.as_str()?)).collect()
}

/// The head record with its epoch and version.
pub(super) struct VersionedHead<V> {
    pub(super) epoch: u64,
    pub(super) head: JournalHead,
    pub(super) version: V,
}
