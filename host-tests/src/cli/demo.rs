//! Requests to try against `policies/demo.json`.

use std::fmt::Write as _;

/// The text that documents the demo keys.
const README: &str = include_str!("../../../policies/README.md");

/// Returns the commands to paste and their expected results.
pub fn requests(base: &str) -> String {
    let chat = |key: Option<&str>, model: &str| {
        let key = key.map_or(String::new(), |key| format!(" -H 'authorization: Bearer {key}'"));
        format!(
            "curl -i {base}/v1/chat/completions{key} -H 'content-type: application/json' \
             -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'"
        )
    };
    let (search, trial) = (key("demosearch"), key("demotrial"));
    let tries = [
        ("200, with the rest of the tightest limit: each member's", chat(search, "gpt-5-mini")),
        ("401: no key", chat(None, "gpt-5-mini")),
        ("403: the trial team may call gpt-5-mini only", chat(trial, "gpt-5")),
        ("200 three times a minute, then 429 with the time to wait", chat(trial, "gpt-5-mini")),
    ];
    let mut text = String::from("\nTo try (policies/README.md has more keys):\n");
    for (what, request) in tries {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n  # {what}\n  {request}");
    }
    text.push('\n');
    text
}

/// Returns the demo key with this public id.
fn key(id: &str) -> Option<&'static str> {
    let start = README.find(&format!("sk-tg-{id}-"))?;
    README.get(start..)?.split('`').next()
}
