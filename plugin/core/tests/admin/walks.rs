//! Random sequences of requests and corrupted bodies keep the policy valid.

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::admin::{AdminDecision, AdminRequest};

use super::roles::table;
use super::world::{PEOPLE, World, request};

/// Write requests, most of which succeed in some state.
fn steps() -> impl Strategy<Value = (&'static str, String, Value)> {
    let team = || prop::sample::select(vec!["search", "other", "empty", "lab", "new"]);
    let user =
        || prop::sample::select(vec!["developer", "viewer", "member", "team-admin", "new", "foreign-owner"]);
    let rpm = || prop::option::of(prop::sample::select(vec![1_u64, 5, 50, 100, 1_000, 2_000]));
    let organization = || prop::sample::select(vec!["acme", "globex"]);
    prop_oneof![
        (organization(), rpm()).prop_map(|(id, rpm)| (
            "PATCH",
            format!("/organizations/{id}"),
            json!({ "limits": { "rpm": rpm } })
        )),
        organization().prop_map(|id| (
            "POST",
            format!("/organizations/{id}/teams"),
            json!({ "id": "new", "name": "New" })
        )),
        (organization(), user(), prop::sample::select(vec!["org_member", "org_admin"])).prop_map(
            |(id, user, role)| (
                "PUT",
                format!("/organizations/{id}/members/{user}"),
                json!({ "role": role })
            )
        ),
        (organization(), user()).prop_map(|(id, user)| (
            "DELETE",
            format!("/organizations/{id}/members/{user}"),
            Value::Null
        )),
        (team(), rpm()).prop_map(|(id, rpm)| (
            "PATCH",
            format!("/teams/{id}"),
            json!({ "limits": { "rpm": rpm } })
        )),
        (team(), rpm()).prop_map(|(id, rpm)| (
            "PATCH",
            format!("/teams/{id}"),
            json!({ "member_limits": { "rpm": rpm } })
        )),
        team().prop_map(|id| ("DELETE", format!("/teams/{id}"), Value::Null)),
        (team(), user(), prop::sample::select(vec!["team_admin", "team_developer", "team_viewer"])).prop_map(
            |(id, user, role)| ("PUT", format!("/teams/{id}/members/{user}"), json!({ "role": role }))
        ),
        (team(), user()).prop_map(|(id, user)| (
            "DELETE",
            format!("/teams/{id}/members/{user}"),
            Value::Null
        )),
        (team(), user(), rpm()).prop_map(|(id, user, rpm)| {
            let owner = format!("user/{user}");
            let limits = rpm.map_or(json!({}), |rpm| json!({ "rpm": rpm }));
            ("POST", format!("/teams/{id}/keys"), json!({ "name": "x", "owner": owner, "limits": limits }))
        }),
        team().prop_map(|id| ("POST", format!("/teams/{id}/keys"), json!({ "name": "x" }))),
        (team(), prop::sample::subsequence(vec!["small", "large", "secret"], 0..=3)).prop_map(
            |(id, targets)| {
                ("PUT", format!("/teams/{id}/access"), json!({ "mode": "restrict", "targets": targets }))
            }
        ),
        (team(), user()).prop_map(|(id, name)| (
            "PUT",
            format!("/teams/{id}/service-accounts/{name}"),
            json!({ "name": "x" })
        )),
        (team(), user()).prop_map(|(id, name)| (
            "DELETE",
            format!("/teams/{id}/service-accounts/{name}"),
            Value::Null
        )),
        Just(("PATCH", "/keys/developers".to_string(), json!({ "limits": { "rpm": 60 } }))),
        Just(("DELETE", "/keys/jobs".to_string(), Value::Null)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// [`World::commit`] reloads the whole policy after every write.
    #[test]
    fn the_policy_has_no_errors_after_any_sequence_of_writes(
        walk in prop::collection::vec((prop::sample::select(&PEOPLE[..]), steps()), 1..40),
    ) {
        let mut world = World::new();
        for (person, (method, path, body)) in walk {
            let answer = world.send(person, method, &path, body.clone());
            prop_assert!(answer.status < 500, "{person}: {method} {path} {body}: {}", answer.body);
        }
    }

    #[test]
    fn a_corrupted_body_is_applied_completely_or_not_at_all(
        row in 0_usize..1_000,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let table = table();
        let (method, path, body, allowed) = &table[row % table.len()];
        prop_assume!(!body.is_null());
        let mut request: AdminRequest = request(allowed[0], method, path, body);
        for (place, byte) in edits {
            let at = place.index(request.body.len());
            request.body[at] = byte;
        }
        let mut world = World::new();
        let decided = world.decide(&request);
        let written = matches!(decided.outcome, AdminDecision::Write(_));
        let answer = world.commit(decided);
        prop_assert!(answer.status < 500, "{}", answer.body);
        prop_assert!(!written || answer.status < 300, "{}", answer.body);
    }
}
