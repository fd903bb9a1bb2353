//! The schemas of request and response bodies, derived from those of the policy's records.

use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::reference;
use crate::admin::keys::{MAX_GRACE_SECONDS, RotationBody, WRITABLE_FIELDS};
use crate::admin::may;
use crate::admin::members::{OrganizationMemberBody, TeamMemberBody};
use crate::policy::load::records::*;
use crate::policy::load::value::{FromNode as _, Id};
use crate::policy::{OrganizationRole, TeamRole};
use crate::quota::Window;

/// Returns all schemas by name.
pub(super) fn all() -> Value {
    let organization = OrganizationRecord::schema();
    let team = TeamRecord::schema();
    let key = without(&KeyRecord::schema(), &["digest", "previous"]);
    let account = ServiceAccountRecord::schema();
    let schemas = [
        ("Problem", problem()),
        ("Gateway", gateway()),
        ("Me", me()),
        ("CallableTargets", list(&callable_target())),
        ("NewOrganization", optional(&with_id(&without(&organization, &["created"])), &["access"])),
        ("OrganizationPatch", mergeable(&without(&organization, &["members", "created"]))),
        ("Organization", with_may(&with_id(&organization), &names(may::ORGANIZATION))),
        ("Organizations", list(&reference("Organization"))),
        ("OrganizationMemberBody", OrganizationMemberBody::schema()),
        ("OrganizationMember", member(&OrganizationRole::schema())),
        ("OrganizationMembers", list(&reference("OrganizationMember"))),
        ("NewTeam", with_id(&without(&team, &["organization", "created"]))),
        ("TeamPatch", mergeable(&without(&team, &["organization", "members", "created"]))),
        ("Team", with_may(&with_id(&team), &names(may::TEAM))),
        ("Teams", list(&reference("Team"))),
        ("Access", AccessRecord::schema()),
        ("AccessPreview", preview()),
        ("SelfService", SelfServiceRecord::schema()),
        ("TeamSelfService", SelfServiceRecord::schema()),
        ("TeamMemberBody", TeamMemberBody::schema()),
        ("TeamMember", team_member()),
        ("TeamMembers", list(&reference("TeamMember"))),
        ("ServiceAccountBody", without(&account, &["team", "created"])),
        ("ServiceAccount", with_id(&account)),
        ("ServiceAccounts", list(&reference("ServiceAccount"))),
        ("NewKey", required(&only(&key, WRITABLE_FIELDS), &["name"])),
        ("KeyPatch", mergeable(&without(&only(&key, WRITABLE_FIELDS), &["owner"]))),
        ("Key", with_may(&shown_key(&key, &[]), may::KEY)),
        ("KeyWithSecret", with_may(&shown_key(&key, &["secret"]), may::KEY)),
        ("Keys", list(&reference("Key"))),
        ("RotationBody", rotation()),
        ("Usage", usage()),
        ("AuditEntries", list(&audit_entry())),
        ("Removed", object(Map::new(), Vec::new())),
    ];
    schemas
        .into_iter()
        .map(|(name, schema)| (name, if WRITTEN.contains(&name) { warned(&schema) } else { schema }))
        .collect()
}

