//! What is answered where a request fails: problem details (RFC 9457).

use crate::secret::redact;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use super::Response;
use crate::json::out_of_line::{object, text};
use crate::policy::Diagnostic;
use crate::policy::diagnostic::Severity;
use crate::secret::redact::without_secrets;

/// Where something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultLocation {
    /// JSON Pointer into the request's body.
    Body(String),
    /// A parameter of the query.
    Parameter(String),
    /// JSON Pointer into the policy: somebody else's record.
    Policy(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: FaultLocation,
    /// What, and what would be right.
    pub detail: String,
}

/// Why a request is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// What a program can rely on.
    pub code: &'static str,
    /// For people: what to do next. Never a secret.
    pub detail: String,
    /// Every fault with its place.
    pub faults: Vec<Fault>,
    /// Fields the status asks for.
    pub fields: Vec<(&'static str, String)>,
}

impl Problem {
    /// A problem without places.
    pub fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Problem { status, code, detail: detail.into(), faults: Vec::new(), fields: Vec::new() }
    }

    /// 401: nobody is signed in.
    #[inline(never)]
    pub fn unauthorized(code: &'static str, detail: &str) -> Self {
        Problem::new(401, code, detail).with("www-authenticate", "Bearer realm=\"tollgate\"")
    }

    /// 503: others were faster.
    pub fn contended() -> Self {
        Problem::new(503, "contended", "Others were writing at the same time, again and again. Try again.")
            .with("retry-after", "1")
    }

    /// 404: there is no such thing.
    #[inline(never)]
    pub fn not_found(kind: &str, id: &str) -> Self {
        Problem::new(404, "not_found", format!("There is no {kind} `{}`.", shown(id)))
    }

    /// 400 with one place in the body.
    pub fn at(code: &'static str, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let fault = Fault { place: FaultLocation::Body(pointer.into()), detail: detail.clone() };
        let mut problem = Problem::new(400, code, detail);
        problem.faults.push(fault);
        problem
    }

    /// 400 for what is wrong with a body, read on its own.
    #[inline(never)]
    pub fn in_body(code: &'static str, diagnostics: Vec<Diagnostic>) -> Self {
        Problem::of_findings(code, diagnostics, "")
    }

    /// For what is wrong with the policy after a change. The record at `own` is what the body says: faults there
    /// are the body's (400). Where only other records object, it is a conflict with them (409).
    #[inline(never)]
    pub fn of_findings(code: &'static str, diagnostics: Vec<Diagnostic>, own: &str) -> Self {
        let errors = diagnostics.into_iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let faults: Vec<Fault> = errors
            .map(|diagnostic| {
                let below = diagnostic.pointer.strip_prefix(own);
                let place = match below.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
                    Some(rest) => FaultLocation::Body(rest.to_string()),
                    None => FaultLocation::Policy(diagnostic.pointer),
                };
                Fault { place, detail: diagnostic.kind.to_string() }
            })
            .collect();
        let is_own = |fault: &&Fault| matches!(fault.place, FaultLocation::Body(_));
        let (status, code, detail) = match faults.iter().find(is_own) {
            Some(fault) => (400, code, fault.detail.clone()),
            None => {
                let others: Vec<&str> = faults.iter().take(8).filter_map(Fault::policy_pointer).collect();
                (409, "conflict", format!("Other records do not allow it: {}.", others.join(", ")))
            }
        };
        Problem { faults, ..Problem::new(status, code, detail) }
    }

    /// With another field.
    #[must_use]
    #[inline(never)]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The answer.
    pub fn response(&self) -> Response {
        let errors = self.faults.iter().map(|fault| match &fault.place {
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
        // A key may stand in the place of a name that is repeated.
        let body = without_secrets(&text(&body)).into_owned();
        Response { status: self.status, fields, body }
    }
}

impl Fault {
    fn policy_pointer(&self) -> Option<&str> {
        match &self.place {
            FaultLocation::Policy(pointer) => Some(pointer),
            _ => None,
        }
    }
}

/// The phrase of a status (RFC 9110, 15), which is the title where `type` is `about:blank`.
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

/// A caller's own text, fit to be repeated: a key may stand where its id should.
pub fn shown(text: &str) -> String {
    redact::redact(text, 64)
}

/// The same for a path.
pub(super) fn shown_path(path: &str) -> String {
    redact::redact(path, 300)
}
