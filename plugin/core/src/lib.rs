//! Every decision Tollgate takes, and nothing else: no host, no clock, no I/O, no panic.
//!
//! A request travels through these modules in this order, which is also the order of refusals:
//!
//! ```text
//! head -> route ----> credential ----> identity ----> body -> target, access ---> admission ----> upstream
//!         route.rs    credential.rs    identity.rs    body/   exchange/decide.rs  admission.rs
//!                                      policy/                policy/access.rs    cell/
//!
//! client <- headers <- settlement <- usage
//!           standing.rs  admission.rs  meter/
//!
//! /tollgate/v1 -> what is asked -> what is written, and kept in this process -> in all gateways
//!                 manage/          documents/                                   fleet/
//! ```
//!
//! [`exchange`] is the state machine that walks it: an adapter feeds it heads, bytes and the time,
//! and carries out what it answers. [`documents::Keeper`] is the other one, for what changes a policy.

extern crate alloc;

pub mod admission;
pub mod body;
pub mod cell;
pub mod credential;
pub mod denial;
pub mod documents;
pub mod exchange;
pub mod facts;
pub mod fleet;
pub mod framing;
pub mod gateway;
pub mod head;
pub mod identity;
pub mod json;
pub mod key;
pub mod limits;
pub mod manage;
pub mod meter;
pub mod models;
pub mod money;
pub mod policy;
pub mod refusal;
pub mod route;
pub mod sketch;
mod sort;
pub mod standing;
pub mod time;
mod tree;
mod words;
