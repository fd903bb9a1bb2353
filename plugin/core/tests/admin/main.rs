//! Tests of the management API against real policies.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod allowances;
mod audit;
mod bodies;
mod ceilings;
mod concurrency;
mod configurations;
mod dry_runs;
mod keeping;
mod keys;
mod lists;
mod may;
mod members;
mod preview;
#[path = "../support/random.rs"]
mod random;
mod roles;
mod self_service;
mod sign_in;
#[allow(dead_code, reason = "these tests need one kind of host")]
#[path = "../support/mod.rs"]
mod support;
mod teams;
mod usage;
mod usage_history;
mod walks;
mod withdrawals;
mod world;
