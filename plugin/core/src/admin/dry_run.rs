//! `?dry_run=true` on a write: the response of the write, which is not carried out.

use serde_json::Value;

use super::page::invalid_parameter;
use super::problem::Problem;
use super::{AdminRequest, is_read};
use crate::http::local_response::LocalResponse;
use crate::http::query;
use crate::json::out_of_line::text;

/// Name of the parameter.
pub(super) const NAME: &str = "dry_run";

/// The query of a dry run in the audit log.
pub(super) const QUERY: &str = "?dry_run=true";

/// Returns true if the request is a write that must not be carried out.
///
/// # Errors
/// 400 if the parameter is repeated, or neither `true` nor `false`.
pub(super) fn is_requested(request: &AdminRequest) -> Result<bool, Problem> {
    if is_read(request) {
        // An unknown parameter there.
        return Ok(false);
    }
    let mut found = None;
    for parameter in query::parameters(&request.query).filter(|found| found.name().as_deref() == Some(NAME)) {
        let value = match parameter.value().as_deref() {
            Some("true") => true,
            Some("false") => false,
            _ => return Err(invalid_parameter(NAME, "`dry_run` must be `true` or `false`.".into())),
        };
        if found.replace(value).is_some() {
            return Err(invalid_parameter(NAME, "The parameter is repeated.".into()));
        }
    }
    Ok(found.unwrap_or_default())
}

/// Removes the secret of a key from a response: there is no key with it.
pub(super) fn remove_secret(response: &mut LocalResponse) {
    let Ok(mut body) = serde_json::from_str::<Value>(&response.body) else { return };
    if body.as_object_mut().and_then(|fields| fields.remove("secret")).is_some() {
        response.body = text(&body);
    }
}
