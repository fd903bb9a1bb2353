//! HTTP calls that the module makes on its own, and their responses.

mod modules;
mod serving;

use std::net::TcpListener;

use modules::recorder;
use serving::{Choices, Client, Serving, eventually, status};
use tollgate_host::server::{Cluster, Target};
use tollgate_host::simulator::Upstream;

/// The request's head dispatches a call to `etcd` and waits; the response continues the request.
const CALL_THEN_GO_ON: &str = "dcccccccckcc";

fn calling(target: &str) -> Choices {
    let target = Target::parse(target).expect("it is a URL");
    Choices { clusters: vec![("etcd".to_owned(), Cluster::Http(target))], ..Choices::default() }
}

#[tokio::test]
async fn a_callout_response_continues_the_request() {
    let other = Upstream::start_recording().expect("loopback has ports");
    let serving = Serving::with(&recorder(), CALL_THEN_GO_ON, calling(&other.url()));
    assert_eq!(status(&mut Client::http1(serving.addr()).await).await, 200);
    assert_eq!(serving.count("callout"), 1);
    let calls = other.recording().requests();
    let [call] = &calls[..] else { panic!("one call: {calls:?}") };
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/"));
}

#[tokio::test]
async fn a_call_to_an_unreachable_cluster_fails_for_the_module() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let serving = Serving::with(&recorder(), CALL_THEN_GO_ON, calling(&format!("http://{free}")));
    assert_eq!(status(&mut Client::http1(serving.addr()).await).await, 200);
    eventually("it was told", || serving.count("callout") == 1).await;
}
