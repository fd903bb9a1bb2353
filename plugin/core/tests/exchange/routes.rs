//! Default routes: the target that each checks, the charge, and the model list.

use std::rc::Rc;

use serde_json::json;
use tollgate_core::admission::Reservation;
use tollgate_core::config::GatewayConfig;
use tollgate_core::exchange::Action;
use tollgate_core::money::Pico;

use super::answers::{ANTHROPIC, NAMED, answer, code, field, send};
use super::{KEY, decide_as, gateway, policy};

/// Paths with the target in the body, and all methods and bases of the SDKs.
const IN_BODY: &[&str] = &[
    "/v1/chat/completions",
    "/openai/v1/chat/completions",
    "/v1beta/openai/chat/completions",
    "/v1/messages",
    "/v1/messages?beta=true",
    "/v1/responses",
    "/openai/responses?api-version=2025-04-01-preview",
    "/v1/responses/compact",
    "/openai/v1/completions",
    "/v1/embeddings",
    "/v1beta/openai/embeddings",
    "/v1/contextualizedembeddings",
    "/v1/multimodalembeddings",
    "/v1/images/generations",
    "/openai/v1/images/edits",
    "/v1/audio/speech",
    "/openai/v1/audio/speech",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
];

const FREE_IN_BODY: &[&str] = &[
    "/v1/messages/count_tokens",
    "/v1/messages/count_tokens?beta=true",
    "/v1/moderations",
    "/openai/v1/moderations",
    "/v1/responses/input_tokens",
    "/openai/v1/responses/input_tokens",
];

const IN_PATH: &[&str] = &[
    "/v1beta/models/small:generateContent",
    "/v1/models/small:streamGenerateContent?alt=sse",
    "/v1beta/models/small:embedContent",
    "/v1/models/small:batchEmbedContents",
    "/openai/deployments/small/chat/completions?api-version=2024-06-01",
    "/openai/deployments/small/audio/speech",
    "/openai/deployments/small/images/edits",
];

const FREE_IN_PATH: &[&str] = &["/v1beta/models/small:countTokens", "/v1/models/small:countTokens"];

#[test]
fn every_default_route_checks_the_named_target() {
    let gateway = gateway(&json!({}));
    for path in [IN_BODY, FREE_IN_BODY].concat() {
        let body = send(&gateway, "POST", path, Some(NAMED));
        assert_eq!(body.exchange.log().target.as_deref(), Some("small"), "{path}: {:?}", body.step);
        let refused = send(&gateway, "POST", path, Some(&NAMED.replace("small", "large")));
        assert_eq!(code(&refused), "target_not_allowed", "{path}");
        assert_eq!(answer(&refused).0.status, 403);
        assert_eq!(
            code(&send(&gateway, "POST", path, Some(&NAMED.replace("small", "gone")))),
            "target_not_allowed"
        );
        assert_eq!(code(&decide_as(&gateway, "POST", path, &[], Some(NAMED))), "missing_api_key", "{path}");
    }
    for path in [IN_PATH, FREE_IN_PATH].concat() {
        let sent = send(&gateway, "POST", path, Some("{}"));
        assert_eq!(sent.exchange.log().target.as_deref(), Some("small"), "{path}: {:?}", sent.step);
        let refused = send(&gateway, "POST", &path.replace("small", "large"), Some("{}"));
        assert_eq!(code(&refused), "target_not_allowed", "{path}");
    }
}

