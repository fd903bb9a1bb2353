//! What a request body asks for, read as it arrives and decided on the whole.

mod scanner;

pub use scanner::{BodyError, RequestScanner};

use alloc::boxed::Box;
use alloc::vec::Vec;

/// What a body asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The target.
    pub model: Option<Box<str>>,
    /// Other targets that may serve the call; each must be allowed.
    pub fallbacks: Vec<Box<str>>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The most output tokens the caller wants; the larger, where several spellings are used.
    pub max_output: Option<u64>,
    /// How many answers the caller wants (`n`, `best_of`, `candidateCount`); the largest.
    pub choices: Option<u64>,
    /// Whether it refers to content that it does not contain (URLs, file ids, earlier responses).
    pub hidden_content: bool,
    /// Its length.
    pub bytes: u64,
}

/// Content that a body does not show and that every JSON envelope adds: roles, separators, tool preambles.
const ENVELOPE_TOKENS: u64 = 64;

impl Ask {
    /// No input of these bytes has more tokens: one a byte, and a constant.
    pub fn most_input_tokens(&self) -> u64 {
        self.bytes.saturating_add(ENVELOPE_TOKENS)
    }

    /// Tokens of the input, as estimated for token limits: four bytes a token.
    pub fn likely_input_tokens(&self) -> u64 {
        self.bytes.div_ceil(4)
    }
}
