//! The hash FNV-1a, 64 bit.

/// Hashes bytes with FNV-1a, 64 bit. Identifies records, and targets within a record, in stored bytes. It does not resist
/// attacks: ids come from the policy.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    continued(0xcbf2_9ce4_8422_2325, bytes)
}

/// Continues a hash: the fingerprint of a text whose first part has the fingerprint `first`.
pub(crate) fn continued(first: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(first, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
