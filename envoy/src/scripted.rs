//! An upstream that answers with exactly the bytes of a script, and records the requests.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::wire::{Framing, Reader, RequestHead, request_head};

/// The header that selects the answer.
pub const ANSWER: &str = "x-answer";

/// An answer of the upstream.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The time before the response's head.
    pub after: Duration,
    /// The response, in pieces that are flushed one by one.
    pub pieces: Vec<Vec<u8>>,
}

impl Answer {
    /// Creates an answer with this status, content type and body.
    pub fn of(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let head = format!(
            "HTTP/1.1 {status} Scripted\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self { after: Duration::ZERO, pieces: vec![[head.into_bytes(), body].concat()] }
    }

    /// Creates a JSON answer with the status 200.
    pub fn json(body: impl ToString) -> Self {
        Self::of(200, "application/json", body.to_string())
    }

    /// Creates a stream of server-sent events, each with this data.
    pub fn events(data: &[&str]) -> Self {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut pieces = vec![head.as_bytes().to_vec()];
        for data in data {
            let event = format!("data: {data}\n\n");
            pieces.push(format!("{:x}\r\n{event}\r\n", event.len()).into_bytes());
        }
        pieces.push(b"0\r\n\r\n".to_vec());
        Self { after: Duration::ZERO, pieces }
    }

    /// Delays the answer.
    #[must_use]
    pub fn after(mut self, time: Duration) -> Self {
        self.after = time;
        self
    }
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The head.
    pub head: RequestHead,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

/// The upstream. Its threads end with the connections.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Scripted {
    /// Starts an upstream with these answers, by the value of the request's header [`ANSWER`].
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start(answers: HashMap<String, Answer>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap_or_else(|error| panic!("{error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let (arrived, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answers));
        let recorded = Arc::clone(&arrived);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, recorded) = (Arc::clone(&answers), Arc::clone(&recorded));
                // A client may leave at any time.
                thread::spawn(move || serve(stream, &answers, &recorded).ok());
            }
        });
        Self { address, arrived }
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the requests that selected this answer.
    pub fn arrived(&self, answer: &str) -> Vec<Arrived> {
        let selected = |arrived: &&Arrived| arrived.head.headers.get(ANSWER) == Some(answer);
        lock(&self.arrived).iter().filter(selected).cloned().collect()
    }
}

fn lock(arrived: &Mutex<Vec<Arrived>>) -> MutexGuard<'_, Vec<Arrived>> {
    arrived.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(
    mut stream: TcpStream,
    answers: &HashMap<String, Answer>,
    recorded: &Mutex<Vec<Arrived>>,
) -> io::Result<()> {
    let mut reader = Reader::new(stream.try_clone()?);
    while let Some(head) = reader.head()? {
        let head = request_head(&head);
        let body = reader.body(head.headers.framing(Framing::Empty))?.data;
        let name = head.headers.get(ANSWER).unwrap_or_default().to_owned();
        lock(recorded).push(Arrived { head, body });
        let unknown = Answer::of(500, "text/plain", format!("no answer is named {name:?}"));
        let answer = answers.get(&name).unwrap_or(&unknown);
        thread::sleep(answer.after);
        for piece in &answer.pieces {
            stream.write_all(piece)?;
            stream.flush()?;
        }
    }
    Ok(())
}
