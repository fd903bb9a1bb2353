//! `policies/demo.json`: requests to try against it, and the search for its secrets, which are public.

use std::collections::HashSet;
use std::fmt::Write as _;

use tollgate_core::config::ConfigLoader;
use tollgate_core::policy::{Policy, PolicyLoader};

/// The text that documents the demo keys.
const README: &str = include_str!("../../../policies/README.md");
/// The policy with their digests.
const POLICY: &[u8] = include_bytes!("../../../policies/demo.json");

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

/// Returns the record of a gateway configuration that has a secret of the demo, such as `keys/demobob`. A
/// configuration with errors has none; the module rejects it.
pub fn public_secret(configuration: &[u8]) -> Option<String> {
    let mut demo = PolicyLoader::default();
    demo.push(POLICY);
    let (demo, _) = demo.finish().ok()?;
    let public: HashSet<_> = digests(&demo).into_iter().map(|(digest, _)| digest).collect();
    let mut loader = ConfigLoader::default();
    loader.push(configuration);
    let (gateway, _) = loader.finish().ok()?;
    let found = digests(&gateway.policy.read());
    found.into_iter().find(|(digest, _)| public.contains(digest)).map(|(_, record)| record)
}

/// Returns a sentence about a record that [`public_secret`] found.
pub fn warning(record: &str) -> String {
    format!("`{record}` has a secret of policies/demo.json, which is public")
}

/// Returns the digest of every secret of a policy, with the record that has it.
fn digests(policy: &Policy) -> Vec<(Vec<u8>, String)> {
    let keys = policy.keys.iter().flat_map(|(_, id, key)| {
        let previous = key.more.as_deref().and_then(|more| more.previous.as_ref()).map(|(digest, _)| digest);
        let digests = std::iter::once(&key.digest).chain(previous);
        digests.map(|digest| (digest.to_vec(), format!("keys/{id}"))).collect::<Vec<_>>()
    });
    let users = policy.users.iter().flat_map(|(_, id, user)| {
        user.tokens.iter().map(move |digest| (digest.to_vec(), format!("users/{id}")))
    });
    keys.chain(users).collect()
}

/// Returns the addresses at which the console signs in the people of the demo.
pub fn console_links(address: &str) -> String {
    let mut text = String::from("\nThe console, signed in as one of the demo's people:\n\n");
    for (name, who) in [
        ("pat", "Pat, platform admin"),
        ("alice", "Alice, owner of acme, admin of its team search"),
        ("bob", "Bob, developer in search"),
    ] {
        if let Some(token) = token(name) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  # {who}\n  {address}#token={token}\n");
        }
    }
    text
}

/// Returns the demo token of this user.
fn token(user: &str) -> Option<&'static str> {
    let start = README.find(&format!("tg-demo-{user}-"))?;
    README.get(start..)?.split('`').next()
}

/// Returns the demo key with this public id.
fn key(id: &str) -> Option<&'static str> {
    let start = README.find(&format!("sk-tg-{id}-"))?;
    README.get(start..)?.split('`').next()
}
