//! The fields of a request's body that decisions need.
//!
//! The host holds the body; a [`BodyParser`] reads the new bytes of each callback, keeps only the fields that
//! decisions need, and returns an [`LlmRequest`] at the end of the body. A body that the upstream might read
//! differently is rejected, so that the decision and the upstream agree on its fields.

mod content_type;
mod error;
pub(super) mod external_content;
pub(super) mod fields;
mod include_usage;
mod media;
mod multipart;
mod scanner;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

pub use content_type::BodyParser;
pub use error::BodyError;
pub use include_usage::{BodyPatch, include_usage};
pub use media::{InlineMedia, MediaTokens};
pub use multipart::MultipartScanner;
pub use scanner::RequestScanner;

use super::dialect::{Dialect, MaxOutputField};
use crate::api::Api;

/// The maximum length of a target's name in bytes.
pub const MAX_NAME: usize = 256;

/// The maximum number of names that a body may hold besides its `model`.
pub const MAX_FALLBACKS: usize = 32;

/// The deepest nesting of a JSON body. `serde_json` has the same limit, and no API needs more.
pub const MAX_DEPTH: usize = 127;

/// The fields of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LlmRequest {
    /// `model`
    pub model: Option<Box<str>>,
    /// Other models that may be called, at most [`MAX_FALLBACKS`]: each name in `models` and in `fallbacks`, and the
    /// `model` of a tool.
    pub fallbacks: Vec<Box<str>>,
    /// True if `stream` is.
    pub stream: bool,
    /// `stream_options`
    pub stream_options: StreamOptions,
    /// The maximum of tokens per choice.
    pub max_output: MaxOutput,
    /// The number of choices: the largest of `n`, `best_of` and `candidateCount`, never 0; `None` means one.
    pub choices: Option<u64>,
    /// The number of prompts in the list `prompt`, each of which legacy completions answer; 0 if it is not a list.
    pub prompts: u64,
    /// The upstream reads input that the body does not contain: URLs, file ids, an earlier conversation, results of its
    /// own tools.
    pub external_input: bool,
    /// The response does not show all output tokens: audio output, or a call that continues in the background after its client
    /// disconnects.
    pub unmetered_output: bool,
    /// The request declares tools.
    pub tools: bool,
    /// Images, sound, video and documents in the body.
    pub media: InlineMedia,
    /// The body is a form.
    pub form: bool,
    /// The number of frames of an animated image; `None` means one.
    pub frames: Option<u64>,
    /// The bytes of a predicted answer, which is charged as output where the model rejects it.
    pub predicted: u64,
    /// `service_tier`
    pub service_tier: Option<Box<str>>,
    /// Anthropic's `speed` is another one than `standard`.
    pub fast: bool,
    /// A part of the body is to be cached for longer than five minutes.
    pub hour_cache: bool,
    /// The characters of a text to speak.
    pub characters: u64,
    /// The first member that the API's table does not have.
    pub unknown: Option<Box<str>>,
    /// The offset of the object's opening brace, which white space may precede.
    pub opens: u64,
    /// The body's length in bytes.
    pub bytes: u64,
}

/// Input tokens that are not in the text of the body: roles, separators, and the beginning of an answer. The names and quotes of
/// a message's own JSON take more bytes than its separators take tokens.
const ENVELOPE_TOKENS: u64 = 32;

/// Input tokens of a provider's own prompts for tools. Anthropic's tools, which take a line to name, are the most expensive: its
/// API documentation has, for the newest models, 804 tokens for any tool at all, 499 for the use of a computer, and for the
/// three tools 325 (bash), 700 (editor) and 735 (computer). Together that is 3,063.
const TOOL_TOKENS: u64 = 3_072;

impl LlmRequest {
    /// Returns an upper bound of the input tokens: one per byte of text, the bound of each piece of media, and a constant, which
    /// is larger with tools.
    #[must_use]
    pub fn most_input_tokens(&self, api: Api) -> u64 {
        self.most_text_tokens(api).saturating_add(self.media_in(api).most_tokens())
    }

    /// Returns the part of this bound that is not for media.
    #[must_use]
    pub fn most_text_tokens(&self, api: Api) -> u64 {
        let tools = if self.tools { TOOL_TOKENS } else { 0 };
        self.bytes.saturating_sub(self.media_in(api).bytes).saturating_add(ENVELOPE_TOKENS + tools)
    }

    /// Returns the input tokens as token limits estimate them: one per four bytes of text, and the estimate of each piece of
    /// media.
    #[must_use]
    pub fn likely_input_tokens(&self, api: Api) -> u64 {
        let media = self.media_in(api);
        self.bytes.saturating_sub(media.bytes).div_ceil(4).saturating_add(media.likely_tokens())
    }

    /// The files of a form are media only in an API that takes such forms.
    pub(crate) fn media_in(&self, api: Api) -> InlineMedia {
        if self.form && !Dialect::of(api).takes_files { InlineMedia::default() } else { self.media }
    }

    fn choices_at_least(&mut self, choices: u64) {
        self.choices = self.choices.max(Some(choices));
    }
}

/// The maximum of tokens per choice, by the member that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxOutput {
    /// `max_tokens`
    pub tokens: Option<u64>,
    /// `max_completion_tokens`
    pub completion_tokens: Option<u64>,
    /// `max_output_tokens`
    pub output_tokens: Option<u64>,
    /// `max_tokens_to_sample`
    pub tokens_to_sample: Option<u64>,
    /// `maxOutputTokens` in `generationConfig`
    pub generation: Option<u64>,
    /// The largest maximum of an entry of `fallbacks`, in any spelling: it applies if that model answers.
    pub of_fallbacks: u64,
}

impl MaxOutput {
    /// Returns the maximum that applies in this API: of two spellings the larger. Spellings of other APIs are ignored, as
    /// servers ignore them that do not reject them. So is a 0, which some servers take for an absent maximum; in
    /// Anthropic's API it requests no output.
    #[must_use]
    pub fn of(&self, api: Api) -> Option<u64> {
        let dialect = Dialect::of(api);
        let largest = dialect.max_output.iter().filter_map(|field| self.get(*field)).max();
        largest.filter(|tokens| *tokens > 0 || dialect.zero_output)
    }

    fn get(&self, field: MaxOutputField) -> Option<u64> {
        match field {
            MaxOutputField::Tokens => self.tokens,
            MaxOutputField::CompletionTokens => self.completion_tokens,
            MaxOutputField::OutputTokens => self.output_tokens,
            MaxOutputField::TokensToSample => self.tokens_to_sample,
            MaxOutputField::Generation => self.generation,
        }
    }
}

/// The member `stream_options`; ranges are offsets in the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StreamOptions {
    /// The member is absent.
    #[default]
    Absent,
    /// The member is `null`.
    Null {
        /// The range of the `null`.
        at: Range<u64>,
    },
    /// The member is an object.
    Object {
        /// The range of the object, braces included.
        at: Range<u64>,
        /// The object has no members.
        empty: bool,
        /// The object's member `include_usage`.
        include_usage: Option<Switch>,
    },
}

impl StreamOptions {
    /// Returns true if the client itself requests usage.
    #[must_use]
    pub fn includes_usage(&self) -> bool {
        matches!(self, Self::Object { include_usage: Some(Switch { on: true, .. }), .. })
    }
}

/// A boolean and its range in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// True for `true`; false for `false` and `null`.
    pub on: bool,
    /// The range of the value.
    pub at: Range<u64>,
}
