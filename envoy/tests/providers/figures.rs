//! Usage figures as providers write them.

use serde_json::{Value, json};

use crate::cases::{Case, case, chat};

/// Creates a chat that is answered with this usage.
fn reports(name: &'static str, usage: Value) -> Case {
    chat(name, json!({})).json(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": name,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "The Rhine."}, "finish_reason": "stop"}],
        "usage": usage,
    }))
}

/// Creates a streamed chat with one chunk of text for each of these usages; `null` is written too.
fn streams(name: &'static str, usages: &[Value]) -> Case {
    let chunk = |usage: &Value| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": name, "usage": usage,
            "choices": [{"index": 0, "delta": {"content": "water "}, "finish_reason": null}]})
        .to_string()
    };
    let mut events: Vec<String> = usages.iter().map(chunk).collect();
    events.push("[DONE]".into());
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    chat(name, json!({"stream": true})).events(&events)
}

/// Creates a streamed message with these usages in its first and last event.
fn messages(name: &'static str, start: Value, end: Value) -> Case {
    let start = json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant",
        "content": [], "model": name, "usage": start}});
    let text =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"The Rhine."}}"#;
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end});
    let body = json!({"max_tokens": 1_000, "stream": true, "messages": [{"role": "user", "content": "Name a river."}]});
    case(name, "/v1/messages", body).events(&[
        &start.to_string(),
        text,
        &end.to_string(),
        r#"{"type":"message_stop"}"#,
    ])
}

pub fn all() -> Vec<Case> {
    let counted = |input: u64, output: u64| json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    let embedding =
        |name, usage: Value| {
            case(name, "/v1/embeddings", json!({"input": [[15_339, 1_917], [1, 2, 3]]}))
            .target(json!({"price": {"input": "1", "output": "10"}}))
            .json(json!({"object": "list", "data": [{"object": "embedding", "embedding": "AAAA", "index": 0}],
                "model": name, "usage": usage}))
        };
    vec![
        reports(
            "cached-input",
            json!({"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100,
                "prompt_tokens_details": {"cached_tokens": 400}}),
        )
        .costs("0.00164")
        .tokens(1_100),
        reports(
            "cached-input-beside",
            json!({"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100, "cached_tokens": 400}),
        )
        .costs("0.00164"),
        reports(
            "cache-hits-and-misses",
            json!({"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100,
                "prompt_cache_hit_tokens": 400, "prompt_cache_miss_tokens": 600}),
        )
        .costs("0.00164"),
        reports(
            "reasoning-outside",
            json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20}}),
        )
        .costs("0.00026")
        .tokens(35),
        reports("floats", json!({"prompt_tokens": 10.0, "completion_tokens": 2.0, "total_tokens": 12.0}))
            .costs("0.00003")
            .tokens(12),
        reports("strings", json!({"prompt_tokens": "10", "completion_tokens": "2", "total_tokens": "12"}))
            .costs("0.00003")
            .tokens(12),
        reports("input-and-output", json!({"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}))
            .costs("0.00003"),
        reports("zero", counted(0, 0)).costs("0").tokens(0),
        chat("plain-text-type", json!({}))
            .answers(tollgate_envoy::scripted::Answer::of(
                200,
                "text/plain; charset=utf-8",
                json!({"choices": [], "usage": counted(10, 2)}).to_string(),
            ))
            .costs("0.00003"),
        embedding("token-ids", json!({"prompt_tokens": 5, "total_tokens": 5})).costs("0.000005").tokens(5),
        embedding("total-only", json!({"total_tokens": 5})).costs("0.000005").tokens(5),
        embedding("total-only-float", json!({"total_tokens": 5.0})).costs("0.000005"),
        streams("null-then-final", &[Value::Null, Value::Null, counted(10, 3)]).costs("0.00004").tokens(13),
        streams("every-chunk", &[counted(10, 1), counted(10, 2), counted(10, 3)]).costs("0.00004"),
        streams("decreasing", &[counted(10, 50), counted(10, 60), counted(10, 4)]).costs("0.00005"),
        streams("repeated", &[counted(10, 3), counted(10, 3)]).costs("0.00004"),
        streams("none-reported", &[Value::Null, Value::Null]).costs_the_reservation(),
        messages("cumulative", json!({"input_tokens": 25, "output_tokens": 1}), json!({"output_tokens": 15}))
            .costs("0.000175"),
        messages(
            "input-lost-later",
            json!({"input_tokens": 25, "cache_read_input_tokens": 0, "output_tokens": 1}),
            json!({"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 15}),
        )
        .costs("0.000175"),
        messages(
            "input-grows-later",
            json!({"input_tokens": 25, "output_tokens": 1}),
            json!({"input_tokens": 7_000, "output_tokens": 150}),
        )
        .costs("0.0085"),
        messages(
            "cache-read-lost-later",
            json!({"input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": 1}),
            json!({"input_tokens": 5, "cache_read_input_tokens": 0, "output_tokens": 10}),
        )
        .costs("0.000115"),
    ]
}
