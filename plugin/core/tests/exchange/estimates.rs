//! Estimates of media by kind, of output that an API does not have, and of the price of several images.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_core::admission::{self, ActualUsage, Reservation};
use tollgate_core::counters::{Cas, CounterStore, RecordKey, StoreError};
use tollgate_core::money::{DOLLAR, Pico};

use super::*;

const IMAGE: u64 = 16_384;
const TEXT: usize = 60_000;

/// A gateway with one team under this budget, and the targets.
fn gateway_with(targets: Value, team: &Value) -> Rc<GatewayConfig> {
    let mut policy = policy();
    policy["targets"] = targets;
    policy["organizations"]["acme"]["access"]["targets"] = json!(["*"]);
    let blue = policy["teams"]["blue"].as_object_mut().unwrap();
    blue.remove("budget");
    blue.extend(team.as_object().unwrap().clone());
    gateway(&json!({ "policy": policy }))
}

/// A gateway whose target costs $1 for a million input tokens and nothing else.
fn input_only() -> Rc<GatewayConfig> {
    gateway_with(
        json!({ "small": { "price": { "input": "1", "output": "0" } } }),
        &json!({ "budget": { "max": "1000" } }),
    )
}

fn reservation(gateway: &Rc<GatewayConfig>, path: &str, body: &str) -> Reservation {
    with_key(gateway, path, Some(body)).charges().reservation
}

/// Input tokens that are reserved for money.
fn most_input(gateway: &Rc<GatewayConfig>, path: &str, body: &str) -> u64 {
    let Pico(cost) = reservation(gateway, path, body).cost;
    u64::try_from(cost / 1_000_000).unwrap()
}

fn base64() -> String {
    "A".repeat(TEXT)
}

/// Puts base64 text for `DATA`.
fn with_data(body: &str) -> String {
    body.replace("DATA", &base64())
}

const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const GEMINI: &str = "/v1beta/models/small:generateContent";

#[test]
fn inline_images_are_reserved_by_their_number() {
    let gateway = input_only();
    for (path, images, body) in [
        (
            CHAT,
            1,
            r#"{"model":"small","messages":[{"role":"user","content":[{"type":"text","text":"what"},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,DATA"}}]}]}"#,
        ),
        (
            CHAT,
            1,
            r#"{"model":"small","messages":[{"role":"user","content":[{"type":"image_url","image_url":"data:IMAGE/WebP;base64,DATA"}]}]}"#,
        ),
        (
            CHAT,
            2,
            r#"{"model":"small","messages":[{"content":[{"image_url":{"detail":"high","url":"data:image/jpeg;base64,DATA"}},
            {"image_url":{"url":"data:image/gif;base64,AA"}}]}]}"#,
        ),
        (
            RESPONSES,
            1,
            r#"{"model":"small","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,DATA"}]}]}"#,
        ),
        (
            RESPONSES,
            1,
            r#"{"model":"small","input":[{"type":"computer_call_output","call_id":"c","output":
            {"type":"computer_screenshot","image_url":"data:image/png;base64,DATA"}}]}"#,
        ),
        (
            RESPONSES,
            1,
            r#"{"model":"small","input":[{"type":"function_call_output","call_id":"c","output":
            [{"type":"input_image","image_url":"data:image/png;base64,DATA"}]}]}"#,
        ),
        (
            MESSAGES,
            1,
            r#"{"model":"small","max_tokens":1,"messages":[{"role":"user","content":[
            {"type":"image","source":{"type":"base64","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (
            MESSAGES,
            1,
            r#"{"model":"small","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t",
            "content":[{"source":{"data":"DATA","media_type":"image/jpeg","type":"base64"},"type":"image"}]}]}]}"#,
        ),
        (
            MESSAGES,
            1,
            r#"{"model":"small","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","source":
            {"type":"content","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"DATA"}}]}}]}]}"#,
        ),
        (GEMINI, 1, r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"DATA"}}]}]}"#),
        (GEMINI, 1, r#"{"contents":{"parts":{"inline_data":{"data":"DATA","mime_type":"image/heic"}}}}"#),
        (
            GEMINI,
            1,
            r#"{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{},"parts":[
            {"inlineData":{"mimeType":"image/png","data":"DATA"}}]}}]}]}"#,
        ),
        (
            "/v1/images/edits",
            1,
            r#"{"model":"small","prompt":"x","images":[{"image_url":"data:image/png;base64,DATA"}]}"#,
        ),
        ("/v1/embeddings", 1, r#"{"model":"small","images":["data:image/png;base64,DATA"]}"#),
    ] {
        let (most, body) = (most_input(&gateway, path, &with_data(body)), with_data(body));
        let text = (body.len() - TEXT) as u64 + 32;
        assert!((images * IMAGE..=images * IMAGE + text).contains(&most), "{most} for {body:.200}");
        let likely = reservation(&gateway, path, &body).input_tokens;
        assert!((images * 1_600..images * 1_600 + text).contains(&likely), "{likely} for {body:.200}");
    }
}

