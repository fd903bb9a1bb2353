//! Bodies in real Envoy: held until the decision, forwarded byte for byte, and never in part.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_envoy::client::{Connection, Request, Response};
use tollgate_envoy::gateway::{Gateway, filter, site};
use tollgate_envoy::http2;
use tollgate_envoy::shipped::Protocol;
use tollgate_envoy::wire::{Framing, Reader, request_head};
use tollgate_envoy::world::{chat, configuration, key_of, secret};

const CHAT: &str = "/v1/chat/completions";
/// Spaces and an order that re-serialization would not preserve.
const PLAIN: &[u8] = b"{ \"messages\" : [ {\"role\":\"user\",\"content\":\"\\u00e9 \xc3\xa9\"} ],\t\"model\":\"gpt-5-mini\" }\n";
const STREAMED: &[u8] =
    br#"{"model":"gpt-5-mini" , "stream":true,"messages":[{"role":"user","content":"Hi."}]}"#;

fn ml() -> Value {
    configuration(
        &json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 100_000, "tpm": 1_000_000_000}}}),
        &json!({"laptop": key_of("ml", "laptop")}),
    )
}

/// Returns the streamed body with a request for the usage report.
fn asking_for_usage() -> Vec<u8> {
    [br#"{"stream_options":{"include_usage":true},"#.as_slice(), &STREAMED[1..]].concat()
}

const TRAILERS: &[(&str, &str)] = &[("x-checksum", "abc"), ("x-second", "def")];

fn over_http1(gateway: &Gateway, trailers: &[(&str, &str)]) -> Vec<Response> {
    let mut connection = gateway.connect();
    [STREAMED, PLAIN]
        .map(|body| {
            let request = Request::new("POST", CHAT)
                .header("content-type", "application/json")
                .bearer(&secret("laptop"));
            let request = if trailers.is_empty() {
                request.body(body)
            } else {
                request.chunked(&[&body[..7], &body[7..]], trailers)
            };
            connection.request(&request)
        })
        .into()
}

fn over_http2(gateway: &Gateway, trailers: &[(&str, &str)]) -> Vec<Response> {
    let authorization = format!("Bearer {}", secret("laptop"));
    let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
    let request = |body| http2::Request { method: "POST", path: CHAT, headers: &headers, body, trailers };
    http2::requests(gateway.address(), &[request(&[&STREAMED[..7], &STREAMED[7..]]), request(&[PLAIN])])
}

#[test]
fn requests_that_share_a_connection_arrive_byte_for_byte() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for send in [over_http1, over_http2] {
            for trailers in [&[][..], TRAILERS] {
                let Some(gateway) = Gateway::with(&ml(), filter(&[]), protocol) else { return };
                let answers = send(&gateway, trailers);
                assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
                let stream = answers[0].text();
                assert!(stream.ends_with("data: [DONE]\n\n"), "{stream}");
                assert!(!stream.contains("usage"), "the client did not ask for it: {stream}");

                let recording = gateway.upstream.recording();
                let arrived = recording.requests();
                assert_eq!(recording.connections(), 1);
                let bodies: Vec<_> =
                    arrived.iter().map(|request| request.body.escape_ascii().to_string()).collect();
                let expected = [asking_for_usage(), PLAIN.to_vec()];
                assert_eq!(bodies, expected.clone().map(|body| body.escape_ascii().to_string()));
                for (request, body) in arrived.iter().zip(&expected) {
                    assert!(request.complete);
                    for (name, value) in trailers {
                        let received = request.trailers.as_ref().and_then(|fields| fields.get(*name));
                        assert_eq!(received.map(|value| value.as_bytes()), Some(value.as_bytes()), "{name}");
                    }
                    for length in request.header("content-length") {
                        assert_eq!(length, body.len().to_string().as_bytes());
                    }
                }
                if protocol == Protocol::Http1 {
                    assert_only_these_on_the_wire(&recording.wire(0), &expected);
                }
                gateway.assert_no_trap();
            }
        }
    }
}

