//! Access in real Envoy: accepted and rejected requests, and the responses to both.

use serde_json::json;
use tollgate_envoy::client::Request;
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::shipped::UPSTREAM_SECRETS;
use tollgate_envoy::world::{chat, chat_with, configuration, digest, key_of, secret};

#[test]
fn a_request_passes_or_is_rejected_with_the_reason() {
    let teams = json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 2}}});
    let Some(mut gateway) =
        Gateway::start(&configuration(&teams, &json!({"laptop": key_of("ml", "laptop")})))
    else {
        return;
    };
    let key = secret("laptop");
    let mut connection = gateway.connect();

    let passed = connection.request(&chat().bearer(&key));
    assert_eq!(passed.status, 200, "{passed:?}");
    assert_eq!(passed.json()["object"], "chat.completion");
    assert_eq!(passed.headers.get("x-ratelimit-limit-requests"), Some("2"));
    assert_eq!(passed.headers.get("x-ratelimit-remaining-requests"), Some("1"));
    assert_eq!(passed.headers.get("x-tollgate-scope"), Some("team_rpm"));

    let refusal = |request: &Request, status: u16, kind: &str, code: &str| {
        let refused = gateway.request(request);
        let error = &refused.json()["error"];
        assert_eq!(
            (refused.status, &error["type"], &error["code"]),
            (status, &json!(kind), &json!(code)),
            "{refused:?}"
        );
        assert_eq!(refused.headers.get("content-type"), Some("application/json"));
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 20), "{error}");
        refused
    };
    refusal(&chat(), 401, "authentication_error", "missing_api_key");
    refusal(&chat().bearer("sk-unknown"), 401, "authentication_error", "invalid_api_key");
    refusal(&chat_with("gpt-5").bearer(&key), 403, "permission_error", "target_not_allowed");
    refusal(&chat_with("unheard-of").bearer(&key), 403, "permission_error", "target_not_allowed");
    refusal(&Request::new("GET", "/nowhere").bearer(&key), 404, "invalid_request_error", "unknown_route");

    // None of the rejections was counted.
    assert_eq!(connection.request(&chat().bearer(&key)).status, 200);
    let limited = refusal(&chat().bearer(&key), 429, "rate_limit_error", "team_rpm_exceeded");
    assert_eq!(limited.json()["error"]["param"], "team_rpm");
    let seconds: u64 = limited.headers.get("retry-after").unwrap().parse().unwrap();
    let milliseconds: u64 = limited.headers.get("retry-after-ms").unwrap().parse().unwrap();
    assert!((1..=61).contains(&seconds), "{limited:?}");
    assert_eq!(milliseconds.div_ceil(1000), seconds, "{limited:?}");

    // Only the admitted request arrived, with the team's identity and without its key.
    let arrived = gateway.upstream.recording().requests();
    assert_eq!(arrived.len(), 2);
    for request in &arrived {
        assert_eq!(request.header("authorization"), [UPSTREAM_SECRETS[0].1.as_bytes()]);
        let facts = [("organization", "acme"), ("team", "ml"), ("key", "laptop"), ("target", "gpt-5-mini")];
        for (name, value) in facts {
            assert_eq!(request.header(&format!("x-tollgate-{name}")), [value.as_bytes()], "{request:?}");
        }
        assert_eq!(request.header("x-forwarded-for"), [b""; 0]);
    }

    let lines = gateway.envoy.access_log(8);
    let facts = |line: &serde_json::Value| {
        let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        (
            line["status"].as_u64().unwrap_or_default(),
            text("decision"),
            text("reason"),
            text("team"),
            text("key"),
            text("target"),
        )
    };
    let facts: Vec<_> = lines.iter().map(facts).collect();
    let line = |status: u16, decision: &str, reason: &str, team: &str, key: &str, target: &str| {
        (
            u64::from(status),
            decision.to_owned(),
            reason.to_owned(),
            team.to_owned(),
            key.to_owned(),
            target.to_owned(),
        )
    };
    for expected in [
        line(200, "allowed", "-", "ml", "laptop", "gpt-5-mini"),
        line(401, "denied", "missing_api_key", "-", "-", "-"),
        line(401, "denied", "invalid_api_key", "-", "-", "-"),
        line(429, "denied", "team_rpm_exceeded", "ml", "laptop", "gpt-5-mini"),
    ] {
        assert!(facts.contains(&expected), "{expected:?} is not in {facts:#?}");
    }

    let metrics = gateway.envoy.admin("GET", "/stats/prometheus");
    for line in [
        "tollgate_allowed{organization=\"acme\",team=\"ml\"} 2",
        "tollgate_denied{tollgate_reason=\"team_rpm_exceeded\",organization=\"acme\",team=\"ml\"} 1",
        "tollgate_denied{tollgate_reason=\"missing_api_key\"} 1",
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    gateway.assert_no_trap();
}

