//! Delivery of a response: at once or in chunks, encoded, cut off.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::answer::Answer;
use super::record::{Recorded, Recording};
use super::simulate::{Gzip, Simulation};
use super::{Body, whole};

/// The end of a response that is simulated to break off.
#[derive(Debug, thiserror::Error)]
#[error("cut, as x-simulate requested")]
pub struct Broken;

const TRAILER: &str = "x-upstream-trailer";

/// Sends a response as the simulation specifies.
pub fn deliver(answer: Answer, request: &HeaderMap, simulation: &Simulation) -> Response<Body> {
    let stream = answer.is_stream();
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert("x-request-id", HeaderValue::from_static("req_simulated"));

    let mut chunks = answer.chunks;
    if encodes(simulation.gzip, request) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        chunks = gzip(&chunks);
    }
    if let Some(size) = simulation.chunk_bytes {
        let all = chunks.concat();
        chunks = all.chunks(size).map(Bytes::copy_from_slice).collect();
    }
    if !stream && !simulation.trailers {
        let length: usize = chunks.iter().map(Bytes::len).sum();
        headers.insert(header::CONTENT_LENGTH, length.into());
        if simulation.cut_after.is_none() && chunks.len() == 1 {
            return response.map(|()| whole(chunks.concat().into()));
        }
    }
    if simulation.trailers {
        headers.insert(header::TRAILER, HeaderValue::from_static(TRAILER));
    }
    let (sender, body) = Channel::new(1);
    tokio::spawn(send(sender, chunks, simulation.clone()));
    response.map(|()| body.boxed())
}

async fn send(mut sender: Sender<Bytes, Broken>, chunks: Vec<Bytes>, simulation: Simulation) {
    for (number, chunk) in chunks.into_iter().enumerate() {
        if number > 0 && !simulation.pause.is_zero() {
            tokio::time::sleep(simulation.pause).await;
        }
        if simulation.cut_after.is_some_and(|after| number >= after) {
            // The bytes sent so far must arrive before the end of the connection.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            return sender.abort(Broken);
        }
        if sender.send_data(chunk).await.is_err() {
            return;
        }
    }
    if simulation.trailers {
        let mut trailers = HeaderMap::new();
        trailers.insert(TRAILER, HeaderValue::from_static("end"));
        let _ = sender.send_trailers(trailers).await;
    }
}

fn encodes(gzip: Gzip, request: &HeaderMap) -> bool {
    match gzip {
        Gzip::Off => false,
        Gzip::Forced => true,
        Gzip::Accepted => request.get_all(header::ACCEPT_ENCODING).iter().any(|value| {
            let value = String::from_utf8_lossy(value.as_bytes());
            value.split(',').any(|coding| coding.split(';').next().is_some_and(|name| name.trim() == "gzip"))
        }),
    }
}

/// Compresses chunks. Each is flushed, so that a stream is not delayed.
fn gzip(chunks: &[Bytes]) -> Vec<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut encoded = Vec::new();
    for chunk in chunks {
        // Writing to memory cannot fail.
        let _ = encoder.write_all(chunk).and_then(|()| encoder.flush());
        encoded.push(Bytes::from(std::mem::take(encoder.get_mut())));
    }
    encoded.push(encoder.finish().unwrap_or_default().into());
    encoded
}

/// Sends the request's body back as it arrives.
pub fn mirror(
    head: &Parts,
    mut incoming: Incoming,
    mut recorded: Recorded,
    recording: Option<Arc<Recording>>,
) -> Response<Body> {
    let (mut sender, body) = Channel::new(1);
    let mut response = Response::new(body.boxed());
    for name in [header::CONTENT_TYPE, header::TRAILER] {
        if let Some(value) = head.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    tokio::spawn(async move {
        recorded.complete = loop {
            match incoming.frame().await {
                None => break true,
                Some(Err(_)) => break false,
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        recorded.body.extend_from_slice(bytes);
                    }
                    if let Some(trailers) = frame.trailers_ref() {
                        recorded.trailers = Some(trailers.clone());
                    }
                    if sender.send(frame).await.is_err() {
                        break false;
                    }
                }
            }
        };
        let complete = recorded.complete;
        if let Some(recording) = recording {
            recording.push(recorded);
        }
        if !complete {
            sender.abort(Broken);
        }
    });
    response
}

/// Accepts any upgrade and sends back every byte.
pub fn upgrade(request: &mut Request<Incoming>) -> Response<Body> {
    let upgraded = hyper::upgrade::on(&mut *request);
    tokio::spawn(async move {
        if let Ok(stream) = upgraded.await {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(stream));
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut write).await;
        }
    });
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = request.headers().get(header::UPGRADE) {
        response.headers_mut().insert(header::UPGRADE, protocol.clone());
    }
    response
}
