//! Creating, changing and deleting organizations and teams, validated against the levels above and below.

use serde_json::{Value, json};

use super::world::{World, policy};

#[test]
fn a_new_team_has_self_service_by_default() {
    let mut world = World::new();
    let path = "/organizations/acme/teams";
    let created = world.send("org-admin", "POST", path, json!({ "id": "new", "name": "New" }));
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.field("location"), Some("/tollgate/v1/teams/new"));
    assert_eq!(created.body["self_service"], json!({ "enabled": true }));
    assert_eq!(created.body["organization"], "acme");
    let off = json!({ "id": "quiet", "name": "Quiet", "self_service": { "enabled": false } });
    assert_eq!(world.send("org-admin", "POST", path, off).body["self_service"], json!({ "enabled": false }));
    let again = world.send("org-admin", "POST", path, json!({ "id": "new", "name": "New" }));
    assert_eq!((again.status, again.code(), again.pointers()), (409, "already_exists", vec!["/id"]));
}

#[test]
fn a_new_organization_grants_nothing() {
    let mut world = World::new();
    let created = world.send("platform", "POST", "/organizations", json!({ "id": "new", "name": "New" }));
    assert_eq!(created.status, 201, "{}", created.body);
    world.send("platform", "POST", "/organizations/new/teams", json!({ "id": "first", "name": "First" }));
    let access = world.get("platform", "/teams/first/access").body;
    assert!(access["preview"].as_array().unwrap().iter().all(|line| line["effective"] == false), "{access}");
    let full = world.send("platform", "DELETE", "/organizations/new", Value::Null);
    assert_eq!((full.status, full.code()), (409, "teams_exist"));
    assert_eq!(world.send("platform", "DELETE", "/teams/first", Value::Null).status, 204);
    assert_eq!(world.send("platform", "DELETE", "/organizations/new", Value::Null).status, 204);
    assert_eq!(world.get("platform", "/organizations/new").status, 404);
}

#[test]
fn a_team_with_keys_is_not_deleted() {
    let mut world = World::new();
    let refused = world.send("owner", "DELETE", "/teams/search", Value::Null);
    assert_eq!((refused.status, refused.code()), (409, "keys_assigned"));
    for key in ["developers", "admins", "jobs"] {
        assert_eq!(world.send("owner", "DELETE", &format!("/keys/{key}"), Value::Null).status, 204);
    }
    assert_eq!(world.send("owner", "DELETE", "/teams/search", Value::Null).status, 204);
    assert_eq!(world.document()["service_accounts"].get("nightly"), None, "its service accounts go with it");
}

#[test]
fn a_patch_changes_what_it_names_and_null_removes() {
    let mut world = World::new();
    let patch = json!({ "limits": { "rpd": 500 }, "budget": { "max": "10.5", "period": "month" } });
    let changed = world.send("team-admin", "PATCH", "/teams/search", patch).body;
    assert_eq!(changed["limits"], json!({ "rpm": 100, "rpd": 500 }));
    assert_eq!(changed["budget"]["max"], "10.50");
    let removed =
        world.send("team-admin", "PATCH", "/teams/search", json!({ "limits": { "rpm": null } })).body;
    assert_eq!(removed["limits"], json!({ "rpd": 500 }));
    let read = world.get("team-admin", "/teams/search").body;
    assert_eq!(read, removed);
}

#[test]
fn an_invalid_change_is_rejected_with_every_fault() {
    let mut world = World::new();
    let before = world.document();
    let patch = json!({
        "limits": { "rpm": 0, "rps": 1 }, "budget": { "max": "lots" }, "models": ["small"], "name": "",
    });
    let refused = world.send("team-admin", "PATCH", "/teams/search", patch);
    assert_eq!((refused.status, refused.code()), (400, "invalid_request"));
    let mut pointers = refused.pointers();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/budget/max", "/limits/rpm", "/limits/rps", "/models", "/name"]);
    assert!(refused.body.to_string().contains("access"), "a word about `access`: {}", refused.body);
    assert_eq!(world.document(), before);
}

#[test]
fn a_limit_above_that_of_the_organization_is_rejected() {
    let mut world = World::new();
    let refused = world.send("team-admin", "PATCH", "/teams/search", json!({ "limits": { "rpm": 1001 } }));
    assert_eq!((refused.status, refused.pointers()), (400, vec!["/limits/rpm"]));
    assert!(refused.body["detail"].as_str().unwrap().contains("acme"), "{}", refused.body);
    let over = json!({ "budget": { "max": "1000.01", "period": "month" } });
    let refused = world.send("team-admin", "PATCH", "/teams/search", over);
    assert_eq!((refused.status, refused.pointers()), (400, vec!["/budget/max"]));
}

