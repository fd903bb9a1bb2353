//! Publication of documents of etcd in this process: from etcd to the journal.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use super::overlay::PolicyReplica;
use super::store::{Effect, POLICY_IN_USE, PolicyStore};
use super::{JournalCommit, JournalError};
use crate::config::GatewayConfig;
use crate::counters::{CounterStore, StoreError, retry_conflicts};
use crate::etcd::{Changes, Freshness, overlay};
use crate::json::out_of_line::text;
use crate::policy::{Change, Document, Policy};

/// Maximum size of the documents in one journal commit in bytes; a larger document is committed alone.
const BATCH_BYTES: usize = 512 * 1024;

/// A document with its content; `None` removes it.
pub(super) type Content = (Document, Option<Value>);

impl PolicyStore {
    /// Publishes changes read from etcd at the time `at`.
    pub(super) fn load<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        changes: Changes,
        at: u64,
        effects: &mut Vec<Effect>,
    ) {
        let revision = changes.revision;
        if !changes.documents.is_empty() {
            let present = config.policy.read().documents();
            let documents = overlay(&present, changes);
            if let Err(error) = self.publish(store, config, &documents, revision) {
                effects.push(Effect::Warn(error.to_string()));
                return;
            }
        }
        if let Some(etcd) = &self.etcd {
            etcd.set_freshness(store, Freshness { at, revision });
        }
    }

    /// Commits documents of a revision of etcd to the journal, unless it has a later one.
    pub(super) fn publish<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        documents: &[Content],
        revision: u64,
    ) -> Result<(), PublishError> {
        retry_conflicts(|| {
            self.catch_up(store, config)?;
            let Some(journal) = &mut self.journal else { return Ok(Some(())) };
            if journal.revision() >= revision {
                return Ok(Some(()));
            }
            let mut batches = batches(documents).peekable();
            while let Some(batch) = batches.next() {
                let revision = batches.peek().is_none().then_some(revision);
                let committed = config.policy.change(|policy| {
                    let change = policy.difference(batch).map_err(|diagnostics| {
                        let first = diagnostics.first().map(ToString::to_string);
                        PublishError::Invalid(first.unwrap_or_default())
                    })?;
                    let documents = batch.iter().map(|(document, _)| document.to_string()).collect();
                    let commit = JournalCommit { change, documents, revision, entry: None };
                    Ok(journal.commit(store, &mut PolicyReplica { policy, overlay: None }, commit)?)
                });
                if !committed.unwrap_or(Err(PublishError::Journal(POLICY_IN_USE)))? {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }
}

/// The error of publishing documents of etcd.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("the documents of etcd cannot be published: {0}")]
    Journal(#[from] JournalError),
    /// The first diagnostic.
    #[error("the documents of etcd are invalid: {0}")]
    Invalid(String),
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        PublishError::Journal(error.into())
    }
}

/// Splits documents into batches of about [`BATCH_BYTES`]; at least one batch.
fn batches(documents: &[Content]) -> impl Iterator<Item = &[Content]> {
    let mut rest = Some(documents);
    core::iter::from_fn(move || {
        let documents = rest.take()?;
        let mut bytes = 0_usize;
        let fitting = documents.iter().take_while(|(_, content)| {
            let before = bytes;
            bytes = bytes.saturating_add(content.as_ref().map_or(0, |content| text(content).len()));
            before == 0 || bytes <= BATCH_BYTES
        });
        let (batch, left) = documents.split_at(fitting.count().max(1).min(documents.len()));
        rest = (!left.is_empty()).then_some(left);
        Some(batch)
    })
}

/// Returns the documents that a change affects, with their content after the change. The policy is unchanged afterwards.
pub(super) fn contents(policy: &mut Policy, change: &Change) -> Vec<Content> {
    let mut undo = Change { unpriced: change.unpriced.map(|_| policy.unpriced), ..Change::default() };
    for edit in &change.edits {
        match policy.record(edit.section, &edit.id) {
            Some(record) => undo.put(edit.section, &edit.id, record),
            None => undo.remove(edit.section, &edit.id),
        }
    }
    let touched = policy.touched(change);
    // Cannot fail: the change was validated, and the undo restores the present records.
    let _ = Policy::apply(policy, change);
    let contents = touched
        .into_iter()
        .map(|document| {
            let content = Policy::document(policy, &document);
            (document, content)
        })
        .collect();
    let _ = Policy::apply(policy, &undo);
    contents
}
