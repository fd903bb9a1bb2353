//! Where a key stands in a head, and how it is taken out again.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::http::headers::{HeaderMutation, HeaderMutator, Headers};
use crate::http::rejection::Rejection;
use crate::secret::api_key;
use crate::text::ascii;
use crate::text::percent::decode;

/// Longest key that is looked at, in bytes: long JWTs have a few thousand. More is no key of anybody's, and is not
/// digested.
const MOST: usize = 8_192;

/// One place in a request's head where a key may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// `{"header": "x-api-key"}`: the whole value.
    Header(Box<str>),
    /// `{"header": "authorization", "scheme": "Bearer"}`: what follows the scheme (RFC 9110, 11.4).
    Scheme {
        /// The header's name, lower case.
        header: Box<str>,
        /// The scheme, compared without case.
        scheme: Box<str>,
    },
    /// `{"query": "key"}`: a parameter of the query string.
    Query(Box<str>),
}

/// Where keys are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSources {
    places: Box<[CredentialSource]>,
}

/// The one key of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential<'h> {
    /// As the client sent it; percent-decoded, if it was in the query.
    pub key: Cow<'h, str>,
    /// The places where something stood.
    pub sources: SourceSet,
}

/// Places of [`CredentialSources`]: a bit for each, the last one for all that have none of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceSet(u64);

impl SourceSet {
    fn bit(position: usize) -> u64 {
        1 << position.min(63)
    }

    fn add(&mut self, position: usize) {
        self.0 |= SourceSet::bit(position);
    }

    fn has(self, position: usize) -> bool {
        self.0 & SourceSet::bit(position) != 0
    }
}

impl CredentialSources {
    /// At these places.
    pub fn new(places: Vec<CredentialSource>) -> Self {
        CredentialSources { places: places.into() }
    }

    /// The one key of a request with this head and path.
    ///
    /// # Errors
    /// [`Rejection::MissingKey`], [`Rejection::AmbiguousKey`] for two different ones, [`Rejection::InvalidKey`] for
    /// one that cannot be a key.
    pub fn find<'h>(&self, head: &Headers<'h>, path: &'h str) -> Result<Credential<'h>, Rejection> {
        let mut places = SourceSet::default();
        let mut found: Option<Cow<'h, [u8]>> = None;
        let (mut ambiguous, mut malformed) = (false, false);
        self.each(head, path, &mut |position, candidate| {
            places.add(position);
            match candidate {
                Some(candidate) if candidate.is_empty() => {}
                Some(candidate) => {
                    ambiguous |= found.as_ref().is_some_and(|first| *first != candidate);
                    found = Some(candidate);
                }
                None => malformed = true,
            }
        });
        // What cannot be decoded is another one than any that can.
        if ambiguous || malformed && found.is_some() {
            return Err(Rejection::AmbiguousKey);
        }
        if malformed {
            return Err(Rejection::InvalidKey);
        }
        let Some(key) = found else {
            return Err(Rejection::MissingKey);
        };
        if key.len() > MOST {
            return Err(Rejection::InvalidKey);
        }
        let key = match key {
            Cow::Borrowed(key) => ascii::graphic(key).map(Cow::Borrowed),
            Cow::Owned(key) => ascii::graphic(&key).map(|key| Cow::Owned(key.into())),
        };
        match key {
            Some(key) => Ok(Credential { key, sources: places }),
            None => Err(Rejection::InvalidKey),
        }
    }

    /// The places at which a key of ours stands: one that begins like our own, or that `knows` knows.
    pub fn ours(&self, head: &Headers<'_>, path: &str, knows: impl Fn(&[u8]) -> bool) -> SourceSet {
        let mut places = SourceSet::default();
        self.each(head, path, &mut |position, candidate| {
            if candidate.is_some_and(|candidate| {
                let known = || !candidate.is_empty() && candidate.len() <= MOST && knows(&candidate);
                candidate.starts_with(api_key::MARK.as_bytes()) || known()
            }) {
                places.add(position);
            }
        });
        places
    }

