//! The form of our own keys, and the digest of anybody's.

use alloc::format;
use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What our own keys begin with.
pub const MARK: &str = "sk-tg-";

/// Length of a secret: 256 bits in unpadded base64url.
const SECRET: usize = 43;

/// Length of the checksum.
const CHECKSUM: usize = 6;

/// The digits of base64url (RFC 4648, 5). The library's are made to text anew each time they are asked for.
const BASE64URL: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// SHA-256 of a key or token as the client sends it.
pub type Digest = [u8; 32];

/// How a text looks as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// `sk-tg-<id>-<secret><checksum>`, the checksum right.
    Native,
    /// It begins like ours and is not whole: a typo, refused without a look-up.
    BadChecksum,
    /// A key of another spelling.
    Foreign,
}

/// SHA-256 of a key as the client sends it.
pub fn digest(key: &[u8]) -> Digest {
    Sha256::digest(key).into()
}

/// How a text looks as a key.
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

/// A key of our own: `id` of 4 to 24 lower-case letters and digits, and 256 random bits.
///
/// ```
/// let key = tollgate_core::api_key::mint("demo", &[7; 32]);
/// assert_eq!(tollgate_core::api_key::form(&key), tollgate_core::api_key::Form::Ours);
/// ```
pub fn mint(id: &str, random: &[u8; 32]) -> String {
    let text = format!("{MARK}{id}-{}", URL_SAFE_NO_PAD.encode(random));
    let sum = checksum(text.as_bytes());
    text + &String::from_utf8_lossy(&sum)
}

/// The lowest 36 bits of the text read as a number, of 32-bit digits to an odd base. It is no secret and no defence: it
/// tells a typo, and any one wrong character for certain, at a fraction of what a digest costs.
fn checksum(text: &[u8]) -> [u8; CHECKSUM] {
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = text.as_chunks::<4>();
    let digits =
        words.iter().map(|word| u32::from_le_bytes(*word)).chain(rest.iter().map(|byte| u32::from(*byte)));
    let sum = digits.fold(0_u64, |sum, digit| sum.wrapping_mul(BASE).wrapping_add(u64::from(digit)));
    spelled(sum << 28)
}

/// The first 36 bits of a number in base64url.
fn spelled(mut bits: u64) -> [u8; CHECKSUM] {
    core::array::from_fn(|_| {
        bits = bits.rotate_left(6);
        BASE64URL.get((bits % 64) as usize).copied().unwrap_or_default()
    })
}

/// A digest as a policy writes it.
pub fn format_digest(digest: &Digest) -> String {
    digest.iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_character_anywhere_is_a_typo() {
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
    fn a_checksum_has_the_digits_of_the_secret_before_it() {
        assert_eq!(BASE64URL, base64::alphabet::URL_SAFE.as_str().as_bytes());
    }

    #[test]
    fn the_digest_is_plain_sha_256() {
        assert_eq!(
            format_digest(&digest(b"abc")),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
