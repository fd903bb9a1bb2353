//! The request half of an exchange: passes the client's request through the module to the upstream.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::channel::Sender;
use hyper::body::{Body as _, Incoming};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::proxy_wasm::{Flow, Forward};

use super::gate::Stream;
use super::length::Length;
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
}

impl Inbound {
    /// Creates the request half. `body` is `None` for a request without one.
    pub(super) fn new(
        stream: &Rc<Stream>,
        body: Option<Incoming>,
        resumed: UnboundedReceiver<Flow>,
    ) -> Inbound {
        Inbound { stream: Rc::clone(stream), body, resumed }
    }

    /// Waits for the next event; `None` if the client has disconnected.
    pub(super) async fn next(&mut self) -> Option<Flow> {
        let Some(body) = &mut self.body else {
            return self.resumed.recv().await;
        };
        let frame = tokio::select! {
            biased;
            Some(flow) = self.resumed.recv() => return Some(flow),
            frame = body.frame() => frame,
        };
        let ended = body.is_end_stream();
        let flow = match frame {
            None => self.stream.request_body(&[], true),
            Some(Err(_)) => return None,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => {
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
            if let Err(cut) = send(forward, &mut sender, &mut length).await {
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
}

async fn send(forward: Forward, sender: &mut Sender<Bytes, Cut>, length: &mut Length) -> Result<(), Cut> {
    length.count(&forward)?;
    if !forward.body.is_empty() && sender.send_data(forward.body.into()).await.is_err() {
        return Err(Cut::UpstreamGone);
    }
    if let Some(trailers) = forward.trailers {
        let trailers = head::to_fields(&trailers).map_err(|_| Cut::Trailers)?;
        sender.send_trailers(trailers).await.map_err(|_| Cut::UpstreamGone)?;
    }
    Ok(())
}
