//! Reads a document in pieces. Only the index and the record being read are kept in memory.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::json::lexer::{Container, JsonError, JsonText, Lexer, Scalar, Visitor};
use crate::json::node::{Builder, Node};
use crate::policy::change::Section;
use crate::policy::diagnostic::{Diagnostic, DiagnosticKind, Diagnostics};
use crate::policy::index::Policy;
use crate::policy::load::builder::{FIELDS, PolicyBuilder};
use crate::policy::load::record::advice;
use crate::policy::load::value::{FromNode, Version};
use crate::policy::model::Unpriced;

/// Maximum length in bytes of a name or a string that is kept; longer ones fail validation.
const MAX_TEXT: usize = 4_096;

/// Maximum nesting of a document: more than any valid document has, so that invalid ones are reported.
const MAX_DEPTH: usize = 32;

/// Reads a policy document that arrives in pieces.
///
/// ```
/// let mut loader = tollgate_core::policy::PolicyLoader::default();
/// loader.push(br#"{"version": 1, "targets": {"gpt-5"#);
/// loader.push(br#"-mini": {}}}"#);
/// let (policy, warnings) = loader.finish().unwrap();
/// assert!(policy.target("gpt-5-mini").is_some());
/// assert!(warnings.is_empty());
/// ```
#[derive(Debug)]
pub struct PolicyLoader {
    reader: DocumentReader<PolicyFields>,
}

impl Default for PolicyLoader {
    fn default() -> Self {
        PolicyLoader { reader: DocumentReader::new(PolicyFields::default()) }
    }
}

impl PolicyLoader {
    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// Returns the policy and the warnings.
    ///
    /// # Errors
    /// All diagnostics, if one of them is an error.
    pub fn finish(self) -> Result<(Policy, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (fields, mut report) = self.reader.finish()?;
        fields.require_version(&mut report);
        let policy = fields.builder.finish("", &mut report);
        if report.has_errors() { Err(report.finish()) } else { Ok((policy, report.finish())) }
    }
}

/// The fields of a document: which objects are entered, and what happens to each value.
pub(crate) trait DocumentFields {
    /// Returns true if the object at this path is entered instead of being read as one value.
    fn opens(&self, names: &[String]) -> bool;

    /// Returns the field names allowed in an object that is entered; `None` allows any.
    fn known(&self, names: &[String]) -> Option<&'static [&'static str]>;

    /// Called when the object at this path is entered.
    fn opened(&mut self, names: &[String]);

    /// Called with each complete value. The current pointer of `report` is that of the value.
    fn value(&mut self, names: &[String], node: Node, report: &mut Diagnostics);
}

/// The fields of a policy, as a document of its own or as a part of another one.
#[derive(Debug, Default)]
pub(crate) struct PolicyFields {
    /// The policy read so far.
    pub builder: PolicyBuilder,
    /// True if the policy is an object.
    opened: bool,
    /// True if there is a `version`, valid or not.
    has_version: bool,
}

impl PolicyFields {
    /// Reports a missing version.
    pub fn require_version(&self, report: &mut Diagnostics) {
        if self.opened && !self.has_version {
            report.error(DiagnosticKind::Missing("version"));
        }
    }
}

impl DocumentFields for PolicyFields {
    fn opens(&self, names: &[String]) -> bool {
        match names {
            [] => true,
            [section] => Section::named(section).is_some(),
            _ => false,
        }
    }

    fn known(&self, names: &[String]) -> Option<&'static [&'static str]> {
        names.is_empty().then_some(FIELDS)
    }

    fn opened(&mut self, names: &[String]) {
        self.opened |= names.is_empty();
    }

    fn value(&mut self, names: &[String], node: Node, report: &mut Diagnostics) {
        match names {
            [section, id] if let Some(section) = Section::named(section) => {
                self.builder.entry(section, id, node, report);
            }
            [field] if field == "version" => {
                self.has_version = true;
                Version::read(node, report);
            }
            [field] if field == "unpriced" => {
                if let Some(unpriced) = Unpriced::read(node, report) {
                    self.builder.unpriced(unpriced);
                }
            }
            _ => report.error(DiagnosticKind::Expected { expected: "an object", found: node.describe() }),
        }
    }
}

/// A streaming reader of a document.
#[derive(Debug)]
pub(crate) struct DocumentReader<F> {
    lexer: Lexer,
    walk: Walk<F>,
    broken: bool,
}