    /// Tells what stands at each place, also if it is empty; `None`: it is not percent-encoded as a query is.
    fn each<'h>(&self, head: &Headers<'h>, path: &'h str, tell: &mut Told<'_, 'h>) {
        for (position, place) in self.places.iter().enumerate() {
            let mut plain = |value: &'h [u8]| tell(position, Some(Cow::Borrowed(value)));
            match place {
                CredentialSource::Header(name) => {
                    head.all(name).for_each(|value| plain(value.trim_ascii()));
                }
                CredentialSource::Scheme { header, scheme } => {
                    head.all(header).for_each(|value| keys_after(scheme, value, &mut plain));
                }
                CredentialSource::Query(_) => {}
            }
        }
        if let Some((_, query)) = with_query(path) {
            for pair in query.split('&') {
                if let Some(position) = self.in_query(pair) {
                    tell(position, decode(pair.split_once('=').map_or("", |(_, value)| value)).map(bytes));
                }
            }
        }
    }

    /// Takes everything out that stood at these places, so that the upstream sees no credential.
    pub fn remove(&self, places: SourceSet, path: &str, edit: &mut HeaderMutator<'_>) {
        if places == SourceSet::default() {
            return;
        }
        let mut in_query = false;
        for (position, place) in self.places.iter().enumerate() {
            if !places.has(position) {
                continue;
            }
            match header(place) {
                Some(name) => edit(HeaderMutation::Remove(name)),
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
        edit(HeaderMutation::Replace(":path", &kept));
    }

    /// The place that this pair of a query is.
    fn in_query(&self, pair: &str) -> Option<usize> {
        let name = decode(pair.split_once('=').map_or(pair, |(name, _)| name))?;
        self.places
            .iter()
            .position(|place| matches!(place, CredentialSource::Query(known) if **known == *name))
    }
}

/// Who is told what stands where.
type Told<'t, 'h> = dyn FnMut(usize, Option<Cow<'h, [u8]>>) + 't;

/// What follows the scheme; a host may join repeated fields with commas (RFC 9110, 5.3).
fn keys_after<'v>(scheme: &str, value: &'v [u8], tell: &mut dyn FnMut(&'v [u8])) {
    let mut rest = Some(value);
    while let Some(value) = rest {
        let comma = ascii::position(b',', value).unwrap_or(value.len());
        let (part, after) = value.split_at_checked(comma).unwrap_or((value, &[]));
        rest = after.get(1..);
        tell(after_scheme(part.trim_ascii(), scheme).unwrap_or_default());
    }
}

/// The header that a place is in.
fn header(place: &CredentialSource) -> Option<&str> {
    match place {
        CredentialSource::Header(header) | CredentialSource::Scheme { header, .. } => Some(header),
        CredentialSource::Query(_) => None,
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// A path and its query.
fn with_query(path: &str) -> Option<(&str, &str)> {
    let (plain, query) = path.split_at_checked(ascii::position(b'?', path.as_bytes())?)?;
    Some((plain, query.get(1..)?))
}

fn after_scheme<'v>(value: &'v [u8], scheme: &str) -> Option<&'v [u8]> {
    let (start, rest) = value.split_at_checked(scheme.len())?;
    (ascii::same_but_for_case(start, scheme.as_bytes()) && rest.first() == Some(&b' '))
        .then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;
    use crate::config::ConfigLoader;
    use alloc::borrow::ToOwned;

    fn credentials() -> CredentialSources {
        let mut loader = ConfigLoader::default();
        loader.push(br#"{"policy": {"version": 1}}"#);
        loader.finish().unwrap().0.credentials
    }

    fn key(fields: &[(&[u8], &[u8])], path: &str) -> Result<String, Rejection> {
        credentials().find(&Headers::new(fields), path).map(|found| found.key.into_owned())
    }

    fn sent(key: &str) -> Result<String, Rejection> {
        Ok(key.to_owned())
    }

    #[test]
    fn a_key_is_found_wherever_sdks_put_it() {
        assert_eq!(key(&[(b"authorization", b"Bearer abc")], "/"), sent("abc"));
        assert_eq!(key(&[(b"Authorization", b"bEARER  abc ")], "/"), sent("abc"));
        assert_eq!(key(&[(b"x-api-key", b"abc")], "/"), sent("abc"));
        assert_eq!(key(&[(b"api-key", b"abc")], "/"), sent("abc"));
        assert_eq!(key(&[(b"x-goog-api-key", b"abc")], "/"), sent("abc"));
        assert_eq!(key(&[], "/x?a=b&key=abc"), sent("abc"));
        assert_eq!(key(&[(b"authorization", b"Bearer abc"), (b"x-api-key", b"abc")], "/"), sent("abc"));
    }

    #[test]
    fn no_key_and_two_keys_and_what_cannot_be_a_key_are_told_apart() {
        assert_eq!(key(&[], "/"), Err(Rejection::MissingKey));
        assert_eq!(key(&[(b"authorization", b"Bearer ")], "/"), Err(Rejection::MissingKey));
        assert_eq!(key(&[(b"authorization", b"Basic abc")], "/"), Err(Rejection::MissingKey));
        assert_eq!(
            key(&[(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], "/"),
            Err(Rejection::AmbiguousKey)
        );
        assert_eq!(key(&[(b"authorization", b"Bearer a,Bearer b")], "/"), Err(Rejection::AmbiguousKey));
        assert_eq!(
            key(&[(b"authorization", b"Bearer a"), (b"api-key", b"b")], "/"),
            Err(Rejection::AmbiguousKey)
        );
        assert_eq!(key(&[(b"x-api-key", b"\xff\xfe")], "/"), Err(Rejection::InvalidKey));
        assert_eq!(key(&[(b"x-api-key", &[b'a'; 65_536])], "/"), Err(Rejection::InvalidKey));
    }

    #[test]
    fn a_key_may_be_as_long_as_a_long_jwt_and_no_longer() {
        for length in [1_025, MOST] {
            assert_eq!(key(&[(b"x-api-key", &vec![b'a'; length])], "/"), sent(&"a".repeat(length)));
        }
        assert_eq!(key(&[(b"x-api-key", &[b'a'; MOST + 1])], "/"), Err(Rejection::InvalidKey));
        let encoded = format!("/x?key={}", "%61".repeat(MOST + 1));
        assert_eq!(key(&[], &encoded), Err(Rejection::InvalidKey));
    }

    #[test]
    fn a_key_in_the_query_is_percent_decoded() {
        assert_eq!(key(&[], "/x?key=abc%3D"), sent("abc="));
        assert_eq!(key(&[], "/x?k%65y=%61bc"), sent("abc"));
        assert_eq!(key(&[], "/x?key=a%2Bb+c"), sent("a+b+c"));
        assert_eq!(key(&[(b"x-api-key", b"abc=")], "/x?key=abc%3d&key=abc="), sent("abc="));
        assert_eq!(key(&[(b"x-api-key", b"abc%3D")], "/x?key=abc%3D"), Err(Rejection::AmbiguousKey));
        assert_eq!(key(&[(b"x-api-key", b"abc%3D")], "/"), sent("abc%3D"));
        for malformed in ["/x?key=abc%", "/x?key=abc%3", "/x?key=abc%zz", "/x?key=%ff"] {
            assert_eq!(key(&[], malformed), Err(Rejection::InvalidKey), "{malformed}");
        }
        assert_eq!(key(&[], "/x?key=a&key=%"), Err(Rejection::AmbiguousKey));
        assert_eq!(key(&[(b"x-api-key", b"abc")], "/x?key=%2"), Err(Rejection::AmbiguousKey));
        for no_key in ["/x?key=a%00b", "/x?key=a%20b", "/x?key=%C3%A9"] {
            assert_eq!(key(&[], no_key), Err(Rejection::InvalidKey), "{no_key}");
        }
        assert_eq!(key(&[(b"x-api-key", b"abc")], "/x?key=&other=%"), sent("abc"));
    }

    #[test]
    fn nothing_of_a_key_is_left_for_the_upstream() {
        let fields: &[(&[u8], &[u8])] = &[(b"authorization", b"Bearer abc"), (b"api-key", b"abc")];
        let credentials = credentials();
        let path = "/x?key=abc&a=b&k%65y=%61bc&key";
        let found = credentials.find(&Headers::new(fields), path).unwrap();
        let mut edits = Vec::new();
        credentials.remove(found.sources, path, &mut |edit| edits.push(format!("{edit:?}")));
        assert_eq!(
            edits,
            [r#"Remove("authorization")"#, r#"Remove("api-key")"#, r#"Replace(":path", "/x?a=b")"#]
        );
    }

    #[test]
    fn a_place_that_is_no_use_to_us_is_cleared_too() {
        let fields: &[(&[u8], &[u8])] = &[(b"authorization", b"Basic YTpi"), (b"x-api-key", b"abc")];
        let mut places = vec![CredentialSource::Header("x-none".into()); 70];
        places.push(CredentialSource::Header("x-api-key".into()));
        places.push(CredentialSource::Scheme { header: "authorization".into(), scheme: "Bearer".into() });
        let credentials = CredentialSources::new(places);
        let found = credentials.find(&Headers::new(fields), "/").unwrap();
        let mut edits = Vec::new();
        credentials.remove(found.sources, "/", &mut |edit| edits.push(format!("{edit:?}")));
        for removed in [r#"Remove("authorization")"#, r#"Remove("x-api-key")"#] {
            assert!(edits.iter().any(|edit| edit == removed), "{edits:?}");
        }
    }

    #[test]
    fn only_the_places_of_our_own_keys_are_found_among_others() {
        let fields: &[(&[u8], &[u8])] =
            &[(b"authorization", b"Bearer theirs"), (b"x-api-key", b"listed"), (b"api-key", b"sk-tg-x")];
        let credentials = credentials();
        let removed = |fields, path| {
            let places = credentials.ours(&Headers::new(fields), path, |key| key == b"listed");
            let mut edits = Vec::new();
            credentials.remove(places, path, &mut |edit| edits.push(format!("{edit:?}")));
            edits
        };
        assert_eq!(removed(fields, "/x?key=theirs"), [r#"Remove("x-api-key")"#, r#"Remove("api-key")"#]);
        assert_eq!(removed(&[], "/x?a=b&key=l%69sted"), [r#"Replace(":path", "/x?a=b")"#]);
        assert_eq!(removed(&[(b"authorization", b"Basic listed")], "/x?key=%zz&key="), [""; 0]);
    }
}
