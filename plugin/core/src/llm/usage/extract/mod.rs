//! The usage in the JSON of a response.

mod visit;

use alloc::boxed::Box;

use smol_str::SmolStr;

use super::details::ResponseDetails;
use super::figures::Figures;
use super::{BYTES_PER_TOKEN, Usage};
use crate::api::Api;
use crate::llm::dialect::{Dialect, Figure, FigureNames, NameSet, UsageDetails, UsageFormat, is_same};

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
    /// The kind of content that an entry of a list is about.
    Modality,
    /// Its tokens.
    ModalityTokens,
    Output,
}

/// An object or list within the usage object.
#[derive(Clone, Copy, Debug)]
enum Details {
    /// Figures with these names.
    Fields(&'static FigureNames),
    /// A list of kinds of content with their tokens; the figures are by the kind's name.
    Modalities(&'static FigureNames),
    /// A list of objects with figures of their own.
    Passes,
}

impl UsageFormat {
    fn details(&self, name: &str) -> Details {
        if self.passes.as_ref().is_some_and(|passes| is_same(passes.member.as_bytes(), name.as_bytes())) {
            return Details::Passes;
        }
        match self.details.get(name) {
            Some(UsageDetails::Figures(names)) => Details::Fields(names),
            Some(UsageDetails::Modalities(names)) => Details::Modalities(names),
            None => Details::Fields(NO_FIELDS),
        }
    }
}

/// The kinds of content that have prices of their own.
const MODALITIES: [&str; 2] = ["AUDIO", "IMAGE"];

static NO_FIELDS: &FigureNames = &FigureNames::NONE;

/// Collects the usage from the documents of one response.
#[derive(Clone, Debug)]
pub(super) struct UsageExtractor {
    dialect: &'static Dialect,
    format: &'static UsageFormat,
    outputs: &'static NameSet,
    figures: Figures,
    /// The usage of passes that the figures do not include.
    not_included: Usage,
    /// The pass that is being read, and true if the figures do not include it.
    pass: (Figures, bool),
    /// The kind of content that is being read, and its tokens.
    modality: (Option<Figure>, u64),
    /// Present if all of the response is read.
    response: Option<Box<ResponseDetails>>,
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
    figure: Option<Figure>,
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
            figures: Figures::default(),
            not_included: Usage::default(),
            pass: (Figures::default(), false),
            modality: (None, 0),
            response: None,
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

    /// Sets that all of the response is read, also outside of its usage.
    pub(super) fn set_detailed(&mut self) {
        self.response = Some(Box::new(ResponseDetails::new(self.dialect)));
    }

    /// Returns true if all of the response is read.
    pub(super) fn is_detailed(&self) -> bool {
        self.response.is_some()
    }

    pub(super) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The service tier that the response names.
    pub(super) fn tier(&self) -> Option<SmolStr> {
        self.response.as_ref()?.tier()
    }

    /// The length of the recording.
    pub(super) fn nanoseconds(&self) -> Option<u64> {
        self.figures.nanoseconds().or_else(|| self.response.as_ref()?.nanoseconds())
    }

    /// The searches of the provider.
    pub(super) fn searches(&self) -> u64 {
        self.figures.searches().max(self.response.as_ref().map_or(0, |response| response.searches()))
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
        if let Some(response) = &mut self.response {
            response.restart();
        }
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

    fn set_figure(&mut self, figure: Figure, value: u64) {
        if self.in_passes() {
            self.pass.0.set(figure, value);
            return;
        }
        if core::mem::take(&mut self.replaces) {
            self.figures = Figures::default();
        }
        if self.format.largest_counts {
            self.figures.raise(figure, value);
        } else {
            self.figures.set(figure, value);
        }
    }

    /// Adds the tokens of a kind of content to its figure.
    fn add_modality(&mut self) {
        if let (Some(figure), tokens) = core::mem::take(&mut self.modality) {
            if core::mem::take(&mut self.replaces) {
                self.figures = Figures::default();
            }
            self.figures.add(figure, tokens);
        }
    }

    /// Returns true for a member of the response itself, or of what may stand for it.
    fn is_outer(&self, depth: usize) -> bool {
        depth == self.base || self.wrapped && depth == self.base + 1 || self.listed && depth == self.base + 2
    }

    /// Returns the meaning of a member outside of the usage object.
    fn meaning(&self, depth: usize, name: &str) -> UsageMember {
        let own = depth == self.base;
        let outer = self.is_outer(depth);
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

    /// Returns true at an entry of a list in the usage object.
    fn is_entry(&self, depth: usize) -> bool {
        self.usage.is_some_and(|usage| depth == usage + 1)
    }

    /// Returns true at an entry of the list of passes.
    fn is_pass(&self, depth: usize) -> bool {
        self.in_passes() && self.is_entry(depth)
    }
}
