//! Macros that derive the struct, the reader and the JSON Schema of a record from one definition.

use alloc::format;
use alloc::string::String;

use crate::json::node::Node;
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics};
use crate::policy::load::value::{FromNode, report_duplicates};

/// Defines a record: `name: Type,` for an optional field, `name!required: Type,` for a required one.
macro_rules! record {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[doc = $field_doc:literal])* $field:ident $(! $required:tt)?: $form:ty,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: Option<$form>,)*
        }

        impl $crate::policy::load::value::FromNode for $name {
            fn read(node: $crate::json::node::Node, report: &mut $crate::policy::diagnostic::Diagnostics) -> Option<Self> {
                const FIELDS: &[&str] = &[$(stringify!($field)),*];
                const REQUIRED: &[&str] = &[$($(record!(@keep $required stringify!($field)),)?)*];
                let members = $crate::policy::load::record::open(node, FIELDS, REQUIRED, report)?;
                let mut record = $name::default();
                for (name, value) in members {
                    match name.as_str() {
                        $(stringify!($field) => {
                            record.$field = $crate::policy::load::record::field::<$form>(&name, value, report);
                        })*
                        _ => {}
                    }
                }
                Some(record)
            }

            #[cfg(feature = "schema")]
            fn schema() -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                $({
                    let mut schema = <$form as $crate::policy::load::value::FromNode>::schema();
                    let words = concat!($($field_doc),*).trim();
                    if let (Some(schema), false) = (schema.as_object_mut(), words.is_empty()) {
                        let form = schema.get("description").and_then(|form| form.as_str()).map(|form| format!(" ({form})"));
                        schema.insert("description".into(), format!("{words}{}", form.unwrap_or_default()).into());
                    }
                    properties.insert(stringify!($field).into(), schema);
                })*
                let required: &[&str] = &[$($(record!(@keep $required stringify!($field)),)?)*];
                serde_json::json!({
                    "type": "object",
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            }
        }
    };
    (@keep $required:tt $($kept:tt)*) => { $($kept)* };
}

/// Defines the names of an enumeration.
macro_rules! choice {
    ($target:ty, $words:literal, $($name:literal => $value:path),* $(,)?) => {
        impl $target {
            /// Returns the name in a document.
            #[allow(dead_code, reason = "not every enumeration is written")]
            pub fn name(&self) -> &'static str {
                match self {
                    $($value => $name,)*
                }
            }

            /// Returns the value with this name.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some($value),)*
                    _ => None,
                }
            }
        }

        impl $crate::policy::load::value::FromNode for $target {
            fn read(node: $crate::json::node::Node, report: &mut $crate::policy::diagnostic::Diagnostics) -> Option<Self> {
                let value = match &node {
                    $crate::json::node::Node::String(text) => <$target>::named(text),
                    _ => None,
                };
                if value.is_none() {
                    report.error($crate::policy::diagnostic::DiagnosticKind::Expected { expected: $words, found: node.describe() });
                }
                value
            }

            #[cfg(feature = "schema")]
            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($name),*], "description": $words })
            }
        }
    };
}

pub(crate) use {choice, record};

/// Checks the names of an object and returns its members.
pub fn open(
    node: Node,
    fields: &[&'static str],
    required: &[&'static str],
    report: &mut Diagnostics,
) -> Option<alloc::vec::Vec<(String, Node)>> {
    let Node::Object(members) = node else {
        report.error(DiagnosticKind::Expected { expected: "an object", found: node.describe() });
        return None;
    };
    report_duplicates(&members, report);
    for (name, _) in &members {
        if !fields.contains(&name.as_str()) {
            report.within(name, |report| {
                report.error(DiagnosticKind::UnknownField { advice: advice(name, fields) })
            });
        }
    }
    for field in required {
        if !members.iter().any(|(name, _)| name == field) {
            report.error(DiagnosticKind::Missing(field));
        }
    }
    Some(members)
}

/// Reads a field. Not inlined: one copy for each type, instead of one for each field.
#[inline(never)]
pub fn field<T: FromNode>(name: &str, value: Node, report: &mut Diagnostics) -> Option<T> {
    report.within(name, |report| T::read(value, report))
}

/// Returns a hint for an unknown field, if there is one.
pub fn advice(name: &str, fields: &[&'static str]) -> Option<String> {
    if name == "models" && fields.contains(&"access") {
        return Some("models are selected in `access`: {\"mode\": \"restrict\", \"targets\": [...]}".into());
    }
    let near = fields.iter().map(|field| (distance(name, field), field)).min()?;
    (near.0 <= 2).then(|| format!("did you mean `{}`?", near.1))
}

/// Returns the Levenshtein distance of two names.
fn distance(one: &str, two: &str) -> usize {
    let mut distances: alloc::vec::Vec<usize> = (0..=two.chars().count()).collect();
    for (i, a) in one.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        if let Some(first) = distances.first_mut() {
            *first = left;
        }
        for (b, above) in two.chars().zip(distances.iter_mut().skip(1)) {
            let substituted = diagonal.saturating_add(usize::from(a != b));
            diagonal = *above;
            left = substituted.min(left.saturating_add(1)).min(above.saturating_add(1));
            *above = left;
        }
    }
    distances.last().copied().unwrap_or(usize::MAX)
}
