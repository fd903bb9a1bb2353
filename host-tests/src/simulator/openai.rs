//! OpenAI's APIs except responses: chat completions, completions, embeddings, images, audio, models.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Answer, data};
use super::draw::{Draw, Usage, choices};

/// The creation time in all responses, which depend on their requests alone.
pub const CREATED: u64 = 1_790_000_000;
/// One grey pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg==";

/// `POST /v1/chat/completions`
pub fn chat(model: &str, request: &Value, draw: &Draw, report: bool) -> Answer {
    completions(
        Kind {
            id: "chatcmpl-",
            document: "chat.completion",
            chunk: "chat.completion.chunk",
            whole: |text| json!({"message": {"role": "assistant", "content": text, "refusal": null, "annotations": []}}),
            first: Some(|| json!({"delta": {"role": "assistant", "content": "", "refusal": null}})),
            piece: |text| json!({"delta": {"content": text}}),
            last: || json!({"delta": {}}),
        },
        model,
        request,
        draw,
        report,
    )
}

/// `POST /v1/completions`
pub fn legacy(model: &str, request: &Value, draw: &Draw, report: bool) -> Answer {
    completions(
        Kind {
            id: "cmpl-",
            document: "text_completion",
            chunk: "text_completion",
            whole: |text| json!({"text": text}),
            first: None,
            piece: |text| json!({"text": text}),
            last: || json!({"text": ""}),
        },
        model,
        request,
        draw,
        report,
    )
}

/// The differences between the two completion APIs.
struct Kind {
    id: &'static str,
    document: &'static str,
    chunk: &'static str,
    whole: fn(&str) -> Value,
    first: Option<fn() -> Value>,
    piece: fn(&str) -> Value,
    last: fn() -> Value,
}

fn completions(kind: Kind, model: &str, request: &Value, draw: &Draw, report: bool) -> Answer {
    let finish = if draw.cut_short { "length" } else { "stop" };
    let choice = |index: u64, mut content: Value, finish: Option<&str>| {
        content["index"] = json!(index);
        content["logprobs"] = Value::Null;
        content["finish_reason"] = json!(finish);
        content
    };
    let frame = |object: &str, choices: Vec<Value>| {
        json!({
            "id": draw.id(kind.id), "object": object, "created": CREATED, "model": model,
            "service_tier": "default", "system_fingerprint": "fp_simulated", "choices": choices,
        })
    };
    let count = choices(request);
    if request["stream"] != json!(true) {
        let text = draw.text();
        let mut document = frame(
            kind.document,
            (0..count).map(|index| choice(index, (kind.whole)(&text), Some(finish))).collect(),
        );
        if report {
            document["usage"] = usage(&draw.usage);
        }
        return Answer::json(&document);
    }

    // Usage is sent on request only, in a last chunk without choices; then all others contain a null.
    let wants_usage = report && request["stream_options"]["include_usage"] == json!(true);
    let chunk = |choices: Vec<Value>, usage: Value| {
        let mut document = frame(kind.chunk, choices);
        if wants_usage {
            document["usage"] = usage;
        }
        data(&document)
    };
    let mut chunks = Vec::new();
    for index in 0..count {
        let pieces = kind.first.iter().map(|first| first());
        let pieces = pieces.chain(draw.words().map(|word| (kind.piece)(&word)));
        chunks.extend(pieces.map(|piece| chunk(vec![choice(index, piece, None)], Value::Null)));
        chunks.push(chunk(vec![choice(index, (kind.last)(), Some(finish))], Value::Null));
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

/// `POST /v1/embeddings`
pub fn embeddings(model: &str, request: &Value, draw: &Draw, report: bool) -> Answer {
    let inputs = match &request["input"] {
        // A list of numbers is one text in tokens.
        Value::Array(list) if !list.iter().any(Value::is_number) => list.len(),
        _ => 1,
    };
    let dimensions = request["dimensions"].as_u64().unwrap_or(16).clamp(1, 4096) as usize;
    let data: Vec<Value> = (0..inputs)
        .map(|index| {
            let vector = draw.vector(index, dimensions);
            let embedding = if request["encoding_format"] == json!("base64") {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let mut document = json!({"object": "list", "model": model, "data": data});
    if report {
        document["usage"] = json!({"prompt_tokens": draw.usage.input, "total_tokens": draw.usage.input});
    }
    Answer::json(&document)
}

/// `POST /v1/images/generations` and `/v1/images/edits`
pub fn images(request: &Value, draw: &Draw, report: bool) -> Answer {
    let data: Vec<Value> = (0..choices(request)).map(|_| json!({"b64_json": PNG})).collect();
    let mut document = json!({"created": CREATED, "data": data});
    if report {
        let Usage { input, output, .. } = draw.usage;
        document["usage"] = json!({
            "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            "input_tokens_details": {"text_tokens": input, "image_tokens": 0},
        });
    }
    Answer::json(&document)
}

/// `POST /v1/audio/transcriptions` and `/v1/audio/translations`
pub fn transcription(draw: &Draw, report: bool) -> Answer {
    let mut document = json!({"text": draw.text()});
    if report {
        let Usage { input, output, .. } = draw.usage;
        document["usage"] = json!({
            "type": "tokens", "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            "input_token_details": {"text_tokens": 0, "audio_tokens": input},
        });
    }
    Answer::json(&document)
}

/// `POST /v1/audio/speech`: bytes, and no usage.
pub fn speech(draw: &Draw) -> Answer {
    Answer { status: 200, content_type: "audio/mpeg", chunks: draw.words().map(Bytes::from).collect() }
}

/// `GET /v1/models`
pub fn models() -> Answer {
    let data: Vec<Value> = ["gpt-5", "gpt-5-mini", "text-embedding-3-small"].into_iter().map(entry).collect();
    Answer::json(&json!({"object": "list", "data": data}))
}

/// `GET /v1/models/{id}`
pub fn model(id: &str) -> Answer {
    Answer::json(&entry(id))
}

fn entry(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": CREATED, "owned_by": "simulated"})
}
