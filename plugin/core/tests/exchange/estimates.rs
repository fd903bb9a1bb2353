//! The amounts that are reserved for a call: its input, its output, its tools and the price of several images.

use serde_json::{Value, json};
use tollgate_core::admission::Reservation;
use tollgate_core::money::{DOLLAR, Pico};

use super::*;

pub(super) const IMAGE: u64 = 16_384;
pub(super) const TEXT: usize = 60_000;

/// A gateway with one team under this budget, and the targets.
pub(super) fn gateway_with(targets: Value, team: &Value) -> Rc<GatewayConfig> {
    let mut policy = policy();
    policy["targets"] = targets;
    policy["organizations"]["acme"]["access"]["targets"] = json!(["*"]);
    let blue = policy["teams"]["blue"].as_object_mut().unwrap();
    blue.remove("budget");
    blue.extend(team.as_object().unwrap().clone());
    gateway(&json!({ "policy": policy }))
}

/// A gateway whose target costs $1 for a million input tokens and nothing else.
pub(super) fn input_only() -> Rc<GatewayConfig> {
    gateway_with(
        json!({ "small": { "price": { "input": "1", "output": "0" } } }),
        &json!({ "budget": { "max": "1000" } }),
    )
}

pub(super) fn reservation(gateway: &Rc<GatewayConfig>, path: &str, body: &str) -> Reservation {
    with_key(gateway, path, Some(body)).charges().reservation
}

/// Input tokens that are reserved for money.
pub(super) fn most_input(gateway: &Rc<GatewayConfig>, path: &str, body: &str) -> u64 {
    let Pico(cost) = reservation(gateway, path, body).cost;
    u64::try_from(cost / 1_000_000).unwrap()
}

pub(super) fn base64() -> String {
    "A".repeat(TEXT)
}

/// Puts base64 text for `DATA`.
pub(super) fn with_data(body: &str) -> String {
    body.replace("DATA", &base64())
}

pub(super) const MESSAGES: &str = "/v1/messages";
pub(super) const RESPONSES: &str = "/v1/responses";
pub(super) const GEMINI: &str = "/v1beta/models/small:generateContent";

