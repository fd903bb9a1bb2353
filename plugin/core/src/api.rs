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
    /// `openai-embeddings`: `/v1/embeddings`
    OpenAiEmbeddings,
    /// `openai-images`: `/v1/images/*`
    OpenAiImages,
    /// `openai-audio`: `/v1/audio/*`
    OpenAiAudio,
    /// `anthropic-messages`: `/v1/messages`
    AnthropicMessages,
    /// `gemini-generate`: `/v1beta/models/{model}:generateContent` and `:streamGenerateContent`
    GeminiGenerate,
    /// `models`: the model list, which the filter itself responds with.
    Models,
}
