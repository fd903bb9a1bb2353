//! Functions on short texts: ASCII, percent-encoding, hidden characters, numbers and durations, hashes.

pub(crate) mod ascii;
pub mod escape;
pub mod format;
pub mod hash;
pub(crate) mod media_type;
pub(crate) mod percent;
