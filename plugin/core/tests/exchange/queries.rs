//! The parameters of the query of a call: those of its API's table, and names of models that must be the target's.

use serde_json::{Value, json};

use super::*;

const BODY: &str = r#"{"model":"small","messages":[]}"#;

/// A configuration whose team may call both targets.
fn settings(unknown_query: &str) -> Rc<GatewayConfig> {
    let mut policy = policy();
    policy["organizations"]["acme"]["access"]["targets"] = json!(["*"]);
    gateway(&json!({ "policy": policy, "unknown_query": unknown_query, "routes": [
        { "path": "/reports", "target": "small" },
        { "path": "/ask", "api": "openai-chat", "model": "query m" },
    ] }))
}

/// The target that is sent on, or the code of the rejection.
fn sent(gateway: &Rc<GatewayConfig>, path: &str) -> String {
    let body = if path.starts_with("/reports") { None } else { Some(BODY) };
    let decided = with_key(gateway, path, body);
    match &decided.step {
        Action::Admit(_) | Action::Forward(_) => {
            decided.edited(":path").map_or_else(|| path.to_owned(), |edited| edited.unwrap().to_owned())
        }
        Action::Answer(answer) => {
            let error: Value = serde_json::from_str(&answer.body).unwrap();
            let error = &error["error"];
            let code = error["code"].as_str().or(error["details"][0]["reason"].as_str());
            code.unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    }
}

const AZURE: &str = "/openai/deployments/small/chat/completions";
const GEMINI: &str = "/v1beta/models/small:streamGenerateContent";

#[test]
fn parameters_of_the_apis_pass_as_they_are() {
    for mode in ["remove", "deny", "allow"] {
        let gateway = settings(mode);
        for path in [
            "/openai/deployments/small/chat/completions?api-version=2024-10-01-preview",
            "/v1/messages?beta=true",
            "/v1beta/models/small:generateContent?alt=sse&prettyPrint=false",
            "/v1beta/models/small:generateContent?%24alt=json",
            "/v1/chat/completions?",
            "/v1/chat/completions?model=small",
            "/v1/chat/completions?api-version=2024%2D10&&",
            "/ask?m=small",
            // An operator's own API.
            "/reports?from=2026-01-01&x=1;y=2&callback=f",
        ] {
            assert_eq!(sent(&gateway, path), path, "{mode}");
        }
    }
}

#[test]
fn other_parameters_are_removed_refused_or_forwarded_as_configured() {
    for (path, removed) in [
        (format!("{CHAT}?stream=true"), CHAT.to_owned()),
        (format!("{CHAT}?a=1&api-version=1&b=2"), format!("{CHAT}?api-version=1")),
        (format!("{CHAT}?API-VERSION=1"), CHAT.to_owned()),
        (format!("{CHAT}?api-version=1%26x%3D2"), CHAT.to_owned()),
        (format!("{CHAT}?%zz=1"), CHAT.to_owned()),
        (format!("{CHAT}?user_config=%7B%7D&tags=x"), CHAT.to_owned()),
        (format!("{AZURE}?beta=true"), AZURE.to_owned()),
        (format!("{GEMINI}?alt=proto"), GEMINI.to_owned()),
        (
            format!("{GEMINI}?alt=sse&callback=f&access_token=x&%24httpMethod=GET"),
            format!("{GEMINI}?alt=sse"),
        ),
        ("/v1/messages?beta=1".to_owned(), "/v1/messages".to_owned()),
        ("/ask?m=small&n=2".to_owned(), "/ask?m=small".to_owned()),
    ] {
        assert_eq!(sent(&settings("remove"), &path), removed, "{path}");
        assert_eq!(sent(&settings("deny"), &path), "unknown_parameter", "{path}");
        assert_eq!(sent(&settings("allow"), &path), path);
    }
}

#[test]
fn a_key_and_unknown_parameters_are_removed_together() {
    for (mode, kept) in [("remove", CHAT.to_owned()), ("allow", format!("{CHAT}?x=1&y=2"))] {
        let decided = decide(&settings(mode), &format!("{CHAT}?x=1&key={KEY}&y=2"), &[], Some(BODY));
        assert_eq!(decided.edited(":path"), Some(Some(&*kept)));
        decided.charges();
    }
    let refused = decide(&settings("deny"), &format!("{CHAT}?key={KEY}&sk-tg-a-secret=2"), &[], Some(BODY));
    assert!(refusal(&refused).contains("sk-tg-a-…") && !refusal(&refused).contains("secret"));
}

#[test]
fn every_name_of_a_model_in_the_query_is_the_targets() {
    for mode in ["remove", "deny", "allow"] {
        let gateway = settings(mode);
        for query in [
            "model=large",
            "model=",
            "model",
            "Model=large",
            "mod%65l=large",
            "model[]=large",
            "model[0]=large",
            "%20model=large",
            "model%00=large",
            "model=small&model=large",
            "model=small;model=large",
            "api-version=1;model=large",
            "model=small%00large",
            "model=%zz",
            "deployment=large",
            "models=large",
            "engine=large",
            "model_id=large",
            "fallbacks=large",
            "target_model_names=small,large",
        ] {
            assert_eq!(sent(&gateway, &format!("{CHAT}?{query}")), "model_mismatch", "{mode} {query}");
        }
        assert_eq!(sent(&gateway, "/ask?m=large"), "model_mismatch", "{mode}");
    }
}

#[test]
fn no_mode_forwards_another_model_behind_an_unknown_parameter() {
    let mut policy = policy();
    policy["teams"]["blue"]["mode"] = json!("shadow");
    let gateway = gateway(&json!({ "policy": policy, "unknown_query": "deny" }));
    assert!(is_unpatched(&with_key(&gateway, &format!("{CHAT}?x=1"), Some(BODY)).step));
    let refused = with_key(&gateway, &format!("{CHAT}?x=1&model=large"), Some(BODY));
    assert!(refusal(&refused).contains("model_mismatch"));
}
