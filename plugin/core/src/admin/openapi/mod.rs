//! The OpenAPI document of the management API, from the same tables and records that serve it.

mod schemas;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::page;
use super::route::{ENDPOINTS, Endpoint, HttpMethod};

/// The document (OpenAPI 3.1.0). Paths are below the prefix, which is the server.
pub fn document() -> Value {
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let mut item = Map::new();
        item.insert("parameters".into(), path_parameters(endpoint.template).into());
        for method in endpoint.methods {
            let operation = operation(endpoint.place, *method);
            item.insert(method.name().to_ascii_lowercase(), describe(&operation, *method));
        }
        paths.insert(endpoint.template.into(), Value::Object(item));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate management API",
            "version": "1",
            "description": "Organizations, teams, members, access and keys. Every write is checked against all that \
                it touches, as `tollgate check` would; rejections are problem details (RFC 9457) with JSON Pointers. \
                Bodies are read strictly: unknown fields and repeated names are refused.",
        },
        "servers": [{ "url": "/tollgate/v1" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A user token, or a JWT that the proxy in front has verified.",
                },
            },
            "responses": rejections(),
            "schemas": schemas::all(),
        },
    })
}

/// One operation, as far as it is its own.
struct OperationSpec {
    id: &'static str,
    summary: &'static str,
    /// Name of the body's schema.
    body: Option<&'static str>,
    /// Nothing at all is a body too.
    body_optional: bool,
    /// Name of the answer's schema; `None`: 204.
    answer: Option<&'static str>,
    /// What can go wrong besides what always can.
    rejections: &'static [u16],
}

/// Query parameters.
enum QuerySpec {
    Nothing,
    Page,
    Audit,
}

const fn read(id: &'static str, summary: &'static str, answer: &'static str) -> OperationSpec {
    OperationSpec { id, summary, body: None, body_optional: false, answer: Some(answer), rejections: &[] }
}

const fn write(
    id: &'static str,
    summary: &'static str,
    body: &'static str,
    answer: &'static str,
    rejections: &'static [u16],
) -> OperationSpec {
    OperationSpec { id, summary, body: Some(body), body_optional: false, answer: Some(answer), rejections }
}

const fn remove(id: &'static str, summary: &'static str, rejections: &'static [u16]) -> OperationSpec {
    OperationSpec { id, summary, body: None, body_optional: false, answer: None, rejections }
}

