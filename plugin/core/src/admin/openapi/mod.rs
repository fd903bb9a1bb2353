//! The OpenAPI document of the management API, generated from the tables and records that the API itself uses.

mod schemas;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::route::{ENDPOINTS, Endpoint, HttpMethod};
use super::{dry_run, page, usage};
use crate::ledger::Unit;

/// Returns the document (OpenAPI 3.1.0). Paths are relative to the server URL, which contains the prefix.
pub fn document() -> Value {
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let mut item = Map::new();
        item.insert("parameters".into(), path_parameters(endpoint.template).into());
        for method in endpoint.methods {
            let operation = operation(endpoint.endpoint, *method);
            item.insert(method.name().to_ascii_lowercase(), describe(&operation, *method));
        }
        paths.insert(endpoint.template.into(), Value::Object(item));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate management API",
            "version": "1",
            "description": "Organizations, teams, members, access and keys. Every write is validated against \
                the whole policy, as by `tollgate check`. Errors are problem details (RFC 9457) with JSON Pointers. \
                Bodies are parsed strictly: unknown fields and duplicate names are rejected.",
        },
        "servers": [{ "url": "/tollgate/v1" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A user token, or a JWT that the host proxy has verified.",
                },
            },
            "responses": rejections(),
            "schemas": schemas::all(),
        },
    })
}

/// The parts of an operation that differ between operations.
struct OperationSpec {
    id: &'static str,
    summary: &'static str,
    /// Name of the body's schema.
    body: Option<&'static str>,
    /// True if the body may be empty.
    body_optional: bool,
    /// Name of the response schema; `None` for 204.
    response: Option<&'static str>,
    /// Error statuses besides those of every operation.
    rejections: &'static [u16],
}

/// Query parameters.
enum QuerySpec {
    Nothing,
    Page,
    Audit,
    Usage,
}

const fn read(id: &'static str, summary: &'static str, response: &'static str) -> OperationSpec {
    OperationSpec { id, summary, body: None, body_optional: false, response: Some(response), rejections: &[] }
}

const fn write(
    id: &'static str,
    summary: &'static str,
    body: &'static str,
    response: &'static str,
    rejections: &'static [u16],
) -> OperationSpec {
    OperationSpec {
        id,
        summary,
        body: Some(body),
        body_optional: false,
        response: Some(response),
        rejections,
    }
}

const fn remove(id: &'static str, summary: &'static str, rejections: &'static [u16]) -> OperationSpec {
    OperationSpec { id, summary, body: None, body_optional: false, response: None, rejections }
}

