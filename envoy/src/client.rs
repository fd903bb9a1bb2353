//! An HTTP client that sends requests byte for byte, over persistent connections.

use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::wire::{Body, Framing, Headers, Reader, response_head};

/// The time limit for a response.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection. After a response with `connection: close` the next request opens another one.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    closing: bool,
    stream: TcpStream,
    reader: Reader<TcpStream>,
}

/// A complete response.
#[derive(Clone, Debug)]
pub struct Response {
    /// `200`
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

impl Response {
    /// Returns the body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body.data).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body.data).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// A request as bytes, so that nothing corrects it.
#[derive(Clone, Debug)]
pub struct Request {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Request {
    /// Creates a request such as `GET /v1/models`, with a `host` header only.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            head: format!("{method} {path} HTTP/1.1\r\nhost: gateway.test\r\n").into_bytes(),
            body: Vec::new(),
        }
    }

    /// Creates a request with a JSON body and its length.
    pub fn json(path: &str, body: &Value) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body.to_string())
    }

    /// Adds a header, in any spelling.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.head.extend_from_slice(name.as_bytes());
        self.head.extend_from_slice(b": ");
        self.head.extend_from_slice(value.as_ref());
        self.head.extend_from_slice(b"\r\n");
        self
    }

    /// Adds `authorization: Bearer KEY`.
    #[must_use]
    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", format!("Bearer {key}"))
    }

    /// Sets the body and its length.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let mut request = self.header("content-length", body.len().to_string());
        request.body = body;
        request
    }

    /// Sets a chunked body, with trailers after it.
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

    /// Returns the bytes of the request.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), b"\r\n", &self.body].concat()
    }
}

impl Connection {
    /// Opens a connection.
    ///
    /// # Panics
    ///
    /// If it is refused.
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

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.closing {
            *self = Self::open(self.address);
        }
        self.stream.write_all(bytes)
    }

    /// Sends a request and waits for its response.
    pub fn try_request(&mut self, request: &Request) -> io::Result<Response> {
        self.send(&request.bytes())?;
        self.response()
    }

    /// Sends a request and waits for its response.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn request(&mut self, request: &Request) -> Response {
        self.try_request(request)
            .unwrap_or_else(|error| panic!("{error} after {}", request.head.escape_ascii()))
    }

    /// Sends a request that may be answered before it is complete; later errors of sending are ignored.
    ///
    /// # Panics
    ///
    /// If there is no response.
    pub fn request_while_sending(&mut self, request: &Request) -> Response {
        let mut writer = self.stream.try_clone().unwrap_or_else(|error| panic!("{error}"));
        let bytes = request.bytes();
        thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&bytes));
            let response = self.response();
            // Ends a writer that is still blocked.
            let _ = self.stream.shutdown(Shutdown::Both);
            response.unwrap_or_else(|error| panic!("{error} after {}", request.head.escape_ascii()))
        })
    }

    /// Reads the next final response.
    pub fn response(&mut self) -> io::Result<Response> {
        let (status, headers) = self.response_head()?;
        let body = match status {
            204 | 304 => Body::default(),
            _ => self.body(&headers)?,
        };
        Ok(Response { status, headers, body })
    }

    /// Reads the body that these header fields announce.
    pub fn body(&mut self, headers: &Headers) -> io::Result<Body> {
        self.reader.body(headers.framing(Framing::Close))
    }

    /// Reads the status and the header fields of the next final response, without its body.
    pub fn response_head(&mut self) -> io::Result<(u16, Headers)> {
        loop {
            let Some(head) = self.reader.head()? else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
            };
            let (status, headers) = response_head(&head);
            // 1xx are interim responses; 101 is the end of HTTP on this connection.
            if status >= 200 || status == 101 {
                self.closing =
                    headers.get("connection").is_some_and(|option| option.eq_ignore_ascii_case("close"));
                return Ok((status, headers));
            }
        }
    }

    /// Reads the next available bytes; none at the end of the connection.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        self.reader.some()
    }

    /// Closes the connection without a further message.
    pub fn leave(self) {
        // The peer may have closed it before.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Sends one request on a new connection.
///
/// # Panics
///
/// If there is no response.
pub fn request(address: SocketAddr, request: &Request) -> Response {
    Connection::open(address).request(request)
}

/// A flag that stops the senders of a load when it is dropped, also after a failed assertion.
pub struct Ended<'d>(pub &'d AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
