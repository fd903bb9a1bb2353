//! Adding and removing members, with their keys.

use serde_json::{Value, json};

use super::world::{World, policy};

fn keys_of(world: &mut World, team: &str) -> Vec<String> {
    let list = world.get("platform", &format!("/teams/{team}/keys")).body;
    list["items"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_string()).collect()
}

#[test]
fn removing_a_team_member_revokes_only_the_keys_in_the_team() {
    let mut policy = policy();
    policy["teams"]["other"]["members"]["developer"] = json!("team_developer");
    policy["keys"]["elsewhere"] = json!({
        "team": "other", "owner": "user/developer", "digest": format!("sha256:{}", "07".repeat(32)),
    });
    let mut world = World::of(policy);
    assert_eq!(
        world.send("team-admin", "DELETE", "/teams/search/members/developer", Value::Null).status,
        204
    );
    assert_eq!(keys_of(&mut world, "search"), ["admins", "jobs"]);
    assert_eq!(keys_of(&mut world, "other"), ["elsewhere"]);
    assert_eq!(world.get("platform", "/teams/search/members/developer").status, 404);
    assert_eq!(world.get("platform", "/organizations/acme/members/developer").status, 200);
    let entry = world.audit.last().unwrap();
    assert_eq!(entry.before.as_ref().unwrap()["keys"], json!(["developers"]));
    assert_eq!(entry.after, None);
}

#[test]
fn removing_an_organization_member_removes_the_member_from_all_teams() {
    let mut policy = policy();
    policy["teams"]["other"]["members"]["developer"] = json!("team_developer");
    policy["organizations"]["globex"]["members"]["developer"] = json!("org_member");
    policy["teams"]["lab"]["members"]["developer"] = json!("team_developer");
    for (id, team, digit) in [("second", "other", "07"), ("abroad", "lab", "08")] {
        policy["keys"][id] = json!({
            "team": team, "owner": "user/developer", "digest": format!("sha256:{}", digit.repeat(32)),
        });
    }
    let mut world = World::of(policy);
    let path = "/organizations/acme/members/developer";
    assert_eq!(world.send("org-admin", "DELETE", path, Value::Null).status, 204);
    assert_eq!(keys_of(&mut world, "search"), ["admins", "jobs"]);
    assert_eq!(keys_of(&mut world, "other"), Vec::<String>::new());
    assert_eq!(keys_of(&mut world, "lab"), ["abroad"], "another organization is not concerned");
    for path in ["/teams/search/members/developer", "/teams/other/members/developer", path] {
        assert_eq!(world.get("platform", path).status, 404, "{path}");
    }
    assert_eq!(world.send("org-admin", "DELETE", path, Value::Null).status, 404);
}

#[test]
fn adding_an_unknown_member_creates_the_user() {
    let mut world = World::new();
    let path = "/organizations/acme/members/new@acme.example";
    let put = world.send("org-admin", "PUT", path, json!({ "role": "org_member", "name": "New" }));
    assert_eq!(put.status, 200, "{}", put.body);
    assert_eq!(put.body, json!({ "user": "new@acme.example", "name": "New", "role": "org_member" }));
    let again = world.send("org-admin", "PUT", path, json!({ "role": "org_billing" }));
    assert_eq!(again.body["role"], "org_billing");
    let renamed = world.send("org-admin", "PUT", path, json!({ "role": "org_billing", "name": "Other" }));
    assert_eq!((renamed.status, renamed.pointers()), (400, vec!["/name"]));
    let nameless =
        world.send("org-admin", "PUT", "/organizations/acme/members/x", json!({ "role": "org_member" }));
    assert_eq!(nameless.body["name"], "x");
    let impossible =
        world.send("owner", "PUT", "/organizations/acme/members/a%20b", json!({ "role": "org_member" }));
    assert_eq!(impossible.status, 400);
}

#[test]
fn a_team_member_must_be_in_the_organization() {
    let mut world = World::new();
    let path = "/teams/search/members/foreign-owner";
    let refused = world.send("team-admin", "PUT", path, json!({ "role": "team_viewer" }));
    assert_eq!((refused.status, refused.code()), (409, "not_an_organization_member"));
    // A caller who may add organization members adds both at once.
    let added = world.send("org-admin", "PUT", path, json!({ "role": "team_viewer" }));
    assert_eq!(added.status, 200, "{}", added.body);
    assert_eq!(world.get("owner", "/organizations/acme/members/foreign-owner").body["role"], "org_member");
    let unknown =
        world.send("org-admin", "PUT", "/teams/search/members/new", json!({ "role": "team_viewer" }));
    assert_eq!((unknown.status, &unknown.body["name"]), (200, &json!("new")));
}

#[test]
fn a_new_role_applies_to_the_next_request() {
    let mut world = World::new();
    assert_eq!(world.send("viewer", "POST", "/teams/search/keys", json!({ "name": "x" })).status, 403);
    let path = "/teams/search/members/viewer";
    assert_eq!(world.send("team-admin", "PUT", path, json!({ "role": "team_developer" })).status, 200);
    assert_eq!(world.send("viewer", "POST", "/teams/search/keys", json!({ "name": "x" })).status, 201);
    for role in [json!("org_owner"), json!("admin"), json!(1), Value::Null] {
        let answer = world.send("team-admin", "PUT", path, json!({ "role": role }));
        assert_eq!((answer.status, answer.pointers()), (400, vec!["/role"]), "{role}");
    }
}

#[test]
fn deleting_a_service_account_revokes_its_keys() {
    let mut world = World::new();
    let put =
        world.send("team-admin", "PUT", "/teams/search/service-accounts/weekly", json!({ "name": "Weekly" }));
    let created = world.now.timestamp().0;
    assert_eq!(put.body, json!({ "id": "weekly", "team": "search", "name": "Weekly", "created": created }));
    let taken = world.send(
        "other-team-admin",
        "PUT",
        "/teams/other/service-accounts/nightly",
        json!({ "name": "x" }),
    );
    assert_eq!((taken.status, taken.code()), (409, "already_exists"));
    assert_eq!(world.get("platform", "/teams/other/service-accounts/nightly").status, 404);
    let path = "/teams/search/service-accounts/nightly";
    assert_eq!(world.send("team-admin", "DELETE", path, Value::Null).status, 204);
    assert_eq!(keys_of(&mut world, "search"), ["admins", "developers"]);
}
