//! The hosts that the suite runs on.

use std::net::SocketAddr;

use tollgate_host::proxy_wasm::Dialect;
use tollgate_host::server::Server;
use tollgate_host::simulator::Upstream;

use super::{Host, configuration};
use crate::gateway::Gateway;
use crate::native;
use crate::workerd::Workerd;

struct InEnvoy(Gateway);

impl Host for InEnvoy {
    fn address(&self) -> SocketAddr {
        self.0.address()
    }

    fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    fn restart(&mut self) {
        self.0 = Gateway::start(&configuration()).unwrap_or_else(|| panic!("Envoy was there"));
    }
}

impl Host for Workerd {
    fn address(&self) -> SocketAddr {
        Workerd::address(self)
    }

    fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    fn restart(&mut self) {
        Workerd::restart(self);
    }
}

struct InWasmtime {
    dialect: Dialect,
    upstream: Upstream,
    server: Option<Server>,
}

impl InWasmtime {
    fn run(&mut self) {
        self.server = None;
        self.server = Some(native::serve(&configuration(), self.upstream.addr(), self.dialect));
    }
}

impl Host for InWasmtime {
    fn address(&self) -> SocketAddr {
        self.server.as_ref().map_or_else(|| panic!("it runs"), Server::addr)
    }

    fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    fn restart(&mut self) {
        self.run();
    }
}

/// Starts real Envoy, if it can be installed.
pub fn envoy() -> Option<Box<dyn Host>> {
    Some(Box::new(InEnvoy(Gateway::start(&configuration())?)))
}

/// Starts real workerd, if it can be installed.
pub fn workerd() -> Option<Box<dyn Host>> {
    Some(Box::new(Workerd::start(&configuration())?))
}

/// Starts `tollgate serve` as a host of this dialect.
///
/// # Panics
///
/// If it does not start.
pub fn wasmtime(dialect: Dialect) -> Option<Box<dyn Host>> {
    let upstream = Upstream::start_recording().unwrap_or_else(|error| panic!("upstream: {error}"));
    let mut host = InWasmtime { dialect, upstream, server: None };
    host.run();
    Some(Box::new(host))
}
