//! Event streams through the filter, beside the same streams through Envoy's router alone.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::{Connection, Request, Response};
use tollgate_envoy::envoy::{Envoy, Folder};
use tollgate_envoy::gateway::site;
use tollgate_envoy::live::{CHAT_STEPS, Live, Lockstep, Sender};
use tollgate_envoy::native;
use tollgate_envoy::shipped;
use tollgate_envoy::world::{configuration, key_of, secret};
use tollgate_host::proxy_wasm::Dialect;
use tollgate_host::tools;

const EVENTS: &str = "text/event-stream";
const EXTRA: &str =
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\n";

/// The configuration of both hosts. Token limits, so that usage counts.
fn limited() -> Value {
    let teams = json!({"ml": {"organization": "acme", "name": "ML", "limits": {"tpd": 1_000_000_000}}});
    configuration(&teams, &json!({"laptop": key_of("ml", "laptop")}))
}

/// An Envoy with two listeners for the same upstream: one with the filter, one with the router alone.
struct Pair {
    envoy: Envoy,
    gateway: SocketAddr,
    router: SocketAddr,
}

impl Pair {
    fn start(upstream: SocketAddr) -> Option<Self> {
        let program = tools::require(tools::envoy())?;
        let site = site(&limited(), upstream);
        let folder = Folder::new();
        shipped::lay_out(folder.path(), &site);
        let mut bootstrap = shipped::bootstrap(&site);
        let listeners =
            bootstrap.pointer_mut("/static_resources/listeners").and_then(Value::as_array_mut).unwrap();
        let mut router = listeners[0].clone();
        router["name"] = json!("router");
        let manager = router.pointer_mut("/filter_chains/0/filters/0/typed_config").unwrap();
        manager.as_object_mut().unwrap().remove("access_log");
        manager["http_filters"].as_array_mut().unwrap().remove(0);
        listeners.push(router);
        std::fs::write(folder.path().join("envoy.yaml"), bootstrap.to_string()).unwrap();
        let envoy = Envoy::run(&program, folder, 2);
        let statuses: Value = serde_json::from_str(&envoy.admin("GET", "/listeners?format=json")).unwrap();
        let address = |name: &str| {
            let statuses = statuses["listener_statuses"].as_array().unwrap();
            let status = statuses.iter().find(|status| status["name"] == name).unwrap();
            let port = &status["local_address"]["socket_address"]["port_value"];
            SocketAddr::from(([127, 0, 0, 1], u16::try_from(port.as_u64().unwrap()).unwrap()))
        };
        let (gateway, router) = (address("gateway"), address("router"));
        Some(Self { envoy, gateway, router })
    }
}

/// A streamed chat. `asks`: the client requests the usage itself, so that the filter removes nothing.
fn chat(asks: bool) -> Request {
    let mut body = json!({"model": "gpt-5-mini", "stream": true,
        "messages": [{"role": "user", "content": "Say hello."}]});
    if asks {
        body["stream_options"] = json!({"include_usage": true});
    }
    Request::json("/v1/chat/completions", &body).bearer(&secret("laptop"))
}

fn event(content: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}}}],\"usage\":null}}\n\n"
    )
}

/// The moments at which each piece of a stream was sent.
type Sent = Arc<Mutex<Vec<(String, Instant)>>>;

/// Sends an event every 200 ms, alternately in one piece and in two, and a comment halfway to the next.
fn paced(sent: &Sent, stream: usize, events: usize, to: &mut Sender) -> io::Result<()> {
    let start = Instant::now();
    let until = |at: Instant| thread::sleep(at.saturating_duration_since(Instant::now()));
    let mut send = |mark: String, pieces: &[&str]| {
        for piece in &pieces[..pieces.len() - 1] {
            to.chunk(piece)?;
            thread::sleep(Duration::from_millis(5));
        }
        sent.lock().unwrap().push((mark, Instant::now()));
        to.chunk(pieces[pieces.len() - 1])
    };
    for number in 0..events {
        let at = start + Duration::from_millis(200) * number as u32;
        until(at);
        let mark = format!("e{stream}-{number}.");
        let whole = event(&mark);
        let (head, tail) = whole.split_at(whole.find(&mark).unwrap());
        match number % 2 {
            0 => send(mark, &[&whole])?,
            _ => send(mark, &[head, tail])?,
        }
        until(at + Duration::from_millis(100));
        let mark = format!("c{stream}-{number}.");
        send(mark.clone(), &[&format!(": {mark}\n\n")])?;
    }
    to.chunk(EXTRA)?;
    to.chunk("data: [DONE]\n\n")?;
    to.end(&[])
}

