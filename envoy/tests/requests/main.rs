//! Requests that try to get past the decision, to fill the gateway, or to leave a secret behind, in real Envoy and `tollgate serve`:
//! `shapes` with odd queries, forms, media types and spellings, `router` with a real LiteLLM proxy as the upstream, `strangers` with
//! thousands of bodies of callers without a key, `leaks` with keys in every place of a request.

mod leaks;
mod router;
mod shapes;
mod strangers;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tollgate_host::build::module;
use tollgate_host::proxy_wasm::Process;
use tollgate_host::server::lines::{Captured, Lines};
use tollgate_host::server::{BUFFER_LIMIT, Limits, Options, Server, Target};

/// Starts `tollgate serve` with this configuration before this upstream.
fn serve(configuration: &Value, upstream: SocketAddr) -> (Server, Captured) {
    let module = module::load(&[]).unwrap();
    let (lines, captured) = Lines::capture();
    let server = Server::start(Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        workers: 2,
        process: Process::builder(&module).buffer_limit(BUFFER_LIMIT),
        configuration: configuration.to_string().into_bytes(),
        upstream: Target::parse(&format!("http://{upstream}")).unwrap(),
        clusters: Vec::new(),
        lines,
        drain: Duration::ZERO,
        limits: Limits::default(),
        tls: None,
        console: None,
    });
    (server.unwrap(), captured)
}
