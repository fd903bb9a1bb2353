//! Requests that none may send, and the form of the filter's own answers.

use serde_json::json;
use tollgate_core::exchange::Action;

use super::answers::{ANTHROPIC, NAMED, answer, code, field, send, shape};
use super::{KEY, decide_as, gateway, policy};

#[test]
fn objects_of_the_shared_account_are_not_served() {
    let gateway = gateway(&json!({}));
    for (method, path, expected) in [
        ("GET", "/v1/files", "openai"),
        ("HEAD", "/v1/files/file-1", "openai"),
        ("POST", "/v1/files", "openai"),
        ("GET", "/v1/files/file-1/content", "openai"),
        ("DELETE", "/openai/v1/files/file-1", "openai"),
        ("GET", "/openai/files?api-version=2024-10-21", "openai"),
        ("POST", "/v1/uploads/upload_1/parts", "openai"),
        ("POST", "/v1/batches", "openai"),
        ("GET", "/v1/responses/resp_1", "openai"),
        ("GET", "/v1/responses/resp_1?beta=true", "openai"),
        ("DELETE", "/v1/responses/resp_1", "openai"),
        ("POST", "/v1/responses/resp_1/cancel", "openai"),
        ("GET", "/v1/responses/resp_1/input_items", "openai"),
        ("GET", "/v1/chat/completions", "openai"),
        ("POST", "/v1/chat/completions/chatcmpl-1", "openai"),
        ("POST", "/v1/conversations", "openai"),
        ("GET", "/v1/conversations/conv_1/items", "openai"),
        ("POST", "/v1/vector_stores/vs_1/search", "openai"),
        ("POST", "/v1/fine_tuning/jobs", "openai"),
        ("DELETE", "/v1/models/ft:small:acme::1", "openai"),
        ("POST", "/v1/threads/runs", "openai"),
        ("POST", "/openai/threads/t/messages", "openai"),
        ("GET", "/v1beta/openai/files", "openai"),
        ("POST", "/v1/videos", "openai"),
        ("POST", "/v1/messages/batches", "anthropic"),
        ("GET", "/v1/messages/batches/msgbatch_1/results", "anthropic"),
        ("POST", "/v1beta/models/small:batchGenerateContent", "gemini"),
        ("POST", "/v1beta/models/small:asyncBatchEmbedContent", "gemini"),
        ("POST", "/upload/v1beta/files?uploadType=resumable", "gemini"),
        ("GET", "/v1beta/files/abc", "gemini"),
        ("GET", "/v1beta/batches/b1", "gemini"),
        ("POST", "/v1beta/batches/b1:cancel", "gemini"),
        ("POST", "/v1beta/cachedContents", "gemini"),
        ("GET", "/v1beta/tunedModels", "gemini"),
        ("POST", "/v1beta/interactions", "gemini"),
    ] {
        let body = (method == "POST").then_some(NAMED);
        let refused = send(&gateway, method, path, body);
        assert_eq!(
            (code(&refused).as_str(), shape(&refused)),
            ("stored_objects_not_served", expected),
            "{path}"
        );
        let (answer, _) = answer(&refused);
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("`routes`"), "{}", answer.body);
        assert_eq!(code(&decide_as(&gateway, method, path, &[], body)), "missing_api_key", "{path}");
    }
    let bearer = format!("Bearer {KEY}");
    let fields = [("authorization", bearer.as_str()), ANTHROPIC];
    assert_eq!(shape(&decide_as(&gateway, "GET", "/v1/files", &fields, None)), "anthropic");
}

#[test]
fn an_operator_s_route_serves_what_the_default_ones_refuse() {
    let files = json!([{ "path": "/v1/files/**", "target": "small" }]);
    let gateway = gateway(&json!({ "routes": files }));
    let served = send(&gateway, "GET", "/v1/files/file-1", None);
    assert_eq!(served.exchange.log().target.as_deref(), Some("small"));
    assert_eq!(code(&send(&gateway, "GET", "/v1/batches", None)), "stored_objects_not_served");
    let own = json!([{ "path": "/exports/**", "api": "stored-objects" }]);
    let gateway = self::gateway(&json!({ "routes": own }));
    assert_eq!(code(&send(&gateway, "GET", "/exports/1", None)), "stored_objects_not_served");
}

#[test]
fn sessions_past_the_gateway_are_not_served() {
    let gateway = gateway(&json!({}));
    for (path, expected) in [
        ("/v1/realtime/client_secrets", "openai"),
        ("/v1/realtime/sessions", "openai"),
        ("/v1/realtime/transcription_sessions", "openai"),
        ("/v1/realtime/translations/client_secrets", "openai"),
        ("/v1/realtime/calls", "openai"),
        ("/v1/realtime?model=small", "openai"),
        ("/openai/v1/realtime/client_secrets", "openai"),
        ("/openai/realtimeapi/sessions", "openai"),
        ("/v1/live/sessions", "openai"),
        ("/v1/chatkit/sessions", "openai"),
        ("/v1alpha/auth_tokens", "gemini"),
        ("/v1beta/auth_tokens", "gemini"),
    ] {
        let refused = send(&gateway, "POST", path, Some(NAMED));
        assert_eq!(
            (code(&refused).as_str(), shape(&refused)),
            ("direct_sessions_not_served", expected),
            "{path}"
        );
        assert_eq!(answer(&refused).0.status, 403);
    }
}

