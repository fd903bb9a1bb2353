//! Self-service keys: tests for each row of the README's table and for their order.

use serde_json::{Value, json};

use super::world::{Answer, World, policy};

/// A team that requires everything.
fn strict() -> World {
    let mut policy = policy();
    policy["teams"]["search"]["self_service"] = json!({
        "enabled": true, "max_keys_per_user": 3, "budget_ceiling": "20.00", "require_expiry": true,
        "max_expiry_days": 30,
    });
    World::of(policy)
}

fn with(self_service: Value) -> World {
    let mut policy = policy();
    policy["teams"]["search"]["self_service"] = self_service;
    World::of(policy)
}

fn create(world: &mut World, body: Value) -> Answer {
    world.send("developer", "POST", "/teams/search/keys", body)
}

/// A body that [`strict`] allows.
fn allowed(world: &World) -> Value {
    json!({
        "name": "Laptop", "budget": { "max": "20.00", "period": "month" }, "expires_at": world.in_days(30),
        "limits": { "rpm": 100 },
    })
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, pointers: &[&str]) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.body);
    assert_eq!(answer.pointers(), pointers, "{}", answer.body);
}

#[test]
fn an_allowed_key_is_created_and_its_secret_returned_once() {
    let mut world = strict();
    let body = allowed(&world);
    let created = create(&mut world, body);
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.body["owner"], "user/developer");
    assert_eq!(created.body["team"], "search");
    assert!(created.body.get("access").is_none());
    let secret = created.body["secret"].as_str().unwrap();
    let id = created.body["id"].as_str().unwrap();
    assert!(secret.starts_with(&format!("sk-tg-{id}-")), "{secret}");
    assert_eq!(created.field("location"), Some(format!("/tollgate/v1/keys/{id}").as_str()));
    let shown = world.get("developer", &format!("/keys/{id}")).body;
    assert!(shown.get("secret").is_none() && shown.get("digest").is_none(), "{shown}");

    let policy = world.policy.read();
    let digest = tollgate_core::secret::api_key::digest(secret.as_bytes());
    assert_eq!(policy.key_by_digest(&digest, world.now.timestamp()).map(|(_, key)| &*key.id), Some(id));
}

#[test]
fn row_1_authentication() {
    let answer = World::new().send("anonymous", "POST", "/teams/search/keys", json!({ "name": "Laptop" }));
    refused(&answer, 401, "not_signed_in", &[]);
}

#[test]
fn row_2_a_name_and_a_team() {
    for body in [
        json!({}),
        json!({ "name": "" }),
        json!({ "name": " \u{a0} " }),
        json!({ "name": 7 }),
        json!({ "name": "a\nb" }),
    ] {
        refused(&create(&mut World::new(), body), 400, "name_required", &["/name"]);
    }
    let answer = World::new().send("developer", "POST", "/teams/gone/keys", json!({ "name": "Laptop" }));
    refused(&answer, 404, "not_found", &[]);
    // The name is checked before the team.
    let answer = World::new().send("developer", "POST", "/teams/gone/keys", json!({}));
    refused(&answer, 400, "name_required", &["/name"]);
}

#[test]
fn row_3_a_role_that_creates_keys_in_that_team() {
    let create =
        |person| World::new().send(person, "POST", "/teams/search/keys", json!({ "name": "Laptop" }));
    for person in ["viewer", "member", "other-team-admin", "billing", "auditor"] {
        refused(&create(person), 403, "not_allowed", &[]);
    }
    refused(&create("foreign-owner"), 404, "not_found", &[]);
}

#[test]
fn row_4_self_service_is_enabled() {
    let mut policy = policy();
    policy["teams"]["search"].as_object_mut().unwrap().remove("self_service");
    refused(&create(&mut World::of(policy), json!({ "name": "Laptop" })), 403, "self_service_disabled", &[]);
    let mut off = with(json!({ "enabled": false, "max_keys_per_user": 9 }));
    refused(&create(&mut off, json!({ "name": "Laptop" })), 403, "self_service_disabled", &[]);
}

