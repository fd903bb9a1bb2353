//! One connection of a client, from its accept to its close.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::proxy_wasm::StreamInfo;

use super::exchange::{Exchanger, protocol};
use super::load::Share;
use super::tls::Tls;
use super::watch::{HEAD, Served, Watch};
use super::{Cut, lines};

/// The number of requests that a client may run at the same time on one connection of HTTP/2.
const STREAMS: u32 = 100;
/// The receive window of one stream of HTTP/2.
const WINDOW: u32 = 256 << 10;
/// The number of bytes of one response that wait for the client.
const SEND_BUFFER: usize = 64 << 10;
/// The time in which a client of HTTP/2 learns that its connection is closed.
const FAREWELL: Duration = Duration::from_millis(200);

/// The place of a connection among those that are counted.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) _share: Option<Share>,
}

/// The data of a connection that its requests carry.
#[derive(Clone, Debug)]
pub(super) struct Connected {
    /// True with TLS.
    pub(super) secure: bool,
    pub(super) _seat: Arc<Seat>,
}

/// The socket of a connection with its place.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) client: SocketAddr,
    pub(super) seat: Seat,
}

/// Serves a connection to its end, to a time limit, or until its exchanges end while the server drains.
pub(super) async fn serve(
    exchanger: Rc<Exchanger>,
    accepted: Accepted,
    tls: Option<Arc<Tls>>,
    watch: Rc<Watch>,
    mut drained: watch::Receiver<bool>,
) {
    let Accepted { stream, client, seat } = accepted;
    let _ = stream.set_nodelay(true);
    let here = stream.local_addr().ok();
    let connected = Connected { secure: tls.is_some(), _seat: Arc::new(seat) };
    let builder = auto::Builder::new(LocalExecutor);
    let Some(tls) = tls else {
        let served = Requests { exchanger, watch, connected, client, here };
        return served.run(stream, builder, drained).await;
    };
    let stream = tokio::select! {
        accepted = tls.acceptor().accept(stream) => match accepted {
            Ok(stream) => stream,
            // A scan, a client that does not trust the certificate, or one of plain HTTP.
            Err(_) => return,
        },
        () = watch.expired() => return,
        _ = drained.wait_for(|drained| *drained) => return,
    };
    // RFC 9113, 3.2: over TLS, HTTP/2 needs ALPN.
    let builder = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        watch.http2();
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    let served = Requests { exchanger, watch, connected, client, here };
    served.run(stream, builder, drained).await;
}

/// The requests of one connection.
struct Requests {
    exchanger: Rc<Exchanger>,
    watch: Rc<Watch>,
    connected: Connected,
    client: SocketAddr,
    here: Option<SocketAddr>,
}

impl Requests {
    async fn run<S>(
        self,
        socket: S,
        mut builder: auto::Builder<LocalExecutor>,
        mut drained: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let watch = Rc::clone(&self.watch);
        let window = self.exchanger.gate.load().limits.window();
        let served = Rc::new(self);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let served = Rc::clone(&served);
            let info = StreamInfo {
                source: Some(served.client),
                destination: served.here,
                protocol: protocol(request.version()).to_owned(),
                connection_id: number,
                ..StreamInfo::default()
            };
            request.extensions_mut().insert(served.connected.clone());
            async move { served.answer(request, info).await }
        });
        // The time of a head is the watch's, which also covers HTTP/2 and the first byte.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(HEAD as u32)
            .max_concurrent_streams(STREAMS)
            .initial_connection_window_size(window)
            .initial_stream_window_size(WINDOW.min(window))
            .max_send_buf_size(SEND_BUFFER);
        let socket = TokioIo::new(watch.socket(socket));
        let connection = builder.serve_connection_with_upgrades(socket, service);
        let expired = watch.expired();
        tokio::pin!(connection, expired);
        let mut draining = false;
        loop {
            tokio::select! {
                // Its outcome is in the log lines of its requests.
                _ = connection.as_mut() => return,
                () = expired.as_mut() => break,
                _ = drained.wait_for(|drained| *drained), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(FAREWELL, connection).await;
    }

    async fn answer(&self, request: Request<Incoming>, info: StreamInfo) -> Result<Response<Served>, Cut> {
        let begun =
            if self.watch.refused() { Err("too_many_connections") } else { self.watch.begin(size(&request)) };
        match begun {
            Ok(running) => {
                let (parts, body) = request.into_parts();
                let console = self.exchanger.console.as_ref();
                if let Some(file) = console.and_then(|console| console.answer(&parts)) {
                    let status = file.status().as_u16();
                    self.exchanger.gate.unfiltered(&lines::Request::of(&parts), status, "console");
                    return Ok(running.file(file));
                }
                let request = Request::from_parts(parts, body);
                Ok(running.answer(self.exchanger.exchange(request, info).await?))
            }
            Err(details) => {
                let http1 = request.version() != Version::HTTP_2;
                let (parts, _) = request.into_parts();
                self.exchanger.gate.unfiltered(&lines::Request::of(&parts), 503, details);
                Ok(busy(http1))
            }
        }
    }
}

/// Returns the number of bytes of a head.
fn size(request: &Request<Incoming>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    fields.sum::<usize>() + path
}

/// Returns the response of a server that is at a limit.
fn busy(http1: bool) -> Response<Served> {
    let mut response = Response::new(Served::text("the server is at a limit of its own; try again\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    if http1 {
        // HTTP/2 has no such field.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Runs a connection's streams on the thread of their VM.
#[derive(Clone, Copy)]
pub(super) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
