//! The worker in real workerd, beyond what every host does: see `suite.rs` for that.

mod bodies;
mod deploy;
mod endings;
mod reload;
mod reservations;
mod unavailable;
mod websocket;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::{Request, Response, request};
use tollgate_envoy::workerd::Workerd;
use tollgate_envoy::world::{self, chat, key_of, secret};

/// Tokens that every team here may use in a day.
const DAY: u64 = 100_000_000;
/// More than a chat without a maximum reserves.
const LONG: u64 = 100_000;

/// A team `ml` with this record's fields, and its key `laptop`.
fn configuration(team: &Value) -> Value {
    let mut teams = json!({"ml": {"organization": "acme", "name": "ML"}});
    for (field, value) in team.as_object().into_iter().flatten() {
        teams["ml"][field] = value.clone();
    }
    world::configuration(&teams, &json!({"laptop": key_of("ml", "laptop")}))
}

/// A team that may use [`DAY`] tokens a day, and as many requests.
fn metered() -> Value {
    configuration(&json!({"limits": {"tpd": DAY, "rpd": DAY}}))
}

fn ask(workerd: &Workerd, asked: Request) -> Response {
    request(workerd.address(), &asked.bearer(&secret("laptop")))
}

fn code(answer: &Response) -> Value {
    answer.json()["error"]["code"].clone()
}

/// Requests and tokens that are left of the day, as this answer says it.
fn left(answer: &Response) -> (u64, u64) {
    let field = |name: &str| {
        let value = answer.headers.get(name).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("{name} in {answer:?}"))
    };
    (field("x-ratelimit-remaining-requests"), field("x-ratelimit-remaining-tokens"))
}

/// A chat that uses nothing; its answer says what is left.
fn free() -> Request {
    chat().header("x-simulate", "usage=0:0")
}

/// A stream of up to [`LONG`] tokens.
fn stream(simulate: &str) -> Request {
    let body = json!({"model": "gpt-5-mini", "stream": true, "max_tokens": LONG, "messages": []});
    Request::json("/v1/chat/completions", &body).header("x-simulate", simulate)
}

/// Asks until so many tokens are left after everything before it is settled.
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