#[test]
fn row_5_no_more_active_keys_than_allowed() {
    let mut world = World::new();
    // One key exists already.
    let second = create(&mut world, json!({ "name": "2" }));
    let tomorrow = world.in_days(1);
    let third = create(&mut world, json!({ "name": "3", "expires_at": tomorrow }));
    assert_eq!((second.status, third.status), (201, 201));
    refused(&create(&mut world, json!({ "name": "4" })), 403, "too_many_keys", &[]);

    // Keys of other owners do not count.
    assert_eq!(world.get("team-admin", "/teams/search/keys").body["items"].as_array().unwrap().len(), 5);

    // A blocked key counts.
    let path = format!("/keys/{}", second.body["id"].as_str().unwrap());
    assert_eq!(world.send("team-admin", "PATCH", &path, json!({ "state": "blocked" })).status, 200);
    refused(&create(&mut world, json!({ "name": "4" })), 403, "too_many_keys", &[]);

    // A revoked one does not.
    assert_eq!(world.send("developer", "DELETE", &path, Value::Null).status, 204);
    assert_eq!(create(&mut world, json!({ "name": "4" })).status, 201);
    refused(&create(&mut world, json!({ "name": "5" })), 403, "too_many_keys", &[]);

    // An expired one does not, from the second of its expiry on.
    world.pass(86_399);
    refused(&create(&mut world, json!({ "name": "5" })), 403, "too_many_keys", &[]);
    world.pass(1);
    assert_eq!(create(&mut world, json!({ "name": "5" })).status, 201);
}

#[test]
fn row_6_a_budget_within_the_ceiling() {
    let budget = |budget: Value| {
        let mut world = strict();
        let mut body = allowed(&world);
        match budget {
            Value::Null => body.as_object_mut().unwrap().remove("budget"),
            budget => body.as_object_mut().unwrap().insert("budget".into(), budget),
        };
        create(&mut world, body)
    };
    refused(&budget(Value::Null), 400, "invalid_budget", &["/budget"]);
    for max in [json!("-1"), json!("1e3"), json!("NaN"), json!("Infinity"), json!(""), json!(5), json!(null)]
    {
        refused(&budget(json!({ "max": max, "period": "month" })), 400, "invalid_budget", &["/budget/max"]);
    }
    refused(&budget(json!({ "period": "month" })), 400, "invalid_budget", &["/budget"]);
    let above = budget(json!({ "max": "20.01", "period": "month" }));
    refused(&above, 400, "invalid_budget", &["/budget/max"]);
    for period in ["hour", "day", "week"] {
        let answer = budget(json!({ "max": "1", "period": period }));
        refused(&answer, 400, "invalid_budget", &["/budget/period"]);
    }
    for given in [json!({ "max": "20.00", "period": "month" }), json!({ "max": "0" })] {
        assert_eq!(budget(given).status, 201);
    }
}

#[test]
fn row_6_without_a_ceiling_only_the_levels_above_bound_a_budget() {
    let mut world = World::new();
    assert_eq!(create(&mut world, json!({ "name": "Laptop" })).status, 201);
    let hourly = json!({ "name": "Laptop", "budget": { "max": "5", "period": "hour" } });
    assert_eq!(create(&mut world, hourly).status, 201);
    let above = json!({ "name": "Laptop", "budget": { "max": "1000.01", "period": "month" } });
    refused(&create(&mut World::new(), above), 400, "invalid_budget", &["/budget/max"]);
}

