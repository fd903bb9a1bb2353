//! APIs without a conversation: embeddings, moderations, reranking, images, audio, models. They are OpenAI's, but
//! for reranking, which it does not have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::Answer;
use super::draw::{Draw, Usage, choices};
use super::openai::CREATED;
use super::reply::list;

/// One grey pixel.
pub const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg==";

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

/// `POST /v1/moderations`: no usage, since OpenAI's moderations are free.
pub fn moderations(model: &str, request: &Value, draw: &Draw) -> Answer {
    const CATEGORIES: [&str; 13] = [
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/instructions",
        "self-harm/intent",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    ];
    let of_all =
        |value: Value| CATEGORIES.iter().map(|name| (name.to_string(), value.clone())).collect::<Value>();
    let result = json!({
        "flagged": false, "categories": of_all(json!(false)), "category_scores": of_all(json!(0.001)),
        "category_applied_input_types": of_all(json!(["text"])),
    });
    // A list of parts (objects) is one input.
    let inputs = list(&request["input"]).iter().filter(|input| input.is_string()).count().max(1);
    Answer::json(&json!({"id": draw.id("modr-"), "model": model, "results": vec![result; inputs]}))
}

/// `POST /v1/rerank` and `/v2/rerank`, in the shape that Cohere, Jina and Voyage have in common; each names the
/// usage in its own way.
pub fn rerank(model: &str, request: &Value, draw: &Draw, report: bool) -> Answer {
    let documents = list(&request["documents"]);
    let most = request["top_n"].as_u64().unwrap_or(u64::MAX).min(documents.len() as u64);
    let scored = (0..most).map(|index| json!({"index": index, "relevance_score": 1.0 / (index + 2) as f64}));
    let mut document = json!({"id": draw.id(""), "model": model, "results": scored.collect::<Vec<_>>()});
    if report {
        let input = draw.usage.input;
        document["usage"] = json!({"total_tokens": input, "prompt_tokens": input});
        document["meta"] = json!({
            "api_version": {"version": "2"}, "billed_units": {"search_units": 1}, "tokens": {"input_tokens": input},
        });
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
