//! A simulated LLM provider on a loopback port: the APIs of OpenAI, Anthropic, Gemini and Azure, answered at
//! once for any model. The usage differs from an estimate, above and below, and is the same for the same
//! request. A request that declares tools is answered with a tool call, and with text after the tool's result; one
//! that sets an output format, with JSON that satisfies its schema. Other requests are echoed.
//!
//! The header `x-simulate` changes the behavior ([`simulate`]), and tests can read the received requests
//! ([`Upstream::recording`]).

mod answer;
mod anthropic;
mod deliver;
mod draw;
mod gemini;
mod openai;
mod provider;
pub mod record;
mod reply;
mod responses;
mod schema;
pub mod simulate;
mod tasks;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use self::answer::Dialect;
use self::deliver::Broken;
use self::record::{Recorded, Recording, Tapped};
use self::simulate::Simulation;

type Body = BoxBody<Bytes, Broken>;

/// A running upstream; it ends when this is dropped.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    recording: Arc<Recording>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts an upstream that keeps nothing.
    pub fn start() -> io::Result<Upstream> {
        Upstream::run(false)
    }

    /// Starts an upstream that records everything it receives, for tests.
    pub fn start_recording() -> io::Result<Upstream> {
        Upstream::run(true)
    }

    /// Returns the address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the recording; empty except for [`Upstream::start_recording`].
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    fn run(record: bool) -> io::Result<Upstream> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let recording = Arc::<Recording>::default();
        let (stop, stopped) = oneshot::channel();
        let kept = record.then(|| Arc::clone(&recording));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("upstream".into()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = accept(listener, kept) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Upstream { addr, recording, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, recording: Option<Arc<Recording>>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let recording = recording.clone();
        let (connection, stream) = match &recording {
            Some(recording) => recording.tap(stream),
            None => (0, Tapped::untapped(stream)),
        };
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(request, connection, recording.clone()));
            // A client that disconnects is not an error.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn serve(
    mut request: Request<Incoming>,
    connection: usize,
    recording: Option<Arc<Recording>>,
) -> Result<Response<Body>, Infallible> {
    let simulation = match Simulation::from_headers(request.headers()) {
        Ok(simulation) => simulation,
        Err(unknown) => {
            let refusal = answer::error(Dialect::OpenAi, 400, &unknown.to_string());
            return Ok(deliver::deliver(refusal, &HeaderMap::new(), &Simulation::default()));
        }
    };
    if request.headers().contains_key(header::UPGRADE) {
        return Ok(deliver::upgrade(&mut request));
    }
    let (head, mut incoming) = request.into_parts();
    if simulation.mirror {
        return Ok(deliver::mirror(&head, incoming, Recorded::new(connection, &head), recording));
    }

    let mut recorded = Recorded::new(connection, &head);
    recorded.complete = receive(&mut incoming, &mut recorded).await;
    let (complete, body) = (recorded.complete, recorded.body.clone());
    if let Some(recording) = &recording {
        recording.push(recorded);
    }
    if !complete {
        let refusal = answer::error(Dialect::OpenAi, 400, "the body is incomplete");
        return Ok(deliver::deliver(refusal, &HeaderMap::new(), &Simulation::default()));
    }
    // A sleep of zero waits for the next tick of the timer, a millisecond.
    if !simulation.delay.is_zero() {
        tokio::time::sleep(simulation.delay).await;
    }
    Ok(deliver::deliver(provider::answer(&head, &body, &simulation), &head.headers, &simulation))
}

/// Reads a body to its end. Returns false if it broke off.
async fn receive(incoming: &mut Incoming, into: &mut Recorded) -> bool {
    while let Some(frame) = incoming.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(bytes)) => into.body.extend_from_slice(&bytes),
            Ok(Err(frame)) => into.trailers = frame.into_trailers().ok(),
            Err(_) => return false,
        }
    }
    true
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

#[cfg(test)]
mod tests;
