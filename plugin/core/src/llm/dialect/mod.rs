//! The facts in which the providers' APIs differ: one file per provider, one [`Dialect`] per API.
//!
//! To add an API, write a file beside these, add a variant of [`Api`] with its name in the configuration and an arm of
//! [`Dialect::of`], and, if its requests have members of their own, an entry of [`REQUESTS`].

mod anthropic;
pub(super) mod gemini;
pub(super) mod members;
mod names;
pub(super) mod openai;
pub(crate) mod parameters;

pub(super) use names::{MemberName, NameSet, NameTable, is_same, joined};

use serde_json::Value;

use super::request::external_content::ExternalMark;
use super::request::fields::Field;
use crate::api::{Api, Provider};

/// One API, as far as it differs from others.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Requests have a body that is read.
    pub(crate) reads_body: bool,
    /// The members that hold the maximum of output tokens; of several the largest value counts.
    pub(super) max_output: &'static [MaxOutputField],
    /// A maximum of 0 requests no output; otherwise 0 is taken for an absent maximum.
    pub(super) zero_output: bool,
    /// Responses consist of output tokens; false for embeddings.
    pub(crate) has_output: bool,
    /// Output is made of tokens only for targets with an output price: some models of the API are priced by the call, by the
    /// second or by the character.
    pub(crate) output_if_priced: bool,
    /// Output tokens that are reserved if neither the request nor the target has a maximum.
    pub(crate) default_output: u64,
    /// The price of a call is that of one image, of which a request may order several.
    pub(crate) priced_by_choice: bool,
    /// Requests may be forms with files, which are media.
    pub(crate) takes_files: bool,
    /// The members of requests; empty if the API has no table, so that no member is unknown.
    pub(super) members: members::MemberTable,
    /// The parameters of the query; `None` for an API that is not of an LLM, of which every parameter passes.
    pub(crate) parameters: Option<parameters::ParameterTable>,
    /// The provider charges nothing: a call counts as a request, without tokens and cost.
    pub(crate) free: bool,
    /// The model of a request that names none.
    pub(crate) default_model: Option<&'static str>,
    /// Each entry of the list `prompt` is answered.
    pub(crate) answers_each_prompt: bool,
    /// A client may select fields of the response.
    pub(crate) partial_responses: bool,
    /// Streams report usage only if `stream_options` of the request include it.
    pub(crate) usage_on_request: bool,
    /// The output may be sound or images.
    pub(super) may_be_no_text: bool,
    /// Output tokens are those of images, unless the usage says otherwise.
    pub(super) draws: bool,
    /// Requests may hold a text to speak, whose characters count.
    pub(crate) speaks: bool,
    /// A whole response may have the length of a recording in a member `duration`.
    pub(super) has_duration: bool,
    /// The members of a whole response whose strings are output.
    pub(super) output: NameSet,
    /// The same in the events of a stream; only members that repeat nothing.
    pub(super) streamed_output: NameSet,
    /// The usage in a response.
    pub(super) usage: &'static UsageFormat,
}

/// The body of a rejection, in the shape that the provider's SDKs read.
pub(crate) fn error_body(provider: Provider, error: ErrorParts<'_>) -> Value {
    match provider {
        Provider::OpenAi => openai::error_body(error),
        Provider::Anthropic => anthropic::error_body(error),
        Provider::Gemini => gemini::error_body(error),
    }
}

