//! The cases. Each has its own team, so that they do not affect one another.

use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_host::tools;

use super::{Case, Host, Outcome};
use crate::client::{Connection, Request, Response, request};
use crate::shipped;
use crate::world::{chat, chat_with, secret};

/// The number of concurrent requests.
const CROWD: usize = 500;
/// The number of admitted requests.
pub const CROWD_LIMIT: usize = 123;

pub const ALL: &[Case] = &[
    Case { name: "401 without a key, with an unknown and with an expired one", run: keys },
    Case { name: "403 for a target that is not granted", run: access },
    Case { name: "the model list has the allowed models only", run: models },
    Case { name: "the upstream gets the caller's identity, not its key", run: identity },
    Case { name: "429 over a limit, with the wait", run: limit },
    Case { name: "exactly the limit out of 500 concurrent requests", run: crowd },
    Case { name: "no budget is exceeded by 100 concurrent requests", run: budget },
    Case { name: "tokens are settled to the provider's report", run: settlement },
    Case { name: "a stream is settled after its client disconnects", run: client_leaves },
    Case { name: "the OpenAI SDK, streaming included", run: sdk },
    Case { name: "counters outlive a restart", run: restart },
];

fn ask(host: &dyn Host, key: &str, request_: Request) -> Response {
    request(host.address(), &request_.bearer(&secret(key)))
}

fn code(answer: &Response) -> Value {
    answer.json()["error"]["code"].clone()
}

/// Returns true if the host cannot enforce limits.
fn has_no_limits(answer: &Response) -> bool {
    let refused = answer.status == 503;
    if refused {
        assert_eq!(code(answer), "limits_unavailable", "{answer:?}");
    }
    refused
}

fn keys(host: &mut dyn Host) -> Outcome {
    let before = host.upstream().recording().requests().len();
    let without = request(host.address(), &chat());
    assert_eq!((without.status, code(&without)), (401, json!("missing_api_key")));
    let unknown = request(host.address(), &chat().bearer("sk-unknown"));
    assert_eq!((unknown.status, code(&unknown)), (401, json!("invalid_api_key")));
    let expired = ask(host, "expired", chat());
    assert_eq!((expired.status, code(&expired)), (401, json!("expired_api_key")));
    assert_eq!(host.upstream().recording().requests().len(), before, "nothing went upstream");
    Outcome::Holds
}

fn access(host: &mut dyn Host) -> Outcome {
    for model in ["gpt-5", "no-such-model"] {
        let refused = ask(host, "open", chat_with(model));
        assert_eq!((refused.status, code(&refused)), (403, json!("target_not_allowed")));
    }
    assert_eq!(ask(host, "open", chat()).status, 200);
    Outcome::Holds
}

fn models(host: &mut dyn Host) -> Outcome {
    let list = ask(host, "open", Request::new("GET", "/v1/models"));
    assert_eq!(list.status, 200, "{list:?}");
    let list = list.json();
    let mut ids: Vec<_> = list["data"].as_array().into_iter().flatten().map(|model| &model["id"]).collect();
    ids.sort_by_key(|id| id.to_string());
    assert_eq!(ids, ["gpt-5-mini", "text-embedding-3-small"]);
    assert_eq!(ask(host, "open", Request::new("GET", "/v1/models/gpt-5")).status, 404);
    Outcome::Holds
}

fn identity(host: &mut dyn Host) -> Outcome {
    let forged = chat().header("x-tollgate-team", "root").header("x-case", "identity");
    assert_eq!(ask(host, "open", forged).status, 200);
    let requests = host.upstream().recording().requests();
    let seen = requests.iter().find(|seen| seen.headers.contains_key("x-case")).expect("it arrived");
    let values = |name: &str| seen.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(values("x-tollgate-team"), ["open"]);
    assert_eq!(values("x-tollgate-target"), ["gpt-5-mini"]);
    assert!(!format!("{:?}", seen.headers).contains(&secret("open")), "{:?}", seen.headers);
    Outcome::Holds
}

fn limit(host: &mut dyn Host) -> Outcome {
    let first = ask(host, "three", chat());
    if has_no_limits(&first) {
        return Outcome::LimitsUnavailable;
    }
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.headers.get("x-ratelimit-remaining-requests"), Some("2"));
    assert_eq!(first.headers.get("x-tollgate-scope"), Some("team_rpm"));
    assert_eq!([ask(host, "three", chat()).status, ask(host, "three", chat()).status], [200, 200]);
    let refused = ask(host, "three", chat());
    assert_eq!((refused.status, code(&refused)), (429, json!("team_rpm_exceeded")));
    let wait: u64 = refused.headers.get("retry-after").and_then(|wait| wait.parse().ok()).unwrap_or(0);
    assert!((1..=61).contains(&wait), "{refused:?}");
    Outcome::Holds
}

/// Sends requests before any is answered, and returns their statuses.
fn at_once(host: &dyn Host, count: usize, request: &Request) -> Vec<Response> {
    let together = Barrier::new(count);
    let address = host.address();
    let bytes = request.bytes();
    std::thread::scope(|scope| {
        let call = |_| {
            let (together, bytes) = (&together, &bytes);
            let sent = move || {
                let mut connection = Connection::open(address);
                together.wait();
                connection
                    .send(bytes)
                    .and_then(|()| connection.response())
                    .unwrap_or_else(|error| panic!("{error}"))
            };
            std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, sent).expect("a thread")
        };
        let calls: Vec<_> = (0..count).map(call).collect();
        calls.into_iter().map(|call| call.join().unwrap_or_else(|_| panic!("a client failed"))).collect()
    })
}

