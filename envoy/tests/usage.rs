//! Usage of calls as operators see it: in the access log, in rate-limit headers, in what a budget has left.

use std::sync::Barrier;

use serde_json::{Value, json};
use tollgate_envoy::client::{Request, Response};
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::world::{digest, key_of, secret};

/// Picodollars: an input token costs one microdollar, a cached one a tenth, an output token ten.
const INPUT: u128 = 1_000_000;
const CACHED: u128 = INPUT / 10;
const OUTPUT: u128 = 10 * INPUT;
const DOLLAR: u128 = 1_000_000_000_000;

fn configuration(budget: u128) -> Value {
    let price = json!({"input": "1", "cached_input": "0.1", "output": "10"});
    let budget = json!({"max": format!("{}.{:012}", budget / DOLLAR, budget % DOLLAR)});
    json!({
        "policy": {
            "version": 1,
            "targets": {"gpt-5-mini": {"price": price}},
            "organizations": {"acme": {"name": "Acme", "access": {"targets": ["gpt-5-mini"]}}},
            "teams": {
                "ml": {"organization": "acme", "name": "ML", "limits": {"tpd": 1_000_000_000}, "budget": budget},
                "poor": {"organization": "acme", "name": "Poor", "budget": {"max": "0.000001"}},
            },
            "keys": {"laptop": key_of("ml", "laptop"), "poor": key_of("poor", "poor")},
        }
    })
}

fn chat(max_tokens: u64, stream: bool) -> Request {
    Request::json(
        "/v1/chat/completions",
        &json!({"model": "gpt-5-mini", "max_tokens": max_tokens, "stream": stream,
            "messages": [{"role": "user", "content": "Say hello."}]}),
    )
}

/// Returns the amount before `words` in the message of a rejection.
fn dollars(refused: &Response, words: &str) -> u128 {
    let body = refused.json();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    let amount = message.split(words).next().and_then(|before| before.rsplit('$').next()).unwrap_or_default();
    pico(amount.trim_end_matches([',', '.', ' '])).unwrap_or_else(|| panic!("no amount {words}: {refused:?}"))
}

fn pico(decimal: &str) -> Option<u128> {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    Some(whole.parse::<u128>().ok()? * DOLLAR + format!("{fraction:0<12}").parse::<u128>().ok()?)
}

/// The reservation of such a call, read from the rejection of a key whose budget is too small.
fn reservation(gateway: &Gateway, request: &Request) -> u128 {
    let refused = gateway.request(&request.clone().bearer(&secret("poor")));
    assert_eq!(refused.json()["error"]["code"], "request_too_large_for_budget", "{refused:?}");
    dollars(&refused, ", more than")
}

/// The rest of the budget, read from a rejection: the call must cost more than that and at most the budget.
fn left(gateway: &Gateway, budget: u128) -> u128 {
    let bare = reservation(gateway, &chat(1, false));
    let tokens = u64::try_from((budget - bare) / OUTPUT).unwrap_or_default();
    let refused = gateway.request(&chat(tokens, false).bearer(&secret("laptop")));
    assert_eq!(refused.json()["error"]["code"], "team_budget_exceeded", "{refused:?}");
    dollars(&refused, " left")
}