#[test]
fn row_7_an_expiry_within_the_maximum() {
    let expiry = |policy: Value, expires_at: Value| {
        let mut world = with(policy);
        let mut body = json!({ "name": "Laptop" });
        if !expires_at.is_null() {
            body["expires_at"] = expires_at;
        }
        create(&mut world, body)
    };
    let world = World::new();
    let required = json!({ "enabled": true, "require_expiry": true });
    let bounded = json!({ "enabled": true, "max_expiry_days": 30 });
    let free = json!({ "enabled": true });
    let at = &["/expires_at"];
    refused(&expiry(required.clone(), Value::Null), 400, "invalid_expiry", at);
    refused(&expiry(bounded.clone(), Value::Null), 400, "invalid_expiry", at);
    assert_eq!(expiry(free.clone(), Value::Null).status, 201);
    for wrong in ["tomorrow", "2027-02-01", "2027-02-30T00:00:00Z", ""] {
        refused(&expiry(free.clone(), json!(wrong)), 400, "invalid_expiry", at);
    }
    refused(&expiry(free.clone(), json!(1_900_000_000)), 400, "invalid_expiry", at);
    refused(&expiry(free.clone(), json!(world.in_days(0))), 400, "invalid_expiry", at);
    refused(&expiry(free.clone(), json!("2026-01-01T00:00:00Z")), 400, "invalid_expiry", at);
    refused(&expiry(bounded.clone(), json!(world.in_days(31))), 400, "invalid_expiry", at);
    assert_eq!(expiry(bounded, json!(world.in_days(30))).status, 201);
    assert_eq!(expiry(required, json!(world.in_days(3_000))).status, 201);
}

#[test]
fn row_8_limits_are_positive_and_within_the_nearest_above() {
    for (limits, pointer) in [
        (json!({ "rpm": 0 }), "/limits/rpm"),
        (json!({ "rpm": -1 }), "/limits/rpm"),
        (json!({ "rpm": 1.5 }), "/limits/rpm"),
        (json!({ "rpm": "10" }), "/limits/rpm"),
        (json!({ "rps": 10 }), "/limits/rps"),
        // Limits of the team.
        (json!({ "rpm": 101 }), "/limits/rpm"),
        // Limits of the organization; the team sets none of these.
        (json!({ "rpd": 100_001 }), "/limits/rpd"),
    ] {
        let answer = create(&mut World::new(), json!({ "name": "Laptop", "limits": limits }));
        refused(&answer, 400, "invalid_limits", &[pointer]);
    }
    let most = json!({ "name": "Laptop", "limits": { "rpm": 100, "rpd": 100_000, "tpm": 1 } });
    assert_eq!(create(&mut World::new(), most).status, 201);
}

#[test]
fn row_8_member_limits_take_precedence_over_team_limits() {
    let mut policy = policy();
    policy["teams"]["search"]["member_limits"] = json!({ "rpm": 10 });
    let answer = create(&mut World::of(policy), json!({ "name": "Laptop", "limits": { "rpm": 11 } }));
    refused(&answer, 400, "invalid_limits", &["/limits/rpm"]);
    let says =
        "rpm of 11 exceeds the 10 of team `search` for each member: lower this limit, or raise that one";
    assert_eq!(answer.body["detail"], says);
}

#[test]
fn row_9_neither_owner_nor_access_is_chosen() {
    for (field, value) in [
        ("owner", json!("user/team-admin")),
        ("owner", json!("service_account/nightly")),
        ("access", json!({ "mode": "restrict", "targets": ["small"] })),
        ("state", json!("active")),
    ] {
        let answer = create(&mut World::new(), json!({ "name": "Laptop", field: value }));
        refused(&answer, 400, "not_choosable", &[&format!("/{field}")]);
    }
    let as_it_is = json!({ "name": "Laptop", "owner": "user/developer", "access": { "mode": "inherit" }, "team": "search" });
    assert_eq!(create(&mut World::new(), as_it_is).status, 201);
}

