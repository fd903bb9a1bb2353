//! JSON trees outside the request path, built and formatted by shared functions.
//!
//! `json!` and `to_string` are inlined at each use, with their allocations and drops: a few hundred bytes for each field of
//! each response.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};

use serde_json::{Map, Value};

use crate::text::escape::escaped;

/// Builds an object: `object!({ "id": id, "items": items })`. Values are those of `json!`, except objects.
macro_rules! object {
    ({ $($name:literal: $value:expr),* $(,)? }) => {
        $crate::json::out_of_line::of_fields(&mut [$(($name, serde_json::json!($value))),*])
    };
}
pub(crate) use object;

/// The function behind `object!`. Takes the values out of `fields`.
#[inline(never)]
pub(crate) fn of_fields(fields: &mut [(&str, Value)]) -> Value {
    let mut object = Map::new();
    for (name, value) in fields {
        object.insert((*name).to_string(), value.take());
    }
    Value::Object(object)
}

/// Formats a tree for readers: with hidden characters as escapes.
pub(crate) fn shown(tree: &Value) -> String {
    match escaped(&text(tree)) {
        Cow::Borrowed(shown) => String::from(shown),
        Cow::Owned(shown) => shown,
    }
}

/// Formats a tree.
#[inline(never)]
pub(crate) fn text(tree: &Value) -> String {
    // Fails only for keys that are not strings, which a tree cannot have. `Display` would add a second formatter.
    serde_json::to_string(tree).unwrap_or_default()
}
