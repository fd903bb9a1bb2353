//! Requests that no key governs, and that a server may take for one of a governed route.
//!
//! Servers decode a path twice, ignore its case, cut parameters, extensions, dots and spaces at the ends of segments, and take
//! another method or path from a header. A request that differs from a governed one only by that does not pass without a key.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use crate::api::Api;
use crate::http::headers::Headers;
use crate::http::query;
use crate::http::rejection::Rejection;
use crate::http::route::{Route, Segment, matches};
use crate::text::percent::{ROUNDS, leniently};

/// Headers by which servers take another method, or another path.
pub(crate) const OVERRIDES: [&str; 5] = [METHODS[0], METHODS[1], METHODS[2], PATHS[0], PATHS[1]];

const METHODS: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

const PATHS: [&str; 2] = ["x-original-url", "x-rewrite-url"];

/// Parameters of a query by which servers take another method.
pub(crate) const METHOD_PARAMETERS: [&str; 2] = ["_method", "$httpMethod"];

/// Checks that a request without a key is none of a route that needs one. `public`: the route that lets it pass, if there is one.
///
/// # Errors
/// [`Rejection::AmbiguousPath`] for another spelling of a governed path, [`Rejection::UnknownRoute`] for another method on one.
#[cold]
pub(crate) fn check_ungoverned(
    routes: &[Route],
    public: Option<&Route>,
    method: &str,
    target: &str,
    head: &Headers<'_>,
) -> Result<(), Rejection> {
    let (path, _) = query::split(target);
    let overridden = METHODS.iter().any(|name| head.first(name).is_some())
        || METHOD_PARAMETERS.iter().any(|name| query::has(target, name));
    let request = Ungoverned { public, method, path, overridden, head };
    let governed = || routes.iter().filter(|route| !route.public && request.has_headers(route));
    if !request.is_named() || overridden {
        let parts = parts(path);
        let found = governed().find(|route| {
            let fits = parts.as_ref().is_none_or(|parts| fits(&route.path, parts));
            fits && request.may_call(route)
        });
        if let Some(route) = found {
            // Without parts it is encoded too often for any template.
            let exact = parts.is_some() && matches(&route.path, path, true).is_some();
            return Err(if exact { Rejection::UnknownRoute } else { Rejection::AmbiguousPath });
        }
    }
    for other in PATHS.iter().flat_map(|name| head.all(name)) {
        let other = String::from_utf8_lossy(other);
        let start = other.find("://").map_or(0, |scheme| scheme + 3);
        let path = other.get(start..).and_then(|rest| rest.get(rest.find('/')?..)).unwrap_or("/");
        let parts = parts(query::split(path).0);
        if governed().any(|route| parts.as_ref().is_none_or(|parts| fits(&route.path, parts))) {
            return Err(Rejection::AmbiguousPath);
        }
    }
    Ok(())
}

struct Ungoverned<'r> {
    public: Option<&'r Route>,
    method: &'r str,
    path: &'r str,
    overridden: bool,
    head: &'r Headers<'r>,
}

impl Ungoverned<'_> {
    /// Returns true if a public route names this path, not a pattern.
    fn is_named(&self) -> bool {
        self.public.is_some_and(|route| {
            let literal = route.path.iter().all(|segment| matches!(segment, Segment::Literal(_)));
            literal && matches(&route.path, self.path, true).is_some()
        })
    }

    /// Returns true if a server may take the request's method for one of the route.
    fn may_call(&self, route: &Route) -> bool {
        let method = self.method.trim().to_ascii_uppercase();
        if self.overridden || route.allows_method(&method) {
            return true;
        }
        let names_method = self.public.is_some_and(|public| !public.methods.is_empty());
        match route.api {
            // Servers override the method of these in forms too.
            Api::Plain => !names_method && !matches!(&*method, "GET" | "HEAD" | "OPTIONS"),
            // No other method has a use there, except a browser's preflight.
            Api::OpenAiChat
            | Api::OpenAiCompletions
            | Api::OpenAiResponses
            | Api::OpenAiCountTokens
            | Api::OpenAiEmbeddings
            | Api::OpenAiImages
            | Api::OpenAiAudio
            | Api::OpenAiModerations
            | Api::OpenAiRealtime
            | Api::AnthropicMessages
            | Api::AnthropicCountTokens
            | Api::GeminiGenerate
            | Api::GeminiCountTokens
            | Api::GeminiEmbed
            | Api::Rerank
            | Api::Models
            | Api::StoredObjects
            | Api::DirectSessions => !names_method && method != "OPTIONS",
        }
    }

    /// Returns true if the request has the headers of a route, in any case.
    fn has_headers(&self, route: &Route) -> bool {
        route.headers.iter().all(|(name, value)| {
            self.head.all(name).any(|sent| sent.trim_ascii().eq_ignore_ascii_case(value.as_bytes()))
        })
    }
}

