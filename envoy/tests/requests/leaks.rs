//! Keys and tokens in every place that a client can put them: none of them is in a log, a metric, a configuration dump, an audit
//! entry, an answer or a value of etcd.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_envoy::client::{Connection, Request, Response, request};
use tollgate_envoy::envoy::{Envoy, Folder};
use tollgate_envoy::fleet::{self, manage, token};
use tollgate_envoy::gateway::{WORKERS, site};
use tollgate_envoy::http2;
use tollgate_envoy::live::Live;
use tollgate_envoy::shipped;
use tollgate_envoy::world::{digest, secret};
use tollgate_host::tools;

use super::serve;

/// A key of another gateway, whose digest was imported.
const FOREIGN: &str = "AIzaSy-of-another-gateway-0123456789abcdef";
/// A user's token.
const TOKEN: &str = "tg-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// A sentence of a body.
const SAID: &str = "the quick brown canary of this body";

fn percent(text: &str, rounds: usize) -> String {
    let once = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    (1..rounds).fold(once(text), |text, _| text.replace('%', "%25"))
}

/// Requests with this secret in every place. It is valid in some of them.
fn requests(of: &str) -> Vec<Request> {
    let chat = "/v1/chat/completions";
    let post = |path: &str| Request::new("POST", path).header("content-type", "application/json");
    let body =
        |model: &str| json!({"model": model, "messages": [{"role": "user", "content": SAID}]}).to_string();
    let plain = body("gpt-5-mini");
    let mut all = Vec::new();
    // In another case only keys of this gateway can be recognized, by their form.
    let upper = if of.starts_with("sk-tg-") { of.to_uppercase() } else { of.to_owned() };
    for spelled in [of.to_owned(), percent(of, 1), percent(of, 2), of.replace('-', "%2D"), upper] {
        for path in [
            format!("/v1/models/{spelled}"),
            format!("/{spelled}"),
            format!("/reports/{spelled}/x"),
            format!("/v1/chat/completions/{spelled}"),
            format!("/v1beta/models/{spelled}:generateContent"),
            format!("/tollgate/v1/keys/{spelled}/rotate"),
            format!("/tollgate/v1/teams/{spelled}"),
            format!("/tollgate/v1/{spelled}?{spelled}"),
            format!("/tollgate/v1/audit?organization={spelled}"),
            format!("{chat}?key={spelled}"),
            format!("{chat}?api_key={spelled}&x={spelled}"),
            format!("{chat}?{spelled}=1"),
            format!("{chat}?model={spelled}"),
            format!("{chat}?key={spelled}&key=another"),
        ] {
            all.push(post(&path).body(plain.clone()));
            all.push(post(&path).bearer(&token("bob")).body("{}"));
            all.push(Request::new("GET", &path).bearer(of));
        }
    }
    for name in [
        "authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "cookie",
        "x-note",
        "user-agent",
        "x-request-id",
        "referer",
        "x-forwarded-for",
        "x-forwarded-proto",
        "traceparent",
        "content-type",
        "content-encoding",
        "accept",
        "upgrade",
        "x-tollgate-key",
        "x-http-method-override",
        "x-original-url",
        "x-envoy-original-path",
        "origin",
        "te",
        "range",
        "expect",
        "if-match",
    ] {
        for value in [
            of.to_owned(),
            format!("Bearer {of}"),
            format!("Basic {}", STANDARD.encode(format!("user:{of}"))),
            format!("session={of}"),
        ] {
            all.push(Request::new("POST", chat).header(name, &value).body(plain.clone()));
            all.push(post(chat).bearer(&secret("laptop")).header(name, &value).body(plain.clone()));
            all.push(post("/tollgate/v1/teams/search").bearer(&token("bob")).header(name, &value).body("{}"));
        }
    }
    all.push(post(chat).bearer(of).header(of, "1").body(plain.clone()));
    let quoted = |text: &str| json!(text).to_string();
    for body in [
        body(of),
        plain.replace(SAID, of),
        format!("{{{}:1}}", quoted(of)),
        format!("{{\"model\":\"gpt-5-mini\",{0}:1,{0}:2}}", quoted(of)),
        format!("{{\"model\":{{{}:1}}}}", quoted(of)),
        format!("{{\"model\":\"gpt-5-mini\",\"max_tokens\":{}}}", quoted(of)),
        format!("{{\"model\":\"gpt-5-mini\",\"fallbacks\":[{}]}}", quoted(of)),
        of.to_owned(),
        format!("{{\"model\":\"gpt-5-mini\"}} {of}"),
    ] {
        all.push(post(chat).bearer(&secret("laptop")).body(body.clone()));
        all.push(post("/tollgate/v1/teams/search/keys").bearer(&token("bob")).body(body.clone()));
        if of.starts_with("sk-tg-") {
            // A key in place of a name; keys of other gateways cannot be told from names.
            let named = json!({"name": of}).to_string();
            all.push(post("/tollgate/v1/teams/search/keys").bearer(&token("bob")).body(named));
        }
        let merge = Request::new("PATCH", "/tollgate/v1/teams/search")
            .header("content-type", "application/merge-patch+json");
        all.push(merge.bearer(&token("ada")).body(body));
    }
    let form = |boundary: &str, head: &str, content: &str| {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n--{boundary}--\r\n"
        );
        Request::new("POST", "/v1/audio/transcriptions")
            .header("content-type", format!("multipart/form-data; boundary={boundary}"))
            .bearer(&secret("laptop"))
            .body(body)
    };
    all.push(form("b", "name=\"model\"", of));
    all.push(form("b", &format!("name=\"{of}\""), "x"));
    all.push(form("b", &format!("name=\"file\"; filename=\"{of}\""), "x"));
    all.push(form(of, "name=\"model\"", "gpt-5-mini"));
    all.push(form("b", &format!("name='{of}'"), "x"));
    for name in ["authorization", "x-api-key", "x-note", "cookie"] {
        let trailers = [(name, of)];
        all.push(post(chat).bearer(&secret("laptop")).chunked(&[plain.as_bytes()], &trailers));
    }
    all
}

