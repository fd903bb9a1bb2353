//! Gemini's `generateContent` and `streamGenerateContent`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Answer, data};
use super::draw::{Draw, choices};

/// `POST /v1beta/models/{model}:generateContent`
pub fn generate(model: &str, request: &Value, draw: &Draw, report: bool) -> Answer {
    let finish = finish(draw);
    let candidates = (0..choices(request)).map(|index| candidate(index, &draw.text(), Some(finish)));
    Answer::json(&document(model, draw, candidates.collect(), report.then_some(draw.usage.output)))
}

/// `POST /v1beta/models/{model}:streamGenerateContent`: events with `alt=sse`, otherwise one JSON array that
/// grows.
pub fn stream(model: &str, draw: &Draw, report: bool, events: bool) -> Answer {
    let words: Vec<String> = draw.words().collect();
    let last = words.len().saturating_sub(1);
    let documents = words.iter().enumerate().map(|(number, word)| {
        // Usage is cumulative here: every chunk reports the total so far.
        let (output, finish) = if number == last {
            (draw.usage.output, Some(finish(draw)))
        } else {
            ((number as u64 + 1).min(draw.usage.output), None)
        };
        document(model, draw, vec![candidate(0, word, finish)], report.then_some(output))
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

fn finish(draw: &Draw) -> &'static str {
    if draw.cut_short { "MAX_TOKENS" } else { "STOP" }
}

fn candidate(index: u64, text: &str, finish: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"parts": [{"text": text}], "role": "model"}, "index": index});
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
