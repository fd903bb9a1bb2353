//! Envoy with the filter and a simulated provider that records its requests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate_host::simulator::Upstream;
use tollgate_host::{build::module, tools};

use crate::client::{self, Connection, Request, Response};
use crate::envoy::{Envoy, Folder};
use crate::shipped::{self, Protocol, Site};

/// The number of worker threads of these Envoys.
pub const WORKERS: u32 = 4;

/// A gateway and its upstream. Both end with this value.
#[derive(Debug)]
pub struct Gateway {
    /// The Envoy process.
    pub envoy: Envoy,
    /// The simulated provider, for both upstreams.
    pub upstream: Upstream,
}

impl Gateway {
    /// Starts Envoy with this gateway configuration. Returns `None` after a message if Envoy cannot be
    /// installed.
    ///
    /// # Panics
    ///
    /// If the filter cannot be built, or Envoy does not start.
    pub fn start(configuration: &Value) -> Option<Self> {
        Self::with(configuration, filter(&[]), Protocol::Http1)
    }

    /// Starts Envoy with these options of `envoy.yaml`. `prepare` gets the folder before the start.
    ///
    /// # Panics
    ///
    /// If Envoy does not start.
    pub fn with_options(
        configuration: &Value,
        options: &[&str],
        prepare: impl FnOnce(&Path),
    ) -> Option<Self> {
        let program = tools::require(tools::envoy())?;
        let upstream = Upstream::start_recording().unwrap_or_else(|error| panic!("upstream: {error}"));
        let site = site(configuration, upstream.addr());
        let folder = Folder::new();
        shipped::lay_out_with(folder.path(), &site, options);
        prepare(folder.path());
        Some(Self { envoy: Envoy::run(&program, folder, WORKERS), upstream })
    }

    /// Starts Envoy with this module and this protocol of the upstream.
    ///
    /// # Panics
    ///
    /// If Envoy does not start.
    pub fn with(configuration: &Value, module: PathBuf, protocol: Protocol) -> Option<Self> {
        let program = tools::require(tools::envoy())?;
        let upstream = Upstream::start_recording().unwrap_or_else(|error| panic!("upstream: {error}"));
        let site = Site {
            module,
            configuration: Some(configuration.to_string()),
            upstream: upstream.addr(),
            protocol,
        };
        let envoy = Envoy::start(&program, &site, WORKERS);
        let refused = envoy.stat("extension_config_discovery.http_filter.tollgate.update_rejected");
        assert_eq!(refused, 0, "the filter refuses the configuration:\n{}", envoy.log());
        Some(Self { envoy, upstream })
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.envoy.address()
    }

    /// Opens a persistent connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address())
    }

    /// Sends one request on a new connection.
    pub fn request(&self, request: &Request) -> Response {
        client::request(self.address(), request)
    }

    /// Asserts that no VM has trapped since the start.
    ///
    /// # Panics
    ///
    /// If one has.
    pub fn assert_no_trap(&self) {
        self.envoy.assert_no_trap();
    }
}

/// Returns the site with this gateway configuration and this HTTP/1.1 upstream.
///
/// # Panics
///
/// If the filter cannot be built.
pub fn site(configuration: &Value, upstream: SocketAddr) -> Site {
    Site {
        module: filter(&[]),
        configuration: Some(configuration.to_string()),
        upstream,
        protocol: Protocol::Http1,
    }
}

/// Builds the filter with these of its features.
///
/// # Panics
///
/// If it cannot be built.
pub fn filter(features: &[&str]) -> PathBuf {
    module::build(features).unwrap_or_else(|error| panic!("{error}"))
}
