//! Allowances that neither new keys nor ids used again renew.

use serde_json::{Value, json};
use tollgate_core::admin::AdminDecision;
use tollgate_core::admission::{AdmissionError, AdmissionRequest, Reservation, acquire};
use tollgate_core::auth::identity::check_key;
use tollgate_core::counters::{CounterStore, RecordKey, StoreError, Update};
use tollgate_core::money::Pico;
use tollgate_core::policy::PolicyLoader;

use super::world::{World, policy, request};

const DOLLAR: u128 = 1_000_000_000_000;
const DAY: u64 = 86_400;

/// A team whose developers may have two keys of up to $10.
fn world() -> World {
    let mut policy = policy();
    policy["teams"]["search"]["self_service"] =
        json!({ "enabled": true, "max_keys_per_user": 2, "budget_ceiling": "10" });
    World::of(policy)
}

/// Charges a call with a key; returns the label of the limit that refuses it.
fn spend(world: &mut World, key: &str, dollars: u128) -> Result<(), String> {
    let policy = world.policy.read();
    let key = policy.keys.get(policy.keys.find(key).unwrap()).unwrap();
    let identity = check_key(&policy, key, world.now.timestamp()).unwrap();
    let principals = identity.principals(&world.gateway.record_keys, policy.target("small"));
    let cost = Pico(dollars * DOLLAR);
    let reservation = Reservation { input_tokens: 1, tokens: 1, cost, ..Reservation::default() };
    match acquire(&mut world.store, AdmissionRequest { principals, reservation }, world.now) {
        Ok(_) => Ok(()),
        Err(refused) => match refused.error {
            AdmissionError::Denied(exceeded) => Err(exceeded.label().to_string()),
            AdmissionError::Store(error) => panic!("{error}"),
        },
    }
}

/// Creates a key of $10 in `search`; returns its id.
fn create(world: &mut World, person: &str, period: &str) -> String {
    let body = json!({ "name": "x", "budget": { "max": "10", "period": period } });
    let created = world.send(person, "POST", "/teams/search/keys", body);
    assert_eq!(created.status, 201, "{}", created.body);
    created.body["id"].as_str().unwrap().to_string()
}

fn revoke(world: &mut World, person: &str, key: &str) {
    assert_eq!(world.send(person, "DELETE", &format!("/keys/{key}"), Value::Null).status, 204);
}

#[test]
fn replacing_keys_gives_no_fresh_budget() {
    for (period, renewed) in [("month", true), ("lifetime", false)] {
        let mut world = world();
        revoke(&mut world, "developer", "developers");
        let mut spent = 0;
        let refused = loop {
            let key = create(&mut world, "developer", period);
            if let Err(label) = spend(&mut world, &key, 10) {
                break (label, key);
            }
            spent += 10;
            assert_eq!(spend(&mut world, &key, 1).unwrap_err(), "key_budget");
            revoke(&mut world, "developer", &key);
        };
        let (label, key) = refused;
        assert_eq!(
            (spent, label.as_str()),
            (20, "member_budget"),
            "two keys of ten dollars, whatever their number"
        );
        let rotated = world.send("developer", "POST", &format!("/keys/{key}/rotate"), json!({}));
        assert_eq!(rotated.status, 201, "{}", rotated.body);
        assert!(spend(&mut world, &key, 1).is_err(), "nor does a rotation renew it");
        let usage = world.get("developer", &format!("/keys/{key}/usage")).body;
        let budget = &usage["self_service"]["budget"];
        assert_eq!((&budget["max"], &budget["left"]), (&json!("20.00"), &json!("0.00")), "{usage}");
        assert_eq!(usage["self_service"]["user"], "developer");
        assert_eq!(usage["budget"]["left"], "10.00");

        // The keys of an admin are the admin's decision, and another person's are that person's.
        let granted = create(&mut world, "team-admin", period);
        assert_eq!(spend(&mut world, &granted, 10), Ok(()));
        let own = world.get("team-admin", &format!("/keys/{granted}")).body;
        assert_eq!(own.get("self_service"), None);

        world.pass(31 * DAY);
        assert_eq!(spend(&mut world, &key, 10).is_ok(), renewed, "{period}");
    }
}

#[test]
fn removing_and_adding_a_member_gives_no_fresh_budget() {
    let mut world = world();
    let key = create(&mut world, "developer", "lifetime");
    spend(&mut world, &key, 10).unwrap();
    let member = "/teams/search/members/developer";
    assert_eq!(world.send("team-admin", "DELETE", member, Value::Null).status, 204);
    assert_eq!(world.send("team-admin", "PUT", member, json!({ "role": "team_developer" })).status, 200);
    let keys = [create(&mut world, "developer", "lifetime"), create(&mut world, "developer", "lifetime")];
    assert_eq!(spend(&mut world, &keys[0], 10), Ok(()));
    assert_eq!(spend(&mut world, &keys[1], 10).unwrap_err(), "member_budget");
}

