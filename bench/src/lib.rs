//! What a request costs, held against what it must cost.
//!
//! Every figure is of a [`piece::Piece`]: criterion runs the pieces one by one, the report
//! ([`report`]) in turns, so that a machine that is busy with something else is so for all of them.
//!
//! This is measuring code: where it could not go on, it panics with what it saw.

pub mod allocation;
pub mod contention;
pub mod floor;
pub mod load;
pub mod native;
pub mod piece;
pub mod report;
pub mod way;
pub mod world;
