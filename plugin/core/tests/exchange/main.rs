//! One request: `charges`, `estimates` and `media` have the reservations, `running` the settlements with counters,
//! `heads` the headers, `members` the members that the gateway does not see through, `names` the names of one target,
//! `prices` and `price_model` the choice among a target's prices, `units` what is charged by the unit, `routes` the default
//! routes, `answers`, `health` and `refusals` the filter's own responses, `sign_in` the callers of the management API, `queries`
//! the parameters of a query, `spellings` requests without a key, `steps` the decision's trace, `usage_chunk` the usage of
//! streams, `endings` the settlement, `counts` the usage that is kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod charges;
mod counts;
mod endings;
mod estimates;
mod heads;
mod health;
mod media;
mod members;
mod names;
#[path = "../support/policies.rs"]
#[allow(dead_code, reason = "the policies alone are used")]
mod policies;
mod price_model;
mod prices;
mod queries;
mod refusals;
mod routes;
mod running;
mod sign_in;
mod spellings;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod units;
mod usage_chunk;

use std::rc::Rc;

use serde_json::{Value, json};
use tollgate_core::admission::AdmissionRequest;
use tollgate_core::config::{ConfigLoader, GatewayConfig};
use tollgate_core::exchange::{Action, Exchange};
use tollgate_core::http::headers::{HeaderMutation, Headers};
use tollgate_core::money::Pico;
use tollgate_core::secret::api_key;
use tollgate_core::time::{Now, SECOND};

const KEY: &str = "a-key-of-another-gateway";
const ROTATED: &str = "its-secret-before-the-last-rotation";
const TOKEN: &str = "a-users-token";
const CHAT: &str = "/v1/chat/completions";

const NOW: Now = Now { wall: 1_800_000_000 * SECOND, monotonic: 1_800_000_000 * SECOND };

fn digest(secret: &str) -> String {
    api_key::format_digest(&api_key::digest(secret.as_bytes()))
}

/// A policy with one team under a budget; its key may call `small` and not `large`.
fn policy() -> Value {
    json!({
        "version": 1,
        "targets": {
            "small": { "price": { "input": "1", "output": "10" } },
            "large": { "price": { "input": "100", "output": "1000" } },
        },
        "organizations": { "acme": { "name": "Acme", "access": { "targets": ["small"] } } },
        "teams": { "blue": { "organization": "acme", "name": "Blue", "budget": { "max": "1000" } } },
        "users": { "bob": { "name": "Bob", "tokens": [digest(TOKEN)] } },
        "keys": { "laptop": {
            "team": "blue",
            "digest": digest(KEY),
            "previous": { "digest": digest(ROTATED), "until": "2026-01-01T00:00:00Z" },
        } },
    })
}

/// A configuration with that policy, unless `settings` have another.
fn gateway(settings: &Value) -> Rc<GatewayConfig> {
    let mut document = json!({ "policy": policy() });
    document.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let mut loader = ConfigLoader::default();
    loader.push(document.to_string().as_bytes());
    Rc::new(loader.finish().expect("it is right").0)
}

/// A decided request, and the mutations of its headers.
struct Decided {
    step: Action,
    exchange: Exchange,
    edits: Vec<(String, Option<String>)>,
}

impl Decided {
    fn charges(&self) -> &AdmissionRequest {
        match &self.step {
            Action::Admit(charges) => charges,
            other => panic!("it is not to be admitted: {other:?}"),
        }
    }

    /// The last mutation of a field: its new value, or its removal.
    fn edited(&self, name: &str) -> Option<Option<&str>> {
        let edit = self.edits.iter().rfind(|(known, _)| known == name)?;
        Some(edit.1.as_deref())
    }
}

fn decide(gateway: &Rc<GatewayConfig>, path: &str, fields: &[(&str, &str)], body: Option<&str>) -> Decided {
    decide_as(gateway, if body.is_some() { "POST" } else { "GET" }, path, fields, body)
}

fn decide_as(
    gateway: &Rc<GatewayConfig>,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: Option<&str>,
) -> Decided {
    let mut exchange = Exchange::new(Rc::clone(gateway));
    let mut head = vec![(":method", method), (":path", path)];
    head.extend_from_slice(fields);
    let head: Vec<_> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let mut edits = Vec::new();
    let mut edit = |edit: HeaderMutation<'_>| {
        edits.push(match edit {
            HeaderMutation::Remove(name) => (name.to_owned(), None),
            HeaderMutation::Replace(name, value) => (name.to_owned(), Some(value.to_owned())),
        });
    };
    let mut step = exchange.request_headers(&Headers::new(&head), body.is_none(), NOW.timestamp(), &mut edit);
    if let (Action::Hold, Some(body)) = (&step, body) {
        step = exchange.request_body(body.as_bytes(), true, NOW.timestamp(), &mut edit);
    }
    Decided { step, exchange, edits }
}

fn with_key(gateway: &Rc<GatewayConfig>, path: &str, body: Option<&str>) -> Decided {
    decide(gateway, path, &[("authorization", &format!("Bearer {KEY}"))], body)
}

fn refusal(decided: &Decided) -> &str {
    match &decided.step {
        Action::Answer(answer) => &answer.body,
        other => panic!("it is let through: {other:?}"),
    }
}

/// True if the request is forwarded with its body unchanged.
fn is_unpatched(action: &Action) -> bool {
    matches!(action, Action::Forward(forward) if forward.body_patch().is_none())
}
