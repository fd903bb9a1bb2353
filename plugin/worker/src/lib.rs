//! Tollgate in a CDN worker: requests in, decisions out, counters in a Durable Object.
//!
//! This module runs in two places. The worker, which has no state, reads a request and its response with
//! [`gateway::Gateway`] and [`exchange::Exchange`]; the organization's object stores the counters, and admits
//! and settles with [`ledger`]. Their messages are bytes of `wire`, which begin with a format number to
//! detect different builds. All decisions are made in the core.

pub mod exchange;
pub mod gateway;
pub mod ledger;
mod wire;
