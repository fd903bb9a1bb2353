//! Bodies of every size over every protocol: the filter decides all of them.

use serde_json::{Value, json};
use tollgate_core::config::MAX_BODY;
use tollgate_envoy::client::{self, Connection, Response};
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::http2::{self, Request};
use tollgate_envoy::http3;
use tollgate_envoy::world::{configuration, key_of, secret};
use tollgate_host::tools;

const CHAT: &str = "/v1/chat/completions";
const MB: usize = 1_000_000;

/// The sizes, and the status of a request with such a body.
const SIZES: [(usize, u16); 6] = [
    (1_000, 200),
    (900_000, 200),
    (1_100_000, 200),
    (9 * MB, 200),
    (31 * MB, 200),
    // Above 32 MiB.
    (34 * MB, 413),
];

const _: () = assert!(31 * MB as u64 <= MAX_BODY && MAX_BODY < 34 * MB as u64);

fn ml() -> Value {
    let mut configuration = configuration(
        &json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 100_000}}}),
        &json!({"laptop": key_of("ml", "laptop")}),
    );
    configuration["policy"]["organizations"]["acme"]["access"] = json!({"targets": ["*"]});
    configuration["policy"]["targets"]["whisper-1"] = json!({});
    configuration
}

/// Returns a chat with a body of this size.
fn chat(bytes: usize) -> Vec<u8> {
    let frame = r#"{"model":"gpt-5-mini","messages":[{"role":"user","content":""}]}"#;
    frame.replace("\"\"", &format!("\"{}\"", "a".repeat(bytes - frame.len()))).into_bytes()
}

/// Returns a transcription request with a recording of this size, and its content-type.
fn transcription(bytes: usize) -> (Vec<u8>, &'static str) {
    let fields = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n";
    let sound: Vec<u8> = (0..bytes).map(|position| (position * 31 % 251) as u8).collect();
    ([fields.as_bytes(), &sound, b"\r\n--b--\r\n"].concat(), "multipart/form-data; boundary=b")
}

struct World {
    gateway: Gateway,
    quic: std::net::SocketAddr,
    client: http3::Client,
    authorization: String,
}

fn start() -> Option<World> {
    let client = tools::require(http3::Client::new())?;
    let gateway = Gateway::with_options(&ml(), &["http3"], |folder| client.install_certificate(folder))?;
    let quic = gateway.envoy.listener(Some("gateway-http3")).unwrap();
    Some(World { gateway, quic, client, authorization: format!("Bearer {}", secret("laptop")) })
}

impl World {
    fn http1(&self, body: &[u8], chunk: Option<usize>) -> Response {
        let request = client::Request::new("POST", CHAT)
            .header("content-type", "application/json")
            .header("authorization", &self.authorization);
        let request = match chunk {
            None => request.body(body),
            Some(size) => request.chunked(&body.chunks(size).collect::<Vec<_>>(), &[]),
        };
        // Envoy may answer before it has read the whole body.
        Connection::open(self.gateway.address()).request_while_sending(&request)
    }

    /// Returns the header fields of a request over HTTP/2 or HTTP/3.
    fn fields<'a>(&'a self, content_type: &'a str) -> [(&'a str, &'a str); 2] {
        [("content-type", content_type), ("authorization", &self.authorization)]
    }

    /// Asserts that the upstream got exactly these bodies since the last call.
    fn assert_arrived(&self, sizes: &[usize], seen: &mut usize) {
        let recording = self.gateway.upstream.recording();
        let arrived: Vec<_> =
            recording.requests()[*seen..].iter().map(|request| request.body.len()).collect();
        assert_eq!(arrived, sizes);
        *seen += sizes.len();
    }
}

#[test]
fn bodies_of_every_size_are_decided_by_the_filter_over_every_protocol() {
    let Some(mut world) = start() else { return };
    let mut seen = 0;
    every_size_over_every_protocol(&mut world, &mut seen);
    streams_of_one_connection_are_held_at_the_same_time(&world, &mut seen);
    recordings_and_bodies_in_tiny_chunks_pass_too(&world, &mut seen);
    world.gateway.assert_no_trap();
}

fn every_size_over_every_protocol(world: &mut World, seen: &mut usize) {
    let mut answered = 0;
    for (size, status) in SIZES {
        let body = chat(size);
        let fields = world.fields("application/json");
        let pieces: Vec<_> = body.chunks(64 * 1024).collect();
        let request = Request { method: "POST", path: CHAT, headers: &fields, body: &pieces, trailers: &[] };
        let request = std::slice::from_ref(&request);
        let answers = [
            ("HTTP/1.1 with its length", world.http1(&body, None)),
            ("HTTP/1.1 without", world.http1(&body, Some(64 * 1024))),
            ("HTTP/2", http2::requests(world.gateway.address(), request).remove(0)),
            ("HTTP/3", world.client.requests(world.quic, &[request]).remove(0)),
        ];
        for (protocol, answer) in &answers {
            assert_eq!(answer.status, status, "{size} bytes over {protocol}: {answer:?}");
            if status == 413 {
                let code = &answer.json()["error"]["code"];
                assert_eq!(code, "body_too_large", "{size} bytes over {protocol}: {answer:?}");
            }
        }
        world.assert_arrived(&vec![size; if status == 200 { answers.len() } else { 0 }], seen);
        answered += answers.len();
    }
    for line in world.gateway.envoy.access_log(answered) {
        let decision = if line["status"] == 200 { "allowed" } else { "denied" };
        assert_eq!(line["decision"], decision, "not the filter's decision: {line}");
    }
}

fn streams_of_one_connection_are_held_at_the_same_time(world: &World, seen: &mut usize) {
    // Together more than the window of the connection.
    let body = chat(6 * MB);
    let fields = world.fields("application/json");
    let pieces: Vec<_> = body.chunks(64 * 1024).collect();
    let request = Request { method: "POST", path: CHAT, headers: &fields, body: &pieces, trailers: &[] };
    let together = vec![request; 3];
    let mut answers = http2::together(world.gateway.address(), &together);
    answers.extend(world.client.requests(world.quic, &[&together]));
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200; 6], "{answers:?}");
    world.assert_arrived(&[6 * MB; 6], seen);
}

fn recordings_and_bodies_in_tiny_chunks_pass_too(world: &World, seen: &mut usize) {
    let path = "/v1/audio/transcriptions";
    let (body, content_type) = transcription(25 * MB);
    let fields = world.fields(content_type);
    let pieces: Vec<_> = body.chunks(1024 * 1024).collect();
    let request = Request { method: "POST", path, headers: &fields, body: &pieces, trailers: &[] };
    let chunked = client::Request::new("POST", path)
        .header("content-type", content_type)
        .header("authorization", &world.authorization)
        .chunked(&body.chunks(1460).collect::<Vec<_>>(), &[("x-checksum", "abc")]);
    let mut answers = http2::requests(world.gateway.address(), &[request]);
    answers.push(world.gateway.request(&chunked));
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200; 2], "{answers:?}");
    let recording = world.gateway.upstream.recording();
    assert!(recording.requests()[*seen..].iter().all(|request| request.body == body), "byte for byte");
    world.assert_arrived(&[body.len(); 2], seen);

    // As a client that writes character by character.
    assert_eq!(world.http1(&chat(70_000), Some(1)).status, 200);
    world.assert_arrived(&[70_000], seen);
}