/// The texts that must not be found, by what they are.
fn needles(of: &str) -> Vec<(String, String)> {
    let tail = of.get(of.len() - 24..).unwrap_or(of);
    [
        ("the secret", tail.to_owned()),
        ("in upper case", tail.to_uppercase()),
        ("percent-encoded", percent(tail, 1)),
        ("encoded twice", percent(tail, 2)),
        ("hyphens encoded", tail.replace('-', "%2D")),
        ("in base64", STANDARD.encode(format!("user:{of}"))[12..40].to_owned()),
        ("the digest", digest(of)["sha256:".len()..].to_owned()),
        ("a body", SAID.to_owned()),
    ]
    .map(|(what, text)| (what.to_owned(), text))
    .into()
}

/// Panics if one of these places has one of these texts. Digests belong into the operator's configuration and into etcd.
fn assert_nothing(secrets: &[&str], places: &BTreeMap<String, Vec<u8>>) {
    // Files of etcd are mostly zeros.
    let text =
        |bytes: &Vec<u8>| bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect::<String>();
    let places: Vec<_> = places.iter().map(|(place, bytes)| (place, text(bytes))).collect();
    for of in secrets {
        for (what, needle) in needles(of) {
            for (place, text) in &places {
                if what == "the digest" && (place.contains("config_dump") || place.contains("etcd")) {
                    continue;
                }
                if let Some(at) = text.find(&needle) {
                    let near = &text.as_bytes()[at.saturating_sub(300)..(at + 100).min(text.len())];
                    panic!("{what} of {of} in {place}: …{}…", near.escape_ascii());
                }
            }
        }
    }
}

