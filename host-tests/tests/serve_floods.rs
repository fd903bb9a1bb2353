//! Floods of one client: each is bounded, leaves no stream behind, and leaves the server to the others.

mod modules;
mod serving;

use std::time::Duration;

use modules::recorder;
use serving::{Choices, Client, Serving, eventually, rest, soon, status, whole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate_host::server::Limits;

const PASS: &str = "cccccccccccc";
const HOLD: &str = "PPPccccccccc";
const SHORT: Duration = Duration::from_millis(300);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// Types of frames, and flags (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn serving(script: &str, limits: Limits) -> Serving {
    Serving::with(&recorder(), script, Choices { limits, ..Choices::default() })
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [head.as_slice(), &stream.to_be_bytes(), payload].concat()
}

/// Returns a field without compression (RFC 7541, 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap();
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

fn head(method: &str) -> Vec<u8> {
    [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", "/any")]
        .map(|(name, value)| field(name, value))
        .concat()
}

fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = values
        .iter()
        .flat_map(|(name, value)| [name.to_be_bytes().as_slice(), &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// Sends a flood while reading, until the server closes, the flood ends, or a second has passed. Returns true
/// if the server closed the connection.
async fn flood(
    serving: &Serving,
    start: Vec<u8>,
    flood: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> bool {
    let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
    stream.write_all(&start).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let writing = tokio::spawn(async move {
        for part in flood {
            if to.write_all(&part).await.is_err() {
                return;
            }
        }
        // The socket stays open.
        std::future::pending::<()>().await;
    });
    let mut sink = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), from.read_to_end(&mut sink)).await.is_ok();
    writing.abort();
    closed
}

/// Checks that every stream has ended and that others are served.
async fn recovers(serving: &Serving) {
    for mut client in Client::both(serving.addr()).await {
        assert_eq!(status(&mut client).await, 200);
    }
    eventually("every stream is closed", || {
        let began = serving.count("request_headers");
        serving.count("delete") >= began && serving.count("log") >= began
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_resets_closes_its_connection() {
    let serving = serving(PASS, Limits::default());
    // At once, and with a pause in which each request begins to run.
    let fast = (0..50_000).map(|number| {
        let stream = number * 2 + 1;
        let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET")), reset].concat()
    });
    assert!(flood(&serving, [PREFACE, &settings(&[])].concat(), fast).await);
    let delayed = (0..50_000).map(|number| {
        let stream = number * 2 + 1;
        let fields = [head("GET"), field("x-simulate", "delay-ms=9000")].concat();
        let begin = frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields);
        // Reset five streams behind, so that the module has seen it.
        let reset = match stream.checked_sub(10) {
            Some(behind) => frame(RST_STREAM, 0, behind | 1, &8_u32.to_be_bytes()),
            None => Vec::new(),
        };
        std::thread::sleep(Duration::from_millis(1));
        [begin, reset].concat()
    });
    assert!(flood(&serving, [PREFACE, &settings(&[])].concat(), delayed).await);
    assert!(serving.count("request_headers") < 2_000);
    recovers(&serving).await;
}

#[tokio::test]
async fn an_endless_head_of_http_2_is_cut() {
    let serving = serving(PASS, Limits { keep_alive: 2 * SHORT, ..Limits::default() });
    for (first, more) in [
        // Fields without an end, empty frames, and one field that is never complete.
        (head("GET"), field("x-more", &"a".repeat(120)).repeat(100)),
        (head("GET"), Vec::new()),
        (vec![0, 1, b'x', 0x7f, 0xff, 0xff, 0xff, 0x7f], vec![b'a'; 16_000]),
    ] {
        let start = [PREFACE, &settings(&[]), &frame(HEADERS, 0, 1, &first)].concat();
        let parts = std::iter::repeat_with(move || frame(CONTINUATION, 0, 1, &more));
        assert!(flood(&serving, start, parts).await);
    }
    assert_eq!(serving.count("request_headers"), 0);
    recovers(&serving).await;
}

#[tokio::test]
async fn a_connection_may_send_no_more_unread_bytes_than_its_share_of_the_bound() {
    for (held_bytes, connection) in [(1 << 20, 65_535), (512 << 20, 131_072)] {
        let serving = serving("PPPccccccccc", Limits { held_bytes, ..Limits::default() });
        let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&settings(&[])).await.unwrap();
        let (mut of_stream, mut of_connection) = (65_535, 65_535);
        stream.write_all(&frame(PING, 0, 0, &[0; 8])).await.unwrap();
        let mut answered = 0;
        // The server's settings, and its larger window if it has one, come before the answer to a second ping.
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
            stream.read_exact(&mut payload).await.unwrap();
            match (head[3], head[4]) {
                (SETTINGS, 0) => {
                    for setting in payload.chunks(6).filter(|setting| setting[..2] == [0, 4]) {
                        of_stream = u32::from_be_bytes(setting[2..].try_into().unwrap());
                    }
                }
                (WINDOW_UPDATE, _) => of_connection += u32::from_be_bytes(payload.try_into().unwrap()),
                (PING, _) if answered == 1 => break,
                (PING, _) => {
                    answered += 1;
                    stream.write_all(&frame(PING, 0, 0, &[1; 8])).await.unwrap();
                }
                _ => {}
            }
        }
        assert_eq!((of_stream, of_connection), (connection, connection), "{held_bytes} bytes");
    }
}

#[tokio::test]
async fn control_frames_do_not_keep_a_connection_open() {
    let serving = serving(PASS, Limits { keep_alive: SHORT, ..Limits::default() });
    for part in [
        frame(PING, 0, 0, b"pingpong"),
        settings(&[(3, 100)]),
        frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        frame(0xee, 0, 0, b"unknown"),
    ] {
        let parts = std::iter::repeat_with(move || part.repeat(100));
        assert!(flood(&serving, [PREFACE, &settings(&[])].concat(), parts).await);
    }
    recovers(&serving).await;
}

#[tokio::test]
async fn pings_without_a_reader_do_not_stop_the_others() {
    let serving = serving(PASS, Limits { keep_alive: SHORT, ..Limits::default() });
    let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
    stream.write_all(&[PREFACE, &settings(&[])].concat()).await.unwrap();
    let pings = frame(PING, 0, 0, b"pingpong").repeat(1_000);
    let writing = async { while stream.write_all(&pings).await.is_ok() {} };
    soon(writing).await;
    recovers(&serving).await;
}

#[tokio::test]
async fn empty_data_frames_are_no_events_and_no_progress() {
    let serving = serving(HOLD, Limits { body: SHORT, ..Limits::default() });
    let start = [PREFACE, &settings(&[]), &frame(HEADERS, END_HEADERS, 1, &head("POST"))].concat();
    let fast = std::iter::repeat_with(|| frame(DATA, 0, 1, b"").repeat(100)).take(10_000);
    flood(&serving, start.clone(), fast).await;
    // The fast one may end before the server has seen its request.
    let before = serving.count("request_headers");
    let slow = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(2));
        frame(DATA, 0, 1, b"")
    });
    flood(&serving, start, slow.take(1_000)).await;
    assert_eq!(serving.count("request_headers"), before + 1);
    eventually("it is cut", || serving.count("delete") == before + 1).await;
    assert_eq!(serving.count("request_body"), 0);
    recovers(&serving).await;
}

