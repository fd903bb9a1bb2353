//! Diagnostics of a document: everything that is wrong with it, each with its JSON Pointer.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::collections::sort::sort_by_key;
use crate::secret::redact::without_secrets;
use crate::text::escape::escaped;

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document is rejected, and does not replace the one in use.
    Error,
    /// The document is accepted.
    Warning,
}

/// An error or a warning about one value of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The JSON Pointer (RFC 6901) of the value.
    pub pointer: String,
    /// The kind, with the values of its message.
    pub kind: DiagnosticKind,
}

/// The kinds of diagnostics. Each message says what is wrong and how to correct it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiagnosticKind {
    /// The text is not JSON.
    #[error("{0}")]
    NotJson(String),
    /// A value of the wrong type or format.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// The description of a valid value.
        expected: &'static str,
        /// The value; never a secret.
        found: String,
    },
    /// A field that is not part of the format.
    #[error("unknown field: {}", advice.as_deref().unwrap_or("remove it"))]
    UnknownField {
        /// A hint, such as the field with the most similar name.
        advice: Option<String>,
    },
    /// A required field is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A name that occurs twice in an object, or a record that is in two documents.
    #[error("duplicate key: remove one of them")]
    Duplicate,
    /// Another key has the same digest.
    #[error("another key has the same digest: each key needs its own")]
    DuplicateDigest,
    /// Another token has the same digest.
    #[error("another token has the same digest: each token needs its own")]
    DuplicateToken,
    /// A record that is not part of this document, such as `team/search`.
    #[error("not part of document `{0}`: move it to the document that it belongs to")]
    OtherDocument(String),
    /// A reference to a record that does not exist.
    #[error("there is no {kind} `{id}` in this document")]
    Unknown {
        /// The kind of record, such as `team`.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// A limit or a budget above that of a level above.
    #[error("{what} of {found} exceeds the {maximum} of {holder}: lower this limit, or raise that one")]
    Above {
        /// The limit, such as `rpm`.
        what: &'static str,
        /// The value.
        found: String,
        /// The value of the level above.
        maximum: String,
        /// The level above, such as ``organization `acme` ``.
        holder: String,
    },
    /// A user that is not a member of a required organization or team.
    #[error("user `{user}` is not a member of {of}: add the user to its `members`")]
    NotMember {
        /// The id of the user.
        user: String,
        /// The organization or team, such as ``team `search` ``.
        of: String,
    },
    /// An owner that is a service account of another team.
    #[error("service account `{0}` belongs to another team: name one of the key's team")]
    OtherTeam(String),
    /// Selected targets or groups with the access mode `inherit`.
    #[error("`inherit` does not take targets or groups: use `\"mode\": \"restrict\"`, or remove them")]
    SelectionWithInherit,
    /// A selected target or group that the organization does not grant: it has no effect.
    #[error("organization `{organization}` does not grant this: it has no effect until it does")]
    Inert {
        /// The id of the organization.
        organization: String,
    },
    /// A route whose path names another model than its target.
    #[error(
        "the path of this route names `{model}` and not `{target}`, so that each of its requests is refused (400 `model_mismatch`): name one target in both"
    )]
    OtherModel {
        /// The model in the path.
        model: String,
        /// The target of the route.
        target: String,
    },
    /// A route with a target whose path has `{model}`.
    #[error(
        "requests of this route whose path names another model than `{target}` are refused (400 `model_mismatch`): remove `target`, or write its name into the path"
    )]
    OneModel {
        /// The target of the route.
        target: String,
    },
    /// A route with a target at a provider's path whose bodies are not read.
    #[error(
        "bodies of a `plain` route are not read, and may name another model than `{target}`: set `api` to `{api}`"
    )]
    UnreadModel {
        /// The target of the route.
        target: String,
        /// The name of the provider's API.
        api: &'static str,
    },
    /// A group without targets.
    #[error("no target is in this access group: it has no effect until one is")]
    EmptyGroup,
    /// A ceiling of the budget of self-service keys whose number is not bounded.
    #[error(
        "without `max_keys_per_user`, this bounds each key but not a person's spend, since keys can be replaced: add it"
    )]
    UnboundedKeys,
    /// The number of diagnostics that are not listed.
    #[error("{0} more errors or warnings are not listed")]
    More(usize),
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let pointer = if self.pointer.is_empty() { "(document)" } else { &self.pointer };
        // A name in a pointer or a message can be a key that was put in the wrong place.
        f.write_str(&escaped(&without_secrets(&format!("{severity} {pointer}: {}", self.kind))))
    }
}

/// Maximum number of diagnostics that are kept. The others are counted.
const MAX_DIAGNOSTICS: usize = 1_000;

/// Collects diagnostics while a document is read, with the JSON Pointer of the value being read.
#[derive(Debug, Default)]
pub struct Diagnostics {
    diagnostics: Vec<Diagnostic>,
    dropped: usize,
    errors: usize,
    pointer: String,
}

impl Diagnostics {
    /// Calls `inner` with the current pointer extended by one step.
    pub fn within<R>(&mut self, step: &str, inner: impl FnOnce(&mut Diagnostics) -> R) -> R {
        let length = self.pointer.len();
        push_step(&mut self.pointer, step);
        let outcome = inner(self);
        self.pointer.truncate(length);
        outcome
    }

    /// Returns the current JSON Pointer.
    pub fn place(&self) -> &str {
        &self.pointer
    }

    /// Reports an error at the current pointer.
    #[inline(never)]
    pub fn error(&mut self, kind: DiagnosticKind) {
        self.errors = self.errors.saturating_add(1);
        self.add(Severity::Error, self.pointer.clone(), kind);
    }

    /// Reports an error at another pointer.
    pub fn error_at(&mut self, pointer: String, kind: DiagnosticKind) {
        self.errors = self.errors.saturating_add(1);
        self.add(Severity::Error, pointer, kind);
    }

    /// Reports a warning at another pointer.
    pub fn warning_at(&mut self, pointer: String, kind: DiagnosticKind) {
        self.add(Severity::Warning, pointer, kind);
    }

    /// Returns true if an error was reported.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Returns all diagnostics, errors first, and each severity in the order of the reports.
    #[inline(never)]
    pub fn finish(mut self) -> Vec<Diagnostic> {
        sort_by_key(&mut self.diagnostics, |diagnostic| diagnostic.severity);
        if self.dropped > 0 {
            let severity = if self.errors > 0 { Severity::Error } else { Severity::Warning };
            self.diagnostics.push(Diagnostic {
                severity,
                pointer: String::new(),
                kind: DiagnosticKind::More(self.dropped),
            });
        }
        self.diagnostics
    }

    #[inline(never)]
    fn add(&mut self, severity: Severity, pointer: String, kind: DiagnosticKind) {
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(Diagnostic { severity, pointer, kind });
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

/// Appends a reference token to a JSON Pointer, escaped as in RFC 6901.
pub fn push_step(pointer: &mut String, step: &str) {
    pointer.push('/');
    for character in step.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// Returns `base` extended by steps.
#[inline(never)]
pub fn pointer(base: &str, steps: &[&str]) -> String {
    let mut text = base.to_string();
    for step in steps {
        push_step(&mut text, step);
    }
    text
}
