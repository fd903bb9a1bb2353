//! Requests that end early, from either side: settled once, to the observed usage.

use std::net::TcpListener;

use serde_json::Value;
use tollgate_envoy::client::Connection;
use tollgate_envoy::workerd::Workerd;
use tollgate_envoy::world::{chat, secret};

use crate::{LONG, ask, comes_to, free, fresh, left, metered, stream};

/// Returns the only log line of a request whose end was not observed.
fn estimated(workerd: &Workerd) -> Value {
    let log = workerd.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut lines: Vec<_> = lines.filter(|line| line["estimated"] == "true").collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

fn number(line: &Value, name: &str) -> u64 {
    line[name].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} in {line}"))
}

/// Asserts that the rest is less than `fresh` by the usage in the log, exactly once.
fn settled_as_logged(workerd: &Workerd, fresh: u64) -> Value {
    comes_to(workerd, |left| left < fresh && left > fresh - LONG / 2);
    let line = estimated(workerd);
    let used = number(&line, "input_tokens") + number(&line, "output_tokens");
    for _ in 0..3 {
        comes_to(workerd, |left| left == fresh - used);
    }
    line
}

#[test]
fn a_stream_cut_by_its_upstream_is_settled_once_to_the_usage_seen() {
    let Some(workerd) = Workerd::start(&metered()) else { return };
    let fresh = fresh(&workerd);
    let mut connection = Connection::open(workerd.address());
    connection.send(&stream("tokens=2000, cut-after=50").bearer(&secret("laptop")).bytes()).unwrap();
    let (status, headers) = connection.response_head().unwrap();
    assert_eq!(status, 200);
    // workerd itself ends chunks as if complete, also those of `return fetch(request)`. The cut is only
    // visible as the end of the connection.
    let body = connection.body(&headers).unwrap();
    assert!(!String::from_utf8_lossy(&body.data).contains("[DONE]"));
    assert_eq!(connection.some().unwrap(), b"");
    let line = settled_as_logged(&workerd, fresh);
    assert!((40..200).contains(&number(&line, "output_tokens")), "{line}");
}

#[test]
fn a_response_of_known_length_that_its_upstream_cuts_is_cut_for_the_client() {
    let Some(workerd) = Workerd::start(&metered()) else { return };
    let fresh = fresh(&workerd);
    let mut connection = Connection::open(workerd.address());
    let cut = chat().header("x-simulate", "tokens=2000, chunk-bytes=100, cut-after=5");
    connection.send(&cut.bearer(&secret("laptop")).bytes()).unwrap();
    let (status, headers) = connection.response_head().unwrap();
    assert_eq!((status, headers.get("transfer-encoding")), (200, None));
    let broken = connection.body(&headers);
    assert!(broken.is_err(), "{broken:?}");
    settled_as_logged(&workerd, fresh);
}

#[test]
fn a_stream_whose_client_leaves_is_settled_once_to_the_usage_seen() {
    let Some(workerd) = Workerd::start(&metered()) else { return };
    let fresh = fresh(&workerd);
    let mut connection = Connection::open(workerd.address());
    connection.send(&stream("tokens=2000, chunk-ms=20").bearer(&secret("laptop")).bytes()).unwrap();
    assert_eq!(connection.response_head().unwrap().0, 200);
    for _ in 0..5 {
        assert!(!connection.some().unwrap().is_empty());
    }
    connection.leave();
    let line = settled_as_logged(&workerd, fresh);
    assert!((1..1_000).contains(&number(&line, "output_tokens")), "{line}");
}

/// Begins a call with a delayed response, on a connection with an unread earlier response.
fn waiting(workerd: &Workerd) -> Connection {
    let arrived = workerd.upstream.recording().requests().len();
    let mut connection = Connection::open(workerd.address());
    connection.send(&free().bearer(&secret("laptop")).bytes()).unwrap();
    connection.send(&stream("delay-ms=1500, tokens=2000").bearer(&secret("laptop")).bytes()).unwrap();
    while workerd.upstream.recording().requests().len() < arrived + 2 {
        std::thread::yield_now();
    }
    connection
}

#[test]
fn a_reset_before_the_response_ends_the_call_and_is_charged_the_input() {
    let Some(workerd) = Workerd::start(&metered()) else { return };
    let fresh = fresh(&workerd);
    let (requests, _) = left(&ask(&workerd, free()));
    let arrived = workerd.upstream.recording().requests().len();
    // An unread response turns the end of the connection into a reset.
    drop(waiting(&workerd));
    workerd.wait_for_log("a request ends early: The client has disconnected");
    let line = settled_as_logged(&workerd, fresh);
    assert_eq!(number(&line, "output_tokens"), 0, "{line}");
    // It was forwarded: as a request it counts.
    let asked = (workerd.upstream.recording().requests().len() - arrived) as u64;
    assert_eq!(left(&ask(&workerd, free())).0, requests - asked - 1);
}

#[test]
fn a_call_whose_client_closes_before_the_response_is_settled_to_the_usage_seen() {
    let Some(workerd) = Workerd::start(&metered()) else { return };
    let fresh = fresh(&workerd);
    let mut connection = waiting(&workerd);
    assert_eq!(connection.response().unwrap().status, 200);
    // workerd detects an ordinary end when it has something to send.
    drop(connection);
    let line = settled_as_logged(&workerd, fresh);
    assert!(number(&line, "output_tokens") < 1_000, "{line}");
}

#[test]
fn a_client_that_disconnects_in_its_body_is_charged_nothing() {
    let Some(workerd) = Workerd::start(&metered()) else { return };
    let before = left(&ask(&workerd, free()));
    let mut connection = Connection::open(workerd.address());
    let whole = stream("").bearer(&secret("laptop")).bytes();
    connection.send(&whole[..whole.len() - 10]).unwrap();
    connection.leave();
    workerd.wait_for_log(r#""decision":"undecided""#);
    assert_eq!(left(&ask(&workerd, free())).0, before.0 - 1);
    assert_eq!(workerd.upstream.recording().requests().len(), 2);
}

#[test]
fn a_call_whose_upstream_does_not_answer_is_charged_no_tokens() {
    let Some(mut workerd) = Workerd::start(&metered()) else { return };
    let before = left(&ask(&workerd, free()));
    // The listener is dropped, so that the address refuses connections.
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    workerd.restart_before(Some(closed));
    assert_eq!(ask(&workerd, stream("")).status, 502);
    workerd.wait_for_log(r#""status":502"#);
    workerd.restart_before(None);
    assert_eq!(left(&ask(&workerd, free())), (before.0 - 2, before.1));
}
