//! Requests without a key beside governed routes: no other spelling, encoding, suffix or method of a governed request passes.

use serde_json::{Value, json};

use super::*;

/// The status and code of a request without a key; 0 if it passes.
fn passed(gateway: &Rc<GatewayConfig>, method: &str, path: &str, fields: &[(&str, &str)]) -> String {
    match decide_as(gateway, method, path, fields, None).step {
        Action::Forward(forward) => {
            assert!(forward.body_patch().is_none());
            "passes".into()
        }
        Action::Answer(answer) => {
            let error: Value = serde_json::from_str(&answer.body).unwrap();
            let error = &error["error"];
            let code = error["code"].as_str().or(error["details"][0]["reason"].as_str());
            code.unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    }
}

/// The same routes, in which every other request passes by `unmatched`, and by a public route.
fn gateways() -> [Rc<GatewayConfig>; 2] {
    let routes = json!([
        { "path": "/Status", "public": true },
        { "path": "/v1/chat/completions", "methods": ["POST"], "api": "openai-chat" },
        { "path": "/v1beta/models/{model}:generateContent", "api": "gemini-generate" },
        { "path": "/public/**", "public": true },
        { "path": "/reports/**", "target": "small" },
        { "path": "/jobs", "methods": ["PUT"], "target": "small" },
        { "path": "/hooks/**", "methods": ["POST"], "public": true },
        { "path": "/hooks/**", "methods": ["PUT"], "target": "small" },
        { "path": "/flagged", "headers": { "x-flag": "on" }, "target": "small" },
        { "path": "/jobs.txt", "public": true },
    ]);
    let mut all = routes.clone();
    all.as_array_mut().unwrap().push(json!({ "path": "/**", "public": true }));
    let only = |routes: &Value, unmatched: &str| {
        gateway(&json!({ "routes": routes, "default_routes": false, "unmatched": unmatched }))
    };
    [only(&all, "deny"), only(&routes, "pass")]
}

#[test]
fn no_spelling_of_a_governed_path_passes_without_a_key() {
    for gateway in gateways() {
        for path in [
            "/V1/Chat/Completions",
            "/v1/chat/completionS?x=1",
            "/v1/chat/completions.json",
            "/v1/chat/completions~",
            "/v1/chat/completions%20",
            "/v1/chat/completions.",
            "/v1./chat/completions",
            "/v1/ch%2561t/completions",
            "/v1/ch%252561t/completions",
            "/v1%252Fchat/completions",
            "/v1%255Cchat/completions",
            "/v1/chat/completions%253Bx",
            "/v1/chat/completions%2500",
            "/x/%252e%252e/v1/chat/completions",
            "/v1/chat/%EF%BD%83ompletions",
            "/v1/chat/completion%C5%BF",
            "/v1beta/models/small:GENERATECONTENT",
            "/v1beta/models/small:generateContent.json",
            "/v1beta/models/small%253AgenerateContent",
            "/Reports/2026",
            "/report%2573/2026",
            "/JOBS",
            "/jobs.json",
        ] {
            assert_eq!(passed(&gateway, "PUT", path, &[]), "ambiguous_path", "{path}");
            assert_eq!(passed(&gateway, "POST", path, &[]), "ambiguous_path", "{path}");
        }
        for path in [
            "/other",
            "/v1/chat",
            "/v1/chat/completions-2",
            "/v1/chat/completionsx",
            "/v1/chat/completions/x/y",
            "/v1beta/models/small:other",
            "/reportsx",
            "/files/100%25.txt",
            "/files/a%2520b",
            "/status",
            "/Status",
            "/Public/a",
            "/flagged",
            "/jobs.txt",
        ] {
            assert_eq!(passed(&gateway, "GET", path, &[]), "passes", "{path}");
            assert_eq!(passed(&gateway, "POST", path, &[]), "passes", "{path}");
        }
        assert_eq!(passed(&gateway, "POST", "/flagged", &[("x-flag", "ON")]), "unknown_route");
    }
}

#[test]
fn no_other_method_of_a_governed_path_passes_without_a_key() {
    for gateway in gateways() {
        for (method, path, answer) in [
            // No other method has a use at an API of an LLM, except a browser's preflight.
            ("post", CHAT, "unknown_route"),
            ("Post", CHAT, "unknown_route"),
            ("GET", CHAT, "unknown_route"),
            ("HEAD", CHAT, "unknown_route"),
            ("FOO", CHAT, "unknown_route"),
            ("GET", "/V1/chat/completions", "ambiguous_path"),
            ("OPTIONS", CHAT, "passes"),
            // A form may have `_method`.
            ("POST", "/jobs", "unknown_route"),
            ("put", "/jobs", "unknown_route"),
            ("GET", "/jobs", "passes"),
            ("OPTIONS", "/jobs", "passes"),
            ("POST", "/hooks/x", "passes"),
            ("put", "/hooks/x", "unknown_route"),
        ] {
            assert_eq!(passed(&gateway, method, path, &[]), answer, "{method} {path}");
        }
    }
}

#[test]
fn no_header_and_no_parameter_makes_another_request_a_governed_one() {
    for gateway in gateways() {
        for name in ["x-http-method-override", "X-HTTP-Method", "x-method-override"] {
            for (method, path, answer) in [
                ("OPTIONS", CHAT, "unknown_route"),
                ("GET", "/jobs", "unknown_route"),
                ("POST", "/hooks/x", "unknown_route"),
                ("POST", "/other", "passes"),
                ("POST", "/Status", "passes"),
            ] {
                assert_eq!(
                    passed(&gateway, method, path, &[(name, "PUT")]),
                    answer,
                    "{method} {path} {name}"
                );
            }
        }
        for query in ["_method=PUT", "%5Fmethod=PUT", "$httpMethod=PUT", "a=1;_method=PUT"] {
            assert_eq!(passed(&gateway, "GET", &format!("/jobs?{query}"), &[]), "unknown_route", "{query}");
            assert_eq!(passed(&gateway, "GET", &format!("/other?{query}"), &[]), "passes", "{query}");
        }
        for name in ["x-original-url", "x-rewrite-url"] {
            for other in [CHAT, "/V1/chat/completions", "http://host/reports/x?y", "/v1/ch%61t/completions"] {
                assert_eq!(passed(&gateway, "GET", "/other", &[(name, other)]), "ambiguous_path", "{other}");
            }
            assert_eq!(passed(&gateway, "GET", "/other", &[(name, "/elsewhere")]), "passes");
        }
    }
}

#[test]
fn a_governed_request_is_sent_on_with_the_method_and_the_path_that_were_decided() {
    let gateway = gateway(&json!({ "routes": [{ "path": "/reports", "target": "small" }] }));
    let bearer = format!("Bearer {KEY}");
    let names =
        ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"];
    let mut fields = vec![("authorization", bearer.as_str())];
    fields.extend(names.map(|name| (name, "/v1/other")));
    let decided = decide(&gateway, "/reports?_method=DELETE&a=1", &fields, None);
    for name in names {
        assert_eq!(decided.edited(name), Some(None), "{name}");
    }
    assert_eq!(decided.edited(":path"), Some(Some("/reports?a=1")));
    decided.charges();
}