#[test]
fn head_is_served_as_get_is() {
    let routes = json!([
        { "path": "/open", "methods": ["GET"], "public": true },
        { "path": "/write", "methods": ["POST"], "public": true },
    ]);
    let gateway = gateway(&json!({ "routes": routes }));
    for path in ["/v1/models", "/v1/models/small", "/v1beta/models", "/openai/models"] {
        assert_eq!(answer(&send(&gateway, "HEAD", path, None)).0.status, 200, "{path}");
        assert_eq!(
            answer(&send(&gateway, "HEAD", path, None)).0,
            answer(&send(&gateway, "GET", path, None)).0
        );
    }
    assert!(matches!(send(&gateway, "HEAD", "/open", None).step, Action::Forward(_)));
    assert_eq!(code(&send(&gateway, "HEAD", "/write", None)), "unknown_route");
    assert_eq!(code(&send(&gateway, "HEAD", "/v1/embeddings", None)), "unknown_route");
    assert_eq!(code(&send(&gateway, "HEAD", "/v1/models/large", None)), "model_not_found");
}

#[test]
fn an_unknown_route_is_refused_in_the_dialect_of_its_path() {
    let gateway = gateway(&json!({}));
    for (method, path, fields, expected) in [
        ("GET", "/v1/messages", &[][..], "anthropic"),
        ("POST", "/v1/messages/unknown", &[], "anthropic"),
        ("POST", "/v1beta/models/small:predict", &[], "gemini"),
        ("GET", "/v1beta/unknown", &[], "gemini"),
        ("GET", "/v1beta/openai/unknown", &[], "openai"),
        ("POST", "/v1/unknown", &[ANTHROPIC], "anthropic"),
        ("POST", "/v1/unknown", &[("x-goog-api-key", "k")], "gemini"),
        ("POST", "/v1/unknown", &[], "openai"),
        ("GET", "/", &[], "openai"),
    ] {
        let refused = decide_as(&gateway, method, path, fields, None);
        assert_eq!((code(&refused).as_str(), shape(&refused)), ("unknown_route", expected), "{path}");
        assert_eq!(answer(&refused).0.status, 404);
    }
    let ambiguous = decide_as(&gateway, "POST", "/v1beta//models", &[], None);
    assert_eq!((code(&ambiguous).as_str(), shape(&ambiguous)), ("ambiguous_path", "gemini"));
}

