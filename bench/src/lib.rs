//! Benches: the cost of a request, compared with the baseline of bare host calls.
//!
//! Every figure is of a [`piece::Piece`]: criterion runs them one by one, the report ([`report`]) in turns,
//! so that other load on the machine affects all of them alike.
//!
//! This is measuring code: it panics with details where it cannot continue.

pub mod allocation;
pub mod contention;
pub mod floor;
pub mod load;
pub mod native;
pub mod piece;
pub mod report;
pub mod way;
pub mod world;
