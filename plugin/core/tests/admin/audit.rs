//! The audit log of write attempts.

use serde_json::{Value, json};
use tollgate_core::admin::audit::{AuditEntry, AuditQuery, EntryKind, page};
use tollgate_core::admin::{AdminDecision, AdminRequest};

use super::world::{World, policy, read, request};

#[test]
fn a_change_is_recorded_with_actor_action_before_and_after() {
    let mut world = World::new();
    world.send("team-admin", "PATCH", "/teams/search", json!({ "limits": { "rpm": 7 } }));
    let entry = world.audit.pop().unwrap();
    assert_eq!(entry.time, world.now.timestamp());
    assert_eq!(entry.organization.as_deref(), Some("acme"));
    assert_eq!(entry.actor, "team-admin");
    assert_eq!(entry.action, "PATCH /teams/search");
    assert_eq!((entry.kind, entry.status, entry.reason), (EntryKind::Change, 200, None));
    assert_eq!(entry.before.unwrap()["limits"], json!({ "rpm": 100 }));
    assert_eq!(entry.after.unwrap()["limits"], json!({ "rpm": 7 }));
}

#[test]
fn failed_attempts_are_recorded_but_not_reads_and_unauthenticated_requests() {
    let mut world = World::new();
    for (person, method, path, body, status, reason, organization) in [
        ("viewer", "DELETE", "/teams/search", json!({}), 403, "not_allowed", Some("acme")),
        ("foreign-owner", "POST", "/teams/search/keys", json!({ "name": "x" }), 404, "not_found", None),
        ("viewer", "PATCH", "/teams/gone", json!({}), 404, "not_found", None),
        ("viewer", "POST", "/teams/search/keys", json!({}), 400, "name_required", Some("acme")),
        ("owner", "DELETE", "/teams/search", json!({}), 409, "keys_assigned", Some("acme")),
        ("viewer", "POST", "/nowhere", json!({}), 404, "not_found", None),
    ] {
        world.send(person, method, path, body);
        let entry = world.audit.pop().unwrap();
        assert_eq!((entry.status, entry.reason.as_deref()), (status, Some(reason)), "{method} {path}");
        assert_eq!(entry.organization.as_deref(), organization, "{method} {path}");
        assert_eq!((entry.kind, entry.actor.as_str()), (EntryKind::Attempt, person));
    }
    world.get("viewer", "/teams/search/keys");
    world.get("viewer", "/teams/search");
    world.send("anonymous", "DELETE", "/teams/search", Value::Null);
    assert_eq!(world.audit, []);
}

#[test]
fn attempts_without_effect_are_not_changes_and_hold_no_copies_of_records() {
    let mut world = World::new();
    for (method, path, body) in [
        ("PATCH", "/teams/search", json!({ "limits": { "rpm": 100 } })),
        ("PATCH", "/teams/search", json!({ "limits": { "rpm": 0 } })),
        ("DELETE", "/teams/search", Value::Null),
    ] {
        world.send("owner", method, path, body);
        let entry = world.audit.pop().unwrap();
        assert_eq!(
            (entry.kind, &entry.before, &entry.after),
            (EntryKind::Attempt, &None, &None),
            "{entry:?}"
        );
    }
}

