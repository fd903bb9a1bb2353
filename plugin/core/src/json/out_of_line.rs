//! JSON trees, where no request passes: made and written by one machine code.
//!
//! `json!` and `to_string` put theirs wherever they stand, with every allocation and everything that is dropped: a few
//! hundred bytes for each field of each answer.

use alloc::string::{String, ToString};

use serde_json::{Map, Value};

/// An object of these fields: `object!({ "id": id, "items": items })`. Values are what `json!` takes, objects aside.
macro_rules! object {
    ({ $($name:literal: $value:expr),* $(,)? }) => {
        $crate::json::out_of_line::of_fields(&mut [$(($name, serde_json::json!($value))),*])
    };
}
pub(crate) use object;

/// For `object!`: takes the values.
#[inline(never)]
pub(crate) fn of_fields(fields: &mut [(&str, Value)]) -> Value {
    let mut object = Map::new();
    for (name, value) in fields {
        object.insert((*name).to_string(), value.take());
    }
    Value::Object(object)
}

/// A tree as its text.
#[inline(never)]
pub(crate) fn text(tree: &Value) -> String {
    // Only keys that are no strings cannot be written, and there are none; `Display` would bring a second writer.
    serde_json::to_string(tree).unwrap_or_default()
}