/// What each endpoint does with each of its methods.
fn operation(place: Endpoint, method: HttpMethod) -> OperationSpec {
    use HttpMethod::{Delete, Patch, Post, Put};
    match (place, method) {
        (Endpoint::Me, _) => read("getMe", "Who am I, and in which roles", "Me"),
        (Endpoint::Targets, _) => read("listTargets", "What may I call, and through what", "CallableTargets"),
        (Endpoint::Organizations, Post) => write(
            "createOrganization",
            "Create an organization (platform administrators)",
            "NewOrganization",
            "Organization",
            &[409],
        ),
        (Endpoint::Organizations, _) => {
            read("listOrganizations", "The organizations I can read", "Organizations")
        }
        (Endpoint::Organization, Patch) => write(
            "updateOrganization",
            "Change an organization; what it grants and its limits: platform administrators",
            "OrganizationPatch",
            "Organization",
            &[409],
        ),
        (Endpoint::Organization, Delete) => {
            remove("deleteOrganization", "Delete an organization without teams", &[409])
        }
        (Endpoint::Organization, _) => read("getOrganization", "One organization", "Organization"),
        (Endpoint::OrganizationUsage, _) => {
            read("getOrganizationUsage", "What an organization used, and what is left", "Usage")
        }
        (Endpoint::OrganizationMembers, _) => {
            read("listOrganizationMembers", "People of an organization", "OrganizationMembers")
        }
        (Endpoint::OrganizationMember, Put) => write(
            "putOrganizationMember",
            "Give somebody a role in an organization; an unknown user comes to be",
            "OrganizationMemberBody",
            "OrganizationMember",
            &[409],
        ),
        (Endpoint::OrganizationMember, Delete) => remove(
            "removeOrganizationMember",
            "Take somebody out of an organization and its teams, and revoke their keys there",
            &[409],
        ),
        (Endpoint::OrganizationMember, _) => {
            read("getOrganizationMember", "One person of an organization", "OrganizationMember")
        }
        (Endpoint::OrganizationTeams, Post) => write(
            "createTeam",
            "Create a team; self-service is on unless the body says otherwise",
            "NewTeam",
            "Team",
            &[409],
        ),
        (Endpoint::OrganizationTeams, _) => read("listTeams", "Teams of an organization", "Teams"),
        (Endpoint::Team, Patch) => write("updateTeam", "Change a team", "TeamPatch", "Team", &[409]),
        (Endpoint::Team, Delete) => remove("deleteTeam", "Delete a team without keys", &[409]),
        (Endpoint::Team, _) => read("getTeam", "One team", "Team"),
        (Endpoint::TeamAccess, Put) => {
            write("putTeamAccess", "Choose what a team may call", "Access", "AccessPreview", &[409])
        }
        (Endpoint::TeamAccess, _) => {
            read("getTeamAccess", "What a team may call: each target, and why or why not", "AccessPreview")
        }
        (Endpoint::TeamSelfService, Put) => write(
            "putTeamSelfService",
            "Say what a team's developers may do without asking",
            "SelfService",
            "SelfService",
            &[],
        ),
        (Endpoint::TeamSelfService, _) => {
            read("getTeamSelfService", "What a team's developers may do without asking", "SelfService")
        }
        (Endpoint::TeamMembers, _) => read("listTeamMembers", "People of a team", "TeamMembers"),
        (Endpoint::TeamMember, Put) => {
            write("putTeamMember", "Give somebody a role in a team", "TeamMemberBody", "TeamMember", &[409])
        }
        (Endpoint::TeamMember, Delete) => {
            remove("removeTeamMember", "Take somebody out of a team, and revoke their keys there", &[409])
        }
        (Endpoint::TeamMember, _) => read("getTeamMember", "One person of a team", "TeamMember"),
        (Endpoint::ServiceAccounts, _) => {
            read("listServiceAccounts", "Service accounts of a team", "ServiceAccounts")
        }
        (Endpoint::ServiceAccount, Put) => write(
            "putServiceAccount",
            "Create or replace a service account",
            "ServiceAccountBody",
            "ServiceAccount",
            &[409],
        ),
        (Endpoint::ServiceAccount, Delete) => {
            remove("deleteServiceAccount", "Delete a service account, and revoke its keys", &[409])
        }
        (Endpoint::ServiceAccount, _) => read("getServiceAccount", "One service account", "ServiceAccount"),
        (Endpoint::TeamKeys, Post) => write(
            "createKey",
            "Create a key: through self-service, or as an admin of the team for anybody in it",
            "NewKey",
            "KeyWithSecret",
            &[409],
        ),
        (Endpoint::TeamKeys, _) => read("listKeys", "Keys of a team; a developer sees their own", "Keys"),
        (Endpoint::TeamUsage, _) => read("getTeamUsage", "What a team used, and what is left", "Usage"),
        (Endpoint::Key, Patch) => write("updateKey", "Change a key", "KeyPatch", "Key", &[409]),
        (Endpoint::Key, Delete) => remove("revokeKey", "Revoke a key", &[]),
        (Endpoint::Key, _) => read("getKey", "One key", "Key"),
        (Endpoint::KeyRotation, _) => OperationSpec {
            body_optional: true,
            ..write("rotateKey", "Give a key a new secret", "RotationBody", "KeyWithSecret", &[])
        },
        (Endpoint::KeyUsage, _) => read("getKeyUsage", "What a key used, and what is left", "Usage"),
        (Endpoint::Audit, _) => {
            read("listAudit", "Attempts to change something, newest first", "AuditEntries")
        }
    }
}

