//! Members of requests that add input, name other models or multiply the output, and members in no table.

use serde_json::{Value, json};

use super::*;

const COMPLETIONS: &str = "/v1/completions";
const RESPONSES: &str = "/v1/responses";
const EMBEDDINGS: &str = "/v1/embeddings";
const IMAGES: &str = "/v1/images/generations";
const SPEECH: &str = "/v1/audio/speech";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/small:generateContent";

const ALL: [&str; 8] = [CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, IMAGES, SPEECH, MESSAGES, GEMINI];

/// A gateway without `max_input_tokens`, under a budget.
fn unbounded(settings: Value) -> Rc<GatewayConfig> {
    gateway(&settings)
}

/// The same with `max_input_tokens`.
fn bounded(settings: Value) -> Rc<GatewayConfig> {
    let mut policy = policy();
    policy["targets"]["small"]["max_input_tokens"] = json!(50_000);
    let mut settings = settings;
    settings["policy"] = policy;
    gateway(&settings)
}

fn body(path: &str, name: &str, value: &Value) -> String {
    let mut body = if path == GEMINI { json!({}) } else { json!({ "model": "small" }) };
    body[name] = value.clone();
    body.to_string()
}

/// The code of a rejection; `None` for a request that is to be admitted.
fn code(gateway: &Rc<GatewayConfig>, path: &str, body: &str) -> Option<String> {
    match with_key(gateway, path, Some(body)).step {
        Action::Admit(_) => None,
        Action::Answer(answer) => {
            let error: Value = serde_json::from_str(&answer.body).unwrap();
            let reason = error["error"]["details"][0]["reason"].clone();
            Some(error["error"]["code"].as_str().or(reason.as_str()).unwrap().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_upstream_adds_by_itself_is_reserved_as_content_that_the_body_does_not_show() {
    let (unbounded, bounded) = (unbounded(json!({})), bounded(json!({})));
    for (paths, name, value) in [
        (&ALL[..3], "plugins", json!([{ "id": "web", "max_results": 10 }])),
        (&ALL[..3], "enable_search", json!(true)),
        (&ALL[..3], "search_parameters", json!({ "mode": "on" })),
        (&ALL[..1], "web_search_options", json!({})),
        (&ALL[..1], "Enable_Search", json!(true)),
        (&[CHAT], "search_options", json!({ "forced_search": true })),
        (&[CHAT], "enable_code_interpreter", json!(true)),
        (&[CHAT], "search_domain_filter", json!(["example.com"])),
        (&[CHAT], "search_recency_filter", json!("day")),
        (&[CHAT], "return_related_questions", json!(true)),
        (&[CHAT], "connectors", json!([{ "id": "web-search" }])),
        (&[CHAT], "documents", json!(["text"])),
        (&[CHAT], "conversation_id", json!("c1")),
        (&[CHAT], "agent_id", json!("ag_1")),
        (&[CHAT], "retrieval", json!({ "id": "kb" })),
        (&[CHAT], "knowledge", json!([1])),
        (&[CHAT], "context_id", json!("ctx-1")),
        (&[CHAT], "compound_custom", json!({ "tools": { "enabled_tools": ["web_search"] } })),
        (&[CHAT], "chat_template", json!("{% for i in range(9) %}x{% endfor %}")),
        (&[CHAT], "prompt_id", json!("p1")),
        (&[CHAT], "enhancements", json!({ "grounding": { "enabled": true } })),
        (&[MESSAGES, CHAT], "extra_body", json!({ "enable_search": true })),
        (&[MESSAGES], "container", json!({ "skills": [{ "skill_id": "pptx", "type": "anthropic" }] })),
        (&[MESSAGES], "thread", json!({ "type": "continue", "previous_message_id": "msg_1" })),
        (&[MESSAGES], "compaction", json!({ "type": "summarize" })),
        (&[MESSAGES, GEMINI], "enable_search", json!(1)),
        (&[GEMINI], "generationConfig", json!({ "routingConfig": { "autoMode": {} } })),
        (&[CHAT, RESPONSES], "tools", json!(["web_search"])),
        (&[CHAT], "messages", json!([{ "role": "system", "content": "fileid://file-fe-1" }])),
        (
            &[CHAT],
            "messages",
            json!([{ "content": [{ "type": "document_url", "document_url": "https://example.com/a.pdf" }] }]),
        ),
        (
            &[CHAT],
            "messages",
            json!([{ "content": [{ "type": "input_audio", "input_audio": { "data": "https://example.com/a.mp3" } }] }]),
        ),
        (
            &[CHAT],
            "messages",
            json!([{ "content": [{ "type": "video", "video": ["https://example.com/1.png"] }] }]),
        ),
        (&[CHAT], "mm_processor_kwargs", json!({ "max_pixels": 100_000_000 })),
        (&[CHAT], "media_io_kwargs", json!({ "video": { "num_frames": 9_000 } })),
        (&[EMBEDDINGS], "input", json!([{ "text": "x" }, { "image": "https://example.com/1.png" }])),
        (&[EMBEDDINGS], "input", json!([{ "pdf": "https://example.com/1.pdf" }])),
        (&[IMAGES], "image", json!("https://example.com/1.png")),
        (&[IMAGES], "image", json!({ "url": "https://example.com/1.png" })),
        (&[IMAGES], "images", json!(["data:image/png;base64,AA", "https://example.com/1.png"])),
        (&["/v1/audio/transcriptions"], "url", json!("https://example.com/a.mp3")),
        (&[CHAT], "fallbacks", json!([{ "model": "small", "enable_search": true }])),
        (
            &[MESSAGES],
            "fallbacks",
            json!([{ "model": "small", "tools": [{ "type": "web_search_20250305" }] }]),
        ),
        // Letters that Go's `encoding/json` takes for others, and a name that some servers end at a NUL.
        (&[CHAT], "enable_\u{17f}earch", json!(true)),
        (&[CHAT], "plugins\u{0}x", json!([1])),
    ] {
        for path in paths {
            let body = body(path, name, &value);
            assert_eq!(code(&unbounded, path, &body).as_deref(), Some("unbounded_cost"), "{path} {body}");
            let reservation = with_key(&bounded, path, Some(&body)).charges().reservation;
            assert_eq!(reservation.input_tokens, 50_000, "{path} {body}");
        }
    }
}

#[test]
fn a_part_of_a_form_that_stands_for_a_recording_is_reserved_as_hidden_content() {
    let bearer = format!("Bearer {KEY}");
    let head = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=b")];
    for name in ["url", "file_url", "file_id"] {
        let part = |name: &str, value: &str| {
            format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = part("model", "small") + &part(name, "https://example.com/a.mp3") + "--b--\r\n";
        let decided = decide(&unbounded(json!({})), "/v1/audio/transcriptions", &head, Some(&body));
        assert!(refusal(&decided).contains("unbounded_cost"), "{name}");
    }
}

#[test]
fn a_form_for_an_api_without_forms_has_no_part_that_counts() {
    let bearer = format!("Bearer {KEY}");
    let head = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=b")];
    let part = |name: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let decided = |path: &str, name: &str| {
        let body = part("model", "small") + &part(name, "100000") + "--b--\r\n";
        decide(&unbounded(json!({})), path, &head, Some(&body))
    };
    for name in ["max_tokens", "Max_Tokens", "tools", "previous_response_id", "fallbacks[]"] {
        assert!(refusal(&decided(COMPLETIONS, name)).contains("invalid_body"), "{name}");
    }
    decided(COMPLETIONS, "prompt").charges();
    decided("/v1/images/edits", "background").charges();
    decided("/v1/audio/transcriptions", "max_completion_tokens").charges();
}

#[test]
fn a_member_that_is_turned_off_adds_nothing() {
    let gateway = unbounded(json!({}));
    for (name, value) in [
        ("plugins", json!([])),
        ("plugins", json!(null)),
        ("enable_search", json!(false)),
        ("search_parameters", json!({})),
        ("search_domain_filter", json!([])),
        ("conversation_id", json!("")),
        ("return_images", json!(false)),
        ("knowledge_base_id", json!(0)),
        ("disable_search", json!(true)),
        ("tools", json!([])),
        ("metadata", json!({ "plugins": [{ "id": "web" }], "enable_search": true, "model": "large" })),
        (
            "messages",
            json!([{ "role": "user", "content": "what is a fileid:// link? enable_search", "enable_search": true }]),
        ),
        (
            "response_format",
            json!({ "json_schema": { "schema": { "properties": { "plugins": {}, "models": ["large"] } } } }),
        ),
    ] {
        let body = body(CHAT, name, &value);
        assert_eq!(code(&gateway, CHAT, &body), None, "{body}");
    }
}

#[test]
fn every_other_model_that_a_member_names_must_be_allowed() {
    let gateway = bounded(json!({}));
    for (path, name, value) in [
        (CHAT, "models", json!(["NAME"])),
        (CHAT, "fallbacks", json!(["NAME"])),
        (CHAT, "fallbacks", json!([{ "model": "NAME", "messages": [] }])),
        (MESSAGES, "fallbacks", json!([{ "model": "small", "fallbacks": [{ "model": "NAME" }] }])),
        (MESSAGES, "fallbacks", json!([{ "model": "small", "params": { "models": ["NAME"] } }])),
        (CHAT, "fallbacks", json!([{ "model": "small", "fallbacks": ["NAME"] }])),
        (CHAT, "fallback_models", json!(["NAME"])),
        (CHAT, "fallback_models", json!("NAME")),
        (CHAT, "context_window_fallbacks", json!([{ "small": ["NAME"] }])),
        (CHAT, "content_policy_fallbacks", json!([{ "small": ["small", "NAME"] }])),
        (CHAT, "preset", json!("NAME")),
        (CHAT, "engine", json!("NAME")),
        (CHAT, "deployment_id", json!("NAME")),
        (CHAT, "lora_path", json!("NAME")),
        (CHAT, "plugins", json!([{ "id": "auto-router", "allowed_models": ["NAME"] }])),
        (CHAT, "plugins", json!([{ "id": "fusion", "Model": "NAME" }])),
        (CHAT, "compound_custom", json!({ "models": { "answering_model": "NAME" } })),
        (CHAT, "providerOptions", json!({ "gateway": { "models": ["NAME"] } })),
        (CHAT, "extra_body", json!({ "model": "NAME" })),
        (CHAT, "tools", json!([{ "type": "image_generation", "model": "NAME" }])),
        (IMAGES, "svg", json!({ "model": "NAME" })),
        (GEMINI, "generationConfig", json!({ "routingConfig": { "manualMode": { "modelName": "NAME" } } })),
    ] {
        let body = |model: &str| {
            body(path, name, &serde_json::from_str(&value.to_string().replace("NAME", model)).unwrap())
        };
        for forbidden in ["large", "nowhere"] {
            let body = body(forbidden);
            assert_eq!(code(&gateway, path, &body).as_deref(), Some("target_not_allowed"), "{body}");
        }
        assert_eq!(code(&gateway, path, &body("small")), None, "{name} {value}");
    }
    for malformed in [r#"{"model":"small","preset":7}"#, r#"{"model":"small","preset":"a\u0000"}"#] {
        assert_eq!(code(&gateway, CHAT, malformed).as_deref(), Some("invalid_body"), "{malformed}");
    }
    let far = format!(r#"{{"model":"small","fallback_models":[{}"x"]}}"#, r#""small","#.repeat(32));
    assert_eq!(code(&gateway, CHAT, &far).as_deref(), Some("invalid_body"));
}

#[test]
fn members_that_ask_for_more_output_raise_the_reservation() {
    let gateway = bounded(json!({}));
    let output = |path: &str, members: Value| {
        let mut body = json!({ "model": "small" });
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let reservation = with_key(&gateway, path, Some(&body.to_string())).charges().reservation;
        reservation.tokens - reservation.input_tokens
    };
    for name in ["n", "best_of", "num_return_sequences", "num_generations", "candidateCount", "num_outputs"] {
        assert_eq!(output(COMPLETIONS, json!({ "max_tokens": 10, name: 7 })), 70, "{name}");
    }
    assert_eq!(output(CHAT, json!({ "max_tokens": 10, "n": 2, "num_return_sequences": 5 })), 50);
    for name in ["max_new_tokens", "tokens_to_generate", "num_predict"] {
        assert_eq!(output(CHAT, json!({ "max_tokens": 10, name: 900 })), 900, "{name}");
        assert_eq!(output(CHAT, json!({ "max_tokens": 1000, name: 9 })), 1_000, "{name}");
        assert_eq!(output(CHAT, json!({ name: 9_000 })), 9_000, "{name}");
    }
    let prediction = json!({ "type": "content", "content": "x".repeat(5_000) });
    let predicted = output(CHAT, json!({ "max_tokens": 10, "prediction": prediction }));
    assert!((5_010..5_100).contains(&predicted), "{predicted}");
    assert_eq!(output(IMAGES, json!({ "frame_count": 16, "n": 2 })), 2 * 16 * 6_240);
    assert_eq!(output(IMAGES, json!({ "sequential_image_generation": "auto" })), 15 * 6_240);
    assert_eq!(output(IMAGES, json!({ "sequential_image_generation": "disabled" })), 6_240);
    let merged = json!({ "max_tokens": 9_000, "n": 3 });
    assert_eq!(output(CHAT, json!({ "max_tokens": 10, "extra_body": merged })), 3 * 9_000);
    // A server reads one of several spellings.
    for (name, other) in [("frame_count", "Frame_Count"), ("Frame_Count", "frame_count")] {
        assert_eq!(output(IMAGES, json!({ name: 16, other: 1 })), 16 * 6_240, "{name}");
    }
    let prediction = json!({ "type": "content", "content": "x".repeat(5_000) });
    let twice = output(CHAT, json!({ "max_tokens": 10, "prediction": prediction, "predictioN": 1 }));
    assert!((5_010..5_100).contains(&twice), "{twice}");
    let twice = output(CHAT, json!({ "max_tokens": 10, "Prediction": prediction, "prediction": 1 }));
    assert!((5_010..5_100).contains(&twice), "{twice}");
    for malformed in [json!("7"), json!(1.5), json!([7]), json!(-1)] {
        let body = body(CHAT, "num_return_sequences", &malformed);
        let refused = code(&gateway, CHAT, &body);
        assert!(malformed.is_array() || refused.as_deref() == Some("invalid_body"), "{body} {refused:?}");
    }
}

#[test]
fn a_member_in_no_table_is_treated_as_the_configuration_says() {
    let unknown = r#"{"model":"small","max_tokens":1,"x_next_year":{"search":true},"messages":[]}"#;
    assert_eq!(code(&unbounded(json!({})), CHAT, unknown), None);
    assert_eq!(code(&unbounded(json!({ "unknown_members": "allow" })), CHAT, unknown), None);

    let reserving = json!({ "unknown_members": "reserve" });
    assert_eq!(code(&unbounded(reserving.clone()), CHAT, unknown).as_deref(), Some("unbounded_cost"));
    let charges = with_key(&bounded(reserving), CHAT, Some(unknown)).charges().reservation;
    assert_eq!(charges.input_tokens, 50_000);

    let denying = bounded(json!({ "unknown_members": "deny" }));
    for path in ALL.into_iter().filter(|path| *path != GEMINI) {
        let Action::Answer(answer) = with_key(&denying, path, Some(unknown)).step else { panic!("{path}") };
        assert_eq!(answer.status, 400);
        let error: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["param"]),
            (&json!("unknown_member"), &json!("x_next_year"))
        );
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("`x_next_year`") && message.contains("Remove it"), "{message}");
    }
    for (path, body) in [
        (GEMINI, r#"{"contents":[],"x_next_year":1}"#),
        (GEMINI, r#"{"generationConfig":{"temperature":1,"x_next_year":1}}"#),
        (CHAT, r#"{"model":"small","x_next_year":null}"#),
        (CHAT, r#"{"model":"small","":1}"#),
        (
            CHAT,
            r#"{"model":"small","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":1}"#,
        ),
        // Members of another API.
        (EMBEDDINGS, r#"{"model":"small","stop_reason_filter":1}"#),
        (MESSAGES, r#"{"model":"small","messages":[],"logit_bias":{}}"#),
    ] {
        assert_eq!(code(&denying, path, body).as_deref(), Some("unknown_member"), "{path} {body}");
    }
    // Only members of the body are looked up.
    let nested = r#"{"model":"small","messages":[{"x_next_year":1}],"metadata":{"x_next_year":1},"stream_options":{"x":1}}"#;
    assert_eq!(code(&denying, CHAT, nested), None);
}

#[test]
fn parts_of_a_form_are_looked_up_too() {
    let denying = bounded(json!({ "unknown_members": "deny" }));
    let bearer = format!("Bearer {KEY}");
    let fields = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=b")];
    let sent = |name: &str| {
        let part = |name: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let form = part("model", "small") + &part(name, "1") + "--b--\r\n";
        match decide(&denying, "/v1/audio/transcriptions", &fields, Some(&form)).step {
            Action::Admit(_) => "admitted".to_owned(),
            Action::Answer(answer) => answer.body,
            other => panic!("{other:?}"),
        }
    };
    for known in
        ["language", "timestamp_granularities[]", "chunking_strategy[type]", "include[]", "temperature"]
    {
        assert_eq!(sent(known), "admitted", "{known}");
    }
    assert!(sent("x_next_year").contains("unknown_member"));
    assert!(sent("preset").contains("invalid_body"), "a part's value is not read");
}

/// Members of the providers' API references.
const KNOWN: &[(&str, &str)] = &[
    (
        CHAT,
        "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages metadata modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options top_k min_p repetition_penalty guided_json chat_template_kwargs route provider plugins transforms enable_thinking random_seed safe_prompt search_parameters reasoning thinking documents fallbacks models",
    ),
    (
        COMPLETIONS,
        "best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty prompt seed stop stream stream_options suffix temperature top_p user",
    ),
    (
        RESPONSES,
        "access_programs background background_options context_management conversation image include input instructions max_output_tokens max_tool_calls metadata moderation parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options temperature text tool_choice tools top_logprobs top_p truncation user",
    ),
    (
        EMBEDDINGS,
        "dimensions encoding_format input user input_type truncation output_dimension output_dtype embedding_types",
    ),
    (
        IMAGES,
        "background complexity frame_count frame_duration_ms moderation n output_compression output_format partial_images prompt quality response_format safety_identifier size style svg user stream image mask markup input_fidelity",
    ),
    (SPEECH, "input instructions response_format speed stream_format voice"),
    (
        MESSAGES,
        "betas billing_policy cache_control compaction container context_management diagnostics fallback_credit_token fallbacks inference_geo max_tokens mcp_servers messages metadata output_config service_tier speed stop_sequences stream system temperature thinking thread tool_choice tools top_k top_p user_profile_id workspace_id",
    ),
    (
        GEMINI,
        "contents systemInstruction system_instruction tools toolConfig tool_config safetySettings generationConfig generation_config cachedContent labels",
    ),
];

#[test]
fn every_member_of_an_api_reference_is_in_its_table() {
    let denying = bounded(json!({ "unknown_members": "deny" }));
    for (path, names) in KNOWN {
        for name in names.split(' ') {
            let body = body(path, name, &json!(null));
            let code = code(&denying, path, &body);
            assert_ne!(code.as_deref(), Some("unknown_member"), "{path} {name}");
        }
    }
    let inner = "stopSequences responseMimeType responseSchema responseModalities candidateCount maxOutputTokens temperature \
        topP topK seed presencePenalty frequencyPenalty responseLogprobs logprobs thinkingConfig mediaResolution \
        speechConfig imageConfig routingConfig top_k";
    for name in inner.split_whitespace() {
        let body = json!({ "generationConfig": { name: null } }).to_string();
        assert_eq!(code(&denying, GEMINI, &body), None, "{name}");
    }
}