/// Reads a stream to its end, and returns the moments at which each mark of it was complete.
fn marks(mut connection: Connection, request: &Request) -> Vec<(String, Instant)> {
    connection.send(&request.bytes()).unwrap();
    let (status, _) = connection.response_head().unwrap();
    assert_eq!(status, 200);
    let (mut seen, mut text, mut read) = (Vec::new(), String::new(), 0);
    while !text.contains("[DONE]") {
        let bytes = connection.some().unwrap();
        let now = Instant::now();
        assert!(!bytes.is_empty(), "the stream ends early: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes));
        // An event counts as received with its empty line.
        while let Some(end) = text[read..].find("\n\n") {
            let block = &text[read..read + end];
            // Chunk sizes stand between the events.
            if let Some(at) = block.rfind('.') {
                let start = block[..at].rfind(['"', ' ', '\n']).unwrap() + 1;
                seen.push((block[start..=at].to_owned(), now));
            }
            read += end + 2;
        }
    }
    seen
}

/// The delay that nine of ten events have at most.
fn p90(mut delays: Vec<Duration>) -> Duration {
    delays.sort();
    delays[delays.len() * 9 / 10]
}

/// Runs streams with this number of events through both listeners at once. Returns the excess of the delay with the
/// filter that nine of ten events have at most; `None` without Envoy.
fn excess(events: usize) -> Option<Duration> {
    const STREAMS: usize = 4;
    let sent = Sent::default();
    let upstream = {
        let (sent, next) = (Arc::clone(&sent), Mutex::new(0));
        Live::start(move |_, to| {
            let stream = {
                let mut next = next.lock().unwrap();
                *next += 1;
                *next
            };
            to.begin(EVENTS)?;
            paced(&sent, stream, events, to)
        })
    };
    let pair = Pair::start(upstream.address())?;
    let ways = [
        ("router", pair.router, true),
        ("usage requested", pair.gateway, true),
        ("usage added", pair.gateway, false),
    ];
    let seen: Vec<(&str, Vec<(String, Instant)>)> = thread::scope(|scope| {
        let streams: Vec<_> = (0..STREAMS)
            .flat_map(|_| ways)
            .map(|(way, address, asks)| {
                scope.spawn(move || (way, marks(Connection::open(address), &chat(asks))))
            })
            .collect();
        streams.into_iter().map(|stream| stream.join().unwrap()).collect()
    });
    let sent: std::collections::HashMap<_, _> = sent.lock().unwrap().drain(..).collect();
    let delay = |way: &str, kind: char| {
        let of_way = seen.iter().filter(|(other, _)| *other == way).flat_map(|(_, marks)| marks);
        let delays: Vec<_> = of_way
            .filter(|(mark, _)| mark.starts_with(kind))
            .map(|(mark, at)| at.duration_since(sent[mark.as_str()]))
            .collect();
        assert_eq!(delays.len(), STREAMS * events, "{way} {kind}");
        p90(delays)
    };
    let mut most = Duration::ZERO;
    for kind in ['e', 'c'] {
        let alone = delay("router", kind);
        for way in ["usage requested", "usage added"] {
            let with_filter = delay(way, kind);
            println!("{kind} {way}: p90 {with_filter:?}, router alone {alone:?}");
            most = most.max(with_filter.saturating_sub(alone));
        }
    }
    Some(most)
}

#[test]
fn events_and_comments_are_not_delayed() {
    // A busy machine delays one run more than another.
    let within = |_| excess(40).is_none_or(|excess| excess <= Duration::from_millis(1));
    assert!((0..3).any(within), "more than a millisecond in each of three runs");
}

#[test]
#[ignore = "takes a minute"]
fn proof_events_and_comments_are_not_delayed_for_a_minute() {
    if let Some(excess) = excess(300) {
        assert!(excess <= Duration::from_millis(1), "{excess:?}");
    }
}

/// Sends chunks and trailers, and returns what a client that did not request the usage gets.
fn through(pair: &Pair) -> Response {
    Connection::open(pair.gateway).request(&chat(false))
}

#[test]
fn the_tail_before_trailers_reaches_the_client() {
    let content = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}";
    let cases: Vec<(Vec<String>, String)> = vec![
        (vec!["data: [DONE]".into()], "data: [DONE]".into()),
        (vec!["data: [DONE]\n".into()], "data: [DONE]\n".into()),
        (vec!["data: [DO".into(), "NE]".into()], "data: [DONE]".into()),
        (vec![EXTRA.into(), "data: [DONE]".into()], "data: [DONE]".into()),
        (vec![content.into()], content.into()),
        (vec![event("b") + content], event("b").replace(",\"usage\":null", "") + content),
        (vec![EXTRA.trim_end().into()], String::new()),
        (vec![": ping".into()], ": ping".into()),
    ];
    let scripts: Vec<Vec<String>> = cases.iter().map(|(sent, _)| sent.clone()).collect();
    let next = Mutex::new(0);
    let upstream = Live::start(move |_, to| {
        let number = {
            let mut next = next.lock().unwrap();
            *next += 1;
            *next - 1
        };
        to.begin(EVENTS)?;
        for chunk in &scripts[number] {
            to.chunk(chunk)?;
            thread::sleep(Duration::from_millis(20));
        }
        to.end(&[("x-checksum", "7")])
    });
    let Some(mut pair) = Pair::start(upstream.address()) else { return };
    for (sent, received) in &cases {
        let response = through(&pair);
        assert_eq!((response.status, response.text()), (200, received.as_str()), "{sent:?}");
        assert_eq!(response.body.trailers.get("x-checksum"), Some("7"), "{sent:?}: {response:?}");
    }
    let lines = pair.envoy.access_log(cases.len());
    let reported: Vec<_> = lines.iter().map(|line| line["estimated"] == "false").collect();
    let has_usage: Vec<_> = cases.iter().map(|(sent, _)| sent.concat().contains("prompt_tokens")).collect();
    let done: Vec<_> = cases.iter().map(|(sent, _)| sent.concat().contains("[DONE]")).collect();
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(reported[number], has_usage[number] && done[number], "{:?}: {line}", cases[number].0);
    }
}