fn query(operation: &OperationSpec) -> QuerySpec {
    match operation.id {
        "listAudit" => QuerySpec::Audit,
        id if id.starts_with("list") => QuerySpec::Page,
        _ => QuerySpec::Nothing,
    }
}

fn describe(operation: &OperationSpec, method: HttpMethod) -> Value {
    let mut parameters = query_parameters(&query(operation));
    let tagged = is_tagged(operation);
    // On a list there is nothing that it could match.
    if !creates(operation, method) && (tagged || method != HttpMethod::Get) {
        parameters.push(json!({
            "name": "If-Match",
            "in": "header",
            "description": "Go on only if what is there has one of these entity tags.",
            "schema": { "type": "string" },
        }));
    }
    if !creates(operation, method) && method != HttpMethod::Get {
        parameters.push(json!({
            "name": "If-None-Match",
            "in": "header",
            "description": "Go on only if what is there has none of these entity tags; `*`: only if there is nothing.",
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

/// Whether it makes something new, below a list.
fn creates(operation: &OperationSpec, method: HttpMethod) -> bool {
    method == HttpMethod::Post && operation.id != "rotateKey"
}

/// Whether its answer carries an entity tag.
fn is_tagged(operation: &OperationSpec) -> bool {
    let untagged = ["getMe", "getKeyUsage", "getTeamUsage", "getOrganizationUsage", "rotateKey", "createKey"];
    operation.answer.is_some() && !operation.id.starts_with("list") && !untagged.contains(&operation.id)
}

fn responses(operation: &OperationSpec, method: HttpMethod, tagged: bool) -> Value {
    let mut responses = Map::new();
    let header = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let mut headers = Map::new();
    if tagged {
        headers.insert("ETag".into(), header("The version that is shown."));
    }
    let status = match (operation.answer, method) {
        (None, _) => "204",
        (Some(_), HttpMethod::Post) => "201",
        (Some(_), _) => "200",
    };
    if creates(operation, method) {
        headers.insert("Location".into(), header("Where it stands."));
    }
    let mut success = json!({ "description": operation.summary, "headers": headers });
    if let (Some(fields), Some(answer)) = (success.as_object_mut(), operation.answer) {
        fields.insert("content".into(), json!({ "application/json": { "schema": reference(answer) } }));
    }
    responses.insert(status.into(), success);

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

/// The refusals, each with its status as its name.
fn rejections() -> Value {
    let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
    let named = [400, 401, 403, 404, 409, 412, 413, 415, 503]
        .map(|status| (status.to_string(), json!({ "description": rejection(status), "content": content })));
    named.into_iter().collect()
}

fn rejection(status: u16) -> &'static str {
    match status {
        400 => "Something in the request is wrong; `errors` says where.",
        401 => "Nobody is signed in.",
        403 => "The roles of the signed-in, or the team's self-service policy, do not allow it.",
        404 => "There is no such thing.",
        409 => "Other records do not allow it.",
        412 => "It was changed since it was read, or is there although it is not to be.",
        413 => "The body is too large.",
        415 => "The body is not JSON.",
        _ => "It cannot be kept, or read, right now. Nothing was changed.",
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

fn query_parameters(query: &QuerySpec) -> Vec<Value> {
    let limit = json!({
        "name": "limit",
        "in": "query",
        "description": "How many items at most.",
        "schema": { "type": "integer", "minimum": 1, "maximum": page::MOST, "default": page::USUAL },
    });
    let after = json!({
        "name": "after",
        "in": "query",
        "description": "`next` of the page before.",
        "schema": { "type": "string", "pattern": "^[!-~]{1,128}$" },
    });
    match query {
        QuerySpec::Nothing => Vec::new(),
        QuerySpec::Page => Vec::from([limit, after]),
        QuerySpec::Audit => Vec::from([
            limit,
            after,
            json!({
                "name": "organization",
                "in": "query",
                "description": "Whose; the platform's own, or that of the one organization that can be meant, if \
                    left out.",
                "schema": { "type": "string" },
            }),
        ]),
    }
}
