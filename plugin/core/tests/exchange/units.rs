//! Charges by the unit: characters, seconds, images and searches; and costs that the provider reports.

use serde_json::json;

use super::estimates::{GEMINI, MESSAGES, RESPONSES, gateway_with};
use super::prices::{Call, EVENTS, JSON, MICRO, chat, dollars, selling};
use super::*;

const SPEECH: &str = "/v1/audio/speech";
const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";
const IMAGES: &str = "/v1/images/generations";

#[test]
fn speech_is_charged_by_the_character() {
    let gateway = selling(json!({ "input": "0", "output": "0", "character": "0.00002" }), json!({}));
    let spoken = |input: &str| {
        let body = format!(r#"{{"model":"small","voice":"alloy","input":{input}}}"#);
        let call = Call::of(with_key(&gateway, SPEECH, Some(&body)));
        let reserved = call.reservation;
        assert_eq!(reserved.tokens, reserved.input_tokens, "no output tokens");
        let actual = call.after("audio/mpeg", "\u{1}\u{2}", true);
        assert_eq!(actual.cost, reserved.cost);
        actual.cost.0 / dollars("0.00002")
    };
    for (input, characters) in [
        (r#""Good morning""#, 12),
        (r#""""#, 0),
        (r#""Gr\u00fc\u00dfe""#, 5),
        ("\"Grüße\"", 5),
        (r#""\ud83d\ude00 \"x\"\n""#, 6),
        ("\"日本語\"", 3),
    ] {
        assert_eq!(spoken(input), characters, "{input}");
    }
    assert_eq!(spoken(&format!("\"{}\"", "ü".repeat(32_768))), 32_768);
    // A text that is too long to be kept counts by its bytes from there on.
    let long = spoken(&format!("\"{}\"", "ü".repeat(40_000)));
    assert!((40_000..=80_002).contains(&long), "{long}");
    // Other APIs' `input` is not spoken.
    let embedding = json!({ "model": "small", "input": "Good morning" });
    assert_eq!(Call::new(&gateway, "/v1/embeddings", &embedding).reservation.cost, Pico(0));
}

fn transcription(gateway: &Rc<GatewayConfig>, bytes: usize) -> Call {
    let file = "A".repeat(bytes);
    let form = format!(
        "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nsmall\r\n--b\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n{file}\r\n--b--\r\n"
    );
    let bearer = format!("Bearer {KEY}");
    let fields = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=b")];
    Call::of(decide(gateway, TRANSCRIPTIONS, &fields, Some(&form)))
}

#[test]
fn recordings_are_charged_by_the_second() {
    let price = json!({ "input": "0", "output": "0", "second": "0.0001" });
    let gateway = selling(price.clone(), json!({}));
    let call = transcription(&gateway, 12_000);
    assert_eq!({ call.reservation.cost.0 }, 21 * dollars("0.0001"), "600 bytes a second at least");
    assert_eq!(call.reservation.tokens, call.reservation.input_tokens);
    for (answer, nanoseconds) in [
        (r#"{"text":"a","usage":{"type":"duration","seconds":3}}"#, 3_000_000_000_u128),
        (r#"{"text":"a","usage":{"type":"duration","seconds":3.5}}"#, 3_500_000_000),
        (r#"{"duration":"8.25","text":"a","segments":[]}"#, 8_250_000_000),
        (r#"{"duration":8.470000267028809,"text":"a"}"#, 8_470_000_268),
        (r#"{"duration":9.1,"text":"a","usage":{"type":"duration","seconds":10}}"#, 10_000_000_000),
        (
            r#"{"text":"a","usage":{"prompt_audio_seconds":7,"prompt_tokens":4,"completion_tokens":9}}"#,
            7_000_000_000,
        ),
        (r#"{"text":"a"}"#, 21_000_000_000),
        (r#"{"text":"a","segments":[{"duration":1}]}"#, 21_000_000_000),
    ] {
        let actual = transcription(&gateway, 12_000).after(JSON, answer, true);
        assert_eq!({ actual.cost.0 }, (nanoseconds * dollars("0.0001")).div_ceil(1_000_000_000), "{answer}");
    }
    let text = transcription(&gateway, 12_000).after("text/plain", r#"{"usage":{"seconds":0}}"#, true);
    assert_eq!({ text.cost.0 }, 21 * dollars("0.0001"), "the caller's words are no report");
    let capped = selling(price, json!({ "max_input_tokens": 5 }));
    assert_eq!({ transcription(&capped, 12_000).reservation.cost.0 }, 5 * dollars("0.0001"));
}

#[test]
fn images_are_charged_by_their_number() {
    for price in [
        json!({ "input": "0", "output": "0", "image": "0.02" }),
        json!({ "input": "0", "output": "0", "request": "0.02" }),
    ] {
        let gateway = selling(price, json!({}));
        for (more, number) in [(json!({}), 1), (json!({ "n": 10 }), 10), (json!({ "n": null }), 1)] {
            let mut body = json!({ "model": "small", "prompt": "a cat" });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let call = Call::new(&gateway, IMAGES, &body);
            assert_eq!({ call.reservation.cost.0 }, number * dollars("0.02"));
            assert_eq!(
                call.costs(&json!({ "data": [{ "url": "https://images.test/1" }] })),
                number * dollars("0.02")
            );
        }
    }
    let gateway = selling(json!({ "input": "0", "output": "0", "image": "0.02" }), json!({}));
    assert_eq!(Call::new(&gateway, CHAT, &chat(json!({ "n": 10 }))).reservation.cost, Pico(0));
}

#[test]
fn searches_are_charged_as_they_are_counted_or_listed() {
    let gateway = selling(
        json!({ "input": "0", "output": "0", "search": "0.01" }),
        json!({ "max_input_tokens": 1_000 }),
    );
    let searching = chat(json!({ "tools": [{ "type": "web_search" }] }));
    let call = |action: &str| json!({ "type": "web_search_call", "status": "completed", "action": { "query": "x", "type": action } });
    let output = json!([call("search"), { "type": "message", "content": [{ "type": "web_search_call" }] }, call("open_page"),
        { "action": { "type": "search" }, "type": "web_search_call" }, { "type": "web_search_call" }, call("find_in_page")]);
    let tokens = json!({ "input_tokens": 1, "output_tokens": 1 });
    let with = |more: Value| {
        let mut usage = tokens.clone();
        usage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "usage": usage })
    };
    let gemini = json!({ "contents": [], "tools": [{ "googleSearch": {} }] });
    let queries = json!({ "candidates": [{ "content": { "parts": [{ "functionCall": { "args": { "webSearchQueries": ["no"] } } }] },
        "groundingMetadata": { "webSearchQueries": ["a", "b"] } }], "usageMetadata": { "promptTokenCount": 1 } });
    for (path, body, answer, searches) in [
        (
            MESSAGES,
            &searching,
            with(json!({ "server_tool_use": { "web_search_requests": 4, "web_fetch_requests": 9 } })),
            4,
        ),
        (CHAT, &searching, with(json!({ "server_tool_use": { "web_search_requests": 3 } })), 3),
        (CHAT, &searching, with(json!({ "num_search_queries": 2 })), 2),
        (
            CHAT,
            &searching,
            with(json!({ "server_side_tool_usage_details": { "web_search_calls": 2, "x_search_calls": 3 } })),
            5,
        ),
        (RESPONSES, &searching, json!({ "output": output, "usage": tokens }), 3),
        (RESPONSES, &searching, json!({ "usage": tokens, "output": output }), 3),
        (GEMINI, &gemini, queries, 2),
        (CHAT, &searching, with(json!({})), 0),
    ] {
        let reserved = Call::new(&gateway, path, body);
        assert_eq!({ reserved.reservation.cost.0 }, 10 * dollars("0.01"), "{path}");
        assert_eq!(reserved.costs(&answer), searches * dollars("0.01"), "{path} {answer}");
    }
    assert_eq!(Call::new(&gateway, CHAT, &chat(json!({}))).reservation.cost, Pico(0));
    // Each search has an event of its own; the last event lists them all once more.
    let item =
        |kind: &str, action: &str| format!("data: {}\n\n", json!({ "item": call(action), "type": kind }));
    let events = item("response.output_item.added", "search")
        + &item("response.output_item.done", "search")
        + &item("response.output_item.done", "open_page")
        + &item("response.output_item.done", "search");
    let last = format!(
        "data: {}\n\n",
        json!({ "type": "response.completed", "response": { "output": output, "usage": tokens } })
    );
    let streamed = chat(json!({ "stream": true, "tools": [{ "type": "web_search" }] }));
    for (stream, complete, searches) in [(format!("{events}{last}"), true, 3), (events.clone(), false, 2)] {
        let actual = Call::new(&gateway, RESPONSES, &streamed).after(EVENTS, &stream, complete);
        assert_eq!({ actual.cost.0 }, searches * dollars("0.01"));
        for size in [1, 7, 64] {
            let mut call = Call::new(&gateway, RESPONSES, &streamed);
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            call.pushed(EVENTS, &pieces, complete);
            assert_eq!(call.exchange.finish(complete).unwrap().1, actual, "in pieces of {size}");
        }
    }
}

#[test]
fn the_reported_cost_counts_where_the_target_says_so() {
    let price = json!({ "input": "3", "output": "15" });
    let reported = selling(price.clone(), json!({ "cost": "reported" }));
    let priced = selling(price, json!({ "cost": "priced" }));
    let answer = |cost: &str| format!(r#"{{"usage":{{"prompt_tokens":100,"completion_tokens":10,{cost}}}}}"#);
    let by_price = 450 * MICRO;
    for (cost, expected) in [
        (r#""cost":0.0000225"#, dollars("0.0000225")),
        (r#""cost":2.25e-05"#, dollars("0.0000225")),
        (r#""cost":0"#, 0),
        (r#""cost":"0.00001""#, dollars("0.00001")),
        (r#""cost":0.00030000000000000004"#, dollars("0.0003")),
        (r#""cost":{"input_tokens_cost":0.1,"total_cost":0.000012,"request_cost":1}"#, dollars("0.000012")),
        (r#""cost_in_usd_ticks":37756"#, 3_775_600),
        (r#""cost":null"#, by_price),
        (r#""cost":-1"#, by_price),
        (r#""cost_details":{"upstream_inference_cost":7,"cost":9}"#, by_price),
    ] {
        let body = chat(json!({}));
        let actual = Call::new(&reported, CHAT, &body).after(JSON, &answer(cost), true);
        assert_eq!({ actual.cost.0 }, expected, "{cost}");
        let actual = Call::new(&priced, CHAT, &body).after(JSON, &answer(cost), true);
        assert_eq!({ actual.cost.0 }, by_price, "{cost}");
    }
    // A response without tokens still has a cost.
    let drawn = r#"{"data":[],"usage":{"cost_in_usd_ticks":100000000}}"#;
    let actual =
        Call::new(&reported, IMAGES, &json!({ "model": "small", "prompt": "x" })).after(JSON, drawn, true);
    assert_eq!((actual.cost.0, actual.estimated), (dollars("0.01"), false));
    // One of two targets reports: which of them answered is not known.
    let both = gateway_with(
        json!({ "small": { "price": { "input": "3", "output": "15" }, "cost": "reported" },
            "other": { "price": { "input": "1", "output": "1" } } }),
        &json!({ "budget": { "max": "1000" } }),
    );
    let body = chat(json!({ "models": ["other"] }));
    assert_eq!({ Call::new(&both, CHAT, &body).after(JSON, &answer(r#""cost":0"#), true).cost.0 }, by_price);
}
