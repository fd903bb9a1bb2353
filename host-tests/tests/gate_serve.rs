//! The filter behind `serve`: waits, secrets, reloads, hostile heads.

mod modules;
mod serving;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use serde_json::{Value, json};
use serving::{Choices, Client, Serving, eventually, rest, whole};
use tollgate_core::secret::api_key;
use tollgate_host::proxy_wasm::Clock;

const PATH: &str = "/v1/chat/completions";
const CHAT: &str = r#"{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello."}]}"#;

fn secret(id: &str) -> String {
    api_key::mint(id, &api_key::digest(id.as_bytes()))
}

/// Returns one organization, one team with these limits, and these keys.
fn configuration(limits: &Value, keys: &[&str]) -> String {
    let record = |id: &&str| {
        (
            id.to_string(),
            json!({"team": "ml", "digest": api_key::format_digest(&api_key::digest(secret(id).as_bytes()))}),
        )
    };
    let keys: serde_json::Map<_, _> = keys.iter().map(record).collect();
    json!({"policy": {
        "version": 1,
        "targets": {"gpt-5-mini": {}, "gpt-5": {}},
        "organizations": {"acme": {"name": "Acme", "access": {"targets": ["gpt-5-mini"]}}},
        "teams": {"ml": {"organization": "acme", "name": "ML", "limits": limits}},
        "keys": keys,
    }, "routes": [
        {"path": PATH, "methods": ["POST"], "api": "openai-chat"},
        {"path": "/open", "public": true},
    ]})
    .to_string()
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", self.headers)).to_str().unwrap()
    }

    fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

async fn send(client: &mut Client, path: &str, fields: &[(&str, &[u8])]) -> Answer {
    let mut request = client.request("POST", path).header("content-type", "application/json");
    for (name, value) in fields {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    let response = client.send(request.body(whole(CHAT)).unwrap()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = String::from_utf8(rest(response.into_body()).await).unwrap();
    Answer { status, headers, body }
}

async fn chat(client: &mut Client, key: &str) -> Answer {
    send(client, PATH, &[("authorization", format!("Bearer {key}").as_bytes())]).await
}

#[tokio::test]
async fn a_client_is_admitted_exactly_after_its_retry_after() {
    for (window, longest) in [("rpm", 61), ("rph", 3_660), ("rpd", 86_400)] {
        let (clock, hand) = Clock::manual(Duration::from_millis(1_790_000_123_457));
        let configuration = configuration(&json!({ window: 3 }), &["laptop"]);
        let serving = Serving::with(
            &modules::filter(),
            &configuration,
            Choices { workers: 2, clock, ..Choices::default() },
        );
        let [mut one, mut two] = Client::both(serving.addr()).await;
        let key = secret("laptop");
        for client in [&mut one, &mut two] {
            assert_eq!(chat(client, &key).await.status, 200);
            hand.advance(Duration::from_millis(7_345));
        }
        assert_eq!(chat(&mut one, &key).await.status, 200);
        let refused = chat(&mut two, &key).await;
        assert_eq!((refused.status, refused.code()), (429, format!("team_{window}_exceeded")));
        let wait: u64 = refused.header("retry-after-ms").parse().unwrap();
        assert!(wait > 0 && wait <= longest * 1_000, "{window}: {wait} ms");
        assert_eq!(refused.header("retry-after"), wait.div_ceil(1_000).to_string());
        assert_eq!(refused.headers.contains_key("x-should-retry"), wait > 60_000);
        hand.advance(Duration::from_millis(wait - 1));
        assert_eq!(chat(&mut two, &key).await.status, 429, "{window}: a millisecond early");
        hand.advance(Duration::from_millis(1));
        assert_eq!(chat(&mut two, &key).await.status, 200, "{window}: it waited {wait} ms");
    }
}

#[tokio::test]
async fn a_key_appears_only_in_the_request_that_carries_it() {
    let serving = Serving::new(&modules::filter(), &configuration(&json!({"rpm": 6}), &["laptop"]));
    let mut client = Client::http1(serving.addr()).await;
    let key = secret("laptop");
    let bearer = format!("Bearer {key}");
    let mut answers = Vec::new();
    let places: [&[(&str, &[u8])]; 7] = [
        &[("authorization", bearer.as_bytes())],
        &[("x-api-key", key.as_bytes())],
        &[("api-key", key.as_bytes())],
        &[("x-goog-api-key", key.as_bytes())],
        &[("authorization", bearer.as_bytes()), ("x-api-key", key.as_bytes())],
        &[("authorization", bearer.as_bytes()), ("x-api-key", b"sk-another")],
        &[("authorization", b"Bearer sk-tg-laptop-mistyped")],
    ];
    for fields in places {
        answers.push(send(&mut client, PATH, fields).await);
    }
    answers.push(send(&mut client, &format!("{PATH}?api-version=1&key={key}&b=2"), &[]).await);
    answers.push(send(&mut client, "/open", &[("x-api-key", b"of-another-service")]).await);
    answers.push(send(&mut client, "/open", &[("authorization", bearer.as_bytes())]).await);
    // One more than the limit, and an unknown target.
    answers.push(chat(&mut client, &key).await);
    answers.push(send(&mut client, "/nowhere", &[("authorization", bearer.as_bytes())]).await);
    // A configuration that is rejected is reported, and contains keys.
    let broken = configuration(&json!({"rpm": 0}), &["laptop"]);
    assert!(serving.server.reload(broken.as_bytes()).is_err());
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 400, 401, 200, 200, 200, 429, 404]);
    eventually("each has its line", || serving.lines.all().len() == answers.len()).await;

    let mut written = String::new();
    for answer in &answers {
        let _ = writeln!(written, "{} {:?} {}", answer.status, answer.headers, answer.body);
    }
    for connection in 0..serving.upstream.recording().connections() {
        written += &String::from_utf8_lossy(&serving.upstream.recording().wire(connection));
    }
    assert!(written.contains("/v1/chat/completions?api-version=1 "), "{written}");
    let _ = writeln!(written, "{:?}", serving.lines.all());
    let _ = writeln!(written, "{:?}", serving.log.lines());
    let _ = writeln!(written, "{:?}", serving.server.process().metrics());
    assert!(written.contains("of-another-service"), "what is not ours goes on:\n{written}");
    for sign in ["tollgate.allowed", "/policy/teams/ml/limits/rpm", "x-tollgate-key"] {
        assert!(written.contains(sign), "{sign} is not in what was looked through:\n{written}");
    }
    let random_part = key.rsplit('-').next().unwrap();
    let digest = api_key::format_digest(&api_key::digest(key.as_bytes()));
    for secret in [key.as_str(), random_part, digest.strip_prefix("sha256:").unwrap()] {
        assert!(!written.contains(secret), "{secret} is in\n{written}");
    }
}

