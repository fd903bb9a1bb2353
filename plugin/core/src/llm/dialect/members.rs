//! The members of each API's requests: one table per API, and one of vendors' additions that any of them may have.
//!
//! A table lists every member that the API reference has, also those without an effect on access or cost. A member in
//! no table is unknown, and the gateway's `unknown_members` decides about it.
//!
//! Sources: the API references of OpenAI, Anthropic, Gemini and Azure, and, for the additions, those of vLLM, SGLang, OpenRouter,
//! DashScope, xAI, Perplexity, Mistral, Cohere, Groq, Volcengine, MiniMax, Zhipu, Together, Fireworks and LiteLLM's proxy.

/// The effect of a member of a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::llm) enum Member {
    /// No effect, or one that the scanner reads by itself.
    #[default]
    Plain,
    /// The upstream reads content that the body does not show, unless the value is null, false, 0 or empty. Names of models
    /// inside are names of other models.
    Hidden,
    /// Another model that may answer, or a stored configuration that may choose one: each string is a name.
    Models,
    /// The number of answers.
    Choices,
    /// A number of frames, each as large as an answer.
    Frames,
    /// Volcengine's series of images, up to [`SERIES`] unless it is `disabled`.
    Series,
    /// Another spelling of the maximum of output tokens: it can only raise the reservation.
    MaxOutput,
    /// Text that the model may reject, which is then charged as output.
    Predicted,
    /// The answer is fetched in another call, which is not metered.
    Deferred,
}

use Member::{Choices, Deferred, Frames, Hidden, MaxOutput, Models, Plain, Predicted, Series};

/// The most images of a series (Volcengine's API reference, "Image generation").
pub(in crate::llm) const SERIES: u64 = 15;

/// A table of members.
pub(in crate::llm) type MemberTable = &'static [(&'static str, Member)];

/// The names of plain members, with the others.
macro_rules! members {
    ($($plain:literal)* $(; $($name:literal: $member:expr),* $(,)?)?) => {
        &[$(($plain, Plain),)* $($(($name, $member),)*)?]
    };
}

/// `/v1/chat/completions`
pub(super) const CHAT: MemberTable = members![
    "messages" "model" "models" "fallbacks" "stream" "stream_options" "max_tokens" "max_completion_tokens" "n" "best_of"
    "tools" "tool_choice" "functions" "function_call" "parallel_tool_calls" "web_search_options" "audio" "modalities"
    "frequency_penalty" "presence_penalty" "logit_bias" "logprobs" "top_logprobs" "temperature" "top_p" "seed" "stop"
    "reasoning_effort" "verbosity" "response_format" "moderation" "prompt_cache_key" "prompt_cache_options"
    "prompt_cache_retention" "data_sources" "prompt" "suffix";
    "prediction": Predicted, "enhancements": Hidden,
];

/// `/v1/completions`
pub(super) const COMPLETIONS: MemberTable = members![
    "prompt" "model" "models" "fallbacks" "stream" "stream_options" "max_tokens" "n" "best_of" "echo" "suffix"
    "frequency_penalty" "presence_penalty" "logit_bias" "logprobs" "temperature" "top_p" "seed" "stop" "messages"
];

/// `/v1/responses`
pub(super) const RESPONSES: MemberTable = members![
    "input" "instructions" "model" "models" "fallbacks" "stream" "stream_options" "max_output_tokens" "max_tool_calls"
    "tools" "tool_choice" "parallel_tool_calls" "previous_response_id" "conversation" "prompt" "context_management"
    "background" "background_options" "include" "image" "modalities" "moderation" "access_programs" "prompt_cache_key"
    "prompt_cache_options" "prompt_cache_retention" "reasoning" "temperature" "text" "top_logprobs" "top_p" "truncation"
    "verbosity" "n"
];

/// `/v1/embeddings`, with the members of Voyage, Jina, Cohere and Mistral.
pub(super) const EMBEDDINGS: MemberTable = members![
    "input" "inputs" "model" "models" "dimensions" "encoding_format" "input_type" "texts" "images" "truncate"
    "truncation" "embedding_types" "embedding_type" "output_dimension" "output_dtype" "task" "late_chunking" "normalized"
    "return_multivector" "messages" "prompt" "instruction" "max_tokens"
];

