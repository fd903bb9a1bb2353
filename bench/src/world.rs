//! The measured gateway configurations and requests.

use serde_json::{Map, Value, json};
use tollgate_core::secret::api_key;
use tollgate_host::proxy_wasm::HeaderMap;

/// Returns the key of every request.
pub fn secret() -> String {
    api_key::mint("bench", &[7; 32])
}

/// The limits that apply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Governed {
    /// Requests per minute, of the organization, the team and the key.
    Requests,
    /// The same, and tokens per minute of the team and the organization, and the organization's budget.
    TokensAndMoney,
}

/// Creates a gateway with one used key and `others` unused ones.
pub fn gateway(governed: Governed, others: usize) -> Value {
    // Above the load of any bench: nothing is rejected.
    const MOST: u64 = 4_000_000_000;
    let (limits, budget) = match governed {
        Governed::Requests => (json!({"rpm": MOST}), None),
        Governed::TokensAndMoney => {
            (json!({"rpm": MOST, "tpm": MOST}), Some(json!({"max": "900000000000", "period": "month"})))
        }
    };
    let mut organization = json!({"name": "Acme", "access": {"targets": ["*"]}, "limits": limits});
    if let Some(budget) = budget {
        organization["budget"] = budget;
    }
    let mut policy = policy(others);
    policy["organizations"]["acme"] = organization;
    policy["teams"]["ml"] = json!({"organization": "acme", "name": "ML", "limits": limits});
    policy["keys"]["bench"] = json!({"team": "ml", "digest": api_key::format_digest(&api_key::digest(secret().as_bytes())), "limits": {"rpm": MOST}});
    json!({
        "policy": policy,
        "routes": [
            {"path": "/v1/chat/completions", "methods": ["POST"], "api": "openai-chat"},
            {"path": "/reports", "target": "reports-api"},
        ],
    })
}

/// Creates a policy with this many keys: a hundred to a team, twenty teams to an organization.
pub fn policy(keys: usize) -> Value {
    let (mut organizations, mut teams, mut records) = (Map::new(), Map::new(), Map::new());
    for number in 0..keys {
        let (team, organization) = (number / 100, number / 2_000);
        let (team, organization) = (format!("team{team}"), format!("organization{organization}"));
        organizations.entry(organization.clone()).or_insert_with(
            || json!({"name": "One of many", "access": {"access_groups": ["chat"]}, "limits": {"rpm": 6000}}),
        );
        teams.entry(team.clone()).or_insert_with(
            || json!({"organization": organization, "name": "A team", "limits": {"rpm": 600, "tpm": 2_000_000}}),
        );
        let digest = api_key::format_digest(&api_key::digest(format!("key {number}").as_bytes()));
        records.insert(format!("key{number:06}"), json!({"team": team, "digest": digest}));
    }
    let price = json!({"input": "0.25", "output": "2.00"});
    json!({
        "version": 1,
        "targets": {"gpt-5-mini": {"access_groups": ["chat"], "price": price}, "reports-api": {"price": price}},
        "organizations": organizations,
        "teams": teams,
        "keys": records,
    })
}

/// Creates the head of a call, with a body length or none.
pub fn head(path: &str, length: Option<usize>) -> HeaderMap {
    let bearer = format!("Bearer {}", secret());
    let mut fields = vec![
        (":method", if length.is_some() { "POST" } else { "GET" }),
        (":path", path),
        (":authority", "gateway.example.com"),
        (":scheme", "https"),
        ("user-agent", "OpenAI/Python 3.54.0"),
        ("accept", "application/json"),
        ("authorization", &bearer),
        ("x-request-id", "6b5ab5e0-3f3d-4c2b-8d9e-0a1b2c3d4e5f"),
    ];
    let length = length.map(|length| length.to_string());
    if let Some(length) = &length {
        fields.push(("content-type", "application/json"));
        fields.push(("content-length", length));
    }
    fields.into_iter().collect()
}

/// Creates a chat of two kilobytes in the format of the SDKs.
pub fn chat(stream: bool) -> Vec<u8> {
    let words = "Compare the two contracts below clause by clause, and list where they differ. ";
    let mut body = json!({
        "model": "gpt-5-mini",
        "messages": [
            {"role": "system", "content": "You are a careful assistant.\nAnswer in English."},
            {"role": "user", "content": words.repeat(23)},
        ],
        "max_completion_tokens": 500,
        "temperature": 0.2,
    });
    if stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    body.to_string().into_bytes()
}

fn usage() -> Value {
    json!({
        "prompt_tokens": 431, "completion_tokens": 352, "total_tokens": 783,
        "prompt_tokens_details": {"cached_tokens": 128, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0},
    })
}

/// Creates a response of two kilobytes, with its usage after its text.
pub fn answer() -> Vec<u8> {
    let text =
        "The first contract limits liability to the fees paid; the second does not limit it. ".repeat(20);
    let (head, tail) = (
        json!({"id": "chatcmpl-bench", "object": "chat.completion", "created": 1_790_000_000, "model": "gpt-5-mini"}),
        json!([{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]),
    );
    let head = head.to_string();
    // A provider writes its usage after the choices; an object of serde_json is sorted.
    format!("{},\"choices\":{tail},\"usage\":{}}}", head.trim_end_matches('}'), usage()).into_bytes()
}

/// Creates sixty-five events: a first one, sixty-two words, the finish reason, and the usage with the end
/// marker.
pub fn events() -> Vec<Vec<u8>> {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_790_000_000,
            "model": "gpt-5-mini", "choices": choices, "usage": usage,
        });
        format!("data: {chunk}\n\n").into_bytes()
    };
    let choice = |delta: Value, end: Value| json!([{"index": 0, "delta": delta, "finish_reason": end}]);
    let mut events =
        vec![chunk(choice(json!({"role": "assistant", "content": ""}), Value::Null), Value::Null)];
    events.extend((0..62).map(|_| chunk(choice(json!({"content": " liability"}), Value::Null), Value::Null)));
    events.push(chunk(choice(json!({}), json!("stop")), Value::Null));
    events.push([chunk(json!([]), usage()), b"data: [DONE]\n\n".to_vec()].concat());
    events
}

/// Creates the head of a response.
pub fn answer_head(content_type: &str) -> HeaderMap {
    [(":status", "200"), ("content-type", content_type), ("server", "provider")].into_iter().collect()
}
