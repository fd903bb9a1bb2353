//! Values that satisfy a JSON Schema, for structured outputs and the arguments of tool calls.
//!
//! The schemas of SDKs are generated from types, so the vocabulary is small: `type`, `properties`, `required`,
//! `items`, `enum`, `const`, `anyOf`, `oneOf`, `allOf`, `$ref`, and bounds. Gemini's own schemas write the types in
//! capitals (`"STRING"`). Patterns and conditions are not evaluated.

use serde_json::{Map, Value, json};

/// The deepest nesting in which optional members are filled; types may contain themselves.
const DEEPEST_OPTIONAL: usize = 6;
/// The deepest nesting of a value. A type that requires itself has no finite value.
const DEEPEST: usize = 32;
/// The largest number of values in one example, for schemas whose parts multiply.
const MOST_VALUES: usize = 10_000;

/// Returns a value for this schema; the same one for the same schema.
pub fn example(schema: &Value) -> Value {
    Example { root: schema, values: 0 }.value(schema, 0)
}

struct Example<'a> {
    root: &'a Value,
    values: usize,
}

impl Example<'_> {
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        self.values += 1;
        if depth > DEEPEST || self.values > MOST_VALUES {
            return Value::Null;
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(value) = schema["enum"].as_array().and_then(|values| values.first()) {
            return value.clone();
        }
        if let Some(target) = schema["$ref"].as_str().and_then(|reference| self.resolve(reference)) {
            return self.value(&target, depth + 1);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            return self.all_of(parts, schema, depth);
        }
        for name in ["anyOf", "oneOf"] {
            let Some(options) = schema[name].as_array() else { continue };
            let some = options.iter().find(|option| kind(option) != Some("null".into()));
            if let Some(option) = some.or_else(|| options.first()) {
                return self.value(option, depth + 1);
            }
        }
        match kind(schema).as_deref() {
            Some("object") => self.object(schema, depth),
            Some("array") => self.array(schema, depth),
            Some("integer") => json!(number(schema, 1.0).ceil() as i64),
            Some("number") => json!(number(schema, 0.5)),
            Some("boolean") => json!(true),
            Some("null") => Value::Null,
            Some(_) => json!(text(schema)),
            None if schema["properties"].is_object() => self.object(schema, depth),
            None if schema["items"].is_object() => self.array(schema, depth),
            // Any JSON is right, and an object is accepted everywhere at the top.
            None if depth == 0 => json!({"answer": "simulated"}),
            None => json!(text(schema)),
        }
    }

    /// Returns the required members; all of them where the schema names none as required, as types with defaults
    /// do.
    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required = schema["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|one| one == name));
        let optional = required.is_none_or(Vec::is_empty) && depth < DEEPEST_OPTIONAL;
        let mut members = Map::new();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if optional || is_required(name) {
                members.insert(name.clone(), self.value(schema, depth + 1));
            }
        }
        Value::Object(members)
    }

    fn array(&mut self, schema: &Value, depth: usize) -> Value {
        if let Some(places) = schema["prefixItems"].as_array() {
            return places.iter().map(|place| self.value(place, depth + 1)).collect();
        }
        let least = count(schema, "minItems").unwrap_or(0);
        let usual = if depth < DEEPEST_OPTIONAL { 1 } else { 0 };
        let length = least.max(usual).min(count(schema, "maxItems").unwrap_or(u64::MAX));
        (0..length.min(MOST_VALUES as u64)).map(|_| self.value(&schema["items"], depth + 1)).collect()
    }

    /// Joins the parts: their members, or the first part that is no object.
    fn all_of(&mut self, parts: &[Value], schema: &Value, depth: usize) -> Value {
        let mut members = Map::new();
        let own = schema.get("properties").map(|_| self.object(schema, depth));
        let values = parts.iter().map(|part| self.value(part, depth + 1)).collect::<Vec<_>>();
        for value in own.into_iter().chain(values) {
            match value {
                Value::Object(more) => members.extend(more),
                other => return other,
            }
        }
        Value::Object(members)
    }

    /// Finds the target of a reference within the document, such as `#/$defs/Place`.
    fn resolve(&self, reference: &str) -> Option<Value> {
        self.root.pointer(reference.strip_prefix('#')?).cloned()
    }
}

