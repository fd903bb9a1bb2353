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
const SPEND_READERS: &[&str] = &["platform", "owner", "org-admin", "billing", "auditor"];
const TEAM_USAGE_READERS: &[&str] = &["platform", "owner", "org-admin", "billing", "auditor", "team-admin"];
const OWN_KEY_USAGE_READERS: &[&str] =
    &["platform", "owner", "org-admin", "billing", "auditor", "team-admin", "developer"];
/// The users who may read the usage of any key, or the key itself.
const ANY_KEY_SEERS: &[&str] = &["platform", "owner", "org-admin", "billing", "auditor", "team-admin"];
const AUDIT_READERS: &[&str] = &["platform", "owner", "auditor"];

/// Method, path, body, and the permitted users.
pub fn table() -> Vec<(&'static str, &'static str, Value, &'static [&'static str])> {
    let nothing = Value::Null;
    vec![
        ("GET", "/", nothing.clone(), &PEOPLE),
        ("GET", "/me", nothing.clone(), &PEOPLE),
        ("GET", "/me/usage", nothing.clone(), &PEOPLE),
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
        ("PATCH", "/teams/search", json!({ "ceiling": { "limits": { "rpm": 50 } } }), ORGANIZATION_MANAGERS),
        ("PATCH", "/teams/search", json!({ "ceiling": null }), ORGANIZATION_MANAGERS),
        ("PATCH", "/teams/search", json!({ "mode": "shadow" }), PLATFORM),
        ("DELETE", "/teams/empty", nothing.clone(), ORGANIZATION_MANAGERS),
        ("GET", "/teams/search/access", nothing.clone(), CEILING_READERS),
        ("PUT", "/teams/search/access", json!({ "mode": "restrict", "targets": ["large"] }), TEAM_MANAGERS),
        ("GET", "/teams/search/self-service", nothing.clone(), TEAM_POLICY_READERS),
        ("PUT", "/teams/search/self-service", json!({ "enabled": false }), TEAM_MANAGERS),
        ("GET", "/teams/search/members", nothing.clone(), CEILING_READERS),
        ("GET", "/teams/search/members/viewer", nothing.clone(), CEILING_READERS),
        ("GET", "/teams/search/members/developer/usage", nothing.clone(), OWN_KEY_USAGE_READERS),
        ("GET", "/teams/search/members/team-admin/usage", nothing.clone(), TEAM_USAGE_READERS),
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
        ("GET", "/audit?organization=acme", nothing.clone(), AUDIT_READERS),
        ("POST", "/drain", nothing, PLATFORM),
    ]
}

/// Returns true if the resource in the path looks to the user as if it did not exist.
fn is_hidden(person: &str, path: &str) -> bool {
    match path {
        "/organizations" | "/drain" => false,
        "/keys/developers" | "/keys/developers/rotate" | "/keys/developers/usage" => {
            person != "developer" && !ANY_KEY_SEERS.contains(&person)
        }
        path if path.starts_with("/keys/") => !ANY_KEY_SEERS.contains(&person),
        _ => !CEILING_READERS.contains(&person),
    }
}

#[test]
fn every_endpoint_is_open_to_its_roles_only() {
    let mut wrong = Vec::new();
    for (method, path, body, allowed) in table() {
        for person in PEOPLE {
            let decided = World::new().decide(&request(person, method, path, &body));
            let (status, body) = match decided.outcome {
                AdminDecision::Answer(response) => (response.status, response.body),
                AdminDecision::Write(write) | AdminDecision::Preview(write) => {
                    (write.response.status, write.response.body)
                }
                AdminDecision::Audit(_)
                | AdminDecision::Rows(_)
                | AdminDecision::Drain
                | AdminDecision::Gateway { .. } => (200, String::new()),
            };
            let right = match allowed.contains(&person) {
                true => (200..300).contains(&status),
                // A developer may create keys but not choose the owner: row 9 of the table.
                false if person == "developer" && body.contains("not_choosable") => status == 400,
                false if is_hidden(person, path) => status == 404 && body.contains("\"not_found\""),
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
        let expected = match person {
            "platform" => 204,
            "owner" | "org-admin" => 403,
            _ => 404,
        };
        assert_eq!(answer.status, expected, "{person}");
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
            assert_eq!(World::new().get(person, path).status, 404, "{person}: {path}");
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
        assert_eq!(world.send("developer", method, path, Value::Null).status, 404, "{method} {path}");
    }
}

/// The text before the first quoted name.
fn begin(detail: &Value) -> String {
    detail.as_str().unwrap().split('`').next().unwrap().to_string()
}

#[test]
fn what_one_may_not_read_looks_like_what_does_not_exist() {
    for person in ["foreign-owner", "foreign-team-admin"] {
        for (method, path, body, _) in table() {
            if matches!(path, "/" | "/me" | "/me/usage" | "/targets" | "/organizations" | "/drain") {
                continue;
            }
            let known = ["acme", "search", "empty", "keys/developers", "keys/admins", "keys/jobs"];
            let missing = known.iter().fold(path.to_string(), |path, known| {
                path.replacen(known, if known.starts_with("keys/") { "keys/gone" } else { "gone" }, 1)
            });
            let mut world = World::new();
            let hidden = world.send(person, method, path, body.clone());
            let gone = world.send(person, method, &missing, body);
            assert_eq!((hidden.status, gone.status), (404, 404), "{person}: {method} {path} {missing}");
            assert_eq!(begin(&hidden.body["detail"]), begin(&gone.body["detail"]), "{method} {path}");
            let mut expected = gone.body;
            expected["detail"] = hidden.body["detail"].clone();
            assert_eq!((hidden.body, hidden.fields), (expected, gone.fields), "{method} {path}");
        }
    }
}

#[test]
fn error_texts_do_not_reveal_persons_and_accounts() {
    let mut policy = super::world::policy();
    policy["service_accounts"]["theirs"] = json!({ "team": "lab", "name": "Theirs" });
    policy["users"]["foreign-owner"]["limits"] = json!({ "rpm": 7 });
    let mut world = World::of(policy);
    let mut faults = |owner: &str| {
        let body = json!({ "name": "x", "owner": owner, "limits": { "rpm": 50 } });
        let answer = world.send("team-admin", "POST", "/teams/search/keys", body);
        assert_eq!(answer.status, 400, "{}", answer.body);
        let (_, id) = owner.split_once('/').unwrap();
        answer.body.to_string().replace(id, "ID")
    };
    assert_eq!(faults("user/foreign-owner"), faults("user/gone"));
    assert_eq!(faults("service_account/theirs"), faults("service_account/gone"));
    let mut member = |user: &str| {
        let path = format!("/teams/search/members/{user}");
        let answer = world.send("team-admin", "PUT", &path, json!({ "role": "team_viewer" }));
        assert_eq!(answer.status, 409, "{}", answer.body);
        answer.body.to_string().replace(user, "ID")
    };
    assert_eq!(member("foreign-owner"), member("gone"));
}