#[test]
fn every_401_has_a_challenge_and_no_other_rejection_has_one() {
    let gateway = gateway(&json!({}));
    let key = |key: &str| decide_as(&gateway, "POST", "/v1/messages", &[("x-api-key", key)], Some(NAMED));
    let realm = r#"Bearer realm="tollgate""#;
    let none = decide_as(&gateway, "POST", "/v1/messages", &[], Some(NAMED));
    assert_eq!(field(answer(&none).0, "www-authenticate"), Some(realm));
    for wrong in ["unknown", "sk-tg-mistyped"] {
        let refused = key(wrong);
        let (response, _) = answer(&refused);
        assert_eq!(response.status, 401);
        let challenge = format!(r#"{realm}, error="invalid_token""#);
        assert_eq!(field(response, "www-authenticate"), Some(challenge.as_str()));
        assert_eq!(field(response, "cache-control"), Some("no-store"));
        assert!(field(response, "vary").is_some());
    }
    let forbidden = send(&gateway, "POST", "/v1/messages", Some(&NAMED.replace("small", "large")));
    let (response, _) = answer(&forbidden);
    assert_eq!(field(response, "www-authenticate"), None);
    assert_eq!(field(response, "cache-control"), Some("no-store"));
}

#[test]
fn a_longer_name_than_an_allowed_one_is_a_target_of_its_own() {
    let mut dated = policy();
    for name in ["gpt-5", "gpt-5-mini", "gpt-5-mini-2025-08-07", "gpt"] {
        dated["targets"][name] = json!({ "price": { "input": "1", "output": "1" } });
    }
    dated["organizations"]["acme"]["access"] = json!({ "targets": ["gpt-5", "gpt-5-mini"] });
    let gateway = gateway(&json!({ "policy": dated }));
    let message = |name: &str, path: &str| {
        let refused = send(&gateway, "POST", path, Some(&NAMED.replace("small", name)));
        assert_eq!(code(&refused), "target_not_allowed", "{name}");
        answer(&refused).1["error"]["message"].as_str().unwrap().to_owned()
    };
    for (name, shorter) in [
        ("gpt-5-2025-08-07", Some("gpt-5")),
        ("gpt-5@latest", Some("gpt-5")),
        // This one is in the catalogue, and not allowed: it looks like the others.
        ("gpt-5-mini-2025-08-07", Some("gpt-5-mini")),
        ("gpt-5-mini-2025-08-08", Some("gpt-5-mini")),
        ("gpt-50", None),
        ("gpt-4-turbo", None),
        ("gpt", None),
        ("models/gpt-5-1", None),
    ] {
        for path in ["/v1/chat/completions", "/v1/messages/count_tokens"] {
            let message = message(name, path);
            let named = shorter.map(|shorter| {
                format!("Each name is a target of its own: `{shorter}` is available, and does not include `{name}`. ")
            });
            match named {
                Some(named) => assert!(message.contains(&named), "{message}"),
                None => assert!(!message.contains("target of its own"), "{message}"),
            }
        }
    }
}

#[test]
fn a_limit_of_gemini_s_api_has_a_retry_info() {
    use tollgate_core::admission::{AdmissionError, NotAdmitted};
    use tollgate_core::quota::{PrincipalKind, QuotaExceeded, QuotaReason, QuotaScope, Window};

    let gateway = gateway(&json!({}));
    for (wait, delay) in [(12_000_000_001, Some("12.001s")), (30_000_000_000, Some("30s"))] {
        let mut decided = send(&gateway, "POST", "/v1beta/models/small:generateContent", Some("{}"));
        let reason = QuotaReason::LimitReached { window: Window::Rpm, limit: 3, used: 3, requested: 1 };
        let scope = QuotaScope::whole(PrincipalKind::Team);
        let denied =
            QuotaExceeded { scope, reason, wait: Some(wait), input_cost: tollgate_core::money::Pico(0) };
        let refused = NotAdmitted {
            error: AdmissionError::Denied(Box::new(denied)),
            status: Default::default(),
            unsettled: Vec::new(),
        };
        let (step, _) = decided.exchange.admitted(Err(refused));
        decided.step = step;
        let (response, body) = answer(&decided);
        assert_eq!(response.status, 429);
        let details = body["error"]["details"].as_array().unwrap();
        let info = details.iter().find(|it| it["@type"] == "type.googleapis.com/google.rpc.RetryInfo");
        assert_eq!(info.and_then(|info| info["retryDelay"].as_str()), delay, "{body}");
    }
    let forbidden = send(&gateway, "POST", "/v1beta/models/large:generateContent", Some("{}"));
    assert!(!answer(&forbidden).0.body.contains("RetryInfo"));
}

#[test]
fn a_grpc_client_gets_a_status_and_a_sentence() {
    let routes = json!([{ "path": "/acme.Reports/*", "target": "small" }, { "path": "/acme.Admin/*", "target": "large" }]);
    let gateway = gateway(&json!({ "routes": routes }));
    let bearer = format!("Bearer {KEY}");
    for (content_type, expected) in [
        ("application/grpc", "application/grpc"),
        ("application/grpc+proto", "application/grpc"),
        ("application/grpc-web+proto", "application/grpc-web"),
        ("application/grpc-web-text", "application/grpc-web-text"),
    ] {
        for (path, authorization, status, words) in [
            ("/acme.Reports/List", "", "16", "No API key was sent. "),
            ("/acme.Reports/List", "Bearer unknown", "16", "This API key is not valid here. "),
            ("/acme.Admin/List", bearer.as_str(), "7", "`large` is not available"),
            ("/acme.Unknown/List", bearer.as_str(), "12", "This gateway has no route"),
            ("/acme.Reports//List", bearer.as_str(), "3", "This path is ambiguous. "),
        ] {
            let mut fields = vec![("content-type", content_type), ("te", "trailers")];
            if !authorization.is_empty() {
                fields.push(("authorization", authorization));
            }
            let refused = decide_as(&gateway, "POST", path, &fields, Some("\0\0\0\0\0"));
            let (response, _) = answer(&refused);
            assert_eq!((response.status, response.body.as_str()), (200, ""), "{path}");
            assert_eq!(field(response, "content-type"), Some(expected), "{path}");
            assert_eq!(field(response, "grpc-status"), Some(status), "{path}");
            let message = field(response, "grpc-message").unwrap();
            assert!(message.starts_with(words) && !message.contains('{'), "{message}");
        }
    }
    let plain = decide_as(
        &gateway,
        "POST",
        "/acme.Reports/List",
        &[("content-type", "application/json")],
        Some("{}"),
    );
    assert_eq!((answer(&plain).0.status, code(&plain).as_str()), (401, "missing_api_key"));
}
