//! An upstream that runs the code of a test for each request, so that the test controls each byte and its time.

use std::fmt;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::client::{Connection, Request};
use crate::wire::{Framing, Reader, RequestHead, request_head};

type Respond = dyn Fn(&RequestHead, &mut Sender) -> io::Result<()> + Send + Sync;

/// The upstream. It accepts no connection after the end of this value.
pub struct Live {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

/// The sending side of a connection.
#[derive(Debug)]
pub struct Sender(TcpStream);

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({})", self.address)
    }
}

impl Live {
    /// Starts an upstream that runs this for each request, on a thread of its own, and then closes the
    /// connection.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start(
        respond: impl Fn(&RequestHead, &mut Sender) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listen = || -> io::Result<(TcpListener, SocketAddr)> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listen().unwrap_or_else(|error| panic!("upstream: {error}"));
        let ended = Arc::new(AtomicBool::new(false));
        let (respond, stop): (Arc<Respond>, _) = (Arc::new(respond), Arc::clone(&ended));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let respond = Arc::clone(&respond);
                // A gateway that goes away in the middle is part of some tests.
                thread::spawn(move || serve(stream, &*respond));
            }
        });
        Self { address, ended }
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, respond: &Respond) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = Reader::new(stream.try_clone()?);
    let Some(head) = reader.head()? else { return Ok(()) };
    let head = request_head(&head);
    reader.body(head.headers.framing(Framing::Empty))?;
    respond(&head, &mut Sender(stream))
}

impl Sender {
    /// Sends the head of a chunked response.
    pub fn begin(&mut self, content_type: &str) -> io::Result<()> {
        self.raw(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        ))
    }

    /// Sends one chunk.
    pub fn chunk(&mut self, data: &str) -> io::Result<()> {
        self.raw(&format!("{:x}\r\n{data}\r\n", data.len()))
    }

    /// Ends a chunked response, with these trailers.
    pub fn end(&mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        let fields: String = trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.raw(&format!("0\r\n{fields}\r\n"))
    }

    /// Sends a whole response with its length.
    pub fn whole(&mut self, content_type: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        self.raw(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }

    /// Sends a whole response with this status.
    pub fn failure(&mut self, status: u16, content_type: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        self.raw(&format!(
            "HTTP/1.1 {status} Failed\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }

    fn raw(&mut self, bytes: &str) -> io::Result<()> {
        self.0.write_all(bytes.as_bytes())
    }
}

/// A stream that is sent piece by piece, each after the client has received what passes of the one before. A gateway
/// that holds a byte back for the next one stops it.
#[derive(Debug)]
pub struct Lockstep {
    upstream: Live,
    received: mpsc::Sender<()>,
    steps: &'static [(&'static str, &'static str)],
}

impl Lockstep {
    /// Starts an upstream with such a stream: the pieces, each with the bytes that reach the client at once.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start(content_type: &'static str, steps: &'static [(&'static str, &'static str)]) -> Self {
        let (received, next) = mpsc::channel();
        let next: Mutex<Receiver<()>> = Mutex::new(next);
        let upstream = Live::start(move |_, to| {
            let next = next.lock().unwrap_or_else(PoisonError::into_inner);
            to.begin(content_type)?;
            for (piece, _) in steps {
                to.chunk(piece)?;
                next.recv().map_err(io::Error::other)?;
            }
            to.end(&[])
        });
        Self { upstream, received, steps }
    }

    /// Returns the address of the upstream.
    pub fn address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// Sends the request to this gateway and reads the stream.
    ///
    /// # Panics
    ///
    /// If the response is another one, or a piece does not arrive.
    pub fn follow(&self, gateway: SocketAddr, request: &Request) {
        let mut connection = Connection::open(gateway);
        connection.send(&request.bytes()).unwrap_or_else(|error| panic!("{error}"));
        let head = connection.response_head().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(head.0, 200, "{head:?}");
        let (mut raw, mut expected) = (Vec::new(), String::new());
        for (piece, passes) in self.steps {
            expected.push_str(passes);
            while String::from_utf8_lossy(&data(&raw)) != expected {
                let more = connection.some().unwrap_or_else(|error| panic!("{error} after {piece:?}"));
                assert!(!more.is_empty(), "the stream ends after {piece:?}");
                raw.extend(more);
                assert!(data(&raw).len() <= expected.len(), "after {piece:?}: {}", raw.escape_ascii());
            }
            // The upstream may be gone after its last piece.
            let _ = self.received.send(());
        }
    }
}

/// The data of the chunks so far, without their sizes.
fn data(raw: &[u8]) -> Vec<u8> {
    let (mut data, mut rest) = (Vec::new(), raw);
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(rest) {
        let end = start + usize::try_from(size).unwrap_or(usize::MAX);
        data.extend_from_slice(&rest[start..end.min(rest.len())]);
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    data
}

/// Steps of a chat stream whose usage the gateway requested: comments, events in pieces, the extra chunk, and a last
/// event without its empty line.
pub const CHAT_STEPS: &[(&str, &str)] = &[
    (":", ":"),
    (" ping", " ping"),
    ("\n\n", "\n\n"),
    (
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"",
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"",
    ),
    (",\"content\":\"a\"}}],\"usage\":null,\"x\":1", ",\"content\":\"a\"}}],\"x\":1"),
    ("}\n\n", "}\n\n"),
    (
        "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"usage\":null}\n\n: ping\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n: ping\n",
    ),
    (
        "\ndata: {\"choices\":[],\"prompt_filter_results\":[]}",
        "\ndata: {\"choices\":[],\"prompt_filter_results\":[]}",
    ),
    ("\n\n", "\n\n"),
    (
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n: done\n\n",
        ": done\n\n",
    ),
    ("data: [DONE]", "data: [DONE]"),
];
