//! The policy documents in an etcd that a fleet of gateways shares: requests and responses, without I/O.
//!
//! An [`Operation`] returns the next [`EtcdCall`] to etcd's JSON gateway
//! (<https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/>) and accepts its response. [`Session`] adds
//! authentication, and [`EtcdClient`] queues the writes of one VM. An adapter sends the calls.
//!
//! ```text
//! <prefix>epoch                            put by every write; its revision orders all writes of the fleet
//! <prefix>doc/<document>                   a document as JSON; `null` if removed
//! <prefix>audit/<organization or _>/<name> the audit entry of a change; names sort by time and end with its actor
//! <prefix>attempts/<organization or _>/<slot>-<actor> the audit entry of an attempt that changed nothing, with its name
//! <prefix>{clock,era,member/,gateway/,row/,held/,wants/} shared counters: [`crate::fleet`]
//! ```
//!
//! A removed document is stored as `null` rather than deleted, so that a read of all changes since a revision returns it.

mod audit;
mod client;
mod commit;
mod error;
mod gateway_lease;
mod kv;
mod lease;
mod overlay;
mod poll;
mod session;
mod transaction;

pub use audit::{Append, AuditPage, Trim, entry_name};
pub use client::{EtcdClient, EtcdEffect, NamedEntry, RequestId, WRITE_TIMEOUT};
pub use commit::{CommitOperation, Committed, MAX_BYTES, MAX_DOCUMENT, MAX_DOCUMENTS};
pub use error::EtcdError;
pub use gateway_lease::{GrantLease, KeepAlive, RevokeLease};
pub use kv::EtcdReply;
pub use lease::POLL_INTERVAL;
pub(crate) use lease::{Drain, Freshness, STALE_AFTER, take_lease};
pub use overlay::{complete, overlay};
pub use poll::{Changes, PAGE, Poll};
pub use session::{Credentials, Operation, Progress, Session};
pub use transaction::{
    Compare, MAX_PARTS, Part, PartReply, Read, RemoveAll, Snapshot, StoreState, Stored, Transaction,
    TransactionReply, Write,
};

use alloc::format;
use alloc::string::String;

use crate::policy::Document;

/// A request to etcd's JSON gateway: a POST of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdCall {
    /// Path of the request.
    pub path: &'static str,
    /// Value of the header `authorization`; a secret.
    pub token: Option<String>,
    /// Body as JSON.
    pub body: String,
}

/// The names of the keys in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpace {
    prefix: String,
}

impl KeySpace {
    /// Creates the key space below a prefix, such as `tollgate/1/`.
    pub fn new(prefix: &str) -> Self {
        KeySpace { prefix: prefix.into() }
    }

    fn epoch(&self) -> String {
        format!("{}epoch", self.prefix)
    }

    /// The row of a principal's shared counters.
    pub(crate) fn row(&self, principal: &str) -> String {
        format!("{}row/{principal}", self.prefix)
    }

    fn documents(&self) -> String {
        format!("{}doc/", self.prefix)
    }

    fn document(&self, document: &Document) -> String {
        format!("{}doc/{document}", self.prefix)
    }

    /// `_` stands for the platform: ids of organizations begin with a letter or a digit.
    fn audit(&self, organization: Option<&str>) -> String {
        format!("{}audit/{}/", self.prefix, organization.unwrap_or("_"))
    }

    fn attempts(&self, organization: Option<&str>) -> String {
        format!("{}attempts/{}/", self.prefix, organization.unwrap_or("_"))
    }
}
