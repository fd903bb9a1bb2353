//! Anthropic's messages API: `POST /v1/messages`.

use serde_json::{Value, json};

use super::answer::{Answer, event};
use super::draw::Draw;
use super::reply::{Reply, Wish, list};

/// Answers a messages request.
pub fn messages(model: &str, request: &Value, mut draw: Draw, report: bool) -> Answer {
    let reply = Reply::new(&wish(request), &mut draw);
    let stop = match (&reply.tool, draw.cut_short) {
        (Some(_), _) => "tool_use",
        (None, true) => "max_tokens",
        (None, false) => "end_turn",
    };
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
    // The block as it begins in a stream, its content as a whole, and the deltas in between.
    let (begun, whole, delta) = match &reply.tool {
        Some(name) => {
            let call = |input: Value| json!({"type": "tool_use", "id": draw.id("toolu_"), "name": name, "input": input});
            (call(json!({})), call(reply.arguments()), ("input_json_delta", "partial_json"))
        }
        None => {
            let text = |text: String| json!({"type": "text", "text": text});
            (text(String::new()), text(reply.text()), ("text_delta", "text"))
        }
    };
    if request["stream"] != json!(true) {
        let mut document = message(vec![whole], Some(stop));
        if report {
            document["usage"] = usage(draw.usage.output);
        }
        return Answer::json(&document);
    }

    let mut start = message(Vec::new(), None);
    let mut end = json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}});
    if report {
        start["usage"] = usage(1);
        end["usage"] = json!({"output_tokens": draw.usage.output});
    }
    let mut events = vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": begun}),
        json!({"type": "ping"}),
    ];
    events.extend(reply.tokens.iter().map(|token| {
        let (kind, member) = delta;
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": kind, member: token}})
    }));
    events.extend([json!({"type": "content_block_stop", "index": 0}), end, json!({"type": "message_stop"})]);
    Answer::events(events.iter().map(event).collect())
}

fn wish(request: &Value) -> Wish<'_> {
    // The provider's own tools have a type and no schema.
    let tools = list(&request["tools"]).iter().filter(|tool| tool["input_schema"].is_object());
    let choice = &request["tool_choice"];
    let results =
        |message: &Value| list(&message["content"]).iter().any(|block| block["type"] == "tool_result");
    // `output_format` is the name that the beta of structured outputs used.
    let formats = [&request["output_config"]["format"], &request["output_format"]];
    Wish {
        tools: tools.filter_map(|tool| Some((tool["name"].as_str()?, &tool["input_schema"]))).collect(),
        only: match choice["type"].as_str() {
            Some("none") => Some(Vec::new()),
            Some("tool") => Some(choice["name"].as_str().into_iter().collect()),
            _ => None,
        },
        answered: list(&request["messages"]).last().is_some_and(results),
        format: formats
            .into_iter()
            .find(|format| format["type"] == "json_schema")
            .map(|format| &format["schema"]),
    }
}

/// `POST /v1/messages/count_tokens`
pub fn count_tokens(draw: &Draw) -> Answer {
    Answer::json(&json!({"input_tokens": draw.usage.input}))
}
