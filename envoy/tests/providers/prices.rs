//! Prices as providers have them: tiers, thresholds, kinds of tokens, and what is charged by the unit.

use serde_json::{Value, json};
use tollgate_envoy::client::Request;
use tollgate_envoy::scripted::Answer;

use crate::cases::{Case, case, chat};

/// Sets the price of a case's target, which reads up to 300,000 tokens.
fn priced(case: Case, price: Value) -> Case {
    case.target(json!({"price": price, "max_input_tokens": 300_000, "max_output_tokens": 8_000}))
}

fn usage(input: u64, output: u64) -> Value {
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

fn answered(usage: Value) -> Value {
    json!({"id": "c", "object": "chat.completion", "usage": usage,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "The Rhine."}, "finish_reason": "stop"}]})
}

fn served(tier: &str, usage: Value) -> Value {
    let mut answer = answered(usage);
    answer["service_tier"] = json!(tier);
    answer
}

/// Creates a message whose text is to be cached.
fn cached(name: &'static str, control: Value, usage: Value) -> Case {
    let body = json!({"max_tokens": 500, "messages": [{"role": "user", "content": [
        {"type": "text", "text": "Remember the rivers.", "cache_control": control}]}]});
    let price = json!({"input": "3", "output": "15", "cached_input": "0.3", "cache_write": "3.75", "cache_write_1h": "6"});
    priced(case(name, "/v1/messages", body), price)
        .json(json!({"type": "message", "role": "assistant", "content": [], "usage": usage}))
}

/// Creates a call with a document that the body does not hold.
fn document(name: &'static str, target: &str, usage: Value) -> Case {
    let part = json!({"fileData": {"fileUri": "https://files.test/1", "mimeType": "application/pdf"}});
    let body = json!({"contents": [{"parts": [part]}], "generationConfig": {"maxOutputTokens": 2_000}});
    priced(case(name, &format!("/v1beta/models/{target}:generateContent"), body), thresholds())
        .json(json!({"candidates": [{"content": {"parts": [{"text": "A river."}]}}], "usageMetadata": usage}))
}

fn thresholds() -> Value {
    json!({"input": "1.25", "output": "10", "cached_input": "0.125",
        "above": {"input_tokens": 200_000, "input": "2.5", "output": "15", "cached_input": "0.25"}})
}

fn tiers() -> Value {
    json!({"input": "1.25", "output": "10", "cached_input": "0.125", "tiers": {
        "priority": {"input": "2.5", "output": "20", "cached_input": "0.25"},
        "flex": {"input": "0.625", "output": "5"}}})
}

fn spoken(name: &'static str, input: &str) -> Case {
    case(name, "/v1/audio/speech", json!({"voice": "alloy", "input": input}))
        .target(json!({"price": {"input": "0", "output": "0", "character": "0.000015"}}))
        .answers(Answer::of(200, "audio/mpeg", [0xff_u8, 0xfb].repeat(2_000)))
}

fn transcribed(name: &'static str) -> Case {
    let body = format!(
        "--edge\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{name}\r\n--edge\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n{}\r\n--edge--\r\n",
        "A".repeat(60_000)
    );
    let form = Request::new("POST", "/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=edge")
        .body(body.into_bytes());
    case(name, "", json!({}))
        .requests(vec![form])
        .target(json!({"price": {"input": "0", "output": "0", "second": "0.0001"}}))
}

fn drawn(name: &'static str, more: Value) -> Case {
    let mut body = json!({"prompt": "a river"});
    crate::cases::merge(&mut body, more);
    case(name, "/v1/images/generations", body)
        .json(json!({"created": 1, "data": [{"url": "https://pictures.test/1.png"}]}))
}

pub fn all() -> Vec<Case> {
    [cache(), by_tier_and_size(), by_kind(), by_unit(), reported()].concat()
}

