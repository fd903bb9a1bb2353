//! The management API under `/tollgate/v1`: who asks, what they may do, and what is to be written.
//!
//! A request is decided on the policy as it is now, and answers with values: a response, or a [`Write`] that the
//! adapter commits against just that policy - and asks again if somebody else was faster. So what was decided
//! holds when it is written, whoever else writes.

pub mod audit;

use alloc::string::String;
use alloc::vec::Vec;

use crate::policy::Change;

/// A management request, its body whole.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// HTTP method.
    pub method: String,
    /// Path below the configured prefix, without the query: `/teams/search`.
    pub path: String,
    /// Query string without `?`.
    pub query: String,
    /// What followed `Authorization: Bearer`, as it was sent.
    pub token: Option<String>,
    /// A user's id by a JWT that the host itself has verified. Never from a header.
    pub subject: Option<String>,
    /// `If-Match`, as it was sent.
    pub if_match: Option<String>,
    /// `Content-Type`, as it was sent.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer of the management API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Fields besides content-length; content-type is among them where there is a body.
    pub fields: Vec<(&'static str, String)>,
    /// JSON, or empty.
    pub body: String,
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This answer, now.
    Answer(Response),
    /// Commit this, and give its answer only once it is kept.
    Write(Write),
    /// Answer with this page of the audit ([`audit::page`]).
    Audit(audit::Query),
}

/// Something to be written, and the answer once it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Checked: it leaves the policy without errors.
    pub change: Change,
    /// For when it is kept.
    pub response: Response,
}

/// What a request comes to, and what the audit keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What is to be done.
    pub outcome: Outcome,
    /// `None` for reads and for strangers. Of a [`Outcome::Write`] it is kept with the change, or not at all.
    pub entry: Option<audit::Entry>,
}
