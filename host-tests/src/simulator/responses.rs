//! OpenAI's responses API: `POST /v1/responses`.

use serde_json::{Value, json};

use super::answer::{Answer, event};
use super::draw::Draw;
use super::openai::CREATED;
use super::reply::{Reply, Wish, list};

/// Answers a responses request.
pub fn responses(model: &str, request: &Value, mut draw: Draw, report: bool) -> Answer {
    let reply = Reply::new(&wish(request), &mut draw);
    let text = reply.text();
    let or = |name: &str, usual: Value| if request[name].is_null() { usual } else { request[name].clone() };
    let response = |status: &str, output: Vec<Value>, usage: Value| {
        json!({
            "id": draw.id("resp_"), "object": "response", "created_at": CREATED, "status": status,
            "error": null, "incomplete_details": null, "instructions": request["instructions"],
            "max_output_tokens": request["max_output_tokens"], "model": model, "output": output,
            "parallel_tool_calls": true, "previous_response_id": request["previous_response_id"],
            "reasoning": {"effort": null, "summary": null}, "store": or("store", json!(true)), "temperature": 1.0,
            "text": or("text", json!({"format": {"type": "text"}})), "tool_choice": or("tool_choice", json!("auto")),
            "tools": or("tools", json!([])), "top_p": 1.0, "truncation": "disabled", "usage": usage, "user": null,
            "metadata": or("metadata", json!({})),
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
    let item = Item::new(&reply, &draw, &text);
    let done = response("completed", vec![item.done.clone()], usage);
    if request["stream"] != json!(true) {
        return Answer::json(&done);
    }

    let begun = response("in_progress", Vec::new(), Value::Null);
    let mut events = vec![
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.in_progress", "response": begun}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item.begun}),
    ];
    events.extend(item.events);
    events.extend([
        json!({"type": "response.output_item.done", "output_index": 0, "item": item.done}),
        json!({"type": "response.completed", "response": done}),
    ]);
    let numbered = events.into_iter().enumerate();
    Answer::events(
        numbered.map(|(number, document)| event(&with(document, "sequence_number", json!(number)))).collect(),
    )
}

/// `POST /v1/responses/input_tokens`
pub fn input_tokens(draw: &Draw) -> Answer {
    Answer::json(&json!({"object": "response.input_tokens", "input_tokens": draw.usage.input}))
}

/// The one item of a response's output.
struct Item {
    begun: Value,
    /// The events between its begin and its end.
    events: Vec<Value>,
    done: Value,
}

impl Item {
    fn new(reply: &Reply, draw: &Draw, text: &str) -> Item {
        match &reply.tool {
            Some(name) => Item::call(name, reply, draw, text),
            None => Item::message(reply, draw, text),
        }
    }

    fn call(name: &str, reply: &Reply, draw: &Draw, text: &str) -> Item {
        let id = draw.id("fc_");
        let call = |status: &str, arguments: &str| {
            json!({
                "type": "function_call", "id": id, "call_id": draw.id("call_"), "name": name, "arguments": arguments,
                "status": status,
            })
        };
        let place = |kind: &str| json!({"type": kind, "item_id": id, "output_index": 0});
        let deltas = reply
            .tokens
            .iter()
            .map(|token| with(place("response.function_call_arguments.delta"), "delta", json!(token)));
        let end = with(place("response.function_call_arguments.done"), "arguments", json!(text));
        let end = with(end, "name", json!(name));
        Item {
            begun: call("in_progress", ""),
            events: deltas.chain([end]).collect(),
            done: call("completed", text),
        }
    }

    fn message(reply: &Reply, draw: &Draw, text: &str) -> Item {
        let id = draw.id("msg_");
        let message = |status: &str, content: Vec<Value>| json!({"type": "message", "id": id, "status": status, "role": "assistant", "content": content});
        let part =
            |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
        let place = |kind: &str| json!({"type": kind, "item_id": id, "output_index": 0, "content_index": 0});
        let logged = |document: Value| with(document, "logprobs", json!([]));
        let mut events = vec![with(place("response.content_part.added"), "part", part(""))];
        events.extend(
            reply
                .tokens
                .iter()
                .map(|token| logged(with(place("response.output_text.delta"), "delta", json!(token)))),
        );
        events.extend([
            logged(with(place("response.output_text.done"), "text", json!(text))),
            with(place("response.content_part.done"), "part", part(text)),
        ]);
        Item {
            begun: message("in_progress", Vec::new()),
            events,
            done: message("completed", vec![part(text)]),
        }
    }
}

fn with(mut document: Value, name: &str, value: Value) -> Value {
    document[name] = value;
    document
}

fn wish(request: &Value) -> Wish<'_> {
    let tools = list(&request["tools"]).iter().filter(|tool| tool["type"] == "function");
    let choice = &request["tool_choice"];
    let format = &request["text"]["format"];
    Wish {
        tools: tools.filter_map(|tool| Some((tool["name"].as_str()?, &tool["parameters"]))).collect(),
        only: match (choice.as_str(), choice["type"].as_str()) {
            (Some("none"), _) => Some(Vec::new()),
            (_, Some("function")) => Some(choice["name"].as_str().into_iter().collect()),
            (_, Some("allowed_tools")) => {
                Some(list(&choice["tools"]).iter().filter_map(|tool| tool["name"].as_str()).collect())
            }
            _ => None,
        },
        answered: list(&request["input"]).last().is_some_and(|item| item["type"] == "function_call_output"),
        format: match format["type"].as_str() {
            Some("json_schema") => Some(&format["schema"]),
            Some("json_object") => Some(&Value::Null),
            _ => None,
        },
    }
}