#[test]
fn sound_video_and_documents_are_reserved_by_their_length() {
    let gateway = input_only();
    let content = TEXT as u64 * 3 / 4;
    let (sound, video) = (content / 600 * 32 + 32, content / 4_000 * 300 + 300);
    let pdf = content + 4_600;
    for (path, bound, body) in [
        (
            CHAT,
            sound,
            r#"{"model":"small","messages":[{"content":[{"type":"input_audio","input_audio":{"data":"DATA","format":"wav"}}]}]}"#,
        ),
        (
            CHAT,
            sound,
            r#"{"model":"small","messages":[{"content":[{"type":"audio_url","audio_url":{"url":"data:audio/ogg;base64,DATA"}}]}]}"#,
        ),
        (
            GEMINI,
            sound,
            r#"{"contents":[{"parts":[{"inlineData":{"data":"DATA","mimeType":"audio/mp3"}}]}]}"#,
        ),
        (
            CHAT,
            video,
            r#"{"model":"small","messages":[{"content":[{"video_url":{"url":"data:video/mp4;base64,DATA"}}]}]}"#,
        ),
        (
            GEMINI,
            video,
            r#"{"contents":[{"parts":[{"inlineData":{"data":"DATA","mimeType":"video/mp4"}}]}]}"#,
        ),
        (
            CHAT,
            pdf,
            r#"{"model":"small","messages":[{"content":[{"type":"file","file":{"filename":"a.PDF","file_data":"data:application/pdf;base64,DATA"}}]}]}"#,
        ),
        (
            RESPONSES,
            pdf,
            r#"{"model":"small","input":[{"content":[{"type":"input_file","file_data":"data:application/pdf;base64,DATA","filename":"a.pdf"}]}]}"#,
        ),
        (
            MESSAGES,
            pdf,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"DATA"}}]}]}"#,
        ),
        (
            GEMINI,
            pdf,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"application/pdf","data":"DATA"}}]}]}"#,
        ),
    ] {
        let body = with_data(body);
        let most = most_input(&gateway, path, &body);
        let text = (body.len() - TEXT) as u64 + 64;
        assert!((bound..bound + text).contains(&most), "{most}, not {bound}, for {body:.200}");
        let likely = reservation(&gateway, path, &body).input_tokens;
        assert!(likely < most && likely <= (body.len() as u64) / 4 + 1_632, "{likely} for {body:.200}");
    }
}

