//! Google's Gemini API.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::{
    Dialect, ErrorParts, Figure, FigureNames, MaxOutputField, MemberName, NameSet, NameTable, RequestFormat,
    SearchLists, UsageDetails, UsageFormat, members, parameters,
};
use crate::llm::request::external_content::ExternalMark;
use crate::llm::request::fields::Field;

/// `:generateContent` and `:streamGenerateContent`
pub(super) static GENERATE: Dialect = BASE;

/// `:countTokens`: free of charge ("Count tokens" in the documentation).
pub(super) static COUNT_TOKENS: Dialect = Dialect { has_output: false, free: true, ..BASE };

/// `:embedContent` and `:batchEmbedContents`
pub(super) static EMBED: Dialect =
    Dialect { has_output: false, output: NameSet::NONE, streamed_output: NameSet::NONE, ..BASE };

const BASE: Dialect = Dialect {
    reads_body: true,
    max_output: &[MaxOutputField::Generation],
    zero_output: false,
    has_output: true,
    output_if_priced: false,
    default_output: 4_096,
    priced_by_choice: false,
    takes_files: false,
    members: members::GEMINI,
    parameters: Some(parameters::GEMINI),
    free: false,
    default_model: None,
    answers_each_prompt: false,
    partial_responses: true,
    usage_on_request: false,
    may_be_no_text: false,
    draws: false,
    speaks: false,
    has_duration: false,
    output: TEXT,
    streamed_output: TEXT,
    usage: &USAGE,
};

const TEXT: NameSet = NameSet::of(&["text"]);

static USAGE: UsageFormat = UsageFormat {
    member: MemberName::behind_quote("\"usageMetadata"),
    wrappers: NameSet::NONE,
    listed_in: "",
    document_members: NameSet::NONE,
    fields: NameTable::of(&[
        ("promptTokenCount", Figure::Input),
        ("candidatesTokenCount", Figure::Output),
        ("thoughtsTokenCount", Figure::Reasoning),
        ("toolUsePromptTokenCount", Figure::ToolInput),
        ("cachedContentTokenCount", Figure::Cached),
        ("totalTokenCount", Figure::Total),
    ]),
    details: NameTable::of(&[
        ("promptTokensDetails", UsageDetails::Modalities(INPUT_KINDS)),
        ("cacheTokensDetails", UsageDetails::Modalities(CACHED_KINDS)),
        ("candidatesTokensDetails", UsageDetails::Modalities(OUTPUT_KINDS)),
    ]),
    // Vertex AI has `trafficType`.
    tiers: NameSet::of(&["serviceTier", "trafficType"]),
    searches: SearchLists::Queries,
    passes: None,
    largest_counts: false,
    last_events: NameSet::NONE,
    failed_events: NameSet::NONE,
    ends_between_events: true,
    in_list: true,
    input_includes_cache: true,
    output_includes_reasoning: false,
};

const INPUT_KINDS: &FigureNames =
    &NameTable::of(&[("AUDIO", Figure::InputAudio), ("IMAGE", Figure::InputImage)]);

const CACHED_KINDS: &FigureNames =
    &NameTable::of(&[("AUDIO", Figure::CachedAudio), ("IMAGE", Figure::CachedImage)]);

const OUTPUT_KINDS: &FigureNames =
    &NameTable::of(&[("AUDIO", Figure::OutputAudio), ("IMAGE", Figure::OutputImage)]);

/// Protobuf's JSON reads both spellings of a name as one field.
pub(super) const REQUEST: RequestFormat = RequestFormat {
    body: &[
        ("generationConfig", Field::GenerationConfig),
        ("generation_config", Field::GenerationConfig),
        ("cachedContent", Field::CachedContent),
        ("cached_content", Field::CachedContent),
        // The calls of `:batchEmbedContents`, and the one that `:countTokens` counts. Each names its model.
        ("requests", Field::Requests),
        ("generateContentRequest", Field::GenerateContentRequest),
        ("generate_content_request", Field::GenerateContentRequest),
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

pub(super) fn error_body(error: ErrorParts<'_>) -> Value {
    let ErrorParts { status, code, param, message, retry_after, kind: _ } = error;
    let mut details = Vec::from([serde_json::json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": code,
        "domain": "tollgate",
        "metadata": { "param": param },
    })]);
    if let Some(millis) = retry_after {
        details.push(serde_json::json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": duration(millis),
        }));
    }
    serde_json::json!({
        "error": { "code": status, "message": message, "status": canonical_code(status), "details": details },
    })
}

/// A `google.protobuf.Duration` in JSON: seconds with at most nine decimals, and `s`.
fn duration(millis: u64) -> String {
    match (millis / 1_000, millis % 1_000) {
        (seconds, 0) => format!("{seconds}s"),
        (seconds, rest) => format!("{seconds}.{rest:03}s"),
    }
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
