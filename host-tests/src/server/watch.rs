//! The limits of one connection: the times for heads, idleness and streams, and resets by the client.
//!
//! A connection without a running request is closed after a time that only a complete head ends. Bytes alone
//! do not extend it, so slow heads, pings and empty frames do not keep a connection open.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Empty, Full};
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::proxy_wasm::Ending;

use super::Cut;
use super::answer::Answer;
use super::exchange::Reply;
use super::load::{Load, Share};

/// The size limit of a head. Large, so that the module rejects hostile heads itself.
pub(super) const HEAD: usize = 256 << 10;
/// The life of a connection that is only told to come back later.
const REFUSAL: Duration = Duration::from_secs(2);
/// The number of requests that the client of a connection may reset before their response, each within
/// [`EARLY`], if they are more than half of its requests.
const RESETS: u32 = 100;
/// The age up to which a reset counts.
const EARLY: Duration = Duration::from_secs(1);

/// The part of a connection's state that its socket reports to.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<Beat>);

#[derive(Debug)]
struct Beat {
    /// The number of running requests.
    open: usize,
    /// The end of the last request, or the start of the connection.
    since: Instant,
    /// The first byte of a head of HTTP/1.
    head: Option<Instant>,
    /// The bytes of that head.
    bytes: Share,
    begun: bool,
    http2: bool,
    upgraded: bool,
}

impl Pulse {
    fn beat(&self) -> MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that were read; false if there is no room for them.
    fn read(&self, bytes: &[u8]) -> bool {
        let mut beat = self.beat();
        if bytes.is_empty() || beat.open > 0 || beat.upgraded {
            return true;
        }
        if !std::mem::replace(&mut beat.begun, true) {
            beat.http2 |= bytes.starts_with(b"PRI");
        }
        if beat.http2 {
            beat.head = None;
            return true;
        }
        beat.head.get_or_insert_with(Instant::now);
        let room = HEAD.saturating_sub(beat.bytes.amount());
        beat.bytes.grow(bytes.len().min(room))
    }
}

/// The state of one connection.
pub(super) struct Watch {
    load: Arc<Load>,
    pulse: Arc<Pulse>,
    /// True for a connection beyond the limit, which gets 503.
    refused: bool,
    began: Instant,
    streams: RefCell<Vec<Rc<Slot>>>,
    close: Notify,
    closing: Cell<bool>,
    resets: Cell<u32>,
    answers: Cell<u32>,
}

impl Watch {
    pub(super) fn new(load: &Arc<Load>, refused: bool) -> Rc<Watch> {
        let began = Instant::now();
        let beat = Beat {
            open: 0,
            since: began,
            head: Some(began),
            bytes: load.held.share(),
            begun: false,
            http2: false,
            upgraded: false,
        };
        Rc::new(Watch {
            load: Arc::clone(load),
            pulse: Arc::new(Pulse(Mutex::new(beat))),
            refused,
            began,
            streams: RefCell::default(),
            close: Notify::new(),
            closing: Cell::new(false),
            resets: Cell::new(0),
            answers: Cell::new(0),
        })
    }

    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    /// Records that the connection speaks HTTP/2 by ALPN.
    pub(super) fn http2(&self) {
        self.pulse.beat().http2 = true;
    }

    /// Records that the connection is a tunnel from now on.
    pub(super) fn upgraded(&self) {
        self.pulse.beat().upgraded = true;
    }

    /// Returns the time since which no request runs; `None` if one does, if the connection is being closed, or
    /// if it has no place that another could take.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let beat = self.pulse.beat();
        (beat.open == 0 && !self.closing.get() && !self.refused).then_some(beat.since)
    }

    /// Closes the connection soon.
    pub(super) fn evict(&self) {
        self.closing.set(true);
        self.close.notify_one();
    }

    /// Wraps the socket.
    pub(super) fn socket<S>(&self, socket: S) -> Watched<S> {
        Watched { socket, pulse: Arc::clone(&self.pulse) }
    }

    /// Records a request with its complete head; `head` is its size. The error is the name of the limit that
    /// it would exceed.
    pub(super) fn begin(self: &Rc<Watch>, head: usize) -> Result<Running, &'static str> {
        let Load { requests, held, limits, .. } = &*self.load;
        let mut beat = self.pulse.beat();
        beat.head = None;
        drop(beat.bytes.split());
        let Some(request) = requests.take(1) else {
            beat.since = Instant::now();
            self.load.report("--max-requests", limits.requests);
            return Err("too_many_requests_running");
        };
        let Some(held) = held.take(head) else {
            beat.since = Instant::now();
            self.load.report("--max-held-bytes", limits.held_bytes);
            return Err("too_many_bytes_held");
        };
        beat.open += 1;
        drop(beat);
        let watch = Rc::clone(self);
        Ok(Running { watch, began: Instant::now(), answered: Cell::new(false), _shares: (request, held) })
    }

    /// Waits until the connection must be closed. Ends streams that are idle for too long.
    pub(super) async fn expired(&self) {
        loop {
            let now = Instant::now();
            let next = self.end_idle_streams(now).min(self.deadline());
            if next <= now {
                return;
            }
            tokio::select! {
                () = self.close.notified() => return,
                // A state that begins during this pause cannot expire before its end.
                () = tokio::time::sleep_until(next.min(now + self.load.limits.shortest())) => {}
            }
        }
    }

    /// Returns the time at which the connection is closed if no head completes.
    fn deadline(&self) -> Instant {
        let limits = &self.load.limits;
        let beat = self.pulse.beat();
        if self.refused {
            return self.began + REFUSAL.min(limits.head);
        }
        match beat.head {
            _ if beat.open > 0 => Instant::now() + limits.keep_alive.max(limits.head),
            Some(began) => began + limits.head,
            None => beat.since + limits.keep_alive,
        }
    }

    /// Ends the responses without progress, and returns the time of the next check.
    fn end_idle_streams(&self, now: Instant) -> Instant {
        let limit = self.load.limits.stream;
        let mut next = now + limit;
        let mut ended = Vec::new();
        for slot in self.streams.borrow().iter() {
            let deadline = slot.last.get() + limit;
            if deadline > now {
                next = next.min(deadline);
            } else if let Some(body) = slot.body.take() {
                ended.push((body, slot.waker.take()));
            }
        }
        // After the borrow: the drop of a body leads back here.
        for ((body, running), waker) in ended {
            if let Inner::Exchange(Either::Left(answer)) = &body {
                answer.guard().close(&Ending::Idle);
            }
            drop((body, running));
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        next
    }

    fn end(&self, began: Instant, answered: bool) {
        let now = Instant::now();
        let mut beat = self.pulse.beat();
        beat.open = beat.open.saturating_sub(1);
        beat.since = now;
        drop(beat);
        if answered {
            self.answers.set(self.answers.get().saturating_add(1));
        } else if now - began < EARLY {
            self.resets.set(self.resets.get().saturating_add(1));
            if self.resets.get() >= RESETS && self.resets.get() > self.answers.get() {
                self.evict();
            }
        }
    }
}

