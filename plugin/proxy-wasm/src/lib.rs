//! Tollgate as a proxy-wasm filter. Nothing is decided here: each callback is passed to the core's
//! [`Exchange`](tollgate_core::exchange::Exchange), and the action it returns is carried out.
//!
//! Traits and types are those of the crate `proxy-wasm`, the Rust SDK. Its dispatcher and most of its host calls panic,
//! which cuts every stream of a worker; `dispatch` and `host` replace them and list what panics.

#![cfg(target_arch = "wasm32")]

mod capabilities;
mod dispatch;
mod held_bodies;
#[cfg_attr(feature = "bare", allow(dead_code, reason = "host calls of the management API"))]
mod host;
mod http_context;
#[cfg(not(feature = "bare"))]
mod management;
#[cfg(feature = "bare")]
#[path = "management_stub.rs"]
mod management;
mod metrics;
mod pending_responses;
mod root_context;
mod rt;
mod settlement_queue;
#[cfg(not(feature = "bare"))]
mod shared_counters;
#[cfg(feature = "bare")]
#[path = "shared_counters_stub.rs"]
mod shared_counters;
#[cfg(not(feature = "bare"))]
mod usage_recorder;
#[cfg(feature = "bare")]
#[path = "usage_recorder_stub.rs"]
mod usage_recorder;
