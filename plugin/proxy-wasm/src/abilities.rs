//! What the host can do, told at the start: a line about shared data, and one for whatever else is missing.
//!
//! Callouts are not tried here: hosts refuse any at this moment. Only a fleet makes some, and its first one tells.

use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::SharedDataKind;

use crate::host::{self, Level};
use crate::metrics::Metrics;

/// How often corrections that lost too many swaps are tried again, and writes finished that a trapped VM left.
const TICK_MILLIS: u32 = 1_000;

/// The same where etcd is to be looked at: several times within the second in which a change is to be everywhere.
const FLEET_TICK_MILLIS: u32 = (tollgate_core::etcd::POLL_INTERVAL / 1_000_000) as u32;

/// Asks for ticks, and says what the host has not.
pub fn announce(kind: SharedDataKind, gateway: &GatewayConfig, metrics: &Metrics) {
    match kind {
        SharedDataKind::CompareAndSwap => {
            host::log(Level::Info, "shared data found: limits are shared by all VMs of this process");
        }
        // A host with `InsertIfAbsent` is refused before.
        SharedDataKind::InsertIfAbsent | SharedDataKind::None => {
            missing("no shared data: limits and budgets cannot be checked, `on_unavailable` applies");
        }
    }
    let fleet = gateway.etcd.is_some();
    if host::set_tick_period(if fleet { FLEET_TICK_MILLIS } else { TICK_MILLIS }).is_err() {
        missing(match (fleet, kind) {
            (true, _) => "no ticks: the fleet's etcd is never looked at, and its changes do not come",
            (false, SharedDataKind::None) => "no ticks: without shared data nothing waits for one",
            (false, _) => "no ticks: a correction of counters that lost to other workers is not tried again",
        });
    }
    if !metrics.work() {
        missing("no metrics: what is decided can be read in the access log only");
    }
}

/// Says what is missing, and what that means.
fn missing(words: &str) {
    host::log(Level::Warning, words);
}
