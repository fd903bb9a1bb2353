//! Tollgate as a proxy-wasm filter: callbacks in, decisions out.
//!
//! `dispatch` exports the callbacks, `host` wraps the host calls that are needed, `abilities` says which of
//! them a host lacks, `root` holds a configuration, `corrections` and `answers` what outlives one, `stream` carries one request
//! through the core's [`Exchange`](tollgate_core::exchange::Exchange), `memory` hands out what it needs. Nothing is
//! decided here.

#![cfg(target_arch = "wasm32")]

mod abilities;
mod answers;
mod copy;
mod corrections;
mod dispatch;
#[cfg_attr(feature = "bare", allow(dead_code, reason = "the calls of management"))]
mod host;
#[cfg(not(feature = "bare"))]
mod manage;
#[cfg(feature = "bare")]
#[path = "unmanaged.rs"]
mod manage;
mod memory;
mod metrics;
mod root;
mod stream;

#[global_allocator]
static MEMORY: memory::Memory = memory::Memory::new();
