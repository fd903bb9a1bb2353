//! Browser applications: the option `cors` of `envoy.yaml`, with raw requests and in Chromium.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_envoy::client::{Request, Response};
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::wire::{Framing, Reader, request_head};
use tollgate_envoy::world::{chat, chat_with, digest, key_of, secret};
use tollgate_host::tools;

const CHAT: &str = "/v1/chat/completions";
/// The origin in the shipped file.
const SHIPPED: &str = "https://app.example";
const TOKEN: &str = "tg-of-ada";

fn configuration() -> Value {
    let mut configuration = tollgate_envoy::world::configuration(
        &json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 1, "tpm": 1_000_000}},
                "web": {"organization": "acme", "name": "Web", "limits": {"rpm": 1_000}}}),
        &json!({"laptop": key_of("ml", "laptop"), "page": key_of("web", "page")}),
    );
    configuration["headers"] = json!("both");
    configuration["policy"]["users"] = json!({"ada": {"name": "Ada", "tokens": [digest(TOKEN)]}});
    configuration
}

/// Starts a gateway that pages of this origin may call.
fn start(origin: &str) -> Option<Gateway> {
    Gateway::with_options(&configuration(), &["cors"], |folder| {
        let path = folder.join("envoy.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(SHIPPED).count(), 2, "one policy, used by both routes");
        std::fs::write(&path, text.replace(SHIPPED, origin)).unwrap();
    })
}

fn allowed_origin(answer: &Response) -> Option<&str> {
    answer.headers.get("access-control-allow-origin")
}

/// Returns the request as a page of the shipped origin sends it.
fn with_origin(request: &Request) -> Request {
    request.clone().header("origin", SHIPPED)
}

fn preflight(path: &str, origin: &str) -> Request {
    Request::new("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-stainless-os")
}

#[test]
fn preflights_need_no_key_and_rejections_carry_the_headers_for_their_origin() {
    let Some(mut gateway) = start(SHIPPED) else { return };
    for path in [CHAT, "/v1/messages", "/v1/models"] {
        let answer = gateway.request(&preflight(path, SHIPPED));
        assert_eq!((answer.status, allowed_origin(&answer)), (200, Some(SHIPPED)), "{path}: {answer:?}");
        assert_eq!(answer.headers.get("access-control-allow-headers"), Some("*, authorization"));
        assert_eq!(answer.headers.get("access-control-allow-credentials"), None);
    }
    // Each with a page's origin: admitted, over the limit, and rejections for several reasons.
    let key = secret("laptop");
    let calls = [
        (chat().bearer(&key), 200),
        (chat().bearer(&key), 429),
        (chat(), 401),
        (chat().bearer("sk-unknown"), 401),
        (chat_with("gpt-5").bearer(&key), 403),
        (Request::new("POST", CHAT).bearer(&key).header("content-type", "application/json").body("{"), 400),
        (Request::new("GET", "/v1/models").bearer(&key), 200),
    ];
    let mut exposed_by_the_filter = BTreeSet::new();
    for (request, status) in &calls {
        let answer = gateway.request(&with_origin(request));
        assert_eq!((answer.status, allowed_origin(&answer)), (*status, Some(SHIPPED)), "{answer:?}");
        let exposed = answer.headers.get("access-control-expose-headers").unwrap();
        let exposed: BTreeSet<_> = exposed.split(',').map(str::trim).collect();
        for (name, _) in &answer.headers.0 {
            let own = ["x-ratelimit", "ratelimit", "x-tollgate", "retry-after", "x-should-retry", "www-auth"];
            if own.iter().any(|start| name.starts_with(start)) {
                assert!(exposed.contains(name.as_str()), "a page cannot read {name}");
                exposed_by_the_filter.insert(name.clone());
            }
        }
    }
    for name in [
        "retry-after",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-tokens",
        "ratelimit",
        "x-tollgate-scope",
    ] {
        assert!(exposed_by_the_filter.contains(name), "no response had {name}: {exposed_by_the_filter:?}");
    }
    let preflights = gateway.envoy.access_log(3);
    assert!(preflights[..3].iter().all(|line| line["decision"] == "undecided"), "{preflights:#?}");
    gateway.assert_no_trap();
}

#[test]
fn other_origins_and_the_management_api_get_no_permission() {
    let Some(gateway) = start(SHIPPED) else { return };
    let me = "/tollgate/v1/me";
    for (path, origin) in [
        (CHAT, "https://elsewhere.example"),
        (CHAT, "https://app.example.elsewhere.example"),
        (CHAT, "http://app.example"),
        (CHAT, "null"),
        (me, SHIPPED),
        ("/tollgate/v1/teams/ml/keys", SHIPPED),
        ("/tollgate/console/", SHIPPED),
        ("//tollgate/v1/me", SHIPPED),
        ("/v1/../tollgate/v1/me", SHIPPED),
    ] {
        let answer = gateway.request(&preflight(path, origin));
        assert_eq!(allowed_origin(&answer), None, "{path} from {origin}: {answer:?}");
        assert_ne!(answer.status, 200, "{path} from {origin}");
        let own = Request::new("GET", path).header("origin", origin).bearer(TOKEN);
        let answer = gateway.request(&own);
        assert_eq!(allowed_origin(&answer), None, "{path} from {origin}: {answer:?}");
    }
    let answer = gateway.request(&Request::new("GET", me).header("origin", SHIPPED).bearer(TOKEN));
    assert_eq!((answer.status, &answer.json()["id"]), (200, &json!("ada")), "the API itself answers");
    assert!(gateway.upstream.recording().requests().is_empty());
}

/// The page calls the gateway, and sends what it could read to its own server.
const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>page</title><script>
const gateway = "GATEWAY", chat = JSON.stringify({model: "gpt-5-mini", messages: [{role: "user", content: "Hi."}]});
async function call(path, key, more) {
  const headers = {"content-type": "application/json", "x-stainless-os": "Unknown", ...more};
  if (key) headers.authorization = `Bearer ${key}`;
  try {
    const answer = await fetch(gateway + path, {method: path.startsWith("/tollgate") ? "GET" : "POST", headers,
      body: path.startsWith("/tollgate") ? undefined : chat});
    return {status: answer.status, headers: Object.fromEntries(answer.headers), body: await answer.text()};
  } catch (error) { return {error: String(error)}; }
}
(async () => {
  const path = "/v1/chat/completions", results = {};
  results.admitted = await call(path, "LAPTOP");
  results.limited = await call(path, "LAPTOP");
  results.unknown = await call(path, "sk-unknown");
  results.missing = await call(path, null);
  results.by_api_key = await call(path, null, {"x-api-key": "PAGE"});
  results.management = await call("/tollgate/v1/me", "TOKEN");
  await fetch("/results", {method: "POST", body: JSON.stringify(results)});
})();
</script>"#;

/// Starts the server of a page. Returns its address and what the page sends to it.
fn page_server(listener: TcpListener, page: String) -> Receiver<Value> {
    let (send, results) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, page, send) = (stream.unwrap(), page.clone(), send.clone());
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut reader = Reader::new(stream.try_clone()?);
                while let Some(head) = reader.head()? {
                    let head = request_head(&head);
                    let body = reader.body(head.headers.framing(Framing::Empty))?;
                    let (status, page) = match head.path.as_str() {
                        "/" => ("200 OK", page.as_str()),
                        "/results" => ("200 OK", ""),
                        _ => ("404 Not Found", ""),
                    };
                    if let Ok(found) = serde_json::from_slice(&body.data) {
                        // The test may have ended.
                        let _ = send.send(found);
                    }
                    let length = page.len();
                    write!(
                        stream,
                        "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{page}"
                    )?;
                }
                Ok(())
            });
        }
    });
    results
}

