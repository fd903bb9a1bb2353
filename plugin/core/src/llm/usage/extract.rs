//! Where an answer's JSON holds its usage.

use core::convert::Infallible;

use super::dialect::{DetailFields, OutputFields, TokenField, TokenFields, UsageFormat, is_beside};
use super::{BYTES_PER_TOKEN, Usage};
use crate::api::Api;
use crate::json::lexer::{Container, JsonText, Scalar, Visitor};

/// Long enough for every name and type that is looked for.
const NAME_BYTES: usize = 40;
/// Long enough for a u64.
const NUMBER_BYTES: usize = 20;

/// What the value that comes now is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum UsageMember {
    #[default]
    Other,
    Wrapper,
    Usage,
    Type,
    /// `type` of a pass.
    PassType,
    Output,
}

/// Collects what the documents of one answer say.
#[derive(Clone, Debug)]
pub(super) struct UsageExtractor {
    api: Api,
    family: UsageFormat,
    outputs: OutputFields,
    figures: TokenFields,
    /// What passes used that are not in the figures.
    beside: Usage,
    /// The pass that is being read, and whether it is such a one.
    pass: (TokenFields, bool),
    output_pieces: u64,
    output_bytes: u64,
    last: bool,
    /// Depth of the answer's own members: 1, or 2 in Gemini's list of answers.
    base: usize,
    member: UsageMember,
    /// Within the member that may hold the usage.
    wrapped: bool,
    /// Depth of the usage object's members, while within it.
    usage: Option<usize>,
    /// The document had a usage object already, or begins with this one.
    seen_usage: bool,
    /// Another one than this: its figures hold as soon as it has any.
    replaces: bool,
    details: Option<DetailFields>,
    named: Option<DetailFields>,
    figure: Option<TokenField>,
    reached: u64,
    /// Where the last name ended.
    name_end: u64,
}

impl UsageExtractor {
    pub(super) fn new(api: Api) -> Self {
        Self {
            api,
            family: UsageFormat::of(api),
            outputs: OutputFields::of(api, false),
            figures: TokenFields::default(),
            beside: Usage::default(),
            pass: (TokenFields::default(), false),
            output_pieces: 0,
            output_bytes: 0,
            last: false,
            base: 1,
            member: UsageMember::Other,
            wrapped: false,
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

    /// One of the same API to which nothing was said yet.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.api)
    }

    pub(super) fn family(&self) -> UsageFormat {
        self.family
    }

    /// It comes as a stream of events.
    pub(super) fn streams(&mut self) {
        self.outputs = OutputFields::of(self.api, true);
    }

    /// Whether the strings of this member are output.
    pub(super) fn is_output(&self, name: &[u8]) -> bool {
        self.outputs.are_in(name)
    }

    /// Another document begins.
    pub(super) fn restart(&mut self) {
        self.base = 1;
        self.member = UsageMember::Other;
        self.wrapped = false;
        self.usage = None;
        self.seen_usage = false;
        self.details = None;
        self.named = None;
        self.figure = None;
        self.reached = 0;
        self.name_end = 0;
    }

    /// Output went by, of this many bytes as it is written.
    pub(super) fn saw_output(&mut self, pieces: u64, bytes: u64) {
        self.output_pieces = self.output_pieces.saturating_add(pieces);
        self.output_bytes = self.output_bytes.saturating_add(bytes);
    }

    /// The event was seen that ends a stream.
    pub(super) fn saw_last(&mut self) {
        self.last = true;
    }

    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        Some(self.figures.usage(self.family)?.plus(self.beside))
    }

    pub(super) fn output_seen_tokens(&self) -> u64 {
        self.output_pieces.max(self.output_bytes / BYTES_PER_TOKEN)
    }

    /// Whether its output is, or may be, no text.
    pub(super) fn may_be_no_text(&self) -> bool {
        matches!(self.api, Api::OpenAiImages | Api::OpenAiAudio)
    }

