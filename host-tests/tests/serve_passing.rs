//! Passing through the server: bodies in chunks, trailers, upgrades, heads without hop-by-hop fields.

mod modules;
mod serving;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use modules::recorder;
use serving::{Choices, Client, Serving, eventually, growing, piece, rest, simulate, soon, whole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate_host::server::Target;

/// The recorder's script for a filter that lets everything pass.
const PASS: &str = "cccccccccccc";

#[tokio::test]
async fn bodies_are_streamed_in_both_directions() {
    for h2c in [false, true] {
        let serving = Serving::with(&recorder(), PASS, Choices { h2c, ..Choices::default() });
        for mut client in Client::both(serving.addr()).await {
            let (mut sender, body) = growing();
            let request = client.request("POST", "/any").header("x-simulate", "mirror").body(body).unwrap();
            // Only streaming lets a response begin before its request has ended.
            let mut response = client.send(request).await.unwrap();
            for word in ["one", "two", "three"] {
                sender.send_data(word.into()).await.unwrap();
                assert_eq!(piece(response.body_mut()).await, word.as_bytes());
            }
            drop(sender);
            assert!(rest(response.into_body()).await.is_empty());
        }
        assert_eq!(serving.count("request_body"), 2 * 4);
        eventually("both streams are closed", || serving.count("delete") == 2).await;
    }
}

#[tokio::test]
async fn large_bodies_are_complete() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    for h2c in [false, true] {
        let serving = Serving::with(&recorder(), PASS, Choices { h2c, ..Choices::default() });
        for mut client in Client::both(serving.addr()).await {
            let request = client.request("POST", "/any").header("x-simulate", "mirror");
            let response = client.send(request.body(whole(body.clone())).unwrap()).await.unwrap();
            assert!(rest(response.into_body()).await == body);
        }
    }
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    for h2c in [false, true] {
        let serving = Serving::with(&recorder(), PASS, Choices { h2c, ..Choices::default() });
        for mut client in Client::both(serving.addr()).await {
            let (mut sender, body) = growing();
            let request = client.request("POST", "/any").header("x-simulate", "mirror");
            let request =
                request.header("te", "trailers").header("trailer", "x-checksum").body(body).unwrap();
            let response = client.send(request);
            let (response, ()) = tokio::join!(response, async {
                sender.send_data("body".into()).await.unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("x-checksum", HeaderValue::from_static("7"));
                sender.send_trailers(trailers).await.unwrap();
            });
            let collected =
                soon(http_body_util::BodyExt::collect(response.unwrap().into_body())).await.unwrap();
            assert_eq!(collected.trailers().unwrap()["x-checksum"], "7");
            assert_eq!(collected.to_bytes(), "body");
        }
        assert_eq!((serving.count("request_trailers"), serving.count("response_trailers")), (2, 2));
        for request in serving.upstream.recording().requests() {
            assert_eq!(request.trailers.unwrap()["x-checksum"], "7");
        }
    }
}

