//! A server with a module and an upstream, and clients that see every frame.

#![allow(dead_code)] // Each test uses its own part.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::HeaderValue;
use hyper::http::request;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tollgate_host::proxy_wasm::{CapturedLog, Clock, Log, Module, Process};
use tollgate_host::server::console::Console;
use tollgate_host::server::lines::{Captured, Lines};
use tollgate_host::server::tls::Tls;
use tollgate_host::server::{BUFFER_LIMIT, Cluster, Limits, Options, Server, Target};
use tollgate_host::simulator::Upstream;

/// The time limit for any event.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub struct Serving {
    pub server: Server,
    pub upstream: Upstream,
    pub lines: Captured,
    pub log: CapturedLog,
}

/// The options of a test.
pub struct Choices {
    pub workers: usize,
    pub target: Option<Target>,
    /// Use HTTP/2 for the upstream.
    pub h2c: bool,
    pub drain: Duration,
    pub clock: Clock,
    pub clusters: Vec<(String, Cluster)>,
    pub limits: Limits,
    pub tls: Option<Arc<Tls>>,
    pub console: Option<Arc<Console>>,
}

impl Default for Choices {
    fn default() -> Choices {
        Choices {
            workers: 1,
            target: None,
            h2c: false,
            drain: Duration::from_secs(5),
            clock: Clock::system(),
            clusters: Vec::new(),
            limits: Limits::default(),
            tls: None,
            console: None,
        }
    }
}

impl Serving {
    pub fn new(module: &Module, configuration: &str) -> Serving {
        Serving::with(module, configuration, Choices::default())
    }

    pub fn with(module: &Module, configuration: &str, choices: Choices) -> Serving {
        let upstream = Upstream::start_recording().expect("loopback has ports");
        let url = if choices.h2c { format!("h2c://{}", upstream.addr()) } else { upstream.url() };
        let target = choices.target.unwrap_or_else(|| Target::parse(&url).expect("it is a URL"));
        let (sink, log) = Log::capture();
        let (lines, captured) = Lines::capture();
        let server = Server::start(Options {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            workers: choices.workers,
            process: Process::builder(module).log(sink).clock(choices.clock).buffer_limit(BUFFER_LIMIT),
            configuration: configuration.as_bytes().to_vec(),
            upstream: target,
            clusters: choices.clusters,
            lines,
            drain: choices.drain,
            limits: choices.limits,
            tls: choices.tls,
            console: choices.console,
        })
        .expect("the module takes its configuration");
        Serving { server, upstream, lines: captured, log }
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Returns the names of the callbacks so far, with their arguments: `request_body 5 0`.
    pub fn events(&self) -> Vec<String> {
        let serving = |line: &tollgate_host::proxy_wasm::LogLine| line.vm.is_some();
        self.log.lines().into_iter().filter(serving).map(|line| without_context(&line.text)).collect()
    }

    /// Returns the number of calls of a callback.
    pub fn count(&self, name: &str) -> usize {
        self.events().iter().filter(|event| event.split(' ').next() == Some(name)).count()
    }
}

fn without_context(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    if words.len() == 4 {
        words.remove(1);
    }
    words.join(" ")
}

/// Waits for a condition that another thread is about to fulfill.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Fails a test that would hang.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes in time")
}

pub type Body = BoxBody<Bytes, Infallible>;

/// One connection.
pub enum Client {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    pub async fn http1(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).await.expect("it listens");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection.with_upgrades());
        Client::Http1(sender)
    }

    pub async fn http2(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).await.expect("it listens");
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        Client::Http2(sender)
    }

    pub async fn both(addr: SocketAddr) -> [Client; 2] {
        [Client::http1(addr).await, Client::http2(addr).await]
    }

    /// Returns a request builder for a path, in the form of the HTTP version.
    pub fn request(&self, method: &str, path: &str) -> request::Builder {
        match self {
            Client::Http1(_) => Request::builder().method(method).uri(path).header("host", "gateway"),
            Client::Http2(_) => Request::builder().method(method).uri(format!("http://gateway{path}")),
        }
    }

    pub async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        soon(async {
            match self {
                Client::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Client::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await
    }
}

/// Returns the status of a response after reading its body.
pub async fn status(client: &mut Client) -> u16 {
    let request = client.request("GET", "/any").body(whole("")).unwrap();
    let response = client.send(request).await.unwrap();
    let status = response.status().as_u16();
    drop(rest(response.into_body()).await);
    status
}

/// Returns a complete body.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// Returns a body that is still being written.
pub fn growing() -> (Sender<Bytes, Infallible>, Body) {
    let (sender, body) = Channel::new(1);
    (sender, body.boxed())
}

/// Returns the next chunk of a body that is still being read.
pub async fn piece(body: &mut Incoming) -> Vec<u8> {
    let frame = soon(body.frame()).await.expect("there is more").expect("it is not cut");
    frame.into_data().expect("it is data").to_vec()
}

/// Returns the rest of a body.
pub async fn rest(body: Incoming) -> Vec<u8> {
    soon(body.collect()).await.expect("it is not cut").to_bytes().to_vec()
}

pub fn simulate(words: &str) -> HeaderValue {
    HeaderValue::from_str(words).expect("it is a header")
}
