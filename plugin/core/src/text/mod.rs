//! Functions on short texts: ASCII, percent-encoding, numbers and durations, hashes.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub(crate) mod ascii;
pub mod format;
pub mod hash;
pub(crate) mod media_type;
pub(crate) mod percent;
