//! What can go wrong with etcd.

use alloc::string::String;
use core::fmt;

use crate::policy::Document;

/// Why something that etcd was asked for did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdError {
    /// Nobody answered, or only to say that it cannot now. Of a write it is not known whether it was made.
    Away {
        /// HTTP status; 0: no answer at all.
        status: u16,
    },
    /// etcd understood, and said no.
    Refused {
        /// HTTP status.
        status: u16,
        /// etcd's own words.
        message: String,
    },
    /// An answer that is not etcd's, or a record that is not ours.
    Unreadable {
        /// Which key, or which kind of answer.
        what: String,
    },
    /// The revision that was read is no longer kept; asking anew helps.
    Compacted,
    /// etcd is at an older revision than one that was read before: it was restored or emptied.
    Backwards {
        /// What was read before.
        known: u64,
        /// What it has now.
        found: u64,
    },
    /// There was no time left for another try.
    Late,
    /// Others were faster this many times in a row.
    Contended {
        /// How often it was tried.
        tries: u32,
    },
    /// A document outgrew what is stored as one.
    DocumentTooLarge {
        /// Which.
        document: Document,
        /// Its bytes as JSON.
        bytes: usize,
    },
    /// More documents than one transaction takes.
    TooManyDocuments(usize),
    /// More bytes than one transaction takes.
    TooManyBytes(usize),
}

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EtcdError::Away { status: 0 } => write!(f, "etcd does not answer"),
            EtcdError::Away { status } => write!(f, "etcd cannot be used now (HTTP status {status})"),
            EtcdError::Refused { status, message } => write!(f, "etcd refuses ({status}): {message}"),
            EtcdError::Unreadable { what } => write!(f, "{what} cannot be read"),
            EtcdError::Compacted => write!(f, "etcd has dropped the revision that was being read"),
            EtcdError::Backwards { known, found } => write!(
                f,
                "etcd is at revision {found}, behind {known}, which was read before: it was restored or emptied; start the gateways anew to take what it has"
            ),
            EtcdError::Late => write!(f, "etcd did not answer in time"),
            EtcdError::Contended { tries } => write!(f, "others were faster {tries} times in a row"),
            EtcdError::DocumentTooLarge { document, bytes } => write!(
                f,
                "{document} would have {bytes} bytes, of at most {}: split the team, or remove keys",
                super::MAX_DOCUMENT
            ),
            EtcdError::TooManyDocuments(count) => write!(
                f,
                "{count} documents would change, of at most {} at once: make the change in parts",
                super::MAX_DOCUMENTS
            ),
            EtcdError::TooManyBytes(bytes) => write!(
                f,
                "{bytes} bytes would change, of at most {} at once: make the change in parts",
                super::MAX_BYTES
            ),
        }
    }
}
