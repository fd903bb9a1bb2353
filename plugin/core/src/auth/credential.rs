//! The credential of a request: finding it, and removing it from what is forwarded.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::http::answer_format::FORMAT_HEADERS;
use crate::http::headers::{HeaderMutation, HeaderMutator, Headers};
use crate::http::query::{self, QueryParameter};
use crate::http::rejection::Rejection;
use crate::secret::api_key;
use crate::text::ascii;

/// The longest accepted key, in bytes. Long JWTs have a few thousand; a longer value is rejected without a digest.
const MAX_KEY: usize = 8_192;

/// One source of keys in the headers or the query of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// `{"header": "x-api-key"}`: the whole value.
    Header(Box<str>),
    /// `{"header": "authorization", "scheme": "Bearer"}`: the value after the scheme (RFC 9110, 11.4).
    Scheme {
        /// The header's name, lower case.
        header: Box<str>,
        /// The scheme, compared without case.
        scheme: Box<str>,
    },
    /// `{"query": "key"}`: a parameter of the query string.
    Query(Box<str>),
}

/// The sources of keys, in the order of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSources {
    sources: Box<[CredentialSource]>,
}

/// The one key of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential<'h> {
    /// The key as the client sent it; percent-decoded, if it was in the query.
    pub key: Cow<'h, str>,
    /// The sources that were present in the request.
    pub sources: SourceSet,
}

/// A set of [`CredentialSources`]: one bit per source; all from the 64th on share the last bit.
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