#[test]
fn a_free_call_is_charged_a_request_and_nothing_else() {
    let mut policy = policy();
    policy["targets"]["small"] = json!({});
    policy["targets"]["omni-moderation-latest"] = json!({});
    policy["organizations"]["acme"]["access"] = json!({ "targets": ["*"] });
    policy["teams"]["blue"]["limits"] = json!({ "rpm": 5, "tpm": 1, "tpd": 1 });
    policy["teams"]["blue"]["budget"] = json!({ "max": "0", "period": "hour" });
    let gateway = gateway(&json!({ "policy": policy }));
    let long = NAMED.replace("\"a\"", &format!("\"{}\"", "a".repeat(5_000)));
    let calls = FREE_IN_BODY.iter().map(|path| (*path, long.as_str()));
    let calls = calls.chain(FREE_IN_PATH.iter().map(|path| (*path, "{}")));
    for (path, body) in calls.chain([("/v1/moderations", r#"{"input":"a"}"#)]) {
        let decided = send(&gateway, "POST", path, Some(body));
        let charges = decided.charges();
        assert_eq!(charges.reservation, Reservation::default(), "{path}");
        let [team] = charges.principals.as_slice() else { panic!("{path}: {charges:?}") };
        let windows: Vec<_> = team.limits.iter().map(|(window, limit)| (window.name(), limit)).collect();
        assert_eq!((windows, team.budget), (vec![("rpm", 5)], None), "{path}");
    }
    // Without a request limit nothing is counted.
    let mut only_money = self::policy();
    only_money["targets"]["small"] = json!({});
    let gateway = self::gateway(&json!({ "policy": only_money }));
    let sent = send(&gateway, "POST", "/v1/messages/count_tokens", Some(NAMED));
    assert!(matches!(sent.step, Action::Forward(_)), "{:?}", sent.step);
    assert_eq!(code(&send(&gateway, "POST", "/v1/messages", Some(NAMED))), "unpriced_target");
}

/// The guide of moderations: `model` may be left out.
#[test]
fn a_moderation_without_a_model_is_a_call_of_the_default_one() {
    let gateway = gateway(&json!({}));
    let refused = send(&gateway, "POST", "/v1/moderations", Some(r#"{"input":"a"}"#));
    assert_eq!(code(&refused), "target_not_allowed");
    assert!(answer(&refused).0.body.contains("`omni-moderation-latest`"));
    let none = send(&gateway, "POST", "/v1/rerank", Some(r#"{"query":"a","documents":[]}"#));
    assert_eq!(code(&none), "model_required");
}

#[test]
fn a_call_without_output_reserves_input_only() {
    let gateway = gateway(&json!({}));
    for path in ["/v1/rerank", "/rerank", "/v1/multimodalembeddings"] {
        let Reservation { input_tokens, tokens, input_cost: _, cost } =
            send(&gateway, "POST", path, Some(NAMED)).charges().reservation;
        assert!(input_tokens > 0 && tokens == input_tokens && cost > Pico(0), "{path}");
    }
    let embed = send(&gateway, "POST", "/v1beta/models/small:embedContent", Some("{}")).charges().reservation;
    assert_eq!(embed.tokens, embed.input_tokens);
}

#[test]
fn every_call_of_a_batch_names_an_allowed_model() {
    let mut policy = policy();
    policy["targets"]["small2"] = json!({ "price": { "input": "3", "output": "3" } });
    policy["organizations"]["acme"]["access"] = json!({ "targets": ["small", "small2"] });
    let gateway = gateway(&json!({ "policy": policy }));
    let path = "/v1beta/models/small:batchEmbedContents";
    let batch = |models: &[&str]| {
        let calls: Vec<_> = models.iter().map(|model| json!({ "model": model, "content": {} })).collect();
        json!({ "requests": calls }).to_string()
    };
    send(&gateway, "POST", path, Some(&batch(&["models/small"; 100]))).charges();
    let both = send(&gateway, "POST", path, Some(&batch(&["models/small", "models/small2"])));
    let one = send(&gateway, "POST", path, Some(&batch(&["models/small", "models/small0"]))).step;
    assert!(matches!(one, Action::Answer(_)), "{one:?}");
    assert!(both.charges().reservation.cost > Pico(0));
    for body in [
        batch(&["models/small", "models/large"]),
        batch(&["large"]),
        r#"{"requests":{"model":"models/large"}}"#.into(),
        r#"{"requests":[{"model":"models/small","model":"models/large"}]}"#.into(),
    ] {
        assert_eq!(code(&send(&gateway, "POST", path, Some(&body))), "target_not_allowed", "{body}");
    }
    let count = "/v1beta/models/small:countTokens";
    for member in ["generateContentRequest", "generate_content_request"] {
        let body = |model: &str| json!({ member: { "model": model, "contents": [] } }).to_string();
        assert_eq!(code(&send(&gateway, "POST", count, Some(&body("models/large")))), "target_not_allowed");
        let same = send(&gateway, "POST", count, Some(&body("models/small")));
        assert!(matches!(same.step, Action::Forward(_)), "{:?}", same.step);
    }
}

#[test]
fn a_realtime_connection_names_its_target_in_the_query() {
    let mut unlimited = policy();
    unlimited["teams"]["blue"].as_object_mut().unwrap().remove("budget");
    let gateway = gateway(&json!({ "policy": unlimited }));
    let bearer = format!("Bearer {KEY}");
    let open = |gateway: &Rc<GatewayConfig>, path: &str| {
        decide_as(gateway, "GET", path, &[("authorization", &bearer), ("upgrade", "websocket")], None)
    };
    for path in [
        "/v1/realtime?model=small",
        "/openai/v1/realtime?model=small",
        "/openai/realtime?api-version=2024-10-01-preview&deployment=small",
    ] {
        let opened = open(&gateway, path);
        assert!(matches!(opened.step, Action::Forward(_)), "{path}: {:?}", opened.step);
        assert_eq!(opened.edited("x-tollgate-target"), Some(Some("small")), "{path}");
        assert_eq!(code(&open(&gateway, &path.replace("small", "large"))), "target_not_allowed", "{path}");
        let connect = [("authorization", bearer.as_str()), (":protocol", "websocket")];
        let extended = decide_as(&gateway, "CONNECT", path, &connect, None);
        assert!(matches!(extended.step, Action::Forward(_)), "{path}: {:?}", extended.step);
    }
    for (path, expected) in [
        ("/v1/realtime", "model_required"),
        ("/v1/realtime?intent=transcription", "model_required"),
        ("/v1/realtime?model=", "model_required"),
        ("/v1/realtime?model=small&model=large", "ambiguous_query"),
        ("/v1/realtime?model=small&Model=large", "ambiguous_query"),
        ("/v1/realtime?model=small;model=large", "ambiguous_query"),
        ("/v1/realtime?model=small&call_id=rtc_1", "stored_objects_not_served"),
        ("/v1/realtime?model=small&c%61ll_id=rtc_1", "stored_objects_not_served"),
        ("/v1/realtime?CALL_ID=rtc_1&model=small", "stored_objects_not_served"),
    ] {
        assert_eq!(code(&open(&gateway, path)), expected, "{path}");
    }
    // The connection cannot be metered, as with every upgrade.
    let budgeted = self::gateway(&json!({}));
    assert_eq!(code(&open(&budgeted, "/v1/realtime?model=small")), "upgrade_not_metered");
}

#[test]
fn the_model_list_has_the_shape_of_the_sdk() {
    let mut described = policy();
    described["targets"]["small"]["max_input_tokens"] = json!(1000);
    described["targets"]["small"]["max_output_tokens"] = json!(64);
    let gateway = gateway(&json!({ "policy": described }));
    let bearer = format!("Bearer {KEY}");
    let get = |path: &str, fields: &[(&str, &str)]| {
        let fields = [&[("authorization", bearer.as_str())], fields].concat();
        let decided = decide_as(&gateway, "GET", path, &fields, None);
        let (response, body) = answer(&decided);
        assert_eq!(field(response, "cache-control"), Some("no-store"));
        let vary = field(response, "vary").unwrap();
        for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key", "anthropic-version"] {
            assert!(vary.split(", ").any(|known| known == name), "{vary}");
        }
        (response.status, body)
    };
    let google = ("x-goog-api-client", "google-genai-sdk/1.0");
    let openai = json!({ "id": "small", "object": "model", "created": 0, "owned_by": "tollgate" });
    let gemini = json!({
        "name": "models/small", "baseModelId": "small", "version": "", "displayName": "small",
        "inputTokenLimit": 1000, "outputTokenLimit": 64,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent", "batchEmbedContents"],
    });
    let anthropic = json!({
        "type": "model", "id": "small", "display_name": "small", "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active", "max_input_tokens": 1000, "max_tokens": 64,
    });
    let all = json!({ "object": "list", "data": [openai] });
    for path in [
        "/v1/models",
        "/v1/models/",
        "/openai/v1/models",
        "/v1beta/openai/models",
        "/openai/models?api-version=1",
    ] {
        assert_eq!(get(path, &[]), (200, all.clone()), "{path}");
    }
    assert_eq!(get("/v1/models/small", &[]), (200, openai.clone()));
    for (path, fields) in [("/v1beta/models?pageSize=1", &[][..]), ("/v1/models", &[google])] {
        assert_eq!(get(path, fields), (200, json!({ "models": [gemini] })), "{path}");
    }
    assert_eq!(get("/v1beta/models/small", &[]), (200, gemini));
    let list = json!({ "data": [anthropic], "has_more": false, "first_id": "small", "last_id": "small" });
    assert_eq!(get("/v1/models?limit=1&beta=true", &[ANTHROPIC]), (200, list));
    assert_eq!(get("/v1/models/small", &[ANTHROPIC]), (200, anthropic));
    for (path, fields, pointer, value) in [
        ("/v1/models/large", &[][..], "/error/code", "model_not_found"),
        ("/v1/models/large", &[ANTHROPIC], "/error/type", "not_found_error"),
        ("/v1beta/models/large", &[], "/error/status", "NOT_FOUND"),
        ("/v1beta/models/gone", &[], "/error/status", "NOT_FOUND"),
    ] {
        let (status, body) = get(path, fields);
        assert_eq!((status, body.pointer(pointer)), (404, Some(&json!(value))), "{path} {body}");
    }
}

#[test]
fn routes_are_added_before_the_default_ones() {
    let routes = json!([
        { "path": "/reports", "target": "small" },
        { "path": "/v1/embeddings", "target": "small", "api": "openai-embeddings" },
    ]);
    let added = gateway(&json!({ "routes": routes }));
    let alone = gateway(&json!({ "routes": routes, "default_routes": false }));
    let none = gateway(&json!({ "default_routes": false }));
    for gateway in [&added, &alone] {
        send(gateway, "GET", "/reports", None).charges();
        send(gateway, "POST", "/v1/embeddings", Some(r#"{"input":"a"}"#)).charges();
    }
    send(&added, "POST", "/v1/chat/completions", Some(NAMED)).charges();
    for (gateway, path) in
        [(&alone, "/v1/chat/completions"), (&none, "/v1/chat/completions"), (&alone, "/v1/files")]
    {
        assert_eq!(code(&send(gateway, "POST", path, Some(NAMED))), "unknown_route", "{path}");
    }
    assert_eq!(code(&send(&none, "GET", "/v1/models", None)), "unknown_route");
    let explicit = gateway(&json!({ "default_routes": true }));
    send(&explicit, "POST", "/v1/chat/completions", Some(NAMED)).charges();
}

#[test]
fn a_route_says_where_the_target_is_named() {
    let routes = json!([
        { "path": "/speak", "model": "query voice_model" },
        { "path": "/ask", "model": "query m", "api": "openai-chat" },
        { "path": "/call/{model}", "model": "path" },
        { "path": "/chat", "model": "body", "api": "openai-chat" },
    ]);
    let gateway = gateway(&json!({ "routes": routes }));
    let target = |method: &str, path: &str, body: Option<&str>| {
        send(&gateway, method, path, body).exchange.log().target.as_deref().map(str::to_owned)
    };
    assert_eq!(target("GET", "/speak?voice_model=small", None).as_deref(), Some("small"));
    assert_eq!(target("GET", "/call/small", None).as_deref(), Some("small"));
    assert_eq!(target("POST", "/chat", Some(NAMED)).as_deref(), Some("small"));
    assert_eq!(target("POST", "/ask?m=small", Some("{}")).as_deref(), Some("small"));
    assert_eq!(target("POST", "/ask?m=small", Some(NAMED)).as_deref(), Some("small"));
    assert_eq!(code(&send(&gateway, "GET", "/speak?model=small", None)), "model_required");
    assert_eq!(code(&send(&gateway, "GET", "/speak?voice_model=large", None)), "target_not_allowed");
    let other = send(&gateway, "POST", "/ask?m=small", Some(&NAMED.replace("small", "large")));
    assert_eq!(answer(&other).0.status, 400, "{:?}", other.step);
}