#[tokio::test]
async fn a_hundred_streams_with_a_closed_window_are_cut() {
    let serving = serving(PASS, Limits { stream: SHORT, keep_alive: SHORT, ..Limits::default() });
    // SETTINGS_INITIAL_WINDOW_SIZE: nothing may be sent.
    let start = [PREFACE, &settings(&[(4, 0)])].concat();
    let opened = (0..100).map(|number| {
        frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &[head("GET"), field("x-a", "b")].concat())
    });
    assert!(flood(&serving, start, opened).await);
    eventually("all are closed", || serving.count("delete") == 100).await;
    recovers(&serving).await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_by_the_protocol() {
    let serving = serving(PASS, Limits { keep_alive: SHORT, ..Limits::default() });
    let opened = (0..1_000).map(|number| {
        let fields = [head("GET"), field("x-simulate", "delay-ms=300")].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &fields)
    });
    assert!(flood(&serving, [PREFACE, &settings(&[])].concat(), opened).await);
    assert!(serving.count("request_headers") < 1_000);
    recovers(&serving).await;
}

#[tokio::test]
async fn giant_heads_get_431_or_a_closed_connection() {
    let serving = serving(PASS, Limits::default());
    let lines =
        |line: &str, count: usize| format!("GET /any HTTP/1.1\r\nhost: a\r\n{}\r\n", line.repeat(count));
    for head in [
        lines(&format!("x: {}\r\n", "a".repeat(1 << 20)), 1),
        lines("x: y\r\n", 100_000),
        format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(1 << 20)),
        "A".repeat(1 << 20),
    ] {
        let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
        let (mut from, mut to) = stream.split();
        let mut answer = Vec::new();
        // The server may stop reading before the end.
        let (_, _) =
            soon(async { tokio::join!(to.write_all(head.as_bytes()), from.read_to_end(&mut answer)) }).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(serving.count("request_headers"), 0);
    recovers(&serving).await;
}

