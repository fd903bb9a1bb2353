//! Revocations, blocks and removals under other policies in one process.

use serde_json::{Value, json};
use tollgate_core::replication::DELTA_SLOTS;
use tollgate_core::secret::api_key;

use super::configurations::{Vm, with};
use super::random::Random;
use super::support::Map;
use super::world::policy;

/// A policy in which every record of the tests differs from that of `world`.
fn renamed() -> Value {
    let mut policy = policy();
    for section in ["organizations", "teams", "service_accounts", "keys"] {
        for record in policy[section].as_object_mut().unwrap().values_mut() {
            record["name"] = json!("renamed");
        }
    }
    policy
}

fn set(policy: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    policy.pointer_mut(parent).unwrap()[name] = value;
}

#[test]
fn a_blocked_record_stays_blocked_under_every_other_policy() {
    for (path, denied) in [
        ("/keys/admins", &["two"][..]),
        ("/teams/search", &["one", "two", "three"]),
        ("/organizations/acme", &["one", "two", "three"]),
        ("/teams/search/service-accounts/nightly", &["three"]),
    ] {
        let map = Map::new();
        let (mut old, mut beside) = (Vm::load(&map, &policy()), Vm::load(&map, &renamed()));
        let blocked = json!({ "state": "blocked" });
        let (method, body) = match path.contains("accounts") {
            true => ("PUT", json!({ "name": "Nightly", "state": "blocked" })),
            false => ("PATCH", blocked),
        };
        let answer = old.change(method, path, body);
        assert_eq!(answer["warnings"][0]["code"], "ends_with_process", "{path}");
        let mut new = Vm::load(&map, &renamed());
        for secret in ["one", "two", "three"] {
            let wanted = !denied.contains(&secret);
            let found = [&mut old, &mut beside, &mut new].map(|vm| vm.accepts(secret));
            assert_eq!(found, [wanted; 3], "{path} {secret}");
        }
        // A change of something else in another policy leaves it blocked; an unblocking holds there.
        let (section, field) = (path.split('/').nth(1).unwrap(), json!({ "name": "again" }));
        if section != "teams" || !path.contains("accounts") {
            new.change("PATCH", path, field);
            assert!(!new.accepts(denied[0]) && !Vm::load(&map, &renamed()).accepts(denied[0]), "{path}");
            new.change("PATCH", path, json!({ "state": "active" }));
            assert!(new.accepts(denied[0]) && beside.accepts(denied[0]), "{path}");
            let mut third = renamed();
            set(&mut third, &format!("{path}/name"), json!("third"));
            assert!(Vm::load(&map, &third).accepts(denied[0]), "{path}");
        }
    }
}

#[test]
fn an_unblocking_in_one_policy_is_not_reversed_by_another_change_elsewhere() {
    let map = Map::new();
    let (mut left, mut right) = (Vm::load(&map, &policy()), Vm::load(&map, &renamed()));
    left.change("PATCH", "/teams/search", json!({ "state": "blocked" }));
    right.change("PATCH", "/teams/search", json!({ "state": "active" }));
    left.change("PATCH", "/teams/search", json!({ "name": "changed" }));
    assert!(right.accepts("one") && Vm::load(&map, &renamed()).accepts("one"));
}

#[test]
fn a_removed_member_and_its_keys_stay_removed_under_every_other_policy() {
    let map = Map::new();
    let mut old = Vm::load(&map, &policy());
    let answer = old.change("DELETE", "/teams/search/members/developer", Value::Null);
    assert_eq!(answer["warnings"][0]["code"], "ends_with_process");
    old.change("DELETE", "/organizations/acme/members/auditor", Value::Null);
    let mut new = Vm::load(&map, &renamed());
    assert!(!old.accepts("one") && !new.accepts("one") && new.accepts("two"));
    for vm in [&mut old, &mut new] {
        assert_eq!(vm.send("platform", "GET", "/teams/search/members/developer", Value::Null).0, 404);
        assert_eq!(vm.send("auditor", "GET", "/organizations/acme", Value::Null).0, 404);
        assert_eq!(vm.send("platform", "GET", "/teams/search/members/viewer", Value::Null).0, 200);
    }
    // Added again, the member is there under each policy; the key is not.
    new.change("PUT", "/teams/search/members/developer", json!({ "role": "team_viewer" }));
    let mut third = renamed();
    set(&mut third, "/teams/search/name", json!("third"));
    for vm in [&mut new, &mut Vm::load(&map, &third)] {
        assert_eq!(vm.send("platform", "GET", "/teams/search/members/developer", Value::Null).0, 200);
        assert!(!vm.accepts("one"));
    }
}

#[test]
fn a_revoked_secret_is_accepted_from_no_key_of_any_policy() {
    let map = Map::new();
    let mut old = Vm::load(&map, &policy());
    let (id, secret) = old.create("search");
    old.revoke(&id);
    old.revoke("admins");
    // The key that the API made was copied into a policy meanwhile, and the other one has another id, team and owner.
    let digest = |secret: &str| api_key::format_digest(&api_key::digest(secret.as_bytes()));
    let mut policy = renamed();
    set(&mut policy, "/keys/admins/digest", json!(digest("another")));
    set(&mut policy, "/keys/moved", json!({ "team": "lab", "digest": digest("two") }));
    let previous = json!({ "digest": digest(&secret), "until": "2030-01-01T00:00:00Z" });
    set(&mut policy, "/keys/jobs/previous", previous);
    let mut new = Vm::load(&map, &policy);
    assert_eq!(
        ["two", &secret, "another", "three"].map(|secret| new.accepts(secret)),
        [false, false, true, true]
    );
    let copied = with(&[(&format!("/keys/{id}"), json!({ "team": "search", "digest": digest(&secret) }))]);
    assert!(!Vm::load(&map, &copied).accepts(&secret));
}

