//! Anthropic's messages API: `POST /v1/messages`.

use serde_json::{Value, json};

use super::answer::{Answer, event};
use super::draw::Draw;

/// Answers a messages request.
pub fn messages(model: &str, request: &Value, draw: &Draw, report: bool) -> Answer {
    let stop = if draw.cut_short { "max_tokens" } else { "end_turn" };
    // Here the input excludes cached tokens: the three figures add up to all input.
    let usage = |output: u64| {
        json!({
            "input_tokens": draw.usage.input - draw.usage.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": draw.usage.cached,
            "output_tokens": output,
            "service_tier": "standard",
        })
    };
    let message = |content: Vec<Value>, stop: Option<&str>| {
        json!({
            "id": draw.id("msg_"), "type": "message", "role": "assistant", "model": model,
            "content": content, "stop_reason": stop, "stop_sequence": null,
        })
    };
    if request["stream"] != json!(true) {
        let mut document = message(vec![json!({"type": "text", "text": draw.text()})], Some(stop));
        if report {
            document["usage"] = usage(draw.usage.output);
        }
        return Answer::json(&document);
    }

    let mut start = message(Vec::new(), None);
    let mut delta = json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}});
    if report {
        start["usage"] = usage(1);
        delta["usage"] = json!({"output_tokens": draw.usage.output});
    }
    let mut events = vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
    ];
    events.extend(draw.words().map(|word| {
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
    }));
    events.extend([
        json!({"type": "content_block_stop", "index": 0}),
        delta,
        json!({"type": "message_stop"}),
    ]);
    Answer::events(events.iter().map(event).collect())
}

/// `POST /v1/messages/count_tokens`
pub fn count_tokens(draw: &Draw) -> Answer {
    Answer::json(&json!({"input_tokens": draw.usage.input}))
}
