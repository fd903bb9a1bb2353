//! Where a key stands in a head, and how it is taken out again.

use alloc::string::String;

use memchr::memchr;
use smol_str::SmolStr;

use crate::gateway::CredentialPlace;
use crate::head::{Edit, Edits, Head};
use crate::refusal::Refusal;

/// Longest key that is looked at; more is no key of anybody's.
const MOST: usize = 1_024;

/// The one key of a request.
///
/// # Errors
/// [`Refusal::MissingKey`], [`Refusal::AmbiguousKey`] for two different ones, [`Refusal::InvalidKey`] for
/// one that cannot be a key.
pub fn find<'h>(places: &[CredentialPlace], head: &Head<'h>, path: &'h str) -> Result<&'h str, Refusal> {
    let mut found: Option<&[u8]> = None;
    let mut ambiguous = false;
    let mut take = |candidate: &'h [u8]| {
        if !candidate.is_empty() {
            ambiguous |= found.is_some_and(|first| first != candidate);
            found = Some(candidate);
        }
    };
    each_in_head(places, head, |place, _, value| match place {
        CredentialPlace::Scheme { scheme, .. } => {
            // A host may join repeated fields with commas (RFC 9110, 5.3).
            let mut rest = Some(value);
            while let Some(value) = rest {
                let comma = memchr(b',', value).unwrap_or(value.len());
                let (part, after) = value.split_at_checked(comma).unwrap_or((value, &[]));
                rest = after.get(1..);
                take(after_scheme(part.trim_ascii(), scheme).unwrap_or_default());
            }
        }
        _ => take(value.trim_ascii()),
    });
    if let Some((_, query)) = with_query(path) {
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if in_query(places).any(|known| known == name) {
                take(value.as_bytes());
            }
        }
    }
    if ambiguous {
        return Err(Refusal::AmbiguousKey);
    }
    let key = found.ok_or(Refusal::MissingKey)?;
    // Without a way out in between it is done on many bytes at once.
    if key.len() > MOST || !key.iter().fold(true, |fits, byte| fits & byte.is_ascii_graphic()) {
        return Err(Refusal::InvalidKey);
    }
    core::str::from_utf8(key).map_err(|_| Refusal::InvalidKey)
}

/// Takes every credential out of the head, so that the upstream sees none.
pub fn remove(places: &[CredentialPlace], head: &Head<'_>, path: &str, edits: &mut Edits) {
    each_in_head(places, head, |_, header, _| {
        let remove = Edit::Remove(SmolStr::new(header));
        if !edits.contains(&remove) {
            edits.push(remove);
        }
    });
    let Some((plain, query)) = with_query(path) else { return };
    let is_key = |pair: &&str| in_query(places).any(|known| known == parameter(pair));
    if query.split('&').any(|pair| is_key(&pair)) {
        let mut kept = String::from(plain);
        for (position, pair) in query.split('&').filter(|pair| !is_key(pair)).enumerate() {
            kept.push(if position == 0 { '?' } else { '&' });
            kept.push_str(pair);
        }
        edits.push(Edit::Replace(":path", kept.into()));
    }
}

/// Calls back with each field of a head that stands where a key may: which place it is, its header, the value.
fn each_in_head<'p, 'h>(
    places: &'p [CredentialPlace],
    head: &Head<'h>,
    mut call: impl FnMut(&'p CredentialPlace, &'p str, &'h [u8]),
) {
    let header = |place: &'p CredentialPlace| match place {
        CredentialPlace::Header(header) | CredentialPlace::Scheme { header, .. } => Some(&**header),
        CredentialPlace::Query(_) => None,
    };
    for (name, value) in head.as_long_as(places.iter().filter_map(header)) {
        for place in places {
            if let Some(header) = header(place)
                && name.eq_ignore_ascii_case(header.as_bytes())
            {
                call(place, header, value);
            }
        }
    }
}

fn in_query(places: &[CredentialPlace]) -> impl Iterator<Item = &str> {
    places.iter().filter_map(|place| match place {
        CredentialPlace::Query(name) => Some(&**name),
        _ => None,
    })
}

/// A path and its query.
fn with_query(path: &str) -> Option<(&str, &str)> {
    let (plain, query) = path.split_at_checked(memchr(b'?', path.as_bytes())?)?;
    Some((plain, query.get(1..)?))
}

fn after_scheme<'v>(value: &'v [u8], scheme: &str) -> Option<&'v [u8]> {
    let (start, rest) = value.split_at_checked(scheme.len())?;
    (start.eq_ignore_ascii_case(scheme.as_bytes()) && rest.first() == Some(&b' ')).then(|| rest.trim_ascii())
}

fn parameter(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Loader;

    fn places() -> alloc::vec::Vec<CredentialPlace> {
        let mut loader = Loader::default();
        loader.push(br#"{"policy": {"version": 1}}"#);
        loader.finish().unwrap().0.credentials
    }

    fn key<'a>(fields: &'a [(&'a [u8], &'a [u8])], path: &'a str) -> Result<&'a str, Refusal> {
        find(&places(), &Head::new(fields), path)
    }

    #[test]
    fn a_key_is_found_wherever_sdks_put_it() {
        assert_eq!(key(&[(b"authorization", b"Bearer abc")], "/"), Ok("abc"));
        assert_eq!(key(&[(b"Authorization", b"bEARER  abc ")], "/"), Ok("abc"));
        assert_eq!(key(&[(b"x-api-key", b"abc")], "/"), Ok("abc"));
        assert_eq!(key(&[(b"api-key", b"abc")], "/"), Ok("abc"));
        assert_eq!(key(&[(b"x-goog-api-key", b"abc")], "/"), Ok("abc"));
        assert_eq!(key(&[], "/x?a=b&key=abc"), Ok("abc"));
        assert_eq!(key(&[(b"authorization", b"Bearer abc"), (b"x-api-key", b"abc")], "/"), Ok("abc"));
    }

    #[test]
    fn no_key_and_two_keys_and_what_cannot_be_a_key_are_told_apart() {
        assert_eq!(key(&[], "/"), Err(Refusal::MissingKey));
        assert_eq!(key(&[(b"authorization", b"Bearer ")], "/"), Err(Refusal::MissingKey));
        assert_eq!(key(&[(b"authorization", b"Basic abc")], "/"), Err(Refusal::MissingKey));
        assert_eq!(
            key(&[(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], "/"),
            Err(Refusal::AmbiguousKey)
        );
        assert_eq!(key(&[(b"authorization", b"Bearer a,Bearer b")], "/"), Err(Refusal::AmbiguousKey));
        assert_eq!(
            key(&[(b"authorization", b"Bearer a"), (b"api-key", b"b")], "/"),
            Err(Refusal::AmbiguousKey)
        );
        assert_eq!(key(&[(b"x-api-key", b"\xff\xfe")], "/"), Err(Refusal::InvalidKey));
        assert_eq!(key(&[(b"x-api-key", &[b'a'; 65_536])], "/"), Err(Refusal::InvalidKey));
    }

    #[test]
    fn nothing_of_a_key_is_left_for_the_upstream() {
        let fields: &[(&[u8], &[u8])] = &[(b"authorization", b"Bearer abc"), (b"api-key", b"abc")];
        let mut edits = Edits::new();
        remove(&places(), &Head::new(fields), "/x?key=abc&a=b&key=abc", &mut edits);
        assert_eq!(
            edits,
            [
                Edit::Remove("authorization".into()),
                Edit::Remove("api-key".into()),
                Edit::Replace(":path", "/x?a=b".into()),
            ]
        );
    }
}
