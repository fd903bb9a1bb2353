//! Query parameters and paged lists. Lists are ordered by id, so that a page is stable while other items change.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use super::problem::{Fault, FaultLocation, Problem, redacted};
use super::{AdminRequest, dry_run, is_read, json_response};
use crate::collections::sort::sort;
use crate::http::local_response::LocalResponse;
use crate::http::query;
use crate::json::out_of_line::object;
use crate::policy::load::value::is_target_name;

/// Default number of items in a page.
pub(super) const DEFAULT_LIMIT: usize = 50;

/// Maximum number of items in a page.
pub(super) const MAX_LIMIT: usize = 200;

/// The page of a list that a request selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageQuery {
    /// Maximum number of items.
    pub limit: usize,
    /// Return only items after this one.
    pub after: Option<String>,
}

/// Parses the query and returns the values of the known parameters.
///
/// # Errors
/// 400 for a parameter that is unknown, repeated or not percent-encoded UTF-8.
pub(super) fn parameters<const N: usize>(
    request: &AdminRequest,
    known: [&'static str; N],
) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    for parameter in query::parameters(&request.query).filter(|parameter| !parameter.text.is_empty()) {
        let name = parameter.name().unwrap_or_default();
        if name == dry_run::NAME && !is_read(request) {
            continue;
        }
        let Some((_, value_slot)) = known.iter().zip(&mut values).find(|(known, _)| **known == name) else {
            let known = if N == 0 {
                "this endpoint has no parameters".to_string()
            } else {
                format!("known parameters: {}", known.join(", "))
            };
            return Err(invalid_parameter(
                &name,
                format!("Unknown parameter `{}`; {known}.", redacted(&name)),
            ));
        };
        let value = parameter
            .value()
            .ok_or_else(|| invalid_parameter(&name, "The value is not percent-encoded UTF-8.".into()))?;
        if value_slot.replace(value.into_owned()).is_some() {
            return Err(invalid_parameter(&name, "The parameter is repeated.".into()));
        }
    }
    Ok(values)
}

/// Rejects every parameter.
///
/// # Errors
/// 400 for any parameter.
pub(super) fn no_parameters(request: &AdminRequest) -> Result<(), Problem> {
    parameters(request, []).map(|[]| ())
}

impl PageQuery {
    /// Reads `limit` and `after`.
    ///
    /// # Errors
    /// 400 for other parameters and for invalid values.
    pub(super) fn from_request(request: &AdminRequest) -> Result<PageQuery, Problem> {
        let [limit, after] = parameters(request, ["limit", "after"])?;
        Ok(PageQuery { limit: parse_limit(limit)?, after: parse_after(after)? })
    }

    /// Builds the page from the ids of all items, in any order.
    pub(super) fn of(&self, mut ids: Vec<&str>, show: &dyn Fn(&str) -> Value) -> LocalResponse {
        sort(&mut ids);
        let mut rest =
            ids.into_iter().filter(|id| self.after.as_deref().is_none_or(|after| *id > after)).peekable();
        let page: Vec<&str> = rest.by_ref().take(self.limit).collect();
        let next = rest.peek().and(page.last());
        let items: Vec<Value> = page.iter().map(|id| show(id)).collect();
        json_response(200, &object!({ "items": items, "next": next }))
    }
}

/// Parses `limit`.
///
/// # Errors
/// 400 if it is not an integer from 1 to [`MAX_LIMIT`].
pub(super) fn parse_limit(limit: Option<String>) -> Result<usize, Problem> {
    match limit {
        None => Ok(DEFAULT_LIMIT),
        Some(text) => match text.parse() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            _ => {
                Err(invalid_parameter("limit", format!("`limit` must be an integer from 1 to {MAX_LIMIT}.")))
            }
        },
    }
}

/// Parses `after`, the `next` of the previous page.
///
/// # Errors
/// 400 if no item can have this name.
pub(super) fn parse_after(after: Option<String>) -> Result<Option<String>, Problem> {
    match after {
        Some(text) if !is_target_name(&text) => {
            Err(invalid_parameter("after", "`after` must be the `next` of the previous page.".into()))
        }
        after => Ok(after),
    }
}

/// Builds the 400 for an invalid parameter.
#[inline(never)]
pub(super) fn invalid_parameter(name: &str, detail: String) -> Problem {
    let fault = Fault { location: FaultLocation::Parameter(redacted(name)), detail: detail.clone() };
    Problem { faults: Vec::from([fault]), ..Problem::new(400, "invalid_parameter", detail) }
}