fn names<P>(actions: &[(&'static str, P)]) -> Vec<&'static str> {
    actions.iter().map(|(name, _)| *name).collect()
}

/// Adds the actions of the caller to the schema of a response.
fn with_may(schema: &Value, actions: &[&str]) -> Value {
    let mut properties = fields(schema);
    let may = json!({
        "type": "array",
        "items": { "enum": actions },
        "description": "Actions that the caller's roles allow on this object.",
    });
    properties.insert("may".into(), may);
    required(&object(properties, required_of(schema)), &["may"])
}

/// The responses of writes, which can have warnings.
const WRITTEN: &[&str] = &[
    "Organization",
    "OrganizationMember",
    "Team",
    "AccessPreview",
    "TeamSelfService",
    "TeamMember",
    "ServiceAccount",
    "Key",
    "KeyWithSecret",
    "Removed",
];

/// Adds the warnings to the schema of a response.
fn warned(schema: &Value) -> Value {
    let text = json!({ "type": "string" });
    let code =
        json!({ "type": "string", "description": "Stable code for programs, such as `ends_with_process`." });
    let mut properties = fields(schema);
    let warnings = json!({
        "type": "array",
        "items": closed(json!({ "code": code, "detail": text })),
        "description": "Consequences that the caller should know. In responses to writes only, and only if there are any.",
    });
    properties.insert("warnings".into(), warnings);
    object(properties, required_of(schema))
}

fn fields(schema: &Value) -> Map<alloc::string::String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn required_of(schema: &Value) -> Vec<Value> {
    schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn object(properties: Map<alloc::string::String, Value>, required: Vec<Value>) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn without(schema: &Value, names: &[&str]) -> Value {
    let mut properties = fields(schema);
    let mut required = required_of(schema);
    for name in names {
        properties.remove(*name);
        required.retain(|field| field != name);
    }
    object(properties, required)
}

fn only(schema: &Value, names: &[&str]) -> Value {
    let others = fields(schema);
    let others: Vec<&str> =
        others.keys().map(|name| name.as_str()).filter(|name| !names.contains(name)).collect();
    without(schema, &others)
}

fn optional(schema: &Value, names: &[&str]) -> Value {
    let mut required = required_of(schema);
    required.retain(|field| !names.iter().any(|name| field == name));
    object(fields(schema), required)
}

fn required(schema: &Value, names: &[&str]) -> Value {
    let mut required = required_of(schema);
    required.extend(names.iter().map(|name| json!(name)));
    object(fields(schema), required)
}

fn with_id(schema: &Value) -> Value {
    let mut properties = fields(schema);
    properties.insert("id".into(), Id::schema());
    required(&object(properties, required_of(schema)), &["id"])
}

/// Derives the schema of a merge patch (RFC 7396): every field is optional, and `null` removes it.
fn mergeable(schema: &Value) -> Value {
    let nullable = |schema: &Value| {
        let is_object = schema.get("properties").is_some();
        let merged = if is_object { mergeable(schema) } else { schema.clone() };
        json!({ "anyOf": [merged, { "type": "null" }] })
    };
    let properties = fields(schema);
    object(properties.iter().map(|(name, schema)| (name.clone(), nullable(schema))).collect(), Vec::new())
}

fn list(item: &Value) -> Value {
    json!({
        "type": "object",
        "properties": {
            "items": { "type": "array", "items": item },
            "next": {
                "type": ["string", "null"],
                "description": "Value of `after` for the next page; null on the last page.",
            },
        },
        "required": ["items", "next"],
        "additionalProperties": false,
    })
}

fn closed(properties: Value) -> Value {
    let names: Vec<Value> =
        properties.as_object().into_iter().flat_map(Map::keys).map(|name| json!(name)).collect();
    json!({ "type": "object", "properties": properties, "required": names, "additionalProperties": false })
}

fn problem() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "description": "RFC 9457",
        "properties": {
            "type": { "const": "about:blank" },
            "title": text,
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Stable error code for programs." },
            "detail": { "type": "string", "description": "Explanation for humans, with the next step." },
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "pointer": { "type": "string", "description": "JSON Pointer into the request's body." },
                        "parameter": { "type": "string", "description": "Name of a query parameter." },
                        "policy_pointer": {
                            "type": "string",
                            "description": "JSON Pointer into the policy, to the record in conflict.",
                        },
                        "detail": text,
                    },
                    "required": ["detail"],
                    "additionalProperties": false,
                },
            },
        },
        "required": ["type", "title", "status", "code", "detail"],
    })
}

