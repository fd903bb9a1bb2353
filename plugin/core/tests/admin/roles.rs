//! The table of roles: every endpoint with every role.

use serde_json::{Value, json};

use super::world::{PEOPLE, World, request};
use tollgate_core::admin::AdminDecision;

const PLATFORM: &[&str] = &["platform"];
const CEILING_READERS: &[&str] = &[
    "platform",
    "owner",
    "org-admin",
    "billing",
    "auditor",
    "member",
    "team-admin",
    "developer",
    "viewer",
    "other-team-admin",
];
const ORGANIZATION_MANAGERS: &[&str] = &["platform", "owner", "org-admin"];
const TEAM_MANAGERS: &[&str] = &["platform", "owner", "org-admin", "team-admin"];
const TEAM_POLICY_READERS: &[&str] = &["platform", "owner", "org-admin", "auditor", "team-admin"];
const KEY_READERS: &[&str] = &["platform", "owner", "org-admin", "auditor", "team-admin", "developer"];
const KEY_HOLDERS: &[&str] = &["platform", "owner", "org-admin", "team-admin", "developer"];
const SPEND_READERS: &[&str] = &["platform", "owner", "billing", "auditor"];
const TEAM_USAGE_READERS: &[&str] = &["platform", "owner", "billing", "auditor", "team-admin"];
const OWN_KEY_USAGE_READERS: &[&str] =
    &["platform", "owner", "billing", "auditor", "team-admin", "developer"];
const AUDIT_READERS: &[&str] = &["platform", "owner", "auditor"];