#[tokio::test]
async fn heads_without_an_end_do_not_hold_more_than_the_bound() {
    let serving = serving(PASS, Limits { held_bytes: 64 << 10, ..Limits::default() });
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
        let part = format!("GET /any HTTP/1.1\r\nhost: a\r\nx: {}", "a".repeat(12 << 10));
        // The server closes a connection whose bytes have no room.
        let _ = stream.write_all(part.as_bytes()).await;
        open.push(stream);
    }
    let mut closed = 0;
    for stream in &mut open {
        let read = tokio::time::timeout(SHORT, stream.read(&mut [0; 16])).await;
        closed += usize::from(read.is_ok());
    }
    assert!((3..8).contains(&closed), "{closed}");
    drop(open);
    tokio::time::sleep(SHORT).await;
    recovers(&serving).await;
}

#[tokio::test]
async fn chunk_extensions_and_trailers_without_end_close_their_request() {
    let serving = serving(HOLD, Limits { body: SHORT, ..Limits::default() });
    for body in [
        format!("1;{}\r\na\r\n", "a".repeat(64 << 10)),
        "1;name=value\r\na\r\n".repeat(20_000),
        format!("0\r\n{}", "x: y\r\n".repeat(20_000)),
        format!("{}1\r\na\r\n", "0".repeat(64 << 10)),
    ] {
        let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
        let (mut from, mut to) = stream.split();
        let request = format!("POST /any HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let mut answer = Vec::new();
        let (_, _) =
            soon(async { tokio::join!(to.write_all(request.as_bytes()), from.read_to_end(&mut answer)) })
                .await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(serving.upstream.recording().connections(), 0);
    recovers(&serving).await;
}

#[tokio::test]
async fn half_closed_sockets_are_closed() {
    let serving = serving(HOLD, Limits::default());
    for part in ["", "GET /any HTT", "POST /any HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf"] {
        let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    recovers(&serving).await;
}

#[tokio::test]
async fn a_pipeline_of_requests_runs_one_at_a_time() {
    let serving = serving(PASS, Limits { requests: 2, keep_alive: SHORT, ..Limits::default() });
    let parts = std::iter::once("GET /any HTTP/1.1\r\nhost: a\r\n\r\n".repeat(500).into_bytes());
    assert!(flood(&serving, Vec::new(), parts).await);
    assert!(serving.lines.all().iter().all(|line| line["status"] == 200));
    let mut client = Client::http1(serving.addr()).await;
    let response = client.send(client.request("GET", "/any").body(whole("")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(rest(response.into_body()).await);
    recovers(&serving).await;
}
