//! The limits of the server towards its clients: times, connections, requests, and bytes in flight.

mod modules;
mod serving;

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use modules::recorder;
use serving::{Choices, Client, Serving, eventually, growing, piece, rest, soon, status, whole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate_host::server::{Limits, Target};

const PASS: &str = "cccccccccccc";
/// Holds a request until its end.
const HOLD: &str = "PPPccccccccc";
const SHORT: Duration = Duration::from_millis(300);
/// The pause between the bytes of a slow client.
const SLOW: Duration = Duration::from_millis(20);

fn serving(script: &str, limits: Limits) -> Serving {
    Serving::with(&recorder(), script, Choices { limits, ..Choices::default() })
}

/// Sends `first`, then `more` again and again, and returns what the server sends until it closes.
async fn dribble(serving: &Serving, first: &[u8], more: &'static [u8]) -> String {
    let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
    stream.write_all(first).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let writing = tokio::spawn(async move {
        while !more.is_empty() && to.write_all(more).await.is_ok() {
            tokio::time::sleep(SLOW).await;
        }
        std::future::pending::<()>().await;
    });
    let mut answer = Vec::new();
    // The close of a socket with unread bytes is a reset.
    let _ = soon(from.read_to_end(&mut answer)).await;
    writing.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Returns the details of the line of each request so far.
fn details(serving: &Serving) -> Vec<String> {
    serving.lines.all().iter().map(|line| line["details"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_cut_however_its_bytes_arrive() {
    let limits = Limits { head: SHORT, keep_alive: 2 * SHORT, ..Limits::default() };
    let serving = serving(PASS, limits);
    let one = b"GET /any HTTP/1.1\r\nhost: a\r\n\r\n";
    let second = [one.as_slice(), b"GET"].concat();
    let cases: [(&[u8], &'static [u8]); 8] = [
        (b"", b""),
        (b"G", b""),
        (b"GET /any HTTP/1.1\r\nhost: a\r\nx-long: ", b"a"),
        (b"GET /any HTTP/1.1\r\nhost: a\r\n", b"x: y\r\n"),
        (b"\r\n", b"\r\n"),
        (b"PRI * HTTP", b""),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", b"\0\0\x08\x06\0\0\0\0\0pingpong"),
        (&second, b"a"),
    ];
    for (first, more) in cases {
        let begun = Instant::now();
        let answer = dribble(&serving, first, more).await;
        let name = String::from_utf8_lossy(first);
        assert!(begun.elapsed() >= SHORT - SLOW, "{name}: {answer}");
        assert_eq!(answer.contains("HTTP/1.1 200"), first == second, "{name}: {answer}");
    }
    assert_eq!(status(&mut Client::http1(serving.addr()).await).await, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_with_a_running_stream_stays() {
    let times = Limits { head: SHORT, body: SHORT, request: SHORT, keep_alive: SHORT, ..Limits::default() };
    let serving = serving(PASS, Limits { stream: Duration::from_secs(10), ..times });
    for http2 in [false, true] {
        let addr = serving.addr();
        let mut client = if http2 { Client::http2(addr).await } else { Client::http1(addr).await };
        let begun = Instant::now();
        let request = client.request("POST", "/v1/messages").header("x-simulate", "tokens=60, chunk-ms=20");
        let response = client.send(request.body(whole(r#"{"stream":true}"#)).unwrap()).await.unwrap();
        assert!(!rest(response.into_body()).await.is_empty());
        assert!(begun.elapsed() > 3 * SHORT);
        assert_eq!(status(&mut client).await, 200);
        tokio::time::sleep(4 * SHORT).await;
        let request = client.request("GET", "/any").body(whole("")).unwrap();
        assert!(client.send(request).await.is_err());
    }
    assert!(details(&serving).iter().all(|details| details == "via_upstream"));
}

#[tokio::test]
async fn a_slow_body_gets_408_and_reaches_no_upstream() {
    for (body, request, more) in
        [(SHORT, Duration::from_secs(60), b"".as_slice()), (Duration::from_secs(60), SHORT, b"a")]
    {
        let serving = serving(HOLD, Limits { body, request, ..Limits::default() });
        for head in ["content-length: 5000", "transfer-encoding: chunked"] {
            let first = format!("POST /any HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n1\r\n");
            // Chunks of one byte, or bytes of a body.
            let more = if more.is_empty() {
                more
            } else if head.contains("chunked") {
                b"a\r\n1\r\n".as_slice()
            } else {
                b"a"
            };
            let answer = dribble(&serving, first.as_bytes(), more).await;
            assert!(answer.starts_with("HTTP/1.1 408"), "{head}: {answer}");
        }
        let mut client = Client::http2(serving.addr()).await;
        let (mut sender, body) = growing();
        let writing = tokio::spawn(async move {
            while sender.send_data("a".into()).await.is_ok() {
                tokio::time::sleep(if more.is_empty() { Duration::from_secs(60) } else { SLOW }).await;
            }
        });
        let response = client.send(client.request("POST", "/any").body(body).unwrap()).await.unwrap();
        assert_eq!(response.status(), 408);
        drop(rest(response.into_body()).await);
        writing.abort();
        eventually("the streams are closed", || serving.count("delete") == 3).await;
        eventually("their lines", || details(&serving) == ["request_timeout"; 3]).await;
        assert_eq!(serving.upstream.recording().connections(), 0);
        assert_eq!(status(&mut Client::http1(serving.addr()).await).await, 200);
    }
}

#[tokio::test]
async fn a_client_that_is_silent_while_it_receives_is_not_cut() {
    let serving = serving(PASS, Limits { body: SHORT, request: SHORT, ..Limits::default() });
    for mut client in Client::both(serving.addr()).await {
        let (mut sender, body) = growing();
        let request = client.request("POST", "/any").header("x-simulate", "mirror").body(body).unwrap();
        let mut response = client.send(request).await.unwrap();
        sender.send_data("before".into()).await.unwrap();
        assert_eq!(piece(response.body_mut()).await, b"before");
        tokio::time::sleep(2 * SHORT).await;
        sender.send_data("after".into()).await.unwrap();
        assert_eq!(piece(response.body_mut()).await, b"after");
        drop(sender);
        assert!(rest(response.into_body()).await.is_empty());
    }
    eventually("their lines", || details(&serving) == ["via_upstream"; 2]).await;
}

#[tokio::test]
async fn a_slow_body_that_is_being_forwarded_gets_408() {
    let serving = serving(PASS, Limits { body: SHORT, ..Limits::default() });
    let head = b"POST /any HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\nhalf";
    let answer = dribble(&serving, head, b"").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    eventually("it is closed", || serving.count("delete") == 1).await;
    assert!(serving.upstream.recording().requests().iter().all(|request| !request.complete));
}

#[tokio::test]
async fn a_silent_upstream_ends_the_stream() {
    let serving = serving(PASS, Limits { stream: SHORT, ..Limits::default() });
    for mut client in Client::both(serving.addr()).await {
        let request = client.request("POST", "/v1/messages").header("x-simulate", "tokens=9, chunk-ms=15000");
        let mut response = client.send(request.body(whole(r#"{"stream":true}"#)).unwrap()).await.unwrap();
        let cut = loop {
            match soon(response.body_mut().frame()).await {
                Some(Ok(_)) => {}
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        assert!(cut, "a cut answer must not look whole");
    }
    eventually("the streams are closed", || serving.count("delete") == 2).await;
    assert_eq!(details(&serving), ["stream_idle_timeout"; 2]);
    for mut client in Client::both(serving.addr()).await {
        let request = client.request("POST", "/any").header("x-simulate", "delay-ms=15000");
        assert_eq!(client.send(request.body(whole("")).unwrap()).await.unwrap().status(), 504);
    }
}

/// Starts an upstream that answers POST with an endless body.
async fn endless() -> Target {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let read = stream.read(&mut head).await.unwrap_or_default();
                if !head.starts_with(b"POST") || read == 0 {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                        .await;
                    return;
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
                while stream.write_all(&[b'a'; 16 << 10]).await.is_ok() {}
            });
        }
    });
    target
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_stream_only() {
    let limits = Limits { stream: SHORT, ..Limits::default() };
    let choices = Choices { limits, target: Some(endless().await), ..Choices::default() };
    let serving = Serving::with(&recorder(), PASS, choices);
    let mut client = Client::http2(serving.addr()).await;
    let request = client.request("POST", "/any").body(whole("")).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    eventually("it is closed", || details(&serving) == ["stream_idle_timeout"]).await;
    assert_eq!(status(&mut client).await, 200, "the connection's other streams go on");
    drop(response);

    let mut client = Client::http1(serving.addr()).await;
    let request = client.request("POST", "/any").body(whole("")).unwrap();
    let response = client.send(request).await.unwrap();
    let expected = ["stream_idle_timeout", "via_upstream", "stream_idle_timeout"];
    eventually("it is closed", || details(&serving) == expected).await;
    assert_eq!(serving.count("delete"), 3);
    drop(response);
}

#[tokio::test]
async fn an_idle_tunnel_is_closed_and_counts_as_a_connection() {
    let limits = Limits { stream: 2 * SHORT, keep_alive: SHORT, connections: 1, ..Limits::default() };
    let serving = serving(PASS, limits);
    let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
    stream
        .write_all(b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_buf(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert_eq!(status(&mut Client::http1(serving.addr()).await).await, 503);
    // Traffic keeps it open for longer than any limit.
    for _ in 0..6 {
        stream.write_all(b"ping").await.unwrap();
        assert_ne!(soon(stream.read(&mut [0; 64])).await.unwrap(), 0);
        tokio::time::sleep(SHORT / 2).await;
    }
    let _ = soon(stream.read_to_end(&mut Vec::new())).await;
    eventually("its line", || details(&serving).iter().any(|details| details == "stream_idle_timeout")).await;
    eventually("its place is free", || serving.count("delete") == 1).await;
    assert_eq!(status(&mut Client::http1(serving.addr()).await).await, 200);
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_an_idle_one() {
    let serving = serving(PASS, Limits { connections: 4, ..Limits::default() });
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::http1(serving.addr()).await;
        assert_eq!(status(&mut client).await, 200);
        clients.push(client);
    }
    assert_eq!(status(&mut Client::http2(serving.addr()).await).await, 200);
    let request = clients[0].request("GET", "/any").body(whole("")).unwrap();
    assert!(clients[0].send(request).await.is_err(), "the one that was idle for the longest time");
    assert_eq!(status(&mut clients[3]).await, 200);
}

#[tokio::test]
async fn thousands_of_idle_connections_shut_no_client_out() {
    let serving = serving(PASS, Limits { connections: 32, ..Limits::default() });
    let mut idle = Vec::new();
    for number in 0..2_000 {
        let Ok(mut stream) = TcpStream::connect(serving.addr()).await else { continue };
        if number % 2 == 0 {
            // The server may have closed it already.
            let _ = stream.write_all(b"GET /any HTTP/1.1\r\nhost:").await;
        }
        idle.push(stream);
        if number % 200 == 0 {
            assert_eq!(status(&mut Client::http1(serving.addr()).await).await, 200);
        }
    }
    assert_eq!(status(&mut Client::http2(serving.addr()).await).await, 200);
}

#[tokio::test]
async fn without_an_idle_connection_a_new_one_gets_503_and_a_time_to_return() {
    let serving = serving(PASS, Limits { connections: 2, ..Limits::default() });
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut client = Client::http1(serving.addr()).await;
        let request = client.request("POST", "/v1/messages").header("x-simulate", "tokens=900, chunk-ms=20");
        let mut response = client.send(request.body(whole(r#"{"stream":true}"#)).unwrap()).await.unwrap();
        assert!(!piece(response.body_mut()).await.is_empty());
        busy.push((client, response));
    }
    for mut client in Client::both(serving.addr()).await {
        let request = client.request("GET", "/any").body(whole("")).unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (503, &"1".parse().unwrap())
        );
        assert!(String::from_utf8(rest(response.into_body()).await).unwrap().contains("try again"));
    }
    assert_eq!(details(&serving), ["too_many_connections"; 2]);
    assert!(serving.lines.all().iter().all(|line| line["time"].is_number()));
    assert!(!piece(busy[0].1.body_mut()).await.is_empty());
    drop(busy.pop());
    eventually("one has ended", || serving.count("delete") == 1).await;
    tokio::time::sleep(SLOW).await;
    assert_eq!(status(&mut Client::http1(serving.addr()).await).await, 200);
}

#[tokio::test]
async fn held_bytes_are_bounded_over_all_requests_and_come_back() {
    let serving = serving(HOLD, Limits { held_bytes: 64 << 10, ..Limits::default() });
    for mut client in Client::both(serving.addr()).await {
        let mut holding = Client::http1(serving.addr()).await;
        let (mut sender, body) = growing();
        let request = holding.request("POST", "/any").body(body).unwrap();
        let (closed, seen) = (serving.count("delete"), serving.count("request_body"));
        let held = tokio::spawn(async move { holding.send(request).await.map(|response| response.status()) });
        sender.send_data(vec![b'a'; 40 << 10].into()).await.unwrap();
        eventually("it is held", || serving.count("request_body") > seen).await;
        let large = || whole(vec![b'b'; 32 << 10]);
        let response = client.send(client.request("POST", "/any").body(large()).unwrap()).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (503, &"1".parse().unwrap())
        );
        drop(rest(response.into_body()).await);
        drop(sender);
        assert_eq!(soon(held).await.unwrap().unwrap(), 200);
        eventually("both are closed", || serving.count("delete") == closed + 2).await;
        let mut client = Client::http1(serving.addr()).await;
        let response = client.send(client.request("POST", "/any").body(large()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        drop(rest(response.into_body()).await);
    }
    let refused = details(&serving).into_iter().filter(|details| details == "too_many_bytes_held");
    assert_eq!(refused.count(), 2);
}

#[tokio::test]
async fn running_requests_are_bounded_over_all_streams() {
    let serving = serving(PASS, Limits { requests: 4, ..Limits::default() });
    let Client::Http2(sender) = Client::http2(serving.addr()).await else { unreachable!() };
    let mut sent = Vec::new();
    for _ in 0..20 {
        let mut client = Client::Http2(sender.clone());
        let request = client.request("GET", "/any").header("x-simulate", "delay-ms=800");
        let request = request.body(whole("")).unwrap();
        sent.push(tokio::spawn(async move { client.send(request).await.unwrap().status().as_u16() }));
    }
    let mut statuses = Vec::new();
    for sent in sent {
        statuses.push(soon(sent).await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 4, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 16, "{statuses:?}");
    assert_eq!(status(&mut Client::Http2(sender)).await, 200);
}