impl Dialect {
    /// The dialect of an API.
    pub(crate) const fn of(api: Api) -> &'static Self {
        match api {
            Api::Plain | Api::Models | Api::StoredObjects | Api::DirectSessions => &UNREAD,
            Api::OpenAiRealtime => &openai::REALTIME,
            Api::OpenAiChat => &openai::CHAT,
            Api::OpenAiCompletions => &openai::COMPLETIONS,
            Api::OpenAiResponses => &openai::RESPONSES,
            Api::OpenAiCountTokens => &openai::COUNT_TOKENS,
            Api::OpenAiEmbeddings => &openai::EMBEDDINGS,
            Api::OpenAiImages => &openai::IMAGES,
            Api::OpenAiAudio => &openai::AUDIO,
            Api::OpenAiModerations => &openai::MODERATIONS,
            Api::Rerank => &openai::RERANK,
            Api::AnthropicMessages => &anthropic::MESSAGES,
            Api::AnthropicCountTokens => &anthropic::COUNT_TOKENS,
            Api::GeminiGenerate => &gemini::GENERATE,
            Api::GeminiCountTokens => &gemini::COUNT_TOKENS,
            Api::GeminiEmbed => &gemini::EMBED,
        }
    }
}

impl Dialect {
    /// The tables of an API's members: its own, and vendors' additions. `None` if it has none.
    pub(super) fn member_tables(&self) -> Option<[members::MemberTable; 2]> {
        (!self.members.is_empty()).then_some([self.members, members::VENDORS])
    }
}

/// APIs whose bodies are not read.
static UNREAD: Dialect = Dialect { parameters: None, ..openai::REALTIME_BASE };

/// The request members of each provider. The scanner looks for all of them in every body, so that a member that
/// several APIs have is listed once.
pub(super) const REQUESTS: &[&RequestFormat] =
    &[&SHARED, &openai::REQUEST, &anthropic::REQUEST, &gemini::REQUEST];

/// Members of the requests of more than one provider.
const SHARED: RequestFormat = RequestFormat {
    body: &[
        ("model", Field::Model),
        ("models", Field::Models),
        ("fallbacks", Field::Fallbacks),
        ("stream", Field::Stream),
        ("max_tokens", Field::MaxTokens),
        ("tools", Field::Tools),
        ("service_tier", Field::ServiceTier),
    ],
    marks: &[
        ("id", ExternalMark::Id),
        ("url", ExternalMark::Url),
        ("type", ExternalMark::Type),
        ("file_id", ExternalMark::Stored),
    ],
    client_tools: &["custom", "computer"],
    ..RequestFormat::NONE
};

/// The members of one provider's requests.
#[derive(Debug)]
pub(super) struct RequestFormat {
    /// Members of the body.
    pub(super) body: &'static [(&'static str, Field)],
    /// Members at any depth that refer to content outside of the body.
    pub(super) marks: &'static [(&'static str, ExternalMark)],
    /// Prefixes of the types of tools that the client runs: it sends their results in a later request.
    pub(super) client_tools: &'static [&'static str],
    /// Prefixes, among these, of tool sets that the upstream explains to the model at greater length than a
    /// reservation has room for.
    pub(super) long_tools: &'static [&'static str],
    /// Members by which a tool without a type is one that the upstream runs.
    pub(super) upstream_tools: NameSet,
    /// Types of input items that stand for what the upstream stores.
    pub(super) stored_items: &'static [&'static str],
    /// Prefixes of the types of context management steps that have the conversation read once more.
    pub(super) rereading_steps: &'static [&'static str],
}

impl RequestFormat {
    const NONE: Self = Self {
        body: &[],
        marks: &[],
        client_tools: &[],
        long_tools: &[],
        upstream_tools: NameSet::NONE,
        stored_items: &[],
        rereading_steps: &[],
    };
}

/// A member that holds the maximum of output tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MaxOutputField {
    /// `max_tokens`
    Tokens,
    /// `max_completion_tokens`
    CompletionTokens,
    /// `max_output_tokens`
    OutputTokens,
    /// `max_tokens_to_sample`
    TokensToSample,
    /// `maxOutputTokens` in `generationConfig`
    Generation,
}

