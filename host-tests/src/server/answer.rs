//! The response half of an exchange: passes the upstream's response through the module to the client.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, Incoming};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::proxy_wasm::{Ending, Flow, Forward, LocalReply};

use super::Cut;
use super::gate::Guard;
use super::head;
use super::length::Length;

/// The response body for the client. It owns the exchange after the head is sent: dropping it closes the
/// stream.
pub(super) struct Answer {
    guard: Guard,
    /// `None` for a local reply, or after the module has seen the end.
    upstream: Option<Incoming>,
    resumed: UnboundedReceiver<Flow>,
    ready: VecDeque<Frame<Bytes>>,
    length: Option<Length>,
}

impl Answer {
    /// Creates one without an upstream.
    pub(super) fn new(guard: Guard, resumed: UnboundedReceiver<Flow>) -> Answer {
        Answer { guard, upstream: None, resumed, ready: VecDeque::new(), length: None }
    }

    /// Waits for an event of the module, the request's side or another stream that precedes the upstream's
    /// response.
    pub(super) async fn interrupted(&mut self) -> Flow {
        match self.resumed.recv().await {
            Some(flow) => flow,
            // Every sender is gone: there can be no interruption.
            None => std::future::pending().await,
        }
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Passes the upstream's response to the module and waits until its head may be sent.
    pub(super) async fn upstream(
        mut self,
        response: Response<Incoming>,
        bodiless: bool,
    ) -> Result<Response<Answer>, Cut> {
        let (parts, body) = response.into_parts();
        let end = body.is_end_stream();
        self.upstream = (!end).then_some(body);
        let flow = self.guard.stream().response_headers(head::of_response(&parts), end);
        self.begin(flow, bodiless).await
    }

    /// Waits until a head may be sent, starting from the module's last result.
    pub(super) async fn begin(mut self, mut flow: Flow, bodiless: bool) -> Result<Response<Answer>, Cut> {
        let forward = loop {
            flow = match flow {
                Flow::Forward(forward) if forward.headers.is_some() => break forward,
                Flow::Forward(_) | Flow::Hold => match poll_fn(|cx| self.poll_event(cx)).await {
                    Ok(flow) => flow,
                    // Broken off before any byte was sent to the client.
                    Err(_) => {
                        self.upstream = None;
                        self.guard.stream().reply(
                            502,
                            "the upstream closed the connection\n",
                            "upstream_reset",
                        )
                    }
                },
                Flow::Reply(LocalReply { headers, body, .. }) => {
                    self.upstream = None;
                    break Forward {
                        headers: Some(headers),
                        body,
                        end_of_stream: true,
                        ..Forward::default()
                    };
                }
                Flow::Reset => return Err(Cut::Refused),
            }
        };
        let pairs = forward.headers.clone().unwrap_or_default();
        let response = match head::to_response(&pairs, ()) {
            Ok(response) => response,
            Err(error) => {
                eprintln!("tollgate: {error}");
                return Err(Cut::Head);
            }
        };
        self.guard.stream().answered();
        self.length = Some(Length::new(&pairs, bodiless || response.status() == 304));
        self.take(forward)?;
        self.note_end();
        Ok(response.map(|()| self))
    }

    /// Passes the response of a protocol upgrade to the module. The bytes that follow are not read here as a
    /// body.
    pub(super) async fn upgraded(self, response: Response<Incoming>) -> Result<Response<Answer>, Cut> {
        let pairs = head::of_response(&response.into_parts().0);
        let flow = self.guard.stream().response_headers(pairs, false);
        self.begin(flow, false).await
    }

    /// Returns the guard of an exchange whose head has been sent.
    pub(super) fn into_guard(self) -> Guard {
        self.guard
    }

    /// A server that knows the length does not poll for the end, so the last byte completes the exchange.
    fn note_end(&self) {
        if self.is_end_stream() {
            self.guard.complete();
        }
    }

    /// Returns true if the last byte is in `ready`.
    fn ended(&self) -> bool {
        self.length.is_some_and(|length| length.ended())
    }

    /// Polls for the next event of the response.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Flow, hyper::Error>> {
        if let Poll::Ready(Some(flow)) = self.resumed.poll_recv(cx) {
            return Poll::Ready(Ok(flow));
        }
        let Some(upstream) = &mut self.upstream else {
            return Poll::Pending;
        };
        let frame = ready!(Pin::new(&mut *upstream).poll_frame(cx));
        let ended = upstream.is_end_stream();
        let stream = self.guard.stream();
        let (flow, last) = match frame.transpose()? {
            None => (stream.response_body(&[], true), true),
            Some(frame) => match frame.into_data() {
                Ok(bytes) => (stream.response_body(&bytes, ended), ended),
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => (stream.response_trailers(head::of_fields(&trailers)), true),
                    Err(_) => (Flow::Hold, false),
                },
            },
        };
        if last {
            self.upstream = None;
        }
        Poll::Ready(Ok(flow))
    }

    /// Stores a part for the client to read.
    fn take(&mut self, forward: Forward) -> Result<(), Cut> {
        if let Some(length) = &mut self.length {
            length.count(&forward)?;
        }
        if !forward.body.is_empty() {
            self.ready.push_back(Frame::data(forward.body.into()));
        }
        if let Some(trailers) = forward.trailers {
            self.ready.push_back(Frame::trailers(head::to_fields(&trailers).map_err(|_| Cut::Trailers)?));
        }
        Ok(())
    }

    fn cut(&mut self, cut: Cut, ending: &Ending) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.guard.close(ending);
        Poll::Ready(Some(Err(cut)))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                self.note_end();
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.ended() {
                self.guard.complete();
                return Poll::Ready(None);
            }
            match ready!(self.poll_event(cx)) {
                Ok(Flow::Forward(forward)) => {
                    if let Err(cut) = self.take(forward) {
                        eprintln!("tollgate: {cut}");
                        return self.cut(cut, &Ending::Complete);
                    }
                }
                Ok(Flow::Hold) => {}
                Ok(Flow::Reply(_) | Flow::Reset) => return self.cut(Cut::Refused, &Ending::Complete),
                Err(_) => return self.cut(Cut::UpstreamGone, &Ending::UpstreamReset),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended() && self.ready.is_empty()
    }
}
