//! The filter's own answers in real Envoy: HEAD, challenges, caching, and the shape of the provider.

use serde_json::json;
use tollgate_envoy::client::Response;
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::http2::{self, Request};
use tollgate_envoy::world::{configuration, key_of, secret};

/// Sends a request without a body over HTTP/2.
fn send(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = Request { method, path, headers, ..Request::default() };
    http2::requests(gateway.address(), &[request]).remove(0)
}

#[test]
fn the_filter_s_own_answers_have_the_form_of_the_request() {
    let teams = json!({"ml": {"organization": "acme", "name": "ML"}});
    let laptop = json!({"laptop": key_of("ml", "laptop")});
    let Some(gateway) = Gateway::start(&configuration(&teams, &laptop)) else { return };
    let bearer = format!("Bearer {}", secret("laptop"));
    let key = ("authorization", bearer.as_str());

    // A HEAD has the fields of the GET, its length included, and no body.
    for path in ["/v1/models", "/v1/models/gpt-5-mini", "/v1beta/models", "/openai/v1/models"] {
        let [head, get] = ["HEAD", "GET"].map(|method| send(&gateway, method, path, &[key]));
        assert_eq!((head.status, get.status, head.body.data.len()), (200, 200, 0), "{head:?}");
        let length = get.body.data.len().to_string();
        for (name, value) in [
            ("content-length", length.as_str()),
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(head.headers.get(name), Some(value), "{path}: {head:?}");
            assert_eq!(get.headers.get(name), Some(value), "{path}: {get:?}");
        }
        assert!(get.headers.get("vary").is_some_and(|vary| vary.contains("authorization")), "{get:?}");
    }
    let missing = send(&gateway, "HEAD", "/v1/models", &[]);
    assert_eq!(missing.headers.get("www-authenticate"), Some("Bearer realm=\"tollgate\""), "{missing:?}");
    let unknown = send(&gateway, "GET", "/v1/models", &[("authorization", "Bearer unknown")]);
    let challenge = "Bearer realm=\"tollgate\", error=\"invalid_token\"";
    assert_eq!((unknown.status, unknown.headers.get("www-authenticate")), (401, Some(challenge)));

    for (path, headers, pointer, value) in [
        ("/v1/messages/unknown", &[key][..], "/error/type", "not_found_error"),
        ("/v1beta/unknown", &[key], "/error/status", "NOT_FOUND"),
        ("/v1/unknown", &[key], "/error/code", "unknown_route"),
        ("/v1/unknown", &[key, ("anthropic-version", "2023-06-01")], "/error/type", "not_found_error"),
        ("/v1beta/files", &[key], "/error/status", "PERMISSION_DENIED"),
        ("/v1/messages/batches", &[key], "/error/type", "permission_error"),
        ("/v1/files", &[key], "/error/code", "stored_objects_not_served"),
        ("/v1/responses/resp_1", &[key], "/error/code", "stored_objects_not_served"),
    ] {
        let refused = send(&gateway, "GET", path, headers);
        assert_eq!(refused.json().pointer(pointer), Some(&json!(value)), "{path}: {refused:?}");
    }
    assert!(gateway.upstream.recording().requests().is_empty());
    gateway.assert_no_trap();
}
