//! The choice of a parser by the headers of a request.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{BodyError, LlmRequest, MultipartScanner, RequestScanner};
use crate::api::Api;
use crate::secret::redact::redact;
use crate::text::media_type::MediaType;

/// The maximum number of characters of a header in an error.
const MAX_QUOTED: usize = 64;

/// A parser of a request's body.
#[derive(Clone, Debug)]
pub enum BodyParser {
    /// `application/json`, and bodies without a content-type.
    Json(Box<RequestScanner>),
    /// `multipart/form-data`
    Multipart(Box<MultipartScanner>),
}

impl BodyParser {
    /// The parser for a body with these headers.
    ///
    /// # Errors
    /// [`BodyError::UnsupportedEncoding`], [`BodyError::UnsupportedType`] and [`BodyError::Boundary`]: the upstream
    /// might read a body that the filter cannot.
    pub fn for_head(content_type: Option<&str>, content_encoding: Option<&str>) -> Result<Self, BodyError> {
        // The fast path for the spelling of nearly every client.
        if content_type == Some("application/json") && content_encoding.is_none() {
            return Ok(Self::json());
        }
        if let Some(encoding) = content_encoding.map(str::trim)
            && !encoding.is_empty()
            && !encoding.eq_ignore_ascii_case("identity")
        {
            return Err(BodyError::UnsupportedEncoding { found: start(encoding) });
        }
        let Some(whole) = content_type.map(str::trim).filter(|value| !value.is_empty()) else {
            return Ok(Self::json());
        };
        let unsupported = || BodyError::UnsupportedType { found: start(whole) };
        // Some servers split at spaces only.
        if content_type.is_some_and(|value| value.contains('\t')) {
            return Err(unsupported());
        }
        let media_type = MediaType::of(whole);
        let parameters = parameters(media_type.parameters).ok_or_else(unsupported)?;
        let (mut boundary, mut charset) = (None, None);
        for (name, value) in parameters {
            let place = match () {
                () if name.eq_ignore_ascii_case("boundary") => &mut boundary,
                () if name.eq_ignore_ascii_case("charset") => &mut charset,
                // Others change the reading for some server, or are a second spelling of these (RFC 2231).
                () => return Err(unsupported()),
            };
            if place.replace(value).is_some() {
                return Err(unsupported());
            }
        }
        let utf8 = |charset: Parameter<'_>| {
            charset.value.eq_ignore_ascii_case("utf-8") || charset.value.eq_ignore_ascii_case("utf8")
        };
        if charset.is_some_and(|charset| !utf8(charset)) {
            return Err(unsupported());
        }
        match boundary {
            Some(boundary) if media_type.is("multipart/form-data") => {
                if boundary.value.contains('=') && !boundary.quoted {
                    return Err(BodyError::Boundary);
                }
                MultipartScanner::new(boundary.value).map(Box::new).map(Self::Multipart)
            }
            None if media_type.is("multipart/form-data") => Err(BodyError::Boundary),
            None if is_json(&media_type) => Ok(Self::json()),
            Some(_) | None => Err(unsupported()),
        }
    }

    /// Looks up members in the table of an API. Without one no member is unknown.
    #[must_use]
    pub fn for_api(self, api: Api) -> Self {
        match self {
            Self::Json(scanner) => Self::Json(Box::new(scanner.for_api(api))),
            Self::Multipart(scanner) => Self::Multipart(Box::new(scanner.for_api(api))),
        }
    }

    fn json() -> Self {
        Self::Json(Box::default())
    }

    /// Reads the next bytes of the body.
    ///
    /// # Errors
    /// As soon as the body is invalid or ambiguous; every further call fails too.
    pub fn push(&mut self, new_bytes: &[u8]) -> Result<(), BodyError> {
        match self {
            Self::Json(scanner) => scanner.push(new_bytes),
            Self::Multipart(scanner) => scanner.push(new_bytes),
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// If it is incomplete.
    pub fn finish(&mut self) -> Result<&LlmRequest, BodyError> {
        match self {
            Self::Json(scanner) => scanner.finish(),
            Self::Multipart(scanner) => scanner.finish(),
        }
    }
}

fn start(value: &str) -> alloc::boxed::Box<str> {
    redact(value, MAX_QUOTED).into()
}

/// Returns true for `application/json`, and for types with the suffix `+json` that no server takes for a form: some look for a
/// word in the whole value.
fn is_json(media_type: &MediaType<'_>) -> bool {
    let essence = media_type.essence.to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    let is_type = subtype.is_some_and(|subtype| subtype.bytes().all(is_token));
    is_type && media_type.is_json() && !["form", "multipart"].iter().any(|word| essence.contains(word))
}

/// A parameter of a header.
#[derive(Clone, Copy, Debug)]
struct Parameter<'v> {
    value: &'v str,
    quoted: bool,
}

/// Parses the parameters after a `;` (RFC 9110, 5.6.6); `None` if they are invalid, and for escapes, which servers read
/// differently.
fn parameters(text: &str) -> Option<Vec<(&str, Parameter<'_>)>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(';') {
            rest = after.trim_start();
            continue;
        }
        let (name, after) = rest.split_once('=')?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let parameter;
        if let Some(quoted) = after.strip_prefix('"') {
            let (value, after) = quoted.split_once('"')?;
            if value.contains('\\') {
                return None;
            }
            parameter = Parameter { value, quoted: true };
            rest = after.trim_start();
        } else {
            let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
            let (value, after) = after.split_at_checked(end)?;
            parameter = Parameter { value, quoted: false };
            rest = after.trim_start();
        }
        if !rest.is_empty() && !rest.starts_with(';') {
            return None;
        }
        found.push((name, parameter));
    }
    Some(found)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
