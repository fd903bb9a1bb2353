//! The HTTP calls that the module makes on its own.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::proxy_wasm::{HeaderMap, HttpCall, HttpCallResponse};
use crate::store::{Reply, Store};

use super::forward::{Client, Target, TargetError};
use super::gate::Gate;
use super::head;

/// The size limit of a response, which the module gets as a whole.
const LARGEST: usize = 64 << 20;

/// A target of the module's calls.
#[derive(Clone, Debug)]
pub enum Cluster {
    /// A server.
    Http(Target),
    /// An embedded store, which answers like an etcd.
    Store(Store),
}

/// The targets that one worker's calls may reach, by cluster name.
pub(super) struct Clusters(BTreeMap<String, Reached>);

enum Reached {
    Http(Box<(Target, Client)>),
    Store(Store),
}

impl Clusters {
    pub(super) fn new(clusters: &[(String, Cluster)]) -> Result<Clusters, TargetError> {
        let reached = clusters.iter().map(|(name, cluster)| {
            let reached = match cluster {
                Cluster::Http(target) => Reached::Http(Box::new((target.clone(), target.client()?))),
                Cluster::Store(store) => Reached::Store(store.clone()),
            };
            Ok((name.clone(), reached))
        });
        reached.collect::<Result<_, _>>().map(Clusters)
    }

    /// Makes a call; `None` if it failed or timed out.
    async fn call(&self, call: HttpCall) -> Option<HttpCallResponse> {
        let (target, client) = match self.0.get(&call.upstream)? {
            Reached::Http(reached) => &**reached,
            Reached::Store(store) => {
                return tokio::time::timeout(call.timeout, ask(store, call)).await.ok()?;
            }
        };
        let body = Full::new(Bytes::from(call.body)).map_err(|never| match never {}).boxed();
        let request = head::to_request(&call.headers, target, body).ok()?;
        let answered = async {
            let (parts, body) = client.request(request).await.ok()?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.ok()?;
            let trailers = body.trailers().map(head::of_fields).unwrap_or_default();
            let body = body.to_bytes().to_vec();
            Some(HttpCallResponse { headers: head::of_response(&parts), body, trailers })
        };
        tokio::time::timeout(call.timeout, answered).await.ok()?
    }
}

/// Makes a call to a store, which has a thread of its own.
async fn ask(store: &Store, call: HttpCall) -> Option<HttpCallResponse> {
    let path = String::from_utf8_lossy(call.headers.get(":path")?).into_owned();
    let Reply { status, body } = store.call(&path, call.body).await?;
    let headers =
        HeaderMap::from([(":status", status.to_string().as_str()), ("content-type", "application/json")]);
    Some(HttpCallResponse { headers, body, trailers: HeaderMap::new() })
}

/// A call and the generation of the VM that made it: a VM that was replaced since gets no response.
struct Made {
    call: HttpCall,
    generation: u64,
}

/// The queue that a worker's VM puts its calls into.
pub(super) struct Outbox(UnboundedSender<Made>);

/// The receiving end of the queue.
pub(super) struct Calls(UnboundedReceiver<Made>);

pub(super) fn outbox() -> (Outbox, Calls) {
    let (sender, receiver) = unbounded_channel();
    (Outbox(sender), Calls(receiver))
}

impl Outbox {
    pub(super) fn leave(&self, calls: Vec<HttpCall>, generation: u64) {
        for call in calls {
            // An error means that the worker ends.
            let _ = self.0.send(Made { call, generation });
        }
    }
}

/// Makes the calls of a VM concurrently for as long as it is polled.
pub(super) async fn carry_out(mut calls: Calls, clusters: Clusters, gate: Rc<Gate>) {
    let clusters = Rc::new(clusters);
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            made = calls.0.recv() => {
                let Some(Made { call, generation }) = made else { return };
                let (clusters, gate) = (Rc::clone(&clusters), Rc::clone(&gate));
                open.spawn_local(async move {
                    let token = call.token;
                    gate.called(token, generation, clusters.call(call).await);
                });
            }
            Some(_) = open.join_next() => {}
        }
    }
}
