//! HTTP/1.1 messages as bytes: tests send exactly the bytes they wrote, and see exactly the bytes received.

use std::fmt;
use std::io::{self, Read};

/// The rule for the end of a message's body (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// `content-length`
    Length(usize),
    /// `transfer-encoding: chunked`
    Chunked,
    /// The end of the connection.
    Close,
}

/// A message's body, raw and decoded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// The bytes with chunk sizes and trailers.
    pub raw: Vec<u8>,
    /// The bytes without chunk sizes and trailers.
    pub data: Vec<u8>,
    /// The fields after the last chunk.
    pub trailers: Headers,
}

/// Header fields in order, with lower-case names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, Vec<u8>)>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.data.escape_ascii())?;
        if self.trailers.0.is_empty() {
            return Ok(());
        }
        write!(f, " and {:?}", self.trailers)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |(name, value): &(String, Vec<u8>)| format!("{name}: {}", value.escape_ascii());
        f.debug_list().entries(self.0.iter().map(text)).finish()
    }
}

impl Headers {
    /// Returns the value of the only field of this name.
    ///
    /// # Panics
    ///
    /// If there are two of them, or it is not text.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let value = values.next()?;
        assert!(values.next().is_none(), "more than one {name} in {self:?}");
        Some(std::str::from_utf8(value).unwrap_or_else(|error| panic!("{name}: {error}")))
    }

    /// Returns the values of all fields of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_slice())
    }

    fn from_parsed(fields: &[httparse::Header<'_>]) -> Self {
        Self(fields.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect())
    }

    /// Returns the framing of the body that follows these fields; `rest` if they do not define one.
    pub fn framing(&self, rest: Framing) -> Framing {
        if self.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Framing::Chunked;
        }
        match self.get("content-length") {
            Some("0") => Framing::Empty,
            Some(length) => {
                Framing::Length(length.parse().unwrap_or_else(|_| panic!("content-length: {length}")))
            }
            None => rest,
        }
    }
}

/// The request line and the fields of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// `POST`
    pub method: String,
    /// `/v1/chat/completions`
    pub path: String,
    /// The header fields.
    pub headers: Headers,
}

/// The largest number of fields in a head.
const FIELDS: usize = 200;

/// Parses a request's head.
pub fn request_head(raw: &[u8]) -> RequestHead {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    assert!(request.parse(raw).is_ok_and(|status| status.is_complete()), "{}", raw.escape_ascii());
    RequestHead {
        method: request.method.unwrap_or_default().to_owned(),
        path: request.path.unwrap_or_default().to_owned(),
        headers: Headers::from_parsed(request.headers),
    }
}

/// Parses a response's head.
pub fn response_head(raw: &[u8]) -> (u16, Headers) {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    assert!(response.parse(raw).is_ok_and(|status| status.is_complete()), "{}", raw.escape_ascii());
    (response.code.unwrap_or_default(), Headers::from_parsed(response.headers))
}

/// A reader of messages from a stream.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    ahead: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Creates a reader of this stream.
    pub fn new(stream: R) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    /// Reads a head with its empty line; `None` if the stream ends before it begins.
    pub fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ahead.is_empty() && !self.more()? {
            return Ok(None);
        }
        self.until(b"\r\n\r\n").map(Some)
    }

    /// Reads the body with this framing.
    pub fn body(&mut self, framing: Framing) -> io::Result<Body> {
        match framing {
            Framing::Empty => Ok(Body::default()),
            Framing::Length(length) => {
                self.exactly(length).map(|data| Body { raw: data.clone(), data, ..Body::default() })
            }
            Framing::Close => {
                while self.more()? {}
                let data = std::mem::take(&mut self.ahead);
                Ok(Body { raw: data.clone(), data, ..Body::default() })
            }
            Framing::Chunked => self.chunks(),
        }
    }

    fn chunks(&mut self) -> io::Result<Body> {
        let mut body = Body::default();
        loop {
            let line = self.until(b"\r\n")?;
            body.raw.extend_from_slice(&line);
            let (_, size) = httparse::parse_chunk_size(&line)
                .ok()
                .and_then(|parsed| match parsed {
                    httparse::Status::Complete(complete) => Some(complete),
                    httparse::Status::Partial => None,
                })
                .ok_or_else(|| io::Error::other(format!("not a chunk size: {}", line.escape_ascii())))?;
            if size == 0 {
                break;
            }
            let size = usize::try_from(size).map_err(io::Error::other)?;
            let chunk = self.exactly(size + 2)?;
            body.raw.extend_from_slice(&chunk);
            body.data.extend_from_slice(&chunk[..size]);
        }
        let start = body.raw.len();
        loop {
            let line = self.until(b"\r\n")?;
            body.raw.extend_from_slice(&line);
            if line == b"\r\n" {
                break;
            }
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        if let Ok(httparse::Status::Complete((_, trailers))) =
            httparse::parse_headers(&body.raw[start..], &mut fields)
        {
            body.trailers = Headers::from_parsed(trailers);
        }
        Ok(body)
    }

    /// Reads the next available bytes; none at the end of the stream.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.ahead.is_empty() {
            self.more()?;
        }
        Ok(std::mem::take(&mut self.ahead))
    }

    fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.ahead[searched..].windows(end.len()).position(|window| window == end) {
                return Ok(self.split(searched + at + end.len()));
            }
            searched = self.ahead.len().saturating_sub(end.len() - 1);
            self.must_have_more()?;
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            self.must_have_more()?;
        }
        Ok(self.split(length))
    }

    fn split(&mut self, at: usize) -> Vec<u8> {
        let rest = self.ahead.split_off(at);
        std::mem::replace(&mut self.ahead, rest)
    }

    fn must_have_more(&mut self) -> io::Result<()> {
        if self.more()? {
            return Ok(());
        }
        let text = format!("the stream ended after: {}", self.ahead.escape_ascii());
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
    }

    fn more(&mut self) -> io::Result<bool> {
        let start = self.ahead.len();
        self.ahead.resize(start + 16 * 1024, 0);
        let read = loop {
            match self.stream.read(&mut self.ahead[start..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.ahead.truncate(start + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_follow_one_another_byte_for_byte() {
        let bytes = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
            POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=y\r\nyou\r\n0\r\nDigest: q\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        let mut reader = Reader::new(&bytes[..]);
        let head = request_head(&reader.head().unwrap().unwrap());
        assert_eq!((head.method.as_str(), head.path.as_str()), ("POST", "/a"));
        let framing = head.headers.framing(Framing::Empty);
        assert_eq!(reader.body(framing).unwrap().data, b"abc");

        let head = request_head(&reader.head().unwrap().unwrap());
        let body = reader.body(head.headers.framing(Framing::Empty)).unwrap();
        assert_eq!(body.data, b"hiyou");
        assert_eq!(body.raw, b"2\r\nhi\r\n3;x=y\r\nyou\r\n0\r\nDigest: q\r\n\r\n");
        assert_eq!(body.trailers.get("digest"), Some("q"));

        assert_eq!(request_head(&reader.head().unwrap().unwrap()).method, "GET");
        assert_eq!(reader.head().unwrap(), None);
    }

    #[test]
    fn a_stream_that_breaks_off_is_an_error() {
        let mut reader = Reader::new(&b"5\r\nabc"[..]);
        assert_eq!(reader.body(Framing::Chunked).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