#[test]
fn text_in_the_form_of_media_costs_as_much_as_text() {
    let gateway = input_only();
    for (path, body) in [
        // The look of a string changes nothing.
        (CHAT, r#"{"model":"small","messages":[{"content":"data:image/png;base64,DATA"}]}"#),
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"type":"text","text":"data:image/png;base64,DATA"}]}]}"#,
        ),
        // Schemas, arguments and results are shown to the model as text.
        (
            CHAT,
            r#"{"model":"small","messages":[],"tools":[{"function":{"parameters":{"content":[{"image_url":{"url":"data:image/png;base64,DATA"}}]}}}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"small","response_format":{"messages":[{"content":[{"image_url":"data:image/png;base64,DATA"}]}]}}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"type":"tool_use","input":
            {"source":{"type":"base64","media_type":"image/png","data":"DATA"}}}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"tools":[{"input_schema":{"source":{"type":"base64","media_type":"image/png","data":"DATA"}}}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"functionCall":{"args":{"inlineData":{"mimeType":"image/png","data":"DATA"}}}}]}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"functionResponse":{"response":{"parts":[{"inlineData":{"mimeType":"image/png","data":"DATA"}}]}}}]}]}"#,
        ),
        // Text by its type.
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"image_url":{"url":"data:text/plain;base64,DATA"}}]}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"image_url":{"url":"data:image/svg+xml;base64,DATA"}}]}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"file":{"file_data":"data:text/markdown;base64,DATA","filename":"a.pdf"}}]}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"file":{"file_data":"data:application/pdf;base64,DATA","filename":"a.txt"}}]}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"small","messages":[{"content":[{"file":{"file_data":"data:image/png;base64,DATA"}}]}]}"#,
        ),
        (
            RESPONSES,
            r#"{"model":"small","input":[{"content":[{"filename":"notes.csv","file_data":"data:application/pdf;base64,DATA"}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"DATA"}}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"type":"document","source":{"type":"text","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (GEMINI, r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"text/csv","data":"DATA"}}]}]}"#),
        (GEMINI, r#"{"contents":[{"parts":[{"inlineData":{"data":"DATA"}}]}]}"#),
        // Two values of one member: some readers take the first, others the last.
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"source":{"type":"text","type":"base64","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","mime_type":"text/plain","data":"DATA"}}]}]}"#,
        ),
        // A description that only some servers read, in place of the other.
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"source":{"type":"base64","Type":"text","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"source":{"MEDIA_TYPE":"text/plain","type":"base64","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","mimetype":"text/plain","data":"DATA"}}]}]}"#,
        ),
        // Spellings that only some servers know.
        (GEMINI, r#"{"contents":[{"parts":[{"inlinedata":{"mimeType":"image/png","data":"DATA"}}]}]}"#),
        (
            CHAT,
            r#"{"model":"small","Messages":[{"content":[{"image_url":{"url":"data:image/png;base64,DATA"}}]}]}"#,
        ),
    ] {
        let body = with_data(body);
        let most = most_input(&gateway, path, &body);
        assert!(most >= body.len() as u64, "{most} for {body:.200}");
        let likely = reservation(&gateway, path, &body).input_tokens;
        assert!(likely >= body.len() as u64 / 4, "{likely} for {body:.200}");
    }
    // Data of one object is no data of the next.
    let beside = with_data(
        r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"source":{"type":"text","data":"DATA"}},
            {"source":{"type":"base64","media_type":"image/png","data":"AA"}}]}]}"#,
    );
    assert!(most_input(&gateway, MESSAGES, &beside) >= TEXT as u64 + IMAGE);
    let two = with_data(
        r#"{"model":"small","max_tokens":1,"messages":[{"content":[{"source":{"type":"base64","media_type":"image/png","data":"DATA","data":"AA"}}]}]}"#,
    );
    assert!(most_input(&gateway, MESSAGES, &two) >= 2 * IMAGE, "both may be read");
}

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
fn a_settlement_without_usage_pays_for_each_image_too() {
    let targets = json!({ "small": { "price": { "input": "0", "output": "0", "request": "0.02" } } });
    let gateway = gateway_with(targets, &json!({ "budget": { "max": "1000" } }));
    let body = r#"{"model":"small","prompt":"cat","n":10}"#;
    for answer in [r#"{"data":[]}"#, r#"{"data":[],"usage":{"input_tokens":9,"output_tokens":9}}"#] {
        let mut store = Store::default();
        let cost = run(&gateway, &mut store, "/v1/images/generations", body, answer, 0).unwrap().cost;
        assert_eq!(cost, Pico(DOLLAR / 5), "{answer}");
    }
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

/// Counter records in memory.
#[derive(Default)]
struct Store(BTreeMap<String, Vec<u8>>);

impl CounterStore for Store {
    type Version = ();

    fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, ()), StoreError> {
        Ok((self.0.get(name.as_str()).cloned().unwrap_or_default(), ()))
    }

    fn compare_and_swap(&mut self, name: &RecordKey, (): (), bytes: &[u8]) -> Result<Cas, StoreError> {
        self.0.insert(name.as_str().to_owned(), bytes.to_vec());
        Ok(Cas::Stored)
    }
}

fn at(second: u64) -> Now {
    Now { wall: NOW.wall + second * SECOND, monotonic: NOW.monotonic + second * SECOND }
}

/// Admits a request, and leaves it running; or its rejection.
fn begin(
    gateway: &Rc<GatewayConfig>,
    store: &mut Store,
    path: &str,
    body: &str,
    second: u64,
) -> Result<Exchange, Box<tollgate_core::http::local_response::LocalResponse>> {
    let Decided { step, mut exchange, .. } = with_key(gateway, path, Some(body));
    let Action::Admit(request) = step else { panic!("{step:?}") };
    match exchange.admitted(admission::acquire(store, request, at(second))).0 {
        Action::Forward(_) => Ok(exchange),
        Action::Answer(answer) => Err(Box::new(answer)),
        other => panic!("{other:?}"),
    }
}

fn end(mut exchange: Exchange, store: &mut Store, answer: &str) -> ActualUsage {
    let head: &[(&[u8], &[u8])] = &[(b":status", b"200"), (b"content-type", b"application/json")];
    exchange.response_headers(&Headers::new(head), &mut |_| {});
    exchange.response_body(answer.as_bytes(), true);
    let (receipt, actual) = exchange.finish(true).unwrap();
    assert!(admission::settle(store, receipt, actual).is_empty());
    actual
}