#[derive(Debug)]
struct Walk<F> {
    fields: F,
    report: Diagnostics,
    /// The path from the root of the document to the value being read.
    names: Vec<String>,
    /// The names seen so far in each entered object that is not a section.
    seen: Vec<Vec<String>>,
    record: Option<Builder>,
}

impl<F: DocumentFields> DocumentReader<F> {
    /// Returns a reader at the beginning of a document.
    pub fn new(fields: F) -> Self {
        let walk = Walk {
            fields,
            report: Diagnostics::default(),
            names: Vec::new(),
            seen: Vec::new(),
            record: None,
        };
        DocumentReader { lexer: Lexer::new(MAX_DEPTH), walk, broken: false }
    }

    /// Reads the next bytes. Ignored after a syntax error.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken
            && let Err(error) = self.lexer.push(bytes, &mut self.walk)
        {
            self.fail(error);
        }
    }

    /// Returns the fields and the diagnostics.
    ///
    /// # Errors
    /// The diagnostics, if the text is not JSON. Missing fields are not reported then.
    pub fn finish(mut self) -> Result<(F, Diagnostics), Vec<Diagnostic>> {
        if !self.broken
            && let Err(error) = self.lexer.finish(&mut self.walk)
        {
            self.fail(error);
        }
        if self.broken { Err(self.walk.report.finish()) } else { Ok((self.walk.fields, self.walk.report)) }
    }

    fn fail(&mut self, error: JsonError<core::convert::Infallible>) {
        self.broken = true;
        self.walk.report.error_at(String::new(), DiagnosticKind::NotJson(error.to_string()));
    }
}

impl<F: DocumentFields> Walk<F> {
    fn take(&mut self, node: Node) {
        self.record = None;
        let Walk { fields, report, names, .. } = self;
        let unknown = names.split_last().and_then(|(name, above)| {
            let known = fields.known(above)?;
            (!known.contains(&name.as_str())).then(|| advice(name, known))
        });
        at(report, names, |report| match unknown {
            Some(advice) => report.error(DiagnosticKind::UnknownField { advice }),
            None => fields.value(names, node, report),
        });
    }

    fn opens_at(&self, depth: usize) -> bool {
        self.record.is_none() && self.names.len() == depth && self.fields.opens(&self.names)
    }
}

/// Calls `inner` with the pointer of `report` set to a path.
fn at(report: &mut Diagnostics, names: &[String], inner: impl FnOnce(&mut Diagnostics)) {
    match names.split_first() {
        Some((name, rest)) => report.within(name, |report| at(report, rest, inner)),
        None => inner(report),
    }
}

impl<F: DocumentFields> Visitor for Walk<F> {
    type Stop = core::convert::Infallible;

    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Self::Stop> {
        if kind == Container::Object && self.opens_at(depth) {
            self.fields.opened(&self.names);
            self.seen.push(Vec::new());
        } else {
            self.record.get_or_insert_default().begin(kind);
        }
        Ok(())
    }

    fn end(&mut self, _: usize, _: Container) -> Result<(), Self::Stop> {
        match &mut self.record {
            Some(record) => {
                if let Some(node) = record.end() {
                    self.take(node);
                    self.names.pop();
                }
            }
            None => {
                self.seen.pop();
                self.names.pop();
            }
        }
        Ok(())
    }

    fn name_bytes(&self, _: usize) -> usize {
        MAX_TEXT
    }

    fn name(&mut self, _: usize, name: JsonText<'_>) -> Result<(), Self::Stop> {
        match &mut self.record {
            Some(record) => record.name(name.text),
            None => {
                // Repeated record names are found by the arenas; only fixed field names are checked here.
                let fixed = self.fields.known(&self.names).is_some();
                let repeated =
                    fixed && self.seen.last().is_some_and(|seen| seen.iter().any(|old| old == name.text));
                self.names.push(name.text.to_string());
                if repeated {
                    at(&mut self.report, &self.names, |report| report.error(DiagnosticKind::Duplicate));
                } else if fixed && let Some(seen) = self.seen.last_mut() {
                    seen.push(name.text.to_string());
                }
            }
        }
        Ok(())
    }

    fn scalar_bytes(&self, _: usize) -> usize {
        MAX_TEXT
    }

    fn scalar(&mut self, _: usize, value: Scalar<'_>) -> Result<(), Self::Stop> {
        let mut single = Builder::default();
        let whole = match &mut self.record {
            Some(record) => record.scalar(value),
            None => single.scalar(value),
        };
        if let Some(node) = whole {
            self.take(node);
            self.names.pop();
        }
        Ok(())
    }
}
