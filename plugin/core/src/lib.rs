//! The decisions of Tollgate, an API gateway filter: identity, access, rate limits and budgets of each request, and the
//! management API. The crate has no host, no I/O, no clock and no panics; time is an argument, and stores are traits.
//! Adapters (`plugin/proxy-wasm`, `plugin/worker`) feed it headers and bytes, and carry out the actions it returns.
//! `README.md` beside this crate has the glossary.
//!
//! # The path of a request
//!
//! [`exchange::Exchange`] is the state machine of one request. The checks run in this order, and the first that fails
//! rejects the request:
//!
//! | step | code | rejection |
//! |---|---|---|
//! | find the route | [`http::route`] | 404, 400 |
//! | read the credential | [`auth::credential`] | 401, 400 |
//! | identify key, team, organization and user | [`exchange::authorize`], [`auth::identity`] | 401, 403, 503 |
//! | remove the credential and forged identity headers | `exchange/sanitize.rs` | |
//! | read the body | [`llm::request`] | 400, 413, 415 |
//! | find the target and check access to it | [`exchange::authorize`], [`policy::access`] | 403, 400 |
//! | require bounds and a price | [`exchange::authorize`] | 400, 403 |
//! | reserve tokens and cost | `exchange/reserve.rs` | |
//! | admit against every limit and budget | [`admission::acquire`], [`counters`] | 429, 400, 503 |
//! | forward | [`exchange::Forward`] | |
//! | read the usage in the response | [`llm::usage`] | |
//! | settle | `exchange/settle.rs`, [`admission::settle`] | |
//!
//! # Where to find
//!
//! | question | answer |
//! |---|---|
//! | a status and its error code | [`http::rejection::Rejection::label`] |
//! | a 403 for a model | `granted`, `catalogued` and `named_target` in `exchange/authorize.rs`, by [`policy::access::AccessChain::reach`] |
//! | `Retry-After`: the header | `refuse_always` in `exchange/forward.rs`, by [`http::rejection::Rejection::retry_after`] |
//! | `Retry-After`: the duration | `wait` in `counters/sliding_window.rs`, `until_over` in `counters/calendar.rs`; [`admission::acquire`] collects it as [`quota::QuotaExceeded::wait`], and `quota/violation.rs` keeps the longest |
//! | the rate-limit headers | [`admission::headers`], from [`admission::status`] |
//! | a key rotation: the decision | `rotate` in `admin/keys.rs`, as an [`admin::Write`] with a [`policy::Change`] |
//! | a key rotation: the storage | [`replication::PolicyStore::manage`]: `commit` in `replication/journal.rs`; in a fleet `decide_write` in `replication/etcd_store.rs`, then `CommitOperation` in `etcd/commit.rs` |
//! | a key rotation: the old secret | [`policy::KeyDetails::previous`], found by [`policy::Policy::key_by_digest`] |
//! | the endpoints of the management API | `ENDPOINTS` in `admin/route.rs` |
//! | the fields of a policy document | `policy/load/records.rs` |
//! | the cost of a call | `exchange/cost.rs`, at prices that [`money::Price`] chooses |
//! | the steps that `tollgate explain` prints | [`exchange::Step`] |
//!
//! # Layers
//!
//! A module uses only modules to the left of it. The test `layers` checks this.
//!
//! ```text
//! collections money time text | secret json api | quota counters admission fleet ledger | policy | llm http auth config
//!     | admin | exchange | etcd leases replication
//! ```

#![no_std]
// A new variant of `Api`, `Window` or `PrincipalKind` is a compile error in every place that must treat it.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admin;
pub mod admission;
pub mod api;
pub mod auth;
pub mod collections;
pub mod config;
pub mod counters;
pub mod etcd;
pub mod exchange;
pub mod fleet;
pub mod http;
pub mod json;
pub mod leases;
pub mod ledger;
pub mod llm;
pub mod money;
pub mod policy;
pub mod quota;
pub mod replication;
pub mod secret;
pub mod text;
pub mod time;
