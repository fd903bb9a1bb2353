//! Which reader a request's head asks for.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{BodyError, LlmRequest, MultipartScanner, RequestScanner};

/// How much of a header an error repeats, in characters.
const SHOWN: usize = 64;

/// Reads a body of either kind.
#[derive(Clone, Debug)]
pub enum BodyParser {
    /// `application/json`, and bodies that do not say what they are.
    Json(Box<RequestScanner>),
    /// `multipart/form-data`
    Multipart(Box<MultipartScanner>),
}

impl BodyParser {
    /// The reader for a body with this head.
    ///
    /// # Errors
    /// [`BodyError::UnsupportedEncoding`], [`BodyError::UnsupportedType`] and [`BodyError::Boundary`]:
    /// what we cannot read the upstream might.
    pub fn for_head(content_type: Option<&str>, content_encoding: Option<&str>) -> Result<Self, BodyError> {
        // As nearly every client spells it.
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
        let (essence, rest) = whole.split_once(';').unwrap_or((whole, ""));
        let essence = essence.trim();
        if essence.eq_ignore_ascii_case("multipart/form-data") {
            let parameters = parameters(rest).ok_or(BodyError::Boundary)?;
            let mut boundaries = parameters.iter().filter(|(name, _)| spells(name, "boundary"));
            return match (boundaries.next(), boundaries.next()) {
                (Some((name, boundary)), None) if !name.contains('*') => {
                    MultipartScanner::new(boundary).map(Box::new).map(Self::Multipart)
                }
                _ => Err(BodyError::Boundary),
            };
        }
        let (kind, subtype) = essence.split_once('/').ok_or_else(unsupported)?;
        let json = kind.eq_ignore_ascii_case("application")
            && (subtype.eq_ignore_ascii_case("json") || subtype.to_ascii_lowercase().ends_with("+json"));
        let utf8 = parameters(rest).is_some_and(|parameters| {
            parameters.iter().all(|(name, value)| {
                !spells(name, "charset")
                    || value.eq_ignore_ascii_case("utf-8")
                    || value.eq_ignore_ascii_case("utf8")
            })
        });
        if json && utf8 { Ok(Self::json()) } else { Err(unsupported()) }
    }

    fn json() -> Self {
        Self::Json(Box::default())
    }

    /// Reads the next bytes of the body.
    ///
    /// # Errors
    /// As soon as the body cannot be decided on; every further call fails too.
    pub fn push(&mut self, new_bytes: &[u8]) -> Result<(), BodyError> {
        match self {
            Self::Json(scanner) => scanner.push(new_bytes),
            Self::Multipart(scanner) => scanner.push(new_bytes),
        }
    }

    /// The body ends here.
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
    value.chars().take(SHOWN).collect()
}

/// The parameters after a `;` (RFC 9110, 5.6.6); `None` if they are not written as that says.
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
                    // A file's name in a form has `%22` for a quote (RFC 7578, 2): an escape is one that
                    // servers read in different ways.
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

/// Whether a parameter is this one to some reader: `name*` and the pieces `name*0`, `name*1*` are `name` to those that
/// know RFC 2231, which let them win over it, and are others to the rest.
pub(super) fn spells(parameter: &str, name: &str) -> bool {
    parameter.split('*').next().is_some_and(|start| start.eq_ignore_ascii_case(name))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
