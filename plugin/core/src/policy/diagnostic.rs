//! What is wrong with a document: all of it at once, each with its place.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::collections::sort::sort_by_key;
use crate::secret::redact::without_secrets;

/// What a finding does to the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document never loads, and never replaces one that works.
    Error,
    /// It loads.
    Warning,
}

/// Something wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the document loads all the same.
    pub severity: Severity,
    /// Where: a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// What was found, and what would be right.
    pub problem: DiagnosticKind,
}

/// What was found, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiagnosticKind {
    /// The text is not JSON.
    NotJson(String),
    /// A value of another form.
    Expected {
        /// What would be right.
        expected: &'static str,
        /// What was found; never a secret.
        found: String,
    },
    /// A field this document does not have.
    UnknownField {
        /// The known one that looks most like it, or a word of advice.
        advice: Option<String>,
    },
    /// A field that must be there.
    Missing(&'static str),
    /// The name stands there twice.
    Duplicate,
    /// Another key has the same digest.
    DuplicateDigest,
    /// Another token has the same digest.
    DuplicateToken,
    /// A record of another document than this one, such as `team/search`.
    OtherDocument(String),
    /// Nothing of this name is in the document.
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// Its name.
        id: String,
    },
    /// A number above the one it must lie within.
    Above {
        /// What is limited, such as `rpm`.
        what: &'static str,
        /// The number here.
        found: String,
        /// The number there.
        most: String,
        /// Whose it is, such as `organization acme`.
        whose: String,
    },
    /// A person who is not a member of what it takes.
    NotMember {
        /// Who.
        user: String,
        /// Of what, such as `organization acme`.
        of: String,
    },
    /// A service account of another team.
    OtherTeam(String),
    /// Targets or groups selected together with `inherit`.
    SelectionWithInherit,
    /// Selected, and not available through the organization: it grants nothing.
    Inert {
        /// The organization.
        organization: String,
    },
    /// A group that no target carries yet.
    EmptyGroup,
    /// More findings than are listed.
    More(usize),
}

impl fmt::Display for DiagnosticKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiagnosticKind::NotJson(what) => write!(f, "{what}"),
            DiagnosticKind::Expected { expected, found } => write!(f, "expected {expected}, found {found}"),
            DiagnosticKind::UnknownField { advice: Some(advice) } => write!(f, "unknown field: {advice}"),
            DiagnosticKind::UnknownField { advice: None } => write!(f, "unknown field: remove it"),
            DiagnosticKind::Missing(field) => write!(f, "`{field}` is missing"),
            DiagnosticKind::Duplicate => write!(f, "stands here twice: keep one"),
            DiagnosticKind::DuplicateDigest => {
                write!(f, "another key has the same digest: each key needs its own")
            }
            DiagnosticKind::DuplicateToken => {
                write!(f, "another token has the same digest: each token needs its own")
            }
            DiagnosticKind::OtherDocument(document) => {
                write!(f, "does not belong into document `{document}`")
            }
            DiagnosticKind::Unknown { kind, id } => write!(f, "there is no {kind} `{id}` in this document"),
            DiagnosticKind::Above { what, found, most, whose } => {
                write!(f, "{what} of {found} is above the {most} of its {whose}: lower it, or raise that")
            }
            DiagnosticKind::NotMember { user, of } => {
                write!(f, "user `{user}` is not a member of {of}: add it there first")
            }
            DiagnosticKind::OtherTeam(id) => write!(f, "service account `{id}` belongs to another team"),
            DiagnosticKind::SelectionWithInherit => {
                write!(
                    f,
                    "targets and groups are selected together with `inherit`: use `\"mode\": \"restrict\"`, or select nothing"
                )
            }
            DiagnosticKind::Inert { organization } => {
                write!(
                    f,
                    "not available through organization `{organization}`: it grants nothing until it is"
                )
            }
            DiagnosticKind::EmptyGroup => {
                write!(f, "no target carries this group yet: it grants nothing until one does")
            }
            DiagnosticKind::More(count) => write!(f, "and {count} more findings"),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let pointer = if self.pointer.is_empty() { "(document)" } else { &self.pointer };
        // A key may stand in the place of a name that is repeated.
        f.write_str(&without_secrets(&format!("{severity} {pointer}: {}", self.problem)))
    }
}

/// Most findings that are kept; the rest is counted.
const MOST: usize = 1_000;

/// Collects findings while a document is walked, and knows the place it is at.
#[derive(Debug, Default)]
pub struct Diagnostics {
    diagnostics: Vec<Diagnostic>,
    dropped: usize,
    errors: usize,
    place: String,
}

impl Diagnostics {
    /// Does something one step further down.
    pub fn within<R>(&mut self, step: &str, inner: impl FnOnce(&mut Diagnostics) -> R) -> R {
        let length = self.place.len();
        push_step(&mut self.place, step);
        let outcome = inner(self);
        self.place.truncate(length);
        outcome
    }

    /// The JSON Pointer of where it is.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// An error here.
    #[inline(never)]
    pub fn error(&mut self, problem: DiagnosticKind) {
        self.errors = self.errors.saturating_add(1);
        self.add(Severity::Error, self.place.clone(), problem);
    }

    /// An error elsewhere.
    pub fn error_at(&mut self, pointer: String, problem: DiagnosticKind) {
        self.errors = self.errors.saturating_add(1);
        self.add(Severity::Error, pointer, problem);
    }

    /// A warning elsewhere.
    pub fn warning_at(&mut self, pointer: String, problem: DiagnosticKind) {
        self.add(Severity::Warning, pointer, problem);
    }

    /// Whether the document must not load.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// All findings: errors first, each severity in the order of the document's walk.
    #[inline(never)]
    pub fn finish(mut self) -> Vec<Diagnostic> {
        sort_by_key(&mut self.diagnostics, |diagnostic| diagnostic.severity);
        if self.dropped > 0 {
            let severity = if self.errors > 0 { Severity::Error } else { Severity::Warning };
            self.diagnostics.push(Diagnostic {
                severity,
                pointer: String::new(),
                problem: DiagnosticKind::More(self.dropped),
            });
        }
        self.diagnostics
    }

    #[inline(never)]
    fn add(&mut self, severity: Severity, pointer: String, problem: DiagnosticKind) {
        if self.diagnostics.len() < MOST {
            self.diagnostics.push(Diagnostic { severity, pointer, problem });
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

/// Appends a reference token to a JSON Pointer, escaped as RFC 6901 says.
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

/// A pointer from its steps.
#[inline(never)]
pub fn pointer(base: &str, steps: &[&str]) -> String {
    let mut text = base.to_string();
    for step in steps {
        push_step(&mut text, step);
    }
    text
}
