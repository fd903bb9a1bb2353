//! The gateway of `tollgate serve`, in this process.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tollgate_host::build::module;
use tollgate_host::proxy_wasm::{Dialect, Log, Process};
use tollgate_host::server::lines::Lines;
use tollgate_host::server::{BUFFER_LIMIT, Limits, Options, Server, Target};

/// Starts the server with this gateway configuration and upstream, with two workers.
///
/// # Panics
///
/// If the filter cannot be built, or the server does not start.
pub fn serve(configuration: &Value, upstream: SocketAddr, dialect: Dialect) -> Server {
    let module = module::load(&[]).unwrap_or_else(|error| panic!("{error}"));
    let process = Process::builder(&module).dialect(dialect).log(Log::discard()).buffer_limit(BUFFER_LIMIT);
    let upstream = Target::parse(&format!("http://{upstream}")).unwrap_or_else(|error| panic!("{error}"));
    let options = Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        workers: 2,
        process,
        configuration: configuration.to_string().into_bytes(),
        upstream,
        clusters: Vec::new(),
        lines: Lines::discard(),
        drain: Duration::ZERO,
        limits: Limits::default(),
        tls: None,
        console: None,
    };
    Server::start(options).unwrap_or_else(|error| panic!("{error}"))
}
