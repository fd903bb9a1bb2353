//! Who asks.

use serde_json::{Value, json};
use tollgate_core::admin::{AdminDecision, AdminRequest};

use super::world::{World, request, token};

fn status(world: &mut World, request: &AdminRequest) -> (u16, Value) {
    match world.decide(request).outcome {
        AdminDecision::Answer(response) => (response.status, serde_json::from_str(&response.body).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn me(token: Option<&str>, subject: Option<&str>) -> (u16, Value) {
    let request = AdminRequest {
        token: token.map(str::to_string),
        subject: subject.map(str::to_string),
        ..request("nobody", "GET", "/me", &Value::Null)
    };
    status(&mut World::new(), &request)
}

#[test]
fn a_user_token_says_who_asks_with_all_their_roles() {
    let (status, me) = me(Some(&token("team-admin")), None);
    assert_eq!(status, 200);
    assert_eq!(
        me,
        json!({
            "id": "team-admin",
            "name": "team-admin",
            "platform_admin": false,
            "organizations": [{ "id": "acme", "name": "Acme", "role": "org_member" }],
            "teams": [{ "id": "search", "name": "Search", "organization": "acme", "role": "team_admin" }],
        })
    );
}

#[test]
fn a_verified_jwt_says_who_asks_whatever_else_the_bearer_is() {
    let (status, body) = me(Some("eyJhbGciOi.eyJzdWIi.c2ln"), Some("developer"));
    assert_eq!((status, &body["id"]), (200, &json!("developer")));
    let (status, body) = me(None, Some("developer"));
    assert_eq!((status, &body["id"]), (200, &json!("developer")));
}

#[test]
fn who_is_known_since_their_body_was_not_waited_for_is_asked_to_try_again() {
    let mut world = World::new();
    let patch = request("team-admin", "PATCH", "/teams/search", &json!({}));
    let (code, body) = status(&mut world, &AdminRequest { unread: true, ..patch.clone() });
    assert_eq!((code, &body["code"]), (503, &json!("contended")));
    let nobody = AdminRequest { unread: true, token: Some("nobody's".into()), ..patch };
    assert_eq!(status(&mut world, &nobody).0, 401);
}

#[test]
fn nobody_is_signed_in_by_half() {
    let (status, body) = me(None, Some("unheard-of"));
    assert_eq!((status, &body["code"]), (401, &json!("unknown_user")));
    let (status, body) = me(Some(&token("platform")), Some("developer"));
    assert_eq!((status, &body["code"]), (401, &json!("ambiguous_identity")));
    for token in ["", "tg-test-platform ", "sk-tg-abcd-x", "one"] {
        let (status, body) = me(Some(token), None);
        assert_eq!((status, &body["code"]), (401, &json!("unknown_token")), "{token}");
    }
}

#[test]
fn a_token_stops_working_with_its_user() {
    let mut world = World::new();
    let change = tollgate_core::policy::Change::from_json(&json!({ "users": { "billing": null } })).unwrap();
    world.policy.change(|policy| policy.apply(&change)).unwrap().unwrap();
    assert_eq!(world.get("billing", "/me").status, 401);
}
