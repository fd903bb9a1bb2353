//! OpenAI's responses API: `POST /v1/responses`.

use serde_json::{Value, json};

use super::answer::{Answer, event};
use super::draw::Draw;
use super::openai::CREATED;

/// Answers a responses request.
pub fn responses(model: &str, request: &Value, draw: &Draw, report: bool) -> Answer {
    let text = draw.text();
    let item = |status: &str, content: Vec<Value>| json!({"type": "message", "id": draw.id("msg_"), "status": status, "role": "assistant", "content": content});
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let response = |status: &str, output: Vec<Value>, usage: Value| {
        json!({
            "id": draw.id("resp_"), "object": "response", "created_at": CREATED, "status": status,
            "error": null, "incomplete_details": null, "instructions": request["instructions"],
            "max_output_tokens": request["max_output_tokens"], "model": model, "output": output,
            "parallel_tool_calls": true, "previous_response_id": request["previous_response_id"],
            "reasoning": {"effort": null, "summary": null}, "store": true, "temperature": 1.0,
            "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
            "truncation": "disabled", "usage": usage, "user": null, "metadata": {},
        })
    };
    let usage = if report {
        json!({
            "input_tokens": draw.usage.input,
            "input_tokens_details": {"cached_tokens": draw.usage.cached, "cache_write_tokens": 0},
            "output_tokens": draw.usage.output,
            "output_tokens_details": {"reasoning_tokens": draw.usage.reasoning},
            "total_tokens": draw.usage.input + draw.usage.output,
        })
    } else {
        Value::Null
    };
    let done = response("completed", vec![item("completed", vec![part(&text)])], usage);
    if request["stream"] != json!(true) {
        return Answer::json(&done);
    }

    let begun = response("in_progress", Vec::new(), Value::Null);
    let place =
        |kind: &str| json!({"type": kind, "item_id": draw.id("msg_"), "output_index": 0, "content_index": 0});
    let with = |mut document: Value, name: &str, value: Value| {
        document[name] = value;
        document
    };
    let mut events = vec![
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.in_progress", "response": begun}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item("in_progress", Vec::new())}),
        with(place("response.content_part.added"), "part", part("")),
    ];
    events.extend(draw.words().map(|word| {
        let delta = with(place("response.output_text.delta"), "delta", json!(word));
        with(delta, "logprobs", json!([]))
    }));
    events.extend([
        with(with(place("response.output_text.done"), "text", json!(text)), "logprobs", json!([])),
        with(place("response.content_part.done"), "part", part(&text)),
        json!({
            "type": "response.output_item.done", "output_index": 0,
            "item": item("completed", vec![part(&text)]),
        }),
        json!({"type": "response.completed", "response": done}),
    ]);
    let numbered = events.into_iter().enumerate();
    Answer::events(
        numbered.map(|(number, document)| event(&with(document, "sequence_number", json!(number)))).collect(),
    )
}