fn gateway() -> Value {
    let text = json!({ "type": "string" });
    let record = closed(json!({
        "section": text,
        "id": text,
        "change": { "enum": ["put", "removed"] },
        "reason": { "enum": ["other_record", "no_record", "missing_reference"] },
    }));
    let mut unapplied = closed(json!({
        "count": { "type": "integer", "minimum": 0 },
        "records": { "type": "array", "items": record, "maxItems": 20 },
    }));
    set(
        &mut unapplied,
        "description",
        json!(
            "Changes made through the API that have no effect on the policy of this configuration: it has another record of \
         this name, no such record, or not the organization, team or owner that the record names. Only for platform \
         administrators."
        ),
    );
    let mut gateway = closed(json!({
        "api": { "type": "integer", "description": "The version of the API" },
        "version": { "type": "string", "description": "The version of the gateway" },
        "changes": {
            "enum": ["durable", "volatile", "not_kept"],
            "description": "The lifetime of changes: in etcd, until the process ends, or no keys can be created",
        },
        "unapplied": unapplied,
    }));
    set(&mut gateway, "required", json!(["api", "version", "changes"]));
    gateway
}

/// Sets a member of a schema.
fn set(schema: &mut Value, name: &str, value: Value) {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(name.into(), value);
    }
}

fn me() -> Value {
    let text = json!({ "type": "string" });
    let organization = closed(json!({ "id": text, "name": text, "role": OrganizationRole::schema() }));
    let team = closed(json!({ "id": text, "name": text, "organization": text, "role": TeamRole::schema() }));
    closed(json!({
        "id": text,
        "name": text,
        "platform_admin": { "type": "boolean" },
        "organizations": { "type": "array", "items": organization },
        "teams": { "type": "array", "items": team },
    }))
}

/// The grant by which a selection contains a target.
fn through() -> Value {
    json!({
        "type": "string",
        "pattern": "^(everything|name|inherit|group:.+)$",
        "description": "`everything`, `name` or `group:NAME`; `inherit` if the team has no selection of its own",
    })
}

fn callable_target() -> Value {
    let team = closed(json!({ "team": { "type": "string" }, "through": through() }));
    closed(json!({ "target": { "type": "string" }, "teams": { "type": "array", "items": team } }))
}

fn member(role: &Value) -> Value {
    closed(json!({ "user": { "type": "string" }, "name": { "type": "string" }, "role": role }))
}

fn team_member() -> Value {
    let member = member(&TeamRole::schema());
    let mut properties = fields(&TeamMemberRecord::schema());
    properties.extend(fields(&member));
    object(properties, required_of(&member))
}

fn preview() -> Value {
    let names = json!({ "type": "array", "items": { "type": "string" } });
    let perhaps = json!({ "anyOf": [through(), { "type": "null" }] });
    let line = closed(json!({
        "target": { "type": "string" },
        "selected": perhaps,
        "available": perhaps,
        "effective": { "type": "boolean" },
        "refused_by": { "enum": ["organization", "ceiling", "team", null] },
        "reason": { "type": "string" },
    }));
    let access = AccessRecord::schema();
    let mut properties = fields(&access);
    properties.insert("inert".into(), closed(json!({ "targets": names, "access_groups": names })));
    properties.insert("preview".into(), json!({ "type": "array", "items": line }));
    required(&object(properties, required_of(&access)), &["inert", "preview"])
}

fn shown_key(key: &Value, more: &[&str]) -> Value {
    let mut properties = fields(key);
    let moment = json!({ "type": "string", "format": "date-time" });
    let previous = closed(json!({ "until": moment }));
    properties.insert("previous".into(), previous);
    for name in more {
        let description = "The secret of the key; returned only in this response, and not by a dry run.";
        properties.insert((*name).into(), json!({ "type": "string", "description": description }));
    }
    with_id(&object(properties, required_of(key)))
}

fn rotation() -> Value {
    let mut schema = RotationBody::schema();
    if let Some(grace) = schema.pointer_mut("/properties/grace_seconds").and_then(Value::as_object_mut) {
        grace.insert("maximum".into(), MAX_GRACE_SECONDS.into());
    }
    schema
}

