//! The usage in the JSON of a response.

use core::convert::Infallible;

use super::token_fields::{TokenFields, count};
use super::{BYTES_PER_TOKEN, Usage};
use crate::api::Api;
use crate::json::lexer::{Container, JsonText, Scalar, Visitor};
use crate::llm::dialect::{Dialect, NameSet, TokenField, TokenNames, UsageFormat, is_same};

/// The longest known name or type has fewer bytes.
const NAME_BYTES: usize = 40;
/// Room for the digits of a `u64` and as many behind a point.
const NUMBER_BYTES: usize = 40;
/// The state of a response that failed.
pub(super) const FAILED: &str = "failed";
/// The member that holds an error, and the kind of an object that is one.
pub(super) const ERROR: &str = "error";

/// The meaning of the next value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum UsageMember {
    #[default]
    Other,
    Wrapper,
    /// The list whose entries may hold the usage object.
    List,
    Usage,
    Type,
    Error,
    Status,
    Object,
    /// `type` of a pass.
    PassType,
    Output,
}

/// An object or list within the usage object.
#[derive(Clone, Copy, Debug)]
enum Details {
    /// Figures with these names.
    Fields(&'static TokenNames),
    /// A list of objects with figures of their own.
    Passes,
}

impl UsageFormat {
    fn details(&self, name: &str) -> Details {
        if self.passes.as_ref().is_some_and(|passes| is_same(passes.member.as_bytes(), name.as_bytes())) {
            return Details::Passes;
        }
        Details::Fields(self.details.get(name).unwrap_or(NO_FIELDS))
    }
}

static NO_FIELDS: &TokenNames = &TokenNames::NONE;

/// Collects the usage from the documents of one response.
#[derive(Clone, Debug)]
pub(super) struct UsageExtractor {
    dialect: &'static Dialect,
    format: &'static UsageFormat,
    outputs: &'static NameSet,
    figures: TokenFields,
    /// The usage of passes that the figures do not include.
    not_included: Usage,
    /// The pass that is being read, and true if the figures do not include it.
    pass: (TokenFields, bool),
    output_pieces: u64,
    output_bytes: u64,
    last: bool,
    failed: bool,
    /// The response consists of events.
    streamed: bool,
    /// The depth of the response's own members: 1, or 2 in a list of responses.
    base: usize,
    member: UsageMember,
    /// The value is within a member that may hold the usage object.
    wrapped: bool,
    /// The value is within the list whose entries may hold the usage object.
    listed: bool,
    /// The depth of the usage object's members, while within it.
    usage: Option<usize>,
    /// The document has had a usage object, this one included.
    seen_usage: bool,
    /// An earlier usage object exists; the first figure of this one discards the earlier figures.
    replaces: bool,
    /// The object within the usage object that is being read.
    details: Option<Details>,
    /// The same, as the last name announces it.
    named: Option<Details>,
    figure: Option<TokenField>,
    reached: u64,
    /// The offset of the end of the last name.
    name_end: u64,
}

impl UsageExtractor {
    pub(super) fn new(api: Api) -> Self {
        Self::of(Dialect::of(api))
    }

    fn of(dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            format: dialect.usage,
            outputs: &dialect.output,
            figures: TokenFields::default(),
            not_included: Usage::default(),
            pass: (TokenFields::default(), false),
            output_pieces: 0,
            output_bytes: 0,
            last: false,
            failed: false,
            streamed: false,
            base: 1,
            member: UsageMember::Other,
            wrapped: false,
            listed: false,
            usage: None,
            seen_usage: false,
            replaces: false,
            details: None,
            named: None,
            figure: None,
            reached: 0,
            name_end: 0,
        }
    }

    /// Returns a new extractor of the same API.
    pub(super) fn anew(&self) -> Self {
        Self::of(self.dialect)
    }

