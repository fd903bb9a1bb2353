//! The price of a call: the choice among a target's prices, the figures that it depends on, and what is reserved.

use serde_json::{Value, json};
use tollgate_core::admission::status::RateLimitStatus;
use tollgate_core::admission::{ActualUsage, Admitted, Receipt, Reservation};
use tollgate_core::exchange::Action;
use tollgate_core::money::DOLLAR;

use super::estimates::{GEMINI, IMAGE, MESSAGES, RESPONSES, base64, gateway_with, with_data};
use super::*;

pub(super) const JSON: &str = "application/json";
pub(super) const EVENTS: &str = "text/event-stream";
const IMAGES: &str = "/v1/images/generations";

/// Picodollars in a microdollar, which is the price of a token at $1 for a million.
pub(super) const MICRO: u128 = 1_000_000;

/// A target with its price, and other members of its record.
pub(super) fn selling(price: Value, more: Value) -> Rc<GatewayConfig> {
    let mut target = json!({ "price": price });
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    gateway_with(json!({ "small": target }), &json!({ "budget": { "max": "100000" } }))
}

/// An admitted and forwarded call.
pub(super) struct Call {
    pub(super) exchange: Exchange,
    pub(super) reservation: Reservation,
}

impl Call {
    pub(super) fn of(mut decided: Decided) -> Self {
        let reservation = decided.charges().reservation;
        let admitted = Ok(Admitted { receipt: Receipt::default(), status: RateLimitStatus::default() });
        let (step, _) = decided.exchange.admitted(admitted);
        assert!(matches!(step, Action::Forward(_)), "{step:?}");
        Call { exchange: decided.exchange, reservation }
    }

    pub(super) fn new(gateway: &Rc<GatewayConfig>, path: &str, body: &Value) -> Self {
        Self::of(with_key(gateway, path, Some(&body.to_string())))
    }

    pub(super) fn pushed(&mut self, content_type: &str, pieces: &[&[u8]], complete: bool) {
        let head: [(&[u8], &[u8]); 2] = [(b":status", b"200"), (b"content-type", content_type.as_bytes())];
        self.exchange.response_headers(&Headers::new(&head), &mut |_| ());
        for (position, piece) in pieces.iter().enumerate() {
            self.exchange.response_body(piece, complete && position + 1 == pieces.len());
        }
    }

    /// The call's usage after this 200; its cost is at most the reserved one.
    pub(super) fn after(mut self, content_type: &str, body: &str, complete: bool) -> ActualUsage {
        self.pushed(content_type, &[body.as_bytes()], complete);
        let actual = self.exchange.finish(complete).unwrap().1;
        assert!(actual.cost <= self.reservation.cost, "{actual:?} of {:?}: {body}", self.reservation);
        actual
    }

    pub(super) fn costs(self, body: &Value) -> u128 {
        self.after(JSON, &body.to_string(), true).cost.0
    }
}

/// A number of dollars in picodollars.
pub(super) fn dollars(text: &str) -> u128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    whole.parse::<u128>().unwrap() * DOLLAR + format!("{fraction:0<12}").parse::<u128>().unwrap()
}

