//! The choice of a parser by the headers of a request.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{BodyError, LlmRequest, MultipartScanner, RequestScanner};
use crate::api::Api;
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
        let media_type = MediaType::of(whole);
        if media_type.is("multipart/form-data") {
            let parameters = parameters(media_type.parameters).ok_or(BodyError::Boundary)?;
            let mut boundaries = parameters.iter().filter(|(name, _)| spells(name, "boundary"));
            return match (boundaries.next(), boundaries.next()) {
                (Some((name, boundary)), None) if !name.contains('*') => {
                    MultipartScanner::new(boundary).map(Box::new).map(Self::Multipart)
                }
                _ => Err(BodyError::Boundary),
            };
        }
        let kind = media_type.essence.split('/').next().unwrap_or_default();
        let json = kind.eq_ignore_ascii_case("application") && media_type.is_json();
        let utf8 = parameters(media_type.parameters).is_some_and(|parameters| {
            parameters.iter().all(|(name, value)| {
                !spells(name, "charset")
                    || value.eq_ignore_ascii_case("utf-8")
                    || value.eq_ignore_ascii_case("utf8")
            })
        });
        if json && utf8 { Ok(Self::json()) } else { Err(unsupported()) }
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
    value.chars().take(MAX_QUOTED).collect()
}

/// Parses the parameters after a `;` (RFC 9110, 5.6.6); `None` if they are invalid.
pub(super) fn parameters(text: &str) -> Option<Vec<(&str, String)>> {
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
        let value;
        if let Some(quoted) = after.strip_prefix('"') {
            let mut text = String::new();
            let mut characters = quoted.char_indices();
            let end = loop {
                match characters.next()? {
                    (at, '"') => break at + 1,
                    // Servers read escapes differently; forms have `%22` for a quote (RFC 7578, 2).
                    (_, '\\') => return None,
                    (_, other) => text.push(other),
                }
            };
            value = text;
            rest = quoted.get(end..)?.trim_start();
        } else {
            let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
            value = after.get(..end)?.into();
            rest = after.get(end..)?.trim_start();
        }
        if !rest.is_empty() && !rest.starts_with(';') {
            return None;
        }
        found.push((name, value));
    }
    Some(found)
}

/// Returns true if some reader takes a parameter for this one: readers with RFC 2231 take `name*` and the pieces `name*0`
/// and `name*1*` for `name`, and prefer them; others do not.
pub(super) fn spells(parameter: &str, name: &str) -> bool {
    parameter.split('*').next().is_some_and(|start| start.eq_ignore_ascii_case(name))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
