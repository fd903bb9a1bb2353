//! Keys: creation by admins, changes, rotation and revocation.

use serde_json::{Value, json};
use tollgate_core::auth::identity::authenticate;
use tollgate_core::http::rejection::Rejection;

use super::world::{World, policy};

fn works(world: &World, secret: &str) -> bool {
    authenticate(&world.policy.read(), secret, world.now.timestamp()).is_ok()
}

#[test]
fn a_team_admin_creates_keys_for_others_and_sets_access() {
    let mut world = World::new();
    let access = json!({ "mode": "restrict", "targets": ["small"] });
    let body = json!({ "name": "For you", "owner": "user/developer", "access": access });
    // max_keys_per_user applies to self-service only.
    for _ in 0..4 {
        let created = world.send("team-admin", "POST", "/teams/search/keys", body.clone());
        assert_eq!(created.status, 201, "{}", created.body);
        assert_eq!(created.body["owner"], "user/developer");
        assert_eq!(created.body["access"], access);
    }
    let of_account = json!({ "name": "Jobs", "owner": "service_account/nightly" });
    assert_eq!(world.send("org-admin", "POST", "/teams/search/keys", of_account).status, 201);
}

#[test]
fn the_default_owner_is_the_caller_as_a_member_or_the_team() {
    let mut world = World::new();
    let own = world.send("team-admin", "POST", "/teams/search/keys", json!({ "name": "Mine" }));
    assert_eq!(own.body["owner"], "user/team-admin");
    let teams = world.send("platform", "POST", "/teams/search/keys", json!({ "name": "The team's" }));
    assert_eq!(teams.status, 201);
    assert_eq!(teams.body.get("owner"), None);
}

#[test]
fn keys_of_admins_are_validated_too() {
    for (body, status, pointer) in [
        (json!({ "name": "x", "owner": "user/member" }), 400, "/owner"),
        (json!({ "name": "x", "owner": "user/gone" }), 400, "/owner"),
        (json!({ "name": "x", "limits": { "rpm": 101 } }), 400, "/limits/rpm"),
        (json!({ "name": "x", "expires_at": "2020-01-01T00:00:00Z" }), 400, "/expires_at"),
        (
            json!({ "name": "x", "access": { "mode": "restrict", "targets": ["gone"] } }),
            400,
            "/access/targets/0",
        ),
        (json!({ "name": "x", "digest": "sha256:00" }), 400, "/digest"),
        (json!({ "name": "x", "models": ["small"] }), 400, "/models"),
    ] {
        let answer = World::new().send("team-admin", "POST", "/teams/search/keys", body.clone());
        assert_eq!((answer.status, answer.pointers()), (status, vec![pointer]), "{body}: {}", answer.body);
    }
}

#[test]
fn a_rotation_keeps_everything_but_the_secret() {
    let mut world = World::new();
    let created = world
        .send("team-admin", "POST", "/teams/search/keys", json!({ "name": "x", "limits": { "rpm": 7 } }))
        .body;
    let (id, old) = (created["id"].as_str().unwrap(), created["secret"].as_str().unwrap());
    let rotated = world.send("team-admin", "POST", &format!("/keys/{id}/rotate"), json!({}));
    assert_eq!(rotated.status, 201);
    let new = rotated.body["secret"].as_str().unwrap();
    assert_ne!(new, old);
    for field in ["id", "team", "owner", "name", "limits"] {
        assert_eq!(rotated.body[field], created[field], "{field}");
    }
    assert!(works(&world, new));
    assert!(!works(&world, old), "without a grace period the old secret is dead at once");
}

#[test]
fn a_rotation_does_not_revive_an_expired_key() {
    let mut world = World::new();
    let wish = json!({ "name": "x", "expires_at": world.in_days(1) });
    let created = world.send("developer", "POST", "/teams/search/keys", wish).body;
    world.pass(2 * 86_400);
    let path = format!("/keys/{}/rotate", created["id"].as_str().unwrap());
    let rotated = world.send("developer", "POST", &path, json!({}));
    assert_eq!(rotated.status, 201);
    let policy = world.policy.read();
    let refusal =
        authenticate(&policy, rotated.body["secret"].as_str().unwrap(), world.now.timestamp()).unwrap_err();
    assert_eq!(refusal, Rejection::ExpiredKey);
    assert!(!refusal.message().contains("otate"), "{}", refusal.message());
}

