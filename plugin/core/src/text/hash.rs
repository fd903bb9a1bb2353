//! Hash functions.

/// FNV-1a, 64 bit: names records and targets within a cell, and stands in what is stored. Not a defence: ids come
/// from the policy.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    continued(0xcbf2_9ce4_8422_2325, bytes)
}

/// The fingerprint of a text of which a first part has the fingerprint `first`, and these bytes follow.
pub(crate) fn continued(first: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(first, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A fast hash for tables in memory: eight bytes a step. It may change between versions, so it must not be stored, and
/// it does not resist collisions made on purpose: the hashed names come from the operator's own document.
pub(crate) fn fast_hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    for (place, byte) in last.iter_mut().zip(rest) {
        *place = *byte;
    }
    // Each step is a bijection of the state: names that differ in one word differ to the end.
    words.iter().chain([&last]).fold(bytes.len() as u64, |hash, word| {
        let mixed = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 32
    })
}
