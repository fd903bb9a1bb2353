//! Buffering of a management request until its body is complete.
//!
//! The caller is known before a byte of the body is kept: only [`ManagementHead::sign_in`] creates a [`BodyBuffer`].

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::AdminRequest;
use super::caller::Caller;
use super::problem::Problem;
use crate::collections::held_bytes::HeldBytes;
use crate::http::headers::Headers;
use crate::http::query;
use crate::policy::Policy;

/// Maximum size of a request body in bytes.
pub(crate) const MAX_BODY: usize = 256 * 1024;

/// The head of a management request. Its caller is not known yet.
#[derive(Clone, Debug)]
pub(crate) struct ManagementHead {
    request: AdminRequest,
    /// The request ends with its head.
    bodiless: bool,
    /// The value of `content-length`.
    announced: Option<usize>,
}

/// A management request of a known caller whose body is incomplete.
#[derive(Clone, Debug)]
pub(crate) struct BodyBuffer {
    request: AdminRequest,
}

impl ManagementHead {
    /// Reads the head; `None` if the path is not below the prefix. `target` is the complete request target, with its
    /// query.
    pub(crate) fn read(
        prefix: &str,
        head: &Headers<'_>,
        target: &str,
        bodiless: bool,
    ) -> Option<ManagementHead> {
        let below =
            target.strip_prefix(prefix).filter(|rest| matches!(rest.as_bytes(), [] | [b'/' | b'?', ..]))?;
        let (path, query) = query::split(below);
        let query = query.unwrap_or_default();
        let announced = head.text("content-length").and_then(|length| length.parse::<usize>().ok());
        let text = |name: &str| head.text(name).map(ToString::to_string);
        let request = AdminRequest {
            method: text(":method").unwrap_or_default(),
            path: path.to_string(),
            query: query.to_string(),
            token: bearer(head),
            if_match: list(head, "if-match"),
            if_none_match: list(head, "if-none-match"),
            content_type: text("content-type"),
            ..AdminRequest::default()
        };
        Some(ManagementHead { request, bodiless, announced })
    }

    /// Returns true if the request ends with its head.
    pub(crate) fn is_bodiless(&self) -> bool {
        self.bodiless
    }

    /// Returns true if the method is `HEAD`, whose responses have no body.
    pub(crate) fn is_head(&self) -> bool {
        self.request.method == "HEAD"
    }

    /// Authenticates the caller, and starts buffering. `subject` is the claim of a JWT that the host has verified.
    ///
    /// # Errors
    /// 401 for an unknown caller, 413 if `content-length` exceeds [`MAX_BODY`], 503 if too much is held already.
    pub(crate) fn sign_in(
        self,
        policy: &Policy,
        subject: Option<String>,
        held: &HeldBytes,
    ) -> Result<BodyBuffer, Problem> {
        let mut request = AdminRequest { subject, ..self.request };
        let caller = Caller::sign_in(policy, &request)?;
        if self.announced.is_some_and(|length| length > MAX_BODY) {
            return Err(Problem::too_large(MAX_BODY));
        }
        let fields = [&request.token, &request.subject, &request.if_match, &request.if_none_match];
        let head = fields.into_iter().flatten().map(String::len).sum::<usize>();
        let head = head.saturating_add(request.path.len()).saturating_add(request.query.len());
        request.held = held.begin(caller.user.0, head).ok_or_else(Problem::busy)?;
        Ok(BodyBuffer { request })
    }
}

impl BodyBuffer {
    /// Appends bytes of the body.
    ///
    /// # Errors
    /// 413 if the body exceeds [`MAX_BODY`], 503 if too much is held already.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if self.request.body.len().saturating_add(bytes.len()) > MAX_BODY {
            return Err(Problem::too_large(MAX_BODY));
        }
        if !self.request.held.grow(bytes.len()) {
            return Err(Problem::busy());
        }
        self.request.body.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the complete request.
    pub(crate) fn finish(self) -> AdminRequest {
        self.request
    }
}

/// Joins the lines of a list field (RFC 9110, 5.3). Bytes that are not UTF-8 become U+FFFD, which no list contains.
fn list(head: &Headers<'_>, name: &str) -> Option<String> {
    let lines: Vec<_> = head.all(name).map(String::from_utf8_lossy).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// Returns the bearer token if there is exactly one `authorization` field. The scheme is case-insensitive (RFC 9110,
/// 11.1).
fn bearer(head: &Headers<'_>) -> Option<String> {
    let mut fields = head.all("authorization");
    let (first, None) = (fields.next()?, fields.next()) else { return None };
    let (scheme, token) = core::str::from_utf8(first).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&[u8], &[u8])], target: &str) -> Option<AdminRequest> {
        ManagementHead::read("/tollgate/v1", &Headers::new(fields), target, false).map(|head| head.request)
    }

    #[test]
    fn only_whole_segments_of_the_prefix_count() {
        for (target, path, query) in [
            ("/tollgate/v1", "", ""),
            ("/tollgate/v1/me", "/me", ""),
            ("/tollgate/v1/audit?limit=2&after=1", "/audit", "limit=2&after=1"),
        ] {
            let request = read(&[(b":method", b"GET")], target).unwrap();
            assert_eq!((request.path.as_str(), request.query.as_str()), (path, query));
        }
        for target in ["/tollgate/v10/me", "/tollgate", "/v1/chat/completions", "/x/tollgate/v1/me"] {
            assert_eq!(read(&[], target).map(|request| request.path), None);
        }
    }

    #[test]
    fn a_token_is_taken_from_one_bearer_field_and_from_no_other_header() {
        let token = |fields: &[(&[u8], &[u8])]| read(fields, "/tollgate/v1/me").unwrap().token;
        assert_eq!(token(&[(b"authorization", b"bearer tok")]).as_deref(), Some("tok"));
        assert_eq!(token(&[(b"authorization", b"Basic tok")]), None);
        assert_eq!(token(&[(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]), None);
        assert_eq!(token(&[(b"x-tollgate-user", b"alice"), (b"x-api-key", b"tok")]), None);
    }

    #[test]
    fn the_lines_of_a_list_are_one_list() {
        let sent: [(&[u8], &[u8]); 3] =
            [(b"if-match", b"\"a\""), (b"If-Match", b"\"b\""), (b"if-none-match", b"*")];
        let request = read(&sent, "/tollgate/v1/me").unwrap();
        assert_eq!(request.if_match.as_deref(), Some("\"a\", \"b\""));
        assert_eq!(request.if_none_match.as_deref(), Some("*"));
        assert_eq!(read(&[], "/tollgate/v1/me").unwrap().if_match, None);
    }
}
