//! Requests with a key, and the answers that the filter gives itself.

use std::rc::Rc;

use serde_json::Value;
use tollgate_core::config::GatewayConfig;
use tollgate_core::exchange::Action;
use tollgate_core::http::local_response::LocalResponse;

use super::{Decided, KEY, decide_as};

pub(super) const ANTHROPIC: (&str, &str) = ("anthropic-version", "2023-06-01");

/// Decides a request with the key.
pub(super) fn send(gateway: &Rc<GatewayConfig>, method: &str, path: &str, body: Option<&str>) -> Decided {
    decide_as(gateway, method, path, &[("authorization", &format!("Bearer {KEY}"))], body)
}

pub(super) fn answer(decided: &Decided) -> (&LocalResponse, Value) {
    match &decided.step {
        Action::Answer(answer) => (answer, serde_json::from_str(&answer.body).unwrap_or_default()),
        other => panic!("it is let through: {other:?}"),
    }
}

/// The error code of an answer in any provider's shape.
pub(super) fn code(decided: &Decided) -> String {
    let (_, body) = answer(decided);
    let code = body.pointer("/error/details/0/reason").or(body.pointer("/error/code"));
    code.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The shape of an error.
pub(super) fn shape(decided: &Decided) -> &'static str {
    let (_, body) = answer(decided);
    match &body {
        body if body["type"] == "error" => "anthropic",
        body if body["error"]["status"].is_string() => "gemini",
        body if body["error"]["type"].is_string() => "openai",
        other => panic!("{other}"),
    }
}

pub(super) fn field<'a>(answer: &'a LocalResponse, name: &str) -> Option<&'a str> {
    let mut all = answer.fields.iter().filter(|(known, _)| *known == name);
    let value = all.next().map(|(_, value)| value.as_str());
    assert_eq!(all.count(), 0, "{name} more than once");
    value
}

pub(super) const NAMED: &str = r#"{"model":"small","input":"a","max_tokens":5}"#;
