//! Queries, media types, forms and spellings of paths, in both hosts: what the upstream gets is what was decided.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate_envoy::client::{Request, Response, request};
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::world::{configuration, key_of, secret};
use tollgate_host::simulator::Upstream;

use super::serve;

const CHAT: &str = "/v1/chat/completions";
const BODY: &str = r#"{"model":"gpt-5-mini","messages":[]}"#;

fn settings() -> Value {
    let mut configuration = configuration(
        &json!({"ml": {"organization": "acme", "name": "ML"}}),
        &json!({"laptop": key_of("ml", "laptop")}),
    );
    configuration["unmatched"] = json!("pass");
    configuration["routes"] = json!([
        {"path": "/reports", "methods": ["GET"], "target": "gpt-5-mini"},
        {"path": "/jobs", "methods": ["PUT"], "target": "gpt-5-mini"},
    ]);
    configuration
}

/// Runs a check in both hosts.
fn in_both(check: impl Fn(SocketAddr, &Upstream)) {
    let upstream = Upstream::start_recording().unwrap();
    let (server, _) = serve(&settings(), upstream.addr());
    check(server.addr(), &upstream);
    let Some(gateway) = Gateway::start(&settings()) else { return };
    check(gateway.address(), &gateway.upstream);
    gateway.assert_no_trap();
}

fn code(response: &Response) -> (u16, String) {
    let body: Value = serde_json::from_slice(&response.body.data).unwrap_or_default();
    let error = &body["error"];
    let code = error["code"].as_str().or(error["details"][0]["reason"].as_str()).unwrap_or_default();
    (response.status, code.to_owned())
}

#[test]
fn the_upstream_gets_the_parameters_of_the_api_only() {
    in_both(|address, upstream| {
        let key = secret("laptop");
        for (path, sent) in [
            (format!("{CHAT}?model=gpt-5"), Err((400, "model_mismatch"))),
            (format!("{CHAT}?Model[]=gpt-5"), Err((400, "model_mismatch"))),
            (format!("{CHAT}?a=1;model=gpt-5"), Err((400, "model_mismatch"))),
            (format!("{CHAT}?model=gpt-5-mini"), Ok(format!("{CHAT}?model=gpt-5-mini"))),
            (
                format!("{CHAT}?api-version=2024-10-01&user_config=x&key={key}"),
                Ok(format!("{CHAT}?api-version=2024-10-01")),
            ),
            ("/v1/messages?beta=true&x=1".to_owned(), Ok("/v1/messages?beta=true".to_owned())),
            (
                "/v1beta/models/gpt-5-mini:generateContent?alt=json&%24httpMethod=GET&callback=f".to_owned(),
                Ok("/v1beta/models/gpt-5-mini:generateContent?alt=json".to_owned()),
            ),
        ] {
            let before = upstream.recording().requests().len();
            let body = if path.starts_with("/v1beta") { "{}" } else { BODY };
            let post = Request::new("POST", &path)
                .header("content-type", "application/json")
                .bearer(&key)
                .body(body);
            let answer = request(address, &post);
            let arrived = upstream.recording().requests().split_off(before);
            match sent {
                Ok(sent) => {
                    assert_eq!(arrived.len(), 1, "{path}: {answer:?}");
                    assert_eq!(arrived[0].path, sent);
                }
                Err((status, reason)) => {
                    assert_eq!(code(&answer), (status, reason.to_owned()), "{path}");
                    assert!(arrived.is_empty(), "{path}");
                }
            }
        }
    });
}

