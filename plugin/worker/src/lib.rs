//! Tollgate in a CDN worker: requests in, decisions out, counters in a Durable Object.
//!
//! This module runs in two places. The worker, which has no state, reads a request and its response with
//! [`config::Gateway`] and [`exchange::Exchange`]; the organization's object stores the counters, and admits
//! and settles with [`counters`]. Their messages are bytes of `wire`, which begin with a format number to
//! detect different builds. All decisions are made in the core.

pub mod config;
pub mod counters;
pub mod exchange;
mod wire;
