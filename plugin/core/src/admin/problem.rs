//! Error responses: problem details (RFC 9457).

use crate::secret::redact;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use crate::http::local_response::LocalResponse;
use crate::json::out_of_line::{object, shown};
use crate::policy::diagnostic::Severity;
use crate::policy::{Diagnostic, DiagnosticKind};
use crate::secret::redact::without_secrets;

/// The location of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FaultLocation {
    /// JSON Pointer into the request's body.
    Body(String),
    /// A parameter of the query.
    Parameter(String),
    /// JSON Pointer into the policy, to another record.
    Policy(String),
}

/// One fault of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Location of the fault.
    pub location: FaultLocation,
    /// Description, with the expected value.
    pub detail: String,
}

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable error code for programs.
    pub code: &'static str,
    /// Explanation for humans, with the next step. Never contains a secret.
    pub detail: String,
    /// Every fault with its location.
    pub faults: Vec<Fault>,
    /// Header fields that the status requires.
    pub fields: Vec<(&'static str, String)>,
}

impl Problem {
    /// Creates a problem without faults.
    pub(crate) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Problem { status, code, detail: detail.into(), faults: Vec::new(), fields: Vec::new() }
    }

    /// Creates a 401 with `www-authenticate`.
    #[inline(never)]
    pub(crate) fn unauthorized(code: &'static str, detail: &str) -> Self {
        Problem::new(401, code, detail).with("www-authenticate", "Bearer realm=\"tollgate\"")
    }

    /// Creates the 503 for repeated conflicts with concurrent changes.
    pub(crate) fn contended() -> Self {
        Problem::new(503, "contended", "Too many concurrent changes. Try again.").with("retry-after", "1")
    }

    /// Creates the 413 for a body that exceeds `max` bytes.
    pub(crate) fn too_large(max: usize) -> Self {
        let detail = format!("A request of the management API has at most {max} bytes.");
        Problem::new(413, "body_too_large", detail)
    }

    /// Creates the 503 for a gateway that holds too many management requests.
    pub(crate) fn busy() -> Self {
        let detail = "Too many requests of yours, or of all callers, are being read. Try again shortly.";
        Problem::new(503, "busy", detail).with("retry-after", "1")
    }

    /// Creates the 503 for a gateway that has not read the fleet's policy yet.
    pub(crate) fn never_read() -> Self {
        let detail = "This gateway has not read the fleet's policy from etcd yet. Try again shortly.";
        Problem::new(503, "fleet_unavailable", detail).with("retry-after", "1")
    }

    /// Creates a 404.
    #[inline(never)]
    pub(crate) fn not_found(kind: &str, id: &str) -> Self {
        Problem::new(404, "not_found", format!("There is no {kind} `{}`.", redacted(id)))
    }

    /// Creates a 400 with one fault in the body.
    pub(crate) fn at(code: &'static str, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let fault = Fault { location: FaultLocation::Body(pointer.into()), detail: detail.clone() };
        let mut problem = Problem::new(400, code, detail);
        problem.faults.push(fault);
        problem
    }

    /// Creates a 400 from the diagnostics of a body.
    #[inline(never)]
    pub(crate) fn in_body(code: &'static str, diagnostics: Vec<Diagnostic>) -> Self {
        Problem::from_diagnostics(code, diagnostics, "")
    }

    /// Creates a problem from the diagnostics of a changed policy. `own` is the path of the record in the body: faults
    /// there are a 400. Faults in other records only are a 409.
    #[inline(never)]
    pub(crate) fn from_diagnostics(code: &'static str, diagnostics: Vec<Diagnostic>, own: &str) -> Self {
        let errors = diagnostics.into_iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let faults: Vec<Fault> = errors
            .map(|diagnostic| {
                let below = diagnostic.pointer.strip_prefix(own);
                let location = match below.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
                    Some(rest) => FaultLocation::Body(rest.to_string()),
                    None => FaultLocation::Policy(diagnostic.pointer),
                };
                Fault { location, detail: detail(&diagnostic.kind) }
            })
            .collect();
        let is_own = |fault: &&Fault| matches!(fault.location, FaultLocation::Body(_));
        let (status, code, detail) = match faults.iter().find(is_own) {
            Some(fault) => (400, code, fault.detail.clone()),
            None => {
                let others: Vec<&str> = faults.iter().take(8).filter_map(Fault::policy_pointer).collect();
                (409, "conflict", format!("The change conflicts with other records: {}.", others.join(", ")))
            }
        };
        Problem { faults, ..Problem::new(status, code, detail) }
    }

    /// Adds a header field.
    #[must_use]
    #[inline(never)]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Builds the response.
    pub(crate) fn response(&self) -> LocalResponse {
        let errors = self.faults.iter().map(|fault| match &fault.location {
            FaultLocation::Body(pointer) => object!({ "pointer": pointer, "detail": fault.detail }),
            FaultLocation::Parameter(name) => object!({ "parameter": name, "detail": fault.detail }),
            FaultLocation::Policy(pointer) => object!({ "policy_pointer": pointer, "detail": fault.detail }),
        });
        let errors: Vec<Value> = errors.collect();
        let mut body = object!({
            "type": "about:blank",
            "title": title(self.status),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        });
        if let (Some(body), false) = (body.as_object_mut(), errors.is_empty()) {
            body.insert("errors".into(), errors.into());
        }
        let mut fields = Vec::from([
            ("content-type", "application/problem+json".to_string()),
            ("cache-control", "no-store".to_string()),
        ]);
        fields.extend(self.fields.iter().cloned());
        // A duplicate member name may be a key.
        let body = without_secrets(&shown(&body)).into_owned();
        LocalResponse { status: self.status, fields, body }
    }
}

/// Returns the message of a diagnostic, which is the same for a person or service account that does not exist and for one
/// that the caller may not read.
#[allow(clippy::wildcard_enum_match_arm, reason = "every other kind has its own message")]
fn detail(kind: &DiagnosticKind) -> String {
    match kind {
        DiagnosticKind::Unknown { kind: "user", id } | DiagnosticKind::NotMember { user: id, .. } => {
            format!("user `{id}` is not a member: add the user to `members` first")
        }
        DiagnosticKind::Unknown { kind: "service account", id } | DiagnosticKind::OtherTeam(id) => {
            format!("the team has no service account `{id}`")
        }
        other => other.to_string(),
    }
}

impl Fault {
    #[allow(clippy::wildcard_enum_match_arm, reason = "only a body has a pointer")]
    fn policy_pointer(&self) -> Option<&str> {
        match &self.location {
            FaultLocation::Policy(pointer) => Some(pointer),
            _ => None,
        }
    }
}

/// Returns the reason phrase of a status (RFC 9110, 15), which is the title for the type `about:blank`.
fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// Redacts and shortens text from the request for a message; callers sometimes send a key instead of its id.
pub(crate) fn redacted(text: &str) -> String {
    redact::redact(text, 64)
}