/// Returns the operation of an endpoint and method.
fn operation(endpoint: Endpoint, method: HttpMethod) -> OperationSpec {
    use HttpMethod::{Delete, Patch, Post, Put};
    match (endpoint, method) {
        (Endpoint::Gateway, _) => read(
            "getGateway",
            "Get the version of the API, and (platform administrators) the changes without effect",
            "Gateway",
        ),
        (Endpoint::Me, _) => read("getMe", "Get the current user and its roles", "Me"),
        (Endpoint::MyUsage, _) => {
            read("getMyUsage", "Get the usage of the current user's keys, in all teams", "Usage")
        }
        (Endpoint::Targets, _) => read(
            "listTargets",
            "List the targets that the current user may call, and the grants",
            "CallableTargets",
        ),
        (Endpoint::Organizations, Post) => write(
            "createOrganization",
            "Create an organization (platform administrators only)",
            "NewOrganization",
            "Organization",
            &[409],
        ),
        (Endpoint::Organizations, _) => read(
            "listOrganizations",
            "List the organizations that the current user may read",
            "Organizations",
        ),
        (Endpoint::Organization, Patch) => write(
            "updateOrganization",
            "Update an organization; access, limits and budget: platform administrators only",
            "OrganizationPatch",
            "Organization",
            &[409],
        ),
        (Endpoint::Organization, Delete) => {
            remove("deleteOrganization", "Delete an organization that has no teams", &[409])
        }
        (Endpoint::Organization, _) => read("getOrganization", "Get an organization", "Organization"),
        (Endpoint::OrganizationUsage, _) => {
            read("getOrganizationUsage", "Get the usage of an organization, and what remains", "Usage")
        }
        (Endpoint::OrganizationMembers, _) => {
            read("listOrganizationMembers", "List the members of an organization", "OrganizationMembers")
        }
        (Endpoint::OrganizationMember, Put) => write(
            "putOrganizationMember",
            "Set a user's role in an organization; creates the user if it does not exist",
            "OrganizationMemberBody",
            "OrganizationMember",
            &[409],
        ),
        (Endpoint::OrganizationMember, Delete) => remove(
            "removeOrganizationMember",
            "Remove a user from an organization and its teams, and revoke the user's keys there",
            &[409],
        ),
        (Endpoint::OrganizationMember, _) => {
            read("getOrganizationMember", "Get a member of an organization", "OrganizationMember")
        }
        (Endpoint::OrganizationTeams, Post) => write(
            "createTeam",
            "Create a team; self-service is enabled unless the body disables it",
            "NewTeam",
            "Team",
            &[409],
        ),
        (Endpoint::OrganizationTeams, _) => read("listTeams", "List the teams of an organization", "Teams"),
        (Endpoint::Team, Patch) => write("updateTeam", "Update a team", "TeamPatch", "Team", &[409]),
        (Endpoint::Team, Delete) => remove("deleteTeam", "Delete a team that has no keys", &[409]),
        (Endpoint::Team, _) => read("getTeam", "Get a team", "Team"),
        (Endpoint::TeamAccess, Put) => {
            write("putTeamAccess", "Set the access selection of a team", "Access", "AccessPreview", &[409])
        }
        (Endpoint::TeamAccess, _) => read(
            "getTeamAccess",
            "Get the access selection of a team, with the decision and its reason for each target",
            "AccessPreview",
        ),
        (Endpoint::TeamSelfService, Put) => write(
            "putTeamSelfService",
            "Set the self-service policy of a team",
            "SelfService",
            "TeamSelfService",
            &[],
        ),
        (Endpoint::TeamSelfService, _) => {
            read("getTeamSelfService", "Get the self-service policy of a team", "TeamSelfService")
        }
        (Endpoint::TeamMembers, _) => read("listTeamMembers", "List the members of a team", "TeamMembers"),
        (Endpoint::TeamMember, Put) => {
            write("putTeamMember", "Set a user's role in a team", "TeamMemberBody", "TeamMember", &[409])
        }
        (Endpoint::TeamMember, Delete) => {
            remove("removeTeamMember", "Remove a user from a team, and revoke the user's keys there", &[409])
        }
        (Endpoint::TeamMember, _) => read("getTeamMember", "Get a member of a team", "TeamMember"),
        (Endpoint::TeamMemberUsage, _) => read(
            "getTeamMemberUsage",
            "Get the usage of a member's keys in a team, and what remains (the member too)",
            "Usage",
        ),
        (Endpoint::ServiceAccounts, _) => {
            read("listServiceAccounts", "List the service accounts of a team", "ServiceAccounts")
        }
        (Endpoint::ServiceAccount, Put) => write(
            "putServiceAccount",
            "Create or replace a service account",
            "ServiceAccountBody",
            "ServiceAccount",
            &[409],
        ),
        (Endpoint::ServiceAccount, Delete) => {
            remove("deleteServiceAccount", "Delete a service account and revoke its keys", &[409])
        }
        (Endpoint::ServiceAccount, _) => read("getServiceAccount", "Get a service account", "ServiceAccount"),
        (Endpoint::TeamKeys, Post) => write(
            "createKey",
            "Create a key: through self-service, or as a team admin for any member",
            "NewKey",
            "KeyWithSecret",
            &[409],
        ),
        (Endpoint::TeamKeys, _) => {
            read("listKeys", "List the keys of a team; a developer sees only their own", "Keys")
        }
        (Endpoint::TeamUsage, _) => {
            read("getTeamUsage", "Get the usage of a team, and what remains", "Usage")
        }
        (Endpoint::Key, Patch) => write("updateKey", "Update a key", "KeyPatch", "Key", &[409]),
        (Endpoint::Key, Delete) => remove("revokeKey", "Revoke a key", &[]),
        (Endpoint::Key, _) => read("getKey", "Get a key", "Key"),
        (Endpoint::KeyRotation, _) => OperationSpec {
            body_optional: true,
            ..write("rotateKey", "Rotate the secret of a key", "RotationBody", "KeyWithSecret", &[409])
        },
        (Endpoint::KeyUsage, _) => read("getKeyUsage", "Get the usage of a key, and what remains", "Usage"),
        (Endpoint::Drain, _) => OperationSpec {
            id: "drain",
            summary: "Before a planned stop: give back what this gateway leases of shared limits and budgets (platform administrators only)",
            body: None,
            body_optional: false,
            response: None,
            rejections: &[],
        },
        (Endpoint::Audit, _) => {
            read("listAudit", "List the audit log of write attempts, newest first", "AuditEntries")
        }
    }
}

