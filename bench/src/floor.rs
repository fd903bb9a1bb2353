//! What must be done in any case, bare: the same host calls on records of the same size, a digest, a
//! look-up, a scan. The guest module does them and nothing else.

use std::sync::OnceLock;

use serde_json::{Value, json};
use tollgate_core::secret::api_key;
use tollgate_host::host::{Module, Process, Vm};
use tollgate_host::module;

use crate::way::{self, Call};
use crate::world;

/// A record in shared data: its name, and how many bytes it has.
pub type Record = (String, usize);

/// The guest.
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

/// The cells that the filter keeps for a call under this configuration, as they really are.
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

/// What each callback of the guest does.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// On the request's head.
    pub request_headers: Vec<Value>,
    /// On each piece of its body.
    pub request_body: Vec<Value>,
    /// On the answer's head.
    pub response_headers: Vec<Value>,
    /// On each piece of its body.
    pub response_body: Vec<Value>,
    /// How often; 0 is once.
    pub times: u32,
}

impl Script {
    /// A VM that follows it, with the index of this gateway.
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

/// Reading the head, the digest of the key, its look-up.
pub fn identity() -> Vec<Value> {
    let secret = world::secret();
    let digest = api_key::digest(secret.as_bytes());
    vec![json!("head"), json!({"digest": secret}), json!({"look_up": digest})]
}

/// What the upstream must be told, and what it must not.
pub fn edits() -> Vec<Value> {
    let facts = [("organization", "acme"), ("team", "ml"), ("key", "bench"), ("target", "gpt-5-mini")];
    let replace = |(name, value)| json!({"replace": [format!("x-tollgate-{name}"), value]});
    [json!({"remove": "authorization"})].into_iter().chain(facts.into_iter().map(replace)).collect()
}

/// What the client must be told.
pub fn told() -> Vec<Value> {
    let of = |kind: &str| {
        [("limit", "4000000000"), ("remaining", "3999999000"), ("reset", "59.5s")]
            .map(|(what, value)| json!({"answer_replace": [format!("x-ratelimit-{what}-{kind}"), value]}))
    };
    let scope = json!({"answer_replace": ["x-tollgate-scope", "organization_rpm"]});
    of("requests").into_iter().chain(of("tokens")).chain([scope]).collect()
}

/// One read and one swap of each record.
pub fn swaps(records: &[Record]) -> Vec<Value> {
    records.iter().map(|(name, size)| json!({"cell": [name, size]})).collect()
}