/// Returns the schema's type in small letters; the first that is not null where there are several.
fn kind(schema: &Value) -> Option<String> {
    let name = match &schema["type"] {
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| !name.eq_ignore_ascii_case("null"))
            .or(Some("null")),
        name => name.as_str(),
    };
    name.map(str::to_ascii_lowercase)
}

/// Returns a count that may be written as text, as in Gemini's own schemas.
fn count(schema: &Value, name: &str) -> Option<u64> {
    let value = &schema[name];
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn number(schema: &Value, usual: f64) -> f64 {
    let bound = |name: &str| schema[name].as_f64();
    let least = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|least| least + usual));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|most| most - usual));
    let value = usual.max(least.unwrap_or(usual)).min(most.unwrap_or(f64::MAX));
    match bound("multipleOf").filter(|step| *step > 0.0) {
        Some(step) => (value / step).ceil() * step,
        None => value,
    }
}

fn text(schema: &Value) -> String {
    let usual = match schema["format"].as_str().unwrap_or_default() {
        "date-time" => "2026-01-02T03:04:05Z",
        "date" => "2026-01-02",
        "time" => "03:04:05Z",
        "duration" => "PT1H",
        "email" => "name@example.com",
        "uuid" => "00000000-0000-4000-8000-000000000000",
        "uri" => "https://example.com/",
        "hostname" => "example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        _ => "simulated",
    };
    let mut text = usual.to_owned();
    if let Some(most) = count(schema, "maxLength") {
        text.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    let least = count(schema, "minLength").unwrap_or(0).min(MOST_VALUES as u64) as usize;
    text.extend(std::iter::repeat_n('x', least.saturating_sub(text.len())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_satisfies_its_schema() {
        let schemas = [
            json!({"type": "object", "properties": {
                "city": {"type": "string", "minLength": 12}, "day": {"type": "string", "format": "date"},
                "unit": {"enum": ["celsius", "kelvin"]}, "days": {"type": "integer", "minimum": 3, "maximum": 7},
                "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.9},
                "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 2},
                "note": {"type": ["string", "null"]}, "left_out": {"type": "string"},
            }, "required": ["city", "day", "unit", "days", "share", "tags", "note"], "additionalProperties": false}),
            json!({"$ref": "#/$defs/Trip", "$defs": {
                "Trip": {"type": "object", "properties": {"stops": {"type": "array", "items": {"$ref": "#/$defs/Stop"}}},
                         "required": ["stops"]},
                "Stop": {"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/Stop"}},
                         "required": ["name"]},
            }}),
            json!({"anyOf": [{"type": "null"}, {"type": "array", "prefixItems": [{"const": 1}, {"type": "boolean"}]}]}),
            json!({"allOf": [{"type": "object", "properties": {"a": {"type": "integer", "multipleOf": 5}}, "required": ["a"]}],
                   "properties": {"b": {"type": "string", "format": "uuid"}}, "required": ["b"]}),
            json!({}),
        ];
        for schema in schemas {
            let value = example(&schema);
            let validator = jsonschema::validator_for(&schema).unwrap();
            assert!(validator.is_valid(&value), "{value} for {schema}");
        }
    }

    #[test]
    fn types_in_capitals_are_those_of_gemini() {
        let schema = json!({"type": "OBJECT", "properties": {
            "name": {"type": "STRING"}, "ages": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "2"},
        }});
        assert_eq!(example(&schema), json!({"name": "simulated", "ages": [1, 1]}));
    }

    #[test]
    fn a_schema_without_a_finite_value_ends() {
        let endless = json!({"$ref": "#/$defs/A", "$defs": {"A": {
            "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"$ref": "#/$defs/A"}},
            "required": ["a", "b"],
        }}});
        assert!(example(&endless).is_object());
    }
}
