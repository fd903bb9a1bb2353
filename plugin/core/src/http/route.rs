//! Routes, and the matching of requests to them.

use crate::api::Api;
use crate::policy::TargetId;
use crate::text::percent::decode;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};

use crate::http::headers::Headers;
use crate::http::query;
use crate::http::rejection::Rejection;
use crate::text::ascii;

/// The requests that a route matches, and the source of their target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The path template, in segments.
    pub path: Box<[Segment]>,
    /// The path may be compared with a request target byte by byte: the result of [`is_exact`].
    pub exact: bool,
    /// The methods it matches; empty: every method.
    pub methods: Box<[Box<str>]>,
    /// Headers that must be present with exactly these values; names in lower case.
    pub headers: Box<[(Box<str>, Box<str>)]>,
    /// The API: it determines the places of the target and the usage, and the shape of rejections.
    pub api: Api,
    /// The target of every request. A request that names another one is rejected.
    pub target: Option<TargetId>,
    /// The place of the target's name in a request.
    pub model: ModelSource,
    /// The model that the path names in words, at a provider's path: its upstream reads it there.
    pub path_model: Option<Box<str>>,
    /// Requests are forwarded without a key.
    pub public: bool,
    /// Upgrades are forwarded also if a token limit or a budget applies, which cannot meter them.
    pub unmetered: bool,
}

impl Route {
    /// Returns true if the route matches requests with this method.
    pub fn allows_method(&self, method: &str) -> bool {
        let listed = |method: &str| self.methods.iter().any(|known| **known == *method);
        // HEAD is a GET without the body (RFC 9110, 9.3.2).
        self.methods.is_empty() || listed(method) || method == "HEAD" && listed("GET")
    }
}

/// The place of the target's name in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ModelSource {
    /// `{model}` in the path, or `model` in the body. If both name one, it is the same.
    #[default]
    PathOrBody,
    /// `path`: `{model}` in the path.
    Path,
    /// `body`: `model` in the body.
    Body,
    /// `query NAME`: a parameter of the query.
    Query(Cow<'static, str>),
}

impl ModelSource {
    /// The source as configurations write it.
    pub fn describe(&self) -> String {
        match self {
            ModelSource::PathOrBody => "no source".into(),
            ModelSource::Path => "`path`".into(),
            ModelSource::Body => "`body`".into(),
            ModelSource::Query(name) => ["`query ", name, "`"].concat(),
        }
    }
}

/// A segment of a path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// `v1/chat`: one segment, or several in a row.
    Literal(Box<str>),
    /// `*`: one segment.
    Any,
    /// `{model}` or `{model}:generateContent`: one segment with the target's name.
    Model {
        /// The end of the segment after the name; may be empty.
        suffix: Box<str>,
    },
    /// `**`, the last segment only: any number of segments.
    Rest,
}

/// A route that matches a request, and the parts of the path.
#[derive(Debug)]
pub struct RouteMatch<'r> {
    /// The first route that matches.
    pub route: &'r Route,
    /// The request's path without the query.
    pub path: &'r str,
    /// The target's name in the path or in the query, percent-decoded.
    pub model: Option<String>,
}

/// Checks that a request target is unambiguous, and returns its path without the query.
///
/// # Errors
/// [`Rejection::AmbiguousPath`] for empty, `.` and `..` segments, for backslashes, semicolons, number signs and control
/// characters, encoded or not, for encoded slashes, encoded characters that need no encoding, and invalid encoding:
/// proxies and servers resolve them differently, so that the path that is served may differ from the checked one.
pub fn plain_path(target: &str) -> Result<&str, Rejection> {
    let (front, rest) = target.split_at_checked(plain_front(target)).unwrap_or(("", target));
    if front.starts_with('/') && (rest.is_empty() || rest.starts_with('?')) {
        return Ok(front);
    }
    let (path, _) = query::split(target);
    let Some(inner) = path.strip_prefix('/') else {
        return Err(Rejection::AmbiguousPath);
    };
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let odd = |segment: &str| {
        let decoded = decode(segment);
        decoded.is_none_or(|text| {
            matches!(&*text, "" | "." | "..")
                || text.contains(['/', '\\', ';', '#'])
                || text.contains(char::is_control)
        }) || encodes_unreserved(segment)
    };
    if inner.split('/').any(odd) {
        return Err(Rejection::AmbiguousPath);
    }
    Ok(path)
}

