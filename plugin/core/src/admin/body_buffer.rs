//! Buffering of a management request until its body is complete.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::AdminRequest;
use crate::http::headers::Headers;
use crate::http::query;
use crate::policy::Policy;
use crate::secret::api_key;

/// Maximum size of a request body in bytes.
pub(crate) const MAX_BODY: usize = 256 * 1024;

/// Error for a body larger than [`MAX_BODY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// A management request whose body is incomplete.
#[derive(Clone, Debug)]
pub(crate) struct BodyBuffer {
    request: AdminRequest,
}

impl BodyBuffer {
    /// Starts buffering; `None` if the path is not below the prefix. `target` is the complete request target, with its
    /// query.
    ///
    /// # Errors
    /// [`TooLarge`] if `content-length` exceeds [`MAX_BODY`].
    pub(crate) fn begin(
        prefix: &str,
        head: &Headers<'_>,
        target: &str,
    ) -> Result<Option<BodyBuffer>, TooLarge> {
        let Some(below) =
            target.strip_prefix(prefix).filter(|rest| matches!(rest.as_bytes(), [] | [b'/' | b'?', ..]))
        else {
            return Ok(None);
        };
        let (path, query) = query::split(below);
        let query = query.unwrap_or_default();
        let announced = head.text("content-length").and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|length| length > MAX_BODY) {
            return Err(TooLarge);
        }
        let text = |name: &str| head.text(name).map(ToString::to_string);
        let request = AdminRequest {
            method: text(":method").unwrap_or_default(),
            path: path.to_string(),
            query: query.to_string(),
            token: bearer(head),
            subject: None,
            if_match: list(head, "if-match"),
            if_none_match: list(head, "if-none-match"),
            content_type: text("content-type"),
            body: Vec::new(),
            unread: false,
            readiness: false,
        };
        Ok(Some(BodyBuffer { request }))
    }

    /// Returns true if the policy contains the token.
    pub(crate) fn has_known_token(&self, policy: &Policy) -> bool {
        let token = self.request.token.as_deref();
        token.is_some_and(|token| policy.user_by_token(&api_key::digest(token.as_bytes())).is_some())
    }

    /// Marks the request as decided without its body.
    pub(crate) fn skip_body(&mut self) {
        self.request.unread = true;
    }

    /// Appends bytes of the body.
    ///
    /// # Errors
    /// [`TooLarge`] if the body exceeds [`MAX_BODY`].
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.request.body.len().saturating_add(bytes.len()) > MAX_BODY {
            return Err(TooLarge);
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

    fn begin(fields: &[(&[u8], &[u8])], target: &str) -> Result<Option<AdminRequest>, TooLarge> {
        Ok(BodyBuffer::begin("/tollgate/v1", &Headers::new(fields), target)?.map(BodyBuffer::finish))
    }

    #[test]
    fn only_whole_segments_of_the_prefix_count() {
        for (target, path, query) in [
            ("/tollgate/v1", "", ""),
            ("/tollgate/v1/me", "/me", ""),
            ("/tollgate/v1/audit?limit=2&after=1", "/audit", "limit=2&after=1"),
        ] {
            let request = begin(&[(b":method", b"GET")], target).unwrap().unwrap();
            assert_eq!((request.path.as_str(), request.query.as_str()), (path, query));
        }
        for target in ["/tollgate/v10/me", "/tollgate", "/v1/chat/completions", "/x/tollgate/v1/me"] {
            assert_eq!(begin(&[], target).unwrap().map(|request| request.path), None);
        }
    }

    #[test]
    fn a_token_is_taken_from_one_bearer_field_and_from_no_other_header() {
        let token = |fields: &[(&[u8], &[u8])]| begin(fields, "/tollgate/v1/me").unwrap().unwrap().token;
        assert_eq!(token(&[(b"authorization", b"bearer tok")]).as_deref(), Some("tok"));
        assert_eq!(token(&[(b"authorization", b"Basic tok")]), None);
        assert_eq!(token(&[(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]), None);
        assert_eq!(token(&[(b"x-tollgate-user", b"alice"), (b"x-api-key", b"tok")]), None);
    }

    #[test]
    fn the_lines_of_a_list_are_one_list() {
        let sent: [(&[u8], &[u8]); 3] =
            [(b"if-match", b"\"a\""), (b"If-Match", b"\"b\""), (b"if-none-match", b"*")];
        let request = begin(&sent, "/tollgate/v1/me").unwrap().unwrap();
        assert_eq!(request.if_match.as_deref(), Some("\"a\", \"b\""));
        assert_eq!(request.if_none_match.as_deref(), Some("*"));
        assert_eq!(begin(&[], "/tollgate/v1/me").unwrap().unwrap().if_match, None);
    }

    #[test]
    fn a_body_that_is_too_large_is_refused_when_it_is_announced_and_when_it_comes() {
        assert_eq!(begin(&[(b"content-length", b"262145")], "/tollgate/v1/me"), Err(TooLarge));
        let mut buffer =
            BodyBuffer::begin("/tollgate/v1", &Headers::new(&[]), "/tollgate/v1/me").unwrap().unwrap();
        assert_eq!(buffer.append(&alloc::vec![b' '; MAX_BODY]), Ok(()));
        assert_eq!(buffer.append(b" "), Err(TooLarge));
    }
}