fn run(
    gateway: &Rc<GatewayConfig>,
    store: &mut Store,
    path: &str,
    body: &str,
    answer: &str,
    second: u64,
) -> Option<ActualUsage> {
    let exchange = begin(gateway, store, path, body, second).ok()?;
    Some(end(exchange, store, answer))
}

#[test]
fn a_team_with_a_small_token_limit_can_send_an_image() {
    let gateway = gateway_with(json!({ "small": {} }), &json!({ "limits": { "tpm": 10_000 } }));
    for (path, body) in [
        (
            CHAT,
            r#"{"model":"small","max_tokens":500,"messages":[{"content":[{"image_url":{"url":"data:image/png;base64,DATA"}}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"small","max_tokens":500,"messages":[{"content":[{"source":{"type":"base64","media_type":"image/png","data":"DATA"}}]}]}"#,
        ),
        (GEMINI, r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"DATA"}}]}]}"#),
    ] {
        let mut store = Store::default();
        begin(&gateway, &mut store, path, &with_data(body), 0).unwrap();
    }
}

#[test]
fn a_budget_of_a_cent_is_used_to_95_percent_by_small_calls() {
    for (input, output, tokens) in [("1", "10", 8), ("2.50", "10", 20), ("3", "15", 12)] {
        let targets = json!({ "small": { "price": { "input": input, "output": output } } });
        let gateway = gateway_with(targets, &json!({ "budget": { "max": "0.01", "period": "month" } }));
        let body = r#"{"model":"small","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
        assert!(reservation(&gateway, CHAT, body).cost.0 <= DOLLAR / 2_000);
        let answer =
            format!(r#"{{"choices":[],"usage":{{"prompt_tokens":{tokens},"completion_tokens":5}}}}"#);
        let mut store = Store::default();
        let mut spent = 0;
        let calls = (0..).map_while(|second| run(&gateway, &mut store, CHAT, body, &answer, second));
        calls.for_each(|actual| spent += actual.cost.0);
        assert!((DOLLAR / 100 * 95 / 100..=DOLLAR / 100).contains(&spent), "{spent}");
    }
}

#[test]
fn calls_in_flight_make_the_wait_short_and_the_message_says_so() {
    let targets =
        json!({ "small": { "price": { "input": "1", "output": "10" }, "max_output_tokens": 100_000 } });
    let body = r#"{"model":"small","messages":[]}"#;
    let answer = r#"{"usage":{"prompt_tokens":9,"completion_tokens":9}}"#;
    for team in
        [json!({ "budget": { "max": "2", "period": "month" } }), json!({ "limits": { "tpd": 150_000 } })]
    {
        let gateway = gateway_with(targets.clone(), &team);
        let mut store = Store::default();
        let running = begin(&gateway, &mut store, CHAT, body, 0).unwrap();
        let refused = begin(&gateway, &mut store, CHAT, body, 0).unwrap_err();
        let field = |name: &str| {
            refused.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
        };
        assert_eq!((refused.status, field("retry-after"), field("x-should-retry")), (429, Some("1"), None));
        assert!(
            refused.body.contains("Calls that have not ended reserve what is missing"),
            "{}",
            refused.body
        );
        end(running, &mut store, answer);
        begin(&gateway, &mut store, CHAT, body, 1).unwrap();
    }
}

#[test]
fn the_advice_of_a_rejection_fits_its_cause() {
    let refusal = |price: Value, team: Value, body: &str| {
        let gateway = gateway_with(json!({ "small": { "price": price } }), &team);
        begin(&gateway, &mut Store::default(), CHAT, body, 0).unwrap_err().body
    };
    let long = format!(r#"{{"model":"small","max_tokens":9,"messages":"{}"}}"#, base64());
    let short = r#"{"model":"small","max_tokens":90000,"messages":[]}"#;
    let price = json!({ "input": "10", "output": "10" });
    let budget = json!({ "budget": { "max": "0.5" } });
    let of_output = refusal(price.clone(), budget.clone(), short);
    assert!(of_output.contains("A lower `max_tokens`"), "{of_output}");
    let of_input = refusal(price, budget.clone(), &long);
    assert!(!of_input.contains("max_tokens`") && of_input.contains("shorter input"), "{of_input}");
    let flat = refusal(json!({ "input": "0", "output": "0", "request": "1" }), budget, short);
    assert!(!flat.contains("A lower `max_tokens`"), "{flat}");
    let limited = refusal(json!({ "input": "0", "output": "0" }), json!({ "limits": { "tpm": 900 } }), &long);
    assert!(limited.contains("request_too_large_for_limit") && !limited.contains("max_tokens"), "{limited}");
}