#[test]
fn shadow_mode_counts_would_be_rejections_by_reason_and_not_as_denied() {
    let configuration = configuration(
        &json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 1}, "mode": "shadow"}}),
        &json!({"laptop": key_of("ml", "laptop")}),
    );
    let Some(mut gateway) = Gateway::start(&configuration) else { return };
    for _ in 0..3 {
        assert_eq!(gateway.request(&chat().bearer(&secret("laptop"))).status, 200);
    }
    gateway.envoy.access_log(3);
    let metrics = gateway.envoy.admin("GET", "/stats/prometheus");
    for line in [
        "tollgate_allowed{organization=\"acme\",team=\"ml\"} 1",
        "tollgate_shadowed{tollgate_reason=\"team_rpm_exceeded\",organization=\"acme\",team=\"ml\"} 2",
        // It exists before the first rejection, and there is no other.
        "tollgate_denied{} 0",
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    assert!(!metrics.contains("tollgate_denied{tollgate_reason"), "{metrics}");
}

#[test]
fn two_keys_share_their_teams_limit_and_a_rejection_charges_nothing() {
    let limits = json!({"rpm": 3});
    let mut configuration = configuration(
        &json!({"ml": {"organization": "acme", "name": "ML", "limits": limits}}),
        &json!({"one": key_of("ml", "key1"), "two": key_of("ml", "key2")}),
    );
    configuration["policy"]["organizations"]["acme"]["limits"] = json!({"rpm": 100});
    for key in ["one", "two"] {
        configuration["policy"]["keys"][key]["limits"] = json!({"rpm": 3});
    }
    let Some(mut gateway) = Gateway::start(&configuration) else { return };
    for key in ["key1", "key2", "key1"] {
        assert_eq!(gateway.request(&chat().bearer(&secret(key))).status, 200);
    }
    for _ in 0..5 {
        let refused = gateway.request(&chat().bearer(&secret("key2")));
        assert_eq!(
            (refused.status, &refused.json()["error"]["param"]),
            (429, &json!("team_rpm")),
            "{refused:?}"
        );
    }

    // Without the team's limit, the other limits report their counts.
    configuration["policy"]["teams"]["ml"]["limits"] = json!({});
    gateway.envoy.reload(&configuration.to_string());
    let remaining = |key: &str| {
        let passed = gateway.request(&chat().bearer(&secret(key)));
        assert_eq!(passed.status, 200, "{passed:?}");
        assert_eq!(passed.headers.get("x-tollgate-scope"), Some("key_rpm"));
        passed.headers.get("x-ratelimit-remaining-requests").unwrap().to_owned()
    };
    assert_eq!(remaining("key2"), "1", "one of three before, and this one");
    assert_eq!(remaining("key1"), "0", "two of three before, and this one");
    for key in ["one", "two"] {
        configuration["policy"]["keys"][key]["limits"] = json!({});
    }
    gateway.envoy.reload(&configuration.to_string());
    let passed = gateway.request(&chat().bearer(&secret("key1")));
    assert_eq!(passed.headers.get("x-tollgate-scope"), Some("organization_rpm"));
    assert_eq!(
        passed.headers.get("x-ratelimit-remaining-requests"),
        Some("94"),
        "six of a hundred, all of them answered"
    );
}

#[test]
fn a_key_appears_only_in_the_request_that_carries_it() {
    let teams = json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 4}}});
    let Some(mut gateway) =
        Gateway::start(&configuration(&teams, &json!({"laptop": key_of("ml", "laptop")})))
    else {
        return;
    };
    let key = secret("laptop");
    let answers: Vec<_> = [
        chat().bearer(&key),
        chat().header("x-api-key", &key),
        chat().header("api-key", &key),
        chat().header("x-goog-api-key", &key),
        // One more than the limit, and a typo in it.
        chat().bearer(&key),
        chat().bearer(&format!("{key}x")),
        chat().bearer(&key).header("x-api-key", "sk-another"),
    ]
    .iter()
    .map(|request| gateway.request(request))
    .collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 429, 401, 400]);

    let by_query = Request::new("POST", &format!("/v1/chat/completions?api-version=1&key={key}&b=2"))
        .header("content-type", "application/json")
        .body(r#"{"model": "gpt-5-mini", "messages": []}"#);
    gateway.envoy.reload(
        &configuration(
            &json!({"ml": {"organization": "acme", "name": "ML"}}),
            &json!({"laptop": key_of("ml", "laptop")}),
        )
        .to_string(),
    );
    let by_query = gateway.request(&by_query);
    assert_eq!(by_query.status, 200, "{by_query:?}");

    let mut written = String::new();
    for answer in answers.iter().chain([&by_query]) {
        written += &format!("{answer:?}\n");
    }
    let requests = gateway.upstream.recording().requests();
    assert_eq!(requests.len(), 5);
    assert_eq!(requests[4].path, "/v1/chat/completions?api-version=1");
    for connection in 0..gateway.upstream.recording().connections() {
        written += &String::from_utf8_lossy(&gateway.upstream.recording().wire(connection));
    }
    for line in gateway.envoy.access_log(8) {
        written += &line.to_string();
    }
    written += &gateway.envoy.log();
    written += &gateway.envoy.admin("GET", "/stats");
    let random_part = key.rsplit('-').next().unwrap();
    for secret in [key.as_str(), random_part, digest(&key).strip_prefix("sha256:").unwrap()] {
        assert!(!written.contains(secret), "{secret} is in\n{written}");
    }
}
