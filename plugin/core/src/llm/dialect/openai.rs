//! OpenAI's APIs, and those that were modelled on them.

use serde_json::Value;

use super::{
    Dialect, ErrorParts, Figure, FigureNames, MaxOutputField, MemberName, NameSet, NameTable, RequestFormat,
    SearchLists, UsageDetails, UsageFormat, anthropic, members, parameters,
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
    parameters: Some(parameters::OPENAI),
    free: false,
    default_model: None,
    answers_each_prompt: false,
    partial_responses: false,
    usage_on_request: false,
    may_be_no_text: false,
    draws: false,
    speaks: false,
    has_duration: false,
    output: TEXT,
    streamed_output: TEXT,
    usage: &USAGE,
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

/// `/v1/responses/input_tokens`
pub(super) static COUNT_TOKENS: Dialect = Dialect { free: true, members: members::RESPONSES, ..NO_OUTPUT };

/// `/v1/realtime`: its messages are not read.
pub(super) static REALTIME: Dialect = REALTIME_BASE;

/// An API whose bodies are not read.
pub(super) const REALTIME_BASE: Dialect = Dialect {
    reads_body: false,
    parameters: Some(parameters::REALTIME),
    output: NameSet::NONE,
    streamed_output: NameSet::NONE,
    ..BASE
};

/// APIs whose answers have no output tokens.
const NO_OUTPUT: Dialect =
    Dialect { has_output: false, output: NameSet::NONE, streamed_output: NameSet::NONE, ..BASE };

/// `/v1/moderations`: free of charge ("Moderation" in the guides), with a default in place of `model` (API reference).
pub(super) static MODERATIONS: Dialect = Dialect {
    free: true,
    members: members::MODERATIONS,
    default_model: Some("omni-moderation-latest"),
    ..NO_OUTPUT
};

/// `/v1/rerank` and `/v2/rerank`: Voyage and Jina report `total_tokens`, Cohere units of its own.
pub(super) static RERANK: Dialect = Dialect { members: members::RERANK, ..NO_OUTPUT };

/// `/v1/embeddings`
pub(super) static EMBEDDINGS: Dialect = Dialect { members: members::EMBEDDINGS, ..NO_OUTPUT };

/// `/v1/images/*`
pub(super) static IMAGES: Dialect = Dialect {
    members: members::IMAGES,
    output_if_priced: true,
    // The most for one image in OpenAI's image generation guide (high quality, 1024 x 1536).
    default_output: 6_240,
    priced_by_choice: true,
    takes_files: true,
    may_be_no_text: true,
    draws: true,
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
    speaks: true,
    has_duration: true,
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
    // `delta`: Cohere's event `message-end`.
    wrappers: NameSet::of(&["response", "x_groq", "delta"]),
    // Moonshot's streams report the usage in the last choice.
    listed_in: CHUNK_CHOICES,
    // Cohere's embeddings.
    document_members: NameSet::of(&["meta"]),
    fields: NameTable::of(&[
        ("prompt_tokens", Figure::Input),
        ("input_tokens", Figure::Input),
        ("completion_tokens", Figure::Output),
        ("output_tokens", Figure::Output),
        ("total_tokens", Figure::Total),
        // DeepSeek's own name for what its details repeat.
        ("prompt_cache_hit_tokens", Figure::Cached),
        // Moonshot, Cohere.
        ("cached_tokens", Figure::Cached),
        // LiteLLM's proxy: Anthropic's names beside OpenAI's, as parts of `prompt_tokens`.
        ("cache_read_input_tokens", Figure::Cached),
        ("cache_creation_input_tokens", Figure::CacheWrite),
        // Mistral.
        ("num_cached_tokens", Figure::Cached),
        // `TokenUsage` of Bedrock's Converse API; `inputTokens` leaves the cache out.
        ("inputTokens", Figure::Input),
        ("outputTokens", Figure::Output),
        ("totalTokens", Figure::Total),
        ("cacheReadInputTokens", Figure::CachedApart),
        ("cacheWriteInputTokens", Figure::CacheWriteApart),
        // The length of a recording: OpenAI, Mistral.
        ("seconds", Figure::Seconds),
        ("prompt_audio_seconds", Figure::Seconds),
        // OpenRouter.
        ("cost", Figure::Cost),
        // xAI.
        ("cost_in_usd_ticks", Figure::CostTicks),
        // Perplexity.
        ("num_search_queries", Figure::Searches),
    ]),
    details: NameTable::of(&[
        ("prompt_tokens_details", UsageDetails::Figures(INPUT_DETAILS)),
        ("input_tokens_details", UsageDetails::Figures(INPUT_DETAILS)),
        ("completion_tokens_details", UsageDetails::Figures(OUTPUT_DETAILS)),
        ("output_tokens_details", UsageDetails::Figures(OUTPUT_DETAILS)),
        // Transcriptions.
        ("input_token_details", UsageDetails::Figures(INPUT_DETAILS)),
        // Mistral.
        ("prompt_token_details", UsageDetails::Figures(INPUT_DETAILS)),
        // LiteLLM's proxy and OpenRouter, for Anthropic's models.
        ("cache_creation", UsageDetails::Figures(anthropic::CACHE_CREATION)),
        ("server_tool_use", UsageDetails::Figures(anthropic::SERVER_TOOLS)),
        // xAI.
        ("server_side_tool_usage_details", UsageDetails::Figures(SERVER_TOOLS)),
        // Perplexity.
        ("cost", UsageDetails::Figures(COST)),
        // Cohere: the tokens that the model read and wrote, and those that are billed, without the provider's own
        // prompt.
        ("tokens", UsageDetails::Figures(TOKENS)),
        ("billed_units", UsageDetails::Figures(BILLED_UNITS)),
    ]),
    tiers: NameSet::of(&["service_tier"]),
    searches: SearchLists::OutputItems,
    passes: None,
    largest_counts: false,
    last_events: NameSet::of(&[
        "response.completed",
        "response.incomplete",
        "response.failed",
        "transcript.text.done",
        "speech.audio.done",
        "image_generation.completed",
        "image_edit.completed",
        // Cohere.
        "message-end",
    ]),
    failed_events: NameSet::of(&["error", "response.failed"]),
    ends_between_events: false,
    in_list: false,
    input_includes_cache: true,
    output_includes_reasoning: true,
};

const INPUT_DETAILS: &FigureNames = &NameTable::of(&[
    ("cached_tokens", Figure::Cached),
    ("cache_write_tokens", Figure::CacheWrite),
    // DashScope, LiteLLM.
    ("cache_creation_input_tokens", Figure::CacheWrite),
    ("cache_creation_tokens", Figure::CacheWrite),
    ("audio_tokens", Figure::InputAudio),
    ("image_tokens", Figure::InputImage),
]);

const SERVER_TOOLS: &FigureNames =
    &NameTable::of(&[("web_search_calls", Figure::Searches), ("x_search_calls", Figure::OtherSearches)]);

const COST: &FigureNames = &NameTable::of(&[("total_cost", Figure::Cost)]);

const TOKENS: &FigureNames =
    &NameTable::of(&[("input_tokens", Figure::Input), ("output_tokens", Figure::Output)]);

const BILLED_UNITS: &FigureNames =
    &NameTable::of(&[("input_tokens", Figure::BilledInput), ("output_tokens", Figure::BilledOutput)]);

const OUTPUT_DETAILS: &FigureNames = &NameTable::of(&[
    ("reasoning_tokens", Figure::Reasoning),
    ("audio_tokens", Figure::OutputAudio),
    ("image_tokens", Figure::OutputImage),
]);

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

pub(super) fn error_body(error: ErrorParts<'_>) -> Value {
    let ErrorParts { kind, code, param, message, status: _, retry_after: _ } = error;
    serde_json::json!({
        "error": { "message": message, "type": kind, "param": param, "code": code },
    })
}