fn crowd(host: &mut dyn Host) -> Outcome {
    let answers = at_once(host, CROWD, &chat().bearer(&secret("crowd")));
    if answers.iter().all(has_no_limits) {
        return Outcome::LimitsUnavailable;
    }
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(429)), (CROWD_LIMIT, CROWD - CROWD_LIMIT));
    Outcome::Holds
}

/// 4,000 output tokens cost four cents, and the input less than half a cent: ten calls fit, eleven do not.
fn budget(host: &mut dyn Host) -> Outcome {
    let ask = Request::json(
        "/v1/chat/completions",
        &json!({"model": "gpt-5-mini", "max_tokens": 4_000, "messages": []}),
    );
    // The whole reservation is used, so that settlement returns nothing.
    let ask = ask.header("x-simulate", "usage=200:4000").bearer(&secret("spender"));
    let answers = at_once(host, 100, &ask);
    if answers.iter().all(has_no_limits) {
        return Outcome::LimitsUnavailable;
    }
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 429);
    let codes: Vec<_> = refused.map(code).collect();
    assert_eq!((passed, codes.len()), (10, 90), "{codes:?}");
    assert!(codes.iter().all(|code| code == "team_budget_exceeded"), "{codes:?}");
    Outcome::Holds
}

/// Returns the remaining daily tokens that a call of known size reports, after everything before it is
/// settled.
fn left_after(host: &dyn Host, key: &str) -> u64 {
    let ask = chat().header("x-simulate", "usage=0:0").bearer(&secret(key));
    let answer = request(host.address(), &ask);
    assert_eq!(answer.status, 200, "{answer:?}");
    let left = answer.headers.get("x-ratelimit-remaining-tokens").and_then(|left| left.parse().ok());
    left.unwrap_or_else(|| panic!("{answer:?}"))
}

/// Waits until the remaining tokens are as expected: a settlement follows its response.
fn comes_to(host: &dyn Host, key: &str, expected: impl Fn(u64) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let left = left_after(host, key);
        if expected(left) {
            return;
        }
        assert!(Instant::now() < end, "{left} tokens are left");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn settlement(host: &mut dyn Host) -> Outcome {
    let first = ask(host, "metered", chat().header("x-simulate", "usage=0:0"));
    if has_no_limits(&first) {
        return Outcome::LimitsUnavailable;
    }
    // The reservation of such a call is the difference to the limit.
    let fresh = first.headers.get("x-ratelimit-remaining-tokens").and_then(|left| left.parse().ok());
    let fresh: u64 = fresh.unwrap_or_else(|| panic!("{first:?}"));
    comes_to(host, "metered", |left| left == fresh);
    assert_eq!(ask(host, "metered", chat().header("x-simulate", "usage=700:77")).status, 200);
    comes_to(host, "metered", |left| left == fresh - 777);
    Outcome::Holds
}

fn client_leaves(host: &mut dyn Host) -> Outcome {
    let first = ask(host, "left", chat().header("x-simulate", "usage=0:0"));
    if has_no_limits(&first) {
        return Outcome::LimitsUnavailable;
    }
    let fresh = first.headers.get("x-ratelimit-remaining-tokens").and_then(|left| left.parse().ok());
    let fresh: u64 = fresh.unwrap_or_else(|| panic!("{first:?}"));
    comes_to(host, "left", |left| left == fresh);
    let stream = Request::json(
        "/v1/chat/completions",
        &json!({"model": "gpt-5-mini", "stream": true, "max_tokens": 100_000, "messages": []}),
    );
    let stream = stream.header("x-simulate", "tokens=2000, chunk-ms=20").bearer(&secret("left"));
    let mut connection = Connection::open(host.address());
    connection.send(&stream.bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(connection.response_head().unwrap_or_else(|error| panic!("{error}")).0, 200);
    for _ in 0..5 {
        assert!(!connection.some().unwrap_or_else(|error| panic!("{error}")).is_empty());
    }
    // While it runs, the whole reservation is charged.
    assert!(left_after(host, "left") < fresh - 90_000);
    connection.leave();
    comes_to(host, "left", |left| left < fresh && left > fresh - 2_500);
    Outcome::Holds
}

fn sdk(host: &mut dyn Host) -> Outcome {
    if has_no_limits(&ask(host, "good", chat())) {
        return Outcome::LimitsUnavailable;
    }
    let Some(python) = tools::require(tools::python_sdks()) else { return Outcome::NotTried };
    let output = Command::new(python)
        .arg(shipped::folder().join("tests/sdk/openai_sdk.py"))
        .args(["--base-url", &format!("http://{}", host.address())])
        .args(["--key", &secret("good"), "--limited-key", &secret("agent")])
        .args(["--expired-key", &secret("expired"), "--budget-key", &secret("poor")])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("{error}"));
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{failed}");
    Outcome::Holds
}

fn restart(host: &mut dyn Host) -> Outcome {
    let first = ask(host, "kept", chat());
    if has_no_limits(&first) {
        return Outcome::LimitsUnavailable;
    }
    assert_eq!(
        [first.status, ask(host, "kept", chat()).status, ask(host, "kept", chat()).status],
        [200, 200, 429]
    );
    host.restart();
    match ask(host, "kept", chat()).status {
        429 => Outcome::Holds,
        200 => Outcome::StartsFromZero,
        other => panic!("{other}"),
    }
}
