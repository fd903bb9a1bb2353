//! The baseline: the work that any filter must do, bare. The guest module makes the same host calls on
//! records of the same size, a digest, a look-up, a scan, and nothing else.

use std::sync::OnceLock;

use serde_json::{Value, json};
use tollgate_core::secret::api_key;
use tollgate_host::build::module;
use tollgate_host::proxy_wasm::{Module, Process, Vm};

use crate::way::{self, Call};
use crate::world;

/// A record in shared data: its name and its size in bytes.
pub type Record = (String, usize);

/// Returns the guest module.
///
/// # Panics
/// If it cannot be built.
pub fn guest() -> &'static Module {
    static GUEST: OnceLock<Module> = OnceLock::new();
    GUEST.get_or_init(|| {
        module::build_package("tollgate-bench-guest", "bench-guest", &[])
            .and_then(|path| module::load_built(&path))
            .unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Returns the counter records that the filter keeps for a call under this configuration.
pub fn cells(gateway: &Value, call: &Call) -> Vec<Record> {
    let process = way::process(way::filter(), gateway);
    call.once(&mut way::vm(&process));
    let records = process.shared_data().snapshot().into_iter();
    records
        .map(|(name, bytes)| (String::from_utf8_lossy(&name).into_owned(), bytes.len()))
        .filter(|(name, _)| {
            ["/key/", "/member/", "/user/", "/team/", "/organization/"].iter().any(|of| name.contains(of))
        })
        .collect()
}

/// The parts of each callback of the guest.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// On the request's head.
    pub request_headers: Vec<Value>,
    /// On each part of the request's body.
    pub request_body: Vec<Value>,
    /// On the response's head.
    pub response_headers: Vec<Value>,
    /// On each part of the response's body.
    pub response_body: Vec<Value>,
    /// The number of repetitions; 0 means one.
    pub times: u32,
}

impl Script {
    /// Creates a VM with this script and the index of this configuration.
    pub fn vm(&self, gateway: &Value) -> Vm {
        let configuration = json!({
            "policy": gateway["policy"],
            "request_headers": self.request_headers,
            "request_body": self.request_body,
            "response_headers": self.response_headers,
            "response_body": self.response_body,
            "times": self.times.max(1),
        });
        let process: Process = way::process(guest(), &configuration);
        way::vm(&process)
    }
}

/// Reads the head, digests the key and looks it up.
pub fn identity() -> Vec<Value> {
    let secret = world::secret();
    let digest = api_key::digest(secret.as_bytes());
    vec![json!("head"), json!({"digest": secret}), json!({"look_up": digest})]
}

/// Makes the header changes for the upstream.
pub fn edits() -> Vec<Value> {
    let facts = [("organization", "acme"), ("team", "ml"), ("key", "bench"), ("target", "gpt-5-mini")];
    let replace = |(name, value)| json!({"replace": [format!("x-tollgate-{name}"), value]});
    [json!({"remove": "authorization"})].into_iter().chain(facts.into_iter().map(replace)).collect()
}

/// Makes the header changes for the client.
pub fn told() -> Vec<Value> {
    let of = |kind: &str| {
        [("limit", "4000000000"), ("remaining", "3999999000"), ("reset", "59.5s")]
            .map(|(what, value)| json!({"answer_replace": [format!("x-ratelimit-{what}-{kind}"), value]}))
    };
    let scope = json!({"answer_replace": ["x-tollgate-scope", "organization_rpm"]});
    of("requests").into_iter().chain(of("tokens")).chain([scope]).collect()
}

/// Makes one read and one swap of each record.
pub fn swaps(records: &[Record]) -> Vec<Value> {
    records.iter().map(|(name, size)| json!({"cell": [name, size]})).collect()
}
