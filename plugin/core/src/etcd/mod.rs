//! Documents in an etcd that a fleet of gateways shares: what is asked of it, and what its answers mean.
//!
//! Nothing here calls anybody. An [`OperationSpec`] gives the next [`Call`] of etcd's JSON gateway
//! (<https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/>) and takes its answer; [`Session`] signs in where that is
//! asked for; [`Desk`] lets the writes of one VM take turns. An adapter carries the calls.
//!
//! ```text
//! <prefix>epoch                            put by every write: its revision orders all writes of the fleet
//! <prefix>doc/<document>                   a document's JSON; `null` where it was removed
//! <prefix>audit/<organization or _>/<name> what was attempted; names sort by time
//! ```
//!
//! A removed document is put as `null` and not deleted, so that who asks for "all since revision n" sees it.

mod audit;
mod client;
mod commit;
mod error;
mod kv;
mod lease;
mod overlay;
mod poll;
mod session;

pub use audit::{Append, AuditPage, Trim, entry_name};
pub use client::{EtcdClient, EtcdEffect, Named, PATIENCE, RequestId, TRIES};
pub use commit::{CommitOperation, Committed, MAX_BYTES, MAX_DOCUMENT, MAX_DOCUMENTS};
pub use error::EtcdError;
pub use kv::EtcdReply;
pub use lease::{BEHIND, Freshness, LEASE, TICK, take_lease};
pub use overlay::{complete, overlay};
pub use poll::{Changes, PAGE, Poll};
pub use session::{Credentials, Operation, Progress, Session};

use alloc::format;
use alloc::string::String;

use crate::policy::Document;

/// One request to etcd's JSON gateway: a POST of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdCall {
    /// Its path.
    pub path: &'static str,
    /// What `authorization` must say; a secret.
    pub token: Option<String>,
    /// JSON.
    pub body: String,
}

/// The names of a fleet's keys in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpace {
    prefix: String,
}

impl KeySpace {
    /// Below the configured prefix, such as `tollgate/1/`.
    pub fn new(prefix: &str) -> Self {
        KeySpace { prefix: prefix.into() }
    }

    fn epoch(&self) -> String {
        format!("{}epoch", self.prefix)
    }

    fn documents(&self) -> String {
        format!("{}doc/", self.prefix)
    }

    fn document(&self, document: &Document) -> String {
        format!("{}doc/{document}", self.prefix)
    }

    /// `_` is no organization's id: ids begin with a letter or a digit.
    fn audit(&self, organization: Option<&str>) -> String {
        format!("{}audit/{}/", self.prefix, organization.unwrap_or("_"))
    }
}
