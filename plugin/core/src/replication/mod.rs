//! Documents in a process: one policy, the same in all VMs, while it is being changed.
//!
//! Everything lies in the host's shared data. A [`Journal`] numbers the changes (their *epoch*) and commits each with
//! one compare-and-swap; VMs look at the epoch once per request and apply what they have missed.
//! [`audit`] keeps the last attempts of each organization beside it.
//!
//! A VM can trap between any two host calls. What is behind a commit is therefore written by a step that every
//! VM can take, and take again: the next writer and each tick finish what a writer left.

pub mod audit_log;
mod etcd_store;
mod journal;
mod record;
mod store;

pub use journal::{Commit, Journal, MOST, RING};
pub use store::{AdminReply, Effect, PolicyStore};

use alloc::vec::Vec;
use core::fmt;

use serde_json::Value;

use crate::counters::StoreError;
use crate::policy::{Change, Document};

/// What a journal keeps the same in all VMs.
pub trait Replica {
    /// Makes a change that was checked where it was made; `false`: it is malformed, and nothing changed.
    fn apply(&mut self, change: &Change) -> bool;

    /// Lets these documents have this content (`None`: removed); `false`: one is malformed, and nothing changed.
    fn replace(&mut self, documents: &[(Document, Option<Value>)]) -> bool;

    /// A document as it is; `None`: there is none.
    fn document(&self, document: &Document) -> Option<Value>;

    /// The documents that a change which was not made yet has a part in, before and after it.
    fn touched(&self, change: &Change) -> Vec<Document>;
}

/// Why a journal cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// The host's shared data.
    Cells(StoreError),
    /// A configuration with another inline policy was loaded since: what this one serves no longer changes.
    Superseded,
    /// A record is gone or cannot be read: the host threw it away, or another version wrote it.
    Damaged,
    /// The change would make a record of this many bytes; above [`MOST`] none is made.
    TooLarge(usize),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JournalError::Cells(_) => {
                "The host's shared data did not take the change, or not all of it. Look before trying again."
            }
            JournalError::Superseded => {
                "Another configuration was loaded meanwhile, and this worker is about to take it. Try again."
            }
            JournalError::Damaged => {
                "The host has lost a part of the documents: nothing can be changed until the gateway is started anew."
            }
            JournalError::TooLarge(bytes) => {
                return write!(f, "The change has {bytes} bytes, and at most {MOST} can be kept at once.");
            }
        })
    }
}

impl From<StoreError> for JournalError {
    fn from(error: StoreError) -> Self {
        JournalError::Cells(error)
    }
}