pub(super) fn chat(more: Value) -> Value {
    let mut body =
        json!({ "model": "small", "max_tokens": 5_000, "messages": [{ "role": "user", "content": "x" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn used(input: u64, output: u64) -> Value {
    json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output })
}

#[test]
fn writes_to_a_cache_for_an_hour_have_a_price_of_their_own() {
    let price = json!({ "input": "2", "output": "10", "cached_input": "0.2", "cache_write": "2.5", "cache_write_1h": "4" });
    let gateway = selling(price, json!({ "max_input_tokens": 200_000 }));
    let part = |control: Value| {
        let text = "y".repeat(60_000);
        json!({ "model": "small", "max_tokens": 100, "messages": [{ "role": "user", "content": [
            { "type": "text", "text": text, "cache_control": control }] }] })
    };
    let usage = |short: u64, hour: u64| {
        json!({ "content": [], "usage": { "input_tokens": 7, "cache_creation_input_tokens": short + hour,
            "cache_read_input_tokens": 50, "output_tokens": 9,
            "cache_creation": { "ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": hour } } })
    };
    let hour = part(json!({ "type": "ephemeral", "ttl": "1h" }));
    for (short, long) in [(0, 40_000), (40_000, 0), (15_000, 25_000)] {
        let cost = Call::new(&gateway, MESSAGES, &hour).costs(&usage(short, long));
        let writes = 25 * u128::from(short) + 40 * u128::from(long);
        assert_eq!(cost, (7 * 20 + 50 * 2 + 9 * 100 + writes) * MICRO / 10, "{short} {long}");
    }
    let reserved = |body: &Value| {
        let length = body.to_string().len() as u128;
        (Call::new(&gateway, MESSAGES, body).reservation.input_cost.0, length + 32)
    };
    let (cost, tokens) = reserved(&hour);
    assert_eq!(cost, tokens * 4 * MICRO);
    for control in [json!({ "type": "ephemeral" }), json!({ "type": "ephemeral", "ttl": "5m" })] {
        let (cost, tokens) = reserved(&part(control));
        assert_eq!(cost, tokens * 25 * MICRO / 10);
    }
    // An answer without the sum has it as the parts.
    let parts = json!({ "usage": { "input_tokens": 0, "output_tokens": 0,
        "cache_creation": { "ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6 } } });
    assert_eq!(Call::new(&gateway, MESSAGES, &hour).costs(&parts), 34 * MICRO);
}

#[test]
fn a_call_above_a_threshold_has_the_prices_above_it_as_a_whole() {
    let price = json!({ "input": "1", "output": "8", "cached_input": "0.1", "above": [
        { "input_tokens": 1_000, "input": "2", "output": "12" },
        { "input_tokens": 10_000, "input": "3", "cached_input": "0.5" },
    ] });
    let gateway = selling(price, json!({ "max_input_tokens": 100_000 }));
    let hidden =
        chat(json!({ "messages": [{ "content": [{ "image_url": { "url": "https://images.test/1" } }] }] }));
    for (input, cached, price) in [
        (0, 0, [10, 1, 80]),
        (1_000, 500, [10, 1, 80]),
        (1_001, 500, [20, 1, 120]),
        (10_000, 0, [20, 1, 120]),
        (10_001, 10_000, [30, 5, 80]),
        (100_000, 0, [30, 5, 80]),
    ] {
        let mut usage = used(input, 100);
        usage["prompt_tokens_details"] = json!({ "cached_tokens": cached });
        let cost = Call::new(&gateway, CHAT, &hidden).costs(&json!({ "usage": usage }));
        let [fresh, from_cache, output] = price;
        let tenths = u128::from(input - cached) * fresh + u128::from(cached) * from_cache + 100 * output;
        assert_eq!(cost, tenths * MICRO / 10, "{input} {cached}");
    }
    // The largest input that the body can hold decides about the thresholds that count for the reservation.
    let body = |length: usize| chat(json!({ "max_tokens": 1, "user": "z".repeat(length) }));
    for (length, input, output) in [(500, 1, 8), (2_000, 2, 12), (12_000, 3, 12)] {
        let body = body(length);
        let tokens = body.to_string().len() as u128 + 32;
        let reserved = Call::new(&gateway, CHAT, &body).reservation.cost.0;
        assert_eq!(reserved, (tokens * input + output) * MICRO, "{length}");
    }
}

#[test]
fn input_above_the_targets_maximum_is_charged_and_reported() {
    let gateway = selling(json!({ "input": "1", "output": "8" }), json!({ "max_input_tokens": 100 }));
    for (input, reported) in [(100, None), (101, Some(100))] {
        let answer = json!({ "usage": used(input, 0) }).to_string();
        let mut call = Call::new(&gateway, CHAT, &chat(json!({})));
        call.pushed(JSON, &[answer.as_bytes()], true);
        let actual = call.exchange.finish(true).unwrap().1;
        assert_eq!({ actual.cost.0 }, u128::from(input) * MICRO);
        let log = call.exchange.log();
        assert_eq!(log.over_max_input, reported);
        let counted = log.counters().any(|counter| counter.name() == "over_max_input_tokens");
        let written = log
            .fields()
            .iter()
            .any(|(name, most)| *name == "tollgate.over_max_input_tokens" && most == "100");
        assert_eq!((counted, written), (reported.is_some(), reported.is_some()));
    }
}

#[test]
fn the_tier_that_the_answer_names_has_its_price() {
    let price = json!({ "input": "1", "output": "8", "cached_input": "0.1", "tiers": {
        "flex": { "input": "0.5", "output": "4" },
        "priority": { "input": "2", "output": "16", "cached_input": "0.2" },
    } });
    let gateway = selling(price, json!({}));
    let cost = |input: u128, output: u128| (10 * input + 100 * output) * MICRO / 10;
    for (named, expected) in [
        (json!("priority"), cost(20, 160)),
        (json!("fast"), cost(20, 160)),
        (json!("flex"), cost(5, 40)),
        (json!("Flex"), cost(5, 40)),
        (json!("default"), cost(10, 80)),
        (json!("unheard-of"), cost(10, 80)),
        (json!(null), cost(10, 80)),
    ] {
        for before in [true, false] {
            // The member stands before the usage or after it.
            let usage = used(10, 100);
            let answer = if before {
                format!(r#"{{"service_tier":{named},"choices":[],"usage":{usage}}}"#)
            } else {
                format!(r#"{{"choices":[],"usage":{usage},"service_tier":{named}}}"#)
            };
            let actual = Call::new(&gateway, CHAT, &chat(json!({}))).after(JSON, &answer, true);
            assert_eq!({ actual.cost.0 }, expected, "{answer}");
            let chunk = format!(r#"{{"choices":[{{"delta":{{"content":"a"}}}}],"service_tier":{named}}}"#);
            let last = format!(r#"{{"choices":[],"usage":{usage}}}"#);
            let stream = format!("data: {chunk}\n\ndata: {last}\n\ndata: [DONE]\n\n");
            let actual =
                Call::new(&gateway, CHAT, &chat(json!({ "stream": true }))).after(EVENTS, &stream, true);
            assert_eq!({ actual.cost.0 }, expected, "{stream}");
        }
    }
    // The event at a stream's end names the tier that served it, the one at its start the requested one.
    let usage = json!({ "input_tokens": 10, "output_tokens": 100 });
    let event = |kind: &str, tier: &str, usage: &Value| {
        let response = json!({ "service_tier": tier, "status": "completed", "usage": usage });
        format!("data: {}\n\n", json!({ "type": kind, "response": response }))
    };
    let stream =
        event("response.created", "priority", &Value::Null) + &event("response.completed", "default", &usage);
    let body = json!({ "model": "small", "stream": true, "service_tier": "priority", "input": "x" });
    assert_eq!({ Call::new(&gateway, RESPONSES, &body).after(EVENTS, &stream, true).cost.0 }, cost(10, 80));
}

#[test]
fn fast_messages_and_geminis_tiers_have_their_price() {
    let tiers = json!({ "input": "1", "output": "8", "tiers": {
        "fast": { "input": "6", "output": "48" }, "priority": { "input": "2", "output": "16" } } });
    let gateway = selling(tiers, json!({}));
    let messages =
        |speed: &str| json!({ "model": "small", "max_tokens": 1_000, "messages": [], "speed": speed });
    for (usage, speed, price) in [
        (json!({ "service_tier": "standard", "speed": "fast" }), "fast", 6),
        (json!({ "speed": "fast", "service_tier": "standard" }), "fast", 6),
        (json!({ "service_tier": "standard", "speed": "standard" }), "fast", 1),
        (json!({ "service_tier": "priority", "speed": "standard" }), "standard", 2),
        (json!({ "service_tier": "priority" }), "standard", 2),
    ] {
        let mut usage = usage;
        usage["input_tokens"] = json!(10);
        usage["output_tokens"] = json!(100);
        let cost = Call::new(&gateway, MESSAGES, &messages(speed)).costs(&json!({ "usage": usage }));
        assert_eq!(cost, (10 + 800) * price * MICRO, "{usage}");
    }
    for (member, name, price) in [
        ("serviceTier", "PRIORITY", 2),
        ("trafficType", "ON_DEMAND_PRIORITY", 2),
        ("trafficType", "ON_DEMAND", 1),
        ("serviceTier", "standard", 1),
    ] {
        let mut usage = json!({ "promptTokenCount": 10, "candidatesTokenCount": 100 });
        usage[member] = json!(name);
        let body = json!({ "contents": [] });
        let cost = Call::new(&gateway, GEMINI, &body).costs(&json!({ "usageMetadata": usage }));
        assert_eq!(cost, (10 + 800) * price * MICRO, "{name}");
    }
}

#[test]
fn the_dearest_tier_that_a_request_permits_is_reserved() {
    let price = json!({ "input": "1", "output": "0", "tiers": {
        "flex": { "input": "0.5" }, "priority": { "input": "2" }, "fast": { "input": "6" } } });
    let gateway = selling(price, json!({ "max_input_tokens": 1_000_000 }));
    let times = |path: &str, more: Value| {
        let mut body = chat(more);
        if path == GEMINI {
            body.as_object_mut().unwrap().remove("model");
        }
        let tokens = body.to_string().len() as u128 + 32;
        Call::new(&gateway, path, &body).reservation.cost.0 * 10 / (tokens * MICRO)
    };
    for (path, more, tenths) in [
        (CHAT, json!({}), 60),
        (CHAT, json!({ "service_tier": null }), 60),
        (CHAT, json!({ "service_tier": "auto" }), 60),
        (CHAT, json!({ "service_tier": "scale" }), 60),
        (CHAT, json!({ "service_tier": 5 }), 60),
        (CHAT, json!({ "service_tier": ["flex"] }), 60),
        (CHAT, json!({ "service_tier": "default" }), 10),
        (CHAT, json!({ "service_tier": "flex" }), 10),
        (CHAT, json!({ "service_tier": "priority" }), 20),
        (CHAT, json!({ "service_tier": "default", "models": ["small"] }), 60),
        (MESSAGES, json!({}), 20),
        (MESSAGES, json!({ "speed": "standard" }), 20),
        (MESSAGES, json!({ "speed": "fast" }), 60),
        (MESSAGES, json!({ "speed": "fast", "service_tier": "standard_only" }), 60),
        (MESSAGES, json!({ "service_tier": "standard_only" }), 10),
        (GEMINI, json!({ "service_tier": "standard" }), 60),
    ] {
        assert_eq!(times(path, more.clone()), tenths, "{path} {more}");
    }
    for body in [
        r#"{"model":"small","service_tier":"flex","service_tier":"priority"}"#,
        r#"{"model":"small","Service_Tier":"flex"}"#,
        r#"{"model":"small","service\u005ftier":"flex"}"#,
    ] {
        assert!(refusal(&with_key(&gateway, CHAT, Some(body))).contains("invalid_body"), "{body}");
    }
}

#[test]
fn a_tier_may_have_prices_above_a_threshold() {
    let price = json!({
        "input": "1", "output": "1", "cached_input": "0.5",
        "above": { "input_tokens": 100, "input": "2", "cached_input": "0.9" },
        "tiers": { "priority": { "input": "3", "above": { "input_tokens": 200, "output": "5" } } },
    });
    let gateway = selling(price, json!({}));
    for (tier, input, fresh, cached, output) in [
        ("default", 100, 10, 5, 10),
        ("default", 101, 20, 9, 10),
        ("priority", 100, 30, 5, 10),
        ("priority", 101, 30, 9, 10),
        ("priority", 201, 30, 9, 50),
    ] {
        let mut usage = used(input, 7);
        usage["prompt_tokens_details"] = json!({ "cached_tokens": 40 });
        let answer = json!({ "usage": usage, "service_tier": tier });
        let cost = Call::new(&gateway, CHAT, &chat(json!({ "user": "u".repeat(300) }))).costs(&answer);
        let tenths = u128::from(input - 40) * fresh + 40 * cached + 7 * output;
        assert_eq!(cost, tenths * MICRO / 10, "{tier} {input}");
    }
}

#[test]
fn sound_and_images_have_prices_of_their_own() {
    let price = json!({ "input": "1", "output": "2", "cached_input": "0.1",
        "input_audio": "30", "output_audio": "60", "input_image": "10", "output_image": "40" });
    let gateway = selling(price, json!({ "max_input_tokens": 5_000 }));
    let hidden =
        chat(json!({ "messages": [{ "content": [{ "image_url": { "url": "https://images.test/1" } }] }] }));
    let cost = |path: &str, usage: &Value| {
        let member = if path == GEMINI { "usageMetadata" } else { "usage" };
        let mut body = hidden.clone();
        if path == GEMINI {
            body = json!({ "contents": [{ "parts": [{ "fileData": { "fileUri": "files/1" } }] }] });
        }
        Call::new(&gateway, path, &body).costs(&json!({ member: usage })) / (MICRO / 10)
    };
    let parts = json!({ "prompt_tokens": 1_000, "completion_tokens": 500, "total_tokens": 1_500,
        "prompt_tokens_details": { "text_tokens": 700, "audio_tokens": 200, "image_tokens": 100, "cached_tokens": 600 },
        "completion_tokens_details": { "text_tokens": 350, "audio_tokens": 120, "image_tokens": 30 } });
    assert_eq!(cost(CHAT, &parts), 100 * 10 + 200 * 300 + 100 * 100 + 600 + 350 * 20 + 120 * 600 + 30 * 400);
    // More sound than what did not come from a cache cannot be.
    let cached = json!({ "prompt_tokens": 1_000, "completion_tokens": 0,
        "prompt_tokens_details": { "audio_tokens": 900, "image_tokens": 900, "cached_tokens": 800 } });
    assert_eq!(cost(CHAT, &cached), 200 * 300 + 800);
    let gemini = json!({ "promptTokenCount": 1_000, "candidatesTokenCount": 400, "cachedContentTokenCount": 100,
        "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": 600 }, { "tokenCount": 250, "modality": "AUDIO" },
            { "modality": "IMAGE", "tokenCount": 100 }, { "modality": "VIDEO", "tokenCount": 50 }],
        "cacheTokensDetails": [{ "modality": "AUDIO", "tokenCount": 100 }],
        "candidatesTokensDetails": [{ "modality": "IMAGE", "tokenCount": 300 }] });
    assert_eq!(cost(GEMINI, &gemini), 650 * 10 + 150 * 300 + 100 * 100 + 100 + 100 * 20 + 300 * 400);
    let image = json!({ "model": "small", "prompt": "a cat" });
    let usage = json!({ "input_tokens": 30, "output_tokens": 4_000,
        "input_tokens_details": { "text_tokens": 10, "image_tokens": 20 } });
    let drawn =
        |usage: &Value| Call::new(&gateway, IMAGES, &image).costs(&json!({ "data": [], "usage": usage }));
    assert_eq!(drawn(&usage), (10 + 20 * 10 + 4_000 * 40) * MICRO);
    let mut with_text = usage.clone();
    with_text["output_tokens_details"] = json!({ "text_tokens": 1_000, "image_tokens": 3_000 });
    assert_eq!(drawn(&with_text), (10 + 20 * 10 + 1_000 * 2 + 3_000 * 40) * MICRO);
}

#[test]
fn inline_media_are_reserved_at_their_own_price() {
    let price = json!({ "input": "1", "output": "0", "input_audio": "30", "input_image": "10" });
    let reserved = |body: &str, more: Value| {
        let body = with_data(body);
        let gateway = selling(price.clone(), more);
        with_key(&gateway, CHAT, Some(&body)).charges().reservation.cost.0 / MICRO
    };
    let text = |body: &str| body.len() as u128 - "DATA".len() as u128 + 32;
    let image =
        r#"{"model":"small","messages":[{"content":[{"image_url":{"url":"data:image/png;base64,DATA"}}]}]}"#;
    // The bytes of a data URL, its quotes and the colon before it are not text.
    let prefix = r#":"data:image/png;base64,""#.len() as u128;
    assert_eq!(reserved(image, json!({})), text(image) - prefix + u128::from(IMAGE) * 10);
    let sound =
        r#"{"model":"small","messages":[{"content":[{"input_audio":{"data":"DATA","format":"mp3"}}]}]}"#;
    let seconds = (base64().len() as u128 + 3) * 3 / 4 / 600 + 1;
    assert_eq!(reserved(sound, json!({})), text(sound) - 3 + seconds * 32 * 30);
    assert_eq!(reserved(sound, json!({ "max_input_tokens": 50 })), 50 * 30);
    assert_eq!(reserved(r#"{"model":"small","user":"DATA"}"#, json!({ "max_input_tokens": 50 })), 50);
}

#[test]
fn an_unfinished_call_pays_for_the_tier_that_it_requested() {
    let price = json!({ "input": "1", "output": "10", "tiers": { "priority": { "input": "2", "output": "20" }, "flex": { "input": "0.5", "output": "5" } } });
    let gateway = selling(price, json!({}));
    for (tier, tenths) in [("priority", 20), ("flex", 5), ("default", 10), ("auto", 10)] {
        let body = chat(json!({ "stream": true, "service_tier": tier }));
        let mut call = Call::new(&gateway, CHAT, &body);
        let input = u128::from(call.reservation.input_tokens);
        call.pushed(EVENTS, &[b"data: {\"choices\":[{\"delta\":{\"content\":\"water\"}}]}\n\n"], false);
        let actual = call.exchange.finish(false).unwrap().1;
        assert_eq!({ actual.cost.0 }, (input + 10) * tenths * MICRO / 10, "{tier}");
    }
}

#[test]
fn the_highest_price_of_several_targets_holds_in_every_tier_and_above_every_threshold() {
    let gateway = gateway_with(
        json!({
            "small": { "price": { "input": "1", "output": "9", "tiers": { "priority": { "input": "4" } } } },
            "other": { "price": { "input": "2", "output": "3", "cached_input": "0.5", "above": { "input_tokens": 100, "output": "20" } } },
        }),
        &json!({ "budget": { "max": "1000" } }),
    );
    for (tier, input, price, output) in
        [("default", 100, 2, 9), ("default", 101, 2, 20), ("priority", 100, 4, 9), ("priority", 101, 4, 20)]
    {
        let body = chat(json!({ "models": ["other"], "user": "u".repeat(200) }));
        let cost = Call::new(&gateway, CHAT, &body)
            .costs(&json!({ "usage": used(input, 10), "service_tier": tier }));
        assert_eq!(cost, (u128::from(input) * price + 10 * output) * MICRO, "{tier} {input}");
    }
}
