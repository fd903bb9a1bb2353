//! Gemini's methods on models: `generateContent`, `streamGenerateContent`, `countTokens`, `embedContent` and
//! `batchEmbedContents`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Answer, data};
use super::draw::{Draw, choices};
use super::reply::{Reply, Wish, list};
use super::tasks::PNG;

/// `POST /v1beta/models/{model}:generateContent`
pub fn generate(model: &str, request: &Value, mut draw: Draw, report: bool) -> Answer {
    let (part, _) = parts(request, &mut draw);
    let finish = finish(&draw);
    let candidates = (0..choices(request)).map(|index| candidate(index, &part, Some(finish)));
    Answer::json(&document(model, &draw, candidates.collect(), report.then_some(draw.usage.output)))
}

/// `POST /v1beta/models/{model}:streamGenerateContent`: events with `alt=sse`, otherwise one JSON array that
/// grows.
pub fn stream(model: &str, request: &Value, mut draw: Draw, report: bool, events: bool) -> Answer {
    let (_, parts) = parts(request, &mut draw);
    let last = parts.len().saturating_sub(1);
    let documents = parts.iter().enumerate().map(|(number, part)| {
        // Usage is cumulative here: every chunk reports the total so far.
        let (output, finish) = if number == last {
            (draw.usage.output, Some(finish(&draw)))
        } else {
            ((number as u64 + 1).min(draw.usage.output), None)
        };
        document(model, &draw, vec![candidate(0, part, finish)], report.then_some(output))
    });
    if events {
        return Answer::events(documents.map(|document| data(&document)).collect());
    }
    let mut chunks: Vec<Bytes> = documents
        .enumerate()
        .map(|(number, document)| format!("{}{document}", if number == 0 { "[" } else { ",\r\n" }).into())
        .collect();
    chunks.push(Bytes::from_static(b"\n]\n"));
    Answer { status: 200, content_type: "application/json; charset=UTF-8", chunks }
}

/// `POST /v1beta/models/{model}:countTokens`
pub fn count_tokens(draw: &Draw) -> Answer {
    let details = json!([{"modality": "TEXT", "tokenCount": draw.usage.input}]);
    Answer::json(&json!({"totalTokens": draw.usage.input, "promptTokensDetails": details}))
}

/// `POST /v1beta/models/{model}:embedContent`
pub fn embed(request: &Value, draw: &Draw, report: bool) -> Answer {
    embedded(json!({"embedding": embedding(request, draw, 0)}), draw, report)
}

/// `POST /v1beta/models/{model}:batchEmbedContents`
pub fn embed_batch(request: &Value, draw: &Draw, report: bool) -> Answer {
    let requests = list(&request["requests"]).iter().enumerate();
    let embeddings: Vec<Value> = requests.map(|(index, request)| embedding(request, draw, index)).collect();
    embedded(json!({"embeddings": embeddings}), draw, report)
}

fn embedding(request: &Value, draw: &Draw, index: usize) -> Value {
    let dimensions = get(request, "outputDimensionality").as_u64().unwrap_or(16).clamp(1, 4096) as usize;
    json!({"values": draw.vector(index, dimensions)})
}

fn embedded(mut document: Value, draw: &Draw, report: bool) -> Answer {
    if report {
        document["usageMetadata"] =
            json!({"promptTokenCount": draw.usage.input, "totalTokenCount": draw.usage.input});
    }
    Answer::json(&document)
}

fn wish(request: &Value) -> Wish<'_> {
    let declared =
        list(get(request, "tools")).iter().flat_map(|tool| list(get(tool, "functionDeclarations")));
    let choice = get(get(request, "toolConfig"), "functionCallingConfig");
    let allowed = list(get(choice, "allowedFunctionNames"));
    let config = get(request, "generationConfig");
    let result =
        |content: &Value| list(&content["parts"]).iter().any(|part| !get(part, "functionResponse").is_null());
    Wish {
        tools: declared
            .filter_map(|function| {
                Some((function["name"].as_str()?, either(function, ["parameters", "parametersJsonSchema"])))
            })
            .collect(),
        only: match choice["mode"].as_str() {
            Some("NONE") => Some(Vec::new()),
            _ if !allowed.is_empty() => Some(allowed.iter().filter_map(Value::as_str).collect()),
            _ => None,
        },
        answered: list(&request["contents"]).last().is_some_and(result),
        format: (get(config, "responseMimeType") == "application/json")
            .then(|| either(config, ["responseSchema", "responseJsonSchema"])),
    }
}

/// Returns a schema that is written either in the API's own subset of OpenAPI or as JSON Schema.
fn either<'a>(of: &'a Value, names: [&str; 2]) -> &'a Value {
    names.map(|name| get(of, name)).into_iter().find(|schema| !schema.is_null()).unwrap_or(&Value::Null)
}

/// Returns a member that is written in camel case or in snake case: the API accepts both, as the JSON mapping of
/// Protocol Buffers demands, and SDKs send both.
pub fn get<'a>(of: &'a Value, name: &str) -> &'a Value {
    if let Some(value) = of.get(name) {
        return value;
    }
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    &of[snake.as_str()]
}

/// Returns the one part of a whole reply, and the parts of a stream.
fn parts(request: &Value, draw: &mut Draw) -> (Value, Vec<Value>) {
    let modalities = list(get(get(request, "generationConfig"), "responseModalities"));
    for (modality, kind, bytes) in
        [("IMAGE", "image/png", PNG), ("AUDIO", "audio/L16;codec=pcm;rate=24000", "AAAAAA==")]
    {
        if modalities.iter().any(|name| name == modality) {
            let part = json!({"inlineData": {"mimeType": kind, "data": bytes}});
            return (part.clone(), vec![part]);
        }
    }
    let reply = Reply::new(&wish(request), draw);
    match &reply.tool {
        // A call is one part; it is not divided.
        Some(name) => {
            let part =
                json!({"functionCall": {"id": draw.id("call_"), "name": name, "args": reply.arguments()}});
            (part.clone(), vec![part])
        }
        None => {
            (json!({"text": reply.text()}), reply.tokens.iter().map(|token| json!({"text": token})).collect())
        }
    }
}

fn finish(draw: &Draw) -> &'static str {
    if draw.cut_short { "MAX_TOKENS" } else { "STOP" }
}

fn candidate(index: u64, part: &Value, finish: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"parts": [part], "role": "model"}, "index": index});
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
    }
    candidate
}

fn document(model: &str, draw: &Draw, candidates: Vec<Value>, output: Option<u64>) -> Value {
    let mut document = json!({"candidates": candidates, "modelVersion": model, "responseId": draw.id("")});
    if let Some(output) = output {
        let usage = &draw.usage;
        let thoughts = usage.reasoning.min(output);
        document["usageMetadata"] = json!({
            "promptTokenCount": usage.input,
            "candidatesTokenCount": output - thoughts,
            "thoughtsTokenCount": thoughts,
            "cachedContentTokenCount": usage.cached,
            "totalTokenCount": usage.input + output,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
        });
    }
    document
}
