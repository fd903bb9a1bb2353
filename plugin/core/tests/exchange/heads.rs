//! Decisions on a request's headers, and the mutations of them.

use std::cell::Cell;
use std::rc::Rc;

use serde_json::json;
use tollgate_core::exchange::access_log::Decision;
use tollgate_core::exchange::{Action, Exchange};
use tollgate_core::http::headers::Headers;

use super::*;

#[test]
fn the_clock_is_read_only_for_a_decision_or_an_expiry() {
    let until = |end: &str| {
        let mut policy = policy();
        policy["keys"]["laptop"]["expires_at"] = json!(end);
        gateway(&json!({ "policy": policy }))
    };
    let (for_ever, later, over) =
        (gateway(&json!({})), until("2027-06-01T00:00:00Z"), until("2027-01-01T00:00:00Z"));
    for (gateway, key, asked, held) in [
        (&for_ever, KEY, false, true),
        (&later, KEY, true, true),
        (&over, KEY, true, false),
        (&for_ever, ROTATED, true, false),
        (&for_ever, "unknown", true, false),
    ] {
        let bearer = format!("Bearer {key}");
        let head = [(":method", "POST"), (":path", CHAT), ("authorization", &bearer)];
        let head = head.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let asks = Cell::new(0);
        let clock = || {
            asks.set(asks.get() + 1);
            NOW.timestamp()
        };
        let mut exchange = Exchange::new(Rc::clone(gateway));
        let step = exchange.request_headers(&Headers::new(&head), false, clock, &mut |_| ());
        assert_eq!((asks.get() > 0, step == Action::Hold), (asked, held), "{key}");
        assert_eq!(exchange.log().time.is_some(), !held, "{key}");
        if held {
            exchange.request_body(br#"{"model":"small"}"#, true, NOW.timestamp(), &mut |_| ());
        }
        assert_eq!(exchange.log().time, Some(NOW.timestamp()), "{key}");
    }
}

#[test]
fn public_routes_remove_our_keys_and_keep_other_credentials() {
    let public = gateway(&json!({ "routes": [{ "path": "/open/**", "public": true }] }));
    let unmatched = gateway(&json!({ "unmatched": "pass" }));
    let minted = api_key::mint("laptop1", &[7; 32]);
    for (gateway, what) in [(public, "public"), (unmatched, "unmatched")] {
        let passes = |path: &str, fields: &[(&str, &str)]| {
            let decided = decide(&gateway, path, fields, None);
            assert!(is_unpatched(&decided.step), "{what} {path} {fields:?}: {:?}", decided.step);
            assert_eq!(decided.exchange.log().decision, Decision::Public);
            decided
        };
        for ours in [KEY, ROTATED, TOKEN, &minted, "sk-tg-mistyped"] {
            let bearer = format!("bearer {ours}");
            let decided = passes(
                "/open/x",
                &[("authorization", &bearer), ("x-api-key", "theirs"), ("x-goog-api-key", ours)],
            );
            assert_eq!(
                decided.edits,
                [("authorization".into(), None), ("x-goog-api-key".into(), None)],
                "{what} {ours}"
            );
            let decided = passes(&format!("/open/x?a=b&key={ours}"), &[("api-key", "theirs")]);
            assert_eq!(decided.edits, [(":path".into(), Some("/open/x?a=b".into()))], "{what} {ours}");
        }
        for fields in [
            &[][..],
            &[("authorization", "Bearer theirs"), ("x-api-key", "theirs"), ("cookie", "a=b")],
            &[("authorization", "Basic YTpi"), ("api-key", "")],
        ] {
            assert_eq!(passes("/open/x?key=theirs&a=%zz", fields).edits, [], "{what} {fields:?}");
        }
    }
}

#[test]
fn a_key_in_the_query_may_be_percent_encoded() {
    let gateway = gateway(&json!({}));
    let encoded = KEY.replace('-', "%2D");
    let path = format!("/v1/models?key={encoded}");
    assert!(
        matches!(decide(&gateway, &path, &[], None).step, Action::Answer(answer) if answer.status == 200)
    );
    let body = Some(r#"{"model":"small"}"#);
    let decided = decide(&gateway, &format!("{CHAT}?key={encoded}&api-version=%2D"), &[], body);
    assert_eq!(decided.edited(":path"), Some(Some("/v1/chat/completions?api-version=%2D")));
    decided.charges();
}

#[test]
fn connect_requests_follow_the_path_rules() {
    let gateway = gateway(&json!({ "routes": [
        { "path": "/open/**", "public": true },
        { "path": "/v1/realtime", "target": "small" },
    ]}));
    let refused = |path: &str| match decide_as(&gateway, "CONNECT", path, &[], None).step {
        Action::Answer(answer) => answer.body,
        other => panic!("{path}: {other:?}"),
    };
    assert!(refused("/open/../v1/realtime").contains("ambiguous_path"));
    assert!(refused("/v1/realtime?model=small").contains("missing_api_key"), "its query is none of its path");
    assert!(refused("other:443").contains("unknown_route"));
    assert!(is_unpatched(&decide_as(&gateway, "CONNECT", "/open/chat", &[], None).step));
}

#[test]
fn a_second_content_type_is_rejected() {
    let inner = "--c\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nlarge\r\n--c--";
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = part("model", "small") + &part("file", inner) + "--b--\r\n";
    let bearer = format!("Bearer {KEY}");
    let asked = |types: &[&str]| {
        let mut fields = vec![("authorization", bearer.as_str())];
        fields.extend(types.iter().map(|value| ("content-type", *value)));
        decide(&gateway(&json!({})), "/v1/audio/transcriptions", &fields, Some(&form))
    };
    let ours = "multipart/form-data; boundary=b";
    asked(&[ours]).charges();
    asked(&[ours, ours]).charges();
    for second in ["multipart/form-data; boundary=c", "application/json"] {
        match asked(&[ours, second]).step {
            Action::Answer(answer) => assert!(answer.body.contains("one content-type"), "{}", answer.body),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn upgrades_to_another_http_version_are_removed() {
    let routes = json!([
        { "path": "/open/**", "public": true },
        { "path": "/jobs", "target": "small" },
        { "path": CHAT, "api": "openai-chat" },
    ]);
    let gateway = gateway(&json!({ "routes": routes }));
    let bearer = format!("Bearer {KEY}");
    let asks = |path: &str, protocol: &str, body: Option<&str>| {
        decide(&gateway, path, &[("authorization", &bearer), ("upgrade", protocol)], body)
    };
    for protocol in ["h2c", "websocket, H2C", "HTTP/2.0", "TLS/1.3"] {
        let public = asks("/open/x", protocol, None);
        assert_eq!((is_unpatched(&public.step), public.edited("upgrade")), (true, Some(None)), "{protocol}");
        let chat = asks(CHAT, protocol, Some(r#"{"model":"small","max_tokens":7}"#));
        assert!(chat.charges().reservation.tokens > 7, "it is read and charged as any other");
        assert_eq!(chat.edited("upgrade"), Some(None));
        asks("/jobs", protocol, None).charges();
    }
    let left = asks("/open/x", "websocket", None);
    assert_eq!((is_unpatched(&left.step), left.edited("upgrade")), (true, None));
    match asks("/jobs", "websocket", None).step {
        Action::Answer(answer) => assert!(answer.body.contains("upgrade_not_metered"), "{}", answer.body),
        other => panic!("{other:?}"),
    }
}

/// The mutations of these trailers, in a request to this path.
fn trailers(gateway: &Rc<GatewayConfig>, path: &str, fields: &[(&str, &str)]) -> Vec<String> {
    let decided = with_key(gateway, path, if path == CHAT { Some(r#"{"model":"small"}"#) } else { None });
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let mut removed = Vec::new();
    decided.exchange.trailers(&Headers::new(&fields), &mut |edit| match edit {
        HeaderMutation::Remove(name) => removed.push(name.to_owned()),
        HeaderMutation::Replace(name, _) => panic!("{name} is replaced"),
    });
    removed.sort();
    removed.dedup();
    removed
}

#[test]
fn keys_in_trailers_are_removed() {
    let gateway = gateway(&json!({ "routes": [{ "path": "/open", "public": true }] }));
    let native = api_key::mint("laptop1", &[7; 32]);
    let bearer = format!("Bearer {KEY}");
    let fields = [
        ("authorization", bearer.as_str()),
        ("x-api-key", "another"),
        ("api-key", ""),
        ("x-checksum", "abc"),
        ("x-note", native.as_str()),
        ("x-tollgate-team", "red"),
        ("x-http-method-override", "DELETE"),
    ];
    let all =
        ["api-key", "authorization", "x-api-key", "x-http-method-override", "x-note", "x-tollgate-team"];
    assert_eq!(trailers(&gateway, CHAT, &fields), all);
    // Another credential stays, as in the headers of a public request.
    let ours = ["authorization", "x-http-method-override", "x-note", "x-tollgate-team"];
    assert_eq!(trailers(&gateway, "/open", &fields), ours);
    assert_eq!(trailers(&gateway, CHAT, &[("authorization", "Basic YTpi")]), ["authorization"]);
}

#[test]
fn the_log_has_the_path_without_keys() {
    let gateway =
        gateway(&json!({ "unmatched": "pass", "routes": [{ "path": "/reports/**", "target": "small" }] }));
    let native = api_key::mint("laptop1", &[7; 32]);
    let logged = |path: &str| {
        let decided = with_key(&gateway, path, None);
        let fields = decided.exchange.log().fields();
        let path =
            fields.iter().find(|(name, _)| *name == "tollgate.path").expect("every request has a path");
        path.1.to_string()
    };
    for (path, shown) in [
        (format!("{CHAT}?key={native}"), CHAT.to_owned()),
        (format!("/reports/{KEY}/x?{KEY}"), "/reports/…/x".to_owned()),
        (format!("/reports/{ROTATED}"), "/reports/…".to_owned()),
        (format!("/other/{native}"), "/other/sk-tg-laptop1-…".to_owned()),
        (format!("/other/{}", native.replace('-', "%2d")), "/other/sk-tg-laptop1-…".to_owned()),
        (format!("/tollgate/v1/keys/{native}/rotate"), "/tollgate/v1/keys/sk-tg-laptop1-…/rotate".to_owned()),
        (format!("//{native}"), "//sk-tg-laptop1-…".to_owned()),
        ("/reports/2026/q3".to_owned(), "/reports/2026/q3".to_owned()),
    ] {
        assert_eq!(logged(&path), shown, "{path}");
    }
}

#[test]
fn no_secret_of_a_request_is_in_its_log_or_in_its_answer() {
    const FOREIGN: &str = "AIzaSy-of-another-gateway-0123456789abcdef";
    const LONG: &str = "tg-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let native = api_key::mint("laptop1", &[7; 32]);
    let mut policy = policy();
    policy["keys"]["foreign"] = json!({ "team": "blue", "digest": digest(FOREIGN) });
    policy["keys"]["native"] = json!({ "team": "blue", "digest": digest(&native) });
    policy["users"]["eve"] = json!({ "name": "Eve", "tokens": [digest(LONG)] });
    let gateway = gateway(&json!({ "policy": policy, "unknown_query": "deny", "unknown_members": "deny" }));
    let bearer = format!("Bearer {KEY}");
    for secret in [&*native, FOREIGN, LONG] {
        let encoded: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let twice = encoded.replace('%', "%25");
        let mut answers = Vec::new();
        let mut send = |path: &str, fields: &[(&str, &str)], body: Option<&str>| {
            for with_key in [true, false] {
                let mut fields = fields.to_vec();
                if with_key {
                    fields.push(("authorization", &bearer));
                }
                let decided = decide(&gateway, path, &fields, body);
                if let Action::Answer(answer) = &decided.step {
                    answers.push(format!("{path} {answer:?}"));
                }
                let fields = decided.exchange.log().fields();
                answers.extend(fields.iter().map(|(name, value)| format!("{name} {value}")));
            }
        };
        for spelled in [secret, &encoded, &twice, &secret.replace('-', "%2D")] {
            for path in [
                format!("/{spelled}"),
                format!("/v1/models/{spelled}"),
                format!("/v1/chat/completions/{spelled}"),
                format!("/v1beta/models/{spelled}:generateContent"),
                format!("/openai/deployments/{spelled}/chat/completions"),
                format!("/x/{spelled};a/{spelled}.json"),
                format!("{CHAT}?{spelled}=1"),
                format!("{CHAT}?a={spelled}"),
                format!("{CHAT}?model={spelled}"),
                format!("{CHAT}?key={spelled}&key=x"),
            ] {
                send(&path, &[], Some(r#"{"model":"small"}"#));
                send(&path, &[], None);
            }
        }
        for body in [
            json!({ "model": secret }),
            json!({ secret: 1, "model": "small" }),
            json!({ "model": "small", "fallbacks": [secret] }),
            json!({ "model": "small", "max_tokens": secret }),
            json!({ "model": { secret: 1 } }),
        ] {
            send(CHAT, &[], Some(&body.to_string()));
        }
        send(CHAT, &[], Some(secret));
        for (name, value) in [
            ("content-type", secret.to_owned()),
            ("content-type", format!("text/plain; a={secret}")),
            ("content-type", format!("multipart/form-data; boundary={secret}")),
            ("content-encoding", secret.to_owned()),
            ("upgrade", secret.to_owned()),
            ("cookie", secret.to_owned()),
        ] {
            send(CHAT, &[(name, &value)], Some(r#"{"model":"small"}"#));
        }
        let form = format!("--b\r\nContent-Disposition: form-data; name=\"{secret}\"\r\n\r\nx\r\n--b--\r\n");
        send("/v1/audio/transcriptions", &[("content-type", "multipart/form-data; boundary=b")], Some(&form));
        let tail = &secret[secret.len() - 24..];
        let head = &secret[..24];
        for answer in answers {
            let shown = answer.split_once(' ').unwrap().1;
            for part in [tail, head, &*encoded, &*twice] {
                assert!(!shown.contains(part) || part == head && secret == native, "{part} in {answer}");
            }
        }
    }
}
