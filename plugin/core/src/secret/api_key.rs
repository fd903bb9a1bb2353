//! The format of Tollgate's own keys, and the digest of any key.

use alloc::format;
use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// The prefix of Tollgate's own keys.
pub const MARK: &str = "sk-tg-";

/// The length of a secret: 256 bits in unpadded base64url.
const SECRET: usize = 43;

/// The length of the checksum.
const CHECKSUM: usize = 6;

/// The digits of base64url (RFC 4648, 5). The crate `base64` offers them only through a conversion at each call.
const BASE64URL: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The SHA-256 digest of a key or token as the client sends it.
pub type Digest = [u8; 32];

/// The format of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// `sk-tg-<id>-<secret><checksum>` with the correct checksum.
    Native,
    /// The prefix of Tollgate's keys, but not the format or the checksum: a typo, rejected without a look-up.
    BadChecksum,
    /// Any other text.
    Foreign,
}

/// Computes the SHA-256 digest of a key as the client sends it.
pub fn digest(key: &[u8]) -> Digest {
    Sha256::digest(key).into()
}

/// Determines the format of a key.
pub fn key_format(key: &str) -> KeyFormat {
    let Some(rest) = key.strip_prefix(MARK) else {
        return KeyFormat::Foreign;
    };
    let id_end = rest.len().checked_sub(1 + SECRET + CHECKSUM);
    let whole = id_end.and_then(|end| rest.as_bytes().split_at_checked(end)).is_some_and(|(id, rest)| {
        (4..=24).contains(&id.len())
            && id.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            && rest.first() == Some(&b'-')
    });
    let sum = key.as_bytes().split_last_chunk::<CHECKSUM>().filter(|_| whole);
    let checked = sum.is_some_and(|(text, sum)| checksum(text) == *sum);
    if checked { KeyFormat::Native } else { KeyFormat::BadChecksum }
}

/// Creates a key from an `id` of 4 to 24 lower-case letters and digits, and 256 random bits.
///
/// ```
/// use tollgate_core::secret::api_key::{KeyFormat, key_format, mint};
/// assert_eq!(key_format(&mint("demo", &[7; 32])), KeyFormat::Native);
/// ```
pub fn mint(id: &str, random: &[u8; 32]) -> String {
    let text = format!("{MARK}{id}-{}", URL_SAFE_NO_PAD.encode(random));
    let sum = checksum(text.as_bytes());
    text + &String::from_utf8_lossy(&sum)
}

/// The checksum of a text: the lowest 36 bits of a polynomial over its 32-bit words, with an odd base. It detects typos
/// (any single wrong character with certainty) at a fraction of the cost of a digest. It does not resist attacks.
fn checksum(text: &[u8]) -> [u8; CHECKSUM] {
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = text.as_chunks::<4>();
    let digits =
        words.iter().map(|word| u32::from_le_bytes(*word)).chain(rest.iter().map(|byte| u32::from(*byte)));
    let sum = digits.fold(0_u64, |sum, digit| sum.wrapping_mul(BASE).wrapping_add(u64::from(digit)));
    base64url(sum << 28)
}

/// Formats the highest 36 bits of a number in base64url.
fn base64url(mut bits: u64) -> [u8; CHECKSUM] {
    core::array::from_fn(|_| {
        bits = bits.rotate_left(6);
        BASE64URL.get((bits % 64) as usize).copied().unwrap_or_default()
    })
}

/// Formats a digest as in a policy: `sha256:<hex>`.
pub fn format_digest(digest: &Digest) -> String {
    digest.iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_single_wrong_character_is_detected() {
        let key = mint("search1", &[0xf7; 32]);
        assert_eq!(key_format(&key), KeyFormat::Native);
        for position in MARK.len()..key.len() {
            let mut typo = key.clone().into_bytes();
            typo[position] = if typo[position] == b'a' { b'b' } else { b'a' };
            assert_eq!(
                key_format(core::str::from_utf8(&typo).unwrap()),
                KeyFormat::BadChecksum,
                "at {position}"
            );
        }
        assert_eq!(key_format(&key[..key.len() - 1]), KeyFormat::BadChecksum);
        assert_eq!(key_format("sk-tg-"), KeyFormat::BadChecksum);
        assert_eq!(key_format("sk-proj-abc"), KeyFormat::Foreign);
    }

    #[test]
    fn the_checksum_uses_the_digits_of_base64url() {
        assert_eq!(BASE64URL, base64::alphabet::URL_SAFE.as_str().as_bytes());
    }

    #[test]
    fn the_digest_is_sha_256() {
        assert_eq!(
            format_digest(&digest(b"abc")),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
