//! Percent-encoding.

use alloc::borrow::Cow;
use alloc::string::String;

use crate::text::ascii;

/// The most times that a text is decoded.
pub(crate) const ROUNDS: usize = 4;

/// Decodes what is percent-encoded, again as long as something is, and keeps the rest.
pub(crate) fn thoroughly(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..ROUNDS {
        let Some(decoded) = leniently(&text) else { break };
        text = Cow::Owned(decoded);
    }
    text
}

/// Decodes what is percent-encoded, and keeps the rest; `None` if nothing is.
pub(crate) fn leniently(text: &str) -> Option<String> {
    let mut bytes = alloc::vec::Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let [first, after @ ..] = rest {
        let byte = match after {
            [high, low, ..] if *first == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        bytes.push(byte.map_or(*first, |(high, low)| high << 4 | low));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    (bytes.len() < text.len()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Decodes percent-encoding (RFC 3986, 2.1); `None` if it is malformed or not UTF-8.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if ascii::position(b'%', text.as_bytes()).is_none() {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = alloc::vec::Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_first_chunk::<2>()?;
            let digits = core::str::from_utf8(digits).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}
