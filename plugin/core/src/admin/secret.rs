//! Generation of ids and secrets from the host's random bytes.

use alloc::string::{String, ToString};

use super::RequestInputs;
use crate::secret::api_key;

/// The alphabet of key ids: base32 (RFC 4648, 6) in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Returns a new id of 80 random bits.
pub(super) fn id(inputs: &RequestInputs) -> String {
    let (_, rest) = split(inputs);
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).map_or('a', |letter| char::from(*letter));
    rest.iter().map(letter).collect()
}

/// Returns a new key that contains the id. The id of an imported key may not fit the format; the key then contains a
/// random one, which is harmless because keys are found by digest.
pub(super) fn key(id: &str, inputs: &RequestInputs) -> String {
    let fits = (4..=24).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let id = if fits { id.to_string() } else { self::id(inputs) };
    api_key::mint(&id, &split(inputs).0)
}

/// Splits the random bytes: 256 bits for a secret, 128 for an id.
fn split(inputs: &RequestInputs) -> ([u8; 32], [u8; 16]) {
    let secret = inputs.random.first_chunk().copied().unwrap_or_default();
    let id = inputs.random.last_chunk().copied().unwrap_or_default();
    (secret, id)
}
