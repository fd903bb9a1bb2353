//! Counters that the gateways of a fleet share: leased slices of limits and budgets, in an etcd.
//!
//! A [`Row`] counts for the whole fleet. A gateway takes a part of what is left of it as its [`Slice`], spends it without a
//! call, and reports what it spent. A request that its slices do not cover is charged to the rows by a call of its own. All
//! changes of a row are one transaction that compares the row's revision, so that nothing is granted twice, and
//! that repeats no change.
//!
//! ```text
//! <prefix>clock                      the fleet's time, for the first gateway after all were gone: [`FleetTime`]
//! <prefix>era                        put by a gateway that begins the clock; its revision is compared by each join
//! <prefix>member/<gateway>           a gateway that is alive: [`MemberValue`]; attached to its lease
//! <prefix>gateway/<gateway>          a gateway that may hold something; with the time if it is retired
//! <prefix>row/<principal>            [`Row`]
//! <prefix>held/<gateway>/<principal> [`Held`], written only together with the row
//! <prefix>wants/<principal>          a refusal that only slices caused; attached to the lease of its gateway
//! ```
//!
//! | step | code |
//! |---|---|
//! | join, renew, fleet time | [`Clock`], [`Membership`] |
//! | a request that its slices cover | [`Slice::charge`], [`Slice::settle`] |
//! | a call: build, store, send, end | [`Draft`], then [`Slice::finish`] |
//! | a call whose worker was stopped | [`Slice::stale`] |
//! | a gateway that disappeared | [`Row::retire`] |
//! | a lease that ended | [`Slice::renew`] |
//! | a backup that was restored | [`Slice::restore`], [`Row::restore`] |

mod bytes;
mod clock;
mod draft;
mod held;
mod member;
mod row;
mod sizing;
mod slice;
mod slice_bytes;
mod term;

pub use clock::{Clock, ClockReading, FleetNow, FleetTime, MemberValue, MembersRead};
pub use draft::{CallId, Draft, Due, Fleet, Refused, RefusedBy};
pub use held::{Held, HeldBlock, Lane};
pub use member::{FORGET_AFTER, GatewayId, LEASE_SECONDS, MARGIN, Membership, RENEWAL};
pub use row::{Entry, Row, RowBlock, Spent};
pub use sizing::{Demand, backoff};
pub use slice::{
    Ask, CALL_TIMEOUT, Direct, Finished, Grade, Known, Local, MIXED, Outcome, Pending, PendingBlock,
    STALE_CALL, Slice, SliceBlock,
};
pub use slice_bytes::SLICE_MAGIC;
pub use term::Term;

use crate::time::SECOND;

/// The time in nanoseconds within which a spend is reported.
pub const REPORT_WITHIN: u64 = SECOND;