#[test]
fn a_failure_in_a_200_is_charged_nothing_or_what_was_seen() {
    let said = event("a");
    let cases: [(&str, Vec<String>, Option<&str>); 4] = [
        (
            "application/json",
            vec![r#"{"error":{"message":"Provider returned error","code":502}}"#.into()],
            None,
        ),
        (EVENTS, vec![said.clone(), "data: {\"error\":{\"code\":502}}\n\n".into()], Some("1")),
        (EVENTS, vec![said.clone(), said, "event: error\ndata: {}\n\ndata: [DONE]\n\n".into()], Some("2")),
        (EVENTS, vec!["data: {\"error\":\"x\"}\n\ndata: [DONE]\n\n".into()], Some("0")),
    ];
    let scripts: Vec<(String, Vec<String>)> =
        cases.iter().map(|(content_type, chunks, _)| ((*content_type).to_owned(), chunks.clone())).collect();
    let next = Mutex::new(0);
    let upstream = Live::start(move |_, to| {
        let number = {
            let mut next = next.lock().unwrap();
            *next += 1;
            *next - 1
        };
        let (content_type, chunks) = &scripts[number];
        to.begin(content_type)?;
        chunks.iter().try_for_each(|chunk| to.chunk(chunk))?;
        to.end(&[])
    });
    let Some(mut pair) = Pair::start(upstream.address()) else { return };
    for (_, sent, _) in &cases {
        let response = through(&pair);
        assert_eq!(
            (response.status, response.text().to_owned()),
            (200, sent.concat().replace(",\"usage\":null", ""))
        );
    }
    for ((_, sent, output), line) in cases.iter().zip(pair.envoy.access_log(cases.len())) {
        assert_eq!(line["output_tokens"].as_str().filter(|text| *text != "-"), *output, "{sent:?}: {line}");
        let input = line["input_tokens"].as_str().and_then(|text| text.parse::<u64>().ok());
        assert_eq!(input.is_some_and(|input| input > 0), output.is_some(), "{sent:?}: {line}");
    }
}

#[test]
fn a_client_that_leaves_before_the_response_pays_the_input_and_a_failed_upstream_costs_nothing() {
    let arrived = Arc::new(Mutex::new(0));
    let upstream = {
        let arrived = Arc::clone(&arrived);
        Live::start(move |head, to| {
            *arrived.lock().unwrap() += 1;
            if head.headers.get("x-simulate") == Some("reset") {
                return Ok(());
            }
            thread::sleep(Duration::from_secs(2));
            to.whole("application/json", "{}")
        })
    };
    let Some(mut pair) = Pair::start(upstream.address()) else { return };
    for asks in [false, true] {
        let before = *arrived.lock().unwrap();
        let mut connection = Connection::open(pair.gateway);
        connection.send(&chat(asks).bytes()).unwrap();
        while *arrived.lock().unwrap() == before {
            thread::sleep(Duration::from_millis(5));
        }
        connection.leave();
    }
    for line in pair.envoy.access_log(2) {
        let facts = ["flags", "output_tokens", "estimated"].map(|field| line[field].as_str().unwrap_or("-"));
        assert_eq!(facts, ["DC", "0", "true"], "{line}");
        assert!(
            line["input_tokens"].as_str().is_some_and(|input| input.parse::<u64>().unwrap() > 0),
            "{line}"
        );
    }
    let reset = Connection::open(pair.gateway).request(&chat(false).header("x-simulate", "reset"));
    assert_eq!(reset.status, 503, "{reset:?}");
    let line = pair.envoy.access_log(3).remove(2);
    assert_eq!(line["input_tokens"].as_str().unwrap_or("-"), "-", "{line}");
}

#[test]
fn no_byte_of_a_stream_waits_for_the_next() {
    let steps = Lockstep::start(EVENTS, CHAT_STEPS);
    let server = native::serve(&limited(), steps.address(), Dialect::Envoy);
    steps.follow(server.addr(), &chat(false));
    let steps = Lockstep::start(EVENTS, CHAT_STEPS);
    let Some(mut pair) = Pair::start(steps.address()) else { return };
    steps.follow(pair.gateway, &chat(false));
    let line = pair.envoy.access_log(1).remove(0);
    let facts =
        ["input_tokens", "output_tokens", "estimated"].map(|field| line[field].as_str().unwrap_or("-"));
    assert_eq!(facts, ["9", "2", "false"], "{line}");
}