fn cache() -> Vec<Case> {
    let hour = json!({"type": "ephemeral", "ttl": "1h"});
    let writes = |short: u64, long: u64| {
        json!({"input_tokens": 20, "cache_creation_input_tokens": short + long, "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}, "output_tokens": 10,
            "service_tier": "standard"})
    };
    let start = json!({"type": "message_start", "message": {"type": "message", "usage": writes(0, 100)}});
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}});
    let mut streamed = cached("cached-for-an-hour-in-a-stream", hour.clone(), json!({}));
    streamed = streamed.events(&[&start.to_string(), &end.to_string(), r#"{"type":"message_stop"}"#]);
    vec![
        // 20 * 3 + 80,000 * 6 + 10 * 15 microdollars.
        cached("cached-for-an-hour", hour.clone(), writes(0, 80_000)).costs("0.48021"),
        cached("cached-for-minutes", json!({"type": "ephemeral"}), writes(80_000, 0)).costs("0.30021"),
        cached("cached-for-both", hour, writes(1_000, 2_001)).costs("0.015966"),
        streamed.costs("0.00126"),
    ]
}

fn by_tier_and_size() -> Vec<Case> {
    let requested = |name, tier: &str| priced(chat(name, json!({"service_tier": tier})), tiers());
    let counted = |input: u64, output: u64, thoughts: u64| {
        json!({"promptTokenCount": input, "candidatesTokenCount": output, "thoughtsTokenCount": thoughts,
            "totalTokenCount": input + output + thoughts})
    };
    let chunk = r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"service_tier":"priority"}"#;
    let last = json!({"choices": [], "usage": usage(1_000, 100)}).to_string();
    vec![
        requested("served-with-priority", "priority").json(served("priority", usage(2_000, 500))).costs("0.015"),
        requested("served-flexibly", "flex").json(served("flex", usage(2_000, 500))).costs("0.00375"),
        requested("priority-not-granted", "priority").json(served("default", usage(2_000, 500))).costs("0.0075"),
        requested("priority-without-a-request", "auto").json(served("priority", usage(2_000, 500))).costs("0.015"),
        priced(chat("priority-in-a-stream", json!({"stream": true})), tiers())
            .events(&[chunk, &last, "[DONE]"])
            .costs("0.0045"),
        priced(chat("priority-not-reported", json!({"service_tier": "priority"})), tiers())
            .answers(Answer::of(200, "text/plain", "no JSON"))
            .costs_the_reservation(),
        document("above-the-threshold", "above-the-threshold", counted(250_000, 800, 200)).costs("0.64"),
        document("at-the-threshold", "at-the-threshold", counted(200_000, 800, 200)).costs("0.26"),
        document(
            "above-from-a-cache",
            "above-from-a-cache",
            json!({"promptTokenCount": 200_001, "candidatesTokenCount": 1, "cachedContentTokenCount": 200_000}),
        )
        .costs("0.0500175"),
    ]
}