    /// Within the list of passes, at one of them.
    fn in_passes(&self, depth: usize) -> bool {
        self.details == Some(DetailFields::Passes) && self.usage.is_some_and(|usage| depth == usage + 1)
    }
}

impl Visitor for UsageExtractor {
    type Stop = Infallible;

    fn reached(&mut self, offset: u64) {
        self.reached = offset;
    }

    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Infallible> {
        let member = core::mem::take(&mut self.member);
        if depth == 0 && kind == Container::Array && self.family == UsageFormat::Gemini {
            self.base = 2;
        }
        if kind == Container::Object {
            match member {
                UsageMember::Usage => {
                    self.usage = Some(depth + 1);
                    self.replaces = core::mem::replace(&mut self.seen_usage, true);
                }
                UsageMember::Wrapper => self.wrapped = true,
                _ => {}
            }
        }
        if self.usage == Some(depth) {
            self.details = self.named.take().or(Some(DetailFields::Other));
            if self.details == Some(DetailFields::Passes) {
                self.beside = Usage::default();
            }
        } else if self.in_passes(depth) {
            self.pass = (TokenFields::default(), false);
        }
        self.figure = None;
        Ok(())
    }

    fn end(&mut self, depth: usize, _: Container) -> Result<(), Infallible> {
        if self.in_passes(depth) {
            if let (figures, true) = &self.pass {
                self.beside = self.beside.plus(figures.usage(self.family).unwrap_or_default());
            }
        } else if self.usage == Some(depth + 1) {
            self.usage = None;
        } else if self.usage == Some(depth) {
            self.details = None;
        }
        if depth == self.base {
            self.wrapped = false;
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
                    let passes = self.family.lists_passes(text);
                    self.named = Some(if passes { DetailFields::Passes } else { DetailFields::named(text) });
                    self.family.figure(None, text)
                }
                Some(DetailFields::Passes) if depth == usage + 2 => {
                    if text == "type" {
                        self.member = UsageMember::PassType;
                    }
                    self.family.figure(None, text)
                }
                Some(details) if depth == usage + 1 => self.family.figure(Some(details), text),
                _ => None,
            };
            return Ok(());
        }
        let own = depth == self.base;
        self.member = if (own || self.wrapped && depth == self.base + 1) && text == self.family.usage_name() {
            UsageMember::Usage
        } else if own && self.family.wraps_usage(text) {
            UsageMember::Wrapper
        } else if own && text == "type" {
            UsageMember::Type
        } else if self.is_output(text.as_bytes()) {
            UsageMember::Output
        } else {
            UsageMember::Other
        };
        Ok(())
    }

    fn scalar_bytes(&self, _: usize) -> usize {
        match (self.figure, self.member) {
            (Some(_), _) => NUMBER_BYTES,
            (None, UsageMember::Type | UsageMember::PassType) => NAME_BYTES,
            _ => 0,
        }
    }

    fn scalar(&mut self, _: usize, value: Scalar<'_>) -> Result<(), Infallible> {
        match (core::mem::take(&mut self.member), self.figure.take(), value) {
            (_, Some(figure), Scalar::Number(text)) if text.whole => {
                if let Ok(value) = text.text.parse() {
                    if self.details == Some(DetailFields::Passes) {
                        self.pass.0.set(figure, value);
                        return Ok(());
                    }
                    if core::mem::take(&mut self.replaces) {
                        self.figures = TokenFields::default();
                    }
                    self.figures.set(figure, value);
                }
            }
            (UsageMember::Type, _, Scalar::String(text)) => {
                self.last |= text.whole && self.family.is_last(text.text.as_bytes())
            }
            (UsageMember::PassType, _, Scalar::String(text)) => {
                self.pass.1 = text.whole && is_beside(text.text)
            }
            // Between the name and the text: a colon and the quotes, in compact JSON.
            (UsageMember::Output, _, Scalar::String(_)) => {
                let bytes = self.reached.saturating_sub(self.name_end).saturating_sub(3);
                self.saw_output(bytes.min(1), bytes);
            }
            _ => {}
        }
        Ok(())
    }
}
