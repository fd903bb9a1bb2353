//! A client for HTTP/2 without TLS, with trailers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Channel};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::client::Response;
use crate::wire::{Body, Headers};

/// The time limit for a response.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request whose body is sent in these data frames.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// `POST`
    pub method: &'a str,
    /// `/v1/chat/completions`
    pub path: &'a str,
    /// The header fields, in order.
    pub headers: &'a [(&'a str, &'a str)],
    /// The data frames.
    pub body: &'a [&'a [u8]],
    /// The trailers; without any the body ends the request.
    pub trailers: &'a [(&'a str, &'a str)],
}

/// Sends these requests one after the other over one connection.
///
/// # Panics
///
/// If one has no response.
pub fn requests(address: SocketAddr, requests: &[Request<'_>]) -> Vec<Response> {
    let rounds: Vec<_> = requests.iter().map(std::slice::from_ref).collect();
    rounds_of(address, &rounds)
}

/// Sends these requests at the same time over one connection. Returns their responses in the same order.
///
/// # Panics
///
/// If one has no response.
pub fn together(address: SocketAddr, requests: &[Request<'_>]) -> Vec<Response> {
    rounds_of(address, &[requests])
}

fn rounds_of(address: SocketAddr, rounds: &[&[Request<'_>]]) -> Vec<Response> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
    let all = async { tokio::time::timeout(PATIENCE, exchange(address, rounds)).await };
    match runtime.block_on(all) {
        Ok(Ok(responses)) => responses,
        Ok(Err(error)) => panic!("{address}: {error:?}"),
        Err(_) => panic!("{address}: no answer in {PATIENCE:?}"),
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Sender = http2::SendRequest<Receiver>;
type Receiver = Channel<Bytes, Infallible>;

async fn exchange(address: SocketAddr, rounds: &[&[Request<'_>]]) -> Result<Vec<Response>, Failure> {
    let stream = TcpStream::connect(address).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut responses = Vec::new();
    for round in rounds {
        let sent: Result<Vec<_>, Failure> =
            round.iter().map(|request| Ok(tokio::spawn(send(sender.clone(), Owned::of(request)?)))).collect();
        for answer in sent? {
            responses.push(answer.await??);
        }
    }
    Ok(responses)
}

/// A request that does not borrow.
struct Owned {
    head: hyper::http::request::Builder,
    body: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Owned {
    fn of(request: &Request<'_>) -> Result<Self, Failure> {
        let mut head = hyper::Request::builder()
            .method(request.method)
            .uri(format!("http://gateway.test{}", request.path));
        for (name, value) in request.headers {
            head = head.header(*name, *value);
        }
        let trailers = (!request.trailers.is_empty()).then(|| fields(request.trailers)).transpose()?;
        let body = request.body.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
        Ok(Self { head, body, trailers })
    }
}

async fn send(mut sender: Sender, request: Owned) -> Result<Response, Failure> {
    let (mut body, receiver) = Receiver::new(1);
    let answer = sender.send_request(request.head.body(receiver)?);
    let sent = async {
        for piece in request.body {
            // A gateway may reject before it has read the body.
            if body.send_data(piece).await.is_err() {
                return;
            }
        }
        if let Some(trailers) = request.trailers {
            let _ = body.send(Frame::trailers(trailers)).await;
        }
        drop(body);
    };
    let (answer, ()) = tokio::join!(answer, sent);
    let (head, body) = answer?.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().map(read).unwrap_or_default();
    let data = body.to_bytes().to_vec();
    let body = Body { raw: data.clone(), data, trailers };
    Ok(Response { status: head.status.as_u16(), headers: read(&head.headers), body })
}

fn fields(list: &[(&str, &str)]) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::new();
    for (name, value) in list {
        map.append(HeaderName::try_from(*name)?, HeaderValue::try_from(*value)?);
    }
    Ok(map)
}

fn read(map: &HeaderMap) -> Headers {
    Headers(map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect())
}
