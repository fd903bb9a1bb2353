//! Compressed request bodies: decompressed before the decision, metered, and bounded.

use flate2::{Compress, Compression, FlushCompress};
use serde_json::{Value, json};
use std::io::Write as _;
use tollgate_envoy::client::{Connection, Request, Response};
use tollgate_envoy::envoy::Envoy;
use tollgate_envoy::gateway::{Gateway, filter};
use tollgate_envoy::http2;
use tollgate_envoy::shipped::Protocol;
use tollgate_envoy::world::{configuration, key_of, secret};

const CHAT: &str = "/v1/chat/completions";
const START: &[u8] = br#"{"model":"gpt-5-mini","messages":[{"role":"user","content":""#;

fn ml() -> Value {
    configuration(
        &json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 100_000, "tpm": 1_000_000_000}}}),
        &json!({"laptop": key_of("ml", "laptop")}),
    )
}

/// A conversation of agents: text that compresses by about five to one.
fn body(path: &str, stream: bool) -> Vec<u8> {
    let text: Vec<_> = (0..4000).map(|n| format!("{} reads line {n}; ", n * n % 977)).collect();
    let messages = json!([{"role": "user", "content": text.concat()}]);
    let field = if path == "/v1/responses" { "input" } else { "messages" };
    json!({"model": "gpt-5-mini", field: messages, "stream": stream, "max_tokens": 100})
        .to_string()
        .into_bytes()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(body, ruzstd::encoding::CompressionLevel::Fastest)
}

fn post(path: &str, encoding: &str, body: Vec<u8>) -> Request {
    Request::new("POST", path)
        .header("content-type", "application/json")
        .header("content-encoding", encoding)
        .header("x-simulate", "usage=7:5")
        .bearer(&secret("laptop"))
        .body(body)
}

#[test]
fn gzip_and_zstd_bodies_reach_the_upstream_decompressed_and_are_metered() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let Some(mut gateway) = Gateway::with(&ml(), filter(&[]), protocol) else { return };
        let (messages, responses) = ("/v1/messages", "/v1/responses");
        let requests = [
            (messages, post(messages, "gzip", gzip(&body(messages, false)))),
            (responses, post(responses, "zstd", zstd(&body(responses, false)))),
            (CHAT, post(CHAT, "GZIP", gzip(&body(CHAT, false)))),
            (CHAT, post(CHAT, "zstd", zstd(&body(CHAT, false))).header("cache-control", "no-transform")),
        ];
        for (path, request) in &requests {
            let answer = gateway.request(request);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        {
            let recording = gateway.upstream.recording();
            for ((path, _), arrived) in requests.iter().zip(recording.requests()) {
                assert!(arrived.complete && arrived.body == body(path, false), "{path}");
                for name in ["content-encoding", "content-length"] {
                    assert_eq!(arrived.header(name).len(), 0, "{path}: the {name} of the compressed body");
                }
                assert_eq!(arrived.header("accept-encoding"), [b"identity"], "{path}");
                let trailers = arrived.trailers.as_ref().map_or(0, |trailers| trailers.len());
                assert_eq!(trailers, 0, "{path}: {:?}", arrived.trailers);
            }
        }
        for line in gateway.envoy.access_log(requests.len()) {
            assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&json!("7"), &json!("5")), "{line}");
        }

        // A stream for which the filter requests the usage, so that it changes the decompressed body.
        let streamed = gateway.request(&post(CHAT, "gzip", gzip(&body(CHAT, true))));
        assert!(streamed.text().ends_with("data: [DONE]\n\n"), "{streamed:?}");
        let arrived = gateway.upstream.recording().requests().last().unwrap().body.clone();
        let added: Value = serde_json::from_slice(&arrived).unwrap();
        assert_eq!(added["stream_options"], json!({"include_usage": true}));
        gateway.assert_no_trap();
    }
}

/// Returns a gzip body that expands to a chat of so many MiB.
fn gzip_bomb(mebibytes: usize) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::best(), false);
    let mut piece = |bytes: &[u8]| {
        let mut compressed = Vec::with_capacity(1 << 16);
        deflate.compress_vec(bytes, &mut compressed, FlushCompress::Full).unwrap();
        compressed
    };
    let start = piece(START);
    // A full flush forgets what came before, so the same bytes can follow each other.
    let filling = piece(&[b'a'; 1 << 20]).repeat(mebibytes);
    [b"\x1f\x8b\x08\0\0\0\0\0\0\xff".as_slice(), &start, &filling].concat()
}

