//! The upstreams' own keys.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_envoy::client::Request;
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::shipped::UPSTREAM_SECRETS;
use tollgate_envoy::world::{chat, configuration, key_of, secret};

fn ml() -> Option<Gateway> {
    let mut configuration = configuration(
        &json!({"ml": {"organization": "acme", "name": "ML"}}),
        &json!({"laptop": key_of("ml", "laptop")}),
    );
    configuration["policy"]["organizations"]["acme"]["access"] = json!({"targets": ["*"]});
    Gateway::start(&configuration)
}

#[test]
fn each_upstream_gets_its_own_key_and_no_other() {
    let Some(gateway) = ml() else { return };
    let message = Request::json(
        "/v1/messages",
        &json!({"model": "gpt-5-mini", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi."}]}),
    );
    for request in [chat().bearer(&secret("laptop")), message.header("x-api-key", secret("laptop"))] {
        let answer = gateway.request(&request);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let arrived = gateway.upstream.recording().requests();
    let [(_, openai), (_, anthropic)] = UPSTREAM_SECRETS.map(|(name, secret)| (name, secret.as_bytes()));
    let keys = |n: usize| (arrived[n].header("authorization"), arrived[n].header("x-api-key"));
    assert_eq!(keys(0), (vec![openai], vec![]));
    assert_eq!(keys(1), (vec![], vec![anthropic]));
}

#[test]
fn an_upstreams_key_is_replaced_without_a_restart() {
    let Some(gateway) = ml() else { return };
    let secrets = gateway.envoy.folder().join("secrets");
    fs::write(secrets.join("openai.key.new"), "Bearer sk-fresh").unwrap();
    fs::rename(secrets.join("openai.key.new"), secrets.join("openai.key")).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        assert_eq!(gateway.request(&chat().bearer(&secret("laptop"))).status, 200);
        let arrived = gateway.upstream.recording().requests();
        if arrived.last().unwrap().header("authorization") == [b"Bearer sk-fresh"] {
            break;
        }
        assert!(Instant::now() < end, "the old key is still in use");
    }
}
