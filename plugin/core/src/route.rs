//! Which route a request takes.

use alloc::borrow::Cow;
use alloc::string::String;

use memchr::memchr;

use crate::gateway::{Route, Segment};
use crate::refusal::Refusal;

/// A route, and what its path template found.
#[derive(Debug)]
pub struct Found<'r> {
    /// The first route that matches.
    pub route: &'r Route,
    /// What `{model}` stood for, percent-decoded.
    pub model: Option<String>,
}

/// Checks that everybody on the way reads this path alike, and returns it without its query.
///
/// # Errors
/// [`Refusal::AmbiguousPath`] for empty, `.` and `..` segments, backslashes and encoded slashes: proxies
/// and servers resolve them differently, so that what is checked here may not be what is served.
pub fn plain_path(target: &str) -> Result<&str, Refusal> {
    let path = memchr(b'?', target.as_bytes()).and_then(|end| target.get(..end)).unwrap_or(target);
    let Some(inner) = path.strip_prefix('/') else {
        return Err(Refusal::AmbiguousPath);
    };
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    // Most paths have nothing in them that could be read in two ways.
    let (plain, last) = inner.bytes().fold((true, b'/'), |(plain, before), byte| {
        let fits =
            byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'_') | (byte == b'/' && before != b'/');
        (plain & fits, byte)
    });
    if plain && last != b'/' {
        return Ok(path);
    }
    let odd = |segment: &str| {
        let decoded = decode(segment);
        decoded.is_none_or(|text| {
            matches!(&*text, "" | "." | "..")
                || text.contains(['/', '\\', ';', '#'])
                || text.contains(char::is_control)
        })
    };
    if !inner.is_empty() && inner.split('/').any(odd) {
        return Err(Refusal::AmbiguousPath);
    }
    Ok(path)
}

/// The first route that takes the request; `header` finds the value of a request header.
pub fn find<'r>(
    routes: &'r [Route],
    method: &str,
    path: &str,
    header: impl Fn(&str) -> Option<String>,
) -> Option<Found<'r>> {
    routes.iter().find_map(|route| {
        let method_fits = route.methods.is_empty() || route.methods.iter().any(|known| **known == *method);
        let model = method_fits.then(|| matches(&route.path, path)).flatten()?;
        let headers_fit = route.headers.iter().all(|(name, value)| header(name).as_deref() == Some(&**value));
        headers_fit.then_some(Found { route, model })
    })
}

/// `None`: no match; `Some(None)`: a match without `{model}`.
fn matches(template: &[Segment], path: &str) -> Option<Option<String>> {
    let mut model = None;
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    for expected in template {
        if *expected == Segment::Rest {
            return Some(model);
        }
        let segment = segments.next()?;
        match expected {
            Segment::Literal(text) if **text == *segment => {}
            Segment::Any if !segment.is_empty() => {}
            Segment::Model { suffix } => {
                let name = segment.strip_suffix(&**suffix).filter(|name| !name.is_empty())?;
                model = Some(decode(name)?.into_owned());
            }
            _ => return None,
        }
    }
    // One slash at the end is the same resource to every server that speaks these APIs.
    match (segments.next(), segments.next()) {
        (None, _) | (Some(""), None) => Some(model),
        _ => None,
    }
}

/// Percent-decoding (RFC 3986, 2.1); `None` where it is malformed or not UTF-8.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if memchr(b'%', text.as_bytes()).is_none() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_can_be_read_in_two_ways_are_refused() {
        for path in [
            "//v1//chat",
            "/v1/../admin",
            "/v1/%2e%2e/admin",
            "/v1/.",
            "/a%2fb",
            "/a\\b",
            "/a%5Cb",
            "v1",
            "/%zz",
            "/%00",
            "*",
        ] {
            assert_eq!(plain_path(path), Err(Refusal::AmbiguousPath), "{path}");
        }
        for (path, plain) in [
            ("/", "/"),
            ("/v1/chat/completions?x=//..", "/v1/chat/completions"),
            ("/v1/models/", "/v1/models/"),
            ("/a%20b", "/a%20b"),
        ] {
            assert_eq!(plain_path(path), Ok(plain));
        }
    }

    #[test]
    fn a_template_matches_whole_segments_and_finds_the_model() {
        let gemini = [
            Segment::Literal("v1beta".into()),
            Segment::Literal("models".into()),
            Segment::Model { suffix: ":generateContent".into() },
        ];
        assert_eq!(
            matches(&gemini, "/v1beta/models/gemini-2.5%2Dpro:generateContent"),
            Some(Some("gemini-2.5-pro".into()))
        );
        assert_eq!(matches(&gemini, "/v1beta/models/:generateContent"), None);
        assert_eq!(matches(&gemini, "/v1beta/models/x:generateContent/more"), None);
        let rest = [Segment::Literal("reports".into()), Segment::Rest];
        assert_eq!(matches(&rest, "/reports"), Some(None));
        assert_eq!(matches(&rest, "/reports/2026/q3"), Some(None));
        assert_eq!(matches(&rest, "/reportsX"), None);
        let one = [Segment::Literal("a".into()), Segment::Any];
        assert_eq!(matches(&one, "/a/b/"), Some(None));
        assert_eq!(matches(&one, "/a/"), None);
    }
}
