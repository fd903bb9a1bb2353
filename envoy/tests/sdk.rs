//! The providers' own Python SDKs, unmodified, through real Envoy.

use std::process::Command;

use serde_json::{Value, json};
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::shipped;
use tollgate_envoy::world::{key_of, secret};
use tollgate_host::provision;

fn configuration() -> Value {
    let price = json!({"input": "1.00", "output": "10.00"});
    let mut keys = json!({
        "good": key_of("ml", "good"),
        "limited-openai": key_of("limited-openai", "openai"),
        "limited-anthropic": key_of("limited-anthropic", "anthropic"),
        "expired": key_of("ml", "expired"),
        "poor": key_of("poor", "poor"),
    });
    keys["expired"]["expires_at"] = json!("2020-01-01T00:00:00Z");
    json!({
        "policy": {
            "version": 1,
            "targets": {
                "gpt-5-mini": {"access_groups": ["small"], "price": price},
                "claude-haiku-4-5": {"access_groups": ["small"], "price": price},
                "text-embedding-3-small": {"access_groups": ["small"], "price": price},
                "gpt-5": {}, "claude-opus-4-5": {},
            },
            "organizations": {"acme": {"name": "Acme", "access": {"access_groups": ["small"]}}},
            "teams": {
                "ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 1000, "tpm": 10_000_000}},
                "limited-openai": {"organization": "acme", "name": "Limited", "limits": {"rpm": 3}},
                "limited-anthropic": {"organization": "acme", "name": "Limited", "limits": {"rpm": 3}},
                "poor": {"organization": "acme", "name": "Poor", "budget": {"max": "0.00001"}},
            },
            "keys": keys,
        }
    })
}

fn run(script: &str, limited: &str) {
    let Some(python) = provision::require(provision::python_sdks()) else { return };
    let Some(gateway) = Gateway::start(&configuration()) else { return };
    let output = Command::new(python)
        .arg(shipped::folder().join("tests/sdk").join(script))
        .args(["--base-url", &format!("http://{}", gateway.address())])
        .args(["--key", &secret("good"), "--limited-key", &secret(limited)])
        .args(["--expired-key", &secret("expired"), "--budget-key", &secret("poor")])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{said}\n{failed}");
    gateway.assert_no_trap();
}

#[test]
fn the_openai_sdk_finds_what_it_expects() {
    run("openai_sdk.py", "openai");
}

#[test]
fn the_anthropic_sdk_finds_what_it_expects() {
    run("anthropic_sdk.py", "anthropic");
}
