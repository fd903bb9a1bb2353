//! Errors of etcd requests.

use alloc::string::String;

use super::{MAX_BYTES, MAX_DOCUMENT, MAX_DOCUMENTS};
use crate::policy::Document;

/// The error of an etcd request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdError {
    /// No response, or one that reports a temporary failure. A write may or may not have been stored.
    #[error("{}", unavailable(*status))]
    Unavailable {
        /// HTTP status; 0 without a response.
        status: u16,
    },
    /// etcd rejected the request.
    #[error("etcd rejected the request ({status}): {message}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// Message of etcd.
        message: String,
    },
    /// A malformed response or record.
    #[error("cannot read {what}")]
    Unreadable {
        /// Name of the key, or kind of response.
        what: String,
    },
    /// The revision being read was compacted. Starting over helps.
    #[error("etcd has compacted the revision that was being read")]
    Compacted,
    /// The revision of etcd is lower than one read before: etcd was restored or emptied.
    #[error(
        "etcd is at revision {found}, below revision {known}, which was read before: it was restored or emptied; restart the gateways to use its present content"
    )]
    RevisionRegressed {
        /// Highest revision read before.
        known: u64,
        /// Present revision.
        found: u64,
    },
    /// The deadline has passed.
    #[error("etcd did not respond in time")]
    TimedOut,
    /// Every attempt found a conflict.
    #[error("lost {tries} compare-and-swap conflicts in a row")]
    Conflict {
        /// Number of attempts.
        tries: u32,
    },
    /// A document is too large.
    #[error(
        "{document} would have {bytes} bytes; the maximum is {MAX_DOCUMENT}: split the team, or remove keys"
    )]
    DocumentTooLarge {
        /// Name of the document.
        document: Document,
        /// Size as JSON in bytes.
        bytes: usize,
    },
    /// Too many documents for one transaction.
    #[error("the change affects {0} documents; the maximum is {MAX_DOCUMENTS}: split the change")]
    TooManyDocuments(usize),
    /// Too many bytes for one transaction.
    #[error("the change affects {0} bytes; the maximum is {MAX_BYTES}: split the change")]
    TooManyBytes(usize),
}

fn unavailable(status: u16) -> String {
    match status {
        0 => "etcd does not respond".into(),
        status => alloc::format!("etcd is temporarily unavailable (HTTP status {status})"),
    }
}
