//! The endings of an exchange: every stream is logged, done and deleted once, and each side is notified.

mod modules;
mod serving;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use modules::recorder;
use serving::{Choices, Client, Serving, eventually, growing, piece, rest, soon, whole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate_host::proxy_wasm::{Effect, HostCall, When};
use tollgate_host::server::Target;

const PASS: &str = "cccccccccccc";

/// Waits for the last callbacks of a stream, each once.
async fn closed(serving: &Serving, streams: usize) {
    eventually("the streams are closed", || serving.count("delete") == streams).await;
    assert_eq!((serving.count("log"), serving.count("done")), (streams, streams));
    eventually("their lines", || serving.lines.all().len() == streams).await;
}

#[tokio::test]
async fn a_client_that_disconnects_mid_stream_closes_its_stream() {
    let serving = Serving::new(&recorder(), PASS);
    for mut client in Client::both(serving.addr()).await {
        let request = client.request("POST", "/v1/messages").header("x-simulate", "tokens=500, chunk-ms=20");
        let mut response = client.send(request.body(whole(r#"{"stream":true}"#)).unwrap()).await.unwrap();
        assert!(!piece(response.body_mut()).await.is_empty());
        drop((response, client));
    }
    closed(&serving, 2).await;
    assert!(serving.lines.all().iter().all(|line| line["details"] == "downstream_remote_disconnect"));
}

#[tokio::test]
async fn a_client_that_disconnects_while_its_body_is_held_closes_its_stream() {
    let serving = Serving::new(&recorder(), "PPPccccccccc");
    let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
    stream.write_all(b"POST /any HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    eventually("the module sees it", || serving.count("request_body") == 1).await;
    drop(stream);
    closed(&serving, 1).await;
    assert_eq!(serving.upstream.recording().connections(), 0);
}

#[tokio::test]
async fn a_client_that_disconnects_before_the_response_closes_its_stream() {
    let serving = Serving::new(&recorder(), PASS);
    let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
    stream.write_all(b"GET /any HTTP/1.1\r\nhost: a\r\nx-simulate: delay-ms=15000\r\n\r\n").await.unwrap();
    eventually("it arrives", || serving.upstream.recording().requests().len() == 1).await;
    drop(stream);
    closed(&serving, 1).await;
    assert_eq!(serving.lines.all().remove(0)["status"], 0);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_ends_the_response() {
    let serving = Serving::new(&recorder(), PASS);
    for mut client in Client::both(serving.addr()).await {
        let request =
            client.request("POST", "/v1/chat/completions").header("x-simulate", "tokens=9, cut-after=3");
        let mut response = client.send(request.body(whole(r#"{"stream":true}"#)).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut text = Vec::new();
        let outcome = loop {
            match soon(http_body_util::BodyExt::frame(response.body_mut())).await {
                Some(Ok(frame)) => text.extend_from_slice(&frame.into_data().unwrap()),
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        assert!(outcome.is_err(), "a cut answer must not look whole");
        assert_eq!(String::from_utf8(text).unwrap().matches("data: ").count(), 3);
    }
    closed(&serving, 2).await;
}

#[tokio::test]
async fn an_unreachable_upstream_is_a_502_that_passes_the_module() {
    // A port that was free just now.
    let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let target = Target::parse(&format!("http://{addr}")).unwrap();
    let serving = Serving::with(&recorder(), PASS, Choices { target: Some(target), ..Choices::default() });
    for mut client in Client::both(serving.addr()).await {
        let response =
            client.send(client.request("POST", "/any").body(whole("body")).unwrap()).await.unwrap();
        assert_eq!(response.status(), 502);
        drop(rest(response.into_body()).await);
    }
    closed(&serving, 2).await;
    assert_eq!(serving.count("response_headers"), 2);
    assert!(serving.lines.all().iter().all(|line| line["status"] == 502));
}

#[tokio::test]
async fn a_rejection_by_the_head_is_readable_while_the_body_is_being_sent() {
    let serving = Serving::new(&recorder(), "rccccccccccc");
    for mut client in Client::both(serving.addr()).await {
        let (mut sender, body) = growing();
        let request = client.request("POST", "/any").body(body).unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 403);
        assert_eq!(rest(response.into_body()).await, b"no");
        // A client that continues to write does not get a broken connection at once.
        let _ = sender.send_data("late".into()).await;
    }
    closed(&serving, 2).await;
}

#[tokio::test]
async fn a_rejection_in_the_middle_of_a_body_is_sent_to_the_client() {
    // The head is forwarded, the body is rejected: the upstream has an incomplete request.
    let serving = Serving::new(&recorder(), "crcccccccccc");
    for mut client in Client::both(serving.addr()).await {
        let (mut sender, body) = growing();
        let request = client.request("POST", "/any").body(body).unwrap();
        let (response, ()) = tokio::join!(client.send(request), async {
            sender.send_data("body".into()).await.unwrap();
        });
        assert_eq!(response.unwrap().status(), 403);
    }
    closed(&serving, 2).await;
    assert!(serving.upstream.recording().requests().iter().all(|request| !request.complete));
}

#[tokio::test]
async fn a_trap_is_a_503_and_the_vm_starts_again() {
    let serving = Serving::new(&recorder(), PASS);
    let mut client = Client::http1(serving.addr()).await;
    serving.server.process().faults().inject(Some(HostCall::Log), When::Next(1), Effect::Trap);
    let request = client.request("GET", "/any").body(whole("")).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 503);
    drop(rest(response.into_body()).await);
    let starts = serving.count("vm_start");
    let request = client.request("GET", "/any").body(whole("")).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    assert_eq!(serving.count("vm_start"), starts + 1);
    eventually("a line for each", || serving.lines.all().len() == 2).await;
    assert_eq!(serving.lines.all()[0]["details"], "filter_trapped");
}

#[tokio::test]
async fn a_trap_cuts_the_other_streams_of_its_worker() {
    let serving = Serving::new(&recorder(), PASS);
    let mut streaming = Client::http1(serving.addr()).await;
    let request = streaming.request("POST", "/v1/messages").header("x-simulate", "tokens=500, chunk-ms=10");
    let mut response = streaming.send(request.body(whole(r#"{"stream":true}"#)).unwrap()).await.unwrap();
    assert!(!piece(response.body_mut()).await.is_empty());
    serving.server.process().faults().inject(Some(HostCall::Log), When::Next(1), Effect::Trap);
    let cut = loop {
        match soon(http_body_util::BodyExt::frame(response.body_mut())).await {
            Some(Ok(_)) => {}
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(cut);
    let mut client = Client::http1(serving.addr()).await;
    let request = client.request("GET", "/any").body(whole("")).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_shutdown_lets_responses_end_and_cuts_longer_ones() {
    for (drain, whole_answer) in [(Duration::from_secs(20), true), (Duration::ZERO, false)] {
        let serving = Serving::with(&recorder(), PASS, Choices { drain, ..Choices::default() });
        let mut client = Client::http1(serving.addr()).await;
        let request = client.request("POST", "/v1/messages").header("x-simulate", "tokens=20, chunk-ms=10");
        let mut response = client.send(request.body(whole(r#"{"stream":true}"#)).unwrap()).await.unwrap();
        assert!(!piece(response.body_mut()).await.is_empty());
        let Serving { server, lines, upstream: _upstream, .. } = serving;
        let stopping = tokio::task::spawn_blocking(move || server.shutdown());
        let outcome = soon(http_body_util::BodyExt::collect(response.into_body())).await;
        assert_eq!(outcome.is_ok(), whole_answer);
        soon(stopping).await.unwrap();
        let expected = if whole_answer { "via_upstream" } else { "downstream_local_disconnect(drain)" };
        assert_eq!(lines.all().remove(0)["details"], expected);
    }
}

#[tokio::test]
async fn invalid_http_ends_only_its_connection() {
    let serving = Serving::new(&recorder(), PASS);
    let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
    stream.write_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
    let mut client = Client::http1(serving.addr()).await;
    let request = client.request("GET", "/any").body(whole("")).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
}
