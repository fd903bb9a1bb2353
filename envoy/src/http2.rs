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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
    let all = async { tokio::time::timeout(PATIENCE, exchange(address, requests)).await };
    match runtime.block_on(all) {
        Ok(Ok(responses)) => responses,
        Ok(Err(error)) => panic!("{address}: {error:?}"),
        Err(_) => panic!("{address}: no answer in {PATIENCE:?}"),
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(address: SocketAddr, requests: &[Request<'_>]) -> Result<Vec<Response>, Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut responses = Vec::with_capacity(requests.len());
    for request in requests {
        let mut head = hyper::Request::builder()
            .method(request.method)
            .uri(format!("http://gateway.test{}", request.path));
        for (name, value) in request.headers {
            head = head.header(*name, *value);
        }
        let (mut body, receiver) = Channel::<Bytes, Infallible>::new(1);
        let answer = sender.send_request(head.body(receiver)?);
        let sent = async {
            for piece in request.body {
                // A gateway may reject before it has read the body.
                if body.send_data(Bytes::copy_from_slice(piece)).await.is_err() {
                    return Ok(());
                }
            }
            if !request.trailers.is_empty() {
                let _ = body.send(Frame::trailers(fields(request.trailers)?)).await;
            }
            drop(body);
            Ok::<_, Failure>(())
        };
        let (answer, sent) = tokio::join!(answer, sent);
        sent?;
        let (head, body) = answer?.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().map(read).unwrap_or_default();
        let data = body.to_bytes().to_vec();
        let body = Body { raw: data.clone(), data, trailers };
        responses.push(Response { status: head.status.as_u16(), headers: read(&head.headers), body });
    }
    Ok(responses)
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
