//! A client that sends what it is told, byte for byte, over connections that it keeps.

use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::wire::{Body, Framing, Headers, Reader, response_head};

/// No answer takes longer, in these tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection; where the other end announces that it closes it, the next request begins another.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    closing: bool,
    stream: TcpStream,
    reader: Reader<TcpStream>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// `200`
    pub status: u16,
    /// Its fields.
    pub headers: Headers,
    /// Its body.
    pub body: Body,
}

impl Response {
    /// The body's text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body.data).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body.data).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// A request that is put together as bytes, so that nothing corrects it on its way.
#[derive(Clone, Debug)]
pub struct Request {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Request {
    /// `GET /v1/models`; nothing but a `host` is added to it.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            head: format!("{method} {path} HTTP/1.1\r\nhost: gateway.test\r\n").into_bytes(),
            body: Vec::new(),
        }
    }

    /// A JSON body for this path, with its length.
    pub fn json(path: &str, body: &Value) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body.to_string())
    }

    /// One more field, in whatever spelling.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.head.extend_from_slice(name.as_bytes());
        self.head.extend_from_slice(b": ");
        self.head.extend_from_slice(value.as_ref());
        self.head.extend_from_slice(b"\r\n");
        self
    }

    /// `authorization: Bearer KEY`
    #[must_use]
    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", format!("Bearer {key}"))
    }

    /// This body, with its length.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let mut request = self.header("content-length", body.len().to_string());
        request.body = body;
        request
    }

    /// This body in chunks, and trailers after it.
    #[must_use]
    pub fn chunked(self, chunks: &[&[u8]], trailers: &[(&str, &str)]) -> Self {
        let mut request = self.header("transfer-encoding", "chunked");
        for chunk in chunks {
            request.body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.body.extend_from_slice(chunk);
            request.body.extend_from_slice(b"\r\n");
        }
        request.body.extend_from_slice(b"0\r\n");
        for (name, value) in trailers {
            request.body.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        request.body.extend_from_slice(b"\r\n");
        request
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), b"\r\n", &self.body].concat()
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If nobody listens there.
    pub fn open(address: SocketAddr) -> Self {
        let connect = || -> io::Result<Self> {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            let reader = Reader::new(stream.try_clone()?);
            Ok(Self { address, closing: false, stream, reader })
        };
        connect().unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.closing {
            *self = Self::open(self.address);
        }
        self.stream.write_all(bytes)
    }

    /// Sends a request and waits for its answer.
    pub fn try_request(&mut self, request: &Request) -> io::Result<Response> {
        self.send(&request.bytes())?;
        self.response()
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn request(&mut self, request: &Request) -> Response {
        self.try_request(request)
            .unwrap_or_else(|error| panic!("{error} after {}", request.head.escape_ascii()))
    }

    /// Sends a request that may be answered before it is whole: what cannot be sent any more does not matter.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn request_while_sending(&mut self, request: &Request) -> Response {
        let mut writer = self.stream.try_clone().unwrap_or_else(|error| panic!("{error}"));
        let bytes = request.bytes();
        thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&bytes));
            let response = self.response();
            // Ends a writer that nobody reads from.
            let _ = self.stream.shutdown(Shutdown::Both);
            response.unwrap_or_else(|error| panic!("{error} after {}", request.head.escape_ascii()))
        })
    }

    /// The next final answer.
    pub fn response(&mut self) -> io::Result<Response> {
        let (status, headers) = self.response_head()?;
        let body = match status {
            204 | 304 => Body::default(),
            _ => self.body(&headers)?,
        };
        Ok(Response { status, headers, body })
    }

    /// The body that these fields announce.
    pub fn body(&mut self, headers: &Headers) -> io::Result<Body> {
        self.reader.body(headers.framing(Framing::Close))
    }

    /// Status and fields of the next final answer; its body is left to be read.
    pub fn response_head(&mut self) -> io::Result<(u16, Headers)> {
        loop {
            let Some(head) = self.reader.head()? else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
            };
            let (status, headers) = response_head(&head);
            // 1xx are announcements; 101 is the end of HTTP on this connection.
            if status >= 200 || status == 101 {
                self.closing =
                    headers.get("connection").is_some_and(|option| option.eq_ignore_ascii_case("close"));
                return Ok((status, headers));
            }
        }
    }

    /// The next bytes, as they come; none at the end of the connection.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        self.reader.some()
    }

    /// Leaves without a word.
    pub fn leave(self) {
        // The other end may have left before.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// One request on a connection of its own.
///
/// # Panics
///
/// If there is no answer.
pub fn request(address: SocketAddr, request: &Request) -> Response {
    Connection::open(address).request(request)
}

/// Ends a load of requests when it goes, also where an assertion fails: whoever sends them looks at the flag.
pub struct Ended<'d>(pub &'d AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
