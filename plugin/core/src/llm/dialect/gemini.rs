//! Google's Gemini API.

use serde_json::Value;

use super::{
    Dialect, ErrorParts, MaxOutputField, MemberName, NameSet, NameTable, RequestFormat, TokenField,
    UsageFormat, members,
};
use crate::llm::request::external_content::ExternalMark;
use crate::llm::request::fields::Field;

/// `:generateContent` and `:streamGenerateContent`
pub(super) static GENERATE: Dialect = Dialect {
    reads_body: true,
    max_output: &[MaxOutputField::Generation],
    zero_output: false,
    has_output: true,
    output_if_priced: false,
    default_output: 4_096,
    priced_by_choice: false,
    takes_files: false,
    members: members::GEMINI,
    answers_each_prompt: false,
    partial_responses: true,
    usage_on_request: false,
    may_be_no_text: false,
    output: TEXT,
    streamed_output: TEXT,
    usage: &USAGE,
    error_body,
};

const TEXT: NameSet = NameSet::of(&["text"]);

static USAGE: UsageFormat = UsageFormat {
    member: MemberName::behind_quote("\"usageMetadata"),
    wrappers: NameSet::NONE,
    fields: NameTable::of(&[
        ("promptTokenCount", TokenField::Input),
        ("candidatesTokenCount", TokenField::Output),
        ("thoughtsTokenCount", TokenField::Reasoning),
        ("toolUsePromptTokenCount", TokenField::ToolInput),
        ("cachedContentTokenCount", TokenField::Cached),
        ("totalTokenCount", TokenField::Total),
    ]),
    details: NameTable::NONE,
    passes: None,
    last_events: NameSet::NONE,
    ends_between_events: true,
    in_list: true,
    input_includes_cache: true,
    output_includes_reasoning: false,
};

/// Protobuf's JSON reads both spellings of a name as one field.
pub(super) const REQUEST: RequestFormat = RequestFormat {
    body: &[
        ("generationConfig", Field::GenerationConfig),
        ("generation_config", Field::GenerationConfig),
        ("cachedContent", Field::CachedContent),
        ("cached_content", Field::CachedContent),
    ],
    marks: &[("fileUri", ExternalMark::Stored), ("file_uri", ExternalMark::Stored)],
    upstream_tools: NameSet::of(&[
        "googleSearch",
        "google_search",
        "googleSearchRetrieval",
        "google_search_retrieval",
        "googleMaps",
        "google_maps",
        "urlContext",
        "url_context",
        "codeExecution",
        "code_execution",
        "fileSearch",
        "file_search",
        "retrieval",
        "enterpriseWebSearch",
        "enterprise_web_search",
        "parallelAiSearch",
        "parallel_ai_search",
        "exaAiSearch",
        "exa_ai_search",
        "mcpServers",
        "mcp_servers",
    ]),
    ..RequestFormat::NONE
};

/// Members of `generationConfig`.
pub(in crate::llm) const GENERATION_CONFIG: &[(&str, Field)] = &[
    ("maxOutputTokens", Field::GeminiMaxOutputTokens),
    ("max_output_tokens", Field::GeminiMaxOutputTokens),
    ("candidateCount", Field::GeminiCandidateCount),
    ("candidate_count", Field::GeminiCandidateCount),
];

fn error_body(error: ErrorParts<'_>) -> Value {
    let ErrorParts { status, code, param, message, kind: _ } = error;
    serde_json::json!({
        "error": {
            "code": status,
            "message": message,
            "status": canonical_code(status),
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": code,
                "domain": "tollgate",
                "metadata": { "param": param },
            }],
        },
    })
}

/// Canonical codes of `google.rpc.Code`.
fn canonical_code(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    }
}
