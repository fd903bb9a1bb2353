//! The ended call, as the ledger counts it: once, on every ending.

use serde_json::json;
use tollgate_core::exchange::Action;
use tollgate_core::ledger::{Amounts, EndedCall};

use super::*;

/// A gateway whose team has no limit, with keys of a person and of the team. Records made through the API have `created`.
fn unlimited(settings: &Value) -> Rc<GatewayConfig> {
    let mut policy = policy();
    policy["teams"]["blue"].as_object_mut().unwrap().remove("budget");
    policy["teams"]["blue"]["created"] = json!(41);
    policy["teams"]["blue"]["members"] = json!({ "bob": "team_developer" });
    policy["organizations"]["acme"]["members"] = json!({ "bob": "org_member" });
    policy["users"]["bob"]["created"] = json!(42);
    policy["keys"]["laptop"]["owner"] = json!("user/bob");
    policy["keys"]["laptop"]["created"] = json!(43);
    let mut document = json!({ "policy": policy });
    document.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    gateway(&document)
}

fn call(target: Option<&str>, amounts: Amounts) -> EndedCall {
    EndedCall {
        team: "blue~41".into(),
        key: "laptop~43".into(),
        user: "bob~42".into(),
        target: target.map(Into::into),
        wall: NOW.wall,
        amounts,
    }
}

const ONE: Amounts = Amounts {
    requests: 1,
    refused: 0,
    input: 0,
    cached_input: 0,
    output: 0,
    cost: Pico(0),
    estimated: Pico(0),
};
const REFUSED: Amounts = Amounts { refused: 1, requests: 0, ..ONE };

#[test]
fn a_forwarded_call_counts_once_with_its_usage_although_nothing_limits_it() {
    let mut decided = with_key(&unlimited(&json!({})), CHAT, Some(r#"{"model":"small"}"#));
    assert!(matches!(decided.step, Action::Forward(_)), "{:?}", decided.step);
    let exchange = &mut decided.exchange;
    assert_eq!(exchange.count(), None, "it is under way");
    let head: [(&[u8], &[u8]); 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
    exchange.response_headers(&Headers::new(&head), &mut |_| ());
    let usage = br#"{"usage":{"prompt_tokens":100,"prompt_tokens_details":{"cached_tokens":40},"completion_tokens":7}}"#;
    exchange.response_body(usage, true);
    assert_eq!(exchange.finish(true), None, "nothing is to be settled");
    let cost = Pico(100 * 1_000_000 + 7 * 10_000_000);
    let amounts = Amounts { input: 100, cached_input: 40, output: 7, cost, ..ONE };
    assert_eq!(exchange.count(), Some(call(Some("small"), amounts)));
    assert_eq!(exchange.finish(false), None);
    assert_eq!(exchange.count(), None, "it is counted once");
}

#[test]
fn a_failed_call_counts_as_a_request_without_cost() {
    let mut decided = with_key(&unlimited(&json!({})), CHAT, Some(r#"{"model":"small"}"#));
    decided.exchange.upstream_failed();
    decided.exchange.finish(false);
    assert_eq!(decided.exchange.count(), Some(call(Some("small"), ONE)));
}

#[test]
fn a_refused_call_of_a_known_key_counts_with_its_target_if_the_catalogue_has_it() {
    let gateway = unlimited(&json!({}));
    for (body, target) in
        [(r#"{"model":"large"}"#, Some("large")), (r#"{"model":"nowhere"}"#, None), ("{", None), ("{}", None)]
    {
        let mut refused = with_key(&gateway, CHAT, Some(body));
        assert!(matches!(refused.step, Action::Answer(_)), "{:?}", refused.step);
        assert_eq!(refused.exchange.count(), Some(call(target, REFUSED)), "{body}");
        refused.exchange.finish(false);
        assert_eq!(refused.exchange.count(), None);
    }
    let shadowing = unlimited(&json!({ "mode": "shadow" }));
    let mut shadowed = with_key(&shadowing, CHAT, Some(r#"{"model":"large"}"#));
    assert!(matches!(shadowed.step, Action::Forward(_)));
    shadowed.exchange.upstream_failed();
    shadowed.exchange.finish(false);
    assert_eq!(shadowed.exchange.count(), Some(call(Some("large"), ONE)), "it was forwarded");
}

#[test]
fn calls_without_a_known_key_and_the_gateways_own_answers_do_not_count() {
    let gateway = unlimited(&json!({}));
    let body = Some(r#"{"model":"small"}"#);
    let unknown = decide(&gateway, CHAT, &[("authorization", "Bearer another")], body);
    let none = decide(&gateway, CHAT, &[], body);
    let models = with_key(&gateway, "/v1/models", None);
    for mut decided in [unknown, none, models] {
        decided.exchange.finish(false);
        assert_eq!(decided.exchange.count(), None, "{:?}", decided.step);
    }
    let mut left = with_key(&gateway, CHAT, None);
    assert!(left.exchange.count().is_some(), "a request without its body is refused");
}

#[test]
fn a_call_that_awaits_its_body_or_its_admission_does_not_count() {
    let mut waiting = with_key(&gateway(&json!({})), CHAT, Some(r#"{"model":"small"}"#));
    assert!(matches!(waiting.step, Action::Admit(_)));
    assert_eq!(waiting.exchange.count(), None);
    waiting.exchange.finish(false);
    assert_eq!(waiting.exchange.count(), None, "it was given up before its decision");
}