#[test]
fn one_members_own_budget_and_limits_replace_those_of_each_member() {
    let mut policy = policy();
    policy["teams"]["search"]["member_budget"] = json!({ "max": "10", "period": "month" });
    policy["teams"]["search"]["member_limits"] = json!({ "rpm": 3, "rpd": 50 });
    let mut world = World::of(policy);
    assert_eq!(spend(&mut world, "developers", 10), Ok(()));
    assert_eq!(spend(&mut world, "developers", 1).unwrap_err(), "member_budget");
    // The use before counts against the own budget.
    let member = "/teams/search/members/developer";
    let own = json!({
        "role": "team_developer", "limits": { "rpm": 5 }, "budget": { "max": "30.00", "period": "month" },
    });
    let put = world.send("team-admin", "PUT", member, own.clone());
    assert_eq!(put.status, 200, "{}", put.body);
    let mut shown = own;
    shown
        .as_object_mut()
        .unwrap()
        .extend([("user".into(), json!("developer")), ("name".into(), json!("developer"))]);
    assert_eq!(put.body, shown);
    assert_eq!(world.get("developer", member).body, shown);
    let listed = world.get("developer", "/teams/search/members").body;
    assert_eq!(listed["items"][0], shown);
    assert_eq!(spend(&mut world, "developers", 20), Ok(()));
    assert_eq!(spend(&mut world, "developers", 1).unwrap_err(), "member_budget");
    let usage = world.get("developer", &format!("{member}/usage")).body;
    assert_eq!((&usage["budget"]["max"], &usage["budget"]["spent"]), (&json!("30.00"), &json!("30.00")));
    let limits: Vec<_> = usage["limits"].as_array().unwrap().iter().map(|line| &line["limit"]).collect();
    assert_eq!(limits, [&json!(5), &json!(50)], "each window that it does not set is that of each member");
    // Another member has the team's.
    assert_eq!(spend(&mut world, "admins", 11).unwrap_err(), "member_budget");
    // A key of the member lies within its own limits.
    let key = json!({ "limits": { "rpm": 6 } });
    let refused = world.send("team-admin", "PATCH", "/keys/developers", key);
    assert_eq!((refused.status, refused.pointers()), (400, vec!["/limits/rpm"]), "{}", refused.body);
    assert!(refused.body["detail"].to_string().contains("developer"), "{}", refused.body);
    let key = json!({ "limits": { "rpm": 5 } });
    assert_eq!(world.send("team-admin", "PATCH", "/keys/developers", key.clone()).status, 200);
    // Its end is that of the key's limits above it.
    let plain = json!({ "role": "team_developer" });
    let refused = world.send("team-admin", "PUT", member, plain.clone());
    assert_eq!(
        (refused.status, refused.body["errors"][0]["policy_pointer"].clone()),
        (409, json!("/keys/developers/limits/rpm"))
    );
    world.send("team-admin", "PATCH", "/keys/developers", json!({ "limits": null }));
    assert_eq!(world.send("team-admin", "PUT", member, plain).status, 200);
    assert_eq!(world.document()["teams"]["search"]["members"]["developer"], "team_developer");
    assert_eq!(spend(&mut world, "developers", 1).unwrap_err(), "member_budget");
}

#[test]
fn a_members_own_limits_lie_within_the_teams_and_are_set_by_its_admins() {
    let mut world = World::new();
    let member = "/teams/search/members/developer";
    let own = |limits: Value| json!({ "role": "team_developer", "limits": limits });
    for (limits, pointer) in [
        (json!({ "rpm": 101 }), "/limits/rpm"),
        (json!({ "rpm": 0 }), "/limits/rpm"),
        (json!({ "rps": 1 }), "/limits/rps"),
    ] {
        let refused = world.send("team-admin", "PUT", member, own(limits));
        assert_eq!((refused.status, refused.pointers()), (400, vec![pointer]), "{}", refused.body);
    }
    assert_eq!(world.send("developer", "PUT", member, own(json!({ "rpm": 100 }))).status, 403);
    assert_eq!(world.send("team-admin", "PUT", member, own(json!({ "rpm": 100 }))).status, 200);
    assert_eq!(world.send("team-admin", "PUT", member, own(Value::Null)).status, 200);
    assert_eq!(world.document()["teams"]["search"]["members"]["developer"], "team_developer");
}

