//! The audit: who attempted what, and what became of it.

use alloc::string::String;

use serde_json::Value;

use crate::time::Timestamp;

/// Entries that are kept for each organization.
pub const KEPT: usize = 1_000;

/// One attempt of somebody signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// The organization it concerned; `None`: the platform as a whole.
    pub organization: Option<String>,
    /// The user who asked.
    pub actor: String,
    /// What was attempted: method and path, such as `PATCH /teams/search`.
    pub action: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// The code of the refusal, where it was one.
    pub reason: Option<String>,
    /// The resource before; never a digest.
    pub before: Option<Value>,
    /// The resource after; never a digest, never a secret.
    pub after: Option<Value>,
}

/// Which entries are asked for, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Whose; `None`: the platform's own.
    pub organization: Option<String>,
    /// Only entries older than the one of this name, which an earlier page gave as `next`.
    pub after: Option<String>,
    /// How many at most.
    pub limit: usize,
}
