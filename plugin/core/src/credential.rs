//! Where a key stands in a head, and how it is taken out again.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use memchr::memchr;

use crate::gateway::CredentialPlace;
use crate::head::{Edit, Editor, Head};
use crate::refusal::Refusal;

/// Longest key that is looked at; more is no key of anybody's.
const MOST: usize = 1_024;

/// Where keys are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    places: Box<[CredentialPlace]>,
}

/// The one key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'h> {
    /// As the client sent it.
    pub key: &'h str,
    /// The places where something stood.
    pub places: Places,
}

/// Places of [`Credentials`]: a bit for each, the last one for all that have none of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places(u64);

impl Places {
    fn bit(position: usize) -> u64 {
        1 << position.min(63)
    }

    fn add(&mut self, position: usize) {
        self.0 |= Places::bit(position);
    }

    fn has(self, position: usize) -> bool {
        self.0 & Places::bit(position) != 0
    }
}

impl Credentials {
    /// At these places.
    pub fn new(places: Vec<CredentialPlace>) -> Self {
        Credentials { places: places.into() }
    }

    /// The one key of a request with this head and path.
    ///
    /// # Errors
    /// [`Refusal::MissingKey`], [`Refusal::AmbiguousKey`] for two different ones, [`Refusal::InvalidKey`] for
    /// one that cannot be a key.
    pub fn find<'h>(&self, head: &Head<'h>, path: &'h str) -> Result<Credential<'h>, Refusal> {
        let mut places = Places::default();
        let mut found: Option<&[u8]> = None;
        let mut ambiguous = false;
        let mut take = |candidate: &'h [u8]| {
            if !candidate.is_empty() {
                ambiguous |= found.is_some_and(|first| first != candidate);
                found = Some(candidate);
            }
        };
        for (position, place) in self.places.iter().enumerate() {
            for value in header(place).into_iter().flat_map(|name| head.all(name)) {
                places.add(position);
                let CredentialPlace::Scheme { scheme, .. } = place else {
                    take(value.trim_ascii());
                    continue;
                };
                // A host may join repeated fields with commas (RFC 9110, 5.3).
                let mut rest = Some(value);
                while let Some(value) = rest {
                    let comma = memchr(b',', value).unwrap_or(value.len());
                    let (part, after) = value.split_at_checked(comma).unwrap_or((value, &[]));
                    rest = after.get(1..);
                    take(after_scheme(part.trim_ascii(), scheme).unwrap_or_default());
                }
            }
        }
        if let Some((_, query)) = with_query(path) {
            for pair in query.split('&') {
                if let Some(position) = self.in_query(pair) {
                    places.add(position);
                    take(pair.split_once('=').map_or("", |(_, value)| value).as_bytes());
                }
            }
        }
        if ambiguous {
            return Err(Refusal::AmbiguousKey);
        }
        let key = found.ok_or(Refusal::MissingKey)?;
        // In bytes and without a way out in between it is done on many at once.
        let odd = key.iter().fold(0, |odd, byte| odd | u8::from(!byte.is_ascii_graphic()));
        if key.len() > MOST || odd != 0 {
            return Err(Refusal::InvalidKey);
        }
        let key = core::str::from_utf8(key).map_err(|_| Refusal::InvalidKey)?;
        Ok(Credential { key, places })
    }

    /// Takes everything out that stood at these places, so that the upstream sees no credential.
    pub fn remove(&self, places: Places, path: &str, edit: &mut Editor<'_>) {
        let mut in_query = false;
        for (position, place) in self.places.iter().enumerate() {
            if !places.has(position) {
                continue;
            }
            match header(place) {
                Some(name) => edit(Edit::Remove(name)),
                None => in_query = true,
            }
        }
        let Some((plain, query)) = with_query(path).filter(|_| in_query) else { return };
        let mut kept = String::from(plain);
        let others = query.split('&').filter(|pair| self.in_query(pair).is_none());
        for (position, pair) in others.enumerate() {
            kept.push(if position == 0 { '?' } else { '&' });
            kept.push_str(pair);
        }
        edit(Edit::Replace(":path", &kept));
    }

    /// The place that this pair of a query is.
    fn in_query(&self, pair: &str) -> Option<usize> {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        self.places
            .iter()
            .position(|place| matches!(place, CredentialPlace::Query(known) if **known == *name))
    }
}

/// The header that a place is in.
fn header(place: &CredentialPlace) -> Option<&str> {
    match place {
        CredentialPlace::Header(header) | CredentialPlace::Scheme { header, .. } => Some(header),
        CredentialPlace::Query(_) => None,
    }
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

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;
    use crate::gateway::Loader;

    fn credentials() -> Credentials {
        let mut loader = Loader::default();
        loader.push(br#"{"policy": {"version": 1}}"#);
        loader.finish().unwrap().0.credentials
    }

    fn key<'a>(fields: &'a [(&'a [u8], &'a [u8])], path: &'a str) -> Result<&'a str, Refusal> {
        credentials().find(&Head::new(fields), path).map(|found| found.key)
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
        let credentials = credentials();
        let path = "/x?key=abc&a=b&key=abc&key";
        let found = credentials.find(&Head::new(fields), path).unwrap();
        let mut edits = Vec::new();
        credentials.remove(found.places, path, &mut |edit| edits.push(format!("{edit:?}")));
        assert_eq!(
            edits,
            [r#"Remove("authorization")"#, r#"Remove("api-key")"#, r#"Replace(":path", "/x?a=b")"#]
        );
    }

    #[test]
    fn a_place_that_is_no_use_to_us_is_cleared_too() {
        let fields: &[(&[u8], &[u8])] = &[(b"authorization", b"Basic YTpi"), (b"x-api-key", b"abc")];
        let mut places = vec![CredentialPlace::Header("x-none".into()); 70];
        places.push(CredentialPlace::Header("x-api-key".into()));
        places.push(CredentialPlace::Scheme { header: "authorization".into(), scheme: "Bearer".into() });
        let credentials = Credentials::new(places);
        let found = credentials.find(&Head::new(fields), "/").unwrap();
        let mut edits = Vec::new();
        credentials.remove(found.places, "/", &mut |edit| edits.push(format!("{edit:?}")));
        for removed in [r#"Remove("authorization")"#, r#"Remove("x-api-key")"#] {
            assert!(edits.iter().any(|edit| edit == removed), "{edits:?}");
        }
    }
}
