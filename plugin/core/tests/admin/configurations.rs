//! Several configurations in one process, under one prefix.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tollgate_core::auth::identity::authenticate;
use tollgate_core::config;
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::SharedDataStore;
use tollgate_core::replication::{DELTA_SLOTS, Effect, PolicyStore};
use tollgate_core::secret::api_key;
use tollgate_core::time::{Now, SECOND};

use super::support::Map;
use super::world::{START, policy, request};

type Store = SharedDataStore<Map>;

const NOW: Now = Now { wall: START, monotonic: SECOND };

/// A configuration in one VM.
pub struct Vm {
    pub gateway: GatewayConfig,
    pub policies: PolicyStore,
    pub store: Store,
}

impl Vm {
    pub fn load(map: &Map, policy: &Value) -> Vm {
        Vm::configure(map, &json!({ "policy": policy, "volatile_keys": true }))
    }

    pub fn configure(map: &Map, configuration: &Value) -> Vm {
        let mut loader = config::ConfigLoader::default();
        loader.push(configuration.to_string().as_bytes());
        let gateway = loader.finish().unwrap().0;
        let mut map = map.clone();
        let kind = SharedDataStore::probe(&mut map, "tollgate/1/");
        let mut store = SharedDataStore::new(map, kind);
        let (policies, error) = PolicyStore::open(&mut store, &gateway, 1);
        assert_eq!(error, None);
        Vm { gateway, policies, store }
    }

    /// Sends a management request, and returns the status and body of the response.
    pub fn send(&mut self, person: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        static DRAWS: AtomicU64 = AtomicU64::new(1);
        let draw = DRAWS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        let random = std::array::from_fn(|at| draw[at % 8].wrapping_add(at as u8));
        let inputs = PolicyStore::request_inputs(&self.gateway, NOW, Some(random));
        let request = request(person, method, path, &body);
        let effects = self.policies.manage(&mut self.store, &self.gateway, (1, request), &inputs);
        let reply = effects.into_iter().find_map(|effect| match effect {
            Effect::Answer(_, reply) => Some(reply.response),
            _ => None,
        });
        let reply = reply.unwrap();
        (reply.status, serde_json::from_str(&reply.body).unwrap_or_default())
    }

    /// Creates a key, and returns its id and secret.
    pub fn create(&mut self, team: &str) -> (String, String) {
        let path = format!("/teams/{team}/keys");
        let (status, body) = self.send("platform", "POST", &path, json!({ "name": "laptop" }));
        assert_eq!(status, 201, "{body}");
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    pub fn revoke(&mut self, id: &str) {
        let (status, body) = self.send("platform", "DELETE", &format!("/keys/{id}"), Value::Null);
        assert!(
            status == 204 || status == 200 && body["warnings"][0]["code"] == "ends_with_process",
            "{body}"
        );
    }

    pub fn change(&mut self, method: &str, path: &str, body: Value) -> Value {
        let (status, body) = self.send("platform", method, path, body);
        assert!(status < 300, "{body}");
        body
    }

    /// Returns true if a request with this secret passes, after the refresh that precedes each request.
    pub fn accepts(&mut self, secret: &str) -> bool {
        self.policies.refresh(&mut self.store, &self.gateway).unwrap();
        authenticate(&self.gateway.policy.read(), secret, NOW.timestamp()).is_ok()
    }

    pub fn rpm(&mut self, team: &str) -> Value {
        self.send("platform", "GET", &format!("/teams/{team}"), Value::Null).1["limits"]["rpm"].take()
    }

    pub fn unapplied(&mut self) -> Value {
        let (status, mut body) = self.send("platform", "GET", "", Value::Null);
        assert_eq!(status, 200, "{body}");
        body["unapplied"].take()
    }
}

/// The policy of `world` with another value at some pointers.
pub fn with(changes: &[(&str, Value)]) -> Value {
    let mut policy = policy();
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = policy.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(name);
        } else {
            parent.insert(name.to_owned(), value.clone());
        }
    }
    policy
}

#[test]
fn an_update_of_the_policy_keeps_what_the_api_made_and_what_it_revoked() {
    let map = Map::new();
    let mut old = Vm::load(&map, &policy());
    let (kept, (gone, gone_secret)) = (old.create("search"), old.create("search"));
    old.revoke(&gone);
    old.revoke("developers");
    let (status, _) = old.send("platform", "PATCH", "/teams/other", json!({ "limits": { "rpm": 7 } }));
    assert_eq!(status, 200);

    let mut new = Vm::load(&map, &with(&[("/teams/search/limits/rpm", json!(50))]));
    assert!(new.accepts(&kept.1) && !new.accepts(&gone_secret) && !new.accepts("one") && new.accepts("two"));
    assert_eq!((new.rpm("search"), new.rpm("other")), (json!(50), json!(7)));
    assert_eq!(new.unapplied()["count"], 0);

    // The old one drains: what is changed in one holds in the other, in both directions.
    let late = old.create("other");
    assert!(new.accepts(&late.1) && old.accepts(&late.1));
    new.revoke(&kept.0);
    assert!(!old.accepts(&kept.1) && !new.accepts(&kept.1));
    // The update is taken back.
    let mut back = Vm::load(&map, &policy());
    assert!(back.accepts(&late.1) && !back.accepts(&kept.1) && !back.accepts("one"));
    assert_eq!(back.rpm("search"), 100);
}