/// Returns a zstd body that expands to a chat of so many MiB. Each run of 128 KiB is stored in 4 bytes, and `between`
/// bytes that are not compressed follow it (RFC 8878, 3.1.1).
fn zstd_bomb(mebibytes: usize, between: usize) -> Vec<u8> {
    let block = |kind: u32, size: usize, content: &[u8]| {
        let header = u32::try_from(size).unwrap() << 3 | kind << 1;
        [&header.to_le_bytes()[..3], content].concat()
    };
    // The magic number, no content size, and a window of 128 KiB.
    let head = [b"\x28\xb5\x2f\xfd\0\x38".as_slice(), &block(0, START.len(), START)].concat();
    let filling = [block(1, 128 << 10, b"a"), block(0, between, &vec![b'b'; between])].concat();
    [head, filling.repeat(mebibytes * 8)].concat()
}

#[test]
fn a_bomb_is_rejected_and_memory_stays_bounded() {
    let Some(mut gateway) = Gateway::start(&ml()) else { return };
    let warm = gateway.request(&post(CHAT, "gzip", gzip(&body(CHAT, false))));
    assert_eq!(warm.status, 200, "{warm:?}");
    // The held bytes (34 MiB), the most that one piece of 64 KiB expands to (66 MiB), and buffers.
    const BOUND: u64 = 160 << 20;
    // The allocator keeps the freed memory of a connection, so that the next one is measured from there.
    let bounded = |envoy: &Envoy, encoding: &str, send: &mut dyn FnMut() -> Response| {
        envoy.forget_peak_memory();
        let before = envoy.peak_memory();
        let answer = send();
        let grown = envoy.peak_memory().saturating_sub(before);
        println!("{encoding}: {} MiB", grown >> 20);
        assert!(grown < BOUND, "{encoding}: {} MiB", grown >> 20);
        answer
    };
    let bombs = [
        ("gzip", gzip_bomb(300), true),
        ("zstd", zstd_bomb(300, 2048), true),
        // Above 100 to 1 Envoy drops the rest of the body, which is not JSON then.
        ("zstd", zstd_bomb(300, 0), false),
        ("zstd", zstd_bomb(30_000, 0), false),
    ];
    for (encoding, bomb, too_large) in bombs {
        let over_http1 = bounded(&gateway.envoy, encoding, &mut || {
            Connection::open(gateway.address()).request_while_sending(&post(CHAT, encoding, bomb.clone()))
        });
        let authorization = format!("Bearer {}", secret("laptop"));
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", encoding),
            ("authorization", authorization.as_str()),
        ];
        let pieces: Vec<_> = bomb.chunks(16 * 1024).collect();
        let request =
            http2::Request { method: "POST", path: CHAT, headers: &headers, body: &pieces, trailers: &[] };
        let over_http2 = bounded(&gateway.envoy, encoding, &mut || {
            http2::requests(gateway.address(), std::slice::from_ref(&request)).remove(0)
        });
        for (protocol, answer) in [("HTTP/1.1", over_http1), ("HTTP/2", over_http2)] {
            let expected = match too_large {
                true => (413, "body_too_large"),
                false => (400, "invalid_body"),
            };
            let code = answer.json()["error"]["code"].clone();
            assert_eq!(
                (answer.status, code.as_str()),
                (expected.0, Some(expected.1)),
                "{encoding} over {protocol}: {answer:?}"
            );
        }
    }
    assert_eq!(gateway.upstream.recording().requests().len(), 1, "no bomb was sent on");
    let denied = gateway.envoy.access_log(9).iter().filter(|line| line["decision"] == "denied").count();
    assert_eq!(denied, 8);
    gateway.assert_no_trap();
}

#[test]
fn a_body_that_is_not_what_its_encoding_says_is_rejected() {
    let Some(gateway) = Gateway::start(&ml()) else { return };
    let plain = body(CHAT, false);
    let whole = gzip(&plain);
    // In the head of the first block.
    let mut damaged = whole.clone();
    damaged[10] |= 0b111;
    let refused = |encoding: &str, body: &[u8], status: u16, code: &str| {
        let answer: Response = gateway.request(&post(CHAT, encoding, body.to_vec()));
        let found = answer.json()["error"]["code"].clone();
        assert_eq!((answer.status, found.as_str()), (status, Some(code)), "{encoding}: {answer:?}");
    };
    refused("gzip", &plain, 400, "invalid_body");
    refused("gzip", &whole[..whole.len() / 2], 400, "invalid_body");
    refused("gzip", &damaged, 400, "invalid_body");
    refused("gzip", &zstd(&plain), 400, "invalid_body");
    refused("zstd", &whole, 400, "invalid_body");
    refused("gzip, gzip", &gzip(&whole), 415, "unsupported_encoding");
    refused("zstd, gzip", &gzip(&zstd(&plain)), 415, "unsupported_encoding");
    refused("br", &whole, 415, "unsupported_encoding");
    refused("deflate", &whole, 415, "unsupported_encoding");
    let without_key = Request::new("POST", CHAT)
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(gzip_bomb(300));
    let answer = Connection::open(gateway.address()).request_while_sending(&without_key);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &json!("missing_api_key")));
    assert!(gateway.upstream.recording().requests().is_empty());
    gateway.assert_no_trap();
}
