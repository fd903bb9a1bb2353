//! Gateways that share an etcd.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_host::simulator::Upstream;
use tollgate_host::tools;

use crate::client::{self, Connection, Request, Response};
use crate::envoy::{Envoy, Folder};
use crate::gateway::{WORKERS, site};
use crate::shipped;
use crate::world::digest;

/// Returns the token of a user in [`configuration`].
pub fn token(user: &str) -> String {
    format!("tg-test-{user}")
}

/// Returns a gateway configuration for a fleet with counters of each gateway's own: `acme` with the team `search`, its admin `ada`, and
/// developers `bob` and `eve`; `root` is the platform's admin. Their tokens are [`token`].
pub fn configuration() -> Value {
    let user = |name: &str| json!({"name": name, "tokens": [digest(&token(name))]});
    let mut root = user("root");
    root["role"] = json!("platform_admin");
    json!({
        "fleet": {"cluster": "etcd", "counters": "own"},
        "policy": {
            "version": 1,
            "targets": {"gpt-5-mini": {}},
            "organizations": {"acme": {
                "name": "Acme",
                "access": {"targets": ["gpt-5-mini"]},
                "members": {"ada": "org_member", "bob": "org_member", "eve": "org_member"},
            }},
            "users": {"root": root, "ada": user("ada"), "bob": user("bob"), "eve": user("eve")},
            "teams": {"search": {
                "organization": "acme",
                "name": "Search",
                "limits": {"rpm": 100_000},
                "self_service": {"enabled": true, "max_keys_per_user": 3},
                "members": {"ada": "team_admin", "bob": "team_developer", "eve": "team_developer"},
            }},
        }
    })
}

/// One gateway of a fleet with its own upstream.
#[derive(Debug)]
pub struct Member {
    /// The Envoy process.
    pub envoy: Envoy,
    /// The upstream of allowed requests.
    pub upstream: Upstream,
    program: PathBuf,
    configuration: Value,
    etcd: SocketAddr,
}

impl Member {
    /// Starts a gateway with this configuration and this etcd. Returns `None` after a message if Envoy cannot
    /// be installed.
    ///
    /// # Panics
    ///
    /// If Envoy does not start.
    pub fn start(configuration: &Value, etcd: SocketAddr) -> Option<Self> {
        let program = tools::require(tools::envoy())?;
        let upstream = Upstream::start_recording().unwrap_or_else(|error| panic!("upstream: {error}"));
        let envoy = run(&program, configuration, &upstream, etcd);
        Some(Self { envoy, upstream, program, configuration: configuration.clone(), etcd })
    }

    /// Kills Envoy, as a crash does, and starts it again with its first configuration.
    ///
    /// # Panics
    ///
    /// If Envoy does not start.
    pub fn crash(&mut self) {
        self.envoy.kill();
        self.envoy = run(&self.program, &self.configuration, &self.upstream, self.etcd);
    }

    /// Checks that the filter has not trapped.
    ///
    /// # Panics
    ///
    /// If it has.
    pub fn assert_no_trap(&self) {
        let log = self.envoy.log();
        assert!(!log.contains("Function: proxy_") && !log.contains("Uncaught"), "{log}");
    }

    /// Opens a persistent connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.envoy.address())
    }

    /// Sends one request on a new connection.
    pub fn request(&self, request: &Request) -> Response {
        client::request(self.envoy.address(), request)
    }

    /// Sends one request to the management API as this user.
    pub fn manage(&self, user: &str, method: &str, path: &str, body: Option<&Value>) -> Response {
        self.request(&manage(user, method, path, body))
    }
}

/// Waits until a condition holds, and returns the time that it took.
///
/// # Panics
///
/// If it does not hold within `patience`.
pub fn until(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < patience, "waited too long until {what}");
        thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

/// Creates a request to the management API as this user.
pub fn manage(user: &str, method: &str, path: &str, body: Option<&Value>) -> Request {
    let request = Request::new(method, &format!("/tollgate/v1{path}")).bearer(&token(user));
    match body {
        Some(body) if method == "PATCH" => {
            request.header("content-type", "application/merge-patch+json").body(body.to_string())
        }
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    }
}

fn run(program: &std::path::Path, configuration: &Value, upstream: &Upstream, etcd: SocketAddr) -> Envoy {
    let site = site(configuration, upstream.addr());
    let folder = Folder::new();
    shipped::lay_out(folder.path(), &site);
    shipped::add_etcd(folder.path(), &site, etcd);
    let envoy = Envoy::run(program, folder, WORKERS);
    let refused = envoy.stat("extension_config_discovery.http_filter.tollgate.update_rejected");
    assert_eq!(refused, 0, "the filter refuses the configuration:\n{}", envoy.log());
    envoy
}