#[test]
fn two_policies_under_one_prefix_do_not_mix() {
    let map = Map::new();
    let mut left = Vm::load(&map, &with(&[("/teams/search/limits/rpm", json!(10))]));
    let mut right = Vm::load(
        &map,
        &with(&[
            ("/teams/search/limits/rpm", json!(20)),
            ("/teams/lab", Value::Null),
            ("/teams/empty/organization", json!("globex")),
            ("/keys/jobs/digest", json!(format!("sha256:{}", "7".repeat(64)))),
        ]),
    );
    let mut again = Vm::load(&map, &with(&[("/teams/search/limits/rpm", json!(10))]));

    // A record that both have, with different content: an edit of one has no effect on the other.
    let (status, _) = left.send("platform", "PATCH", "/teams/search", json!({ "limits": { "rpm": 11 } }));
    assert_eq!(status, 200);
    assert_eq!(
        (left.rpm("search"), again.rpm("search"), right.rpm("search")),
        (11.into(), 11.into(), 20.into())
    );
    let (status, _) = right.send("platform", "PATCH", "/teams/search", json!({ "limits": { "rpm": 21 } }));
    assert_eq!(status, 200);
    assert_eq!(
        (left.rpm("search"), again.rpm("search"), right.rpm("search")),
        (11.into(), 11.into(), 21.into())
    );
    left.revoke("jobs");
    assert!(!left.accepts("three") && !again.accepts("three"));
    assert!(right.policies.refresh(&mut right.store, &right.gateway).is_ok());
    assert!(right.gateway.policy.read().keys.find("jobs").is_some());

    // A team that the other lacks, or has in another organization: its keys do not exist there.
    let (lab, moved) = (left.create("lab"), left.create("empty"));
    for vm in [&mut left, &mut again] {
        assert!(vm.accepts(&lab.1) && vm.accepts(&moved.1));
    }
    assert!(!right.accepts(&lab.1) && !right.accepts(&moved.1));

    // The management of both goes on, in every VM.
    for vm in [&mut left, &mut right, &mut again] {
        let (id, secret) = vm.create("search");
        assert!(vm.accepts(&secret));
        vm.revoke(&id);
        assert!(!vm.accepts(&secret));
    }
    let expected = json!({ "count": 3, "records": [
        { "section": "keys", "id": moved.0, "change": "put", "reason": "missing_reference" },
        { "section": "keys", "id": "jobs", "change": "removed", "reason": "other_record" },
        { "section": "keys", "id": lab.0, "change": "put", "reason": "missing_reference" },
    ]});
    let mut unapplied = right.unapplied();
    let (mut found, mut wanted) = (unapplied["records"].take(), expected["records"].clone());
    for list in [&mut found, &mut wanted] {
        list.as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    assert_eq!((found, &unapplied["count"]), (wanted, &json!(3)));
}

#[test]
fn an_edit_of_a_record_that_the_new_policy_changed_is_named_in_the_log_and_in_the_api() {
    let map = Map::new();
    let mut old = Vm::load(&map, &policy());
    let (status, _) = old.send("platform", "PATCH", "/teams/other", json!({ "limits": { "rpm": 7 } }));
    assert_eq!(status, 200);
    let key = old.create("lab");
    let (status, _) = old.send("platform", "PATCH", "/keys/admins", json!({ "name": "of the API" }));
    assert_eq!(status, 200);
    let mut new = Vm::load(
        &map,
        &with(&[
            ("/teams/other/limits", json!({ "rpm": 8 })),
            ("/teams/lab", Value::Null),
            ("/keys/admins/name", json!("another")),
        ]),
    );
    assert_eq!(new.rpm("other"), 8);
    let line = new.policies.unapplied(&new.gateway).unwrap();
    let expected = [
        "put teams/other (other_record)".to_owned(),
        "put keys/admins (other_record)".to_owned(),
        format!("put keys/{} (missing_reference)", key.0),
    ];
    for part in ["3 changes"].into_iter().chain(expected.iter().map(String::as_str)) {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(new.unapplied()["count"], 3);
    let (_, body) = new.send("owner", "GET", "/", Value::Null);
    assert_eq!(
        (&body["api"], &body["changes"], &body["unapplied"]),
        (&json!(1), &json!("volatile"), &Value::Null)
    );
    assert_eq!(old.policies.unapplied(&old.gateway), None);

    // The list is bounded, the number is not.
    for _ in 0..30 {
        old.create("lab");
    }
    let unapplied = new.unapplied();
    assert_eq!((&unapplied["count"], unapplied["records"].as_array().map(Vec::len)), (&json!(33), Some(20)));
}

#[test]
fn a_vm_that_missed_many_changes_agrees_with_those_that_did_not() {
    let map = Map::new();
    let other = with(&[("/teams/search/name", json!("Find"))]);
    let (mut writer, mut follower, mut late) =
        (Vm::load(&map, &policy()), Vm::load(&map, &other), Vm::load(&map, &other));
    // Not new, so that changes and not only documents are read.
    let first = writer.create("search");
    assert!(late.accepts(&first.1));
    let mut secrets = vec![first.1];
    writer.revoke(&first.0);
    for number in 0..=DELTA_SLOTS {
        let key = writer.create(if number % 2 == 0 { "lab" } else { "other" });
        if number % 3 == 0 {
            writer.revoke(&key.0);
        }
        follower.accepts(&key.1);
        secrets.push(key.1);
    }
    let mut fresh = Vm::load(&map, &other);
    for secret in &secrets {
        let wanted = writer.accepts(secret);
        let found = [&mut follower, &mut late, &mut fresh].map(|vm| vm.accepts(secret));
        assert_eq!(found, [wanted; 3], "{secret}");
    }
    let records = map.rows().into_keys().filter(|name| name.contains("/doc/d/")).count();
    assert!(records <= 64, "{records} records for ever");
}

#[test]
fn a_team_made_by_the_api_survives_an_update_with_its_members_and_keys() {
    let map = Map::new();
    let mut old = Vm::load(&map, &policy());
    let made = json!({ "id": "vision", "name": "Vision", "limits": { "rpm": 5 } });
    assert_eq!(old.send("owner", "POST", "/organizations/acme/teams", made).0, 201);
    let joined = old.send("owner", "PUT", "/teams/vision/members/developer", json!({ "role": "team_admin" }));
    assert!(joined.0 < 300, "{joined:?}");
    let key = old.create("vision");
    let mut new = Vm::load(&map, &with(&[("/targets/more", json!({}))]));
    assert!(new.accepts(&key.1));
    assert_eq!(new.send("developer", "GET", "/teams/vision", Value::Null).1["limits"], json!({ "rpm": 5 }));
    // Without the organization the team has no effect.
    let mut without = Vm::load(
        &map,
        &json!({ "version": 1, "users": policy()["users"].clone(), "organizations": {}, "teams": {} }),
    );
    assert!(!without.accepts(&key.1));
    assert_eq!(without.unapplied()["count"], 2);
}

#[test]
fn a_configuration_without_management_follows_the_changes_of_the_others() {
    let map = Map::new();
    let mut managing = Vm::load(&map, &policy());
    let public = json!({ "policy": policy(), "manage": { "enabled": false } });
    let mut public = Vm::configure(&map, &public);
    let key = managing.create("search");
    assert!(public.accepts(&key.1) && public.accepts("one"));
    managing.revoke("developers");
    assert!(!public.accepts("one"));
}

#[test]
fn another_prefix_is_another_world() {
    let map = Map::new();
    let mut one = Vm::load(&map, &policy());
    let mut two = json!({ "policy": policy(), "volatile_keys": true });
    two["prefix"] = json!("internal/1/");
    let mut two = Vm::configure(&map, &two);
    let key = one.create("search");
    one.revoke("developers");
    assert!(!two.accepts(&key.1) && two.accepts("one"));
}

#[test]
fn a_vm_that_missed_many_changes_loses_a_removed_key_that_another_policy_also_names() {
    let map = Map::new();
    let (mut left, mut late) = (Vm::load(&map, &policy()), Vm::load(&map, &policy()));
    let (id, secret) = left.create("search");
    assert!(late.accepts(&secret));
    // The other policy has a key of the same id, and an edit of it.
    let own = json!({ "team": "search", "digest": format!("sha256:{}", "7".repeat(64)) });
    let mut right = Vm::load(&map, &with(&[(&format!("/keys/{id}"), own)]));
    let named = right.send("platform", "PATCH", &format!("/keys/{id}"), json!({ "name": "named" }));
    assert_eq!(named.0, 200, "{}", named.1);
    left.revoke(&id);
    for _ in 0..=DELTA_SLOTS {
        left.create("other");
    }
    assert!(!left.accepts(&secret) && !Vm::load(&map, &policy()).accepts(&secret));
    assert!(!late.accepts(&secret), "a revoked key is gone in every VM");
    assert!(right.gateway.policy.read().keys.find(&id).is_some());
}

#[test]
fn a_key_of_the_policy_does_not_follow_the_id_of_its_team_into_another_organization() {
    let map = Map::new();
    let key = json!({ "team": "empty", "digest": api_key::format_digest(&api_key::digest(b"four")) });
    let newer = with(&[("/keys/new", key)]);
    let (mut old, mut new) = (Vm::load(&map, &policy()), Vm::load(&map, &newer));
    assert!(new.accepts("four"));
    let gone = old.change("DELETE", "/teams/empty", Value::Null);
    assert_eq!(gone["warnings"][0]["code"], "ends_with_process");
    assert!(!new.accepts("four"));
    let mut fresh = Vm::load(&map, &policy());
    for vm in [&mut old, &mut fresh] {
        let made = json!({ "id": "empty", "name": "Empty" });
        let (status, body) = vm.send("foreign-owner", "POST", "/organizations/globex/teams", made);
        assert_eq!((status, &body["code"]), (409, &json!("already_exists")), "{body}");
    }
    assert!(!new.accepts("four") && !Vm::load(&map, &newer).accepts("four"));
    // In its own organization, and under another id, a team can be made.
    for (organization, id) in [("acme", "empty"), ("globex", "filled")] {
        let path = format!("/organizations/{organization}/teams");
        let (status, body) = fresh.send("platform", "POST", &path, json!({ "id": id, "name": "Team" }));
        assert_eq!(status, 201, "{body}");
        assert!(
            fresh.send("platform", "PATCH", &format!("/teams/{id}"), json!({ "name": "Other" })).0 == 200
        );
    }
}

#[test]
fn a_service_account_of_the_policy_does_not_move_to_another_team() {
    let map = Map::new();
    let mut vm = Vm::load(&map, &policy());
    vm.revoke("jobs");
    vm.change("DELETE", "/teams/search/service-accounts/nightly", Value::Null);
    let account = json!({ "name": "Nightly" });
    let (status, body) = vm.send("platform", "PUT", "/teams/lab/service-accounts/nightly", account.clone());
    assert_eq!((status, &body["code"]), (409, &json!("already_exists")), "{body}");
    let (status, body) = vm.send("platform", "PUT", "/teams/search/service-accounts/nightly", account);
    assert_eq!(status, 200, "{body}");
}

#[test]
fn an_edit_applies_once_the_records_that_it_names_exist() {
    let map = Map::new();
    let other = with(&[("/teams/lab", Value::Null)]);
    let (mut left, mut right) = (Vm::load(&map, &policy()), Vm::load(&map, &other));
    let key = left.create("lab");
    assert!(left.accepts(&key.1) && !right.accepts(&key.1));
    let made = json!({ "id": "lab", "name": "Lab" });
    assert_eq!(right.send("platform", "POST", "/organizations/globex/teams", made).0, 201);
    let mut fresh = Vm::load(&map, &other);
    assert_eq!(right.unapplied(), fresh.unapplied());
    assert_eq!((right.accepts(&key.1), fresh.accepts(&key.1)), (true, true), "one policy, one answer");
    right.revoke(&key.0);
    assert!(!left.accepts(&key.1) && !fresh.accepts(&key.1));
}

#[test]
fn a_revoked_key_stays_revoked_whatever_else_a_new_policy_says_of_it() {
    let map = Map::new();
    let mut old = Vm::load(&map, &policy());
    old.revoke("admins");
    let (status, body) = old.send("platform", "POST", "/keys/jobs/rotate", json!({}));
    assert_eq!(status, 201, "{body}");
    old.revoke("jobs");
    for changes in [
        &[("/keys/admins/name", json!("another")), ("/keys/jobs/name", json!("another"))][..],
        &[("/keys/admins/limits", json!({ "rpm": 1 })), ("/keys/jobs/state", json!("active"))],
    ] {
        let mut new = Vm::load(&map, &with(changes));
        assert_eq!((new.accepts("two"), new.accepts("three")), (false, false), "{changes:?}");
        assert_eq!(new.unapplied()["count"], 0, "{changes:?}");
        // A VM that has it already agrees.
        old.create("search");
        assert!(!new.accepts("two") && !new.accepts("three"));
    }
    // Another secret under the same name is another key.
    let digest = json!(format!("sha256:{}", "7".repeat(64)));
    let new = Vm::load(&map, &with(&[("/keys/admins/digest", digest)]));
    assert!(new.gateway.policy.read().keys.find("admins").is_some());
}