/// Returns true if a place has a text.
fn has(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

fn configuration() -> Value {
    let mut configuration = fleet::configuration();
    let policy = &mut configuration["policy"];
    policy["users"]["eve"]["tokens"] = json!([digest(TOKEN)]);
    policy["targets"]["gpt-5"] = json!({});
    policy["keys"] = json!({
        "foreign": {"team": "search", "digest": digest(FOREIGN)},
        "laptop": {"team": "search", "digest": digest(&secret("laptop"))},
    });
    configuration["routes"] = json!([{"path": "/reports/**", "target": "gpt-5-mini"}]);
    configuration
}

/// An upstream whose answers repeat nothing of a request.
fn upstream() -> Live {
    Live::start(|_, to| {
        to.whole("application/json", r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#)
    })
}

/// Sends all requests on connections of their own, and returns all that was answered.
fn send(address: std::net::SocketAddr, requests: &[Request]) -> Vec<u8> {
    let mut answers = Vec::new();
    let mut connection = Connection::open(address);
    for request in requests {
        if connection.send(&request.bytes()).is_err() {
            connection = Connection::open(address);
            connection.send(&request.bytes()).unwrap();
        }
        match connection.response() {
            Ok(Response { status, headers, body }) => {
                answers.extend(format!("{status} {headers:?}\n").into_bytes());
                answers.extend(body.data);
            }
            // Closed after an answer to the request before.
            Err(_) => {
                connection = Connection::open(address);
                continue;
            }
        }
        connection = if answers.len() % 7 == 0 { Connection::open(address) } else { connection };
    }
    answers
}

#[test]
fn no_place_of_envoy_or_etcd_has_a_secret_that_a_client_sent() {
    let Some(etcd) = tools::Etcd::start() else { return };
    let Some(program) = tools::require(tools::envoy()) else { return };
    let upstream = upstream();
    let site = site(&configuration(), upstream.address());
    let folder = Folder::new();
    shipped::lay_out(folder.path(), &site);
    shipped::add_etcd(folder.path(), &site, etcd.address());
    let mut envoy = Envoy::run(&program, folder, WORKERS);
    let address = envoy.address();
    let ask = |path: &str| request(address, &manage("root", "GET", path, None));
    // A key whose secret is shown once, in this answer.
    let minted =
        request(address, &manage("bob", "POST", "/teams/search/keys", Some(&json!({"name": "mine"}))));
    assert_eq!(minted.status, 201, "{minted:?}");
    let native = minted.json()["secret"].as_str().unwrap().to_owned();
    let secrets = [native.as_str(), FOREIGN, TOKEN];
    let mut places = BTreeMap::new();
    let mut sent = 0;
    for of in secrets {
        let requests = requests(of);
        sent += requests.len();
        places.insert(format!("answers to {of:.8}"), send(address, &requests));
        // In HTTP/2 a method can be any word.
        let odd = http2::Request {
            method: of,
            path: "/v1/models",
            headers: &[("x-a", of)],
            body: &[],
            trailers: &[],
        };
        let answers = http2::requests(address, &[odd]);
        places.insert(format!("answer to a method {of:.8}"), format!("{answers:?}").into_bytes());
    }
    let audit = ask("/audit?organization=acme&limit=200");
    assert_eq!(audit.status, 200, "{audit:?}");
    places.insert("audit".into(), audit.body.data);
    places.insert("audit of the platform".into(), ask("/audit?limit=200").body.data);
    for page in ["/stats", "/stats/prometheus", "/config_dump", "/clusters", "/listeners", "/server_info"] {
        places.insert(page.into(), envoy.admin("GET", page).into_bytes());
    }
    let lines = envoy.access_log(sent / 2).len();
    println!("{sent} requests, {lines} lines");
    places.insert("access log".into(), fs::read(envoy.folder().join("access.log")).unwrap());
    places.insert("log".into(), envoy.log().into_bytes());
    places.insert("etcd".into(), etcd.bytes());
    assert!(has(&places["etcd"], "tollgate/1/doc/team/search"), "this is where etcd keeps it");
    assert!(has(&places["access log"], "sk-tg-"), "paths are logged");
    assert_nothing(&secrets, &places);
    envoy.assert_no_trap();
}

#[test]
fn no_line_and_no_answer_of_the_command_has_a_secret_that_a_client_sent() {
    let upstream = upstream();
    let mut configuration = configuration();
    configuration.as_object_mut().unwrap().remove("fleet");
    configuration["volatile_keys"] = json!(true);
    let (server, lines) = serve(&configuration, upstream.address());
    let native = secret("laptop");
    let secrets = [native.as_str(), FOREIGN, TOKEN];
    let mut places = BTreeMap::new();
    for of in secrets {
        places.insert(format!("answers to {of:.8}"), send(server.addr(), &requests(of)));
    }
    let lines: Vec<String> = lines.all().iter().map(ToString::to_string).collect();
    assert!(lines.len() > 300, "{}", lines.len());
    places.insert("lines".into(), lines.join("\n").into_bytes());
    assert_nothing(&secrets, &places);
}