/// Returns the length of the leading run of unambiguous characters; usually the whole path.
fn plain_front(target: &str) -> usize {
    let mut before = 0;
    let odd = |byte: u8| {
        let empty_segment = byte == b'/' && before == b'/';
        before = byte;
        empty_segment || !is_plain(byte)
    };
    target.bytes().position(odd).unwrap_or(target.len())
}

/// Returns true for a byte that is unambiguous everywhere; a slash is, between segments.
fn is_plain(byte: u8) -> bool {
    PLAIN.get(usize::from(byte)).is_some_and(|plain| *plain)
}

static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let (mut byte, mut rest) = (0_u8, plain.as_mut_slice());
    while let [first, others @ ..] = rest {
        *first = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
        (byte, rest) = (byte.wrapping_add(1), others);
    }
    plain
};

/// Returns true if a letter, a digit or one of `-._~` is percent-encoded. It never needs to be (RFC 3986, 2.3), and
/// would be another spelling of a route's own path.
fn encodes_unreserved(segment: &str) -> bool {
    segment.split('%').skip(1).any(|after| {
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    })
}

/// Returns true if a template is one literal path of unambiguous characters.
pub fn is_exact(template: &[Segment]) -> bool {
    matches!(template, [Segment::Literal(path)] if plain_front(path) == path.len())
}

/// Finds the first route that matches a request.
///
/// # Errors
/// [`Rejection::AmbiguousPath`]: as [`plain_path`], and for a path whose decoded spelling matches another route.
/// [`Rejection::AmbiguousQuery`]: servers may read another target's name in the query.
#[inline]
pub fn of_request<'r>(
    routes: &'r [Route],
    method: &str,
    target: &'r str,
    head: &Headers<'_>,
) -> Result<Option<RouteMatch<'r>>, Rejection> {
    match literal_match(routes, method, target) {
        Some(found) => Ok(Some(found)),
        None => full_match(routes, method, target, head),
    }
}

/// Fast path of [`full_match`]: an exact byte match against literal routes, up to the first route with a wildcard.
#[inline(never)]
fn literal_match<'r>(routes: &'r [Route], method: &str, target: &'r str) -> Option<RouteMatch<'r>> {
    let path = target.strip_prefix('/')?;
    for route in routes {
        let [Segment::Literal(literal)] = &*route.path else {
            return None;
        };
        if **literal == *path && route.allows_method(method) {
            let decided = route.exact && route.headers.is_empty();
            return decided.then_some(RouteMatch { route, path: target, model: None });
        }
    }
    None
}

#[inline(never)]
fn full_match<'r>(
    routes: &'r [Route],
    method: &str,
    target: &'r str,
    head: &Headers<'_>,
) -> Result<Option<RouteMatch<'r>>, Rejection> {
    // CONNECT has a host and a port as its target; extended CONNECT (RFC 8441) has a path.
    let names_host = method == "CONNECT" && !target.starts_with('/');
    let path = if names_host { target } else { plain_path(target)? };
    let mut found = find(routes, method, path, |name| head.text(name).map(ToString::to_string))?;
    if let Some(found) = &mut found
        && let ModelSource::Query(name) = &found.route.model
    {
        let (_, query) = query::split(target);
        let value = query::one_value(query.unwrap_or_default(), name);
        found.model = value.map_err(|_| Rejection::AmbiguousQuery { name: (&**name).into() })?;
    }
    Ok(found)
}

/// Finds the first route that matches the request; `header` returns the value of a request header.
///
/// # Errors
/// [`Rejection::AmbiguousPath`] for a path whose decoded spelling matches another route: `x%3AgenerateContent` is
/// `x:generateContent` to some upstreams, and would bypass the route that governs it.
fn find<'r>(
    routes: &'r [Route],
    method: &str,
    path: &'r str,
    header: impl Fn(&str) -> Option<String>,
) -> Result<Option<RouteMatch<'r>>, Rejection> {
    let found = first(routes, method, path, true, &header);
    let Some(Cow::Owned(decoded)) = decode(path) else {
        return Ok(found);
    };
    let same =
        |other: RouteMatch<'_>| found.as_ref().is_some_and(|found| core::ptr::eq(found.route, other.route));
    if first(routes, method, &decoded, true, &header).is_none_or(same) {
        Ok(found)
    } else {
        Err(Rejection::AmbiguousPath)
    }
}