/// A running request of a connection.
pub(super) struct Running {
    watch: Rc<Watch>,
    began: Instant,
    /// False until there is a response.
    answered: Cell<bool>,
    _shares: (Share, Share),
}

impl Running {
    /// Returns the response with its time limits.
    pub(super) fn answer(self, reply: Reply) -> Response<Served> {
        if reply.status() == hyper::StatusCode::SWITCHING_PROTOCOLS {
            self.watch.upgraded();
        }
        self.serve(reply.map(Inner::Exchange))
    }

    /// Returns the response of a request that the module did not see.
    pub(super) fn file(self, file: Response<Bytes>) -> Response<Served> {
        self.serve(file.map(|bytes| Inner::Text(Full::new(bytes))))
    }

    fn serve(self, response: Response<Inner>) -> Response<Served> {
        self.answered.set(true);
        let watch = Rc::clone(&self.watch);
        response.map(|body| {
            let slot = Rc::new(Slot {
                body: RefCell::new(Some((body, Some(self)))),
                last: Cell::new(Instant::now()),
                given: Cell::new(false),
                waker: RefCell::default(),
            });
            watch.streams.borrow_mut().push(Rc::clone(&slot));
            Served { slot, watch: Some(watch) }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watch.end(self.began, self.answered.get());
    }
}

enum Inner {
    Exchange(Either<Answer, Empty<Bytes>>),
    Text(Full<Bytes>),
}

/// A response that is being sent.
struct Slot {
    /// `None` after its end by a time limit.
    body: RefCell<Option<(Inner, Option<Running>)>>,
    /// The last progress.
    last: Cell<Instant>,
    /// True if the last poll returned a part.
    given: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The body of a response, with the time of its last progress.
pub(super) struct Served {
    slot: Rc<Slot>,
    watch: Option<Rc<Watch>>,
}

impl Served {
    /// Creates a body from a text, without limits.
    pub(super) fn text(text: &'static str) -> Served {
        let slot = Slot {
            body: RefCell::new(Some((Inner::Text(Full::new(Bytes::from_static(text.as_bytes()))), None))),
            last: Cell::new(Instant::now()),
            given: Cell::new(false),
            waker: RefCell::default(),
        };
        Served { slot: Rc::new(slot), watch: None }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.streams.borrow_mut().retain(|slot| !Rc::ptr_eq(slot, &self.slot));
        }
    }
}

impl Body for Served {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let Slot { body, last, given, waker } = &*self.slot;
        let mut body = body.borrow_mut();
        let Some((inner, _)) = &mut *body else { return Poll::Ready(Some(Err(Cut::Idle))) };
        if given.replace(false) {
            last.set(Instant::now());
        }
        let polled = match inner {
            Inner::Exchange(Either::Left(answer)) => Pin::new(answer).poll_frame(cx),
            Inner::Exchange(Either::Right(empty)) => {
                Pin::new(empty).poll_frame(cx).map_err(|never| match never {})
            }
            Inner::Text(text) => Pin::new(text).poll_frame(cx).map_err(|never| match never {}),
        };
        if polled.is_ready() {
            last.set(Instant::now());
            given.set(true);
        } else {
            *waker.borrow_mut() = Some(cx.waker().clone());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &*self.slot.body.borrow() {
            Some((Inner::Exchange(body), _)) => body.is_end_stream(),
            Some((Inner::Text(text), _)) => text.is_end_stream(),
            None => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.slot.body.borrow() {
            Some((Inner::Exchange(body), _)) => body.size_hint(),
            Some((Inner::Text(text), _)) => text.size_hint(),
            None => SizeHint::default(),
        }
    }
}

/// A socket that reports what is read.
pub(super) struct Watched<S> {
    socket: S,
    pulse: Arc<Pulse>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        if self.pulse.read(read) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Ready(Err(std::io::Error::other("too many bytes are held")))
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }
}
