//! Optimistic concurrency with strong entity tags, `If-Match` and `If-None-Match` (RFC 9110, 8.8.3, 13.1.1 and 13.1.2).

use alloc::format;
use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;

/// Returns the strong entity tag of a representation: a digest of its text.
pub(super) fn etag(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let half = digest.get(..16).unwrap_or_default();
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(half))
}

/// Checks `If-Match` against the entity tag of the current representation; `None` if there is none.
///
/// # Errors
/// 412 if it does not match, 400 if it is malformed.
pub(super) fn require_match(if_match: Option<&str>, current: Option<&str>) -> Result<(), Problem> {
    let Some(field) = if_match else { return Ok(()) };
    if matches(field, current, Comparison::Strong)? {
        return Ok(());
    }
    let detail = match current {
        Some(_) => "The resource has changed since you read it. Read it again and repeat your change.",
        None => "The resource does not exist, so `If-Match` cannot match.",
    };
    Err(Problem::new(412, "precondition_failed", detail))
}

/// Checks `If-None-Match`; `*` requires that the resource does not exist.
///
/// # Errors
/// 412 if it matches, 400 if it is malformed.
pub(super) fn require_no_match(if_none_match: Option<&str>, current: Option<&str>) -> Result<(), Problem> {
    let Some(field) = if_none_match else { return Ok(()) };
    if !matches(field, current, Comparison::Weak)? {
        return Ok(());
    }
    let detail =
        "The resource exists and matches `If-None-Match`. Read it, and omit the header to change it.";
    Err(Problem::new(412, "precondition_failed", detail))
}

/// Comparison of entity tags (RFC 9110, 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// For `If-Match`: a weak tag matches nothing.
    Strong,
    /// For `If-None-Match`.
    Weak,
}

/// Returns true if `*` or a list of entity tags matches the current tag.
fn matches(field: &str, tag: Option<&str>, comparison: Comparison) -> Result<bool, Problem> {
    let malformed = || match comparison {
        Comparison::Strong => {
            Problem::new(400, "invalid_if_match", "`If-Match` is neither `*` nor a list of entity tags.")
        }
        Comparison::Weak => {
            let detail = "`If-None-Match` is neither `*` nor a list of entity tags.";
            Problem::new(400, "invalid_if_none_match", detail)
        }
    };
    if field.trim() == "*" {
        return Ok(tag.is_some());
    }
    let mut rest = field;
    let mut found = false;
    loop {
        rest = rest.trim_start();
        let weak = rest.strip_prefix("W/");
        let after = weak.unwrap_or(rest).strip_prefix('"').ok_or_else(malformed)?;
        let (opaque, after) = after.split_once('"').ok_or_else(malformed)?;
        let named = tag.and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
        found |= (weak.is_none() || comparison == Comparison::Weak) && named == Some(opaque);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(found),
            None => return Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_compares_strongly_and_reads_lists() {
        let status = |field, current| require_match(Some(field), current).err().map(|problem| problem.status);
        let tag = Some("\"a,b\"");
        for (field, expected) in [
            ("*", None),
            ("\"a,b\"", None),
            ("\"x\", \"a,b\"", None),
            ("\"x\"", Some(412)),
            ("W/\"a,b\"", Some(412)),
            ("a,b", Some(400)),
            ("\"a,b", Some(400)),
            ("\"a,b\" \"x\"", Some(400)),
            ("", Some(400)),
        ] {
            assert_eq!(status(field, tag), expected, "{field}");
        }
        assert_eq!(status("*", None), Some(412));
        assert_eq!(status("\"a\"", None), Some(412));
        assert_eq!(require_match(None, None), Ok(()));
    }

    #[test]
    fn if_none_match_is_the_opposite_and_compares_weakly() {
        let status =
            |field, current| require_no_match(Some(field), current).err().map(|problem| problem.status);
        let tag = Some("\"a,b\"");
        for (field, expected) in
            [("*", Some(412)), ("\"x\", W/\"a,b\"", Some(412)), ("\"x\"", None), ("a,b", Some(400))]
        {
            assert_eq!(status(field, tag), expected, "{field}");
        }
        assert_eq!(status("*", None), None);
        assert_eq!(require_no_match(None, tag), Ok(()));
    }
}
