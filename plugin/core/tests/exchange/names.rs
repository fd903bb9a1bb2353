//! The names of one target in route, path, query and body: one is decided about, and no other is sent.

use serde_json::{Value, json};

use super::*;

/// A configuration whose team may call both targets.
fn settings(routes: Value) -> Value {
    let mut policy = policy();
    policy["organizations"]["acme"]["access"]["targets"] = json!(["*"]);
    json!({ "policy": policy, "routes": routes })
}

fn warnings(settings: &Value) -> Vec<String> {
    let mut loader = ConfigLoader::default();
    loader.push(settings.to_string().as_bytes());
    loader.finish().unwrap().1.iter().map(ToString::to_string).collect()
}

/// The target that is decided about, or the code of the rejection.
fn target(gateway: &Rc<GatewayConfig>, path: &str, body: Option<&str>, upgrade: bool) -> String {
    let bearer = format!("Bearer {KEY}");
    let mut fields = vec![("authorization", bearer.as_str())];
    if upgrade {
        fields.push(("upgrade", "websocket"));
    }
    let decided = decide(gateway, path, &fields, body);
    match &decided.step {
        Action::Admit(_) | Action::Forward(_) => decided.exchange.log().target.as_deref().unwrap().to_owned(),
        Action::Answer(answer) => {
            assert!(answer.status == 400 || !answer.body.contains("model_mismatch"), "{answer:?}");
            let error: Value = serde_json::from_str(&answer.body).unwrap();
            error["error"]["code"]
                .as_str()
                .or(error["error"]["details"][0]["reason"].as_str())
                .unwrap()
                .to_owned()
        }
        other => panic!("{other:?}"),
    }
}

const MISMATCH: &str = "model_mismatch";

