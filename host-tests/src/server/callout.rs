//! The HTTP calls that the module makes on its own.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::proxy_wasm::{HttpCall, HttpCallResponse};

use super::forward::{Client, Target, TargetError};
use super::gate::Gate;
use super::head;

/// The size limit of a response, which the module gets as a whole.
const LARGEST: usize = 64 << 20;

/// The targets that one worker's calls may reach, by cluster name.
pub(super) struct Clusters(BTreeMap<String, (Target, Client)>);

impl Clusters {
    pub(super) fn new(targets: &[(String, Target)]) -> Result<Clusters, TargetError> {
        let clusters =
            targets.iter().map(|(name, target)| Ok((name.clone(), (target.clone(), target.client()?))));
        clusters.collect::<Result<_, _>>().map(Clusters)
    }

    /// Makes a call; `None` if it failed or timed out.
    async fn call(&self, call: HttpCall) -> Option<HttpCallResponse> {
        let (target, client) = self.0.get(&call.upstream)?;
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
