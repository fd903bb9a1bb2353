//! Queries, and lists in pages: ordered by id, so that a page stays the same while others are changed.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use super::problem::{Fault, FaultLocation, Problem, shown};
use super::{AdminRequest, Response, answer};
use crate::collections::sort::sort;
use crate::http::query;
use crate::json::out_of_line::object;
use crate::policy::load::value::is_target_name;

/// Items of a page where the request does not say.
pub const USUAL: usize = 50;

/// Most items of a page.
pub const MOST: usize = 200;

/// Which part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// How many items at most.
    pub limit: usize,
    /// Only what comes after this one.
    pub after: Option<String>,
}

/// The parameters of a query, each named once.
///
/// # Errors
/// 400 for one that is not known, stands there twice or cannot be decoded.
pub fn parameters<const N: usize>(
    request: &AdminRequest,
    known: [&'static str; N],
) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    for parameter in query::parameters(&request.query).filter(|parameter| !parameter.text.is_empty()) {
        let name = parameter.name().unwrap_or_default();
        let Some((_, place)) = known.iter().zip(&mut values).find(|(known, _)| **known == name) else {
            let known = if N == 0 {
                "there is none here".to_string()
            } else {
                format!("known: {}", known.join(", "))
            };
            return Err(wrong(&name, format!("`{}` is not a parameter: {known}.", shown(&name))));
        };
        let value =
            parameter.value().ok_or_else(|| wrong(&name, "This is not percent-encoded UTF-8.".into()))?;
        if place.replace(value.into_owned()).is_some() {
            return Err(wrong(&name, "Send it once.".into()));
        }
    }
    Ok(values)
}

/// Nothing may be asked for.
///
/// # Errors
/// 400 for any parameter.
pub fn no_parameters(request: &AdminRequest) -> Result<(), Problem> {
    parameters(request, []).map(|[]| ())
}

impl PageQuery {
    /// The page a request asks for.
    ///
    /// # Errors
    /// 400 for other parameters, and for a limit that is none.
    pub fn inputs(request: &AdminRequest) -> Result<PageQuery, Problem> {
        let [limit, after] = parameters(request, ["limit", "after"])?;
        Ok(PageQuery { limit: size(limit)?, after: name(after)? })
    }

    /// The page of the items with these ids, which come in any order.
    pub fn of(&self, mut ids: Vec<&str>, show: &dyn Fn(&str) -> Value) -> Response {
        sort(&mut ids);
        let mut rest =
            ids.into_iter().filter(|id| self.after.as_deref().is_none_or(|after| *id > after)).peekable();
        let page: Vec<&str> = rest.by_ref().take(self.limit).collect();
        let next = rest.peek().and(page.last());
        let shown: Vec<Value> = page.iter().map(|id| show(id)).collect();
        answer(200, &object!({ "items": shown, "next": next }))
    }
}

/// The size of a page as a parameter says it.
///
/// # Errors
/// 400 where it is not a number from 1 to [`MOST`].
pub fn size(limit: Option<String>) -> Result<usize, Problem> {
    match limit {
        None => Ok(USUAL),
        Some(text) => match text.parse() {
            Ok(limit) if (1..=MOST).contains(&limit) => Ok(limit),
            _ => Err(wrong("limit", format!("Send a whole number from 1 to {MOST}."))),
        },
    }
}

/// The name of an item, as the page before gave it in `next`.
///
/// # Errors
/// 400 where nothing can have this name.
pub fn name(after: Option<String>) -> Result<Option<String>, Problem> {
    match after {
        Some(text) if !is_target_name(&text) => {
            Err(wrong("after", "Send the `next` of the page before.".into()))
        }
        after => Ok(after),
    }
}

/// A parameter that is wrong.
#[inline(never)]
pub fn wrong(name: &str, detail: String) -> Problem {
    let fault = Fault { place: FaultLocation::Parameter(shown(name)), detail: detail.clone() };
    Problem { faults: Vec::from([fault]), ..Problem::new(400, "invalid_parameter", detail) }
}
