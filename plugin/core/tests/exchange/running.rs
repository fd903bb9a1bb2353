//! Calls that run and end, with the counters that they are admitted by.

use serde_json::{Value, json};
use tollgate_core::admission::{self, ActualUsage};
use tollgate_core::counters::{SharedDataKind, SharedDataStore};
use tollgate_core::http::local_response::LocalResponse;
use tollgate_core::money::{DOLLAR, Pico};

use super::estimates::*;
use super::support::Map;
use super::*;

type Store = SharedDataStore<Map>;

fn store() -> Store {
    SharedDataStore::new(Map::new(), SharedDataKind::CompareAndSwap)
}

#[test]
fn a_settlement_without_usage_pays_for_each_image_too() {
    let targets = json!({ "small": { "price": { "input": "0", "output": "0", "request": "0.02" } } });
    let gateway = gateway_with(targets, &json!({ "budget": { "max": "1000" } }));
    let body = r#"{"model":"small","prompt":"cat","n":10}"#;
    for answer in [r#"{"data":[]}"#, r#"{"data":[],"usage":{"input_tokens":9,"output_tokens":9}}"#] {
        let mut store = store();
        let cost = run(&gateway, &mut store, "/v1/images/generations", body, answer, 0).unwrap().cost;
        assert_eq!(cost, Pico(DOLLAR / 5), "{answer}");
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
) -> Result<Exchange, Box<LocalResponse>> {
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
        let mut store = store();
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
        let mut store = store();
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
        let mut store = store();
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
        begin(&gateway, &mut store(), CHAT, body, 0).unwrap_err().body
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