/// `/v1/images/*`, with the members of xAI, Together and Volcengine.
pub(super) const IMAGES: MemberTable = members![
    "prompt" "model" "n" "size" "quality" "style" "background" "moderation" "response_format" "output_format"
    "output_compression" "partial_images" "stream" "complexity" "frame_duration_ms" "image" "images" "mask" "markup"
    "input_fidelity" "aspect_ratio" "resolution" "negative_prompt" "width" "height" "steps" "num_inference_steps"
    "guidance_scale" "watermark" "sequential_image_generation_options";
    "frame_count": Frames, "svg": Models, "sequential_image_generation": Series,
];

/// `/v1/audio/*`
pub(super) const AUDIO: MemberTable = members![
    "input" "file" "model" "voice" "instructions" "prompt" "speed" "stream" "stream_format" "response_format" "language"
    "languages" "keywords" "temperature" "timestamp_granularities" "chunking_strategy" "include" "known_speaker_names"
    "known_speaker_references" "sample_rate" "modalities" "max_completion_tokens" "to_language" "hotwords";
    // A recording that the body does not hold: Groq, Mistral.
    "url": Hidden, "file_url": Hidden, "file_id": Hidden,
];

/// `/v1/moderations`
pub(super) const MODERATIONS: MemberTable = members!["input" "model"];

/// `/v1/rerank`, as Cohere, Voyage and Jina define it.
pub(super) const RERANK: MemberTable = members![
    "query" "documents" "model" "top_n" "top_k" "return_documents" "rank_fields" "max_chunks_per_doc"
    "max_tokens_per_doc" "relevant_spans" "truncation" "return_embeddings" "max_doc_length" "max_query_length"
];

/// `/v1/messages`
pub(super) const MESSAGES: MemberTable = members![
    "messages" "model" "system" "max_tokens" "max_tokens_to_sample" "stream" "tools" "tool_choice" "mcp_servers"
    "context_management" "fallbacks" "cache_control" "diagnostics" "inference_geo" "output_config" "output_format" "speed"
    "stop_sequences" "temperature" "thinking" "top_k" "top_p" "prompt" "user_profile_id" "workspace_id" "billing_policy"
    "fallback_credit_token" "betas" "anthropic_version" "anthropic_beta";
    "container": Hidden, "thread": Hidden, "compaction": Hidden,
];

/// `:generateContent`, `:countTokens`, `:embedContent` and `:batchEmbedContents`. Protobuf's JSON reads both spellings of a name as one field.
pub(super) const GEMINI: MemberTable = members![
    "contents" "model" "systemInstruction" "system_instruction" "tools" "toolConfig" "tool_config" "safetySettings"
    "safety_settings" "generationConfig" "generation_config" "cachedContent" "cached_content" "labels"
    "modelArmorConfig" "model_armor_config" "serviceTier" "service_tier" "store" "generateContentRequest"
    "generate_content_request" "content" "taskType" "task_type" "title" "outputDimensionality" "output_dimensionality"
    "embedContentConfig" "embed_content_config" "requests"
];

/// Members of Gemini's `generationConfig`.
pub(in crate::llm) const GENERATION_CONFIG: MemberTable = members![
    "maxOutputTokens" "max_output_tokens" "candidateCount" "candidate_count" "stopSequences" "stop_sequences"
    "responseMimeType" "response_mime_type" "responseSchema" "response_schema" "responseJsonSchema"
    "response_json_schema" "_responseJsonSchema" "responseFormat" "response_format" "responseModalities"
    "response_modalities" "temperature" "topP" "top_p" "topK" "top_k" "seed" "presencePenalty" "presence_penalty"
    "frequencyPenalty" "frequency_penalty" "responseLogprobs" "response_logprobs" "logprobs" "enableEnhancedCivicAnswers"
    "enable_enhanced_civic_answers" "enableAffectiveDialog" "enable_affective_dialog" "speechConfig" "speech_config"
    "thinkingConfig" "thinking_config" "imageConfig" "image_config" "mediaResolution" "media_resolution"
    "audioTimestamp" "audio_timestamp" "modelSelectionConfig" "model_selection_config" "modelConfig" "model_config";
    "routingConfig": Hidden, "routing_config": Hidden,
];