/// Asserts that the connection carried exactly these messages.
fn assert_only_these_on_the_wire(wire: &[u8], bodies: &[Vec<u8>]) {
    let mut reader = Reader::new(wire);
    for body in bodies {
        let head = request_head(&reader.head().unwrap().unwrap());
        assert_eq!(head.path, CHAT);
        let framing = head.headers.framing(Framing::Empty);
        assert_eq!(
            reader.body(framing).unwrap().data.escape_ascii().to_string(),
            body.escape_ascii().to_string()
        );
    }
    assert_eq!(reader.head().unwrap(), None);
}

#[test]
fn nothing_is_forwarded_before_the_decision_on_the_whole_body() {
    let Some(gateway) = Gateway::start(&ml()) else { return };
    let forbidden = br#"{"messages": [{"role": "user", "content": "Say hello."}], "model": "gpt-5"}"#;
    for body in [PLAIN, forbidden] {
        let before = gateway.upstream.recording().requests().len();
        let bytes = Request::new("POST", CHAT)
            .header("content-type", "application/json")
            .bearer(&secret("laptop"))
            .body(body)
            .bytes();
        let mut connection = gateway.connect();
        for piece in bytes[..bytes.len() - 2].chunks(9) {
            connection.send(piece).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        let held =
            |stats: &std::collections::BTreeMap<String, u64>| stats["http.gateway.downstream_rq_active"];
        assert_eq!(held(&gateway.envoy.stats()), 1);
        assert_eq!(gateway.envoy.stat("cluster.openai.upstream_rq_active"), 0);
        connection.send(&bytes[bytes.len() - 2..]).unwrap();
        let answer = connection.response().unwrap();
        let passes = body == PLAIN;
        assert_eq!(answer.status, if passes { 200 } else { 403 }, "{answer:?}");
        assert_eq!(gateway.upstream.recording().requests().len() - before, usize::from(passes));
    }
}

#[test]
fn requests_with_trailers_are_decided() {
    let Some(gateway) = Gateway::start(&ml()) else { return };
    let forbidden = br#"{"model": "gpt-5", "messages": []}"#;
    let chunked = Request::new("POST", CHAT)
        .header("content-type", "application/json")
        .bearer(&secret("laptop"))
        .chunked(&[&forbidden[..5], &forbidden[5..]], TRAILERS);
    let authorization = format!("Bearer {}", secret("laptop"));
    let request = http2::Request {
        method: "POST",
        path: CHAT,
        headers: &[("content-type", "application/json"), ("authorization", &authorization)],
        body: &[&forbidden[..5], &forbidden[5..]],
        trailers: TRAILERS,
    };
    let mut answers = http2::requests(gateway.address(), &[request]);
    answers.push(gateway.request(&chunked));
    for answer in answers {
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (403, &json!("target_not_allowed")),
            "{answer:?}"
        );
    }
    assert!(gateway.upstream.recording().requests().is_empty());
    gateway.assert_no_trap();
}

#[test]
fn the_largest_body_passes_and_a_larger_one_gets_the_filter_s_413() {
    let Some(gateway) = Gateway::start(&ml()) else { return };
    let max = usize::try_from(tollgate_core::config::MAX_BODY).unwrap();
    let body = |bytes: usize| {
        let frame = r#"{"model": "gpt-5-mini", "messages": [{"role": "user", "content": ""}]}"#;
        frame.replace("\"\"", &format!("\"{}\"", "a".repeat(bytes - frame.len()))).into_bytes()
    };
    let post = |body: Vec<u8>, chunked: bool| {
        let request =
            Request::new("POST", CHAT).header("content-type", "application/json").bearer(&secret("laptop"));
        if chunked { request.chunked(&[&body], &[]) } else { request.body(body) }
    };
    for chunked in [false, true] {
        let largest = gateway.request(&post(body(max), chunked));
        assert_eq!(largest.status, 200, "{:?}", largest.text().chars().take(300).collect::<String>());
        // Envoy may stop reading a body that it has answered, so the client writes and reads at once.
        let mut connection = gateway.connect();
        let refused = connection.request_while_sending(&post(body(max + 1), chunked));
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (413, &json!("body_too_large")),
            "{refused:?}"
        );
    }
    let arrived = gateway.upstream.recording().requests();
    assert_eq!(arrived.iter().map(|request| request.body.len()).collect::<Vec<_>>(), [max, max]);
    gateway.assert_no_trap();
}

