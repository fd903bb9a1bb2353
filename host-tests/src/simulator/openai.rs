//! OpenAI's chat completions and completions.

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Answer, data};
use super::draw::{Draw, Usage, choices};
use super::reply::{Reply, Wish, list};

/// The creation time in all responses, which depend on their requests alone.
pub const CREATED: u64 = 1_790_000_000;

/// `POST /v1/chat/completions`
pub fn chat(model: &str, request: &Value, mut draw: Draw, report: bool) -> Answer {
    let reply = Reply::new(&wish(request), &mut draw);
    let delta = |delta: Value| json!({"delta": delta});
    let mut message = json!({"role": "assistant", "content": null, "refusal": null, "annotations": []});
    let mut pieces = Vec::new();
    if let Some(name) = &reply.tool {
        let call = |arguments: &str| json!({"id": draw.id("call_"), "type": "function", "function": {"name": name, "arguments": arguments}});
        message["tool_calls"] = json!([call(&reply.text())]);
        let mut first = call("");
        first["index"] = json!(0);
        pieces.push(delta(
            json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [first]}),
        ));
        let more = |token| json!({"tool_calls": [{"index": 0, "function": {"arguments": token}}]});
        pieces.extend(reply.tokens.iter().map(|token| delta(more(token))));
    } else {
        message["content"] = json!(reply.text());
        pieces.push(delta(json!({"role": "assistant", "content": "", "refusal": null})));
        pieces.extend(reply.tokens.iter().map(|token| delta(json!({"content": token}))));
    }
    pieces.push(delta(json!({})));
    let shape = Shape {
        id: "chatcmpl-",
        document: "chat.completion",
        chunk: "chat.completion.chunk",
        whole: json!({"message": message}),
        pieces,
        finish: if reply.tool.is_some() { "tool_calls" } else { finish(&draw) },
    };
    completions(&shape, model, request, &draw, report)
}

/// `POST /v1/completions`
pub fn legacy(model: &str, request: &Value, draw: &Draw, report: bool) -> Answer {
    let piece = |text: String| json!({"text": text});
    let shape = Shape {
        id: "cmpl-",
        document: "text_completion",
        chunk: "text_completion",
        whole: piece(draw.text()),
        pieces: draw.words().chain([String::new()]).map(piece).collect(),
        finish: finish(draw),
    };
    completions(&shape, model, request, draw, report)
}

fn wish(request: &Value) -> Wish<'_> {
    let tools = list(&request["tools"]).iter().filter(|tool| tool["type"] == "function");
    let choice = &request["tool_choice"];
    let format = &request["response_format"];
    Wish {
        tools: tools
            .filter_map(|tool| Some((tool["function"]["name"].as_str()?, &tool["function"]["parameters"])))
            .collect(),
        only: match (choice.as_str(), choice["type"].as_str()) {
            (Some("none"), _) => Some(Vec::new()),
            (_, Some("function")) => Some(choice["function"]["name"].as_str().into_iter().collect()),
            (_, Some("allowed_tools")) => {
                let allowed = list(&choice["allowed_tools"]["tools"]).iter();
                Some(allowed.filter_map(|tool| tool["function"]["name"].as_str()).collect())
            }
            _ => None,
        },
        answered: list(&request["messages"]).last().is_some_and(|message| message["role"] == "tool"),
        format: match format["type"].as_str() {
            Some("json_schema") => Some(&format["json_schema"]["schema"]),
            Some("json_object") => Some(&Value::Null),
            _ => None,
        },
    }
}

fn finish(draw: &Draw) -> &'static str {
    if draw.cut_short { "length" } else { "stop" }
}

/// The differences between the two completion APIs.
struct Shape {
    id: &'static str,
    document: &'static str,
    chunk: &'static str,
    /// The content of each choice.
    whole: Value,
    /// The same content as a stream's chunks have it.
    pieces: Vec<Value>,
    finish: &'static str,
}

fn completions(shape: &Shape, model: &str, request: &Value, draw: &Draw, report: bool) -> Answer {
    let choice = |index: u64, content: &Value, finish: Option<&str>| {
        let mut content = content.clone();
        content["index"] = json!(index);
        content["logprobs"] = Value::Null;
        content["finish_reason"] = json!(finish);
        content
    };
    let frame = |object: &str, choices: Vec<Value>| {
        json!({
            "id": draw.id(shape.id), "object": object, "created": CREATED, "model": model,
            "service_tier": "default", "system_fingerprint": "fp_simulated", "choices": choices,
        })
    };
    let count = choices(request);
    if request["stream"] != json!(true) {
        let choices = (0..count).map(|index| choice(index, &shape.whole, Some(shape.finish)));
        let mut document = frame(shape.document, choices.collect());
        if report {
            document["usage"] = usage(&draw.usage);
        }
        return Answer::json(&document);
    }

    // Usage is sent on request only, in a last chunk without choices; then all others contain a null.
    let wants_usage = report && request["stream_options"]["include_usage"] == json!(true);
    let chunk = |choices: Vec<Value>, usage: Value| {
        let mut document = frame(shape.chunk, choices);
        if wants_usage {
            document["usage"] = usage;
        }
        data(&document)
    };
    let last = shape.pieces.len().saturating_sub(1);
    let mut chunks = Vec::new();
    for index in 0..count {
        chunks.extend(shape.pieces.iter().enumerate().map(|(number, piece)| {
            let finish = (number == last).then_some(shape.finish);
            chunk(vec![choice(index, piece, finish)], Value::Null)
        }));
    }
    if wants_usage {
        chunks.push(chunk(Vec::new(), usage(&draw.usage)));
    }
    chunks.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Answer::events(chunks)
}

fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}