/// Method, path, body, and the permitted users.
pub fn table() -> Vec<(&'static str, &'static str, Value, &'static [&'static str])> {
    let nothing = Value::Null;
    vec![
        ("GET", "/", nothing.clone(), &PEOPLE),
        ("GET", "/me", nothing.clone(), &PEOPLE),
        ("GET", "/targets", nothing.clone(), &PEOPLE),
        ("GET", "/organizations", nothing.clone(), &PEOPLE),
        ("POST", "/organizations", json!({ "id": "new", "name": "New" }), PLATFORM),
        ("GET", "/organizations/acme", nothing.clone(), CEILING_READERS),
        ("PATCH", "/organizations/acme", json!({ "name": "Acme Corp" }), ORGANIZATION_MANAGERS),
        ("PATCH", "/organizations/acme", json!({ "limits": { "rpm": 2000 } }), PLATFORM),
        ("PATCH", "/organizations/acme", json!({ "budget": { "max": "1" } }), PLATFORM),
        ("PATCH", "/organizations/acme", json!({ "access": { "targets": ["*"] } }), PLATFORM),
        ("PATCH", "/organizations/acme", json!({ "target_limits": { "small": { "rpm": 1 } } }), PLATFORM),
        ("PATCH", "/organizations/acme", json!({ "state": "blocked" }), PLATFORM),
        ("GET", "/organizations/acme/usage", nothing.clone(), SPEND_READERS),
        ("GET", "/organizations/acme/members", nothing.clone(), CEILING_READERS),
        ("GET", "/organizations/acme/members/viewer", nothing.clone(), CEILING_READERS),
        ("PUT", "/organizations/acme/members/new", json!({ "role": "org_member" }), ORGANIZATION_MANAGERS),
        ("PUT", "/organizations/acme/members/new", json!({ "role": "org_owner" }), &["platform", "owner"]),
        ("PUT", "/organizations/acme/members/owner", json!({ "role": "org_member" }), &["platform", "owner"]),
        ("DELETE", "/organizations/acme/members/viewer", nothing.clone(), ORGANIZATION_MANAGERS),
        ("DELETE", "/organizations/acme/members/owner", nothing.clone(), &["platform", "owner"]),
        ("GET", "/organizations/acme/teams", nothing.clone(), CEILING_READERS),
        ("POST", "/organizations/acme/teams", json!({ "id": "new", "name": "New" }), ORGANIZATION_MANAGERS),
        (
            "POST",
            "/organizations/acme/teams",
            json!({ "id": "new", "name": "New", "mode": "shadow" }),
            PLATFORM,
        ),
        ("GET", "/teams/search", nothing.clone(), CEILING_READERS),
        ("PATCH", "/teams/search", json!({ "limits": { "rpm": 5 } }), TEAM_MANAGERS),
        ("PATCH", "/teams/search", json!({ "state": "blocked" }), ORGANIZATION_MANAGERS),
        ("PATCH", "/teams/search", json!({ "mode": "shadow" }), PLATFORM),
        ("DELETE", "/teams/empty", nothing.clone(), ORGANIZATION_MANAGERS),
        ("GET", "/teams/search/access", nothing.clone(), CEILING_READERS),
        ("PUT", "/teams/search/access", json!({ "mode": "restrict", "targets": ["large"] }), TEAM_MANAGERS),
        ("GET", "/teams/search/self-service", nothing.clone(), TEAM_POLICY_READERS),
        ("PUT", "/teams/search/self-service", json!({ "enabled": false }), TEAM_MANAGERS),
        ("GET", "/teams/search/members", nothing.clone(), CEILING_READERS),
        ("GET", "/teams/search/members/viewer", nothing.clone(), CEILING_READERS),
        ("PUT", "/teams/search/members/member", json!({ "role": "team_developer" }), TEAM_MANAGERS),
        ("DELETE", "/teams/search/members/viewer", nothing.clone(), TEAM_MANAGERS),
        ("GET", "/teams/search/service-accounts", nothing.clone(), CEILING_READERS),
        ("GET", "/teams/search/service-accounts/nightly", nothing.clone(), CEILING_READERS),
        ("PUT", "/teams/search/service-accounts/weekly", json!({ "name": "Weekly" }), TEAM_MANAGERS),
        ("DELETE", "/teams/search/service-accounts/nightly", nothing.clone(), TEAM_MANAGERS),
        ("GET", "/teams/search/keys", nothing.clone(), KEY_READERS),
        ("POST", "/teams/search/keys", json!({ "name": "New" }), KEY_HOLDERS),
        ("POST", "/teams/search/keys", json!({ "name": "New", "owner": "user/viewer" }), TEAM_MANAGERS),
        ("GET", "/teams/search/usage", nothing.clone(), TEAM_USAGE_READERS),
        ("GET", "/keys/developers", nothing.clone(), KEY_READERS),
        ("GET", "/keys/admins", nothing.clone(), TEAM_POLICY_READERS),
        ("PATCH", "/keys/developers", json!({ "limits": { "rpm": 1 } }), TEAM_MANAGERS),
        ("DELETE", "/keys/developers", nothing.clone(), KEY_HOLDERS),
        ("DELETE", "/keys/admins", nothing.clone(), TEAM_MANAGERS),
        ("POST", "/keys/developers/rotate", json!({}), KEY_HOLDERS),
        ("POST", "/keys/jobs/rotate", json!({}), TEAM_MANAGERS),
        ("GET", "/keys/developers/usage", nothing.clone(), OWN_KEY_USAGE_READERS),
        ("GET", "/keys/jobs/usage", nothing.clone(), TEAM_USAGE_READERS),
        ("GET", "/audit?organization=acme", nothing, AUDIT_READERS),
    ]
}

