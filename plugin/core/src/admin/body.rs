//! Request bodies, parsed strictly with the record types of the policy document.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value as Json};

use super::AdminRequest;
use super::body_buffer::MAX_BODY;
use super::problem::Problem;
use crate::json::node::Node;
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics, pointer};
use crate::policy::load::record::advice;
use crate::policy::load::value::{FromNode, report_duplicates};
use crate::policy::load::{DocumentFields, DocumentReader};
use crate::text::media_type::MediaType;

/// The members of a JSON object in source order, without duplicates.
pub(super) type Members = Vec<(String, Node)>;

/// Error code of an invalid body without a more specific one.
pub(super) const INVALID: &str = "invalid_request";

/// Parses the body as a JSON object.
///
/// # Errors
/// 413, 415, or 400 if it is not a single JSON object without duplicate names.
pub(super) fn object(request: &AdminRequest) -> Result<Members, Problem> {
    if request.body.len() > MAX_BODY {
        let detail = format!("The body is larger than the maximum of {MAX_BODY} bytes.");
        return Err(Problem::new(413, "body_too_large", detail));
    }
    content_type(request)?;
    let mut reading = DocumentReader::new(Whole::default());
    reading.push(&request.body);
    let (Whole(node), mut report) =
        reading.finish().map_err(|diagnostics| Problem::in_body(INVALID, diagnostics))?;
    if let Some(node) = &node {
        duplicates(node, &mut report);
    }
    match node {
        Some(Node::Object(members)) if !report.has_errors() => Ok(members),
        Some(Node::Object(_)) | None => Err(Problem::in_body(INVALID, report.finish())),
        Some(other) => {
            report.error(DiagnosticKind::Expected { expected: "an object", found: other.describe() });
            Err(Problem::in_body(INVALID, report.finish()))
        }
    }
}

/// Like [`object`], but an empty body is an empty object.
///
/// # Errors
/// As [`object`].
pub(super) fn object_or_nothing(request: &AdminRequest) -> Result<Members, Problem> {
    if request.body.is_empty() { Ok(Members::new()) } else { object(request) }
}

/// Reads a record.
///
/// # Errors
/// 400 with every fault.
pub(super) fn read<T: FromNode>(members: Members, code: &'static str) -> Result<T, Problem> {
    read_at("", Node::Object(members), code)
}

/// Reads the value of a field of the body.
///
/// # Errors
/// 400 with every fault.
pub(super) fn read_at<T: FromNode>(field: &str, node: Node, code: &'static str) -> Result<T, Problem> {
    let mut report = Diagnostics::default();
    let read = match field {
        "" => T::read(node, &mut report),
        field => report.within(field, |report| T::read(node, report)),
    };
    match read {
        Some(value) if !report.has_errors() => Ok(value),
        _ => Err(Problem::in_body(code, report.finish())),
    }
}

/// Removes a field and returns its value.
#[inline(never)]
pub(super) fn take(members: &mut Members, name: &str) -> Option<Node> {
    let at = members.iter().position(|(known, _)| known == name)?;
    Some(members.remove(at).1)
}

/// Removes read-only fields, which a request may repeat but not change.
///
/// # Errors
/// 400 if a value differs.
pub(super) fn take_fixed(members: &mut Members, fixed: &[(&str, &str)]) -> Result<(), Problem> {
    for (name, value) in fixed {
        if let Some(node) = take(members, name)
            && node != Node::String((*value).to_string())
        {
            return Err(Problem::at(INVALID, pointer("", &[name]), format!("`{name}` cannot be changed.")));
        }
    }
    Ok(())
}

/// Removes fields of a record, which a request may repeat but not change.
///
/// # Errors
/// 400 if a value differs from that of the record.
pub(super) fn take_equal(members: &mut Members, record: &Json, names: &[&str]) -> Result<(), Problem> {
    for name in names {
        if let Some(node) = take(members, name)
            && to_json(&node) != record.get(name).cloned().unwrap_or_default()
        {
            return Err(Problem::at(INVALID, pointer("", &[name]), format!("`{name}` cannot be changed.")));
        }
    }
    Ok(())
}

/// Rejects unknown fields.
///
/// # Errors
/// 400 with each of them.
pub(super) fn only(members: &Members, known: &[&'static str]) -> Result<(), Problem> {
    let mut report = Diagnostics::default();
    for (name, _) in members.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        report.within(name, |report| {
            report.error(DiagnosticKind::UnknownField { advice: advice(name, known) })
        });
    }
    if report.has_errors() { Err(Problem::in_body(INVALID, report.finish())) } else { Ok(()) }
}