#[tokio::test]
async fn limits_and_keys_change_from_one_request_to_the_next_under_load() {
    const MANY: u64 = 1_000_000;
    let start = configuration(&json!({"rpm": MANY}), &["older", "steady"]);
    let serving = Serving::with(&modules::filter(), &start, Choices { workers: 2, ..Choices::default() });
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (addr, done, served) = (serving.addr(), Arc::clone(&done), Arc::clone(&served));
            tokio::spawn(async move {
                let mut client = Client::http1(addr).await;
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(chat(&mut client, &secret("steady")).await.status, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let [mut one, mut two] = Client::both(serving.addr()).await;
    let mut mine = 0;
    for round in 1..=10 {
        let limit = MANY + round;
        let keys: [&str; 2] = if round % 2 == 0 { ["older", "steady"] } else { ["newer", "steady"] };
        serving.server.reload(configuration(&json!({"rpm": limit}), &keys).as_bytes()).unwrap();
        for client in [&mut one, &mut two] {
            let passed = chat(client, &secret(keys[0])).await;
            assert_eq!(
                (passed.status, passed.header("x-ratelimit-limit-requests")),
                (200, &*limit.to_string())
            );
            let gone = if round % 2 == 0 { "newer" } else { "older" };
            assert_eq!(chat(client, &secret(gone)).await.status, 401, "{gone}");
            mine += 1;
        }
        eventually("requests go on", || served.load(Ordering::Relaxed) >= round * 5).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in load {
        client.await.unwrap();
    }
    // Nothing was lost and nothing counted twice; the window is younger than a minute, or has lost some.
    let counted = served.load(Ordering::Relaxed) + mine + 1;
    let left: u64 =
        chat(&mut one, &secret("steady")).await.header("x-ratelimit-remaining-requests").parse().unwrap();
    assert!(left >= MANY + 10 - counted, "{left} left of {MANY} and 10, after {counted}");
    serving.server.reload(configuration(&json!({"rpm": 1}), &["steady"]).as_bytes()).unwrap();
    assert_eq!(chat(&mut two, &secret("steady")).await.status, 429, "what was counted stays counted");
}

#[tokio::test]
async fn hostile_request_headers_are_rejected_clearly_or_answered_correctly() {
    let serving =
        Serving::new(&modules::filter(), &configuration(&json!({"rpm": 1_000}), &["mine", "theirs"]));
    let (mine, theirs) = (secret("mine"), secret("theirs"));
    let bearer = |key: &str| format!("Bearer {key}").into_bytes();
    let long = [b"Bearer sk-tg-".as_slice(), &[b'a'; 64 * 1024]].concat();
    let query = format!("{PATH}?key={mine}&key={theirs}");
    /// A name, a path, header fields, and the expected status and code.
    type Case<'a> = (&'a str, &'a str, Vec<(&'a str, Vec<u8>)>, (u16, &'a str));
    let authorized = |value: Vec<u8>| vec![("authorization", value)];
    let cases: Vec<Case<'_>> = vec![
        (
            "no UTF-8",
            PATH,
            vec![("authorization", bearer(&mine)), ("x-note", b"\xff\xfe".to_vec())],
            (200, ""),
        ),
        ("a key that is no UTF-8", PATH, authorized(b"Bearer \xff\xfe".to_vec()), (401, "invalid_api_key")),
        ("a key of 64 KiB", PATH, authorized(long), (401, "invalid_api_key")),
        ("an empty bearer", PATH, authorized(b"Bearer ".to_vec()), (401, "missing_api_key")),
        ("an upper-case scheme", PATH, authorized(format!("BEARER {mine}").into_bytes()), (200, "")),
        (
            "the same key twice",
            PATH,
            vec![("authorization", bearer(&mine)), ("authorization", bearer(&mine))],
            (200, ""),
        ),
        (
            "two authorizations",
            PATH,
            vec![("authorization", bearer(&mine)), ("authorization", bearer(&theirs))],
            (400, "ambiguous_api_key"),
        ),
        (
            "two keys",
            PATH,
            vec![("authorization", bearer(&mine)), ("api-key", theirs.clone().into_bytes())],
            (400, "ambiguous_api_key"),
        ),
        ("two query keys", &query, vec![], (400, "ambiguous_api_key")),
        ("empty segments", "//v1//chat", authorized(bearer(&mine)), (400, "ambiguous_path")),
        (
            "an encoded parent",
            "/v1/x/%2e%2e/chat/completions",
            authorized(bearer(&mine)),
            (400, "ambiguous_path"),
        ),
        ("an encoded slash", "/v1/chat%2fcompletions", authorized(bearer(&mine)), (400, "ambiguous_path")),
        ("an encoded letter", "/v1/%63hat/completions", authorized(bearer(&mine)), (400, "ambiguous_path")),
        ("upper case", "/V1/Chat/Completions", authorized(bearer(&mine)), (404, "unknown_route")),
    ];
    for mut client in Client::both(serving.addr()).await {
        for (what, path, fields, (status, code)) in &cases {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_slice())).collect();
            let answer = send(&mut client, path, &fields).await;
            assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{what}: {}", answer.body);
        }
        let spoofed: Vec<(&str, &[u8])> = ["organization", "team", "user", "key", "target"]
            .map(|fact| ["x-tollgate-", fact].concat())
            .iter()
            .map(|name| (&*name.clone().leak(), b"spoofed".as_slice()))
            .collect();
        for path in [PATH, "/open"] {
            let bearer = bearer(&mine);
            let fields = [spoofed.as_slice(), &[("authorization", &bearer)]].concat();
            assert_eq!(send(&mut client, path, &fields).await.status, 200);
        }
    }
    let arrived = serving.upstream.recording().requests();
    assert_eq!(arrived.len(), 10);
    for connection in 0..serving.upstream.recording().connections() {
        let wire = serving.upstream.recording().wire(connection);
        assert!(!wire.windows(7).any(|bytes| bytes == b"spoofed"), "{}", wire.escape_ascii());
    }
    assert!(!serving.log.contains("panicked"), "{:?}", serving.log.lines());
}