fn usage() -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    let dollars = json!({ "type": "string", "pattern": "^[0-9]+\\.[0-9]{2,12}$" });
    let window = json!({
        "window": { "enum": Window::ALL.map(Window::name) },
        "limit": count,
        "used": count,
        "left": count,
        "resets_in_seconds": count,
    });
    let of_fleet = |schema: &Value, of: &Value| {
        let mut schema = schema.clone();
        if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
            let described = |text: &str| {
                let mut described = of.clone();
                if let Some(fields) = described.as_object_mut() {
                    fields.insert("description".into(), text.into());
                }
                described
            };
            let leased = "With shared counters: what the gateways of the fleet may spend or have not reported yet. It is not in the spent amount.";
            properties.insert("leased".into(), described(leased));
            let stranded =
                "With shared counters: the part of the spent amount that gateways held which disappeared.";
            properties.insert("stranded".into(), described(stranded));
        }
        schema
    };
    let mut of_target = window.clone();
    if let Some(of_target) = of_target.as_object_mut() {
        of_target.insert("target".into(), json!({ "type": "string" }));
    }
    let budget = closed(json!({
        "max": dollars,
        "soft": { "anyOf": [dollars, { "type": "null" }] },
        "period": { "enum": ["hour", "day", "week", "month", "lifetime"] },
        "spent": dollars,
        "estimated": dollars,
        "left": dollars,
        "resets_in_seconds": { "anyOf": [count, { "type": "null" }] },
    }));
    let budget = of_fleet(&budget, &dollars);
    let [window, of_target] = [window, of_target].map(|fields| of_fleet(&closed(fields), &count));
    let of = |names: &[&str], more: &[(&str, Value)]| {
        let mut properties = Map::from_iter([
            ("limits".into(), json!({ "type": "array", "items": window })),
            ("target_limits".into(), json!({ "type": "array", "items": of_target })),
            ("budget".into(), json!({ "anyOf": [budget, { "type": "null" }] })),
        ]);
        let required = properties.keys().map(|name| json!(name)).collect();
        properties.extend(names.iter().map(|name| ((*name).into(), json!({ "type": "string" }))));
        properties.extend(more.iter().map(|(name, schema)| ((*name).into(), schema.clone())));
        object(properties, required)
    };
    let mut usage = of(
        &["organization", "team", "key", "user"],
        &[("member", of(&["user"], &[])), ("self_service", of(&["user"], &[])), ("usage", history())],
    );
    // The current user's usage has no limits of its own.
    set(&mut usage, "required", json!(["usage"]));
    usage
}

/// Sums of calls, which are counted whether or not a limit is set.
fn history() -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    let dollars = json!({ "type": "string", "pattern": "^[0-9]+\\.[0-9]{2,12}$" });
    let text = json!({ "type": "string" });
    let moment = json!({ "type": "string", "format": "date-time" });
    let sums = closed(json!({
        "requests": count,
        "refused": count,
        "input_tokens": count,
        "cached_input_tokens": count,
        "output_tokens": count,
        "cost": dollars,
        "estimated_cost": dollars,
    }));
    let mut item = fields(&sums);
    item.insert("start".into(), moment.clone());
    item.extend(["target", "key", "member", "team"].map(|group| (group.into(), text.clone())));
    item.insert("nearest_limit".into(), closed(json!({ "limit": text, "used_percent": count })));
    closed(json!({
        "source": { "enum": ["gateway"], "description": "The counters: those of the process that answers." },
        "since": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "The moment from which the sums are complete: the start of the process, or the time for which \
                they are kept; null if nothing is counted here.",
        },
        "from": moment,
        "to": moment,
        "by": { "enum": ["hour", "day", "month", null] },
        "group": { "enum": ["target", "key", "member", "team", null] },
        "next": { "type": ["string", "null"] },
        "total": {
            "anyOf": [sums, { "type": "null" }],
            "description": "The sum over the range, with the calls of keys and members that are gone; null if the answer is \
                one of several pages of teams.",
        },
        "items": { "type": "array", "items": object(item, required_of(&sums)) },
    }))
}

fn audit_entry() -> Value {
    let text = json!({ "type": "string" });
    let perhaps = json!({ "type": ["string", "null"] });
    let resource = json!({ "type": ["object", "null"] });
    closed(json!({
        "id": text,
        "kind": { "enum": ["change", "attempt"] },
        "time": { "type": "string", "format": "date-time" },
        "organization": perhaps,
        "actor": text,
        "action": text,
        "status": { "type": "integer" },
        "reason": perhaps,
        "before": resource,
        "after": resource,
    }))
}
