//! Functions on short texts: ASCII, percent-encoding, numbers and durations, hashes.

pub(crate) mod ascii;
pub mod format;
pub mod hash;
pub(crate) mod media_type;
pub(crate) mod percent;
