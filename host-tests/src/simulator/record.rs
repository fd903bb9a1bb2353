//! The requests that the upstream received, for tests.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::HeaderMap;
use hyper::http::Version;
use hyper::http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// Its method.
    pub method: String,
    /// Path and query, as received.
    pub path: String,
    /// All header fields.
    pub headers: HeaderMap,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: Option<HeaderMap>,
    /// True if the body was complete.
    pub complete: bool,
}

/// Everything received since the start.
#[derive(Debug, Default)]
pub struct Recording {
    requests: Mutex<Vec<Recorded>>,
    wires: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
}

impl Recorded {
    pub(super) fn new(connection: usize, head: &Parts) -> Recorded {
        Recorded {
            connection,
            version: head.version,
            method: head.method.to_string(),
            path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: head.headers.clone(),
            body: Vec::new(),
            trailers: None,
            complete: false,
        }
    }

    /// Returns all values of a header, in order.
    pub fn header(&self, name: &str) -> Vec<&[u8]> {
        self.headers.get_all(name).iter().map(hyper::header::HeaderValue::as_bytes).collect()
    }
}

impl Recording {
    /// Returns the requests whose bodies have ended or broken off, in the order of their ends.
    pub fn requests(&self) -> Vec<Recorded> {
        locked(&self.requests).clone()
    }

    /// Returns every byte received on a connection so far, framing included.
    pub fn wire(&self, connection: usize) -> Vec<u8> {
        locked(&self.wires).get(connection).map(|wire| locked(wire).clone()).unwrap_or_default()
    }

    /// Returns the number of accepted connections.
    pub fn connections(&self) -> usize {
        locked(&self.wires).len()
    }

    pub(super) fn push(&self, request: Recorded) {
        locked(&self.requests).push(request);
    }

    pub(super) fn tap(&self, stream: TcpStream) -> (usize, Tapped) {
        let wire = Arc::<Mutex<Vec<u8>>>::default();
        let mut wires = locked(&self.wires);
        wires.push(Arc::clone(&wire));
        (wires.len() - 1, Tapped { stream, wire: Some(wire) })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that records the bytes it reads.
pub(super) struct Tapped {
    stream: TcpStream,
    wire: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Tapped {
    /// Creates a connection without a recording.
    pub(super) fn untapped(stream: TcpStream) -> Tapped {
        Tapped { stream, wire: None }
    }
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if let Some(wire) = &self.wire {
            locked(wire).extend_from_slice(into.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