/// Additions of vendors, and members of several APIs.
pub(super) const VENDORS: MemberTable = members![
    "user" "metadata" "safety_identifier" "service_tier" "store" "extra_headers" "extra_query"
    // vLLM, SGLang and other servers of open models
    "top_k" "min_p" "top_a" "typical_p" "min_tokens" "repetition_penalty" "length_penalty" "early_stopping"
    "use_beam_search" "stop_token_ids" "include_stop_str_in_output" "ignore_eos" "skip_special_tokens"
    "spaces_between_special_tokens" "truncate_prompt_tokens" "prompt_logprobs" "top_prompt_logprobs"
    "allowed_token_ids" "bad_words" "echo" "add_generation_prompt" "continue_final_message" "add_special_tokens"
    "chat_template_kwargs" "guided_json" "guided_regex" "guided_choice"
    "guided_grammar" "guided_decoding_backend" "guided_whitespace_pattern" "structured_outputs" "structural_tag" "regex"
    "json_schema" "ebnf" "priority" "request_id" "return_tokens_as_token_ids" "return_token_ids" "cache_salt"
    "kv_transfer_params" "vllm_xargs" "logits_processors" "prompt_embeds" "data_parallel_rank" "nvext" "rid"
    "separate_reasoning" "stream_reasoning" "include_reasoning" "return_hidden_states" "no_stop_trim"
    // OpenRouter
    "route" "provider" "transforms" "reasoning" "usage" "session_id" "trace" "debug" "image_config" "cache_control"
    "max_price" "stop_server_tools_when" "verbosity"
    // DashScope
    "enable_thinking" "thinking_budget" "preserve_thinking" "vl_high_resolution_images" "incremental_output"
    "result_format" "translation_options" "asr_options"
    // Mistral, Cohere, Zhipu, Moonshot, Volcengine
    "random_seed" "safe_prompt" "prompt_mode" "guardrails" "document_image_limit" "document_page_limit" "thinking" "caching"
    "message" "preamble" "chat_history" "tool_results" "citation_options" "citation_quality" "safety_mode" "strict_tools"
    "prompt_truncation" "max_input_tokens" "k" "p" "raw_prompting" "force_single_step" "search_queries_only"
    "stop_sequences" "end_sequences" "return_likelihoods" "do_sample" "user_id" "tool_stream" "partial_mode"
    // Groq, Together, Fireworks, Azure
    "reasoning_format" "reasoning_effort" "disable_tool_validation" "context_length_exceeded_behavior"
    "prompt_truncate_len" "raw_output" "perf_metrics_in_response" "mirostat_target" "mirostat_lr" "mirostat_tau"
    "mirostat_eta" "mirostat" "tfs_z" "speculation" "prompt_cache_isolation_key" "user_security_context"
    // Perplexity
    "disable_search" "stream_mode" "language_preference"
    // LiteLLM's proxy
    "tags" "timeout" "request_timeout" "num_retries" "max_retries" "mock_response" "mock_testing_fallbacks"
    "disable_fallbacks" "allowed_openai_params" "drop_params" "cache" "no-log" "litellm_session_id" "litellm_trace_id";
    // Search, retrieval and agents of the upstream
    "web_search_options": Hidden, "plugins": Hidden, "enable_search": Hidden, "search_options": Hidden,
    "enable_code_interpreter": Hidden, "search_parameters": Hidden, "search_settings": Hidden, "search_mode": Hidden,
    "search_type": Hidden, "search_domain_filter": Hidden, "search_recency_filter": Hidden,
    "search_language_filter": Hidden, "search_after_date_filter": Hidden, "search_before_date_filter": Hidden,
    "last_updated_after_filter": Hidden, "last_updated_before_filter": Hidden, "search_context_size": Hidden,
    "enable_search_classifier": Hidden, "return_images": Hidden, "return_related_questions": Hidden,
    "return_citations": Hidden, "image_domain_filter": Hidden, "image_format_filter": Hidden, "media_response": Hidden,
    "include_domains": Hidden, "exclude_domains": Hidden, "web_search": Hidden, "online": Hidden,
    "connectors": Hidden, "documents": Hidden, "conversation_id": Hidden, "retrieval": Hidden, "knowledge": Hidden,
    "knowledge_base": Hidden, "knowledge_base_id": Hidden, "knowledge_id": Hidden, "rag": Hidden, "file_ids": Hidden,
    "agent_id": Hidden, "agent": Hidden, "agent_version": Hidden, "assistant_id": Hidden, "bot_id": Hidden,
    "bot_setting": Hidden, "thread_id": Hidden, "session": Hidden, "context_id": Hidden, "context": Hidden,
    "memory": Hidden, "memory_id": Hidden, "skills": Hidden, "compound_custom": Hidden,
    "mcp_servers": Hidden, "integrations": Hidden,
    // Prompts and parameters that the body does not show
    // vLLM: the tokens of an image and the frames of a video.
    "mm_processor_kwargs": Hidden, "media_io_kwargs": Hidden,
    "chat_template": Hidden, "prompt_id": Hidden, "prompt_variables": Hidden, "prompt_template": Hidden,
    "extra_body": Hidden, "user_config": Hidden, "router_settings": Hidden, "model_list": Hidden,
    "litellm_params": Hidden, "completion": Hidden, "routing_groups": Hidden,
    "providerOptions": Hidden, "provider_options": Hidden,
    // Other models
    "preset": Models, "fallback_models": Models, "fallback_model": Models, "context_window_fallbacks": Models,
    "context_window_fallback_dict": Models, "content_policy_fallbacks": Models, "default_fallbacks": Models,
    "model_id": Models, "modelId": Models, "model_name": Models, "engine": Models, "deployment": Models,
    "deployment_id": Models, "silent_model": Models, "model_group": Models, "fallback_model_group": Models,
    "base_model": Models, "target_model_names": Models, "lora_path": Models, "draft_model": Models, "safety_model": Models,
    // Answers and their length
    "num_return_sequences": Choices, "num_generations": Choices, "num_images": Choices, "num_outputs": Choices,
    "number_of_images": Choices, "numberOfImages": Choices, "sample_count": Choices, "sampleCount": Choices,
    "candidate_count": Choices, "candidateCount": Choices, "beam_width": Choices, "max_images": Choices,
    "max_new_tokens": MaxOutput, "max_length": MaxOutput, "max_gen_len": MaxOutput, "tokens_to_generate": MaxOutput,
    "num_predict": MaxOutput, "maxTokens": MaxOutput, "maxOutputTokens": MaxOutput,
    "deferred": Deferred,
];