#[test]
fn fifty_concurrent_streams_stay_within_the_budget_and_settle_to_their_usage() {
    const CALLS: usize = 50;
    const ROOM: u128 = 20;
    let Some(mut gateway) = Gateway::start(&configuration(DOLLAR)) else { return };
    let one = reservation(&gateway, &chat(1_000, true));
    let budget = ROOM * one + one / 2;
    gateway.envoy.reload(&configuration(budget).to_string());

    // Before and after: a call with a known number of tokens, to read the counter in its headers.
    let marked = || {
        let request = chat(10, false).bearer(&secret("laptop")).header("x-simulate", "usage=7:3");
        let answer = gateway.request(&request);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.headers.get("x-ratelimit-remaining-tokens").and_then(|left| left.parse::<u64>().ok()).unwrap()
    };
    let before = marked();
    let all_decided = Barrier::new(CALLS);
    let results: Vec<_> = std::thread::scope(|scope| {
        let call = |n: usize| {
            let mut connection = gateway.connect();
            let (input, output) = (10 + n, 20 + 2 * n);
            // Two seconds of stream: none ends before all are decided.
            let simulate = format!("usage={input}:{output}, tokens=40, chunk-ms=50");
            let request = chat(1_000, true).bearer(&secret("laptop")).header("x-simulate", simulate);
            let all_decided = &all_decided;
            scope.spawn(move || {
                connection.send(&request.bytes()).unwrap();
                let (status, headers) = connection.response_head().unwrap();
                all_decided.wait();
                let body = connection.body(&headers).unwrap();
                let text = String::from_utf8_lossy(&body.data).into_owned();
                match status {
                    200 => assert!(text.ends_with("data: [DONE]\n\n"), "{text}"),
                    _ => assert!(text.contains("team_budget_exceeded"), "{status} {text}"),
                }
                (status == 200).then_some((input, output))
            })
        };
        let calls: Vec<_> = (0..CALLS).map(call).collect();
        calls.into_iter().filter_map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(results.len() as u128, ROOM);
    let after = marked();
    let tokens: usize = results.iter().map(|(input, output)| input + output).sum();
    assert_eq!(before - after, tokens as u64 + 10, "theirs and the first marked call's");
    let spent: u128 =
        results.iter().map(|(input, output)| *input as u128 * INPUT + *output as u128 * OUTPUT).sum();
    let marks = 2 * (7 * INPUT + 3 * OUTPUT);
    assert_eq!(left(&gateway, budget), budget - spent - marks);
    gateway.assert_no_trap();
}

#[test]
fn a_client_that_disconnects_pays_for_the_input_and_the_observed_output() {
    const BUDGET: u128 = DOLLAR / 10;
    const CLIENTS: usize = 8;
    let Some(mut gateway) = Gateway::start(&configuration(BUDGET)) else { return };
    for _ in 0..CLIENTS {
        let request =
            chat(1_000, true).bearer(&secret("laptop")).header("x-simulate", "tokens=900, chunk-ms=5");
        let mut connection = gateway.connect();
        connection.send(&request.bytes()).unwrap();
        assert_eq!(connection.response_head().unwrap().0, 200);
        for _ in 0..5 {
            assert!(!connection.some().unwrap().is_empty());
        }
        connection.leave();
    }
    let mut charged = 0;
    for line in gateway.envoy.access_log(CLIENTS) {
        assert_eq!((&line["flags"], &line["estimated"]), (&json!("DC"), &json!("true")), "{line}");
        let tokens = |field: &str| line[field].as_str().and_then(|text| text.parse::<u128>().ok()).unwrap();
        let (input, output) = (tokens("input_tokens"), tokens("output_tokens"));
        assert!(input > 0 && (1..400).contains(&output), "{line}");
        let cost = input * INPUT + output * OUTPUT;
        assert_eq!(pico(line["cost"].as_str().unwrap()), Some(cost), "{line}");
        charged += cost;
    }
    assert_eq!(left(&gateway, BUDGET), BUDGET - charged);
    gateway.assert_no_trap();
}

#[test]
fn every_api_reports_its_tokens_and_its_cost() {
    let Some(mut gateway) = Gateway::start(&configuration(1_000 * DOLLAR)) else { return };
    let user = json!([{"role": "user", "content": "Say hello."}]);
    let body = |rest: Value| {
        let mut body = json!({"model": "gpt-5-mini"});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        body
    };
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]});
    let gemini = |method: &str| format!("/v1beta/models/gpt-5-mini:{method}");
    let calls = [
        ("/v1/chat/completions", body(json!({"messages": user}))),
        ("/v1/chat/completions", body(json!({"messages": user, "stream": true}))),
        (
            "/v1/chat/completions",
            body(json!({"messages": user, "stream": true, "stream_options": {"include_usage": true}})),
        ),
        ("/v1/completions", body(json!({"prompt": "Say hello."}))),
        ("/v1/completions", body(json!({"prompt": "Say hello.", "stream": true}))),
        ("/v1/responses", body(json!({"input": "Say hello."}))),
        ("/v1/responses", body(json!({"input": "Say hello.", "stream": true}))),
        ("/v1/messages", body(json!({"messages": user, "max_tokens": 100}))),
        ("/v1/messages", body(json!({"messages": user, "max_tokens": 100, "stream": true}))),
        (&gemini("generateContent"), contents.clone()),
        (&gemini("streamGenerateContent?alt=sse"), contents),
    ];
    let mut connection = gateway.connect();
    for (path, body) in &calls {
        let request =
            Request::json(path, body).bearer(&secret("laptop")).header("x-simulate", "usage=100:20:40");
        let answer = connection.request(&request);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let cost = 60 * INPUT + 40 * CACHED + 20 * OUTPUT;
    let lines = gateway.envoy.access_log(calls.len());
    for ((path, body), line) in calls.iter().zip(&lines) {
        let facts = ["input_tokens", "output_tokens", "cached_tokens", "estimated"]
            .map(|field| line[field].as_str().unwrap_or("-"));
        assert_eq!(facts, ["100", "20", "40", "false"], "{path} {body}: {line}");
        assert_eq!(line["cost"].as_str().and_then(pico), Some(cost), "{path} {body}: {line}");
    }
    let metrics = gateway.envoy.stats();
    for (name, value) in [("tokens_input", 1_100), ("tokens_output", 220), ("tokens_cached", 440)] {
        assert_eq!(
            metrics.get(&format!("wasmcustom.tollgate.{name};organization=acme;team=ml")),
            Some(&value),
            "{name} in {metrics:#?}"
        );
    }
    gateway.assert_no_trap();
}

