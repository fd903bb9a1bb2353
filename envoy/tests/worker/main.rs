//! The worker in real workerd, beyond the behavior of every host in `suite.rs`.

mod bodies;
mod deploy;
mod endings;
mod reload;
mod reservations;
mod streams;
mod unavailable;
mod websocket;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::{Request, Response, request};
use tollgate_envoy::workerd::Workerd;
use tollgate_envoy::world::{self, chat, key_of, secret};

/// The daily token limit of every team.
const DAY: u64 = 100_000_000;
/// More than the reservation of a chat without a maximum.
const LONG: u64 = 100_000;

/// Returns a team `ml` with this record's fields, and its key `laptop`.
fn configuration(team: &Value) -> Value {
    let mut teams = json!({"ml": {"organization": "acme", "name": "ML"}});
    for (field, value) in team.as_object().into_iter().flatten() {
        teams["ml"][field] = value.clone();
    }
    world::configuration(&teams, &json!({"laptop": key_of("ml", "laptop")}))
}

/// Returns a team with [`DAY`] tokens per day, and as many requests.
fn metered() -> Value {
    configuration(&json!({"limits": {"tpd": DAY, "rpd": DAY}}))
}

fn ask(workerd: &Workerd, asked: Request) -> Response {
    request(workerd.address(), &asked.bearer(&secret("laptop")))
}

fn code(answer: &Response) -> Value {
    answer.json()["error"]["code"].clone()
}

/// Returns the rest of the day's requests and tokens, as reported in this response.
fn left(answer: &Response) -> (u64, u64) {
    let field = |name: &str| {
        let value = answer.headers.get(name).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("{name} in {answer:?}"))
    };
    (field("x-ratelimit-remaining-requests"), field("x-ratelimit-remaining-tokens"))
}

/// Returns a chat that uses nothing; its response reports the rest.
fn free() -> Request {
    chat().header("x-simulate", "usage=0:0")
}

/// Returns a stream of up to [`LONG`] tokens.
fn stream(simulate: &str) -> Request {
    let body = json!({"model": "gpt-5-mini", "stream": true, "max_tokens": LONG, "messages": []});
    Request::json("/v1/chat/completions", &body).header("x-simulate", simulate)
}

/// Sends requests until the number of remaining tokens is as expected, after all settlements.
fn comes_to(workerd: &Workerd, expected: impl Fn(u64) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, tokens) = left(&ask(workerd, free()));
        if expected(tokens) {
            return;
        }
        assert!(Instant::now() < end, "{tokens} tokens are left");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The remaining tokens that a chat without usage is shown once the previous one is settled.
fn fresh(workerd: &Workerd) -> u64 {
    let (_, tokens) = left(&ask(workerd, free()));
    comes_to(workerd, |left| left == tokens);
    tokens
}
