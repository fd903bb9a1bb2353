//! Upgrades, decided in the head.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_envoy::client::{Connection, Request};
use tollgate_envoy::wire::{Reader, RequestHead, request_head};
use tollgate_envoy::workerd::{Setting, Workerd};
use tollgate_envoy::world::secret;

use crate::{code, configuration};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn upgrade(path: &str) -> Request {
    Request::new("GET", path)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY)
        .header("sec-websocket-protocol", "realtime")
        .bearer(&secret("laptop"))
}

fn with_realtime(limits: &Value) -> Value {
    let mut configuration = configuration(&json!({"limits": limits}));
    configuration["routes"] = json!([
        {"path": "/v1/realtime", "target": "gpt-5-mini"},
        {"path": "/v1/unmetered", "target": "gpt-5-mini", "unmetered": "allow"},
        {"path": "/v1/forbidden", "target": "gpt-5", "unmetered": "allow"},
    ]);
    configuration
}

/// The server's answer to the client's key (RFC 6455, 4.2.2).
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// Takes upgrades, says so, and answers one text frame with the same text.
fn upstream() -> (SocketAddr, mpsc::Receiver<RequestHead>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (open, opened) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let open = open.clone();
            std::thread::spawn(move || echo(stream.unwrap(), &open));
        }
    });
    (address, opened)
}

fn echo(mut stream: TcpStream, opened: &mpsc::Sender<RequestHead>) {
    let mut reader = Reader::new(stream.try_clone().unwrap());
    let head = request_head(&reader.head().unwrap().unwrap());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-protocol: realtime\r\nsec-websocket-accept: {}\r\n\r\n",
        accept(head.headers.get("sec-websocket-key").unwrap())
    );
    // A failed send means that the test no longer listens.
    let _ = opened.send(head);
    stream.write_all(answer.as_bytes()).unwrap();
    let text = frame(&mut stream);
    stream.write_all(&[&[0x81, text.len() as u8], text.as_slice()].concat()).unwrap();
    // Until the other end closes.
    let _ = stream.read_to_end(&mut Vec::new());
}

/// The payload of a short text frame, masked or not.
fn frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x81, "a whole text frame");
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        stream.read_exact(&mut mask).unwrap();
    }
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut payload).unwrap();
    payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

#[test]
fn upgrades_are_decided_in_the_head_and_then_pass_frames() {
    let (address, opened) = upstream();
    let setting = Setting { upstream: Some(address), ..Setting::default() };
    let Some(workerd) = Workerd::with(&with_realtime(&json!({"rpm": 1_000, "tpm": 1_000})), setting) else {
        return;
    };
    let refused = |path: &str, expected: &str| {
        let refused = Connection::open(workerd.address()).request(&upgrade(path));
        assert_eq!((refused.status, code(&refused)), (403, json!(expected)), "{refused:?}");
    };
    refused("/v1/realtime", "upgrade_not_metered");
    refused("/v1/forbidden", "target_not_allowed");

    let mut connection = Connection::open(workerd.address());
    connection.send(&upgrade("/v1/unmetered").bytes()).unwrap();
    let (status, headers) = connection.response_head().unwrap();
    assert_eq!(status, 101, "{headers:?}");
    assert_eq!(headers.get("sec-websocket-accept"), Some(accept(KEY).as_str()));
    assert_eq!(headers.get("sec-websocket-protocol"), Some("realtime"));
    // A masked `hello`, as clients send it.
    let mask = [1, 2, 3, 4];
    let masked: Vec<_> = b"hello".iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    connection.send(&[&[0x81, 0x85], mask.as_slice(), &masked].concat()).unwrap();
    let mut answer = Vec::new();
    while answer.len() < 7 {
        answer.extend(connection.some().unwrap());
    }
    assert_eq!(answer, b"\x81\x05hello");

    // The one that passed is the only one that was sent on: as the team's, and without its key.
    let heads: Vec<_> = opened.try_iter().collect();
    let [head] = heads.as_slice() else { panic!("{heads:?}") };
    assert_eq!(head.headers.get("x-tollgate-team"), Some("ml"));
    assert_eq!(head.headers.get("authorization"), None);
    assert_eq!(head.headers.get("x-upstream-key"), Some("of-the-upstream"));
}

#[test]
fn an_upgrade_counts_as_a_request() {
    let (address, _opened) = upstream();
    let setting = Setting { upstream: Some(address), ..Setting::default() };
    let Some(workerd) = Workerd::with(&with_realtime(&json!({"rpm": 2})), setting) else { return };
    let status = || {
        let mut connection = Connection::open(workerd.address());
        connection.send(&upgrade("/v1/realtime").bytes()).unwrap();
        connection.response_head().unwrap().0
    };
    // No token limit, no budget: nothing that an upgrade could get around.
    assert_eq!([status(), status(), status()], [101, 101, 429]);
}