fn first<'r>(
    routes: &'r [Route],
    method: &str,
    path: &'r str,
    case: bool,
    header: &dyn Fn(&str) -> Option<String>,
) -> Option<RouteMatch<'r>> {
    routes.iter().find_map(|route| {
        let model = route.allows_method(method).then(|| matches(&route.path, path, case)).flatten()?;
        let headers_fit = route.headers.iter().all(|(name, value)| header(name).as_deref() == Some(&**value));
        headers_fit.then_some(RouteMatch { route, path, model })
    })
}

/// Removes a prefix; without `case` the comparison ignores case.
fn strip_prefix<'t>(text: &'t [u8], start: &str, case: bool) -> Option<&'t [u8]> {
    if case {
        return text.strip_prefix(start.as_bytes());
    }
    let (front, rest) = text.split_at_checked(start.len())?;
    ascii::same_but_for_case(front, start.as_bytes()).then_some(rest)
}

/// Returns `None` without a match, `Some(None)` for a match without `{model}`. `case`: letters of another case do not match.
pub(crate) fn matches(template: &[Segment], path: &str, case: bool) -> Option<Option<String>> {
    let mut model = None;
    // The remaining segments; `None` after the last.
    let mut rest = Some(path.strip_prefix('/').unwrap_or(path).as_bytes());
    for expected in template {
        if *expected == Segment::Rest {
            return Some(model);
        }
        let left = rest?;
        let after = if let Segment::Literal(text) = expected {
            // The first byte nearly always decides: the segment's end is not needed.
            strip_prefix(left, text, case)?
        } else {
            let end = ascii::position(b'/', left).unwrap_or(left.len());
            let (segment, after) = left.split_at_checked(end).filter(|(segment, _)| !segment.is_empty())?;
            if let Segment::Model { suffix } = expected {
                let (name, end) = segment.split_at_checked(segment.len().checked_sub(suffix.len())?)?;
                if name.is_empty() || strip_prefix(end, suffix, case).is_none() {
                    return None;
                }
                model = Some(decode(core::str::from_utf8(name).ok()?)?.into_owned());
            }
            after
        };
        rest = match after {
            [] => None,
            [b'/', more @ ..] => Some(more),
            _ => return None,
        };
    }
    // Every server of these APIs takes one slash at the end for the same resource.
    matches!(rest, None | Some([])).then_some(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_paths_are_rejected() {
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
            "/v1/%63hat/completions",
            "/v1/models/gemini-2%2E5",
            "/v1/%7Euser",
            "/v1/x%2dy",
            "/v1/%5Fx",
            "/v1/%39",
            "*",
            "//",
        ] {
            assert_eq!(plain_path(path), Err(Rejection::AmbiguousPath), "{path}");
        }
        for (path, plain) in [
            ("/", "/"),
            ("/v1/chat/completions?x=//..", "/v1/chat/completions"),
            ("/v1/models/", "/v1/models/"),
            ("/a%20b", "/a%20b"),
            ("/v1/models/ft%3Amini%40acme", "/v1/models/ft%3Amini%40acme"),
            ("/v1/ch%2561t", "/v1/ch%2561t"),
            ("/v1/chat?x=%63", "/v1/chat"),
        ] {
            assert_eq!(plain_path(path), Ok(plain));
        }
    }

    #[test]
    fn a_literal_match_equals_the_full_match() {
        let mut loader = crate::config::ConfigLoader::default();
        loader.push(
            br#"{"policy": {"version": 1}, "routes": [
                {"path": "/v1/chat", "methods": ["POST"], "api": "openai-chat"},
                {"path": "/v1/chat", "methods": ["GET"], "headers": {"x-beta": "on"}, "public": true},
                {"path": "/v1/chat", "public": true},
                {"path": "/a/../b", "public": true},
                {"path": "/a;b", "public": true},
                {"path": "/v1/x.y", "public": true},
                {"path": "/v1/{model}", "methods": ["POST"]},
                {"path": "/v1/late", "public": true},
                {"path": "/", "public": true},
                {"path": "/after", "public": true}
            ]}"#,
        );
        let routes = loader.finish().unwrap().0.routes;
        let head = Headers::new(&[]);
        let mut literal_matches = 0;
        for method in ["POST", "GET", "CONNECT"] {
            for target in [
                "/v1/chat",
                "/v1/chat/",
                "/v1/chat?a=b",
                "/v1/chat?",
                "//v1/chat",
                "/V1/chat",
                "v1/chat",
                "/v1/cha%74",
                "/a/../b",
                "/a;b",
                "/v1/x.y",
                "/",
                "",
                "//",
                "/v1/late",
                "/v1/other",
                "/after",
            ] {
                let Some(found) = literal_match(&routes, method, target) else { continue };
                let other = full_match(&routes, method, target, &head).unwrap().unwrap();
                assert!(core::ptr::eq(found.route, other.route), "{method} {target}");
                assert_eq!((found.path, found.model), (other.path, other.model), "{method} {target}");
                literal_matches += 1;
            }
        }
        assert_eq!(literal_matches, 2, "POST and CONNECT to /v1/chat; for GET a header is checked");
    }

    #[test]
    fn letters_digits_hyphen_underscore_and_slash_are_plain() {
        for byte in 0..=u8::MAX {
            let plain = byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
            assert_eq!(is_plain(byte), plain, "{byte}");
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
            matches(&gemini, "/v1beta/models/ft%3Agemini-2.5-pro:generateContent", true),
            Some(Some("ft:gemini-2.5-pro".into()))
        );
        assert_eq!(matches(&gemini, "/v1beta/models/:generateContent", true), None);
        assert_eq!(matches(&gemini, "/v1beta/models/x:generateContent/more", true), None);
        let rest = [Segment::Literal("reports".into()), Segment::Rest];
        assert_eq!(matches(&rest, "/reports", true), Some(None));
        assert_eq!(matches(&rest, "/reports/2026/q3", true), Some(None));
        assert_eq!(matches(&rest, "/reportsX", true), None);
        let one = [Segment::Literal("a".into()), Segment::Any];
        assert_eq!(matches(&one, "/a/b/", true), Some(None));
        assert_eq!(matches(&one, "/a/", true), None);
    }

    #[test]
    fn an_encoded_spelling_of_a_path_does_not_bypass_its_route() {
        let mut loader = crate::config::ConfigLoader::default();
        loader.push(
            br#"{"policy": {"version": 1}, "routes": [
                {"path": "/v1beta/models/{model}:generateContent", "methods": ["POST"]},
                {"path": "/reports/q3:run", "public": true, "headers": {"x-reports": "on"}},
                {"path": "/deployments/{model}/chat"},
                {"path": "/**", "public": true}
            ]}"#,
        );
        let routes = loader.finish().unwrap().0.routes;
        let found = |method: &str, path: &str, on: bool| {
            let header = |name: &str| (on && name == "x-reports").then(|| "on".into());
            let found = find(&routes, method, path, header)?.unwrap();
            let position = routes.iter().position(|route| core::ptr::eq(route, found.route)).unwrap();
            Ok((position, found.model))
        };
        let gemini = "/v1beta/models/x%3AgenerateContent";
        assert_eq!(found("POST", gemini, false), Err(Rejection::AmbiguousPath));
        assert_eq!(found("GET", gemini, false), Ok((3, None)), "of another method");
        assert_eq!(found("POST", "/v1beta/models/x:generateContent", false), Ok((0, Some("x".into()))));
        assert_eq!(found("POST", "/reports/q3%3Arun", true), Err(Rejection::AmbiguousPath));
        assert_eq!(found("POST", "/reports/q3%3Arun", false), Ok((3, None)), "without its header");
        // The characters that SDKs encode in a model's name match no other route.
        assert_eq!(found("POST", "/deployments/ft%3Amini/chat", true), Ok((2, Some("ft:mini".into()))));
        assert_eq!(found("POST", "/files/a%20b", true), Ok((3, None)));
    }
}