fn query(operation: &OperationSpec) -> QuerySpec {
    match operation.id {
        "listAudit" => QuerySpec::Audit,
        id if is_usage(id) => QuerySpec::Usage,
        id if id.starts_with("list") => QuerySpec::Page,
        _ => QuerySpec::Nothing,
    }
}

fn is_usage(id: &str) -> bool {
    id.ends_with("Usage")
}

#[allow(clippy::wildcard_enum_match_arm, reason = "every other method has a JSON body")]
fn describe(operation: &OperationSpec, method: HttpMethod) -> Value {
    let mut parameters = query_parameters(&query(operation));
    let tagged = is_tagged(operation);
    if method != HttpMethod::Get {
        parameters.push(json!({
            "name": dry_run::NAME,
            "in": "query",
            "description": "`true`: returns the response of the write, with every fault and warning, and changes nothing. The \
                secret of a key is left out, and generated ids are examples. Only refused dry runs are in the audit log.",
            "schema": { "type": "boolean", "default": false },
        }));
    }
    // A list has no entity tag to match.
    if !creates(operation, method) && (tagged || method != HttpMethod::Get) {
        parameters.push(json!({
            "name": "If-Match",
            "in": "header",
            "description": "Proceed only if the resource has one of these entity tags.",
            "schema": { "type": "string" },
        }));
    }
    if !creates(operation, method) && method != HttpMethod::Get {
        parameters.push(json!({
            "name": "If-None-Match",
            "in": "header",
            "description": "Proceed only if the resource has none of these entity tags; `*`: only if it does not exist.",
            "schema": { "type": "string" },
        }));
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses(operation, method, tagged),
    });
    if let (Some(fields), Some(body)) = (described.as_object_mut(), operation.body) {
        let schema = json!({ "schema": reference(body) });
        let content = match method {
            HttpMethod::Patch => {
                json!({ "application/merge-patch+json": schema, "application/json": schema })
            }
            _ => json!({ "application/json": schema }),
        };
        let body = json!({ "required": !operation.body_optional, "content": content });
        fields.insert("requestBody".into(), body);
    }
    described
}

/// Returns true if the operation creates a resource below a list.
fn creates(operation: &OperationSpec, method: HttpMethod) -> bool {
    method == HttpMethod::Post && operation.id != "rotateKey"
}

/// Returns true if the response has an entity tag.
fn is_tagged(operation: &OperationSpec) -> bool {
    let untagged = ["getMe", "rotateKey", "createKey"];
    operation.response.is_some()
        && !operation.id.starts_with("list")
        && !is_usage(operation.id)
        && !untagged.contains(&operation.id)
}

