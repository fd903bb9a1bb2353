//! Every decision of Tollgate: no host, no I/O, no panic, and time only as an argument.
//!
//! A request travels through these modules in this order, which is also the order of rejections:
//!
//! ```text
//! headers -> route -> credential -> identity -> body ---------> target, access -------> admission -> upstream
//!            http::   auth::        auth::      llm::request    exchange::authorize      admission
//!            route    credential    identity                    policy::access           counters
//!
//! client <- headers <----------- settlement <- usage
//!           admission::headers   exchange::    llm::usage
//!                                settle
//!
//! /tollgate/v1 -> decide what is asked -> write it in this process -> write it for the fleet
//!                 admin                   replication                 etcd
//! ```
//!
//! [`exchange`] is the state machine of one request: an adapter feeds it headers, bytes and the time,
//! and carries out the actions it returns. [`replication::PolicyStore`] is the one that changes a policy.
//!
//! Modules form layers; each uses only those above it in this list. The test `layers` holds that.

#![no_std]

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
pub mod http;
pub mod json;
pub mod llm;
pub mod money;
pub mod policy;
pub mod quota;
pub mod replication;
pub mod secret;
pub mod text;
pub mod time;
