//! An upstream that runs the code of a test for each request, so that the test controls each byte and its time.

use std::fmt;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

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

    fn raw(&mut self, bytes: &str) -> io::Result<()> {
        self.0.write_all(bytes.as_bytes())
    }
}
