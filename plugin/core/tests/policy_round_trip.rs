//! The shipped policies, read and written back: every field that is read is also written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/policies.rs"]
#[allow(dead_code, reason = "the generators are for other tests")]
mod policies;

use policies::written;
use serde_json::{Map, Value};
use tollgate_core::policy::{Policy, PolicyLoader};

const COMPANY: &str = include_str!("../../../policies/company.json");
const DEMO: &str = include_str!("../../../policies/demo.json");

fn load(text: &str) -> Policy {
    let mut loader = PolicyLoader::default();
    loader.push(text.as_bytes());
    let (policy, warnings) = loader.finish().unwrap();
    assert_eq!(warnings, []);
    policy
}

/// The canonical form of a shipped document, computed without the reader and the writer: the order of lists, the
/// trailing zeros of amounts and the defaults, which may be left out, carry no meaning. Everything else has to
/// come back as it is in the file. The order of object keys does not count in a comparison of JSON values.
fn canonical(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Map<String, Value> =
                fields.iter().map(|(field, value)| (field.clone(), canonical(field, value))).collect();
            fields.retain(|field, value| !is_default(field, value));
            if name == "price" {
                let input = fields["input"].clone();
                fields.retain(|field, value| {
                    !(matches!(field.as_str(), "cached_input" | "cache_write") && *value == input)
                });
            }
            if matches!(name, "budget" | "member_budget") {
                fields.entry("period").or_insert("lifetime".into());
            }
            Value::Object(fields)
        }
        Value::Array(items) if matches!(name, "targets" | "access_groups") => {
            let mut items = items.clone();
            items.sort_by_key(|item| item.as_str().unwrap().to_owned());
            Value::Array(items)
        }
        Value::String(text) if is_amount(name) => {
            // At least two decimals, and no zeros after those.
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            format!("{whole}.{:0<2}", fraction.trim_end_matches('0')).into()
        }
        other => other.clone(),
    }
}

fn is_amount(field: &str) -> bool {
    matches!(
        field,
        "input"
            | "output"
            | "cached_input"
            | "cache_write"
            | "cache_write_1h"
            | "input_audio"
            | "output_audio"
            | "input_image"
            | "output_image"
            | "request"
            | "image"
            | "search"
            | "second"
            | "character"
            | "max"
            | "soft"
            | "budget_ceiling"
    )
}

/// Returns true for a field with its default value, which the writer leaves out.
fn is_default(field: &str, value: &Value) -> bool {
    match field {
        "state" => value == "active",
        "mode" => value == "enforce",
        "unpriced" => value == "deny",
        "usage_chunk" => value == "add",
        "abandoned" => value == "seen",
        "reasoning" => *value == false,
        "cost" => value == "priced",
        "request" => value == "0.00",
        "require_expiry" => *value == false,
        "access" => *value == serde_json::json!({ "mode": "inherit" }),
        "tokens" => value.as_array().is_some_and(Vec::is_empty),
        "targets" | "access_groups" => value.as_array().is_some_and(Vec::is_empty),
        "limits" | "member_limits" | "members" | "target_limits" => {
            value.as_object().is_some_and(Map::is_empty)
        }
        _ => false,
    }
}

#[test]
fn a_shipped_policy_is_written_as_it_was_read() {
    for (name, text) in [("company.json", COMPANY), ("demo.json", DEMO)] {
        let first = load(text);
        let mut document = written(&first).document();
        let again = load(&document.to_string());
        assert_eq!(again.fingerprint(), first.fingerprint(), "{name}");
        assert_eq!(written(&again).document(), document, "{name}");
        // `Plain::document` writes this field even with its default.
        let unpriced = document.as_object_mut().unwrap().remove("unpriced").unwrap();
        assert_eq!(unpriced, "deny", "{name}");
        document.as_object_mut().unwrap().retain(|_, section| *section != serde_json::json!({}));
        let original = canonical("", &serde_json::from_str(text).unwrap());
        assert_eq!(differences(&original, &document), Vec::<String>::new(), "{name}");
    }
}

/// Returns the differences with their JSON Pointers, so that a failure names the field instead of both documents.
fn differences(left: &Value, right: &Value) -> Vec<String> {
    fn walk(place: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
        match (left, right) {
            (Value::Object(one), Value::Object(two)) => {
                let names = one.keys().chain(two.keys().filter(|name| !one.contains_key(*name)));
                for name in names {
                    walk(&format!("{place}/{name}"), &left[name], &right[name], found);
                }
            }
            _ if left == right => {}
            _ => found.push(format!("{place}: {left} is written as {right}")),
        }
    }
    let mut found = Vec::new();
    walk("", left, right, &mut found);
    found
}

/// The round trip covers a field only if the file has it: at every place, so a user's `limits` are not covered by
/// those of a team. (That the file shows every choice of an enumeration is checked with the schemas.)
#[cfg(feature = "schema")]
#[test]
fn the_company_policy_has_every_field_of_the_schema() {
    fn walk(place: &str, schema: &Value, values: &[&Value], missing: &mut Vec<String>) {
        if values.is_empty() {
            missing.push(place.to_owned());
            return;
        }
        for (field, form) in schema["properties"].as_object().into_iter().flatten() {
            let values: Vec<&Value> = values.iter().filter_map(|value| value.get(field)).collect();
            walk(&format!("{place}/{field}"), form, &values, missing);
        }
        if schema["additionalProperties"].is_object() {
            let members = values.iter().filter_map(|value| value.as_object()).flat_map(Map::values);
            let members: Vec<&Value> = members.collect();
            walk(&format!("{place}/*"), &schema["additionalProperties"], &members, missing);
        }
    }
    let company: Value = serde_json::from_str(COMPANY).unwrap();
    let mut missing = Vec::new();
    walk("", &tollgate_core::policy::load::schema::policy(), &[&company], &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}