#[test]
fn lowering_an_organization_limit_below_that_of_a_team_names_the_team() {
    let mut world = World::new();
    let refused = world.send("platform", "PATCH", "/organizations/acme", json!({ "limits": { "rpm": 50 } }));
    assert_eq!((refused.status, refused.code()), (409, "conflict"), "{}", refused.body);
    assert_eq!(refused.body["errors"][0]["policy_pointer"], "/teams/search/limits/rpm");
    assert!(refused.body["detail"].as_str().unwrap().contains("/teams/search/"), "{}", refused.body);
    assert_eq!(
        world.send("team-admin", "PATCH", "/teams/search", json!({ "limits": { "rpm": 50 } })).status,
        200
    );
    let lowered = world.send("platform", "PATCH", "/organizations/acme", json!({ "limits": { "rpm": 50 } }));
    assert_eq!(lowered.status, 200, "{}", lowered.body);
}

#[test]
fn lowering_a_team_limit_below_that_of_a_key_names_the_key() {
    let mut world = World::new();
    world.send("team-admin", "PATCH", "/keys/developers", json!({ "limits": { "rpm": 20 } }));
    let refused = world.send("team-admin", "PATCH", "/teams/search", json!({ "limits": { "rpm": 10 } }));
    assert_eq!((refused.status, refused.code()), (409, "conflict"));
    assert_eq!(refused.body["errors"][0]["policy_pointer"], "/keys/developers/limits/rpm");
}

#[test]
fn the_body_cannot_change_the_ids_in_the_path() {
    let mut world = World::new();
    for (patch, pointer) in [
        (json!({ "id": "x" }), "/id"),
        (json!({ "organization": "globex" }), "/organization"),
        (json!({ "members": {} }), "/members"),
    ] {
        let answer = world.send("team-admin", "PATCH", "/teams/search", patch.clone());
        assert_eq!((answer.status, answer.pointers()), (400, vec![pointer]), "{patch}");
    }
    let same = json!({ "id": "search", "organization": "acme", "name": "Search 2" });
    assert_eq!(world.send("team-admin", "PATCH", "/teams/search", same).body["name"], "Search 2");
}

#[test]
fn revoking_access_of_an_organization_always_succeeds_and_applies_below() {
    let mut world = World::new();
    let access = json!({ "mode": "restrict", "targets": ["large"], "access_groups": ["basic"] });
    assert_eq!(world.send("team-admin", "PUT", "/teams/search/access", access.clone()).status, 200);
    let taken =
        world.send("platform", "PATCH", "/organizations/acme", json!({ "access": { "targets": null } }));
    assert_eq!(taken.status, 200, "{}", taken.body);
    let shown = world.get("team-admin", "/teams/search/access").body;
    assert_eq!(shown["inert"], json!({ "targets": ["large"], "access_groups": [] }));
    assert_eq!(shown["targets"], json!(["large"]), "what was selected stays");
    let large = shown["preview"].as_array().unwrap().iter().find(|line| line["target"] == "large").unwrap();
    assert_eq!((&large["effective"], &large["refused_by"]), (&json!(false), &json!("organization")));
    // An earlier selection may stay, but cannot be added again.
    assert_eq!(world.send("team-admin", "PUT", "/teams/search/access", access.clone()).status, 200);
    let new = world.send("other-team-admin", "PUT", "/teams/other/access", access);
    assert_eq!((new.status, new.code(), new.pointers()), (400, "not_available", vec!["/targets/0"]));
}

#[test]
fn a_team_can_only_select_what_its_organization_grants() {
    let mut world = World::new();
    for (access, pointers) in [
        (json!({ "mode": "restrict", "targets": ["small", "secret"] }), vec!["/targets/1"]),
        (json!({ "mode": "restrict", "access_groups": ["premium", "unheard-of"] }), vec!["/access_groups/1"]),
        (json!({ "mode": "restrict", "targets": ["gone"] }), vec!["/targets/0"]),
        (json!({ "mode": "inherit", "targets": ["small"] }), vec![""]),
        (json!({ "targets": ["small"] }), vec![""]),
    ] {
        let answer = world.send("team-admin", "PUT", "/teams/search/access", access.clone());
        assert_eq!((answer.status, answer.pointers()), (400, pointers), "{access}: {}", answer.body);
    }
    let team = json!({ "id": "n", "name": "N", "access": { "mode": "restrict", "targets": ["secret"] } });
    let answer = world.send("org-admin", "POST", "/organizations/acme/teams", team);
    assert_eq!((answer.status, answer.pointers()), (400, vec!["/access/targets/0"]));
    let patch = json!({ "access": { "mode": "restrict", "targets": ["secret"] } });
    let answer = world.send("team-admin", "PATCH", "/teams/search", patch);
    assert_eq!((answer.status, answer.pointers()), (400, vec!["/access/targets/0"]));
}

#[test]
fn a_blocked_team_can_still_be_managed() {
    let mut policy = policy();
    policy["teams"]["search"]["state"] = json!("blocked");
    let mut world = World::of(policy);
    let active = world.send("org-admin", "PATCH", "/teams/search", json!({ "state": "active" }));
    assert_eq!(active.status, 200, "{}", active.body);
}