/// Receives the position of a source and the candidate key in it; `None`: invalid percent-encoding.
type VisitSource<'v, 'h> = dyn FnMut(usize, Option<Cow<'h, [u8]>>) + 'v;

impl CredentialSources {
    /// The sources in this order.
    pub fn new(sources: Vec<CredentialSource>) -> Self {
        CredentialSources { sources: sources.into() }
    }

    /// The request headers on which a local response depends: those that may hold a key, and those that decide on its
    /// shape.
    pub fn vary(&self) -> String {
        let mut names = String::from(FORMAT_HEADERS);
        for name in self.sources.iter().filter_map(header) {
            if !names.split(", ").any(|known| known.eq_ignore_ascii_case(name)) {
                names.push_str(", ");
                names.push_str(name);
            }
        }
        names
    }

    /// Finds the one key of a request with these headers and this path.
    ///
    /// # Errors
    /// [`Rejection::MissingKey`] without a key, [`Rejection::AmbiguousKey`] for two different ones,
    /// [`Rejection::InvalidKey`] for a value that cannot be a key.
    pub fn find<'h>(&self, head: &Headers<'h>, path: &'h str) -> Result<Credential<'h>, Rejection> {
        let mut sources = SourceSet::default();
        let mut found: Option<Cow<'h, [u8]>> = None;
        let (mut ambiguous, mut malformed) = (false, false);
        self.for_each(head, path, &mut |position, candidate| {
            sources.add(position);
            match candidate {
                Some(candidate) if candidate.is_empty() => {}
                Some(candidate) => {
                    ambiguous |= found.as_ref().is_some_and(|first| *first != candidate);
                    found = Some(candidate);
                }
                None => malformed = true,
            }
        });
        // A value that cannot be decoded differs from every value that can.
        if ambiguous || malformed && found.is_some() {
            return Err(Rejection::AmbiguousKey);
        }
        if malformed {
            return Err(Rejection::InvalidKey);
        }
        let Some(key) = found else {
            return Err(Rejection::MissingKey);
        };
        if key.len() > MAX_KEY {
            return Err(Rejection::InvalidKey);
        }
        let key = match key {
            Cow::Borrowed(key) => ascii::graphic(key).map(Cow::Borrowed),
            Cow::Owned(key) => ascii::graphic(&key).map(|key| Cow::Owned(key.into())),
        };
        match key {
            Some(key) => Ok(Credential { key, sources }),
            None => Err(Rejection::InvalidKey),
        }
    }

    /// Returns the sources that these headers have, also with an empty value or another scheme.
    pub(crate) fn present(&self, head: &Headers<'_>) -> SourceSet {
        let mut sources = SourceSet::default();
        self.for_each(head, "", &mut |position, _| sources.add(position));
        sources
    }

    /// Returns the sources that hold a key of this gateway: one with the prefix of its own keys, or one for which
    /// `is_known` is true.
    pub fn ours(&self, head: &Headers<'_>, path: &str, is_known: impl Fn(&[u8]) -> bool) -> SourceSet {
        let mut sources = SourceSet::default();
        self.for_each(head, path, &mut |position, candidate| {
            if candidate.is_some_and(|candidate| {
                let known = || !candidate.is_empty() && candidate.len() <= MAX_KEY && is_known(&candidate);
                candidate.starts_with(api_key::MARK.as_bytes()) || known()
            }) {
                sources.add(position);
            }
        });
        sources
    }

    /// Calls `visit` for every source that is present, also if it is empty.
    fn for_each<'h>(&self, head: &Headers<'h>, path: &'h str, visit: &mut VisitSource<'_, 'h>) {
        for (position, source) in self.sources.iter().enumerate() {
            let mut plain = |value: &'h [u8]| visit(position, Some(Cow::Borrowed(value)));
            match source {
                CredentialSource::Header(name) => {
                    head.all(name).for_each(|value| plain(value.trim_ascii()));
                }
                CredentialSource::Scheme { header, scheme } => {
                    head.all(header).for_each(|value| keys_after(scheme, value, &mut plain));
                }
                CredentialSource::Query(_) => {}
            }
        }
        if let (_, Some(query)) = query::split(path) {
            for parameter in query::parameters(query) {
                if let Some(position) = self.in_query(&parameter) {
                    visit(position, parameter.value().map(bytes));
                }
            }
        }
    }

    /// Removes these sources from the headers and the path, so that the upstream sees no credential, and of the other
    /// parameters of the query those that are not kept.
    pub(crate) fn remove(
        &self,
        sources: SourceSet,
        path: &str,
        keeps: &dyn Fn(&QueryParameter<'_>) -> bool,
        edit: &mut HeaderMutator<'_>,
    ) {
        let mut in_query = false;
        for (position, source) in self.sources.iter().enumerate() {
            if !sources.has(position) {
                continue;
            }
            match header(source) {
                Some(name) => edit(HeaderMutation::Remove(name)),
                None => in_query = true,
            }
        }
        let stays = |parameter: &QueryParameter<'_>| match self.in_query(parameter) {
            Some(_) => !in_query,
            None => keeps(parameter),
        };
        if let Some(kept) = query::retain(path, stays) {
            edit(HeaderMutation::Replace(":path", &kept));
        }
    }

    /// Returns true if this parameter is a source of keys.
    pub(crate) fn has_parameter(&self, parameter: &QueryParameter<'_>) -> bool {
        self.in_query(parameter).is_some()
    }

    /// The position of the source that this parameter is.
    fn in_query(&self, parameter: &QueryParameter<'_>) -> Option<usize> {
        let name = parameter.name()?;
        self.sources
            .iter()
            .position(|source| matches!(source, CredentialSource::Query(known) if **known == *name))
    }
}

/// Calls `visit` for each value after the scheme; a host may join repeated fields with commas (RFC 9110, 5.3).
fn keys_after<'v>(scheme: &str, value: &'v [u8], visit: &mut dyn FnMut(&'v [u8])) {
    let mut rest = Some(value);
    while let Some(value) = rest {
        let comma = ascii::position(b',', value).unwrap_or(value.len());
        let (part, after) = value.split_at_checked(comma).unwrap_or((value, &[]));
        rest = after.get(1..);
        visit(after_scheme(part.trim_ascii(), scheme).unwrap_or_default());
    }
}

