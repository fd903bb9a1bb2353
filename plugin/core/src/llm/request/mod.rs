//! What a request's body asks for.
//!
//! The host holds the body; a [`BodyParser`] is fed each callback's new bytes, keeps nothing of them but the
//! fields that the decision reads, and answers with an [`LlmRequest`] once the body has ended. Whatever the
//! upstream might read differently is refused, so that nothing is decided on one body and done with another.

mod content_type;
mod error;
pub(super) mod external_content;
pub(super) mod fields;
mod include_usage;
mod multipart;
mod scanner;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

pub use content_type::BodyParser;
pub use error::BodyError;
pub use include_usage::{BodyPatch, include_usage};
pub use multipart::MultipartScanner;
pub use scanner::RequestScanner;

use super::dialect::{Dialect, MaxOutputField};
use crate::api::Api;

/// The longest name of a target, in bytes.
pub const MAX_NAME: usize = 256;

/// The most names that a body may hold beside its `model`.
pub const MAX_FALLBACKS: usize = 32;

/// The deepest nesting of a JSON body. `serde_json` stops at the same depth, and no API asks for more.
pub const MAX_DEPTH: usize = 127;

/// What a body asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LlmRequest {
    /// `model`
    pub model: Option<Box<str>>,
    /// What else may be asked, at most [`MAX_FALLBACKS`]: each name in `models` and in `fallbacks`, and the `model` of a
    /// tool that asks one.
    pub fallbacks: Vec<Box<str>>,
    /// `stream` is true.
    pub stream: bool,
    /// `stream_options`
    pub stream_options: StreamOptions,
    /// The most tokens one choice may have.
    pub max_output: MaxOutput,
    /// How many answers are generated: the largest of `n`, `best_of` and `candidateCount`, never 0;
    /// `None` means one.
    pub choices: Option<u64>,
    /// How many prompts are in the list `prompt`, each of which legacy completions answer; 0 where it is no list.
    pub prompts: u64,
    /// The upstream reads more than the body shows: URLs, file ids, an earlier conversation, what its own tools find.
    pub external_input: bool,
    /// What the answer shows of the output says little about its tokens, or is not all of it: sound, or a call that goes on
    /// in the background when its client leaves.
    pub unmetered_output: bool,
    /// Where the object opens: white space may come before it.
    pub opens: u64,
    /// The body's length.
    pub bytes: u64,
}

/// What a request may add to the text of its body: roles, separators, and what a provider says to the model about tools.
/// Anthropic's own ones, which take a line to name, are the dearest: its API documentation has, for the newest models,
/// 804 tokens for any tool at all, 499 for the use of a computer, and for the three tools 325 (bash), 700 (editor) and
/// 735 (computer). Together that is 3,063.
const ENVELOPE_TOKENS: u64 = 3_072;

impl LlmRequest {
    /// No input of these bytes has more tokens: one a byte, and a constant.
    #[must_use]
    pub fn most_input_tokens(&self) -> u64 {
        self.bytes.saturating_add(ENVELOPE_TOKENS)
    }

    /// Tokens of the input as token limits estimate them: four bytes a token.
    #[must_use]
    pub fn likely_input_tokens(&self) -> u64 {
        self.bytes.div_ceil(4)
    }

    fn choices_at_least(&mut self, choices: u64) {
        self.choices = self.choices.max(Some(choices));
    }
}

/// The most tokens one choice may have, by the member that says so.
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
    /// The largest maximum of an entry of `fallbacks`, in any spelling: it holds where that one answers.
    pub of_fallbacks: u64,
}

impl MaxOutput {
    /// What the API goes by: of two spellings the larger. Those of other APIs are passed over, as servers do that do not
    /// refuse them. So is a 0, which some servers take for an absent one; in Anthropic's API it asks for no output.
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

/// The member `stream_options`; ranges are bytes of the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StreamOptions {
    /// There is none.
    #[default]
    Absent,
    /// It is `null`.
    Null {
        /// Where the `null` is.
        at: Range<u64>,
    },
    /// It is an object.
    Object {
        /// Where the object is, braces included.
        at: Range<u64>,
        /// It has no members.
        empty: bool,
        /// Its member `include_usage`.
        include_usage: Option<Switch>,
    },
}

impl StreamOptions {
    /// Whether the client asked for usage itself.
    #[must_use]
    pub fn includes_usage(&self) -> bool {
        matches!(self, Self::Object { include_usage: Some(Switch { on: true, .. }), .. })
    }
}

/// A truth value and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// `true`; neither `false` nor `null`.
    pub on: bool,
    /// Where the value is.
    pub at: Range<u64>,
}