#[test]
fn the_mark_of_a_self_service_key_is_neither_chosen_nor_removed() {
    let mut world = world();
    let body = json!({ "name": "x", "self_service": false });
    assert_eq!(world.send("team-admin", "POST", "/teams/search/keys", body).status, 400);
    let key = create(&mut world, "developer", "month");
    let path = format!("/keys/{key}");
    for (body, status) in [
        (json!({ "self_service": false }), 400),
        (json!({ "self_service": null }), 400),
        (json!({ "self_service": true, "name": "y" }), 200),
        (json!({ "created": 7 }), 400),
    ] {
        assert_eq!(world.send("team-admin", "PATCH", &path, body.clone()).status, status, "{body}");
    }
    assert_eq!(world.get("developer", &path).body["self_service"], true);
}

#[test]
fn a_check_warns_about_a_ceiling_without_a_number_of_keys() {
    let warnings = |self_service: Value| {
        let mut policy = policy();
        policy["teams"]["search"]["self_service"] = self_service;
        let mut loader = PolicyLoader::default();
        loader.push(policy.to_string().as_bytes());
        let (_, warnings) = loader.finish().unwrap();
        warnings.into_iter().map(|warning| warning.pointer).collect::<Vec<_>>()
    };
    let place = "/teams/search/self_service/budget_ceiling";
    assert_eq!(warnings(json!({ "enabled": true, "budget_ceiling": "10" })), [place]);
    for right in [
        json!({ "enabled": true, "budget_ceiling": "10", "max_keys_per_user": 1 }),
        json!({ "enabled": false, "budget_ceiling": "10" }),
        json!({ "enabled": true }),
    ] {
        assert_eq!(warnings(right.clone()), [""; 0], "{right}");
    }
}

/// Creates the team `again` with a limited member, and a key of the member.
fn create_team(world: &mut World) -> String {
    let team = json!({
        "id": "again", "name": "Again", "limits": { "rpd": 10 },
        "budget": { "max": "10", "period": "lifetime" },
        "member_budget": { "max": "10", "period": "lifetime" },
    });
    assert_eq!(world.send("org-admin", "POST", "/organizations/acme/teams", team).status, 201);
    let role = json!({ "role": "team_developer" });
    assert_eq!(world.send("org-admin", "PUT", "/teams/again/members/developer", role).status, 200);
    let key = json!({ "name": "x", "owner": "user/developer" });
    let created = world.send("org-admin", "POST", "/teams/again/keys", key);
    assert_eq!(created.status, 201, "{}", created.body);
    created.body["id"].as_str().unwrap().to_string()
}

#[test]
fn an_id_used_again_inherits_no_counters() {
    let mut world = World::new();
    let key = create_team(&mut world);
    assert_eq!(spend(&mut world, &key, 10), Ok(()));
    assert!(spend(&mut world, &key, 1).is_err());
    revoke(&mut world, "org-admin", &key);
    assert_eq!(world.send("org-admin", "DELETE", "/teams/again", Value::Null).status, 204);
    world.pass(1);
    let key = create_team(&mut world);
    let usage = world.get("owner", "/teams/again/usage").body;
    assert_eq!(
        (&usage["budget"]["spent"], &usage["limits"][0]["used"]),
        (&json!("0.00"), &json!(0)),
        "{usage}"
    );
    let usage = world.get("owner", &format!("/keys/{key}/usage")).body;
    assert_eq!(usage["member"]["budget"]["spent"], "0.00", "{usage}");
    assert_eq!(spend(&mut world, &key, 10), Ok(()));
    let usage = world.get("owner", "/teams/again/usage").body;
    assert_eq!(usage["budget"]["spent"], "10.00");
}

#[test]
fn an_organization_does_not_inherit_the_audit_log_of_an_earlier_one() {
    let mut world = World::new();
    let mut logs = Vec::new();
    for _ in 0..2 {
        let new = json!({ "id": "initech", "name": "Initech" });
        assert_eq!(world.send("platform", "POST", "/organizations", new).status, 201);
        let patch = json!({ "name": "Initech Ltd" });
        assert_eq!(world.send("platform", "PATCH", "/organizations/initech", patch).status, 200);
        let request = request("platform", "GET", "/audit?organization=initech", &Value::Null);
        let AdminDecision::Audit(query) = world.decide(&request).outcome else { panic!("a page") };
        assert_eq!(world.send("platform", "DELETE", "/organizations/initech", Value::Null).status, 204);
        // After its end only the platform's log can be read.
        assert_eq!(world.audit.pop().map(|entry| entry.log_name().map(String::from)), Some(None));
        for entry in world.audit.drain(..) {
            assert_eq!(entry.log_name().as_deref(), query.organization.as_deref(), "{entry:?}");
            assert_eq!(entry.organization.as_deref(), Some("initech"));
        }
        logs.push(query.organization);
        world.pass(1);
    }
    assert_ne!(logs[0], logs[1]);
}

