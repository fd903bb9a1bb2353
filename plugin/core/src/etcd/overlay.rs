//! Overlay of etcd's documents over those of the gateway's own configuration.

use alloc::vec::Vec;

use serde_json::Value;

use super::Changes;
use crate::collections::sort::sort;
use crate::policy::Document;

/// Field of the catalog; true if etcd holds the whole policy.
const COMPLETE: &str = "complete";

/// Returns true if the documents include the catalog and it marks etcd's policy as complete.
pub fn complete(documents: &[(Document, Option<Value>)]) -> bool {
    documents.iter().any(|(document, content)| {
        let flag = content.as_ref().and_then(|content| content.get(COMPLETE)).and_then(Value::as_bool);
        *document == Document::Catalog && flag == Some(true)
    })
}

/// Returns the documents to apply to a policy that has the documents `present`: the loaded ones and, if etcd holds the
/// whole policy, removals of all others.
///
/// The result is for `Policy::difference`.
pub fn overlay(present: &[Document], changes: Changes) -> Vec<(Document, Option<Value>)> {
    let Changes { all, mut documents, .. } = changes;
    if all && complete(&documents) {
        // Documents of the gateway's own configuration that etcd lacks. The catalog is among `documents`.
        let mut stored: Vec<&Document> = documents.iter().map(|(document, _)| document).collect();
        sort(&mut stored);
        let removed: Vec<_> = present
            .iter()
            .filter(|document| stored.binary_search(document).is_err())
            .map(|document| (document.clone(), None))
            .collect();
        documents.extend(removed);
    }
    for (document, content) in &mut documents {
        // The flag is not a field of the policy.
        if let (Document::Catalog, Some(Value::Object(fields))) = (document, content) {
            fields.remove(COMPLETE);
        }
    }
    documents
}