/// Opens the page at `listener` in Chromium and returns its results.
fn results(chromium: &tools::Chromium, listener: TcpListener, gateway: SocketAddr) -> Value {
    let page = PAGE
        .replace("GATEWAY", &format!("http://{gateway}"))
        .replace("LAPTOP", &secret("laptop"))
        .replace("PAGE", &secret("page"))
        .replace("TOKEN", TOKEN);
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let results = page_server(listener, page);
    let open = chromium.open(&url).unwrap_or_else(|error| panic!("{error}"));
    results.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("no results:\n{}", open.log()))
}

#[test]
fn a_page_in_chromium_reads_responses_rejections_and_rate_limit_headers() {
    let Some(chromium) = tools::require(tools::chromium()) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let Some(mut gateway) = start(&origin) else { return };

    let found = results(&chromium, listener, gateway.address());
    let status = |name: &str| found[name]["status"].clone();
    let names = ["admitted", "limited", "unknown", "missing", "by_api_key"];
    assert_eq!(names.map(status), [200, 429, 401, 401, 200].map(Value::from), "{found:#}");
    let (admitted, limited) = (&found["admitted"]["headers"], &found["limited"]["headers"]);
    assert_eq!(
        (&admitted["x-ratelimit-limit-requests"], &admitted["x-ratelimit-remaining-requests"]),
        (&json!("1"), &json!("0"))
    );
    let wait: u32 = limited["retry-after"].as_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{limited}");
    assert_eq!(limited["x-tollgate-scope"], "team_rpm");
    let error: Value = serde_json::from_str(found["limited"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "team_rpm_exceeded");
    assert!(found["management"]["error"].as_str().unwrap().starts_with("TypeError"), "{found:#}");

    let log = gateway.envoy.access_log(4);
    assert!(
        log.iter().any(|line| line["method"] == "OPTIONS" && line["status"] == 200),
        "no preflight: {log:#?}"
    );
    assert_eq!(gateway.upstream.recording().requests().len(), 2, "preflights are not sent on");

    // A page of another origin can read nothing, and its requests do not leave the browser after the preflight.
    let other = results(&chromium, TcpListener::bind("127.0.0.1:0").unwrap(), gateway.address());
    for name in names {
        assert!(
            other[name]["error"].as_str().is_some_and(|error| error.starts_with("TypeError")),
            "{other:#}"
        );
    }
    assert_eq!(gateway.upstream.recording().requests().len(), 2);
}
