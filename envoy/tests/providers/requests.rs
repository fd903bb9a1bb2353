//! Reservations that fit the request, and requests whose cost the body does not show.

use serde_json::{Value, json};
use tollgate_envoy::client::{Request, Response};
use tollgate_envoy::scripted::Arrived;

use crate::cases::{Case, case, chat};

fn body(arrived: &Arrived) -> Value {
    serde_json::from_slice(&arrived.body).unwrap_or_else(|error| panic!("{error}: {arrived:?}"))
}

fn has_no_stream_options(arrived: &Arrived) -> bool {
    body(arrived).get("stream_options").is_none()
}

fn form(fields: &[(&str, &str)], file: &[u8]) -> Request {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(
            format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .as_bytes(),
        );
    }
    body.extend_from_slice(
        b"--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\ncontent-type: audio/mpeg\r\n\r\n",
    );
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--edge--\r\n");
    Request::new("POST", "/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=edge")
        .body(body)
}

fn usage(input: u64, output: u64) -> Value {
    json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Red."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}})
}

fn names_both(refused: &Response) -> bool {
    ["bound-to-one-model", "another-model"].iter().all(|name| refused.text().contains(name))
}

pub fn all() -> Vec<Case> {
    let chunks: &[&str] =
        &[r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#, "[DONE]"];
    let free = json!({});
    let image = "A".repeat(60_000);
    let pictured = json!({"max_tokens": 200, "messages": [{"role": "user", "content": [
        {"type": "text", "text": "Name the color."},
        {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{image}")}}]}]});
    let without_bound = json!({"price": {"input": "3", "output": "15"}});
    let hidden =
        |name, more: Value| chat(name, more).target(without_bound.clone()).rejected(400, "unbounded_cost");
    let small = json!({"limits": {"tpm": 10_000}});
    let spoken = |name| {
        case(name, "/v1/audio/speech", json!({"voice": "alloy", "input": "Good morning"}))
            .target(json!({"price": {"input": "15", "output": "0"}}))
            .team(small.clone())
            .answers(tollgate_envoy::scripted::Answer::of(200, "audio/mpeg", [0xff_u8, 0xfb].repeat(2_000)))
    };
    let mut speech = spoken("speech-in-a-small-limit");
    speech.requests = vec![speech.requests[0].clone(); 3];
    let recording = vec![b'A'; 200_000];
    let transcribed = form(&[("model", "transcription")], &recording);
    vec![
        chat("never-a-usage-chunk", json!({"stream": true}))
            .target(json!({"price": {"input": "1", "output": "10"}, "usage_chunk": "never"}))
            .events(chunks)
            .forwards(has_no_stream_options)
            .costs_the_reservation(),
        chat("unlimited-stream", json!({"stream": true}))
            .team(free.clone())
            .events(chunks)
            .forwards(has_no_stream_options),
        chat("limited-stream", json!({"stream": true})).events(chunks).forwards(|arrived| body(arrived)["stream_options"]["include_usage"] == true),
        case("pictures-by-number", "/v1/images/generations", json!({"prompt": "a cat", "n": 10}))
            .target(json!({"price": {"input": "0", "output": "0", "request": "0.02"}}))
            .json(json!({"created": 1, "data": [{"url": "https://pictures.test/1.png"}]}))
            .costs("0.2"),
        case("one-picture", "/v1/images/generations", json!({"prompt": "a cat"}))
            .target(json!({"price": {"input": "0", "output": "0", "request": "0.02"}}))
            .json(json!({"created": 1, "data": [{"url": "https://pictures.test/1.png"}]}))
            .costs("0.02"),
        chat("picture-in-a-small-budget", pictured.clone())
            .team(json!({"budget": {"max": "0.07"}}))
            .json(usage(1_049, 59))
            .costs("0.001639"),
        chat("picture-in-a-small-limit", pictured)
            .team(json!({"limits": {"tpm": 10_000}}))
            .json(usage(1_049, 59))
            .tokens(1_108),
        case("transcription", "", json!({}))
            .requests(vec![transcribed])
            .target(json!({"price": {"input": "6", "output": "10"}, "max_output_tokens": 2_000}))
            .team(json!({"budget": {"max": "1"}}))
            .json(json!({"text": "hello", "usage": {"type": "tokens", "total_tokens": 2_400, "input_tokens": 1_900,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 1_900}, "output_tokens": 500}}))
            .costs("0.0164"),
        speech,
        hidden("searches-of-a-plugin", json!({"plugins": [{"id": "web", "max_results": 10}]})),
        hidden("searches-by-a-switch", json!({"enable_search": true})),
        hidden("searches-by-parameters", json!({"search_parameters": {"mode": "on"}})),
        hidden("searches-by-options", json!({"web_search_options": {}})),
        chat("bound-to-one-model", json!({"model": "another-model"}))
            .route(json!({"path": "/bound/chat/completions", "methods": ["POST"], "api": "openai-chat",
                "target": "bound-to-one-model"}))
            .requests(vec![Request::json(
                "/bound/chat/completions",
                &json!({"model": "another-model", "messages": []}),
            )])
            .rejected(400, "model_mismatch")
            .response(names_both),
    ]
}
