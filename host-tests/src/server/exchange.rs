//! One request from its head to its end.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Either, Empty, Full};
use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::client::legacy;

use crate::proxy_wasm::{Flow, Forward, HeaderMap, StreamInfo};

use super::answer::Answer;
use super::connection::Connected;
use super::console::Console;
use super::forward::{RequestBody, Target};
use super::gate::{Gate, Mail, Stream};
use super::head::{self, BadHead};
use super::inbound::Inbound;
use super::length::Length;
use super::tunnel::Tunnel;
use super::{Cut, forward, lines};

/// The response to a client; the body of a 101 is empty.
pub(super) type Reply = Response<Either<Answer, Empty<Bytes>>>;

/// The state that all exchanges of a worker share.
pub(super) struct Exchanger {
    pub(super) gate: Rc<Gate>,
    pub(super) target: Target,
    pub(super) client: forward::Client,
    pub(super) console: Option<Arc<Console>>,
}

impl Exchanger {
    /// Answers one request. An error ends the connection (HTTP/1.1) or the stream (HTTP/2).
    pub(super) async fn exchange(
        &self,
        mut request: Request<Incoming>,
        info: StreamInfo,
    ) -> Result<Reply, Cut> {
        let leaving = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let upgrade = head::upgrade(&parts);
        let bodiless = parts.method == Method::HEAD;
        let request = lines::Request::of(&parts);
        let (guard, Mail { request: resumed, response, to_response }) = self.gate.open(info, request);
        let stream = Rc::clone(guard.stream());
        let mut answer = Answer::new(guard, response);

        let pairs = match head::of_request(&parts) {
            Ok(pairs) => pairs,
            Err(error) => {
                let flow = stream.reply(400, &format!("{error}\n"), "bad_request_head");
                return local(answer, flow, bodiless).await;
            }
        };
        // The bytes after an upgrade are an endless body, for the module as in Envoy.
        let end = body.is_end_stream();
        if upgrade && !end {
            // Such a body is not part of the tunnel, and the upstream would read it as the next request's
            // head.
            let flow = stream.reply(400, "an upgrade has no body\n", "upgrade_with_body");
            return local(answer, flow, bodiless).await;
        }
        let mut inbound = Inbound::new(&stream, (!end).then_some(body), resumed);
        let mut flow = stream.request_headers(pairs, end && !upgrade);
        let (pairs, first) = loop {
            flow = match flow {
                Flow::Forward(Forward { headers: Some(pairs), body, trailers, end_of_stream }) => {
                    break (pairs, Forward { headers: None, body, trailers, end_of_stream });
                }
                Flow::Forward(_) | Flow::Hold => tokio::select! {
                    flow = inbound.next() => flow.ok_or(Cut::ClientGone)?,
                    flow = answer.interrupted() => flow,
                },
                Flow::Reply(_) => {
                    inbound.linger();
                    return local(answer, flow, bodiless).await;
                }
                Flow::Reset => return Err(Cut::Refused),
            };
        };
        if parts.method == Method::CONNECT {
            let flow = stream.reply(501, "CONNECT is not supported\n", "connect_not_forwarded");
            return local(answer, flow, bodiless).await;
        }

        let mut length = Length::new(&pairs, false);
        let tunnel = (upgrade && head::still_upgrades(&pairs)).then(|| {
            let connected = parts.extensions.get::<Connected>().cloned();
            Tunnel::new(leaving, connected, self.gate.load().limits.stream)
        });
        let body = match tunnel {
            Some(_) => Full::new(Bytes::new()).map_err(never).boxed(),
            None if first.end_of_stream && first.trailers.is_none() => match length.count(&first) {
                Ok(()) => Full::new(inbound.release(first.body)).map_err(never).boxed(),
                Err(cut) => return local(answer, module_erred(&stream, &cut), bodiless).await,
            },
            None => {
                let (sender, channel) = Channel::new(1);
                let pump = tokio::task::spawn_local(inbound.pump(first, sender, length, to_response));
                stream.pumped_by(pump.abort_handle());
                channel.boxed()
            }
        };
        let response = match self.send(&pairs, body) {
            Ok(response) => response,
            Err(error) => return local(answer, module_erred(&stream, &error), bodiless).await,
        };
        let flow = tokio::select! {
            response = response => match response {
                Ok(response) => return answered(answer, response, tunnel, bodiless).await,
                Err(error) => {
                    let (status, text, details) = failure(&error);
                    stream.reply(status, text, details)
                }
            },
            flow = answer.interrupted() => flow,
            () = tokio::time::sleep(self.gate.load().limits.stream) => stream.reply(504, "the upstream did not respond in time\n", "response_timeout"),
        };
        local(answer, flow, bodiless).await
    }

    fn send(&self, pairs: &HeaderMap, body: RequestBody) -> Result<legacy::ResponseFuture, BadHead> {
        Ok(self.client.request(head::to_request(pairs, &self.target, body)?))
    }
}

/// Passes on the upstream's response.
async fn answered(
    answer: Answer,
    mut response: Response<Incoming>,
    tunnel: Option<Tunnel>,
    bodiless: bool,
) -> Result<Reply, Cut> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer.upstream(response, bodiless).await?.map(Either::Left));
    }
    match tunnel {
        Some(tunnel) => {
            let upstream = hyper::upgrade::on(&mut response);
            tunnel.open(answer, response, upstream).await
        }
        None => {
            let text = "the upstream switched the protocol without a request to do so\n";
            let flow = answer.guard().stream().reply(502, text, "unexpected_upgrade");
            local(answer, flow, bodiless).await
        }
    }
}

/// Answers without the upstream.
async fn local(answer: Answer, flow: Flow, bodiless: bool) -> Result<Reply, Cut> {
    Ok(answer.begin(flow, bodiless).await?.map(Either::Left))
}

/// Handles module output that cannot be sent, and logs it for the operator.
fn module_erred(stream: &Stream, error: &dyn std::error::Error) -> Flow {
    eprintln!("tollgate: {error}");
    stream.reply(502, "the filter produced a request that cannot be sent\n", "module_error")
}

fn never(never: Infallible) -> Cut {
    match never {}
}

/// Returns the status, text and details for a failed upstream request.
fn failure(error: &legacy::Error) -> (u16, &'static str, &'static str) {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(cut) = error.downcast_ref::<Cut>() {
            eprintln!("tollgate: {cut}");
            return (502, "the request could not be sent completely\n", "request_cut");
        }
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
            return (504, "connecting to the upstream timed out\n", "connect_timeout");
        }
        cause = error.source();
    }
    if error.is_connect() {
        (502, "the upstream cannot be reached\n", "upstream_connect_failure")
    } else {
        (
            502,
            "the upstream closed the connection before a response\n",
            "upstream_reset_before_response_started",
        )
    }
}

/// Returns the name of a version as proxies log it.
pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