#[test]
fn the_records_that_are_created_in_a_process_are_bounded_in_each_organization() {
    let mut world = World::new();
    let name = RecordKey::new("tollgate/1/", &["created", "acme"]);
    let written = world.store.update_bytes::<_, StoreError>(&name, |_, bytes| {
        assert!(bytes.is_empty());
        *bytes = 99_998_u64.to_le_bytes().to_vec();
        Ok(Update::Write(()))
    });
    written.unwrap();
    let new = |world: &mut World, person: &str, team: &str| {
        world.send(person, "POST", &format!("/teams/{team}/keys"), json!({ "name": "x" }))
    };
    for _ in 0..2 {
        let created = new(&mut world, "org-admin", "search");
        assert_eq!(created.status, 201, "{}", created.body);
        revoke(&mut world, "org-admin", created.body["id"].as_str().unwrap());
    }
    let refused = new(&mut world, "org-admin", "search");
    assert_eq!((refused.status, refused.code()), (503, "too_many_created"));
    assert_eq!(world.audit.last().unwrap().reason.as_deref(), Some("too_many_created"));
    let team = json!({ "id": "again", "name": "Again" });
    assert_eq!(world.send("org-admin", "POST", "/organizations/acme/teams", team).status, 503);
    assert_eq!(new(&mut world, "foreign-owner", "lab").status, 201, "another organization");
    let patch = json!({ "name": "Find" });
    assert_eq!(world.send("team-admin", "PATCH", "/teams/search", patch).status, 200, "nothing is created");
    revoke(&mut world, "developer", "developers");
}

#[test]
fn records_without_a_number_keep_the_names_of_their_counters() {
    let names = |policy: Value, key: &str| {
        let world = World::of(policy);
        let policy = world.policy.read();
        let key = policy.keys.get(policy.keys.find(key).unwrap()).unwrap();
        let identity = check_key(&policy, key, world.now.timestamp()).unwrap();
        let principals = identity.principals(&world.gateway.record_keys, None);
        principals.iter().map(|principal| principal.record.as_str().to_string()).collect::<Vec<_>>()
    };
    let mut document = policy();
    document["keys"]["developers"]["limits"] = json!({ "rpm": 1 });
    document["users"]["developer"]["limits"] = json!({ "rpm": 2 });
    document["teams"]["search"]["member_limits"] = json!({ "rpm": 2 });
    let plain = [
        "tollgate/1/key/developers",
        "tollgate/1/member/search/developer",
        "tollgate/1/user/acme/developer",
        "tollgate/1/team/search",
        "tollgate/1/organization/acme",
    ];
    assert_eq!(names(document.clone(), "developers"), plain);
    for (section, id) in
        [("keys", "developers"), ("users", "developer"), ("teams", "search"), ("organizations", "acme")]
    {
        document[section][id]["created"] = json!(5);
    }
    let numbered = [
        "tollgate/1/key/developers~5",
        "tollgate/1/member/search~5/developer~5",
        "tollgate/1/user/acme~5/developer~5",
        "tollgate/1/team/search~5",
        "tollgate/1/organization/acme~5",
    ];
    assert_eq!(names(document, "developers"), numbered);
}

#[test]
fn the_number_of_a_record_is_neither_chosen_nor_changed() {
    let mut world = World::new();
    let team = json!({ "id": "again", "name": "Again", "created": 1 });
    let refused = world.send("org-admin", "POST", "/organizations/acme/teams", team);
    assert_eq!((refused.status, refused.pointers()), (400, vec!["/created"]), "{}", refused.body);
    create_team(&mut world);
    let created = world.get("org-admin", "/teams/again").body["created"].clone();
    assert_eq!(created, world.now.timestamp().0);
    world.pass(5);
    for (sent, status) in [(json!(1), 400), (created.clone(), 200), (Value::Null, 200)] {
        let patch = json!({ "name": format!("Again {status}"), "created": sent });
        assert_eq!(world.send("org-admin", "PATCH", "/teams/again", patch).status, status, "{sent}");
        assert_eq!(world.get("org-admin", "/teams/again").body["created"], created);
    }
    let put = json!({ "name": "Nightly", "state": "blocked" });
    let account = "/teams/again/service-accounts/weekly";
    let first = world.send("org-admin", "PUT", account, put.clone()).body["created"].clone();
    world.pass(5);
    let again = world.send("org-admin", "PUT", account, json!({ "name": "Weekly" })).body;
    assert_eq!((&again["created"], &again["name"]), (&first, &json!("Weekly")));
    let inline = world.send("org-admin", "PATCH", "/teams/search", json!({ "name": "Find" })).body;
    assert_eq!(inline.get("created"), None, "a record of the inline policy has none");
}