    pub(super) fn format(&self) -> &'static UsageFormat {
        self.format
    }

    /// Sets that the response is a stream of events.
    pub(super) fn set_streamed(&mut self) {
        self.outputs = &self.dialect.streamed_output;
        self.streamed = true;
    }

    /// Returns true if the strings of this member are output.
    pub(super) fn is_output(&self, name: &[u8]) -> bool {
        self.outputs.contains(name)
    }

    /// Begins another document.
    pub(super) fn restart(&mut self) {
        self.base = 1;
        self.member = UsageMember::Other;
        self.wrapped = false;
        self.listed = false;
        self.usage = None;
        self.seen_usage = false;
        self.details = None;
        self.named = None;
        self.figure = None;
        self.reached = 0;
        self.name_end = 0;
    }

    /// Adds output: the number of its strings, and their bytes as they are written.
    pub(super) fn saw_output(&mut self, pieces: u64, bytes: u64) {
        self.output_pieces = self.output_pieces.saturating_add(pieces);
        self.output_bytes = self.output_bytes.saturating_add(bytes);
    }

    /// Records that the event that ends the stream was seen.
    pub(super) fn saw_last(&mut self) {
        self.last = true;
    }

    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// Records that the response reports a failure.
    pub(super) fn saw_failure(&mut self) {
        self.failed = true;
    }

    pub(super) fn is_failed(&self) -> bool {
        self.failed
    }

    /// Returns true if the response came in several parts: events, or a list of responses.
    pub(super) fn in_parts(&self) -> bool {
        self.streamed || self.base > 1
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        Some(self.figures.usage(self.dialect)?.plus(self.not_included))
    }

    fn set_figure(&mut self, figure: TokenField, value: u64) {
        if self.in_passes() {
            self.pass.0.set(figure, value);
            return;
        }
        if core::mem::take(&mut self.replaces) {
            self.figures = TokenFields::default();
        }
        if self.format.largest_counts {
            self.figures.raise(figure, value);
        } else {
            self.figures.set(figure, value);
        }
    }

    /// Returns the meaning of a member outside of the usage object.
    fn meaning(&self, depth: usize, name: &str) -> UsageMember {
        let own = depth == self.base;
        // The response's own members, and those that may stand for them.
        let outer = own || self.wrapped && depth == self.base + 1 || self.listed && depth == self.base + 2;
        let bytes = name.as_bytes();
        if outer && is_same(bytes, self.format.member.name.as_bytes())
            || own && !self.streamed && self.format.document_members.contains(bytes)
        {
            UsageMember::Usage
        } else if own && self.format.wrappers.contains(bytes) && !self.is_output(bytes) {
            UsageMember::Wrapper
        } else if own && name == self.format.listed_in {
            UsageMember::List
        } else if outer && name == ERROR {
            UsageMember::Error
        } else if own && name == "type" {
            UsageMember::Type
        } else if own && name == "object" {
            UsageMember::Object
        } else if outer && name == "status" {
            UsageMember::Status
        } else if self.is_output(bytes) {
            UsageMember::Output
        } else {
            UsageMember::Other
        }
    }

    pub(super) fn output_seen_tokens(&self) -> u64 {
        self.output_pieces.max(self.output_bytes / BYTES_PER_TOKEN)
    }

    /// Returns true if the output may be sound or images.
    pub(super) fn may_be_no_text(&self) -> bool {
        self.dialect.may_be_no_text
    }

    fn in_passes(&self) -> bool {
        matches!(self.details, Some(Details::Passes))
    }

    /// Returns true at an entry of the list of passes.
    fn is_pass(&self, depth: usize) -> bool {
        self.in_passes() && self.usage.is_some_and(|usage| depth == usage + 1)
    }
}

impl Visitor for UsageExtractor {
    type Stop = Infallible;

