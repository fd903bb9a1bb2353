//! The provider APIs that the filter supports.

/// A provider API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Api {
    /// `plain`: bodies of an unknown format.
    #[default]
    Plain,
    /// `openai-chat`: `/v1/chat/completions`
    OpenAiChat,
    /// `openai-completions`: `/v1/completions`
    OpenAiCompletions,
    /// `openai-responses`: `/v1/responses`
    OpenAiResponses,
    /// `openai-count-tokens`: `/v1/responses/input_tokens`
    OpenAiCountTokens,
    /// `openai-embeddings`: `/v1/embeddings`
    OpenAiEmbeddings,
    /// `openai-images`: `/v1/images/*`
    OpenAiImages,
    /// `openai-audio`: `/v1/audio/*`
    OpenAiAudio,
    /// `openai-moderations`: `/v1/moderations`
    OpenAiModerations,
    /// `openai-realtime`: `/v1/realtime`, a WebSocket.
    OpenAiRealtime,
    /// `anthropic-messages`: `/v1/messages`
    AnthropicMessages,
    /// `anthropic-count-tokens`: `/v1/messages/count_tokens`
    AnthropicCountTokens,
    /// `gemini-generate`: `/v1beta/models/{model}:generateContent` and `:streamGenerateContent`
    GeminiGenerate,
    /// `gemini-count-tokens`: `/v1beta/models/{model}:countTokens`
    GeminiCountTokens,
    /// `gemini-embed`: `/v1beta/models/{model}:embedContent` and `:batchEmbedContents`
    GeminiEmbed,
    /// `rerank`: `/v1/rerank` and `/v2/rerank` of Cohere, Jina and Voyage.
    Rerank,
    /// `models`: the model list, which the filter itself responds with.
    Models,
    /// `stored-objects`: files, batches, conversations and other objects of an account at the provider. The filter
    /// rejects every request: all teams share that account.
    StoredObjects,
    /// `direct-sessions`: credentials of the provider, and connections that do not pass through the gateway. The filter
    /// rejects every request.
    DirectSessions,
}

/// A provider, whose shapes of errors and lists the SDKs of its APIs read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// OpenAI, and every provider with the same shapes.
    #[default]
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
}

impl Api {
    /// The provider that defines the API; `None`: several have it, and the request shows which one the client means.
    pub fn provider(self) -> Option<Provider> {
        match self {
            Api::OpenAiChat
            | Api::OpenAiCompletions
            | Api::OpenAiResponses
            | Api::OpenAiCountTokens
            | Api::OpenAiEmbeddings
            | Api::OpenAiImages
            | Api::OpenAiAudio
            | Api::OpenAiModerations
            | Api::OpenAiRealtime
            | Api::Rerank => Some(Provider::OpenAi),
            Api::AnthropicMessages | Api::AnthropicCountTokens => Some(Provider::Anthropic),
            Api::GeminiGenerate | Api::GeminiCountTokens | Api::GeminiEmbed => Some(Provider::Gemini),
            Api::Plain | Api::Models | Api::StoredObjects | Api::DirectSessions => None,
        }
    }
}
