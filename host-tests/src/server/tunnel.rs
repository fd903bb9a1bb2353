//! Protocol upgrades: bytes in both directions, which the module sees as endless bodies.

use std::rc::Rc;

use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::proxy_wasm::{Ending, Flow};

use super::Cut;
use super::answer::Answer;
use super::exchange::Reply;
use super::gate::Stream;

/// The size of one read, in bytes.
const CHUNK: usize = 16 << 10;

/// The client's side of an upgrade.
pub(super) struct Tunnel {
    client: OnUpgrade,
}

impl Tunnel {
    pub(super) fn new(client: OnUpgrade) -> Tunnel {
        Tunnel { client }
    }

    /// Passes the upstream's 101 to the module and carries bytes after it has been sent to the client.
    pub(super) async fn open(
        self,
        answer: Answer,
        response: Response<Incoming>,
        upstream: OnUpgrade,
    ) -> Result<Reply, Cut> {
        let response = answer.upgraded(response).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response.map(Either::Left));
        }
        let (head, answer) = response.into_parts();
        let guard = answer.into_guard();
        tokio::task::spawn_local(async move {
            let ending = match (self.client.await, upstream.await) {
                (Ok(client), Ok(upstream)) => {
                    let stream = Rc::clone(guard.stream());
                    carry(&stream, TokioIo::new(client), TokioIo::new(upstream)).await
                }
                (Err(_), _) => Ending::ClientGone,
                (Ok(_), Err(_)) => Ending::UpstreamReset,
            };
            guard.close(&ending);
        });
        Ok(Response::from_parts(head, Either::Right(Empty::new())))
    }
}

/// Carries bytes until both sides have ended or one of them fails.
async fn carry<C, U>(stream: &Stream, client: C, upstream: U) -> Ending
where
    C: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let (client_read, client_write) = tokio::io::split(client);
    let (upstream_read, upstream_write) = tokio::io::split(upstream);
    let there = one_way(client_read, upstream_write, |bytes, end| stream.request_body(bytes, end));
    let back = one_way(upstream_read, client_write, |bytes, end| stream.response_body(bytes, end));
    match tokio::try_join!(there, back) {
        Ok(_) => Ending::Complete,
        Err(_) => Ending::ClientGone,
    }
}

async fn one_way<R, W>(mut from: R, mut to: W, event: impl Fn(&[u8], bool) -> Flow) -> Result<(), Cut>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await.map_err(|_| Cut::ClientGone)?;
        match event(chunk.get(..read).unwrap_or_default(), read == 0) {
            Flow::Forward(forward) => to.write_all(&forward.body).await.map_err(|_| Cut::ClientGone)?,
            Flow::Hold => {}
            Flow::Reply(_) | Flow::Reset => return Err(Cut::Refused),
        }
        if read == 0 {
            return to.shutdown().await.map_err(|_| Cut::ClientGone);
        }
    }
}
