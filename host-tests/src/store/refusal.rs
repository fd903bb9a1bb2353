//! Refusals in the words and with the codes of etcd.

use serde_json::json;

use super::Reply;

/// A request that is refused and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("Not Found")]
    NoSuchPath,
    #[error("{0}")]
    Unreadable(String),
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    #[error("etcdserver: request is too large")]
    TooLarge,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    #[error("etcdserver: too large lease TTL")]
    LeaseTooLong,
    #[error("etcdserver: authentication is not enabled")]
    NoAuthentication,
    /// The file cannot be written or read. The reason is on standard error.
    #[error("tollgate: the data folder cannot be used at the moment")]
    Unavailable,
}

impl Refusal {
    /// Returns the code of gRPC, and the status that etcd's gateway makes of it.
    fn codes(&self) -> (u8, u16) {
        match self {
            Refusal::Unreadable(_)
            | Refusal::EmptyKey
            | Refusal::ValueProvided
            | Refusal::LeaseProvided
            | Refusal::KeyNotFound
            | Refusal::TooManyOps
            | Refusal::DuplicateKey
            | Refusal::TooLarge => (3, 400),
            Refusal::NoSuchPath | Refusal::LeaseNotFound => (5, 404),
            Refusal::LeaseExists | Refusal::NoAuthentication => (9, 400),
            Refusal::Compacted | Refusal::FutureRevision | Refusal::LeaseTooLong => (11, 400),
            Refusal::Unavailable => (14, 503),
        }
    }

    pub(super) fn reply(&self) -> Reply {
        let (code, status) = self.codes();
        let message = self.to_string();
        Reply {
            status,
            body: json!({ "error": message, "message": message, "code": code }).to_string().into_bytes(),
        }
    }
}