#[test]
fn every_endpoint_is_open_to_its_roles_only() {
    let mut wrong = Vec::new();
    for (method, path, body, allowed) in table() {
        for person in PEOPLE {
            let decided = World::new().decide(&request(person, method, path, &body));
            let (status, body) = match decided.outcome {
                AdminDecision::Answer(response) => (response.status, response.body),
                AdminDecision::Write(write) => (write.response.status, write.response.body),
                AdminDecision::Audit(_) | AdminDecision::Gateway { .. } => (200, String::new()),
            };
            let right = match allowed.contains(&person) {
                true => (200..300).contains(&status),
                // A developer may create keys but not choose the owner: row 9 of the table.
                false if person == "developer" && body.contains("not_choosable") => status == 400,
                false => status == 403 && body.contains("\"not_allowed\""),
            };
            if !right {
                wrong.push(format!("{person}: {method} {path} -> {status} {body}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unauthenticated_requests_do_not_reveal_what_exists() {
    for (method, path, body, _) in table() {
        let answer = World::new().send("anonymous", method, path, body);
        assert_eq!((answer.status, answer.code()), (401, "not_signed_in"), "{method} {path}");
        assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"tollgate\""));
    }
    assert_eq!(World::new().get("anonymous", "/nothing/here").status, 401);
    assert_eq!(World::new().send("anonymous", "PUT", "/me", json!({})).status, 401);
}

#[test]
fn only_the_platforms_administrators_delete_an_organization() {
    for person in PEOPLE {
        let mut policy = super::world::policy();
        policy["organizations"]["acme"]["members"]["foreign-owner"] = json!("org_admin");
        policy["organizations"]["bare"] = json!({
            "name": "Bare", "access": {}, "members": { "owner": "org_owner", "org-admin": "org_admin" },
        });
        let answer = World::of(policy).send(person, "DELETE", "/organizations/bare", Value::Null);
        assert_eq!(answer.status, if person == "platform" { 204 } else { 403 }, "{person}");
    }
}

#[test]
fn a_role_in_one_team_grants_nothing_in_another() {
    let writes = [
        ("PATCH", "/teams/other", json!({ "name": "Mine" })),
        ("PUT", "/teams/other/access", json!({ "mode": "inherit" })),
        ("GET", "/teams/other/self-service", Value::Null),
        ("PUT", "/teams/other/self-service", json!({ "enabled": true })),
        ("PUT", "/teams/other/members/team-admin", json!({ "role": "team_admin" })),
        ("DELETE", "/teams/other/members/other-team-admin", Value::Null),
        ("PUT", "/teams/other/service-accounts/mine", json!({ "name": "Mine" })),
        ("GET", "/teams/other/keys", Value::Null),
        ("POST", "/teams/other/keys", json!({ "name": "Mine" })),
        ("GET", "/teams/other/usage", Value::Null),
    ];
    for person in ["team-admin", "developer", "viewer"] {
        for (method, path, body) in &writes {
            let answer = World::new().send(person, method, path, body.clone());
            assert_eq!((answer.status, answer.code()), (403, "not_allowed"), "{person}: {method} {path}");
        }
    }
    for person in ["team-admin", "developer", "viewer"] {
        for path in ["/teams/lab", "/teams/lab/access", "/teams/lab/members", "/organizations/globex"] {
            assert_eq!(World::new().get(person, path).status, 403, "{person}: {path}");
        }
    }
}

#[test]
fn the_self_service_policy_is_hidden_from_developers_and_viewers() {
    for person in CEILING_READERS {
        let mut world = World::new();
        let sees = TEAM_POLICY_READERS.contains(person);
        let team = world.get(person, "/teams/search").body;
        assert_eq!(team.get("self_service").is_some(), sees, "{person}");
        let list = world.get(person, "/organizations/acme/teams").body;
        let of_search = list["items"].as_array().unwrap().iter().find(|team| team["id"] == "search").unwrap();
        assert_eq!(of_search.get("self_service").is_some(), sees, "{person}");
    }
}

#[test]
fn a_developer_reads_and_changes_own_keys_only() {
    let mut world = World::new();
    let list = world.get("developer", "/teams/search/keys").body;
    let ids: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|key| &key["id"]).collect();
    assert_eq!(ids, ["developers"]);
    for (method, path) in [
        ("GET", "/keys/admins"),
        ("GET", "/keys/admins/usage"),
        ("DELETE", "/keys/admins"),
        ("POST", "/keys/admins/rotate"),
        ("DELETE", "/keys/jobs"),
    ] {
        assert_eq!(world.send("developer", method, path, Value::Null).status, 403, "{method} {path}");
    }
}