#[tokio::test]
async fn nothing_of_a_held_request_is_sent() {
    // Headers, body and trailers pause until the stream's end.
    let serving = Serving::new(&recorder(), "PPPccccccccc");
    for mut client in Client::both(serving.addr()).await {
        let before = serving.count("request_body");
        let connections = serving.upstream.recording().connections();
        let (mut sender, body) = growing();
        let request = client.request("POST", "/v1/chat/completions").body(body).unwrap();
        let (response, ()) = tokio::join!(client.send(request), async {
            sender.send_data(r#"{"model":"#.into()).await.unwrap();
            eventually("the module sees the first piece", || serving.count("request_body") > before).await;
            assert_eq!(serving.upstream.recording().connections(), connections);
            sender.send_data(r#""m"}"#.into()).await.unwrap();
            drop(sender);
        });
        assert_eq!(response.unwrap().status(), 200);
    }
    let requests = serving.upstream.recording().requests();
    assert!(requests.iter().all(|request| request.body == br#"{"model":"m"}"#));
}

#[tokio::test]
async fn the_upstream_sees_no_connection_header_and_its_own_credential() {
    let folder = std::env::temp_dir().join(format!("tollgate-headers-{}", std::process::id()));
    std::fs::write(&folder, "# ours\n\nauthorization: Bearer upstream-secret\nx-extra:1\n").unwrap();
    let upstream = tollgate_host::simulator::Upstream::start_recording().unwrap();
    let target =
        Target::parse(&format!("{}/prefix", upstream.url())).unwrap().with_header_file(&folder).unwrap();
    std::fs::remove_file(&folder).unwrap();
    let serving = Serving::with(&recorder(), PASS, Choices { target: Some(target), ..Choices::default() });
    let mut client = Client::http1(serving.addr()).await;
    let request = client
        .request("POST", "/v1//x?key=secret-in-query")
        .header("authorization", "Bearer client-secret")
        .header("connection", "x-hop, keep-alive")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("x-latin", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    let response = client.send(request.body(whole("hello")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(rest(response.into_body()).await);

    let arrived = upstream.recording().requests().remove(0);
    assert_eq!(arrived.path, "/prefix/v1//x?key=secret-in-query");
    assert_eq!(arrived.header("authorization"), [b"Bearer upstream-secret"]);
    assert_eq!(arrived.header("x-extra"), [b"1"]);
    assert_eq!(arrived.header("x-latin"), [b"caf\xe9"]);
    assert_eq!(arrived.header("host"), [upstream.addr().to_string().as_bytes()]);
    for name in ["connection", "x-hop", "keep-alive", "transfer-encoding"] {
        assert!(arrived.header(name).is_empty(), "{name}");
    }
    eventually("its line", || serving.lines.all().len() == 1).await;
    let line = serving.lines.all().remove(0).to_string();
    assert!(!line.contains("secret"), "{line}");
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_that_the_module_sees() {
    let serving = Serving::new(&recorder(), PASS);
    let mut client = Client::http1(serving.addr()).await;
    let request =
        client.request("GET", "/realtime").header("connection", "Upgrade").header("upgrade", "websocket");
    let response = client.send(request.body(whole("")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "websocket");
    let mut tunnel = TokioIo::new(soon(hyper::upgrade::on(response)).await.unwrap());
    for word in [b"ping", b"pong"] {
        tunnel.write_all(word).await.unwrap();
        let mut back = [0; 4];
        soon(tunnel.read_exact(&mut back)).await.unwrap();
        assert_eq!(&back, word);
    }
    tunnel.shutdown().await.unwrap();
    let mut nothing = Vec::new();
    soon(tunnel.read_to_end(&mut nothing)).await.unwrap();
    eventually("the stream is closed", || serving.count("delete") == 1).await;
    assert_eq!((serving.count("request_body"), serving.count("response_body")), (3, 3));
    eventually("its line", || serving.lines.all().len() == 1).await;
    assert_eq!(serving.lines.all().remove(0)["status"], 101);
}

#[tokio::test]
async fn an_offer_of_another_version_of_http_is_ignored() {
    let serving = Serving::new(&recorder(), PASS);
    for offer in ["h2c", "TLS/1.2", "websocket, HTTP/2.0"] {
        for (method, body) in [("DELETE", ""), ("POST", "body")] {
            let mut client = Client::http1(serving.addr()).await;
            let request =
                client.request(method, "/any").header("connection", "Upgrade").header("upgrade", offer);
            let response = soon(client.send(request.body(whole(body)).unwrap())).await.unwrap();
            assert_eq!(response.status(), 200, "{method} {offer}");
            let arrived = serving.upstream.recording().requests().pop().unwrap();
            assert_eq!(
                (arrived.complete, arrived.body.as_ref()),
                (true, body.as_bytes()),
                "{method} {offer}"
            );
        }
    }
}

#[tokio::test]
async fn an_upgrade_with_a_body_is_rejected() {
    for pass in [PASS, "rccccccccccc"] {
        let serving = Serving::new(&recorder(), pass);
        let mut client = Client::http1(serving.addr()).await;
        let request = client
            .request("POST", "/realtime")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket");
        let response =
            client.send(request.body(whole("GET /admin HTTP/1.1\r\n\r\n")).unwrap()).await.unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(serving.upstream.recording().connections(), 0);
    }
}

#[tokio::test]
async fn a_rejected_upgrade_is_not_forwarded() {
    let serving = Serving::new(&recorder(), "rccccccccccc");
    let mut client = Client::http1(serving.addr()).await;
    let request =
        client.request("GET", "/realtime").header("connection", "Upgrade").header("upgrade", "websocket");
    let response = client.send(request.body(whole("")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(serving.upstream.recording().connections(), 0);
}

#[tokio::test]
async fn a_body_longer_than_its_length_is_not_sent() {
    // The filter appends to the request's body and leaves `content-length` unchanged.
    let serving = Serving::new(&recorder(), "PPPcccaccccc".replacen("PPP", "PaP", 1).as_str());
    for mut client in Client::both(serving.addr()).await {
        let request =
            client.request("POST", "/any").header("content-length", "4").body(whole("body")).unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 502);
    }
    let requests = serving.upstream.recording().requests();
    assert!(requests.iter().all(|request| !request.complete), "{requests:?}");
}

#[tokio::test]
async fn a_response_longer_than_its_length_is_cut() {
    // The filter appends to each chunk of the response's body.
    let serving = Serving::new(&recorder(), "ccccaccccccc");
    for mut client in Client::both(serving.addr()).await {
        let request = client.request("GET", "/any").body(whole("")).unwrap();
        let outcome = match client.send(request).await {
            Ok(response) => soon(http_body_util::BodyExt::collect(response.into_body())).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(outcome.is_err());
        // A stream announces no length, and may grow.
        let mut client = Client::http2(serving.addr()).await;
        let request = client.request("POST", "/v1/chat/completions").header("x-simulate", "tokens=1");
        let response = client.send(request.body(whole(r#"{"stream":true}"#)).unwrap()).await.unwrap();
        let text = String::from_utf8(rest(response.into_body()).await).unwrap();
        assert!(text.contains("[DONE]\n\n+tail"), "{text}");
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_their_length() {
    let serving = Serving::new(&recorder(), PASS);
    for mut client in Client::both(serving.addr()).await {
        let request = client.request("HEAD", "/v1/models").body(whole("")).unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let length: u64 = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
        assert!(length > 0);
        assert!(rest(response.into_body()).await.is_empty());
    }
}

#[tokio::test]
async fn two_hosts_and_connect_are_rejected() {
    let serving = Serving::new(&recorder(), PASS);
    let mut client = Client::http1(serving.addr()).await;
    let request = client.request("GET", "/any").header("host", "other").body(whole("")).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 400);
    let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
    stream.write_all(b"CONNECT other:443 HTTP/1.1\r\nhost: other:443\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    soon(stream.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 501");
    assert_eq!(serving.upstream.recording().connections(), 0);
}

#[tokio::test]
async fn the_module_s_properties_are_in_the_log_line() {
    // It sets the property `team` in `on_log`; the server's own names have the prefix `tollgate.`.
    let serving = Serving::new(&recorder(), "ccccccsccccc");
    let mut client = Client::http2(serving.addr()).await;
    let request =
        client.request("POST", "/any").header(HeaderName::from_static("x-simulate"), simulate("status=418"));
    let response = client.send(request.body(whole("")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 418);
    drop(rest(response.into_body()).await);
    eventually("its line", || serving.lines.all().len() == 1).await;
    let line = serving.lines.all().remove(0);
    assert_eq!(
        (&line["status"], &line["method"], &line["path"]),
        (&418.into(), &"POST".into(), &"/any".into())
    );
    assert!(line["team"].is_null(), "another filter's property is not ours");
}
