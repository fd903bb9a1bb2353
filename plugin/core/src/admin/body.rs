//! Bodies: read strictly, by the same forms that read a policy document.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value as Json};

use super::AdminRequest;
use super::body_buffer::MAX_BODY;
use super::problem::Problem;
use crate::json::node::Node;
use crate::policy::diagnostic::{DiagnosticKind as Wrong, Diagnostics, pointer};
use crate::policy::load::record::advice;
use crate::policy::load::value::{FromNode, report_duplicates};
use crate::policy::load::{DocumentFields, DocumentReader};
use crate::text::media_type::MediaType;

/// The members of an object, in the order of the text, no name twice.
pub type Members = Vec<(String, Node)>;

/// The code of what is wrong with a body where nothing says it better.
pub const INVALID: &str = "invalid_request";

/// The body's object.
///
/// # Errors
/// 413, 415, or 400 where it is not one JSON object without repeated names.
pub fn object(request: &AdminRequest) -> Result<Members, Problem> {
    if request.body.len() > MAX_BODY {
        let detail = format!("The body is larger than the {MAX_BODY} bytes that are read here.");
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
            report.error(Wrong::Expected { expected: "an object", found: other.describe() });
            Err(Problem::in_body(INVALID, report.finish()))
        }
    }
}

/// The same where nothing at all means an empty object.
///
/// # Errors
/// As [`object`].
pub fn object_or_nothing(request: &AdminRequest) -> Result<Members, Problem> {
    if request.body.is_empty() { Ok(Members::new()) } else { object(request) }
}

/// Reads a record.
///
/// # Errors
/// 400 with everything that is wrong with it.
pub fn read<T: FromNode>(members: Members, code: &'static str) -> Result<T, Problem> {
    read_at("", Node::Object(members), code)
}

/// Reads what stands in a field of the body.
///
/// # Errors
/// 400 with everything that is wrong with it.
pub fn read_at<T: FromNode>(field: &str, node: Node, code: &'static str) -> Result<T, Problem> {
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

/// Takes a field out.
#[inline(never)]
pub fn take(members: &mut Members, name: &str) -> Option<Node> {
    let at = members.iter().position(|(known, _)| known == name)?;
    Some(members.remove(at).1)
}

/// Takes out what an answer shows and a request cannot change: it may be sent back as it is.
///
/// # Errors
/// 400 where it says something else.
pub fn take_fixed(members: &mut Members, fixed: &[(&str, &str)]) -> Result<(), Problem> {
    for (name, value) in fixed {
        if let Some(node) = take(members, name)
            && node != Node::String((*value).to_string())
        {
            return Err(Problem::at(INVALID, pointer("", &[name]), format!("`{name}` cannot be changed.")));
        }
    }
    Ok(())
}

/// Refuses fields that are not among the known ones.
///
/// # Errors
/// 400 with each of them.
pub fn only(members: &Members, known: &[&'static str]) -> Result<(), Problem> {
    let mut report = Diagnostics::default();
    for (name, _) in members.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        report.within(name, |report| report.error(Wrong::UnknownField { advice: advice(name, known) }));
    }
    if report.has_errors() { Err(Problem::in_body(INVALID, report.finish())) } else { Ok(()) }
}

/// JSON Merge Patch (RFC 7396, 2).
pub fn merge(target: Node, patch: Members) -> Node {
    let mut members = match target {
        Node::Object(members) => members,
        _ => Members::new(),
    };
    // Beside the others: each name is in the patch once, and is not to be looked for among those before it.
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

/// A tree as JSON. For trees that were read as a record: all their numbers are whole.
pub fn to_json(node: &Node) -> Json {
    match node {
        Node::Null => Json::Null,
        Node::Bool(value) => Json::Bool(*value),
        Node::Number(text) => text.parse::<u64>().map_or(Json::Null, Json::from),
        Node::String(text) => Json::String(text.clone()),
        Node::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Node::Object(members) => object_json(members),
    }
}

/// The same for an object's members.
#[inline(never)]
pub fn object_json(members: &Members) -> Json {
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
    let (fits, right) = match is_patch {
        true => (
            matches!(media.as_str(), "application/json" | "application/merge-patch+json"),
            "application/merge-patch+json",
        ),
        false => (media == "application/json", "application/json"),
    };
    if fits {
        return Ok(());
    }
    let problem = Problem::new(415, "unsupported_media_type", format!("Send the body as `{right}`."));
    Err(if is_patch { problem.with("accept-patch", right) } else { problem })
}

/// The whole document as one value.
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

/// Reports repeated names wherever they stand: what is merged must not depend on which of two is meant.
fn duplicates(node: &Node, report: &mut Diagnostics) {
    match node {
        Node::Object(members) => {
            report_duplicates(members, report);
            for (name, value) in members {
                report.within(name, |report| duplicates(value, report));
            }
        }
        Node::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                report.within(&place.to_string(), |report| duplicates(item, report));
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
            problem.faults.into_iter().map(|fault| fault.place).collect::<Vec<_>>()
        };
        let at = |pointer: &str| Vec::from([super::super::problem::FaultLocation::Body(pointer.to_string())]);
        for body in ["", "{", "{} {}", "{\"a\": 1,}", "\u{feff}{}", "[]", "1", "null"] {
            assert_eq!(pointers(body), at(""), "{body}");
        }
        assert_eq!(pointers(r#"{"a": 1, "\u0061": 2}"#), at("/a"));
        assert_eq!(pointers(r#"{"a": [{"b": 1, "b": 1}]}"#), at("/a/0/b"));
    }
}