/// The segments of a path as the most lenient server reads them; `None` if it is encoded too often, or climbs.
fn parts(path: &str) -> Option<Vec<String>> {
    let mut path = Cow::Borrowed(path);
    let mut rounds = 0;
    while let Some(decoded) = leniently(&path) {
        rounds += 1;
        if rounds > ROUNDS {
            return None;
        }
        path = Cow::Owned(decoded);
    }
    let end = path.find(['?', '#', '\0']).unwrap_or(path.len());
    let path = path.get(..end).unwrap_or_default();
    let mut parts = Vec::new();
    for part in path.split(['/', '\\']) {
        let part = part.split(';').next().unwrap_or_default();
        let part: String = part.chars().filter(|c| !c.is_control()).map(folded).collect();
        match part.trim_matches(|c: char| c.is_whitespace()).trim_end_matches(['.', ' ']) {
            "" if part.contains("..") => return None,
            "" => {}
            part => parts.push(String::from(part)),
        }
    }
    Some(parts)
}

/// The letter that a server without regard to case and width reads.
fn folded(c: char) -> char {
    const WIDE: u32 = 0xfee0;
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - WIDE).unwrap_or(c).to_ascii_lowercase(),
        'ſ' => 's',
        '\u{212a}' => 'k',
        '+' => ' ',
        other => other.to_ascii_lowercase(),
    }
}

/// Returns true if these segments fit a template, also with something behind the last that is no part of a name.
fn fits(template: &[Segment], parts: &[String]) -> bool {
    let mut rest = parts.iter();
    for (position, segment) in template.iter().enumerate() {
        let last = position + 1 == template.len();
        let fits = match segment {
            Segment::Rest => return true,
            Segment::Any => rest.next().is_some(),
            Segment::Model { suffix } => rest.next().is_some_and(|part| ends(part, suffix, last)),
            Segment::Literal(text) => {
                let mut names = text.split('/').peekable();
                let mut fits = true;
                while let Some(name) = names.next() {
                    let last = last && names.peek().is_none();
                    fits &= rest.next().is_some_and(|part| is(part, name, last));
                }
                fits
            }
        };
        if !fits {
            return false;
        }
    }
    rest.next().is_none()
}

fn is(part: &str, name: &str, last: bool) -> bool {
    let name: String = name.chars().map(folded).collect();
    part.strip_prefix(&*name).is_some_and(|rest| rest.is_empty() || last && is_appendix(rest))
}

/// Returns true if a name in `part` is followed by this suffix.
fn ends(part: &str, suffix: &str, last: bool) -> bool {
    let suffix: String = suffix.chars().map(folded).collect();
    let mut found = part.match_indices(&*suffix);
    found.any(|(at, _)| {
        let rest = part.get(at + suffix.len()..).unwrap_or_default();
        at > 0 && (rest.is_empty() || last && is_appendix(rest))
    })
}

/// Returns true for `.json`, `~`, `:x` and the like, which some servers cut.
fn is_appendix(rest: &str) -> bool {
    !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_leniently_as_any_server_does() {
        let read = |path: &str| parts(path).map(|parts| parts.join("/"));
        for (path, lenient) in [
            ("/v1/chat", "v1/chat"),
            ("/V1//Chat/", "v1/chat"),
            ("/v1/ch%61t", "v1/chat"),
            ("/v1/ch%2561t", "v1/chat"),
            ("/v1/ch%252561t", "v1/chat"),
            ("/v1%252fchat", "v1/chat"),
            ("/v1%255Cchat", "v1/chat"),
            ("/v1;a=b/chat;c", "v1/chat"),
            ("/v1./chat%20", "v1/chat"),
            ("/v1/%EF%BD%83hat", "v1/chat"),
            ("/v1/chat%2500.png", "v1/chat"),
            ("/v1/chat%253Fx", "v1/chat"),
            ("/v1/./chat", "v1/chat"),
            ("/v1/chat.json", "v1/chat.json"),
            ("/files/100%25/%zz", "files/100%/%zz"),
        ] {
            assert_eq!(read(path).as_deref(), Some(lenient), "{path}");
        }
        for path in ["/a/%252e%252e/v1", "/a/..%3b/v1", "/%2525252525252561"] {
            assert_eq!(read(path), None, "{path}");
        }
    }
}
