//! A hundred thousand damaged inputs for each reader: no panic, and no dependence on the pieces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/random.rs"]
mod random;

use random::Random;
use tollgate_core::api::Api;
use tollgate_core::llm::request::{BodyError, BodyParser, LlmRequest};
use tollgate_core::llm::usage::{UsageChunkFilter, UsageMeter, UsageReport};

const INPUTS: usize = 100_000;

fn read(content_type: &str, pieces: &[&[u8]]) -> Result<LlmRequest, BodyError> {
    let mut reader = BodyParser::for_head(Some(content_type), None)?;
    for piece in pieces {
        reader.push(piece)?;
    }
    reader.finish().cloned()
}

const JSON_WORDS: &[&str] = &[
    "\"model\":\"b\",",
    "\"\\u006dodel\":\"b\",",
    "\"max_tokens\":1,",
    "\"n\":2,",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ",",
    ":",
    "\\ud800",
    "null",
    "1e9",
    "\u{0}",
    "\u{feff}",
    "\u{17f}",
];

#[test]
fn scanned_bodies() {
    let samples = [
        r#"{"model":"a","messages":[{"role":"user","content":"Grüße 🙂"}],"max_tokens":5,"n":2,"stream":true}"#,
        r#"{"models":["a","b"],"stream":true,"stream_options":{"include_usage":false},"best_of":3}"#,
        r#"{"contents":[{"parts":[{"fileData":{"fileUri":"gs://a"}}]}],"generationConfig":{"maxOutputTokens":7}}"#,
        r#"{"model":"a","messages":[{"content":[{"type":"image","source":{"type":"url","url":"https://a"}}]}]}"#,
    ];
    let samples = samples.map(|sample| sample.as_bytes().to_vec());
    let (mut random, mut taken) = (Random(1), 0);
    for _ in 0..INPUTS {
        let body = random.mutated(&samples, JSON_WORDS);
        let whole = read("application/json", &[&body]);
        assert_eq!(read("application/json", &random.cut(&body)), whole, "{}", String::from_utf8_lossy(&body));
        let Ok(request) = whole else { continue };
        taken += 1;
        // A reader that keeps the last of two members agrees on every accepted body.
        let other: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(request.model.as_deref(), other.get("model").and_then(|model| model.as_str()));
        assert_eq!(request.stream, other.get("stream").and_then(|on| on.as_bool()).unwrap_or(false));
        assert_eq!(request.bytes, body.len() as u64);
    }
    assert!(taken > INPUTS / 100, "only {taken} were taken");
}

#[test]
fn forms() {
    let part = |name: &str, text: &str| {
        format!(
            "--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: text/plain\r\n\r\n{text}\r\n"
        )
    };
    let body =
        part("model", "whisper-1") + &part("file", "\r\n--y\r\n") + &part("stream", "true") + "--x--\r\n";
    let samples = [body.into_bytes(), (part("n", "2") + "--x--").into_bytes()];
    let words =
        ["\r\n", "\r", "\n", "--x", "\r\n--x\r\n", "--", "; name=\"model\"", "\"", "model", "\u{0}", ":"];
    let (mut random, mut taken) = (Random(2), 0);
    let content_type = "multipart/form-data; boundary=x";
    for _ in 0..INPUTS {
        let body = random.mutated(&samples, &words);
        let whole = read(content_type, &[&body]);
        assert_eq!(read(content_type, &random.cut(&body)), whole, "{:?}", String::from_utf8_lossy(&body));
        taken += usize::from(whole.is_ok());
    }
    assert!(taken > INPUTS / 100, "only {taken} were taken");
}

fn metered(api: Api, pieces: &[&[u8]]) -> UsageReport {
    let mut meter = UsageMeter::new(api, Some("text/event-stream"));
    pieces.iter().for_each(|piece| meter.push(piece));
    meter.finish()
}

/// The member that chunks have if usage was requested.
const NULL: &str = ",\"usage\":null";

fn stripped(pieces: &[&[u8]]) -> String {
    let mut strip = UsageChunkFilter::new();
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&strip.push(piece));
    }
    out.extend(strip.finish());
    // In an event that is not JSON, a null stays or goes.
    String::from_utf8_lossy(&out).replace(NULL, "")
}

#[test]
fn streams() {
    let samples = [
        include_bytes!("samples/chat.sse").to_vec(),
        include_bytes!("samples/x_groq.sse").to_vec(),
        include_bytes!("samples/messages.sse").to_vec(),
        include_bytes!("samples/responses.sse").to_vec(),
    ];
    let apis = [Api::OpenAiChat, Api::OpenAiResponses, Api::AnthropicMessages, Api::GeminiGenerate];
    let words = [
        "\n",
        "\r",
        "\r\n\r\n",
        "data:",
        "data: [DONE]\n\n",
        "\u{feff}",
        "\"usage\":{",
        "null",
        "}",
        "\"",
        "999",
    ];
    let (mut random, mut found) = (Random(3), 0);
    for _ in 0..INPUTS {
        let stream = random.mutated(&samples, &words);
        let api = *random.pick(&apis);
        let pieces = random.cut(&stream);
        let (whole, cut) = (metered(api, &[&stream]), metered(api, &pieces));
        let shown = String::from_utf8_lossy(&stream);
        assert_eq!(cut.usage, whole.usage, "{shown}");
        found += usize::from(whole.usage.is_some());
        assert_eq!(stripped(&pieces), stripped(&[&stream]), "{shown}");
    }
    assert!(found > INPUTS / 10, "only {found} had usage");
}
