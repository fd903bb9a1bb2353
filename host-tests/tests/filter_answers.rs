//! The limit headers of a response: only Tollgate's own, and only if a limit applies to the call.

mod filtered;

use filtered::{CHAT, Filtered, chat, logged};
use serde_json::{Value, json};
use tollgate_host::proxy_wasm::{Ending, HeaderMap};

/// The headers of OpenAI for the account of the upstream's key, and those of an upstream with the draft's
/// names.
const OF_THE_UPSTREAM: [(&str, &str); 8] = [
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-reset-requests", "6ms"),
    ("X-RateLimit-Limit-Tokens", "150000"),
    ("x-ratelimit-remaining-tokens", "149984"),
    ("x-ratelimit-reset-tokens", "8ms"),
    ("ratelimit", "\"default\";r=50;t=30"),
    ("ratelimit-policy", "\"default\";q=100;w=60"),
];

/// Returns a team with these fields besides its own.
fn configuration(of_the_team: Value) -> Value {
    let mut configuration = filtered::configuration(json!({}), json!({"max": "0"}));
    let team = configuration["policy"]["teams"]["blue"].as_object_mut().unwrap();
    team.remove("budget");
    team.extend(of_the_team.as_object().unwrap().clone());
    configuration
}

fn answered(configuration: &Value, path: &str) -> HeaderMap {
    let mut filter = Filtered::new(configuration);
    let (stream, _) = filter.admitted(path, &chat(100, false));
    let mut head = HeaderMap::from([(":status", "200"), ("content-type", "application/json")]);
    OF_THE_UPSTREAM.iter().for_each(|(name, value)| head.add(name, value));
    let flow = filter.vm.response_headers(stream, head, false).unwrap();
    flow.forward().and_then(|forward| forward.headers).expect("it is not held")
}

fn standing(head: &HeaderMap) -> Vec<(&str, &str)> {
    let named = head.iter().map(|(name, value)| [name, value].map(|it| std::str::from_utf8(it).unwrap()));
    let ours = named.filter(|[name, _]| name.contains("ratelimit") || name.starts_with("x-tollgate"));
    ours.map(|[name, value]| (name, value)).collect()
}

#[test]
fn the_upstream_s_limit_headers_are_replaced() {
    let head = answered(&configuration(json!({"limits": {"rpm": 10}})), CHAT);
    assert_eq!(
        standing(&head),
        [
            ("x-ratelimit-limit-requests", "10"),
            ("x-ratelimit-remaining-requests", "9"),
            ("x-ratelimit-reset-requests", "1m1s"),
            ("x-tollgate-scope", "team_rpm"),
        ]
    );
}

#[test]
fn a_call_with_only_a_budget_reports_the_budget_s_owner() {
    let head = answered(&configuration(json!({"budget": {"max": "5"}})), CHAT);
    assert_eq!(standing(&head), [("x-tollgate-scope", "team_budget")]);
}

#[test]
fn an_unlimited_call_keeps_the_upstream_s_limit_headers() {
    let mut configuration = configuration(json!({}));
    configuration["routes"] = json!([{"path": "/reports", "target": "small"}]);
    let said = OF_THE_UPSTREAM.map(|(name, value)| (name.to_ascii_lowercase(), value));
    let said: Vec<_> = said.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(standing(&answered(&configuration, "/reports")), said);
}

#[test]
fn a_zero_budget_is_rejected_without_retry_after() {
    let mut filter = Filtered::new(&configuration(json!({"budget": {"max": "0", "period": "hour"}})));
    let refused = filter.refused(CHAT, &[("content-type", "application/json")], &chat(100, false));
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers.get("retry-after"), None);
    assert_eq!(refused.headers.text("x-should-retry"), Some("false"));
    assert_eq!(refused.headers.text("x-tollgate-scope"), Some("team_budget"));
    let body: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(body["error"]["code"], "team_budget_exceeded");
    assert_eq!(
        body["error"]["message"],
        "The team's budget is $0: every request is refused until an administrator raises it."
    );
}

#[test]
fn an_estimated_charge_is_logged_as_estimated() {
    for of_the_team in [json!({"budget": {"max": "5"}}), json!({"limits": {"tpm": 1_000_000}})] {
        let mut configuration = configuration(of_the_team);
        configuration["policy"]["unpriced"] = json!("allow");
        configuration["policy"]["targets"]["small"] = json!({});
        let mut filter = Filtered::new(&configuration);
        let body = chat(100, false);
        let (stream, _) = filter.admitted(CHAT, &body);
        filter.answers(stream, "200", "application/json");
        filter.more(stream, b"{}", true);
        let closed = filter.close(stream, &Ending::Complete);
        let input = body.len().div_ceil(4).to_string();
        let seen = ["input_tokens", "output_tokens", "estimated"].map(|name| logged(&closed, name));
        assert_eq!(seen, [Some(input.as_str()), Some("100"), Some("true")]);
    }
}
