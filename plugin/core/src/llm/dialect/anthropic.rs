//! Anthropic's Messages API.

use serde_json::Value;

use super::{
    Dialect, ErrorParts, Figure, FigureNames, MaxOutputField, MemberName, NameSet, NameTable, PassesFormat,
    RequestFormat, SearchLists, UsageDetails, UsageFormat, members, parameters,
};
use crate::llm::request::external_content::ExternalMark;
use crate::llm::request::fields::Field;

/// `/v1/messages`
pub(super) static MESSAGES: Dialect = BASE;

/// `/v1/messages/count_tokens`: free of charge ("Token counting" in the documentation).
pub(super) static COUNT_TOKENS: Dialect = Dialect { has_output: false, free: true, ..BASE };

const BASE: Dialect = Dialect {
    reads_body: true,
    max_output: &[MaxOutputField::Tokens, MaxOutputField::TokensToSample],
    zero_output: true,
    has_output: true,
    output_if_priced: false,
    default_output: 4_096,
    priced_by_choice: false,
    takes_files: false,
    members: members::MESSAGES,
    parameters: Some(parameters::ANTHROPIC),
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

const TEXT: NameSet = NameSet::of(&["text", "thinking", "partial_json"]);

static USAGE: UsageFormat = UsageFormat {
    member: MemberName::behind_quote("\"usage"),
    wrappers: NameSet::of(&["message"]),
    listed_in: "",
    document_members: NameSet::NONE,
    fields: NameTable::of(&[
        ("input_tokens", Figure::Input),
        ("output_tokens", Figure::Output),
        ("cache_read_input_tokens", Figure::Cached),
        ("cache_creation_input_tokens", Figure::CacheWrite),
    ]),
    details: NameTable::of(&[
        ("cache_creation", UsageDetails::Figures(CACHE_CREATION)),
        ("server_tool_use", UsageDetails::Figures(SERVER_TOOLS)),
    ]),
    // `speed` is `fast` or `standard` ("Fast mode" in the documentation).
    tiers: NameSet::of(&["service_tier", "speed"]),
    searches: SearchLists::None,
    // The figures are those of the pass that answered. They do not include the summing up of the conversation, nor
    // another model (documentation of compaction and of the advisor tool).
    passes: Some(PassesFormat {
        member: "iterations",
        not_included: NameSet::of(&["compaction", "advisor_message"]),
    }),
    // `message_start` has the input; servers that imitate the API repeat it as 0 in `message_delta`, and a call that used
    // tools of the provider reports more there ("Streaming messages" in the documentation: the figures are cumulative).
    largest_counts: true,
    last_events: NameSet::of(&["message_stop"]),
    failed_events: NameSet::of(&["error"]),
    ends_between_events: false,
    in_list: false,
    input_includes_cache: false,
    output_includes_reasoning: true,
};

pub(super) const CACHE_CREATION: &FigureNames = &NameTable::of(&[
    ("ephemeral_1h_input_tokens", Figure::CacheWriteHour),
    ("ephemeral_5m_input_tokens", Figure::CacheWriteShort),
]);

pub(super) const SERVER_TOOLS: &FigureNames = &NameTable::of(&[("web_search_requests", Figure::Searches)]);

pub(super) const REQUEST: RequestFormat = RequestFormat {
    body: &[
        ("max_tokens_to_sample", Field::MaxTokensToSample),
        ("mcp_servers", Field::McpServers),
        ("context_management", Field::ContextManagement),
        ("speed", Field::Speed),
    ],
    marks: &[("source", ExternalMark::Source), ("ttl", ExternalMark::Ttl)],
    // `tool_search` finds tools that the request holds.
    client_tools: &["bash_", "text_editor_", "memory_", "tool_search"],
    // Some 4,600 tokens.
    long_tools: &["computer_toolset_"],
    rereading_steps: &["compact"],
    ..RequestFormat::NONE
};

pub(super) fn error_body(error: ErrorParts<'_>) -> Value {
    let ErrorParts { status, code, param, message, kind: _, retry_after: _ } = error;
    serde_json::json!({
        "type": "error",
        "error": { "type": error_type(status), "message": message, "code": code, "param": param },
    })
}

/// Error types of the API reference, "Errors".
fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        _ => "invalid_request_error",
    }
}
