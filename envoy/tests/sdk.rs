//! The providers' own Python SDKs, unmodified, through real Envoy and through `tollgate serve`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::shipped;
use tollgate_envoy::world::{key_of, secret};
use tollgate_host::proxy_wasm::Process;
use tollgate_host::server::lines::Lines;
use tollgate_host::server::{BUFFER_LIMIT, Limits, Options, Server, Target};
use tollgate_host::simulator::Upstream;
use tollgate_host::{build::module, tools};

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

/// Runs a script with the key of this id for its limit tests.
fn run(python: &Path, script: &str, address: SocketAddr, limited: &str) {
    let output = Command::new(python)
        .arg(shipped::folder().join("tests/sdk").join(script))
        .args(["--base-url", &format!("http://{address}")])
        .args(["--key", &secret("good"), "--limited-key", &secret(limited)])
        .args(["--expired-key", &secret("expired"), "--budget-key", &secret("poor")])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{said}\n{failed}");
}

fn both(python: &Path, address: SocketAddr) {
    std::thread::scope(|scope| {
        scope.spawn(|| run(python, "openai_sdk.py", address, "openai"));
        scope.spawn(|| run(python, "anthropic_sdk.py", address, "anthropic"));
    });
}

#[test]
fn the_sdks_work_behind_envoy() {
    let Some(python) = tools::require(tools::python_sdks()) else { return };
    let Some(gateway) = Gateway::start(&configuration()) else { return };
    both(&python, gateway.address());
    gateway.assert_no_trap();
}

#[test]
fn the_sdks_work_behind_the_command() {
    let Some(python) = tools::require(tools::python_sdks()) else { return };
    let upstream = Upstream::start().unwrap();
    let module = module::load(&[]).unwrap();
    let server = Server::start(Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        workers: 2,
        process: Process::builder(&module).buffer_limit(BUFFER_LIMIT),
        configuration: configuration().to_string().into_bytes(),
        upstream: Target::parse(&upstream.url()).unwrap(),
        clusters: Vec::new(),
        lines: Lines::discard(),
        drain: Duration::ZERO,
        limits: Limits::default(),
        tls: None,
    })
    .unwrap();
    both(&python, server.addr());
}