#[test]
fn a_route_with_a_target_refuses_requests_for_another_one() {
    let routes = json!([
        { "path": CHAT, "methods": ["POST"], "api": "openai-chat", "target": "small" },
        { "path": "/v1/completions", "methods": ["POST"], "target": "small" },
        { "path": "/openai/deployments/{model}/chat/completions", "api": "openai-chat", "target": "small" },
        { "path": "/v1beta/models/{model}:generateContent", "target": "small" },
        { "path": "/v1/realtime", "target": "small", "unmetered": "allow" },
        { "path": "/reports", "target": "small" },
    ]);
    let gateway = gateway(&settings(routes));
    let model = |name: &str| Some(format!(r#"{{"model":"{name}","prompt":"x"}}"#));
    let azure = |name: &str| format!("/openai/deployments/{name}/chat/completions");
    for (path, body, decided) in [
        (CHAT.to_owned(), model("small"), "small"),
        (CHAT.to_owned(), Some("{}".into()), "small"),
        (CHAT.to_owned(), model("large"), MISMATCH),
        (CHAT.to_owned(), model("nowhere"), MISMATCH),
        (CHAT.to_owned(), model("models/large"), MISMATCH),
        (format!("{CHAT}?model=small"), model("small"), "small"),
        (format!("{CHAT}?model=large"), model("small"), MISMATCH),
        (format!("{CHAT}?model=large"), Some("{}".into()), MISMATCH),
        (format!("{CHAT}?%6dodel=l%61rge&x=1"), Some("{}".into()), MISMATCH),
        (format!("{CHAT}?model=small&model=large"), Some("{}".into()), MISMATCH),
        (format!("{CHAT}?model="), Some("{}".into()), MISMATCH),
        // The API of a provider's path is known without `api`.
        ("/v1/completions".to_owned(), model("small"), "small"),
        ("/v1/completions".to_owned(), model("large"), MISMATCH),
        (azure("small"), Some("{}".into()), "small"),
        (azure("large"), Some("{}".into()), MISMATCH),
        (azure("large"), model("large"), MISMATCH),
        (azure("small"), model("large"), MISMATCH),
        (
            "/v1beta/models/small:generateContent".to_owned(),
            Some(r#"{"model":"models/small"}"#.into()),
            "small",
        ),
        (
            "/v1beta/models/small:generateContent".to_owned(),
            Some(r#"{"model":"models/large"}"#.into()),
            MISMATCH,
        ),
        ("/v1beta/models/large:generateContent".to_owned(), Some("{}".into()), MISMATCH),
        // A parameter of an operator's API may be called `model` too; a name of the catalogue is one of a target.
        ("/reports?model=golf".to_owned(), None, "small"),
        ("/reports?model=large".to_owned(), None, MISMATCH),
    ] {
        assert_eq!(target(&gateway, &path, body.as_deref(), false), decided, "{path} {body:?}");
    }
    for (path, decided) in [
        ("/v1/realtime", "small"),
        ("/v1/realtime?model=small", "small"),
        ("/v1/realtime?model=large", MISMATCH),
        ("/v1/realtime?model=nowhere", MISMATCH),
        ("/v1/realtime?deployment=large&api-version=2024-10-01", MISMATCH),
        ("/v1/realtime?model=small&model=large", MISMATCH),
    ] {
        assert_eq!(target(&gateway, path, None, true), decided, "{path}");
    }
    let refused = with_key(&gateway, CHAT, model("large").as_deref());
    assert!(
        refusal(&refused).contains("`small`") && refusal(&refused).contains("`large`"),
        "{}",
        refusal(&refused)
    );
}

#[test]
fn a_call_that_requests_an_upgrade_is_not_decided_without_its_body() {
    // Nothing of this team has to be metered, so that a connection would be forwarded.
    let mut policy = policy();
    policy["teams"]["blue"].as_object_mut().unwrap().remove("budget");
    let gateway = gateway(&json!({ "policy": policy }));
    for path in ["/openai/deployments/small/chat/completions", "/v1beta/models/small:generateContent"] {
        for body in [r#"{"model":"large"}"#, r#"{"models":["large"]}"#, "{}"] {
            assert_eq!(target(&gateway, path, Some(body), true), "invalid_body", "{path} {body}");
        }
    }
}

#[test]
fn path_query_and_body_must_name_the_same_model_without_a_target_too() {
    let mut settings = settings(json!([]));
    settings.as_object_mut().unwrap().remove("routes");
    let of_defaults = gateway(&settings);
    let model = |name: &str| Some(format!(r#"{{"model":"{name}"}}"#));
    for (path, body, decided) in [
        ("/openai/deployments/small/chat/completions", model("large"), MISMATCH),
        ("/openai/deployments/small/chat/completions?model=large", Some("{}".into()), MISMATCH),
        ("/v1/chat/completions?model=large", model("small"), MISMATCH),
        ("/v1/chat/completions?model=small", model("small"), "small"),
        // The upstream reads the model in the body.
        ("/v1/chat/completions?model=small", Some("{}".into()), "model_required"),
        ("/v1beta/models/small:generateContent", Some(r#"{"model":"models/small"}"#.into()), "small"),
        ("/v1beta/models/small:generateContent", Some(r#"{"model":"models/large"}"#.into()), MISMATCH),
    ] {
        assert_eq!(target(&of_defaults, path, body.as_deref(), false), decided, "{path} {body:?}");
    }
    // A path that names its model in words.
    let routes = json!([
        { "path": "/openai/deployments/large/chat/completions" },
        { "path": "/openai/deployments/large/embeddings", "api": "openai-embeddings", "target": "small" },
    ]);
    let in_words = gateway(&self::settings(routes));
    let deployed = "/openai/deployments/large/chat/completions";
    assert_eq!(target(&in_words, deployed, model("small").as_deref(), false), MISMATCH);
    assert_eq!(target(&in_words, deployed, Some("{}"), false), "large");
    assert_eq!(target(&in_words, "/openai/deployments/large/embeddings", Some("{}"), false), MISMATCH);
}

#[test]
fn no_mode_forwards_a_request_that_names_two_models() {
    let mut settings = settings(json!([{ "path": CHAT, "api": "openai-chat", "target": "small" }]));
    settings["mode"] = json!("shadow");
    let shadowing = gateway(&settings);
    assert_eq!(target(&shadowing, CHAT, Some(r#"{"model":"large"}"#), false), MISMATCH);
    assert_eq!(target(&shadowing, CHAT, Some(r#"{"model":"small"}"#), false), "small");
}

#[test]
fn routes_that_can_name_two_models_are_reported() {
    for (route, warning) in [
        (json!({ "path": CHAT, "target": "small" }), None),
        (json!({ "path": CHAT, "api": "openai-chat", "target": "small" }), None),
        (json!({ "path": "/openai/deployments/small/chat/completions", "target": "small" }), None),
        (json!({ "path": "/reports", "target": "small" }), None),
        (json!({ "path": CHAT, "api": "plain", "public": true }), None),
        (
            json!({ "path": "/openai/deployments/large/chat/completions", "target": "small" }),
            Some("warning /routes/0/target: the path of this route names `large` and not `small`"),
        ),
        (
            json!({ "path": "/v1beta/models/large:generateContent", "target": "small" }),
            Some("warning /routes/0/target: the path of this route names `large` and not `small`"),
        ),
        (
            json!({ "path": "/v1beta/models/{model}:generateContent", "target": "small" }),
            Some(
                "warning /routes/0/target: requests of this route whose path names another model than `small`",
            ),
        ),
        (
            json!({ "path": CHAT, "methods": ["POST"], "api": "plain", "target": "small" }),
            Some(
                "warning /routes/0: bodies of a `plain` route are not read, and may name another model than `small`: set `api` to `openai-chat`",
            ),
        ),
    ] {
        let found = warnings(&settings(json!([route])));
        assert_eq!(found.len(), usize::from(warning.is_some()), "{route} {found:?}");
        assert!(warning.is_none_or(|warning| found[0].starts_with(warning)), "{route} {found:?}");
    }
}
