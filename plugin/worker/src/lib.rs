//! Tollgate in a CDN worker: requests in, decisions out, cells in a Durable Object.
//!
//! Two places run this module. The worker, which has no state, reads a request and its answer with
//! [`gateway::GatewayConfig`] and [`exchange::Exchange`]; the organization's object keeps the cells, and
//! admits and settles with [`ledger`]. What passes between the two is bytes of `wire`: a worker and an
//! object of different builds tell one another apart by it. Nothing is decided here.

pub mod exchange;
pub mod gateway;
pub mod ledger;
mod wire;