/// Holds for every kind of fault, however early it is detected.
#[test]
fn an_attempt_is_recorded_for_the_organization_in_its_path() {
    let mut world = World::new();
    let member = json!({ "role": "team_viewer" });
    for (method, path, organization) in [
        ("POST", "/teams/lab/keys", Some("globex")),
        ("POST", "/organizations/acme/teams", Some("acme")),
        ("PATCH", "/organizations/acme", Some("acme")),
        ("PATCH", "/teams/search", Some("acme")),
        ("PUT", "/teams/search/access", Some("acme")),
        ("PUT", "/teams/search/self-service", Some("acme")),
        ("PUT", "/teams/search/members/viewer", Some("acme")),
        ("PUT", "/organizations/acme/members/viewer", Some("acme")),
        ("PUT", "/teams/search/service-accounts/nightly", Some("acme")),
        ("PATCH", "/keys/jobs", Some("acme")),
        ("POST", "/keys/jobs/rotate", Some("acme")),
        ("DELETE", "/keys/jobs", Some("acme")),
        ("POST", "/organizations", None),
        ("POST", "/teams/gone/keys", None),
        ("DELETE", "/keys/gone", None),
    ] {
        // No endpoint has this parameter, or this field.
        for (path, body) in
            [(format!("{path}?colour=red"), &member), (path.to_owned(), &json!({"colour": 1}))]
        {
            let status = world.send("platform", method, &path, body.clone()).status;
            assert!(status >= 400 || method == "DELETE", "{method} {path}: {status}");
            let entry = world.audit.pop().unwrap();
            assert_eq!(
                (entry.status, entry.organization.as_deref()),
                (status, organization),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn entries_contain_no_secrets_and_no_digests() {
    let mut world = World::new();
    let created = world.send("developer", "POST", "/teams/search/keys", json!({ "name": "x" })).body;
    let path = format!("/keys/{}", created["id"].as_str().unwrap());
    let rotated =
        world.send("developer", "POST", &format!("{path}/rotate"), json!({ "grace_seconds": 60 })).body;
    world.send("team-admin", "PATCH", &path, json!({ "name": "y" }));
    world.send("developer", "DELETE", &path, Value::Null);
    world.send("org-admin", "PUT", "/organizations/acme/members/developer", json!({ "role": "org_billing" }));
    assert_eq!(world.audit.len(), 5);
    for entry in &world.audit {
        let text = entry.to_json().to_string();
        assert!(!text.contains("sha256"), "{text}");
        for secret in [&created["secret"], &rotated["secret"]] {
            assert!(!text.contains(secret.as_str().unwrap()), "{text}");
        }
    }
}

#[test]
fn a_key_sent_instead_of_its_id_is_redacted() {
    let mut world = World::new();
    let created = world.send("developer", "POST", "/teams/search/keys", json!({ "name": "x" })).body;
    let (id, secret) = (created["id"].as_str().unwrap(), created["secret"].as_str().unwrap());
    let hidden = secret.rsplit_once('-').unwrap().1;
    for (method, path) in [
        ("DELETE", format!("/keys/{secret}")),
        ("POST", format!("/keys/{secret}/rotate")),
        ("PUT", format!("/teams/search/members/{secret}")),
    ] {
        let answer = world.send("team-admin", method, &path, json!({ "role": "team_viewer" }));
        assert!(!answer.body.to_string().contains(hidden), "{}", answer.body);
        let entry = world.audit.last().unwrap().to_json().to_string();
        assert!(entry.contains(&format!("sk-tg-{id}-…")) && !entry.contains(hidden), "{entry}");
    }
}

#[test]
fn an_entry_round_trips_and_its_log_line_is_shorter() {
    let mut world = World::new();
    world.send("team-admin", "PATCH", "/teams/search", json!({ "limits": { "rpm": 7 } }));
    world.send("viewer", "DELETE", "/teams/search", Value::Null);
    for entry in &world.audit {
        assert_eq!(AuditEntry::from_json(&entry.to_json()).as_ref(), Some(entry));
        let line = entry.log_fields();
        assert_eq!(line["action"], entry.action.as_str());
        assert!(line.get("before").is_none() && line.get("after").is_none());
    }
    assert_eq!(AuditEntry::from_json(&json!({ "actor": "x" })), None);
}

fn query_of(person: &str, query: &str, policy: Value) -> Result<AuditQuery, u16> {
    let request = AdminRequest { query: query.into(), ..request(person, "GET", "/audit", &Value::Null) };
    match World::of(policy).decide(&request).outcome {
        AdminDecision::Audit(query) => Ok(query),
        AdminDecision::Answer(response) => Err(response.status),
        AdminDecision::Preview(_) => panic!("no dry run"),
        AdminDecision::Write(write) => panic!("{write:?}"),
        AdminDecision::Rows(_) | AdminDecision::Drain | AdminDecision::Gateway { .. } => {
            panic!("another endpoint")
        }
    }
}

#[test]
fn the_organization_is_named_or_unambiguous() {
    let of = |organization: Option<&str>| {
        Ok(AuditQuery { organization: organization.map(str::to_string), after: None, limit: 50, kind: None })
    };
    assert_eq!(query_of("owner", "", policy()), of(Some("acme")));
    assert_eq!(query_of("platform", "", policy()), of(None));
    assert_eq!(query_of("platform", "organization=globex", policy()), of(Some("globex")));
    assert_eq!(query_of("owner", "organization=globex", policy()), Err(404));
    assert_eq!(query_of("owner", "organization=gone", policy()), Err(404));
    assert_eq!(query_of("org-admin", "", policy()), Err(403));
    let mut both = policy();
    both["organizations"]["globex"]["members"]["owner"] = json!("org_auditor");
    assert_eq!(query_of("owner", "", both.clone()), Err(400));
    assert_eq!(query_of("owner", "organization=globex", both), of(Some("globex")));
    for (name, kind) in [("change", EntryKind::Change), ("attempt", EntryKind::Attempt)] {
        let page = query_of("owner", &format!("limit=3&after=42&kind={name}"), policy());
        let (organization, after) = (Some("acme".into()), Some("42".into()));
        assert_eq!(page, Ok(AuditQuery { organization, after, limit: 3, kind: Some(kind) }));
    }
    assert_eq!(query_of("owner", "kind=reads", policy()), Err(400));
}

#[test]
fn a_page_has_the_name_of_each_entry() {
    let mut world = World::new();
    world.send("viewer", "DELETE", "/teams/search", Value::Null);
    let entry = world.audit.pop().unwrap();
    let shown = read(page(&[("17".into(), entry.clone())], Some("17")));
    assert_eq!((shown.status, &shown.body["next"]), (200, &json!("17")));
    assert_eq!(shown.body["items"][0]["id"], "17");
    assert_eq!(shown.body["items"][0]["actor"], "viewer");
}

#[test]
fn an_organization_that_does_not_exist_has_no_log() {
    let mut world = World::new();
    let new = json!({ "id": "new", "name": "New" });
    let mut faulty = new.clone();
    faulty["created"] = json!(7);
    for (method, path, body, status, log) in [
        ("POST", "/organizations", faulty, 400, None),
        ("POST", "/organizations", new, 201, Some(format!("new~{}", world.now.timestamp().0))),
        ("DELETE", "/organizations/new", Value::Null, 204, None),
    ] {
        assert_eq!(world.send("platform", method, path, body).status, status);
        let entry = world.audit.pop().unwrap();
        assert_eq!((entry.log_name().map(String::from), entry.status), (log, status));
    }
}

#[test]
fn organizations_are_counted_on_the_platform() {
    let mut world = World::new();
    for number in 0..3 {
        let body = json!({ "id": format!("new-{number}"), "name": "New" });
        assert_eq!(world.send("platform", "POST", "/organizations", body).status, 201);
    }
    let rows = world.store.host().rows();
    let counters: Vec<&String> = rows.keys().filter(|name| name.contains("created/")).collect();
    assert_eq!(counters.len(), 1, "{counters:?}");
}
