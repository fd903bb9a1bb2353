//! The outcome that `tollgate explain` prints.

mod command;

use std::fs;
use std::path::PathBuf;

use command::tollgate;
use serde_json::{Value, json};
use tollgate_core::secret::api_key::{digest, format_digest};

const KEY: &str = "a-key-of-another-gateway";

/// A policy with one team, which each test adapts.
fn policy() -> Value {
    json!({
        "version": 1,
        "targets": {
            "small": {"price": {"input": "1", "output": "2"}},
            "report": {"price": {"input": "0", "output": "0", "request": "0.50"}},
            "secret": {},
        },
        "organizations": {"acme": {"name": "Acme", "access": {"targets": ["small", "report"]}}},
        "teams": {"blue": {"organization": "acme", "name": "Blue", "limits": {"rpm": 1, "tpd": 1}}},
        "keys": {"laptop": {"team": "blue", "digest": format_digest(&digest(KEY.as_bytes()))}},
    })
}

/// The success of the command, and the line of the decision.
fn decision(name: &str, document: &Value, key: &str, target: &str) -> (bool, String) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("explain-{name}.json"));
    fs::write(&path, document.to_string()).unwrap();
    let arguments = ["explain", "--key", key, "--target", target, "--policy"];
    let output = tollgate(&arguments).arg(&path).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("decision  "));
    (output.status.success(), line.unwrap_or_else(|| panic!("{said}")).to_owned())
}

#[test]
fn a_call_within_its_quotas_is_allowed() {
    assert_eq!(decision("allowed", &policy(), KEY, "small"), (true, "allowed".to_owned()));
}

#[test]
fn a_budget_below_the_price_of_a_call_rejects() {
    let mut nothing = policy();
    nothing["organizations"]["acme"]["budget"] = json!({"max": "0", "period": "month"});
    let (passes, line) = decision("nothing", &nothing, KEY, "small");
    assert!(!passes && line.starts_with("refused: 429 organization_budget_exceeded"), "{line}");

    // Each call costs more than the whole budget.
    let mut little = policy();
    little["teams"]["blue"]["budget"] = json!({"max": "0.10"});
    let (passes, line) = decision("little", &little, KEY, "report");
    assert!(!passes && line.starts_with("refused: 400 request_too_large_for_budget"), "{line}");
    assert!(decision("little", &little, KEY, "small").0);
}

#[test]
fn shadow_mode_passes_the_call_and_names_its_level() {
    let mut policy = policy();
    let gateway = json!({"mode": "shadow", "policy": policy});
    let (passes, line) = decision("gateway", &gateway, KEY, "small");
    assert!(passes && line == "allowed (the gateway is in shadow mode: nothing is refused)", "{line}");
    let (passes, line) = decision("gateway", &gateway, KEY, "secret");
    assert!(
        passes && line.contains("the gateway is in shadow mode; else refused: 403 target_not_allowed"),
        "{line}"
    );
    // An unknown key has no team, so no mode applies.
    let (passes, line) = decision("gateway", &gateway, "another-key", "small");
    assert!(!passes && line.starts_with("refused: 401 invalid_api_key"), "{line}");

    policy["teams"]["blue"]["mode"] = json!("shadow");
    policy["teams"]["blue"]["budget"] = json!({"max": "0"});
    let (passes, line) = decision("team", &policy, KEY, "small");
    assert!(
        passes && line.contains("the team is in shadow mode; else refused: 429 team_budget_exceeded"),
        "{line}"
    );
}
