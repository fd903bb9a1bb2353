//! The command `tollgate explain`.

mod command;

use std::fs;
use std::path::PathBuf;

use command::tollgate;
use serde_json::{Value, json};
use tollgate_core::secret::api_key::{digest, format_digest};

const KEY: &str = "a-key-of-another-gateway";

/// Returns a policy with one team, for a test to change.
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

/// Returns the success and the line of the decision.
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
fn a_call_within_its_limits_is_allowed() {
    assert_eq!(decision("allowed", &policy(), KEY, "small"), (true, "allowed".to_owned()));
}

#[test]
fn a_budget_smaller_than_any_call_rejects() {
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
fn shadow_mode_lets_pass_and_reports_its_owner() {
    let mut policy = policy();
    let gateway = json!({"mode": "shadow", "policy": policy});
    let (passes, line) = decision("gateway", &gateway, KEY, "small");
    assert!(passes && line == "allowed (the gateway is in shadow mode: nothing is refused)", "{line}");
    let (passes, line) = decision("gateway", &gateway, KEY, "secret");
    assert!(
        passes && line.contains("the gateway is in shadow mode; else refused: 403 target_not_allowed"),
        "{line}"
    );
    // An unknown key has no mode.
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