fn responses(operation: &OperationSpec, method: HttpMethod, tagged: bool) -> Value {
    let mut responses = Map::new();
    let header = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let mut headers = Map::new();
    if tagged {
        headers.insert("ETag".into(), header("Entity tag of the returned representation."));
    }
    let status = match (operation.response, method) {
        (None, _) => "204",
        (Some(_), HttpMethod::Post) => "201",
        (Some(_), _) => "200",
    };
    if creates(operation, method) {
        headers.insert("Location".into(), header("Path of the new resource."));
    }
    let mut success = json!({ "description": operation.summary, "headers": headers });
    if let (Some(fields), Some(response)) = (success.as_object_mut(), operation.response) {
        let mut content = json!({ "application/json": { "schema": reference(response) } });
        if let Some(content) = content.as_object_mut().filter(|_| is_usage(operation.id)) {
            content.insert("text/csv".into(), json!({ "schema": { "type": "string" } }));
        }
        fields.insert("content".into(), content);
    }
    responses.insert(status.into(), success);
    if operation.response.is_none() {
        let content = json!({ "application/json": { "schema": reference("Removed") } });
        let warned = json!({ "description": "Done, with warnings.", "headers": {}, "content": content });
        responses.insert("200".into(), warned);
    }

    let mut rejections = Vec::from([400, 401, 403, 404, 412, 503]);
    rejections.extend(operation.rejections);
    if operation.body.is_some() {
        rejections.extend([413, 415]);
    }
    rejections.sort_unstable();
    for status in rejections {
        responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    Value::Object(responses)
}

/// Returns the error responses, named by their status.
fn rejections() -> Value {
    let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
    let named = [400, 401, 403, 404, 409, 412, 413, 415, 503]
        .map(|status| (status.to_string(), json!({ "description": rejection(status), "content": content })));
    named.into_iter().collect()
}

fn rejection(status: u16) -> &'static str {
    match status {
        400 => "The request is invalid; `errors` lists each location.",
        401 => "Authentication is missing or invalid.",
        403 => "Not permitted by the user's roles or by the team's self-service policy.",
        404 => "The resource does not exist, or the user may not read it.",
        409 => "The request conflicts with other records.",
        412 => "A precondition failed: the resource has changed, or already exists.",
        413 => "The request body is too large.",
        415 => "The request body is not JSON.",
        _ => "The store is temporarily unavailable. Nothing was changed.",
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": String::from("#/components/schemas/") + schema })
}

fn path_parameters(template: &str) -> Vec<Value> {
    let names = template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }))
        .collect()
}

fn usage_parameters(after: Value) -> Vec<Value> {
    let moment = |name: &str, description: &str| {
        json!({
            "name": name,
            "in": "query",
            "description": description,
            "schema": {
                "anyOf": [
                    { "type": "string", "format": "date" },
                    { "type": "string", "format": "date-time" },
                ],
            },
        })
    };
    let one_of = |name: &str, description: &str, values: &[&str]| json!({ "name": name, "in": "query", "description": description, "schema": { "enum": values } });
    Vec::from([
        moment(
            "from",
            "The beginning: a date in UTC, or a moment. If left out: with `by` all periods that are kept, otherwise the \
             present month.",
        ),
        moment("to", "The end, which is not included; now if left out."),
        one_of(
            "by",
            "The length of the periods. Hours are kept for 48 hours, days for 62 days, months for 13 months; hours only by \
             target. If left out: one sum over the whole range.",
            &Unit::ALL.map(Unit::name),
        ),
        one_of(
            "group",
            "The dimension that sums are told apart by: `target`, `key` or `member` for a team, `team` or `target` for an \
             organization, `team` for the current user.",
            &["target", "key", "member", "team"],
        ),
        one_of(
            "sort",
            "With `group=team` of an organization: its teams by cost, or by the largest used part of a limit or budget.",
            &["spend", "closeness"],
        ),
        one_of("format", "The format of the response: `json` if left out, or `csv`.", &["json", "csv"]),
        json!({
            "name": "limit",
            "in": "query",
            "description": "Maximum number of keys, members or teams.",
            "schema": { "type": "integer", "minimum": 1, "maximum": usage::MAX_ROWS, "default": page::DEFAULT_LIMIT },
        }),
        after,
    ])
}

fn query_parameters(query: &QuerySpec) -> Vec<Value> {
    let limit = json!({
        "name": "limit",
        "in": "query",
        "description": "Maximum number of items.",
        "schema": { "type": "integer", "minimum": 1, "maximum": page::MAX_LIMIT, "default": page::DEFAULT_LIMIT },
    });
    let after = json!({
        "name": "after",
        "in": "query",
        "description": "`next` of the previous page.",
        "schema": { "type": "string", "pattern": "^[!-~]{1,128}$" },
    });
    match query {
        QuerySpec::Nothing => Vec::new(),
        QuerySpec::Usage => usage_parameters(after),
        QuerySpec::Page => Vec::from([limit, after]),
        QuerySpec::Audit => Vec::from([
            limit,
            after,
            json!({
                "name": "organization",
                "in": "query",
                "description": "Id of the organization. If left out: the platform's own log for platform \
                    administrators, otherwise that of the only organization whose log the user may read.",
                "schema": { "type": "string" },
            }),
            json!({
                "name": "kind",
                "in": "query",
                "description": "Return only changes, or only attempts that changed nothing.",
                "schema": { "enum": ["change", "attempt"] },
            }),
        ]),
    }
}