#[test]
fn an_answer_without_usage_is_settled_by_the_estimate_and_marked() {
    let Some(mut gateway) = Gateway::start(&configuration(DOLLAR)) else { return };
    let calls = [
        ("no-usage", false, 200),
        ("no-usage", true, 200),
        ("gzip=force", false, 200),
        ("tokens=50, cut-after=3", true, 200),
        ("status=500", false, 500),
    ];
    for (simulate, stream, status) in calls {
        let mut connection = gateway.connect();
        let request = chat(100, stream).bearer(&secret("laptop")).header("x-simulate", simulate);
        connection.send(&request.bytes()).unwrap();
        let (answered, headers) = connection.response_head().unwrap();
        assert_eq!(answered, status);
        // One of them is cut.
        let _ = connection.body(&headers);
    }
    let lines = gateway.envoy.access_log(calls.len());
    let estimated: Vec<_> = lines.iter().map(|line| line["estimated"].as_str().unwrap_or("-")).collect();
    assert_eq!(estimated[..4], ["true"; 4], "{lines:#?}");
    assert_eq!(
        lines[4]["cost"].as_str().and_then(pico).unwrap_or(0),
        0,
        "an error costs nothing: {}",
        lines[4]
    );
    let charged: u128 = lines.iter().filter_map(|line| pico(line["cost"].as_str()?)).sum();
    assert_eq!(left(&gateway, DOLLAR), DOLLAR - charged);
    gateway.assert_no_trap();
}

#[test]
fn an_encoded_response_is_not_requested() {
    let Some(mut gateway) = Gateway::start(&configuration(DOLLAR)) else { return };
    let request = chat(100, false).bearer(&secret("laptop")).header("accept-encoding", "gzip, br");
    let answer = gateway.request(&request.header("x-simulate", "gzip, usage=5:5"));
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 5);
    assert_eq!(gateway.envoy.access_log(1)[0]["estimated"], "false");
}

#[test]
fn a_call_above_the_soft_mark_is_marked_for_its_client_and_in_the_log() {
    let mut configuration = configuration(DOLLAR);
    configuration["policy"]["teams"]["ml"]["budget"]["soft"] = json!("0.000002");
    let Some(mut gateway) = Gateway::start(&configuration) else { return };
    let answer = gateway.request(&chat(500, false).bearer(&secret("laptop")));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers.get("x-tollgate-warning"), Some("soft_budget_exceeded"), "{answer:?}");
    let log = gateway.envoy.access_log(1);
    assert_eq!(log[0]["over_soft_budget"], "team", "{}", log[0]);
}

/// The sums of a row of the usage API: requests, refused requests, tokens, picodollars.
fn sums(row: &Value) -> ([u64; 5], u128) {
    let names = ["requests", "refused", "input_tokens", "cached_input_tokens", "output_tokens"];
    (names.map(|name| row[name].as_u64().unwrap()), pico(row["cost"].as_str().unwrap()).unwrap())
}