#[test]
fn the_first_failing_row_determines_the_response() {
    let mut policy = policy();
    policy["teams"]["search"]["self_service"] = json!({
        "enabled": false, "max_keys_per_user": 1, "budget_ceiling": "20.00", "max_expiry_days": 30,
    });
    let mut world = World::of(policy);
    // Every row fails at first; they are fixed one after another.
    let mut body = json!({
        "budget": { "max": "21" }, "expires_at": "never", "limits": { "rpm": 0 }, "owner": "user/owner",
    });
    refused(&world.send("anonymous", "POST", "/teams/gone/keys", body.clone()), 401, "not_signed_in", &[]);
    refused(
        &world.send("viewer", "POST", "/teams/gone/keys", body.clone()),
        400,
        "name_required",
        &["/name"],
    );
    body["name"] = json!("Laptop");
    refused(&world.send("viewer", "POST", "/teams/gone/keys", body.clone()), 404, "not_found", &[]);
    refused(&world.send("viewer", "POST", "/teams/search/keys", body.clone()), 403, "not_allowed", &[]);
    refused(&create(&mut world, body.clone()), 403, "self_service_disabled", &[]);
    let mut on =
        json!({ "enabled": true, "max_keys_per_user": 1, "budget_ceiling": "20.00", "max_expiry_days": 30 });
    world.send("team-admin", "PUT", "/teams/search/self-service", on.clone());
    refused(&create(&mut world, body.clone()), 403, "too_many_keys", &[]);
    on["max_keys_per_user"] = json!(2);
    world.send("team-admin", "PUT", "/teams/search/self-service", on);
    refused(&create(&mut world, body.clone()), 400, "invalid_budget", &["/budget/max"]);
    body["budget"] = json!({ "max": "20" });
    refused(&create(&mut world, body.clone()), 400, "invalid_expiry", &["/expires_at"]);
    body["expires_at"] = json!(world.in_days(30));
    refused(&create(&mut world, body.clone()), 400, "invalid_limits", &["/limits/rpm"]);
    body["limits"] = json!({ "rpm": 1 });
    refused(&create(&mut world, body.clone()), 400, "not_choosable", &["/owner"]);
    body.as_object_mut().unwrap().remove("owner");
    assert_eq!(create(&mut world, body).status, 201);
}

#[test]
fn each_row_has_its_own_message() {
    let mut world = strict();
    let mut messages = Vec::new();
    let mut note = |answer: Answer| messages.push(answer.body["detail"].as_str().unwrap().to_string());
    note(world.send("anonymous", "POST", "/teams/search/keys", json!({ "name": "Laptop" })));
    note(create(&mut world, json!({})));
    note(world.send("developer", "POST", "/teams/gone/keys", json!({ "name": "Laptop" })));
    note(world.send("viewer", "POST", "/teams/search/keys", json!({ "name": "Laptop" })));
    note(create(&mut with(json!({ "enabled": false })), json!({ "name": "Laptop" })));
    note(create(&mut with(json!({ "enabled": true, "max_keys_per_user": 0 })), json!({ "name": "Laptop" })));
    note(create(&mut world, json!({ "name": "Laptop" })));
    let budget = json!({ "max": "1" });
    note(create(&mut world, json!({ "name": "Laptop", "budget": budget })));
    let expires_at = world.in_days(1);
    let limits = json!({ "rpm": 0 });
    note(create(
        &mut world,
        json!({ "name": "Laptop", "budget": budget, "expires_at": expires_at, "limits": limits }),
    ));
    let owner = "user/owner";
    note(create(
        &mut world,
        json!({ "name": "Laptop", "budget": budget, "expires_at": expires_at, "owner": owner }),
    ));
    let mut distinct = messages.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), messages.len(), "{messages:#?}");
}

#[test]
fn a_gateway_without_durability_creates_no_keys() {
    let mut world = World::new();
    world.durability = tollgate_core::admin::Durability::No;
    refused(&create(&mut world, json!({ "name": "Laptop" })), 503, "keys_not_kept", &[]);
    let rotation = world.send("developer", "POST", "/keys/developers/rotate", json!({}));
    refused(&rotation, 503, "keys_not_kept", &[]);
    // All other writes succeed.
    assert_eq!(world.send("developer", "DELETE", "/keys/developers", Value::Null).status, 204);
    world.durability = tollgate_core::admin::Durability::Durable;
    assert_eq!(create(&mut world, json!({ "name": "Laptop" })).status, 201);
}
