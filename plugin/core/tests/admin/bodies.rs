//! Invalid bodies, queries and methods.

use std::rc::Rc;

use serde_json::{Value, json};
use tollgate_core::admin::{AdminDecision, AdminRequest};
use tollgate_core::exchange::{Action, Exchange};
use tollgate_core::http::headers::Headers;

use super::world::{World, read, request};

fn answer(request: &AdminRequest) -> super::world::Answer {
    match World::new().decide(request).outcome {
        AdminDecision::Answer(response) => read(response),
        AdminDecision::Write(write) => read(write.response),
        other => panic!("{other:?}"),
    }
}

fn patch(body: &str) -> AdminRequest {
    AdminRequest {
        content_type: Some("application/merge-patch+json".into()),
        body: body.into(),
        ..request("team-admin", "PATCH", "/teams/search", &Value::Null)
    }
}

#[test]
fn an_ambiguous_body_is_rejected() {
    for body in [
        r#"{"name": "a", "name": "b"}"#,
        r#"{"name": "a", "\u006eame": "b"}"#,
        r#"{"limits": {"rpm": 1, "rpm": 2}}"#,
        r#"{"name": "a"} {}"#,
        r#"{"name": "a",}"#,
        r#"{"name": NaN}"#,
        "",
        "null",
        "[]",
        "\u{feff}{}",
    ] {
        assert_eq!(answer(&patch(body)).status, 400, "{body}");
    }
    let invalid_utf8 = AdminRequest { body: b"{\"name\": \"\xff\"}".to_vec(), ..patch("") };
    assert_eq!(answer(&invalid_utf8).status, 400);
    let deep = format!("{}1{}", "{\"name\":".repeat(500), "}".repeat(500));
    assert_eq!(answer(&patch(&deep)).status, 400);
}

#[test]
fn a_body_is_json_and_of_bounded_size() {
    for (content_type, status) in [
        (Some("application/json"), 200),
        (Some("application/merge-patch+json; charset=utf-8"), 200),
        (Some("Application/JSON"), 200),
        (None, 200),
        (Some("text/plain"), 415),
        (Some("application/json-patch+json"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some(""), 415),
    ] {
        let request =
            AdminRequest { content_type: content_type.map(str::to_string), ..patch("{\"name\": \"x\"}") };
        assert_eq!(answer(&request).status, status, "{content_type:?}");
    }
    let post = AdminRequest {
        content_type: Some("application/merge-patch+json".into()),
        ..request("platform", "POST", "/organizations", &json!({ "id": "x", "name": "x" }))
    };
    assert_eq!(answer(&post).status, 415);
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(256 * 1024));
    assert_eq!(answer(&patch(&large)).status, 413);
}

#[test]
fn unsupported_methods_and_unknown_paths_are_rejected() {
    for (method, path, status) in [
        ("POST", "/me", 405),
        ("PUT", "/teams/search", 405),
        ("OPTIONS", "/teams/search", 405),
        ("BREW", "/teams/search", 405),
        ("GET", "/keys/developers/rotate", 405),
        ("GET", "/teams", 404),
        ("GET", "/teams/search/", 404),
        ("GET", "/teams/gone", 404),
        ("GET", "/keys/gone", 404),
        ("GET", "/organizations/gone", 404),
        ("GET", "/teams/%ff", 404),
    ] {
        let answer = answer(&request("platform", method, path, &Value::Null));
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.field("allow").is_some(), status == 405);
    }
}

#[test]
fn head_is_get_without_the_body() {
    let request = request("platform", "HEAD", "/teams/search", &Value::Null);
    let AdminDecision::Answer(head) = World::new().decide(&request).outcome else { panic!() };
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.fields.iter().any(|(name, _)| *name == "etag"));
}

#[test]
fn unknown_and_repeated_parameters_are_rejected() {
    for (path, status) in [
        ("/organizations?limit=1", 200),
        ("/organizations?limit=0", 400),
        ("/organizations?limit=201", 400),
        ("/organizations?limit=x", 400),
        ("/organizations?limit=1&limit=1", 400),
        ("/organizations?offset=1", 400),
        ("/organizations?after=%zz", 400),
        ("/organizations?after=a%20b", 400),
        ("/organizations?after=", 400),
        ("/teams/search?limit=1", 400),
    ] {
        let answer = answer(&request("platform", "GET", path, &Value::Null));
        assert_eq!(answer.status, status, "{path}");
        if status == 400 {
            assert!(answer.body["errors"][0]["parameter"].is_string(), "{path}: {}", answer.body);
        }
    }
}

