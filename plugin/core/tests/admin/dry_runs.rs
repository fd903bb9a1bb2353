//! Dry runs: the response of each write, and nothing else.

use serde_json::{Value, json};
use tollgate_core::admin::audit::EntryKind;

use super::configurations::Vm;
use super::roles::table;
use super::support::Map;
use super::world::{Answer, PEOPLE, World, policy};

/// The body of a response without what differs from write to write.
fn comparable(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    if let Some(fields) = body.as_object_mut().filter(|fields| fields.contains_key("hint")) {
        for name in ["id", "hint", "secret"] {
            fields.remove(name);
        }
    }
    body
}

#[test]
fn a_dry_run_of_every_write_by_every_role_responds_like_the_write_and_changes_nothing() {
    let mut compared = 0;
    for (method, path, body, _) in table().into_iter().filter(|(method, ..)| *method != "GET") {
        for person in PEOPLE {
            let mut world = World::new();
            let before = world.document();
            let tried = world.send(person, method, &format!("{path}?dry_run=true"), body.clone());
            assert_eq!(world.document(), before, "{person}: {method} {path}");
            assert_eq!(tried.body["secret"], Value::Null, "{person}: {method} {path}");
            // A refusal counts as an attempt, as that of the write does; success is not recorded.
            let entry = world.audit.pop();
            assert_eq!(entry.is_some(), tried.status >= 400, "{person}: {method} {path}");
            if let Some(entry) = entry {
                assert_eq!((entry.kind, entry.status), (EntryKind::Attempt, tried.status));
                assert_eq!(entry.action, format!("{method} {path}?dry_run=true"));
            }
            let done = world.send(person, method, &format!("{path}?dry_run=false"), body.clone());
            assert_eq!(
                (tried.status, comparable(&tried)),
                (done.status, comparable(&done)),
                "{method} {path}"
            );
            if comparable(&tried) == tried.body {
                assert_eq!(tried.field("etag"), done.field("etag"), "{method} {path}");
            }
            compared += 1;
        }
    }
    assert!(compared > 300, "{compared}");
}

#[test]
fn a_dry_run_lists_all_faults_and_checks_preconditions() {
    let mut world = World::new();
    let faulty = json!({ "limits": { "rpm": 0, "tpm": -1 }, "unknown": 1 });
    let tried = world.send("owner", "PATCH", "/teams/search?dry_run=true", faulty.clone());
    let done = world.send("owner", "PATCH", "/teams/search", faulty);
    assert_eq!((tried.status, &tried.body), (400, &done.body));
    assert!(tried.pointers().len() >= 3, "{}", tried.body);
    let body = json!({ "name": "New" });
    let tried = world.send_with("owner", "PATCH", "/teams/search?dry_run=true", body, Some("\"other\""));
    assert_eq!((tried.status, tried.code()), (412, "precondition_failed"));
}

#[test]
fn the_parameter_is_known_to_writes_alone_and_has_two_values() {
    let mut world = World::new();
    for (method, query) in [
        ("GET", "dry_run=true"),
        ("PATCH", "dry_run=yes"),
        ("PATCH", "dry_run"),
        ("PATCH", "dry_run=true&dry_run=true"),
        ("PATCH", "dry_run=true&dry_run=false"),
        ("PATCH", "dry-run=true"),
    ] {
        let body = if method == "GET" { Value::Null } else { json!({ "name": "New" }) };
        let answer = world.send("owner", method, &format!("/teams/search?{query}"), body);
        assert_eq!((answer.status, answer.code()), (400, "invalid_parameter"), "{method} {query}");
    }
    assert_eq!(world.get("owner", "/teams/search").body["name"], "Search");
}

#[test]
fn a_dry_run_is_not_stored_and_has_the_warnings_of_the_write() {
    let map = Map::new();
    let mut vm = Vm::load(&map, &policy());
    let rows = map.rows();
    let tried = vm.change("DELETE", "/keys/developers?dry_run=true", Value::Null);
    assert_eq!(tried["warnings"][0]["code"], "ends_with_process");
    let made = vm.change("POST", "/teams/search/keys?dry_run=true", json!({ "name": "x" }));
    assert_eq!(made["secret"], Value::Null);
    assert_eq!(map.rows(), rows, "nothing is written to shared data");
    assert!(vm.accepts("one"));
    assert_eq!(vm.change("DELETE", "/keys/developers", Value::Null), tried);
    assert!(!vm.accepts("one"));
}
