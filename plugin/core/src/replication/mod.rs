//! Replication of policy changes to all VMs of a process, and to etcd.
//!
//! All state is in the host's shared data. `overlay` applies one record of changes to all policies of the configurations
//! in the process. A [`Journal`] numbers the changes (their *epoch*) and commits each with
//! one compare-and-swap. VMs read the epoch once per request and apply the changes that they lack. `audit_log` stores
//! the last attempts of each organization.
//!
//! A VM can trap between any two host calls. The records behind a commit are therefore written by an idempotent step
//! that every VM can run: the next writer and each tick complete an unfinished commit.

mod attempts;
mod audit_log;
mod etcd_store;
mod head;
mod journal;
mod overlay;
mod overview;
mod publish;
mod record;
mod store;
mod withdrawals;

pub use audit_log::StoredEntry;
pub use head::LogEntry;
use journal::MAX_RECORD_BYTES;
pub use journal::{DELTA_SLOTS, Journal, JournalCommit};
pub use store::{AdminReply, Effect, PolicyStore};

use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use crate::counters::StoreError;
use crate::policy::Change;

/// The state that a journal replicates to all VMs.
pub trait Replica {
    /// Applies a change that its author validated. Returns false if it is malformed; nothing has changed then.
    fn apply(&mut self, change: &Change) -> bool;

    /// Sets the content of named documents; `None` removes one. Returns false if one is malformed; nothing has changed then.
    fn replace(&mut self, documents: &[(String, Option<Value>)]) -> bool;

    /// Returns the content of a document; `None` if it does not exist.
    fn document(&self, document: &str) -> Option<Value>;

    /// Returns the documents that a change would affect, before and after it.
    fn touched(&self, change: &Change) -> Vec<String>;
}

/// The error of reading or writing a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The host's shared data failed.
    #[error(
        "The shared data of the host failed; the change may be stored in part. Read it before trying again."
    )]
    Store(StoreError),
    /// The journal was lost, and another VM began a new one: this configuration no longer changes.
    #[error(
        "The host has lost the record of changes, and another worker has begun a new one. Load the configuration again."
    )]
    Superseded,
    /// A record is missing or unreadable: the host evicted it, or another version wrote it.
    #[error("The host has lost a part of the documents. No change is possible until the gateway restarts.")]
    Damaged,
    /// The change would make a record of this many bytes, more than `MAX_RECORD_BYTES`.
    #[error("The change has {0} bytes; the maximum is {MAX_RECORD_BYTES}.")]
    TooLarge(usize),
}

impl From<StoreError> for JournalError {
    fn from(error: StoreError) -> Self {
        JournalError::Store(error)
    }
}
