//! The lease client of a VM: counters that a fleet shares in etcd, requests and responses without I/O.
//!
//! The counters themselves, and every decision about them, are in [`crate::fleet`]. [`LeaseClient`] reads and stores slices in
//! shared data, and returns the calls to etcd as [`LeaseEffect`]s.
//!
//! | file | content |
//! |---|---|
//! | `client` | the state of a VM, its ticks, and the effects |
//! | `calls` | the calls under way |
//! | `standing` | the membership: lease, clock, survey of the other members |
//! | `account` | a request against the slices in hand |
//! | `requests` | streams that wait, and the calls that decide about them |
//! | `outcomes` | the results of these calls, and calls whose result is not known |
//! | `rows` | the rows that this VM knows, and the building of a call |
//! | `care` | reports, refills, returns, stopped VMs and gateways that disappeared |
//! | `index` | the names of the slices in shared data |
//! | `keys` | the names of keys in etcd and of records in shared data |

mod account;
mod calls;
mod care;
mod client;
mod index;
mod keys;
mod outcomes;
mod requests;
mod rows;
mod standing;

pub use client::{LeaseClient, LeaseEffect};
