//! etcd's documents over those of a gateway's own configuration.

use alloc::vec::Vec;

use serde_json::Value;

use super::Changes;
use crate::collections::sort::sort;
use crate::policy::Document;

/// The field of the catalog that says: what etcd does not have, there is not.
const COMPLETE: &str = "complete";

/// Whether the catalog is among these and says that etcd holds the whole policy.
pub fn complete(documents: &[(Document, Option<Value>)]) -> bool {
    documents.iter().any(|(document, content)| {
        let says = content.as_ref().and_then(|content| content.get(COMPLETE)).and_then(Value::as_bool);
        *document == Document::Catalog && says == Some(true)
    })
}

/// What is to be made of a policy that now has the documents `present`: etcd's in the place of those with the same
/// name, and, where etcd holds the whole policy, nothing else.
///
/// The result is for `Policy::difference`.
pub fn overlay(present: &[Document], loaded: Changes) -> Vec<(Document, Option<Value>)> {
    let Changes { all, mut documents, .. } = loaded;
    if all && complete(&documents) {
        // What only this gateway's configuration holds. The catalog is among the documents.
        let mut held: Vec<&Document> = documents.iter().map(|(document, _)| document).collect();
        sort(&mut held);
        let gone: Vec<_> = present
            .iter()
            .filter(|document| held.binary_search(document).is_err())
            .map(|document| (document.clone(), None))
            .collect();
        documents.extend(gone);
    }
    for (document, content) in &mut documents {
        // It is about etcd, and no field of a policy.
        if let (Document::Catalog, Some(Value::Object(fields))) = (document, content) {
            fields.remove(COMPLETE);
        }
    }
    documents
}
