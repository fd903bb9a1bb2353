//! Authentication of the caller.

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
        ..request("anonymous", "GET", "/me", &Value::Null)
    };
    status(&mut World::new(), &request)
}

#[test]
fn a_user_token_identifies_the_caller_with_all_roles() {
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
fn a_verified_jwt_identifies_the_caller_whatever_the_bearer_token() {
    let (status, body) = me(Some("eyJhbGciOi.eyJzdWIi.c2ln"), Some("developer"));
    assert_eq!((status, &body["id"]), (200, &json!("developer")));
    let (status, body) = me(None, Some("developer"));
    assert_eq!((status, &body["id"]), (200, &json!("developer")));
}

#[test]
fn partial_credentials_do_not_authenticate() {
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
fn a_token_is_invalid_without_its_user() {
    let mut world = World::new();
    let change = tollgate_core::policy::Change::from_json(&json!({ "users": { "billing": null } })).unwrap();
    world.policy.change(|policy| policy.apply(&change)).unwrap().unwrap();
    assert_eq!(world.get("billing", "/me").status, 401);
}
