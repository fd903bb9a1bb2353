//! FNV-1a, 64 bit.

/// FNV-1a, 64 bit: names records and targets within a cell, and stands in what is stored. Not a defence: ids come
/// from the policy.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    continued(0xcbf2_9ce4_8422_2325, bytes)
}

/// The fingerprint of a text of which a first part has the fingerprint `first`, and these bytes follow.
pub(crate) fn continued(first: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(first, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
