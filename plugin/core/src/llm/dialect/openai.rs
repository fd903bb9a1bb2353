//! OpenAI's APIs, and those that were modelled on them.

use serde_json::Value;

use super::{
    Dialect, ErrorParts, MaxOutputField, MemberName, NameSet, NameTable, RequestFormat, TokenField,
    TokenNames, UsageFormat, members,
};
use crate::llm::request::external_content::ExternalMark;
use crate::llm::request::fields::Field;

/// The facts that all of these APIs share.
pub(super) const BASE: Dialect = Dialect {
    reads_body: true,
    max_output: &[],
    zero_output: false,
    has_output: true,
    output_if_priced: false,
    default_output: 4_096,
    priced_by_choice: false,
    takes_files: false,
    members: &[],
    answers_each_prompt: false,
    partial_responses: false,
    usage_on_request: false,
    may_be_no_text: false,
    output: TEXT,
    streamed_output: TEXT,
    usage: &USAGE,
    error_body,
};

/// `/v1/chat/completions`
pub(super) static CHAT: Dialect = Dialect {
    members: members::CHAT,
    max_output: &[MaxOutputField::Tokens, MaxOutputField::CompletionTokens],
    usage_on_request: true,
    ..BASE
};

/// `/v1/completions`
pub(super) static COMPLETIONS: Dialect = Dialect {
    members: members::COMPLETIONS,
    max_output: &[MaxOutputField::Tokens],
    answers_each_prompt: true,
    usage_on_request: true,
    ..BASE
};

/// `/v1/responses`
pub(super) static RESPONSES: Dialect = Dialect {
    members: members::RESPONSES,
    max_output: &[MaxOutputField::OutputTokens],
    output: NameSet::of(&["text", "arguments", "refusal"]),
    streamed_output: DELTA,
    ..BASE
};

/// `/v1/embeddings`
pub(super) static EMBEDDINGS: Dialect = Dialect {
    has_output: false,
    members: members::EMBEDDINGS,
    output: NameSet::NONE,
    streamed_output: NameSet::NONE,
    ..BASE
};

/// `/v1/images/*`
pub(super) static IMAGES: Dialect = Dialect {
    members: members::IMAGES,
    output_if_priced: true,
    // The most for one image in OpenAI's image generation guide (high quality, 1024 x 1536).
    default_output: 6_240,
    priced_by_choice: true,
    takes_files: true,
    may_be_no_text: true,
    output: NameSet::NONE,
    streamed_output: NameSet::NONE,
    ..BASE
};

/// `/v1/audio/*`
pub(super) static AUDIO: Dialect = Dialect {
    members: members::AUDIO,
    output_if_priced: true,
    takes_files: true,
    may_be_no_text: true,
    streamed_output: DELTA,
    ..BASE
};

const TEXT: NameSet =
    NameSet::of(&["content", "text", "reasoning_content", "reasoning", "arguments", "refusal"]);

const DELTA: NameSet = NameSet::of(&["delta"]);

/// The list of a streamed chunk that is empty in the chunk with the usage.
pub(in crate::llm) const CHUNK_CHOICES: &str = "choices";

/// The usage in all of these APIs.
pub(in crate::llm) static USAGE: UsageFormat = UsageFormat {
    member: MemberName::behind_quote("\"usage"),
    wrappers: NameSet::of(&["response", "x_groq"]),
    fields: NameTable::of(&[
        ("prompt_tokens", TokenField::Input),
        ("input_tokens", TokenField::Input),
        ("completion_tokens", TokenField::Output),
        ("output_tokens", TokenField::Output),
        ("total_tokens", TokenField::Total),
        // DeepSeek's own name for what its details repeat.
        ("prompt_cache_hit_tokens", TokenField::Cached),
    ]),
    details: NameTable::of(&[
        ("prompt_tokens_details", INPUT_DETAILS),
        ("input_tokens_details", INPUT_DETAILS),
        ("completion_tokens_details", OUTPUT_DETAILS),
        ("output_tokens_details", OUTPUT_DETAILS),
    ]),
    passes: None,
    last_events: NameSet::of(&[
        "response.completed",
        "response.incomplete",
        "response.failed",
        "transcript.text.done",
        "speech.audio.done",
        "image_generation.completed",
        "image_edit.completed",
    ]),
    ends_between_events: false,
    in_list: false,
    input_includes_cache: true,
    output_includes_reasoning: true,
};

const INPUT_DETAILS: &TokenNames =
    &NameTable::of(&[("cached_tokens", TokenField::Cached), ("cache_write_tokens", TokenField::CacheWrite)]);

const OUTPUT_DETAILS: &TokenNames = &NameTable::of(&[("reasoning_tokens", TokenField::Reasoning)]);

pub(super) const REQUEST: RequestFormat = RequestFormat {
    body: &[
        ("stream_options", Field::StreamOptions),
        ("max_completion_tokens", Field::MaxCompletionTokens),
        ("max_output_tokens", Field::MaxOutputTokens),
        ("n", Field::N),
        ("best_of", Field::BestOf),
        ("previous_response_id", Field::PreviousResponseId),
        ("conversation", Field::Conversation),
        ("prompt", Field::Prompt),
        ("input", Field::Input),
        ("web_search_options", Field::WebSearchOptions),
        ("background", Field::Background),
        ("functions", Field::Functions),
    ],
    marks: &[
        ("audio", ExternalMark::Audio),
        ("file_url", ExternalMark::Link),
        ("image_url", ExternalMark::Link),
        ("video_url", ExternalMark::Link),
        ("audio_url", ExternalMark::Link),
        ("file_ids", ExternalMark::Stored),
        ("vector_store_ids", ExternalMark::Stored),
        // Mistral's documents.
        ("document_url", ExternalMark::Link),
        // DashScope's `fileid://`, in the text of a message.
        ("content", ExternalMark::Text),
        ("text", ExternalMark::Text),
    ],
    client_tools: &["function", "local_shell", "apply_patch"],
    stored_items: &[
        "item_reference",
        "image_generation_call",
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
    ],
    ..RequestFormat::NONE
};

/// Members of `stream_options`.
pub(in crate::llm) const STREAM_OPTIONS: &[(&str, Field)] = &[("include_usage", Field::IncludeUsage)];

fn error_body(error: ErrorParts<'_>) -> Value {
    let ErrorParts { kind, code, param, message, status: _ } = error;
    serde_json::json!({
        "error": { "message": message, "type": kind, "param": param, "code": code },
    })
}
