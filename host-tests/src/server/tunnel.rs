//! Protocol upgrades: bytes in both directions, which the module sees as endless bodies.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::proxy_wasm::{Ending, Flow};

use super::Cut;
use super::answer::Answer;
use super::connection::Connected;
use super::exchange::Reply;
use super::gate::Stream;

/// The size of one read, in bytes.
const CHUNK: usize = 16 << 10;

/// The client's side of an upgrade.
pub(super) struct Tunnel {
    client: OnUpgrade,
    /// The place of the connection among those that are counted.
    connected: Option<Connected>,
    /// The time without a byte in either direction after which it ends.
    idle: Duration,
}

impl Tunnel {
    pub(super) fn new(client: OnUpgrade, connected: Option<Connected>, idle: Duration) -> Tunnel {
        Tunnel { client, connected, idle }
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
                    carry(&stream, TokioIo::new(client), TokioIo::new(upstream), self.idle).await
                }
                (Err(_), _) => Ending::ClientGone,
                (Ok(_), Err(_)) => Ending::UpstreamReset,
            };
            guard.close(&ending);
            drop(self.connected);
        });
        Ok(Response::from_parts(head, Either::Right(Empty::new())))
    }
}

/// Carries bytes until both sides have ended, one of them fails, or no byte comes for too long.
async fn carry<C, U>(stream: &Stream, client: C, upstream: U, idle: Duration) -> Ending
where
    C: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let (client_read, client_write) = tokio::io::split(client);
    let (upstream_read, upstream_write) = tokio::io::split(upstream);
    let last = Cell::new(Instant::now());
    let there = one_way(client_read, upstream_write, &last, |bytes, end| stream.request_body(bytes, end));
    let back = one_way(upstream_read, client_write, &last, |bytes, end| stream.response_body(bytes, end));
    let both = async { tokio::try_join!(there, back) };
    let expired = async {
        while last.get().elapsed() < idle {
            tokio::time::sleep_until(last.get() + idle).await;
        }
    };
    tokio::select! {
        carried = both => match carried {
            Ok(_) => Ending::Complete,
            Err(_) => Ending::ClientGone,
        },
        () = expired => Ending::Idle,
    }
}

async fn one_way<R, W>(
    mut from: R,
    mut to: W,
    last: &Cell<Instant>,
    event: impl Fn(&[u8], bool) -> Flow,
) -> Result<(), Cut>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await.map_err(|_| Cut::ClientGone)?;
        last.set(Instant::now());
        match event(chunk.get(..read).unwrap_or_default(), read == 0) {
            Flow::Forward(forward) => to.write_all(&forward.body).await.map_err(|_| Cut::ClientGone)?,
            Flow::Hold => {}
            Flow::Reply(_) | Flow::Reset => return Err(Cut::Refused),
        }
        last.set(Instant::now());
        if read == 0 {
            return to.shutdown().await.map_err(|_| Cut::ClientGone);
        }
    }
}
