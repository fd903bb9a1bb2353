//! The detection of a request's provider API.

use hyper::Method;
use hyper::http::request::Parts;
use serde_json::{Value, json};

use super::answer::{self, Answer, Dialect};
use super::draw::Draw;
use super::simulate::Simulation;
use super::{anthropic, gemini, openai, responses, tasks};

/// Headers whose values an echo omits.
const SECRET: [&str; 5] = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"];

/// Answers one request. Paths are matched by their ends, so that `/v1/...`, Azure's deployments and any
/// prefix of an operator work. Other requests are echoed.
pub fn answer(head: &Parts, body: &[u8], simulation: &Simulation) -> Answer {
    let path = head.uri.path();
    let gemini = gemini_call(path);
    if let Some(status) = simulation.status {
        return answer::error(dialect(path, gemini.is_some()), status, "simulated, as x-simulate requested");
    }
    let request = serde_json::from_slice(body).unwrap_or(Value::Null);
    let draw = Draw::new(path, body, &request, simulation);
    let report = !simulation.no_usage;
    if let Some((model, method)) = gemini {
        let events = head.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
        return match method {
            "streamGenerateContent" => gemini::stream(model, &request, draw, report, events),
            "countTokens" => gemini::count_tokens(&draw),
            "embedContent" => gemini::embed(&request, &draw, report),
            "batchEmbedContents" => gemini::embed_batch(&request, &draw, report),
            _ => gemini::generate(model, &request, draw, report),
        };
    }
    let model = request["model"].as_str().or_else(|| deployment(path)).unwrap_or("simulated");
    if head.method == Method::GET {
        return match path.split_once("/v1/models") {
            Some((_, "")) => tasks::models(),
            Some((_, id)) if id.starts_with('/') => tasks::model(&id[1..]),
            _ => echo(head, body),
        };
    }
    let ends = |end: &str| path.ends_with(end);
    match () {
        () if ends("/chat/completions") => openai::chat(model, &request, draw, report),
        () if ends("/completions") => openai::legacy(model, &request, &draw, report),
        () if ends("/responses") => responses::responses(model, &request, draw, report),
        () if ends("/responses/input_tokens") => responses::input_tokens(&draw),
        () if ends("/embeddings") => tasks::embeddings(model, &request, &draw, report),
        () if ends("/moderations") => tasks::moderations(model, &request, &draw),
        () if ends("/rerank") => tasks::rerank(model, &request, &draw, report),
        () if ends("/images/generations") || ends("/images/edits") => tasks::images(&request, &draw, report),
        () if ends("/audio/transcriptions") || ends("/audio/translations") => {
            tasks::transcription(&draw, report)
        }
        () if ends("/audio/speech") => tasks::speech(&draw),
        () if ends("/messages") => anthropic::messages(model, &request, draw, report),
        () if ends("/messages/count_tokens") => anthropic::count_tokens(&draw),
        () => echo(head, body),
    }
}

/// Returns the error format for a path.
fn dialect(path: &str, gemini: bool) -> Dialect {
    if gemini {
        Dialect::Gemini
    } else if path.contains("/messages") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// Returns model and method of `.../models/{model}:{method}`.
fn gemini_call(path: &str) -> Option<(&str, &str)> {
    let (_, call) = path.rsplit_once("/models/")?;
    call.split_once(':')
}

/// Returns the deployment of an Azure path.
fn deployment(path: &str) -> Option<&str> {
    path.split_once("/deployments/")?.1.split('/').next()
}

/// Returns the request as a response, for users who try out a gateway.
fn echo(head: &Parts, body: &[u8]) -> Answer {
    let headers: Vec<Value> = head
        .headers
        .iter()
        .map(|(name, value)| {
            let value = if SECRET.contains(&name.as_str()) {
                "(not shown)".into()
            } else {
                String::from_utf8_lossy(value.as_bytes())
            };
            json!([name.as_str(), value])
        })
        .collect();
    Answer::json(&json!({
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map_or("/", |path| path.as_str()),
        "headers": headers,
        "body": String::from_utf8_lossy(body),
    }))
}