#[test]
fn the_old_secret_is_valid_for_the_grace_period_only() {
    let mut world = World::new();
    let created = world.send("developer", "POST", "/teams/search/keys", json!({ "name": "x" })).body;
    let (id, old) = (created["id"].as_str().unwrap(), created["secret"].as_str().unwrap());
    let path = format!("/keys/{id}/rotate");
    let rotated = world.send("developer", "POST", &path, json!({ "grace_seconds": 60 })).body;
    assert_eq!(rotated["previous"], json!({ "until": "2027-01-15T08:01:00Z" }));
    world.pass(59);
    assert!(works(&world, old));
    world.pass(1);
    assert!(!works(&world, old));
    assert!(works(&world, rotated["secret"].as_str().unwrap()));

    let long = world.send("developer", "POST", &path, json!({ "grace_seconds": 604_801 }));
    assert_eq!((long.status, long.pointers()), (400, vec!["/grace_seconds"]));
    let week = world.send("developer", "POST", &path, json!({ "grace_seconds": 604_800 }));
    assert_eq!(week.status, 201);
    // An empty body is a rotation without a grace period.
    let week = week.body["secret"].as_str().unwrap();
    let refused = world.send("developer", "POST", &path, Value::Null);
    assert_eq!((refused.status, refused.code()), (409, "previous_in_use"), "{}", refused.body);
    let refused =
        world.send("developer", "POST", &path, json!({ "grace_seconds": 60, "end_previous": false }));
    assert_eq!(refused.status, 409);
    assert!(works(&world, week) && works(&world, rotated["secret"].as_str().unwrap()), "nothing has ended");
    let ended = world.send("developer", "POST", &path, json!({ "end_previous": true }));
    assert_eq!(ended.status, 201);
    assert!(!works(&world, week) && !works(&world, rotated["secret"].as_str().unwrap()));
    assert_eq!(world.send("developer", "POST", &path, Value::Null).status, 201);
}

#[test]
fn a_rotation_keeps_the_id_of_an_imported_key() {
    let mut policy = policy();
    policy["keys"]["Legacy.Key@2024"] = json!({
        "team": "search", "owner": "user/developer", "digest": format!("sha256:{}", "ab".repeat(32)),
    });
    let mut world = World::of(policy);
    let rotated = world.send("developer", "POST", "/keys/Legacy.Key%402024/rotate", json!({}));
    assert_eq!((rotated.status, &rotated.body["id"]), (201, &json!("Legacy.Key@2024")));
    assert!(works(&world, rotated.body["secret"].as_str().unwrap()));
}

#[test]
fn a_patch_changes_a_key_but_not_its_identity() {
    let mut world = World::new();
    let patch = json!({ "name": "Renamed", "limits": { "rpm": 3 }, "expires_at": world.in_days(1) });
    let changed = world.send("team-admin", "PATCH", "/keys/developers", patch);
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.body["limits"], json!({ "rpm": 3 }));
    let removed = world.send("team-admin", "PATCH", "/keys/developers", json!({ "limits": null }));
    assert_eq!(removed.body.get("limits"), None);
    assert_eq!(removed.body["name"], "Renamed");
    for (patch, pointer) in [
        (json!({ "owner": "user/viewer" }), "/owner"),
        (json!({ "team": "other" }), "/team"),
        (json!({ "id": "x" }), "/id"),
        (json!({ "digest": format!("sha256:{}", "00".repeat(32)) }), "/digest"),
        (json!({ "previous": null }), "/previous"),
        (json!({ "expires_at": "2020-01-01T00:00:00Z" }), "/expires_at"),
        (json!({ "limits": { "rpm": 0 } }), "/limits/rpm"),
    ] {
        let answer = world.send("team-admin", "PATCH", "/keys/developers", patch.clone());
        assert_eq!((answer.status, answer.pointers()), (400, vec![pointer]), "{patch}: {}", answer.body);
    }
    // A representation may be sent back.
    let mut shown = world.get("team-admin", "/keys/developers").body;
    shown["name"] = json!("Again");
    assert_eq!(world.send("team-admin", "PATCH", "/keys/developers", shown).status, 200);
}

#[test]
fn a_revoked_key_is_deleted() {
    let mut world = World::new();
    let created = world.send("developer", "POST", "/teams/search/keys", json!({ "name": "x" })).body;
    let path = format!("/keys/{}", created["id"].as_str().unwrap());
    assert_eq!(world.send("developer", "DELETE", &path, Value::Null).status, 204);
    assert!(!works(&world, created["secret"].as_str().unwrap()));
    assert_eq!(world.send("developer", "DELETE", &path, Value::Null).status, 404);
    assert_eq!(world.get("developer", &path).status, 404);
}