/// The place of the usage in a response, and the meaning of its figures.
#[derive(Debug)]
pub(super) struct UsageFormat {
    /// The member that holds the usage object.
    pub(super) member: MemberName,
    /// Members of the response, or of an event, in which the usage object may be instead.
    pub(super) wrappers: NameSet,
    /// A list in the response whose entries may hold the usage object instead.
    pub(super) listed_in: &'static str,
    /// Members of a whole response that are usage objects too.
    pub(super) document_members: NameSet,
    /// Figures in the usage object.
    pub(super) fields: FigureNames,
    /// Figures in objects within the usage object.
    pub(super) details: NameTable<UsageDetails>,
    /// Members of the usage object whose strings name the service tier; of several the later one counts.
    pub(super) tiers: NameSet,
    /// The lists of searches in a response.
    pub(super) searches: SearchLists,
    /// A list in the usage object of the passes that a call took.
    pub(super) passes: Option<PassesFormat>,
    /// The largest of the figures in the events of a message counts, which begins with a usage in a wrapper; otherwise
    /// the last one does.
    pub(super) largest_counts: bool,
    /// The types of the events that end a stream.
    pub(super) last_events: NameSet,
    /// The types of the events, and of the documents, that report a failure.
    pub(super) failed_events: NameSet,
    /// Streams end without a last event of their own.
    pub(super) ends_between_events: bool,
    /// A response may be a list of responses.
    pub(super) in_list: bool,
    /// The input figure includes what was read from and written to a cache.
    pub(super) input_includes_cache: bool,
    /// The output figure includes reasoning.
    pub(super) output_includes_reasoning: bool,
}

/// The searches that a response lists instead of counting them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SearchLists {
    /// It lists none.
    None,
    /// Entries of `output` with a type of their own (OpenAI's Responses API).
    OutputItems,
    /// Texts that were searched for, in each candidate (Gemini).
    Queries,
}

/// The names of figures.
pub(super) type FigureNames = NameTable<Figure>;

/// A list of passes, each with figures of its own.
#[derive(Debug)]
pub(super) struct PassesFormat {
    /// The member of the usage object.
    pub(super) member: &'static str,
    /// The types of passes that the figures of the usage object leave out; they are added.
    pub(super) not_included: NameSet,
}

/// One figure of a usage object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    Input,
    Output,
    Total,
    Cached,
    CacheWrite,
    /// Read from a cache, and not part of the input, whatever [`UsageFormat::input_includes_cache`] says.
    CachedApart,
    /// Written to a cache, and not part of the input.
    CacheWriteApart,
    /// The part of what was written to a cache that is kept for an hour.
    CacheWriteHour,
    /// The part that is kept for a shorter time.
    CacheWriteShort,
    Reasoning,
    ToolInput,
    /// The input that is billed, if the provider reports it beside the input that the model read.
    BilledInput,
    /// The output that is billed.
    BilledOutput,
    InputAudio,
    OutputAudio,
    /// The part of the sound that came from a cache.
    CachedAudio,
    InputImage,
    OutputImage,
    /// The part of the images that came from a cache.
    CachedImage,
    /// Searches of the provider.
    Searches,
    /// Searches in other places than the web, which are not among the others.
    OtherSearches,
    /// The length of a recording.
    Seconds,
    /// The cost in dollars.
    Cost,
    /// The cost in xAI's unit.
    CostTicks,
}

impl Figure {
    /// The number of figures.
    pub(super) const COUNT: usize = Figure::CostTicks as usize + 1;
}

/// An object or list within a usage object.
#[derive(Clone, Copy, Debug)]
pub(super) enum UsageDetails {
    /// An object with these figures.
    Figures(&'static FigureNames),
    /// A list of objects with a kind of content and its tokens. The figures are by the kind's name.
    Modalities(&'static FigureNames),
}

/// A rejection, ready to be put into an API's shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorParts<'a> {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The category of the error.
    pub(crate) kind: &'a str,
    /// The error code.
    pub(crate) code: &'a str,
    /// The parameter of the request that the error is about.
    pub(crate) param: Option<&'a str>,
    /// The sentence for people.
    pub(crate) message: &'a str,
    /// The milliseconds after which the same request may pass.
    pub(crate) retry_after: Option<u64>,
}