    fn reached(&mut self, offset: u64) {
        self.reached = offset;
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other member is skipped")]
    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Infallible> {
        let member = core::mem::take(&mut self.member);
        if depth == 0 && kind == Container::Array && self.format.in_list {
            self.base = 2;
        }
        match (member, kind) {
            (UsageMember::Usage, Container::Object) => {
                self.usage = Some(depth + 1);
                // The usage within a wrapper is that of a message's begin (Anthropic).
                let begins = self.format.largest_counts && self.wrapped;
                self.replaces = core::mem::replace(&mut self.seen_usage, true) || begins;
            }
            (UsageMember::Wrapper, Container::Object) => self.wrapped = true,
            (UsageMember::List, Container::Array) => self.listed = true,
            (UsageMember::Error, Container::Object) => self.failed = true,
            _ => {}
        }
        if self.usage == Some(depth) {
            self.details = self.named.take().or(Some(Details::Fields(NO_FIELDS)));
            if self.in_passes() {
                self.not_included = Usage::default();
            }
        } else if self.is_pass(depth) {
            self.pass = (TokenFields::default(), false);
        }
        self.figure = None;
        Ok(())
    }

    fn end(&mut self, depth: usize, _: Container) -> Result<(), Infallible> {
        if self.is_pass(depth) {
            if let (figures, true) = &self.pass {
                self.not_included = self.not_included.plus(figures.usage(self.dialect).unwrap_or_default());
            }
        } else if self.usage == Some(depth + 1) {
            self.usage = None;
        } else if self.usage == Some(depth) {
            self.details = None;
        }
        if depth == self.base {
            self.wrapped = false;
            self.listed = false;
        }
        Ok(())
    }

    fn name_bytes(&self, _: usize) -> usize {
        NAME_BYTES
    }

    fn name(&mut self, depth: usize, name: JsonText<'_>) -> Result<(), Infallible> {
        let text = if name.whole { name.text } else { "" };
        self.name_end = self.reached;
        self.figure = None;
        self.named = None;
        self.member = UsageMember::Other;
        if let Some(usage) = self.usage {
            self.figure = match self.details {
                None if depth == usage => {
                    let field = self.format.fields.get(text);
                    if field.is_none() {
                        self.named = Some(self.format.details(text));
                    }
                    field
                }
                Some(Details::Passes) if depth == usage + 2 => {
                    if text == "type" {
                        self.member = UsageMember::PassType;
                    }
                    self.format.fields.get(text)
                }
                Some(Details::Fields(fields)) if depth == usage + 1 => fields.get(text),
                _ => None,
            };
            return Ok(());
        }
        self.member = self.meaning(depth, text);
        Ok(())
    }

    fn scalar_bytes(&self, _: usize) -> usize {
        match (self.figure, self.member) {
            (Some(_), _) => NUMBER_BYTES,
            (
                None,
                UsageMember::Type
                | UsageMember::PassType
                | UsageMember::Error
                | UsageMember::Status
                | UsageMember::Object,
            ) => NAME_BYTES,
            _ => 0,
        }
    }

    fn scalar(&mut self, _: usize, value: Scalar<'_>) -> Result<(), Infallible> {
        match (core::mem::take(&mut self.member), self.figure.take(), value) {
            (_, Some(figure), Scalar::Number(text) | Scalar::String(text)) if text.whole => {
                if let Some(value) = count(text.text) {
                    self.set_figure(figure, value);
                }
            }
            (UsageMember::Type, _, Scalar::String(text)) if text.whole => {
                self.last |= self.format.last_events.contains(text.text.as_bytes());
                self.failed |= self.format.failed_events.contains(text.text.as_bytes());
            }
            (UsageMember::Error, _, Scalar::String(text)) => {
                self.failed |= !text.whole || !text.text.is_empty()
            }
            (UsageMember::Status, _, Scalar::String(text)) => self.failed |= text.is(FAILED),
            (UsageMember::Object, _, Scalar::String(text)) => self.failed |= text.is(ERROR),
            (UsageMember::PassType, _, Scalar::String(text)) => {
                self.pass.1 = text.whole
                    && self
                        .format
                        .passes
                        .as_ref()
                        .is_some_and(|passes| passes.not_included.contains(text.text.as_bytes()))
            }
            // Three bytes between name and text are not output: a colon and two quotes, in compact JSON.
            (UsageMember::Output, _, Scalar::String(_)) => {
                let bytes = self.reached.saturating_sub(self.name_end).saturating_sub(3);
                self.saw_output(bytes.min(1), bytes);
            }
            _ => {}
        }
        Ok(())
    }
}
