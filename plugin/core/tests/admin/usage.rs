//! Usage is read from the counters that calls are charged to.

use serde_json::{Value, json};
use tollgate_core::admission::{ActualUsage, AdmissionRequest, Reservation, acquire, settle};
use tollgate_core::auth::identity::check_key;
use tollgate_core::money::Pico;

use super::world::{World, policy};

fn limited() -> World {
    let mut policy = policy();
    policy["organizations"]["acme"]["limits"]["tpd"] = json!(1_000_000);
    policy["teams"]["search"]["limits"] = json!({ "rpm": 100, "tpm": 5_000 });
    policy["teams"]["search"]["target_limits"] = json!({ "small": { "rph": 40 } });
    policy["teams"]["search"]["budget"] = json!({ "max": "10", "soft": "8", "period": "month" });
    policy["teams"]["search"]["member_limits"] = json!({ "rpd": 50 });
    policy["keys"]["developers"]["limits"] = json!({ "rpm": 10 });
    policy["keys"]["developers"]["budget"] = json!({ "max": "2" });
    World::of(policy)
}

/// A call of `small` with the developer's key: 100 tokens and $0.50 reserved; settled to 60 and $0.20 if `ended`.
fn call(world: &mut World, ended: bool) {
    let policy = world.policy.read();
    let key = policy.keys.get(policy.keys.find("developers").unwrap()).unwrap();
    let identity = check_key(&policy, key, world.now.timestamp()).unwrap();
    let principals = identity.principals(&world.gateway.record_keys, policy.target("small"));
    let reservation =
        Reservation { input_tokens: 10, tokens: 100, input_cost: Pico(0), cost: Pico(500_000_000_000) };
    let admitted =
        acquire(&mut world.store, AdmissionRequest { principals, reservation }, world.now).unwrap();
    if ended {
        let actual = ActualUsage { tokens: 60, cost: Pico(200_000_000_000), estimated: false };
        assert!(settle(&mut world.store, admitted.receipt, actual).is_empty());
    }
}

fn window<'a>(usage: &'a Value, name: &str) -> &'a Value {
    usage["limits"].as_array().unwrap().iter().find(|line| line["window"] == name).unwrap()
}

#[test]
fn team_usage_has_used_left_and_reset() {
    let mut world = limited();
    call(&mut world, true);
    call(&mut world, false);
    let usage = world.get("team-admin", "/teams/search/usage").body;
    assert_eq!(usage["team"], "search");
    let rpm = json!({ "window": "rpm", "limit": 100, "used": 2, "left": 98, "resets_in_seconds": 61 });
    assert_eq!(window(&usage, "rpm"), &rpm);
    assert_eq!(window(&usage, "tpm")["used"], 160);
    assert_eq!(usage["target_limits"][0]["target"], "small");
    assert_eq!(usage["target_limits"][0]["used"], 2);
    assert_eq!(usage["target_limits"][0]["limit"], 40);
    let budget = &usage["budget"];
    assert_eq!(
        (&budget["spent"], &budget["estimated"], &budget["left"], &budget["max"], &budget["soft"]),
        (&json!("0.70"), &json!("0.50"), &json!("9.30"), &json!("10.00"), &json!("8.00"))
    );
    // From 2027-01-15T08:00 to the first of February.
    assert_eq!(budget["resets_in_seconds"], 16 * 86_400 + 16 * 3_600);

    world.pass(62);
    let usage = world.get("team-admin", "/teams/search/usage").body;
    assert_eq!(window(&usage, "rpm")["used"], 0, "a window forgets");
    assert_eq!(usage["budget"]["spent"], "0.70", "a budget does not");
}

#[test]
fn key_usage_includes_the_member_limits_of_its_owner() {
    let mut world = limited();
    call(&mut world, true);
    let usage = world.get("developer", "/keys/developers/usage").body;
    assert_eq!((&usage["key"], &window(&usage, "rpm")["left"]), (&json!("developers"), &json!(9)));
    assert_eq!(
        (&usage["budget"]["left"], &usage["budget"]["resets_in_seconds"]),
        (&json!("1.80"), &Value::Null)
    );
    assert_eq!(usage["member"]["user"], "developer");
    assert_eq!(window(&usage["member"], "rpd")["used"], 1);
}

#[test]
fn organization_usage_is_the_sum_of_its_teams() {
    let mut world = limited();
    call(&mut world, true);
    let usage = world.get("billing", "/organizations/acme/usage").body;
    assert_eq!(window(&usage, "tpd")["used"], 60);
    assert_eq!(usage["budget"]["spent"], "0.20");
}

#[test]
fn unlimited_windows_are_not_counted() {
    let mut world = World::new();
    let usage = world.get("platform", "/teams/other/usage").body;
    let Value::Object(mut usage) = usage else { panic!("{usage}") };
    usage.remove("usage");
    assert_eq!(
        Value::Object(usage),
        json!({ "team": "other", "limits": [], "target_limits": [], "budget": null })
    );
}

#[test]
fn a_changed_limit_keeps_the_counters() {
    let mut world = limited();
    call(&mut world, true);
    world.send("team-admin", "PATCH", "/teams/search", json!({ "limits": { "rpm": 50 } }));
    let usage = world.get("team-admin", "/teams/search/usage").body;
    assert_eq!((&window(&usage, "rpm")["used"], &window(&usage, "rpm")["left"]), (&json!(1), &json!(49)));
}

#[test]
fn a_new_key_does_not_reset_the_member_limits() {
    let mut world = limited();
    call(&mut world, true);
    world.send("developer", "DELETE", "/keys/developers", Value::Null);
    let created = world.send("developer", "POST", "/teams/search/keys", json!({ "name": "x" })).body;
    let path = format!("/keys/{}/usage", created["id"].as_str().unwrap());
    let usage = world.get("developer", &path).body;
    assert_eq!(window(&usage["member"], "rpd")["used"], 1);
}
