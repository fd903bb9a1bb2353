//! The request half of an exchange: passes the client's request through the module to the upstream.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::channel::Sender;
use hyper::body::{Body as _, Incoming};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use crate::proxy_wasm::{Flow, Forward};

use super::gate::Stream;
use super::length::Length;
use super::load::Share;
use super::{Cut, head};

/// The time during which the rest of an answered request is still read: a client that finds its connection
/// closed while it writes may never read the response.
const LINGER: Duration = Duration::from_secs(1);

/// The rest of the client's request.
pub(super) struct Inbound {
    stream: Rc<Stream>,
    /// `None` after the module has seen the end.
    body: Option<Incoming>,
    resumed: UnboundedReceiver<Flow>,
    /// The bytes that the module has seen and not forwarded yet.
    held: Share,
    /// The time that the body may still wait for the client. The time for which the upstream is slow does not
    /// count.
    left: Duration,
    /// The start of the present wait.
    waiting: Option<Instant>,
}

impl Inbound {
    /// Creates the request half. `body` is `None` for a request without one.
    pub(super) fn new(
        stream: &Rc<Stream>,
        body: Option<Incoming>,
        resumed: UnboundedReceiver<Flow>,
    ) -> Inbound {
        let load = stream.load();
        let (held, left) = (load.held.share(), load.limits.request);
        Inbound { stream: Rc::clone(stream), body, resumed, held, left, waiting: None }
    }

    /// Returns bytes to forward. They count as held until they are sent.
    pub(super) fn release(&mut self, bytes: Vec<u8>) -> Bytes {
        self.held.split().attach(bytes)
    }

    /// Waits for the next event; `None` if the client has disconnected.
    pub(super) async fn next(&mut self) -> Option<Flow> {
        let Some(body) = &mut self.body else {
            return self.resumed.recv().await;
        };
        let limits = &self.stream.load().limits;
        let began = *self.waiting.get_or_insert_with(Instant::now);
        let deadline = began + limits.body.min(self.left);
        let frame = loop {
            tokio::select! {
                biased;
                Some(flow) = self.resumed.recv() => return Some(flow),
                frame = body.frame() => break frame,
                // A client of a two-way stream may be silent while it receives: the times of the response apply then.
                () = tokio::time::sleep_until(deadline), if !self.stream.is_answered() => {
                    if self.stream.is_answered() {
                        continue;
                    }
                    self.body = None;
                    let text = "the request body did not arrive in time\n";
                    return Some(self.stream.reply(408, text, "request_timeout"));
                }
            }
        };
        let ended = body.is_end_stream();
        let flow = match frame {
            None => self.stream.request_body(&[], true),
            Some(Err(_)) => return None,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if bytes.is_empty() && !ended => return Some(Flow::Hold),
                Ok(bytes) => {
                    self.left = self.left.saturating_sub(began.elapsed());
                    self.waiting = None;
                    if !self.held.grow(bytes.len()) {
                        self.stream.load().report("--max-held-bytes", self.stream.load().limits.held_bytes);
                        let text = "the server holds too many bytes of requests; try again\n";
                        return Some(self.stream.reply_busy(text, "too_many_bytes_held"));
                    }
                    let flow = self.stream.request_body(&bytes, ended);
                    if ended {
                        self.body = None;
                    }
                    return Some(flow);
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => self.stream.request_trailers(head::of_fields(&trailers)),
                    Err(_) => return Some(Flow::Hold),
                },
            },
        };
        self.body = None;
        Some(flow)
    }

    /// Reads and discards the rest for a short time.
    pub(super) fn linger(self) {
        let Some(mut body) = self.body else { return };
        tokio::task::spawn_local(tokio::time::timeout(LINGER, async move {
            while let Some(Ok(_)) = body.frame().await {}
        }));
    }

    /// Sends `first` and everything that the module forwards after it, to the end.
    pub(super) async fn pump(
        mut self,
        first: Forward,
        mut sender: Sender<Bytes, Cut>,
        mut length: Length,
        to_response: UnboundedSender<Flow>,
    ) {
        let mut forward = first;
        loop {
            if let Err(cut) = self.send(forward, &mut sender, &mut length).await {
                // The client sees the failure as a missing response from the upstream.
                return sender.abort(cut);
            }
            if length.ended() {
                return;
            }
            forward = loop {
                match self.next().await {
                    Some(Flow::Forward(forward)) => break forward,
                    Some(Flow::Hold) => {}
                    Some(flow @ (Flow::Reply(_) | Flow::Reset)) => {
                        sender.abort(Cut::Refused);
                        // The receiver is gone only if the exchange has ended.
                        let _ = to_response.send(flow);
                        return self.linger();
                    }
                    None => {
                        sender.abort(Cut::ClientGone);
                        let _ = to_response.send(Flow::Reset);
                        return;
                    }
                }
            };
        }
    }

    async fn send(
        &mut self,
        forward: Forward,
        sender: &mut Sender<Bytes, Cut>,
        length: &mut Length,
    ) -> Result<(), Cut> {
        length.count(&forward)?;
        let bytes = self.release(forward.body);
        if !bytes.is_empty() && sender.send_data(bytes).await.is_err() {
            return Err(Cut::UpstreamGone);
        }
        if let Some(trailers) = forward.trailers {
            let trailers = head::to_fields(&trailers).map_err(|_| Cut::Trailers)?;
            sender.send_trailers(trailers).await.map_err(|_| Cut::UpstreamGone)?;
        }
        Ok(())
    }
}
