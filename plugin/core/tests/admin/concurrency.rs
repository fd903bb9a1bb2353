//! Concurrent requests.

use serde_json::{Value, json};
use tollgate_core::admin::{AdminDecision, Decided};

use super::world::{World, request};

/// Gateways that decide against the policy that they last read, and one store that accepts a write only if it was
/// decided against the current policy.
struct Shared {
    world: World,
    position: u64,
}

impl Shared {
    fn decide(
        &mut self,
        person: &str,
        method: &str,
        path: &str,
        body: &Value,
        tag: Option<&str>,
    ) -> (u64, Decided) {
        let mut request = request(person, method, path, body);
        request.if_match = tag.map(str::to_string);
        (self.position, self.world.decide(&request))
    }

    /// Returns the response; `None` after a conflict.
    fn commit(&mut self, (position, decided): (u64, Decided)) -> Option<super::world::Answer> {
        if matches!(decided.outcome, AdminDecision::Write(_)) {
            if position != self.position {
                return None;
            }
            self.position += 1;
        }
        Some(self.world.commit(decided))
    }
}

#[test]
fn no_edit_with_if_match_is_lost() {
    let mut shared = Shared { world: World::new(), position: 0 };
    shared.world.send("team-admin", "PATCH", "/teams/search", json!({ "limits": { "rpd": 1 } }));
    let (mut waiting, mut refused) = (100, 0);
    // In each round, all waiting writers read the same team, and each sends an edit that adds one.
    while waiting > 0 {
        let read = shared.world.get("team-admin", "/teams/search");
        let tag = read.field("etag").unwrap().to_string();
        let edit = json!({ "limits": { "rpd": read.body["limits"]["rpd"].as_u64().unwrap() + 1 } });
        let decided: Vec<_> = (0..waiting)
            .map(|_| shared.decide("team-admin", "PATCH", "/teams/search", &edit, Some(&tag)))
            .collect();
        let mut done = 0;
        for one in decided {
            let answer = shared.commit(one).unwrap_or_else(|| {
                let again = shared.decide("team-admin", "PATCH", "/teams/search", &edit, Some(&tag));
                shared.commit(again).unwrap()
            });
            match answer.status {
                200 => done += 1,
                412 => refused += 1,
                other => panic!("{other}: {}", answer.body),
            }
        }
        assert_eq!(done, 1, "of those who read the same, one wins");
        waiting -= done;
    }
    assert_eq!(refused, 99 * 100 / 2);
    assert_eq!(shared.world.get("team-admin", "/teams/search").body["limits"]["rpd"], 101);
}

#[test]
fn concurrent_creations_respect_the_maximum_number_of_keys() {
    let mut shared = Shared { world: World::new(), position: 0 };
    let body = json!({ "name": "x" });
    // All are decided before any of them is written.
    let mut decided: Vec<_> =
        (0..20).map(|_| shared.decide("developer", "POST", "/teams/search/keys", &body, None)).collect();
    let mut statuses = Vec::new();
    while let Some(one) = decided.pop() {
        match shared.commit(one) {
            Some(answer) => statuses.push(answer.status),
            // After a conflict, the request is decided again.
            None => decided.insert(0, shared.decide("developer", "POST", "/teams/search/keys", &body, None)),
        }
    }
    let created = statuses.iter().filter(|status| **status == 201).count();
    // One of the three keys existed before.
    assert_eq!((created, statuses.iter().filter(|status| **status == 403).count()), (2, 18));
}

#[test]
fn an_entity_tag_covers_only_what_the_caller_sees() {
    let mut world = World::new();
    let tag = |world: &mut World, person: &str| {
        world.get(person, "/teams/search").field("etag").unwrap().to_string()
    };
    let [viewer, admin] = ["viewer", "team-admin"].map(|person| tag(&mut world, person));
    let policy = json!({ "enabled": true, "max_keys_per_user": 1 });
    assert_eq!(world.send("team-admin", "PUT", "/teams/search/self-service", policy).status, 200);
    assert_eq!(tag(&mut world, "viewer"), viewer);
    assert_ne!(tag(&mut world, "team-admin"), admin);
}