/// Applies a JSON Merge Patch (RFC 7396, 2).
#[allow(clippy::wildcard_enum_match_arm, reason = "every other JSON type is treated alike")]
pub(super) fn merge(target: Node, patch: Members) -> Node {
    let mut members = match target {
        Node::Object(members) => members,
        _ => Members::new(),
    };
    // Kept apart from `members`: names are unique within the patch, so earlier ones need no lookup.
    let mut set = Members::new();
    for (name, value) in patch {
        let old = take(&mut members, &name);
        let new = match value {
            Node::Null => continue,
            Node::Object(inner) => merge(old.unwrap_or(Node::Null), inner),
            other => other,
        };
        set.push((name, new));
    }
    members.append(&mut set);
    Node::Object(members)
}

/// Converts a tree that was read as a record to JSON; all of its numbers are integers.
pub(super) fn to_json(node: &Node) -> Json {
    match node {
        Node::Null => Json::Null,
        Node::Bool(value) => Json::Bool(*value),
        Node::Number(text) => text.parse::<u64>().map_or(Json::Null, Json::from),
        Node::String(text) => Json::String(text.clone()),
        Node::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Node::Object(members) => object_json(members),
    }
}

/// Converts the members of an object to JSON.
#[inline(never)]
pub(super) fn object_json(members: &Members) -> Json {
    let mut object = Map::new();
    for (name, value) in members {
        object.insert(name.clone(), to_json(value));
    }
    Json::Object(object)
}

fn content_type(request: &AdminRequest) -> Result<(), Problem> {
    let Some(field) = &request.content_type else { return Ok(()) };
    let media = MediaType::of(field).essence.to_ascii_lowercase();
    let is_patch = request.method == "PATCH";
    let (accepted, expected) = match is_patch {
        true => (
            matches!(media.as_str(), "application/json" | "application/merge-patch+json"),
            "application/merge-patch+json",
        ),
        false => (media == "application/json", "application/json"),
    };
    if accepted {
        return Ok(());
    }
    let problem = Problem::new(415, "unsupported_media_type", format!("Send the body as `{expected}`."));
    Err(if is_patch { problem.with("accept-patch", expected) } else { problem })
}

/// A document reader that returns the document as one value.
#[derive(Debug, Default)]
struct Whole(Option<Node>);

impl DocumentFields for Whole {
    fn opens(&self, _: &[String]) -> bool {
        false
    }

    fn known(&self, _: &[String]) -> Option<&'static [&'static str]> {
        None
    }

    fn opened(&mut self, _: &[String]) {}

    fn value(&mut self, _: &[String], node: Node, _: &mut Diagnostics) {
        self.0 = Some(node);
    }
}

/// Reports duplicate names at every depth; the result of a merge would depend on which one is used.
#[allow(clippy::wildcard_enum_match_arm, reason = "every other JSON type is treated alike")]
fn duplicates(node: &Node, report: &mut Diagnostics) {
    match node {
        Node::Object(members) => {
            report_duplicates(members, report);
            for (name, value) in members {
                report.within(name, |report| duplicates(value, report));
            }
        }
        Node::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                report.within(&index.to_string(), |report| duplicates(item, report));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn members(json: Json) -> Members {
        match Node::from(&json) {
            Node::Object(members) => members,
            _ => Members::new(),
        }
    }

    #[test]
    fn merging_follows_the_examples_of_rfc_7396() {
        let table = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (target, patch, result) in table {
            let merged = merge(Node::from(&target), members(patch.clone()));
            assert_eq!(to_json(&merged), result, "{target} and {patch}");
        }
    }

    #[test]
    fn a_body_is_one_object_without_repeated_names() {
        let pointers = |body: &str| {
            let request = AdminRequest { body: body.into(), ..AdminRequest::default() };
            let problem = object(&request).unwrap_err();
            assert_eq!(problem.status, 400, "{body}");
            problem.faults.into_iter().map(|fault| fault.location).collect::<Vec<_>>()
        };
        let at = |pointer: &str| Vec::from([super::super::problem::FaultLocation::Body(pointer.to_string())]);
        for body in ["", "{", "{} {}", "{\"a\": 1,}", "\u{feff}{}", "[]", "1", "null"] {
            assert_eq!(pointers(body), at(""), "{body}");
        }
        assert_eq!(pointers(r#"{"a": 1, "\u0061": 2}"#), at("/a"));
        assert_eq!(pointers(r#"{"a": [{"b": 1, "b": 1}]}"#), at("/a/0/b"));
    }
}
