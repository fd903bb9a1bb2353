//! Reads a document in pieces: what is kept is the index and the one record being read.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::json::lexer::{Container, JsonError, JsonText, Lexer, Scalar, Visitor};
use crate::json::node::{Builder, Node};
use crate::policy::change::Section;
use crate::policy::diagnostic::{Diagnostic, DiagnosticKind, Diagnostics};
use crate::policy::index::Policy;
use crate::policy::load::record::advice;
use crate::policy::load::resolve::{FIELDS, Resolver};
use crate::policy::load::value::{FromNode, Version};
use crate::policy::model::Unpriced;

/// Longest name or text of a document that is kept; a longer one fails its form.
const MOST_TEXT: usize = 4_096;

/// Deepest nesting that a document of ours can have, with room to report what is wrong.
const MOST_DEPTH: usize = 32;

/// Reads a policy document that comes in pieces.
///
/// ```
/// let mut loader = tollgate_core::policy::Loader::default();
/// loader.push(br#"{"version": 1, "targets": {"gpt-5"#);
/// loader.push(br#"-mini": {}}}"#);
/// let (policy, warnings) = loader.finish().unwrap();
/// assert!(policy.target("gpt-5-mini").is_some());
/// assert!(warnings.is_empty());
/// ```
#[derive(Debug)]
pub struct PolicyLoader {
    reading: DocumentReader<PolicyFields>,
}

impl Default for PolicyLoader {
    fn default() -> Self {
        PolicyLoader { reading: DocumentReader::new(PolicyFields::default()) }
    }
}

impl PolicyLoader {
    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reading.push(bytes);
    }

    /// The index and the warnings.
    ///
    /// # Errors
    /// Every finding, if one of them is an error.
    pub fn finish(self) -> Result<(Policy, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (fields, mut report) = self.reading.finish()?;
        fields.require_version(&mut report);
        let policy = fields.assembly.finish("", &mut report);
        if report.has_errors() { Err(report.finish()) } else { Ok((policy, report.finish())) }
    }
}

/// A document's fields: which are walked into, and what happens to each value.
pub trait DocumentFields {
    /// Whether the object at these names is walked into instead of being read as one value.
    fn opens(&self, names: &[String]) -> bool;

    /// The names an object that is walked into may have; `None`: any.
    fn known(&self, names: &[String]) -> Option<&'static [&'static str]>;

    /// The object at these names is there, and is walked into.
    fn opened(&mut self, names: &[String]);

    /// A whole value; the report stands at its place.
    fn value(&mut self, names: &[String], node: Node, report: &mut Diagnostics);
}

/// The fields of a policy, wherever it stands.
#[derive(Debug, Default)]
pub struct PolicyFields {
    /// What was read so far.
    pub assembly: Resolver,
    /// It is an object, so that it can have fields at all.
    opened: bool,
    /// It says a version, right or wrong.
    says_version: bool,
}

impl PolicyFields {
    /// Reports where the version is missing.
    pub fn require_version(&self, report: &mut Diagnostics) {
        if self.opened && !self.says_version {
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
                self.assembly.entry(section, id, node, report);
            }
            [field] if field == "version" => {
                self.says_version = true;
                Version::read(node, report);
            }
            [field] if field == "unpriced" => {
                if let Some(unpriced) = Unpriced::read(node, report) {
                    self.assembly.unpriced(unpriced);
                }
            }
            _ => report.error(DiagnosticKind::Expected { expected: "an object", found: node.describe() }),
        }
    }
}

/// A walk through a document.
#[derive(Debug)]
pub struct DocumentReader<F> {
    lexer: Lexer,
    walk: Walk<F>,
    broken: bool,
}

#[derive(Debug)]
struct Walk<F> {
    fields: F,
    report: Diagnostics,
    /// Names from the document's root to the value being read.
    names: Vec<String>,
    /// Names seen so far in each object that is walked into, sections aside.
    seen: Vec<Vec<String>>,
    record: Option<Builder>,
}

impl<F: DocumentFields> DocumentReader<F> {
    /// Begins with nothing read.
    pub fn new(fields: F) -> Self {
        let walk = Walk {
            fields,
            report: Diagnostics::default(),
            names: Vec::new(),
            seen: Vec::new(),
            record: None,
        };
        DocumentReader { lexer: Lexer::new(MOST_DEPTH), walk, broken: false }
    }

    /// The next bytes; ignored once the text is known to be no JSON.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken
            && let Err(error) = self.lexer.push(bytes, &mut self.walk)
        {
            self.fail(error);
        }
    }

    /// The fields and what was found.
    ///
    /// # Errors
    /// What was found, where the text is no JSON: what it lacks may have been meant to come.
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

    fn walks(&self, depth: usize) -> bool {
        self.record.is_none() && self.names.len() == depth && self.fields.opens(&self.names)
    }
}

/// Sets the report to a place for the length of a call.
fn at(report: &mut Diagnostics, names: &[String], inner: impl FnOnce(&mut Diagnostics)) {
    match names.split_first() {
        Some((name, rest)) => report.within(name, |report| at(report, rest, inner)),
        None => inner(report),
    }
}

impl<F: DocumentFields> Visitor for Walk<F> {
    type Stop = core::convert::Infallible;

    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Self::Stop> {
        if kind == Container::Object && self.walks(depth) {
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
        MOST_TEXT
    }

    fn name(&mut self, _: usize, name: JsonText<'_>) -> Result<(), Self::Stop> {
        match &mut self.record {
            Some(record) => record.name(name.text),
            None => {
                // Records by name are told apart by their tables; here it is the few fixed fields.
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
        MOST_TEXT
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