fn by_kind() -> Vec<Case> {
    let images = json!({"input": "5", "output": "10", "input_image": "10", "output_image": "40"});
    let sound = json!({"input": "2.5", "output": "10", "input_audio": "40", "output_audio": "80"});
    let details = json!({"prompt_tokens": 130, "completion_tokens": 90, "total_tokens": 220,
        "prompt_tokens_details": {"text_tokens": 30, "audio_tokens": 100},
        "completion_tokens_details": {"text_tokens": 15, "audio_tokens": 75}});
    let recording = json!({"messages": [{"role": "user", "content": [
        {"type": "input_audio", "input_audio": {"data": "A".repeat(4_000), "format": "mp3"}}]}],
        "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "mp3"}});
    vec![
        // 46 * 5 + 200 * 10 + 4,160 * 40 microdollars.
        priced(drawn("tokens-of-images", json!({})), images.clone())
            .json(json!({"data": [{"b64_json": "aGk="}], "usage": {"total_tokens": 4_406, "input_tokens": 246,
                "output_tokens": 4_160, "input_tokens_details": {"text_tokens": 46, "image_tokens": 200}}}))
            .costs("0.16863"),
        priced(drawn("tokens-of-images-and-text", json!({})), images)
            .json(json!({"data": [{"b64_json": "aGk="}], "usage": {"total_tokens": 4_200, "input_tokens": 50,
                "output_tokens": 4_150, "output_tokens_details": {"text_tokens": 150, "image_tokens": 4_000}}}))
            .costs("0.16175"),
        // 30 * 2.5 + 100 * 40 + 15 * 10 + 75 * 80 microdollars.
        priced(chat("tokens-of-sound", recording), sound).json(answered(details)).costs("0.010225"),
    ]
}

fn by_unit() -> Vec<Case> {
    let small = json!({"limits": {"tpm": 10_000}, "budget": {"max": "1000"}});
    let thrice = |case: Case| {
        let request = case.requests[0].clone();
        case.requests(vec![request; 3])
    };
    let by_duration = json!({"text": "hi", "usage": {"type": "duration", "seconds": 3}});
    let by_call = json!({"input": "0", "output": "0", "request": "0.02"});
    let by_image = json!({"input": "0", "output": "0", "image": "0.04"});
    let searching = |name, more: Value| {
        let mut body = json!({"max_tokens": 100, "messages": [{"role": "user", "content": "Which river?"}]});
        crate::cases::merge(&mut body, more);
        let price = json!({"input": "3", "output": "15", "search": "0.01"});
        priced(case(name, "/v1/messages", body), price)
    };
    let search = json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]});
    let item = |action: &str| json!({"type": "web_search_call", "action": {"type": action}});
    vec![
        spoken("eleven-characters", "Guten Abend").costs("0.000165"),
        spoken("characters-beyond-ascii", "Grüße 😀").costs("0.000105"),
        thrice(spoken("speech-thrice", "Hi").team(small.clone())).costs("0.00009"),
        transcribed("three-seconds").json(by_duration.clone()).costs("0.0003"),
        transcribed("seconds-beside-the-text")
            .json(json!({"text": "hi", "duration": "8.25"}))
            .costs("0.000825"),
        thrice(transcribed("recordings-thrice").team(small.clone())).json(by_duration).costs("0.0009"),
        drawn("ten-pictures-by-call", json!({"n": 10})).target(json!({"price": by_call})).costs("0.2"),
        drawn("ten-pictures", json!({"n": 10})).target(json!({"price": by_image.clone()})).costs("0.4"),
        thrice(drawn("pictures-thrice", json!({})).target(json!({"price": by_image})).team(small))
            .costs("0.12"),
        // 1,000 * 3 + 100 * 15 microdollars and three searches.
        searching("three-searches", search)
            .json(json!({"content": [], "usage": {"input_tokens": 1_000, "output_tokens": 100,
                "server_tool_use": {"web_search_requests": 3}}}))
            .costs("0.0345"),
        priced(
            case(
                "two-listed-searches",
                "/v1/responses",
                json!({"input": "Which river?", "tools": [{"type": "web_search"}]}),
            ),
            json!({"input": "1.25", "output": "10", "search": "0.01"}),
        )
        .json(json!({"status": "completed", "output": [item("search"), item("open_page"), item("search")],
            "usage": {"input_tokens": 800, "output_tokens": 50, "total_tokens": 850}}))
        .costs("0.0215"),
    ]
}

fn reported() -> Vec<Case> {
    let reporting = |name: &'static str, cost: Value| {
        let mut usage = usage(1_000, 1_000);
        crate::cases::merge(&mut usage, cost);
        chat(name, json!({}))
            .target(json!({"price": {"input": "1.25", "output": "10"}, "cost": "reported"}))
            .json(answered(usage))
    };
    let last = json!({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 3, "cost": 1.5e-7}})
        .to_string();
    vec![
        reporting("reported-cost", json!({"cost": 0.0225, "cost_details": {"upstream_inference_cost": 7}}))
            .costs("0.0225"),
        reporting("reported-cost-in-ticks", json!({"cost_in_usd_ticks": 37_756_001})).costs("0.0037756001"),
        reporting("cost-not-reported", json!({"cost": null})).costs("0.01125"),
        chat("reported-cost-in-a-stream", json!({"stream": true}))
            .target(json!({"price": {"input": "1.25", "output": "10"}, "cost": "reported"}))
            .events(&[r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#, &last, "[DONE]"])
            .costs("0.00000015"),
        chat("cost-not-asked-for", json!({}))
            .target(json!({"price": {"input": "1.25", "output": "10"}}))
            .json(answered(json!({"prompt_tokens": 8, "completion_tokens": 1, "cost": 5})))
            .costs("0.00002"),
    ]
}