#[test]
fn counted_usage_equals_the_upstreams_book_over_two_workers() {
    const CLIENTS: usize = 16;
    const CALLS: u64 = 25;
    const TOKEN: &str = "tg-test-root";
    let mut configuration = configuration(1_000_000 * DOLLAR);
    let policy = &mut configuration["policy"];
    policy["users"] = json!({"root": {"name": "Root", "role": "platform_admin", "tokens": [digest(TOKEN)]}});
    // No limit at all.
    policy["teams"]["free"] = json!({"organization": "acme", "name": "Free"});
    policy["keys"]["free"] = key_of("free", "free");
    let Some(mut gateway) = Gateway::start(&configuration) else { return };
    let book: Vec<(usize, [u64; 5], u128)> = std::thread::scope(|scope| {
        let client = |n: usize| {
            let gateway = &gateway;
            let team = n % 2;
            let key = ["laptop", "free"][team];
            scope.spawn(move || {
                let mut connection = gateway.connect();
                let (mut counts, mut cost) = ([0; 5], 0);
                for call in 0..CALLS {
                    let (input, output) = (10 + n as u64 + call, 1 + 3 * call);
                    let request = |stream| chat(200, stream).bearer(&secret(key));
                    let simulate = format!("usage={input}:{output}:{}", input / 2);
                    match call % 5 {
                        0 => {
                            let other = Request::json("/v1/chat/completions", &json!({"model": "gpt-5"}));
                            assert_eq!(connection.request(&other.bearer(&secret(key))).status, 403);
                            counts[1] += 1;
                            continue;
                        }
                        1 => {
                            let unknown = chat(200, false).bearer(&secret("unknown"));
                            assert_eq!(connection.request(&unknown).status, 401);
                            continue;
                        }
                        2 => {
                            let answer =
                                connection.request(&request(false).header("x-simulate", "status=500"));
                            assert_eq!(answer.status, 500);
                            counts[0] += 1;
                            continue;
                        }
                        kind => {
                            let mut request = request(false);
                            if kind == 3 {
                                let body = json!({"model": "gpt-5-mini", "stream": true,
                                    "stream_options": {"include_usage": true}, "messages": []});
                                request = Request::json("/v1/chat/completions", &body).bearer(&secret(key));
                            }
                            let answer = connection.request(&request.header("x-simulate", simulate));
                            assert_eq!(answer.status, 200, "{answer:?}");
                        }
                    }
                    for (sum, more) in counts.iter_mut().zip([1, 0, input, input / 2, output]) {
                        *sum += more;
                    }
                    cost += u128::from(input - input / 2) * INPUT
                        + u128::from(input / 2) * CACHED
                        + u128::from(output) * OUTPUT;
                }
                (team, counts, cost)
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    // Leavers: the access log has their charge.
    for _ in 0..4 {
        let mut connection = gateway.connect();
        let request =
            chat(1_000, true).bearer(&secret("free")).header("x-simulate", "tokens=900, chunk-ms=5");
        connection.send(&request.bytes()).unwrap();
        assert_eq!(connection.response_head().unwrap().0, 200);
        assert!(!connection.some().unwrap().is_empty());
        connection.leave();
    }
    let lines = gateway.envoy.access_log(CLIENTS * CALLS as usize + 4);
    let mut expected = [([0_u64; 5], 0_u128); 2];
    let left = lines.iter().filter(|line| line["flags"] == "DC").map(|line| {
        let number = |field: &str| line[field].as_str().and_then(|text| text.parse::<u64>().ok()).unwrap();
        let counts = [1, 0, number("input_tokens"), 0, number("output_tokens")];
        (1, counts, pico(line["cost"].as_str().unwrap()).unwrap())
    });
    for (team, counts, cost) in book.into_iter().chain(left) {
        for (sum, more) in expected[team].0.iter_mut().zip(counts) {
            *sum += more;
        }
        expected[team].1 += cost;
    }
    let get = |path: &str| {
        let request = Request::new("GET", &format!("/tollgate/v1{path}")).bearer(TOKEN);
        let answer = gateway.request(&request);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    };
    // At once, and after the elected worker has posted some of it.
    for pause in [0, 2_500] {
        std::thread::sleep(std::time::Duration::from_millis(pause));
        for (team, expected) in ["ml", "free"].into_iter().zip(&expected) {
            for query in ["", "?by=day", "?by=hour", "?group=key"] {
                let usage = get(&format!("/teams/{team}/usage{query}")).json()["usage"].clone();
                assert_eq!(&sums(&usage["total"]), expected, "{team}{query}");
            }
            let usage = get(&format!("/teams/{team}/usage?by=month&group=target")).json()["usage"].clone();
            let served = usage["items"].as_array().unwrap().iter().find(|row| row["target"] == "gpt-5-mini");
            let (mut counts, cost) = *expected;
            counts[1] = 0;
            assert_eq!(sums(served.unwrap()), (counts, cost), "{usage}");
        }
    }
    let csv = get("/organizations/acme/usage?group=team&sort=spend&format=csv");
    assert_eq!(csv.text().lines().count(), 4, "{csv:?}");
    gateway.assert_no_trap();
}