/// Returns the name in a table, and its effect. Letters of another case name the same member to some servers.
pub(in crate::llm) fn find(tables: [MemberTable; 2], name: &str) -> Option<(&'static str, Member)> {
    let mut all = tables.into_iter().flatten();
    let found =
        all.find(|(known, _)| crate::text::ascii::same_but_for_case(known.as_bytes(), name.as_bytes()))?;
    Some(*found)
}

/// Returns true for a member that names a model inside an object of a vendor's.
pub(in crate::llm) fn names_model(name: &str) -> bool {
    const NAMES: [&str; 19] = [
        "model",
        "models",
        "model_id",
        "modelid",
        "model_name",
        "modelname",
        "answering_model",
        "reasoning_model",
        "allowed_models",
        "fallback_model",
        "fallback_models",
        "fallbacks",
        "preset",
        "deployment",
        "silent_model",
        "model_group",
        "fallback_model_group",
        "base_model",
        "target_model_names",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_has_a_member_twice() {
        for table in [
            CHAT,
            COMPLETIONS,
            RESPONSES,
            EMBEDDINGS,
            IMAGES,
            AUDIO,
            MODERATIONS,
            RERANK,
            MESSAGES,
            GEMINI,
            GENERATION_CONFIG,
            VENDORS,
        ] {
            for (position, (name, _)) in table.iter().enumerate() {
                let again = table.iter().skip(position + 1).find(|(other, _)| other == name);
                // Letters of another case are the same member.
                assert!(again.is_none(), "{name}");
            }
        }
    }

    #[test]
    fn every_member_of_an_api_has_its_effect_before_those_of_vendors() {
        assert_eq!(find([IMAGES, VENDORS], "frame_count"), Some(("frame_count", Frames)));
        assert_eq!(find([CHAT, VENDORS], "web_search_options"), Some(("web_search_options", Plain)));
        assert_eq!(find([COMPLETIONS, VENDORS], "Plugins"), Some(("plugins", Hidden)));
        assert_eq!(find([MESSAGES, VENDORS], "frame_count"), None);
    }
}