#[test]
fn an_announced_body_that_never_arrives_is_not_forwarded() {
    let Some(mut gateway) = Gateway::start(&ml()) else { return };
    let mut connection = gateway.connect();
    let head = Request::new("POST", CHAT)
        .header("content-type", "application/json")
        .bearer(&secret("laptop"))
        .header("content-length", "100");
    connection.send(&head.bytes()).unwrap();
    connection.send(b"{\"model\": \"gpt-5-mini\"").unwrap();
    connection.leave();
    let line = gateway.envoy.access_log(1).remove(0);
    assert_eq!(line["flags"], "DC", "{line}");
    assert!(gateway.upstream.recording().requests().is_empty());
    gateway.assert_no_trap();
}

fn upgrade(path: &str) -> Request {
    Request::new("GET", path)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .bearer(&secret("laptop"))
}

fn with_realtime(mut configuration: Value) -> Value {
    configuration["routes"] = json!([
        {"path": "/v1/realtime", "target": "gpt-5-mini"},
        {"path": "/v1/unmetered", "target": "gpt-5-mini", "unmetered": "allow"},
        {"path": "/v1/forbidden", "target": "gpt-5", "unmetered": "allow"},
    ]);
    configuration
}

#[test]
fn upgrades_are_decided_by_the_head() {
    let Some(program) = tollgate_host::tools::require(tollgate_host::tools::envoy()) else { return };
    let (upstream, opened) = websocket_upstream();
    let site = site(&with_realtime(ml()), upstream);
    let mut envoy = tollgate_envoy::envoy::Envoy::start(&program, &site, 2);
    let refused = |path: &str, code: &str| {
        let refused = Connection::open(envoy.address()).request(&upgrade(path));
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!(code)), "{refused:?}");
    };
    refused("/v1/realtime", "upgrade_not_metered");
    refused("/v1/forbidden", "target_not_allowed");
    let echo = |address| {
        let mut connection = Connection::open(address);
        connection.send(&upgrade("/v1/unmetered").bytes()).unwrap();
        assert_eq!(connection.response_head().unwrap().0, 101);
        connection.send(b"frame").unwrap();
        assert_eq!(connection.some().unwrap(), b"frame");
    };
    echo(envoy.address());
    assert_eq!(opened.try_iter().count(), 1, "the refused ones were not sent on");

    // No token limit and no budget, which an upgrade could bypass.
    let mut unlimited = with_realtime(ml());
    unlimited["policy"]["teams"]["ml"]["limits"] = json!({"rpm": 2});
    envoy.reload(&unlimited.to_string());
    let realtime = |address| {
        let mut connection = Connection::open(address);
        connection.send(&upgrade("/v1/realtime").bytes()).unwrap();
        connection.response_head().unwrap().0
    };
    // One of two was counted before.
    assert_eq!([realtime(envoy.address()), realtime(envoy.address())], [101, 429]);
}

/// Starts an upstream that switches protocols at once, and then echoes.
fn websocket_upstream() -> (std::net::SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (open, opened) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if open.send(()).is_err() {
                break;
            }
            std::thread::spawn(move || {
                let mut reader = Reader::new(stream.try_clone().unwrap());
                reader.head().unwrap();
                stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").unwrap();
                let mut bytes = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    stream.write_all(&bytes[..read]).unwrap();
                }
            });
        }
    });
    (address, opened)
}

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    let Some(gateway) = Gateway::start(&ml()) else { return };
    let mut connection = gateway.connect();
    let request = chat().bearer(&secret("laptop")).header("expect", "100-continue").bytes();
    let body = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    connection.send(&request[..body]).unwrap();
    let continues = connection.some().unwrap();
    assert!(continues.starts_with(b"HTTP/1.1 100 Continue"), "{}", continues.escape_ascii());
    connection.send(&request[body..]).unwrap();
    assert_eq!(connection.response().unwrap().status, 200);
}
