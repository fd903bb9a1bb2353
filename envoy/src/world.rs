//! Keys and small policies for tests.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tollgate_core::secret::api_key;

use crate::client::Request;

/// Returns a key in Tollgate's format; the same one for the same id.
pub fn secret(id: &str) -> String {
    api_key::mint(id, &api_key::digest(id.as_bytes()))
}

/// Returns the digest of any key, as in a policy.
pub fn digest(secret: &str) -> String {
    let mut text = String::from("sha256:");
    for byte in api_key::digest(secret.as_bytes()) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Returns the policy's record of the key [`secret`] of this id.
pub fn key_of(team: &str, id: &str) -> Value {
    json!({"team": team, "digest": digest(&secret(id))})
}

/// Returns a configuration with one organization, `acme`, that may call `gpt-5-mini`, and these teams and
/// keys.
pub fn configuration(teams: &Value, keys: &Value) -> Value {
    json!({
        "policy": {
            "version": 1,
            "targets": {"gpt-5-mini": {}, "gpt-5": {}},
            "organizations": {"acme": {"name": "Acme", "access": {"targets": ["gpt-5-mini"]}}},
            "teams": teams,
            "keys": keys,
        }
    })
}

/// Creates a chat with this model.
pub fn chat_with(model: &str) -> Request {
    Request::json(
        "/v1/chat/completions",
        &json!({"model": model, "messages": [{"role": "user", "content": "Say hello."}]}),
    )
}

/// Creates a chat that `acme` may call.
pub fn chat() -> Request {
    chat_with("gpt-5-mini")
}
