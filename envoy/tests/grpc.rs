//! Rejections of gRPC and gRPC-web calls in real Envoy: a status and a sentence instead of JSON.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate_envoy::client::Response;
use tollgate_envoy::envoy::{Envoy, Folder};
use tollgate_envoy::gateway::{Gateway, filter};
use tollgate_envoy::http2::{self, Request};
use tollgate_envoy::shipped::{self, Protocol, Site};
use tollgate_envoy::world::{configuration, key_of, secret};
use tollgate_host::simulator::Upstream;
use tollgate_host::tools;

/// One message: not compressed, 3 bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x03\x0a\x01a";

const FILTERS: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";

fn settings() -> Value {
    let teams = json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 1}}});
    let mut configuration = configuration(&teams, &json!({"laptop": key_of("ml", "laptop")}));
    configuration["routes"] = json!([
        {"path": "/acme.Reports/*", "target": "gpt-5-mini"},
        {"path": "/acme.Admin/*", "target": "gpt-5"},
    ]);
    configuration
}

/// Calls a method, with these fields besides those of every gRPC client.
fn call(address: SocketAddr, path: &str, content_type: &str, authorization: Option<&str>) -> Response {
    let mut headers =
        vec![("content-type", content_type), ("te", "trailers"), ("user-agent", "grpc-test/1.0")];
    headers.extend(authorization.map(|value| ("authorization", value)));
    let request = Request { method: "POST", path, headers: &headers, body: &[MESSAGE], trailers: &[] };
    http2::requests(address, &[request]).remove(0)
}

#[test]
fn a_rejected_call_has_a_grpc_status_and_a_sentence() {
    let Some(gateway) = Gateway::start(&settings()) else { return };
    let bearer = format!("Bearer {}", secret("laptop"));
    let admitted = call(gateway.address(), "/acme.Reports/List", "application/grpc", Some(&bearer));
    assert_ne!(admitted.headers.get("grpc-status"), Some("8"), "{admitted:?}");
    for (content_type, expected) in [
        ("application/grpc", Some("application/grpc")),
        ("application/grpc+proto", Some("application/grpc")),
        // Envoy leaves out the content-type of a response without a body. Clients of gRPC-web read the status from the
        // headers in any case.
        ("application/grpc-web+proto", None),
        ("application/grpc-web-text+proto", None),
    ] {
        for (path, authorization, status, words) in [
            ("/acme.Reports/List", None, "16", "No API key was sent. "),
            ("/acme.Reports/List", Some("Bearer unknown"), "16", "This API key is not valid here. "),
            ("/acme.Admin/List", Some(bearer.as_str()), "7", "`gpt-5` is not available to this key. "),
            ("/acme.Reports/List", Some(bearer.as_str()), "8", "The team's limit of 1 requests per minute "),
            ("/acme.Unknown/List", Some(bearer.as_str()), "12", "This gateway has no route "),
            ("/acme.Reports/List;a", Some(bearer.as_str()), "3", "This path is ambiguous. "),
        ] {
            let refused = call(gateway.address(), path, content_type, authorization);
            assert_eq!(refused.status, 200, "{refused:?}");
            assert_eq!(refused.headers.get("content-type"), expected, "{refused:?}");
            assert_eq!(refused.headers.get("grpc-status"), Some(status), "{refused:?}");
            let message = refused.headers.get("grpc-message").unwrap_or_default();
            assert!(message.starts_with(words), "{refused:?}");
            assert!(refused.body.data.is_empty() && refused.body.trailers.0.is_empty(), "{refused:?}");
            if status == "8" {
                assert!(refused.headers.get("retry-after").is_some(), "{refused:?}");
            }
        }
    }
    gateway.assert_no_trap();
}

#[test]
fn a_call_that_is_no_grpc_keeps_its_http_status() {
    let Some(gateway) = Gateway::start(&settings()) else { return };
    for content_type in ["application/json", "application/grpcx", "application/octet-stream"] {
        let refused = call(gateway.address(), "/acme.Reports/List", content_type, None);
        assert_eq!((refused.status, refused.headers.get("grpc-status")), (401, None), "{refused:?}");
        assert_eq!(refused.headers.get("www-authenticate"), Some("Bearer realm=\"tollgate\""));
        assert_eq!(refused.headers.get("cache-control"), Some("no-store"));
        assert_eq!(refused.json()["error"]["code"], "missing_api_key");
    }
}

/// The filter of Envoy that translates gRPC-web for upstreams without it.
#[test]
fn a_rejected_call_of_grpc_web_passes_through_its_translation() {
    let Some(program) = tools::require(tools::envoy()) else { return };
    let upstream = Upstream::start_recording().unwrap();
    let site = Site {
        module: filter(&[]),
        configuration: Some(settings().to_string()),
        upstream: upstream.addr(),
        protocol: Protocol::Http2,
    };
    let folder = Folder::new();
    shipped::lay_out(folder.path(), &site);
    let mut bootstrap = shipped::bootstrap(&site);
    bootstrap.pointer_mut(FILTERS).and_then(Value::as_array_mut).unwrap().insert(
        0,
        json!({
            "name": "envoy.filters.http.grpc_web",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"},
        }),
    );
    std::fs::write(folder.path().join("envoy.yaml"), bootstrap.to_string()).unwrap();
    let envoy = Envoy::run(&program, folder, 1);
    for content_type in ["application/grpc-web+proto", "application/grpc-web-text+proto"] {
        let refused = call(envoy.address(), "/acme.Reports/List", content_type, None);
        assert_eq!((refused.status, refused.headers.get("grpc-status")), (200, Some("16")), "{refused:?}");
        assert_eq!(refused.headers.get("content-type"), Some("application/grpc-web+proto"), "{refused:?}");
        let message = refused.headers.get("grpc-message").unwrap_or_default();
        assert!(message.starts_with("No API key was sent. "), "{refused:?}");
    }
}
