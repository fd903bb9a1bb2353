//! The behavior of a gateway in any host: one list of cases, and a table of the hosts that pass them.

mod cases;
mod hosts;
mod table;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate_host::simulator::Upstream;

use crate::world::key_of;

pub use self::hosts::{envoy, wasmtime, workerd};
pub use self::table::hold;

/// A host with the filter and [`configuration`].
pub trait Host {
    /// Returns the address for clients.
    fn address(&self) -> SocketAddr;

    /// Returns the upstream of allowed requests.
    fn upstream(&self) -> &Upstream;

    /// Stops and starts the host, with the state that it persists.
    fn restart(&mut self);
}

/// The outcome of a case that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The behavior holds.
    Holds,
    /// The host stores no state, and the gateway rejects with 503 `limits_unavailable`.
    LimitsUnavailable,
    /// Counters start from zero with the process.
    StartsFromZero,
    /// A tool is missing on this machine.
    NotTried,
}

impl Outcome {
    /// Returns the text in the table.
    fn words(self) -> &'static str {
        match self {
            Outcome::Holds => "yes",
            Outcome::LimitsUnavailable => "503",
            Outcome::StartsFromZero => "from zero",
            Outcome::NotTried => "?",
        }
    }
}

/// One behavior. The function panics if the gateway deviates from it.
struct Case {
    name: &'static str,
    run: fn(&mut dyn Host) -> Outcome,
}

/// Runs every case, in order.
///
/// # Panics
///
/// If one fails.
pub fn run(host: &mut dyn Host) -> Vec<(&'static str, Outcome)> {
    let run = |case: &Case| {
        println!("{}", case.name);
        (case.name, (case.run)(host))
    };
    cases::ALL.iter().map(run).collect()
}

/// Returns a gateway configuration with a team for each case.
pub fn configuration() -> Value {
    let price = json!({"input": "1.00", "output": "10.00"});
    let limited = |limits: Value| json!({"organization": "acme", "name": "Limited", "limits": limits});
    let mut keys = json!({
        "open": key_of("open", "open"),
        "good": key_of("ml", "good"),
        "expired": key_of("ml", "expired"),
        "poor": key_of("poor", "poor"),
        "three": key_of("three", "three"),
        "agent": key_of("sdk", "agent"),
        "crowd": key_of("crowd", "crowd"),
        "spender": key_of("spender", "spender"),
        "metered": key_of("metered", "metered"),
        "left": key_of("left", "left"),
        "kept": key_of("kept", "kept"),
    });
    keys["expired"]["expires_at"] = json!("2020-01-01T00:00:00Z");
    json!({
        "policy": {
            "version": 1,
            "targets": {
                "gpt-5-mini": {"access_groups": ["small"], "price": price},
                "text-embedding-3-small": {"access_groups": ["small"], "price": price},
                "gpt-5": {},
            },
            "organizations": {"acme": {"name": "Acme", "access": {"access_groups": ["small"]}}},
            "teams": {
                "open": {"organization": "acme", "name": "Open"},
                "ml": limited(json!({"rpm": 1_000, "tpm": 10_000_000})),
                "poor": {"organization": "acme", "name": "Poor", "budget": {"max": "0.00001"}},
                "three": limited(json!({"rpm": 3})),
                "sdk": limited(json!({"rpm": 3})),
                "crowd": limited(json!({"rpm": cases::CROWD_LIMIT})),
                "spender": {"organization": "acme", "name": "Spender", "budget": {"max": "0.44"}},
                "metered": limited(json!({"tpd": 1_000_000})),
                "left": limited(json!({"tpd": 1_000_000})),
                "kept": limited(json!({"rpd": 2})),
            },
            "keys": keys,
        }
    })
}