#[test]
fn a_body_has_one_media_type() {
    in_both(|address, upstream| {
        for media_type in [
            "application/json, multipart/form-data; boundary=b",
            "application/json; boundary=b",
            "application/json; charset=utf-16",
            "multipart/form-data; boundary=b, application/json",
            "multipart/form-data; boundary=b; charset=utf-7",
            "multipart/form-data; boundary=a,b",
            "application/x-www-form-urlencoded",
            "text/plain",
        ] {
            let post = Request::new("POST", CHAT)
                .header("content-type", media_type)
                .bearer(&secret("laptop"))
                .body(BODY);
            assert_eq!(
                code(&request(address, &post)),
                (415, "unsupported_media_type".to_owned()),
                "{media_type}"
            );
        }
        // Envoy joins two fields with a comma.
        let twice = Request::new("POST", CHAT)
            .header("content-type", "application/json")
            .header("content-type", "text/plain")
            .bearer(&secret("laptop"))
            .body(BODY);
        assert_eq!(request(address, &twice).status, 415);
        assert!(upstream.recording().requests().is_empty());
    });
}

#[test]
fn a_form_that_servers_read_differently_is_refused_with_the_reason() {
    in_both(|address, upstream| {
        let first = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-5-mini\r\n";
        for (odd, reason) in [
            (
                "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\na\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-5\r\n",
                "no part contains",
            ),
            ("--b\r\nContent-Disposition: form-data; name='model'\r\n\r\ngpt-5\r\n", "a part's name"),
            (
                "--b\r\nContent-Disposition: form-data; name=\"model[0]\"\r\n\r\ngpt-5\r\n",
                "differs from `model`",
            ),
            (
                "--b\r\nContent-Disposition: form-data; name=\"=?utf-8?q?model?=\"\r\n\r\ngpt-5\r\n",
                "a part's name",
            ),
        ] {
            let post = |body: String| {
                let post = Request::new("POST", "/v1/audio/transcriptions").bearer(&secret("laptop"));
                request(address, &post.header("content-type", "multipart/form-data; boundary=b").body(body))
            };
            let refused = post(format!("{first}{odd}--b--\r\n"));
            assert_eq!(code(&refused), (400, "invalid_body".to_owned()), "{odd}");
            assert!(refused.text().contains(reason), "{odd}: {}", refused.text());
        }
        assert!(upstream.recording().requests().is_empty());
    });
}

#[test]
fn no_spelling_of_a_governed_request_passes_without_a_key() {
    in_both(|address, upstream| {
        for (method, path, header) in [
            ("POST", "/V1/Chat/Completions", ""),
            ("POST", "/v1/chat/completions.json", ""),
            ("POST", "/v1/ch%2561t/completions", ""),
            ("POST", "/v1/chat/completions%2520", ""),
            ("POST", "/v1%252Fchat/completions", ""),
            ("POST", "/x/%252e%252e/v1/chat/completions", ""),
            ("PUT", CHAT, ""),
            ("GET", "/REPORTS", ""),
            ("POST", "/jobs", ""),
            ("GET", "/jobs", "x-http-method-override: PUT"),
            ("GET", "/jobs?_method=PUT", ""),
            ("GET", "/other", "x-original-url: /v1/chat/completions"),
            ("GET", "/other", "x-rewrite-url: /REPORTS"),
        ] {
            let mut send = Request::new(method, path);
            if let Some((name, value)) = header.split_once(": ") {
                send = send.header(name, value);
            }
            let answer = request(address, &send.header("content-type", "application/json").body(BODY));
            assert!([400, 404].contains(&answer.status), "{method} {path} {header}: {answer:?}");
        }
        assert!(upstream.recording().requests().is_empty());
        for path in ["/other", "/reportsx", "/files/a%2520b"] {
            request(address, &Request::new("GET", path));
        }
        assert_eq!(upstream.recording().requests().len(), 3, "others pass");
        // A request that passes with a key has the method and the path that were decided.
        let decided = Request::new("GET", "/reports?_method=DELETE&a=1").bearer(&secret("laptop"));
        request(
            address,
            &decided.header("x-http-method-override", "DELETE").header("x-original-url", "/v1/other"),
        );
        let arrived = upstream.recording().requests().pop().unwrap();
        assert_eq!(arrived.path, "/reports?a=1");
        for name in ["x-http-method-override", "x-original-url"] {
            assert_eq!(arrived.header(name), [b""; 0]);
        }
    });
}