fn form(parts: &[(&str, &str)]) -> String {
    let part = |(disposition, content): &(&str, &str)| {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--b--\r\n"
}

fn sent_form(gateway: &Rc<GatewayConfig>, path: &str, parts: &[(&str, &str)]) -> Reservation {
    let bearer = format!("Bearer {KEY}");
    let fields = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=b")];
    decide(gateway, path, &fields, Some(&form(parts))).charges().reservation
}

#[test]
fn files_of_a_form_are_media_in_the_apis_that_take_them() {
    let gateway = input_only();
    let data = base64();
    let model = ("name=\"model\"", "small");
    let file = ("name=\"file\"; filename=\"a.mp3\"", data.as_str());
    let tokens = |reservation: Reservation| u64::try_from(reservation.cost.0 / 1_000_000).unwrap();
    let heard = sent_form(&gateway, "/v1/audio/transcriptions", &[model, file]);
    let sound = TEXT as u64 / 600 * 32 + 32;
    assert!((sound..sound + 400).contains(&tokens(heard)), "{heard:?}");
    assert!(heard.input_tokens < 700 && heard.tokens == heard.input_tokens, "{heard:?}");
    let image = ("name=\"image[]\"; filename=\"a.png\"", data.as_str());
    let mask = ("name=\"mask\"; filename=\"b.png\"", "x");
    let edited = tokens(sent_form(&gateway, "/v1/images/edits", &[image, model, image, mask]));
    assert!((3 * IMAGE..3 * IMAGE + 600).contains(&edited), "{edited}");
    for (path, parts) in [
        (CHAT, [model, file]),
        ("/v1/audio/transcriptions", [model, ("name=\"file\"", data.as_str())]),
        ("/v1/audio/transcriptions", [model, ("name=\"prompt\"; filename=\"a.mp3\"", data.as_str())]),
        ("/v1/images/edits", [model, ("name=\"prompt\"", data.as_str())]),
    ] {
        let text = tokens(sent_form(&gateway, path, &parts));
        assert!(text >= TEXT as u64, "{text} for {path} {:?}", parts[1].0);
    }
}

#[test]
fn max_input_tokens_of_the_target_caps_every_estimate() {
    let targets = json!({
        "small": { "price": { "input": "1", "output": "0" }, "max_input_tokens": 9_000 },
        "other": { "price": { "input": "1", "output": "0" }, "max_input_tokens": 20_000 },
        "open": { "price": { "input": "1", "output": "0" } },
    });
    let gateway = gateway_with(targets, &json!({ "budget": { "max": "1000" } }));
    let text = |model: &str| format!(r#"{{"model":{model},"messages":[{{"content":"{}"}}]}}"#, base64());
    let body = text(r#""small""#);
    assert_eq!(most_input(&gateway, CHAT, &body), 9_000);
    assert_eq!(reservation(&gateway, CHAT, &body).input_tokens, 9_000);
    assert_eq!(most_input(&gateway, CHAT, &text(r#""small","models":["other"]"#)), 20_000);
    let open = text(r#""small","models":["open"]"#);
    assert_eq!(most_input(&gateway, CHAT, &open), open.len() as u64 + 32, "one of them has no maximum");
    let image = with_data(
        r#"{"model":"small","messages":[{"content":[{"image_url":{"url":"data:image/png;base64,DATA"}}]}]}"#,
    );
    assert_eq!(most_input(&gateway, CHAT, &image), 9_000);
}

#[test]
fn output_is_reserved_up_to_the_targets_maximum_and_only_where_there_is_any() {
    let targets = json!({
        "small": { "price": { "input": "1", "output": "10" }, "max_output_tokens": 500 },
        "flat": { "price": { "input": "0", "output": "0", "request": "0.006" } },
        "free": {},
    });
    let gateway = gateway_with(targets, &json!({ "limits": { "tpm": 10_000 } }));
    let output = |path: &str, body: &str| {
        let reservation = reservation(&gateway, path, body);
        reservation.tokens - reservation.input_tokens
    };
    assert_eq!(output(CHAT, r#"{"model":"small","max_tokens":90000}"#), 500);
    assert_eq!(output(CHAT, r#"{"model":"small","max_tokens":90000,"n":3}"#), 1_500);
    assert_eq!(output(CHAT, r#"{"model":"small","max_tokens":90}"#), 90);
    assert_eq!(output(CHAT, r#"{"model":"small"}"#), 500);
    assert_eq!(output("/v1/embeddings", r#"{"model":"small","input":"x"}"#), 0);
    for model in ["flat", "free"] {
        for path in ["/v1/audio/speech", "/v1/images/generations"] {
            let body = format!(r#"{{"model":"{model}","input":"x","prompt":"x"}}"#);
            assert_eq!(output(path, &body), 0, "{model} {path}");
        }
        let parts = [("name=\"model\"", model), ("name=\"file\"; filename=\"a.mp3\"", "xx")];
        let heard = sent_form(&gateway, "/v1/audio/transcriptions", &parts);
        assert_eq!(heard.tokens, heard.input_tokens, "{model}");
    }
    let parts = [("name=\"model\"", "small"), ("name=\"file\"; filename=\"a.mp3\"", "xx")];
    let heard = sent_form(&gateway, "/v1/audio/transcriptions", &parts);
    assert_eq!(heard.tokens - heard.input_tokens, 500, "a transcription with an output price");
    assert_eq!(output("/v1/images/generations", r#"{"model":"small","prompt":"x","n":2}"#), 1_000);
}

#[test]
fn the_price_of_a_call_is_paid_for_each_image_and_once_for_a_chat() {
    let targets = json!({ "small": { "price": { "input": "0", "output": "0", "request": "0.02" } } });
    let gateway = gateway_with(targets, &json!({ "budget": { "max": "1000" } }));
    let cents = |path: &str, body: &str| reservation(&gateway, path, body).cost.0 / (DOLLAR / 100);
    assert_eq!(cents("/v1/images/generations", r#"{"model":"small","prompt":"cat","n":10}"#), 20);
    assert_eq!(cents("/v1/images/generations", r#"{"model":"small","prompt":"cat"}"#), 2);
    assert_eq!(cents("/openai/deployments/small/images/generations", r#"{"prompt":"cat","n":3}"#), 6);
    assert_eq!(cents(CHAT, r#"{"model":"small","n":10}"#), 2);
    let parts =
        [("name=\"model\"", "small"), ("name=\"n\"", "4"), ("name=\"image\"; filename=\"a.png\"", "x")];
    assert_eq!(sent_form(&gateway, "/v1/images/variations", &parts).cost.0 / (DOLLAR / 100), 8);
}

#[test]
fn tools_are_reserved_for_only_where_the_body_declares_them() {
    let gateway = input_only();
    for (path, tools, body) in [
        (CHAT, false, r#"{"model":"small","messages":[]}"#),
        (CHAT, false, r#"{"model":"small","tools":[]}"#),
        (CHAT, false, r#"{"model":"small","tools":null,"functions":[]}"#),
        (CHAT, false, r#"{"model":"small","metadata":{"tools":[{"type":"function"}]}}"#),
        (CHAT, true, r#"{"model":"small","tools":[{"type":"function","function":{"name":"f"}}]}"#),
        (CHAT, true, r#"{"model":"small","functions":[{"name":"f"}]}"#),
        (
            MESSAGES,
            true,
            r#"{"model":"small","max_tokens":1,"tools":[{"type":"bash_20250124","name":"bash"}]}"#,
        ),
        (GEMINI, true, r#"{"tools":{"functionDeclarations":[]}}"#),
    ] {
        let more = if tools { 3_072 } else { 0 };
        assert_eq!(most_input(&gateway, path, body), body.len() as u64 + 32 + more, "{body}");
    }
}