/// The name of the header, unless the source is a query parameter.
fn header(source: &CredentialSource) -> Option<&str> {
    match source {
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
    fn a_key_is_found_in_every_source_that_sdks_use() {
        assert_eq!(key(&[(b"authorization", b"Bearer abc")], "/"), sent("abc"));
        assert_eq!(key(&[(b"Authorization", b"bEARER  abc ")], "/"), sent("abc"));
        assert_eq!(key(&[(b"x-api-key", b"abc")], "/"), sent("abc"));
        assert_eq!(key(&[(b"api-key", b"abc")], "/"), sent("abc"));
        assert_eq!(key(&[(b"x-goog-api-key", b"abc")], "/"), sent("abc"));
        assert_eq!(key(&[], "/x?a=b&key=abc"), sent("abc"));
        assert_eq!(key(&[(b"authorization", b"Bearer abc"), (b"x-api-key", b"abc")], "/"), sent("abc"));
    }

    #[test]
    fn missing_ambiguous_and_invalid_keys_have_their_own_rejections() {
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
    fn a_key_longer_than_the_maximum_is_invalid() {
        for length in [1_025, MAX_KEY] {
            assert_eq!(key(&[(b"x-api-key", &vec![b'a'; length])], "/"), sent(&"a".repeat(length)));
        }
        assert_eq!(key(&[(b"x-api-key", &[b'a'; MAX_KEY + 1])], "/"), Err(Rejection::InvalidKey));
        let encoded = format!("/x?key={}", "%61".repeat(MAX_KEY + 1));
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
    fn every_source_with_the_key_is_removed() {
        let fields: &[(&[u8], &[u8])] = &[(b"authorization", b"Bearer abc"), (b"api-key", b"abc")];
        let credentials = credentials();
        let path = "/x?key=abc&a=b&k%65y=%61bc&key";
        let found = credentials.find(&Headers::new(fields), path).unwrap();
        let mut edits = Vec::new();
        credentials.remove(found.sources, path, &|_| true, &mut |edit| edits.push(format!("{edit:?}")));
        assert_eq!(
            edits,
            [r#"Remove("authorization")"#, r#"Remove("api-key")"#, r#"Replace(":path", "/x?a=b")"#]
        );
    }

    #[test]
    fn a_source_with_another_scheme_is_removed_too() {
        let fields: &[(&[u8], &[u8])] = &[(b"authorization", b"Basic YTpi"), (b"x-api-key", b"abc")];
        let mut sources = vec![CredentialSource::Header("x-none".into()); 70];
        sources.push(CredentialSource::Header("x-api-key".into()));
        sources.push(CredentialSource::Scheme { header: "authorization".into(), scheme: "Bearer".into() });
        let credentials = CredentialSources::new(sources);
        let found = credentials.find(&Headers::new(fields), "/").unwrap();
        let mut edits = Vec::new();
        credentials.remove(found.sources, "/", &|_| true, &mut |edit| edits.push(format!("{edit:?}")));
        for removed in [r#"Remove("authorization")"#, r#"Remove("x-api-key")"#] {
            assert!(edits.iter().any(|edit| edit == removed), "{edits:?}");
        }
    }

    #[test]
    fn only_sources_with_keys_of_the_gateway_are_ours() {
        let fields: &[(&[u8], &[u8])] =
            &[(b"authorization", b"Bearer theirs"), (b"x-api-key", b"listed"), (b"api-key", b"sk-tg-x")];
        let credentials = credentials();
        let removed = |fields, path| {
            let sources = credentials.ours(&Headers::new(fields), path, |key| key == b"listed");
            let mut edits = Vec::new();
            credentials.remove(sources, path, &|_| true, &mut |edit| edits.push(format!("{edit:?}")));
            edits
        };
        assert_eq!(removed(fields, "/x?key=theirs"), [r#"Remove("x-api-key")"#, r#"Remove("api-key")"#]);
        assert_eq!(removed(&[], "/x?a=b&key=l%69sted"), [r#"Replace(":path", "/x?a=b")"#]);
        assert_eq!(removed(&[(b"authorization", b"Basic listed")], "/x?key=%zz&key="), [""; 0]);
    }
}