#[test]
fn problems_do_not_repeat_possible_secrets() {
    let secret = "sk-tg-abcd-verysecretverysecretverysecretverysecret";
    for body in [
        json!({ "name": "x", "digest": secret, "owner": 7 }),
        json!({ "name": "x", "owner": secret }),
        json!({ "name": "x", "budget": { "max": secret } }),
    ] {
        let answer = answer(&request("team-admin", "POST", "/teams/search/keys", &body));
        assert_eq!(answer.status, 400);
        assert!(!answer.body.to_string().contains("verysecret"), "{}", answer.body);
    }
    for body in [json!({ "mode": "restrict", "targets": [secret] }), json!({ "mode": "inherit", secret: 1 })]
    {
        let answer = answer(&request("team-admin", "PUT", "/teams/search/access", &body));
        assert_eq!(answer.status, 400);
        assert!(answer.body.to_string().contains("sk-tg-abcd-…"), "{}", answer.body);
        assert!(!answer.body.to_string().contains("verysecret"), "{}", answer.body);
    }
}

#[test]
fn an_ambiguous_path_is_rejected_with_problem_details() {
    for (path, ours) in [
        ("/tollgate/v1/teams/%13/self-service", true),
        ("/tollgate/v1/teams//members", true),
        ("/tollgate/v1/../v1/me", true),
        ("/x/../tollgate/v1/me", false),
    ] {
        let fields: [(&[u8], &[u8]); 2] = [(b":method", b"GET"), (b":path", path.as_bytes())];
        let mut exchange = Exchange::new(Rc::new(World::new().gateway));
        let now = World::new().now;
        match exchange.request_headers(&Headers::new(&fields), true, now.timestamp(), &mut |_| ()) {
            Action::Answer(response) if ours => {
                let answer = read(response);
                assert_eq!((answer.status, answer.code()), (400, "ambiguous_path"), "{path}");
            }
            Action::Answer(answer) if !ours => assert_eq!(answer.status, 400, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[test]
fn a_refusal_names_every_fault_of_the_record_at_once() {
    let access = json!({ "mode": "restrict", "targets": ["gone"] });
    let cases = [
        (
            "POST",
            "/organizations",
            json!({ "id": "new", "name": 5, "access": { "targets": ["gone"] }, "limits": { "rpm": 0 }, "x": 1 }),
            vec!["/access/targets/0", "/limits/rpm", "/name", "/x"],
        ),
        (
            "PATCH",
            "/organizations/acme",
            json!({ "state": "asleep", "target_limits": { "gone": { "rpm": 1 } } }),
            vec!["/state", "/target_limits/gone"],
        ),
        (
            "POST",
            "/organizations/acme/teams",
            json!({ "id": "new", "name": "", "limits": { "rpm": 2000 }, "members": { "ghost": "team_admin" } }),
            vec!["/limits/rpm", "/members/ghost", "/name"],
        ),
        (
            "PATCH",
            "/teams/search",
            json!({ "limits": { "rpm": 5000 }, "target_limits": { "gone": { "rpm": 1 } }, "name": "" }),
            vec!["/limits/rpm", "/name", "/target_limits/gone"],
        ),
        (
            "POST",
            "/teams/search/keys",
            json!({ "name": "k", "access": access, "owner": "user/ghost", "limits": { "rpm": 200, "tpm": -1 } }),
            vec!["/access/targets/0", "/limits/rpm", "/limits/tpm", "/owner"],
        ),
        (
            "PATCH",
            "/keys/developers",
            json!({ "access": access, "state": 1, "limits": { "rpm": 200 } }),
            vec!["/access/targets/0", "/limits/rpm", "/state"],
        ),
    ];
    for (method, path, body, expected) in cases {
        let mut request = request("platform", method, path, &body);
        if method == "PATCH" {
            request.content_type = Some("application/merge-patch+json".into());
        }
        let answer = answer(&request);
        let mut found = answer.pointers();
        found.sort_unstable();
        assert_eq!((answer.status, found), (400, expected), "{method} {path}: {:?}", answer.body);
    }
}
