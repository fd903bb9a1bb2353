//! Validation across the records of a policy.

pub(super) mod affected;
pub(super) mod ceilings;
pub(super) mod references;
pub(super) mod source_map;
