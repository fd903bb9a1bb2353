//! Failures inside a 200, and clients that leave early.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_envoy::scripted::Answer;

use crate::cases::{Case, case, chat};

/// The bounds of the charge for the input of these requests and one or two tokens of output; far below a reservation.
const INPUT: (&str, &str) = ("0.000001", "0.0015");

fn error() -> Value {
    json!({"error": {"message": "Provider returned error", "code": 502}})
}

fn chunk() -> String {
    json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": null}]})
        .to_string()
}

fn responses(name: &'static str, more: Value) -> Case {
    let mut body = json!({"input": "Name a river.", "max_output_tokens": 1_000});
    crate::cases::merge(&mut body, more);
    case(name, "/v1/responses", body)
}

fn created() -> &'static str {
    r#"{"type":"response.created","sequence_number":0,"response":{"id":"r","status":"in_progress","error":null,"usage":null}}"#
}

fn failed() -> Value {
    json!({"id": "r", "object": "response", "status": "failed", "output": [], "usage": null,
        "error": {"code": "server_error", "message": "The model failed."}})
}

pub fn all() -> Vec<Case> {
    let streamed = || json!({"stream": true});
    let nothing = |case: Case| case.costs("0").tokens(0);
    let input = |case: Case| case.costs_between(INPUT.0, INPUT.1);
    let failed_event =
        json!({"type": "response.failed", "sequence_number": 2, "response": failed()}).to_string();
    let with_usage = {
        let mut failed = failed();
        failed["usage"] = json!({"input_tokens": 10, "output_tokens": 2, "total_tokens": 12});
        json!({"type": "response.failed", "sequence_number": 2, "response": failed}).to_string()
    };
    let message = json!({"max_tokens": 1_000, "messages": [{"role": "user", "content": "Name a river."}]});
    let mut streamed_message = message.clone();
    crate::cases::merge(&mut streamed_message, streamed());
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let started = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{"input_tokens":25,"output_tokens":1}}}"#;
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "Name a river."}]}]});
    vec![
        nothing(chat("error-body", json!({})).json(error())),
        nothing(chat("error-text", json!({})).json(json!({"error": "overloaded"}))),
        nothing(responses("failed-response", json!({})).json(failed())),
        nothing(
            case("error-message", "/v1/messages", message).json(
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            ),
        ),
        nothing(
            case("error-generate", "/v1beta/models/error-generate:generateContent", gemini)
                .json(json!({"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}})),
        ),
        chat("no-error-but-null", json!({}))
            .json(
                json!({"error": null, "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}),
            )
            .costs("0.00003"),
        input(chat("error-event", streamed()).events(&[&chunk(), &error().to_string()])),
        input(chat("error-event-and-done", streamed()).events(&[&error().to_string(), "[DONE]"])),
        input(responses("failed-event", streamed()).events(&[created(), &failed_event])),
        input(responses("error-type-event", streamed()).events(&[
            created(),
            r#"{"type":"error","sequence_number":1,"code":"server_error","message":"x","param":null}"#,
        ])),
        responses("failed-event-with-usage", streamed()).events(&[created(), &with_usage]).costs("0.00003"),
        case("error-in-message", "/v1/messages", streamed_message.clone())
            .events(&[started, overloaded])
            .costs_between("0.000035", "0.00005"),
        responses("background", json!({"background": true}))
            .json(
                json!({"id": "r", "object": "response", "status": "queued", "background": true, "output": [],
                "error": null, "usage": null}),
            )
            .costs_the_reservation(),
        chat("rejected-upstream", json!({}))
            .answers(Answer::of(429, "application/json", error().to_string()))
            .status(429)
            .costs("0")
            .tokens(0),
        input(
            chat("leaves-before-the-head", json!({}))
                .answers(Answer::json(json!({"choices": []})).after(Duration::from_millis(1_500)))
                .leaves_after(Duration::from_millis(400)),
        ),
        input(
            case("leaves-before-the-message", "/v1/messages", streamed_message)
                .answers(Answer::events(&[started]).after(Duration::from_millis(1_500)))
                .leaves_after(Duration::from_millis(400)),
        ),
    ]
}
