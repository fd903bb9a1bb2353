//! What each API calls the figures of its usage.

use super::Usage;
use crate::api::Api;

/// One figure of a usage object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenField {
    Input,
    Output,
    Total,
    Cached,
    CacheWrite,
    Reasoning,
    ToolInput,
}

/// APIs that report usage alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsageFormat {
    OpenAi,
    Anthropic,
    Gemini,
}

impl UsageFormat {
    pub(super) fn of(api: Api) -> Self {
        match api {
            Api::AnthropicMessages => Self::Anthropic,
            Api::GeminiGenerate => Self::Gemini,
            _ => Self::OpenAi,
        }
    }

    /// The member that holds the usage.
    pub(super) fn usage_name(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Anthropic => "usage",
            Self::Gemini => "usageMetadata",
        }
    }

    /// Members of an answer or an event in which the usage may be instead.
    pub(super) fn wraps_usage(self, name: &str) -> bool {
        match self {
            Self::OpenAi => matches!(name, "response" | "x_groq"),
            Self::Anthropic => name == "message",
            Self::Gemini => false,
        }
    }

    /// The type of the event that ends a stream.
    pub(super) fn is_last(self, kind: &[u8]) -> bool {
        match self {
            Self::OpenAi => matches!(
                kind,
                b"response.completed"
                    | b"response.incomplete"
                    | b"response.failed"
                    | b"transcript.text.done"
                    | b"speech.audio.done"
                    | b"image_generation.completed"
                    | b"image_edit.completed"
            ),
            Self::Anthropic => kind == b"message_stop",
            Self::Gemini => false,
        }
    }

    /// Whether the usage lists under this name the passes that a call took.
    pub(super) fn lists_passes(self, name: &str) -> bool {
        self == Self::Anthropic && name == "iterations"
    }

    /// The figure of this name, in the usage object or (`within`) in one of its details.
    pub(super) fn figure(self, within: Option<DetailFields>, name: &str) -> Option<TokenField> {
        Some(match (self, within, name) {
            (Self::OpenAi, None, "prompt_tokens" | "input_tokens") => TokenField::Input,
            (Self::OpenAi, None, "completion_tokens" | "output_tokens") => TokenField::Output,
            (Self::OpenAi, None, "total_tokens") => TokenField::Total,
            // DeepSeek's own name for what its details repeat.
            (Self::OpenAi, None, "prompt_cache_hit_tokens") => TokenField::Cached,
            (Self::OpenAi, Some(DetailFields::Input), "cached_tokens") => TokenField::Cached,
            (Self::OpenAi, Some(DetailFields::Input), "cache_write_tokens") => TokenField::CacheWrite,
            (Self::OpenAi, Some(DetailFields::Output), "reasoning_tokens") => TokenField::Reasoning,
            (Self::Anthropic, None, "input_tokens") => TokenField::Input,
            (Self::Anthropic, None, "output_tokens") => TokenField::Output,
            (Self::Anthropic, None, "cache_read_input_tokens") => TokenField::Cached,
            (Self::Anthropic, None, "cache_creation_input_tokens") => TokenField::CacheWrite,
            (Self::Gemini, None, "promptTokenCount") => TokenField::Input,
            (Self::Gemini, None, "candidatesTokenCount") => TokenField::Output,
            (Self::Gemini, None, "thoughtsTokenCount") => TokenField::Reasoning,
            (Self::Gemini, None, "toolUsePromptTokenCount") => TokenField::ToolInput,
            (Self::Gemini, None, "cachedContentTokenCount") => TokenField::Cached,
            (Self::Gemini, None, "totalTokenCount") => TokenField::Total,
            _ => return None,
        })
    }
}

/// Which members' strings are output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputFields {
    None,
    Delta,
    Responses,
    Anthropic,
    Gemini,
    Chat,
}

impl OutputFields {
    /// Those of an API; in a stream only those that say nothing twice.
    pub(super) fn of(api: Api, streamed: bool) -> Self {
        match (api, streamed) {
            (Api::OpenAiResponses | Api::OpenAiAudio, true) => Self::Delta,
            (Api::OpenAiResponses, false) => Self::Responses,
            (Api::OpenAiEmbeddings | Api::OpenAiImages | Api::Models | Api::Plain, _) => Self::None,
            (Api::AnthropicMessages, _) => Self::Anthropic,
            (Api::GeminiGenerate, _) => Self::Gemini,
            (Api::OpenAiChat | Api::OpenAiCompletions | Api::OpenAiAudio, _) => Self::Chat,
        }
    }

    /// Whether the strings of this member are among them.
    pub(super) fn are_in(self, name: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Delta => name == b"delta",
            Self::Responses => matches!(name, b"text" | b"arguments" | b"refusal"),
            Self::Anthropic => matches!(name, b"text" | b"thinking" | b"partial_json"),
            Self::Gemini => name == b"text",
            Self::Chat => matches!(
                name,
                b"content" | b"text" | b"reasoning_content" | b"reasoning" | b"arguments" | b"refusal"
            ),
        }
    }
}

/// Whether a pass of this type is not in the usage's own figures: the conversation was summed up before, or another model
/// was asked (Anthropic's documentation of compaction and of the advisor tool). The figures are those of the pass that answered.
pub(super) fn is_beside(pass: &str) -> bool {
    matches!(pass, "compaction" | "advisor_message")
}

/// An object within the usage object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DetailFields {
    Input,
    Output,
    /// A list of objects, with figures of their own.
    Passes,
    Other,
}

impl DetailFields {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "prompt_tokens_details" | "input_tokens_details" => Self::Input,
            "completion_tokens_details" | "output_tokens_details" => Self::Output,
            _ => Self::Other,
        }
    }
}

/// The figures as the provider wrote them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenFields {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    tool_input: Option<u64>,
}

impl TokenFields {
    pub(super) fn set(&mut self, figure: TokenField, value: u64) {
        let place = match figure {
            TokenField::Input => &mut self.input,
            TokenField::Output => &mut self.output,
            TokenField::Total => &mut self.total,
            TokenField::Cached => &mut self.cached,
            TokenField::CacheWrite => &mut self.cache_write,
            TokenField::Reasoning => &mut self.reasoning,
            TokenField::ToolInput => &mut self.tool_input,
        };
        *place = Some(value);
    }

    /// What they mean; `None` if neither input nor output was reported.
    pub(super) fn usage(&self, family: UsageFormat) -> Option<Usage> {
        if self.input.is_none() && self.output.is_none() {
            return None;
        }
        let input = self.input.unwrap_or(0);
        let output = self.output.unwrap_or(0);
        let cached_input = self.cached.unwrap_or(0);
        let cache_write = self.cache_write.unwrap_or(0);
        let reasoning = self.reasoning.unwrap_or(0);
        let (input, output) = match family {
            // Some leave reasoning out of the output, and only the total shows it.
            UsageFormat::OpenAi => (input, self.total.unwrap_or(0).saturating_sub(input).max(output)),
            UsageFormat::Anthropic => {
                (input.saturating_add(cached_input).saturating_add(cache_write), output)
            }
            // A client may ask for a part of the answer's fields only.
            UsageFormat::Gemini => {
                let input = input.saturating_add(self.tool_input.unwrap_or(0));
                let written = output.saturating_add(reasoning);
                (input, self.total.unwrap_or(0).saturating_sub(input).max(written))
            }
        };
        Some(Usage { input, output, cached_input, cache_write, reasoning })
    }
}