#[test]
fn a_secret_that_a_rotation_ended_stays_ended_and_one_in_its_grace_period_ends_with_it() {
    let map = Map::new();
    let mut old = Vm::load(&map, &policy());
    let rotated = |vm: &mut Vm, id: &str, body: Value| {
        vm.change("POST", &format!("/keys/{id}/rotate"), body)["secret"].as_str().unwrap().to_owned()
    };
    let ended = rotated(&mut old, "admins", json!({}));
    let graced = rotated(&mut old, "jobs", json!({ "grace_seconds": 600 }));
    assert!(old.accepts(&ended) && old.accepts(&graced) && old.accepts("three") && !old.accepts("two"));
    let mut new = Vm::load(&map, &renamed());
    assert!(!new.accepts("two") && new.accepts("three"));
    let key = new.send("platform", "GET", "/keys/jobs", Value::Null).1;
    assert_eq!(key["expires_at"], "2027-01-15T08:10:00Z", "the end of the grace period");
    // The revocation in the other policy is one of all secrets that the key had.
    new.revoke("jobs");
    assert!(!old.accepts(&graced) && !old.accepts("three") && old.accepts(&ended));
    assert!(!Vm::load(&map, &policy()).accepts(&graced));
}

#[test]
fn a_removed_team_and_service_account_do_not_come_back_with_another_record() {
    let map = Map::new();
    let mut old = Vm::load(&map, &policy());
    old.change("DELETE", "/teams/empty", Value::Null);
    old.change("DELETE", "/teams/search/service-accounts/nightly", Value::Null);
    let mut new = Vm::load(&map, &renamed());
    assert!(!new.accepts("three"));
    assert_eq!(new.send("platform", "GET", "/teams/empty", Value::Null).0, 404);
    assert_eq!(new.unapplied()["count"], 0);
    let made = json!({ "id": "empty", "name": "Made again" });
    assert_eq!(new.send("platform", "POST", "/organizations/acme/teams", made).0, 201);
    assert_eq!(new.send("platform", "GET", "/teams/empty", Value::Null).0, 200);
}

#[test]
fn what_a_restart_cannot_bring_back_carries_no_warning() {
    let mut vm = Vm::load(&Map::new(), &policy());
    let (id, _) = vm.create("search");
    assert_eq!(vm.send("platform", "DELETE", &format!("/keys/{id}"), Value::Null), (204, Value::Null));
    let limits = vm.change("PATCH", "/teams/search", json!({ "limits": { "rpm": 50 } }));
    assert_eq!(limits["warnings"], Value::Null);
    let made = json!({ "id": "made", "name": "Made", "members": { "developer": "team_developer" } });
    assert_eq!(vm.send("platform", "POST", "/organizations/acme/teams", made).0, 201);
    let removed = vm.send("platform", "DELETE", "/teams/made/members/developer", Value::Null);
    assert_eq!(removed, (204, Value::Null));
    let blocked = vm.change("PATCH", "/teams/made", json!({ "state": "blocked" }));
    assert_eq!(blocked["warnings"], Value::Null);
}

/// Random writes in two policies: VMs that follow each change, that read all documents, and that start later agree.
#[test]
fn all_vms_of_a_policy_agree_after_any_writes_in_two_of_them() {
    for seed in 0..12 {
        let (map, mut random) = (Map::new(), Random(seed));
        let mut vms = [Vm::load(&map, &policy()), Vm::load(&map, &renamed())];
        let mut late = [Vm::load(&map, &policy()), Vm::load(&map, &renamed())];
        let keys = ["developers", "admins", "jobs"];
        for step in 0..(DELTA_SLOTS as usize + 20) {
            let vm = &mut vms[random.below(2)];
            let key = keys[random.below(3)];
            let state = json!({ "state": if random.below(2) == 0 { "active" } else { "blocked" } });
            let (method, path, body) = match random.below(8) {
                0 => ("PATCH", format!("/keys/{key}"), state),
                1 => ("PATCH", "/teams/search".to_owned(), state),
                2 => ("PATCH", "/teams/search".to_owned(), json!({ "name": format!("n{step}") })),
                3 => {
                    ("POST", format!("/keys/{key}/rotate"), json!({ "grace_seconds": 60 * random.below(2) }))
                }
                4 if random.below(8) == 0 => ("DELETE", format!("/keys/{key}"), Value::Null),
                5 => ("DELETE", "/teams/search/members/viewer".to_owned(), Value::Null),
                6 => ("PUT", "/teams/search/members/viewer".to_owned(), json!({ "role": "team_viewer" })),
                _ => ("PATCH", format!("/keys/{key}"), json!({ "name": format!("n{step}") })),
            };
            vm.send("platform", method, &path, body);
        }
        let fresh = [Vm::load(&map, &policy()), Vm::load(&map, &renamed())];
        for (side, fresh) in fresh.iter().enumerate() {
            for vm in [&mut vms[side], &mut late[side]] {
                vm.accepts("");
                let (found, wanted) = (vm.gateway.policy.read(), fresh.gateway.policy.read());
                assert_eq!(found.fingerprint(), wanted.fingerprint(), "seed {seed}, policy {side}");
            }
        }
    }
}
