//! Capabilities of the host, logged when a configuration is loaded: one line about shared data, and one for each
//! that is missing.
//!
//! Callouts are not tried, because hosts refuse them at this moment. Only etcd needs them, and the first call shows
//! whether they work.

use proxy_wasm::types::LogLevel;
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::SharedDataKind;

use crate::host;
use crate::metrics::Metrics;

/// The tick period: corrections are retried, and writes that a trapped VM left are completed.
const TICK_MILLIS: u32 = 1_000;

/// The tick period with etcd, which is polled several times within the second in which a change must be in force.
const ETCD_TICK_MILLIS: u32 = (tollgate_core::etcd::POLL_INTERVAL / 1_000_000) as u32;

/// The number of short ticks in one with etcd. With shared counters streams wait for calls, and no longer than promised.
pub const SHORT_TICKS: u32 = 5;

/// Sets the tick period, and logs what the host lacks.
pub fn announce(kind: SharedDataKind, gateway: &GatewayConfig, metrics: &Metrics) {
    match kind {
        SharedDataKind::CompareAndSwap => {
            host::log(LogLevel::Info, "shared data found: limits are shared by all VMs of this process");
        }
        // A host with `InsertIfAbsent` is refused before.
        SharedDataKind::InsertIfAbsent | SharedDataKind::None => {
            missing("no shared data: limits and budgets cannot be checked, `on_unavailable` applies");
        }
    }
    let etcd = gateway.etcd.is_some();
    let period = match (etcd, gateway.shared_counters()) {
        (_, Some(_)) => ETCD_TICK_MILLIS / SHORT_TICKS,
        (true, None) => ETCD_TICK_MILLIS,
        (false, None) => TICK_MILLIS,
    };
    if host::set_tick_period(period).is_err() {
        missing(match (etcd, kind) {
            (true, _) => "no ticks: etcd is never polled, its policy is not loaded",
            (false, SharedDataKind::None) => "no ticks: not needed without shared data",
            (false, _) => "no ticks: counter corrections that fail are not retried",
        });
    }
    if !metrics.available() {
        missing("no metrics: decisions are in the access log only");
    }
}

/// Logs a missing capability and its effect.
fn missing(text: &str) {
    host::log(LogLevel::Warn, text);
}
