//! The actions that objects list for their reader, against the requests themselves.

use serde_json::{Value, json};

use super::world::{PEOPLE, World, policy};

/// An object, an action on it, and a request that the action allows.
type Row = (&'static str, &'static str, &'static str, &'static str, Value);

/// Returns each action with a request.
fn rows() -> Vec<Row> {
    let (acme, team) = ("/organizations/acme", "/teams/search");
    let (own, other, job) = ("/keys/developers", "/keys/admins", "/keys/jobs");
    let mut rows = vec![
        (acme, "update", "PATCH", acme, json!({ "name": "New" })),
        (acme, "members", "PUT", "/organizations/acme/members/viewer", json!({ "role": "org_billing" })),
        (acme, "owners", "PUT", "/organizations/acme/members/viewer", json!({ "role": "org_owner" })),
        (acme, "teams", "POST", "/organizations/acme/teams", json!({ "id": "new", "name": "New" })),
        (acme, "usage", "GET", "/organizations/acme/usage", Value::Null),
        (acme, "audit", "GET", "/audit?organization=acme", Value::Null),
        (acme, "ceiling", "PATCH", acme, json!({ "limits": { "rpm": 2000 } })),
        (acme, "delete", "DELETE", "/organizations/acme", Value::Null),
        (team, "update", "PATCH", team, json!({ "name": "New" })),
        (team, "members", "PUT", "/teams/search/members/member", json!({ "role": "team_viewer" })),
        (team, "keys", "POST", "/teams/search/keys", json!({ "name": "New", "owner": "user/viewer" })),
        (team, "read_keys", "GET", "/keys/jobs", Value::Null),
        (team, "usage", "GET", "/teams/search/usage", Value::Null),
        (team, "state", "PATCH", team, json!({ "state": "blocked" })),
        (team, "ceiling", "PATCH", team, json!({ "ceiling": { "limits": { "rpm": 200 } } })),
        (team, "mode", "PATCH", team, json!({ "mode": "shadow" })),
        ("/teams/empty", "delete", "DELETE", "/teams/empty", Value::Null),
    ];
    for key in [own, other, job] {
        rows.push((key, "update", "PATCH", key, json!({ "name": "New" })));
        rows.push((key, "revoke", "DELETE", key, Value::Null));
        let rotate = if key == own { "/keys/developers/rotate" } else { "/keys/admins/rotate" };
        let usage = if key == own { "/keys/developers/usage" } else { "/keys/admins/usage" };
        if key != job {
            rows.push((key, "rotate", "POST", rotate, json!({})));
            rows.push((key, "usage", "GET", usage, Value::Null));
        }
    }
    rows
}

#[test]
fn an_object_lists_an_action_if_and_only_if_the_request_is_allowed() {
    let mut listed = 0;
    for (object, action, method, path, body) in rows() {
        for person in PEOPLE {
            let shown = World::new().get(person, object);
            if shown.status != 200 {
                continue;
            }
            let may = shown.body["may"].as_array().unwrap().contains(&json!(action));
            let mut world = World::new();
            let decided = world.decide(&super::world::request(person, method, path, &body));
            let refused = decided.entry.as_ref().and_then(|entry| entry.reason.as_deref());
            let status = match decided.outcome {
                tollgate_core::admin::AdminDecision::Answer(response) => response.status,
                _ => 200,
            };
            // Another rule than that of roles can refuse what the role allows, such as a team that has keys.
            let allowed = !matches!(status, 403 | 404) && refused != Some("not_choosable");
            assert_eq!(may, allowed, "{person}: {action} on {object}: {status} {refused:?}");
            listed += usize::from(may);
        }
    }
    assert!(listed > 60, "{listed}");
}

#[test]
fn own_keys_are_listed_where_self_service_is_on() {
    let on = World::new().get("developer", "/teams/search").body["may"].clone();
    assert_eq!(on, json!(["own_keys"]));
    let mut policy = policy();
    policy["teams"]["search"]["self_service"] = json!({ "enabled": false });
    assert_eq!(World::of(policy).get("developer", "/teams/search").body["may"], json!([]));
    let listed = World::new().get("org-admin", "/organizations/acme/teams").body["items"][0]["may"].clone();
    assert!(listed.as_array().unwrap().contains(&json!("update")), "{listed}");
    let listed = World::new().get("developer", "/teams/search/keys").body["items"][0]["may"].clone();
    assert_eq!(listed, json!(["rotate", "revoke", "usage"]));
}