#[test]
fn an_entity_tag_is_the_same_until_something_changes() {
    let mut world = World::new();
    for (path, method, body) in [
        ("/teams/search", "PATCH", json!({ "name": "x" })),
        ("/organizations/acme", "PATCH", json!({ "name": "x" })),
        ("/keys/developers", "PATCH", json!({ "name": "x" })),
        ("/teams/search/access", "PUT", json!({ "mode": "restrict" })),
        ("/teams/search/self-service", "PUT", json!({ "enabled": true })),
        ("/teams/search/members/viewer", "PUT", json!({ "role": "team_developer" })),
        ("/organizations/acme/members/viewer", "PUT", json!({ "role": "org_billing" })),
        ("/teams/search/service-accounts/nightly", "PUT", json!({ "name": "x" })),
    ] {
        let tag = world.get("platform", path).field("etag").unwrap().to_string();
        assert_eq!(world.get("platform", path).field("etag"), Some(tag.as_str()), "{path}");
        let stale = world.send_with("platform", method, path, body.clone(), Some("\"other\""));
        assert_eq!(stale.status, 412, "{path}");
        let fresh = world.send_with("platform", method, path, body.clone(), Some(&tag));
        assert_eq!(fresh.status, 200, "{path}: {}", fresh.body);
        assert_ne!(fresh.field("etag"), Some(tag.as_str()), "{path}");
        let again = world.get("platform", path);
        assert_eq!(again.field("etag"), fresh.field("etag"), "{path}");
        assert_eq!(world.send_with("platform", method, path, body, Some(&tag)).status, 412, "{path}");
    }
}

#[test]
fn deletions_and_rotations_check_if_match() {
    let mut world = World::new();
    let tag = world.get("developer", "/keys/developers").field("etag").unwrap().to_string();
    let rotate = |world: &mut World, tag: &str| {
        world.send_with("developer", "POST", "/keys/developers/rotate", json!({}), Some(tag)).status
    };
    assert_eq!(rotate(&mut world, &tag), 201);
    assert_eq!(rotate(&mut world, &tag), 412, "a rotation sent twice rotates once");
    for path in [
        "/keys/developers",
        "/teams/search/members/viewer",
        "/organizations/acme/members/viewer",
        "/teams/empty",
    ] {
        let stale = world.send_with("platform", "DELETE", path, Value::Null, Some("\"old\""));
        assert_eq!(stale.status, 412, "{path}");
        let tag = world.get("platform", path).field("etag").unwrap().to_string();
        let fresh = world.send_with("platform", "DELETE", path, Value::Null, Some(&tag));
        assert_eq!(fresh.status, 204, "{path}");
    }
    let create =
        world.send_with("platform", "POST", "/organizations", json!({ "id": "n", "name": "N" }), Some("*"));
    assert_eq!(create.status, 412, "there is nothing yet that could match");
}

#[test]
fn if_none_match_creates_and_never_changes() {
    let mut world = World::new();
    let mut put = |path: &str, body: Value, field: &str| {
        let mut request = request("platform", "PUT", path, &body);
        request.if_none_match = Some(field.into());
        let decided = world.decide(&request);
        world.commit(decided).status
    };
    for (path, body, other) in [
        ("/teams/search/members/member", json!({ "role": "team_viewer" }), json!({ "role": "team_admin" })),
        ("/organizations/acme/members/new", json!({ "role": "org_member" }), json!({ "role": "org_admin" })),
        ("/teams/search/service-accounts/weekly", json!({ "name": "Weekly" }), json!({ "name": "Other" })),
    ] {
        assert_eq!(put(path, body, "*"), 200, "{path}");
        assert_eq!(put(path, other.clone(), "*"), 412, "{path}");
        assert_eq!(put(path, other.clone(), "nonsense"), 400, "{path}");
        assert_eq!(put(path, other, "\"another\""), 200, "{path}");
    }
    let tag = world.get("platform", "/keys/jobs").field("etag").unwrap().to_string();
    for (method, path) in [("DELETE", "/keys/jobs"), ("POST", "/keys/jobs/rotate"), ("GET", "/keys/jobs")] {
        let mut request = request("platform", method, path, &Value::Null);
        request.if_none_match = Some(tag.clone());
        let decided = world.decide(&request);
        assert_eq!(world.commit(decided).status, if method == "GET" { 200 } else { 412 }, "{method}");
    }
}

#[test]
fn a_repeated_request_changes_nothing_more() {
    let mut world = World::new();
    for (method, path, body) in [
        ("PUT", "/teams/search/members/member", json!({ "role": "team_viewer" })),
        ("PUT", "/organizations/acme/members/new", json!({ "role": "org_member" })),
        ("PUT", "/teams/search/access", json!({ "mode": "restrict", "targets": ["small"] })),
        ("PUT", "/teams/search/self-service", json!({ "enabled": true, "max_expiry_days": 3 })),
        ("PUT", "/teams/search/service-accounts/weekly", json!({ "name": "Weekly" })),
    ] {
        let first = world.send("platform", method, path, body.clone());
        assert_eq!(first.status, 200, "{path}: {}", first.body);
        let decided = world.decide(&request("platform", method, path, &body));
        let AdminDecision::Answer(second) = decided.outcome else { panic!("{path} is written again") };
        assert_eq!(second.status, 200);
        assert_eq!(serde_json::from_str::<Value>(&second.body).unwrap(), first.body);
    }
}
