//! Heads that are meant to confuse: each gets a clear refusal or the right answer, and nothing traps.

use serde_json::json;
use tollgate_envoy::client::Request;
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::world::{configuration, key_of, secret};

const BODY: &str = r#"{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello."}]}"#;

fn at(path: &str) -> Request {
    Request::new("POST", path).header("content-type", "application/json")
}

fn chat() -> Request {
    at("/v1/chat/completions")
}

fn start() -> Option<Gateway> {
    let mut configuration = configuration(
        &json!({"ml": {"organization": "acme", "name": "ML"}, "other": {"organization": "acme", "name": "Other"}}),
        &json!({"mine": key_of("ml", "mine"), "theirs": key_of("other", "theirs")}),
    );
    configuration["routes"] = json!([
        {"path": "/v1/chat/completions", "methods": ["POST"], "api": "openai-chat"},
        {"path": "/open", "public": true},
    ]);
    Gateway::start(&configuration)
}

/// Name, request, and the right answer: its status, and the code where the filter gives it.
type Case = (&'static str, Request, (u16, &'static str));

#[test]
fn hostile_request_headers_are_rejected_clearly_or_answered_correctly() {
    let Some(gateway) = start() else { return };
    let (mine, theirs) = (secret("mine"), secret("theirs"));
    let long = |bytes: usize| format!("sk-{}", "a".repeat(bytes));
    let bearer = |value: &[u8]| chat().header("authorization", [b"Bearer ", value].concat());

    let table: Vec<Case> = vec![
        ("a header that is not UTF-8", chat().bearer(&mine).header("x-note", b"\xff\xfe\x80"), (200, "")),
        ("a key that is not UTF-8", bearer(b"\xff\xfe\x80"), (401, "invalid_api_key")),
        ("our mark, and then no UTF-8", bearer(b"sk-tg-\xff\xfe"), (401, "invalid_api_key")),
        (
            "a scheme that is not UTF-8",
            chat().header("authorization", b"B\xe9arer x"),
            (401, "missing_api_key"),
        ),
        // Envoy joins two `authorization` fields with a comma.
        ("the same key twice", chat().bearer(&mine).bearer(&mine), (200, "")),
        ("two keys in two fields", chat().bearer(&mine).bearer(&theirs), (400, "ambiguous_api_key")),
        ("one key in two places", chat().bearer(&mine).header("x-api-key", &mine), (200, "")),
        (
            "two keys in two places",
            chat().bearer(&mine).header("x-api-key", &theirs),
            (400, "ambiguous_api_key"),
        ),
        (
            "a key and a stranger's",
            chat().bearer(&mine).header("api-key", "sk-x"),
            (400, "ambiguous_api_key"),
        ),
        ("a key and no UTF-8", chat().bearer(&mine).header("x-api-key", b"\xff"), (400, "ambiguous_api_key")),
        ("a key of 48 KiB", chat().bearer(&long(48 * 1024)), (401, "invalid_api_key")),
        // Envoy's own limit for a head is 60 KiB.
        ("a key of 64 KiB", chat().bearer(&long(64 * 1024)), (431, "")),
        (
            "our mark and 48 KiB",
            chat().bearer(&format!("sk-tg-{}", long(48 * 1024))),
            (401, "invalid_api_key"),
        ),
        ("an empty bearer", chat().header("authorization", "Bearer "), (401, "missing_api_key")),
        ("a bearer of spaces", chat().header("authorization", "Bearer    "), (401, "missing_api_key")),
        ("a bearer and no space", chat().header("authorization", "Bearer"), (401, "missing_api_key")),
        ("an empty authorization", chat().header("authorization", ""), (401, "missing_api_key")),
        ("another scheme", chat().header("authorization", format!("Basic {mine}")), (401, "missing_api_key")),
        ("an upper-case scheme", chat().header("authorization", format!("BEARER {mine}")), (200, "")),
        ("an upper-case name", chat().header("AUTHORIZATION", format!("bearer {mine}")), (200, "")),
        ("an upper-case key", chat().bearer(&mine.to_uppercase()), (401, "invalid_api_key")),
        ("an absolute URL", at("HTTP://gateway.test/v1/chat/completions").bearer(&mine), (200, "")),
        ("empty segments", at("//v1//chat///completions").bearer(&mine), (200, "")),
        ("an encoded parent", at("/v1/x/%2e%2e/chat/completions").bearer(&mine), (200, "")),
        ("a half-encoded parent", at("/v1/x/.%2E/chat/completions").bearer(&mine), (200, "")),
        ("a parent above the root", at("/%2e%2e/v1/chat/completions").bearer(&mine), (200, "")),
        ("an encoded slash", at("/v1%2fchat%2Fcompletions").bearer(&mine), (400, "")),
        ("a backslash", at("/v1\\chat\\completions").bearer(&mine), (200, "")),
        ("an encoded NUL", at("/v1/chat/completions%00").bearer(&mine), (400, "")),
        ("an encoded letter", at("/v1/ch%61t/completions").bearer(&mine), (200, "")),
        ("double encoding", at("/v1/ch%2561t/completions").bearer(&mine), (404, "unknown_route")),
        ("upper case", at("/V1/Chat/Completions").bearer(&mine), (404, "unknown_route")),
        ("a trailing slash", at("/v1/chat/completions/").bearer(&mine), (200, "")),
        ("a fragment", at("/v1/chat/completions#x").bearer(&mine), (400, "")),
        ("a path that is not ASCII", at("/v1/ch\u{e4}t").bearer(&mine), (400, "")),
        ("a lower-case method", Request::new("post", "/v1/chat/completions").bearer(&mine), (400, "")),
        ("an unheard-of method", Request::new("TOLL", "/v1/chat/completions").bearer(&mine), (400, "")),
        ("an empty query key", at("/v1/chat/completions?key=").bearer(&mine), (200, "")),
        ("a query key that is not UTF-8", at("/v1/chat/completions?key=%ff%fe"), (401, "invalid_api_key")),
        ("half an escape", at("/v1/chat/completions?key=%2").bearer(&mine), (400, "ambiguous_api_key")),
        (
            "two query keys",
            at(&format!("/v1/chat/completions?key={mine}&key={theirs}")),
            (400, "ambiguous_api_key"),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, request, right) in table {
        let answer = gateway.request(&request.clone().body(BODY));
        let code = serde_json::from_slice::<serde_json::Value>(&answer.body.data)
            .ok()
            .and_then(|body| body["error"]["code"].as_str().map(str::to_owned))
            .unwrap_or_default();
        if right != (answer.status, code.as_str()) {
            wrong.push(format!("{name}: {} {code}, not {right:?}: {answer:?}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Whatever the client wrote, the upstream reads what the filter has read.
    for request in gateway.upstream.recording().requests() {
        let path = request.path.split('?').next().unwrap_or_default();
        assert_eq!(path.trim_end_matches('/'), "/v1/chat/completions");
    }
    gateway.assert_no_trap();
}

#[test]
fn identity_headers_of_a_client_are_ignored() {
    let Some(gateway) = start() else { return };
    let mine = secret("mine");
    let facts = ["organization", "team", "user", "key", "target"];
    let spoofed = |mut request: Request| {
        for fact in facts {
            request = request
                .header(&format!("x-tollgate-{fact}"), "spoofed-1")
                .header(&format!("X-Tollgate-{}", fact.to_uppercase()), "spoofed-2")
                .header(&format!("x_tollgate_{fact}"), "spoofed-3");
        }
        request.body(BODY)
    };
    let mut connection = gateway.connect();
    for request in [spoofed(chat().bearer(&mine)), spoofed(at("/open"))] {
        let answer = connection.request(&request);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let arrived = gateway.upstream.recording().requests();
    assert_eq!(arrived.len(), 2);
    assert_eq!(arrived[0].header("x-tollgate-team"), [b"ml"]);
    assert_eq!(arrived[0].header("x-tollgate-user"), [b""; 0], "the key has no owner");
    for fact in facts {
        assert_eq!(
            arrived[1].header(&format!("x-tollgate-{fact}")),
            [b""; 0],
            "a public route identifies no caller"
        );
    }
    for connection in 0..gateway.upstream.recording().connections() {
        let wire = gateway.upstream.recording().wire(connection);
        assert!(!String::from_utf8_lossy(&wire).contains("spoofed"), "{}", wire.escape_ascii());
    }
}

#[test]
fn envoy_rejects_malformed_http_before_the_filter() {
    let Some(gateway) = start() else { return };
    let head = format!("host: gateway.test\r\nauthorization: Bearer {}\r\n", secret("mine"));
    for (name, bytes) in [
        (
            "two framings",
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\n{head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "two lengths",
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\n{head}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"
            ),
        ),
        (
            "a NUL in a value",
            format!("POST /v1/chat/completions HTTP/1.1\r\n{head}x: a\0b\r\ncontent-length: 0\r\n\r\n"),
        ),
        (
            "a space before the colon",
            format!("POST /v1/chat/completions HTTP/1.1\r\n{head}x-api-key : x\r\ncontent-length: 0\r\n\r\n"),
        ),
    ] {
        let mut connection = gateway.connect();
        connection.send(bytes.as_bytes()).unwrap();
        assert_eq!(connection.response().unwrap().status, 400, "{name}");
    }
    assert!(gateway.upstream.recording().requests().is_empty());
    gateway.assert_no_trap();
}
