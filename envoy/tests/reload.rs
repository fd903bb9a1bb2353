//! Operations under load: a new policy, a bad policy, a filter that traps.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::{self, Connection, Response};
use tollgate_envoy::envoy::{Envoy, Reload};
use tollgate_envoy::gateway::{Gateway, WORKERS, filter};
use tollgate_envoy::shipped::{Protocol, Site};
use tollgate_envoy::world::{chat, configuration, key_of, secret};
use tollgate_host::simulator::Upstream;
use tollgate_host::tools;

fn with_limit(rpm: u32, keys: &[&str]) -> Value {
    let keys: serde_json::Map<_, _> = keys.iter().map(|id| ((*id).to_owned(), key_of("ml", id))).collect();
    configuration(
        &json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": rpm}}}),
        &Value::Object(keys),
    )
}

/// Opens connections until every worker has some, so that requests on all of them reach each worker.
fn connections_to_all_workers(gateway: &Gateway) -> Vec<Connection> {
    let mut connections = Vec::new();
    for _ in 0..64 {
        connections.extend(std::iter::repeat_with(|| gateway.connect()).take(8));
        let stats = gateway.envoy.stats();
        let has_some = |worker: u32| {
            let name = format!("worker_{worker}.downstream_cx_active");
            stats.iter().any(|(stat, active)| {
                stat.starts_with("listener.127") && stat.ends_with(&name) && *active > 0
            })
        };
        if (0..WORKERS).all(has_some) {
            return connections;
        }
    }
    panic!("some worker gets no connection");
}

fn remaining(response: &Response) -> u32 {
    response
        .headers
        .get("x-ratelimit-remaining-requests")
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{response:?}"))
}

#[test]
fn limits_and_keys_change_from_one_request_to_the_next_and_counters_stay() {
    let Some(mut gateway) = Gateway::start(&with_limit(100_000, &["key1", "key2"])) else { return };
    let mut connections = connections_to_all_workers(&gateway);
    let mut all = |key: &str| -> Vec<Response> {
        connections.iter_mut().map(|connection| connection.request(&chat().bearer(&secret(key)))).collect()
    };
    let first = all("key1");
    let count = u32::try_from(first.len()).unwrap();
    assert_eq!(remaining(first.last().unwrap()), 100_000 - count);

    // A higher limit: counts are kept.
    assert_eq!(gateway.envoy.reload(&with_limit(200_000, &["key1", "key2"]).to_string()), Reload::Taken);
    let second = all("key2");
    let left: Vec<_> = second.iter().map(remaining).collect();
    assert_eq!(left, (0..count).map(|n| 200_000 - count - 1 - n).collect::<Vec<_>>());

    // A limit below the count: no request passes in any worker.
    assert_eq!(gateway.envoy.reload(&with_limit(count, &["key1", "key2"]).to_string()), Reload::Taken);
    let third = all("key1");
    assert!(third.iter().all(|response| response.status == 429), "{third:?}");

    // A removed key is unknown at once, and a new one is known at once.
    assert_eq!(gateway.envoy.reload(&with_limit(100_000, &["key2", "key3"]).to_string()), Reload::Taken);
    assert!(all("key1").iter().all(|response| response.status == 401));
    let fourth = all("key3");
    assert!(fourth.iter().all(|response| response.status == 200), "{fourth:?}");

    // A policy with an error changes nothing.
    assert_eq!(gateway.envoy.reload(r#"{"policy": {"version": 2}}"#), Reload::Refused);
    assert!(all("key2").iter().all(|response| response.status == 200));
}

#[test]
fn a_gateway_that_starts_without_a_valid_policy_lets_nothing_through() {
    let Some(program) = tools::require(tools::envoy()) else { return };
    let upstream = Upstream::start_recording().unwrap();
    let configuration = Some(r#"{"policy": {"version": 2}}"#.to_owned());
    let site =
        Site { module: filter(&[]), configuration, upstream: upstream.addr(), protocol: Protocol::Http1 };
    let mut envoy = Envoy::start(&program, &site, WORKERS);
    assert_eq!(client::request(envoy.address(), &chat().bearer(&secret("laptop"))).status, 500);
    assert!(upstream.recording().requests().is_empty());
    // The signs that README.md names; Envoy itself is ready.
    assert_eq!(envoy.admin("GET", "/ready").trim(), "LIVE");
    let stat = |name: &str| envoy.stat(&format!("extension_config_discovery.http_filter.tollgate.{name}"));
    assert_eq!(["update_rejected", "config_fail", "update_success"].map(stat), [1, 1, 0]);
    for text in ["error /policy/version", "the configuration is not loaded", "Plugin tollgate failed to load"]
    {
        assert!(envoy.log().contains(text), "no {text} in\n{}", envoy.log());
    }
    let line = envoy.access_log(1).remove(0);
    assert_eq!((&line["flags"], &line["decision"]), (&json!("NFCF"), &Value::Null), "{line}");

    // A valid one is loaded without a restart.
    assert_eq!(envoy.reload(&with_limit(1, &["laptop"]).to_string()), Reload::Taken);
    assert_eq!(client::request(envoy.address(), &chat().bearer(&secret("laptop"))).status, 200);
}

#[test]
fn another_build_of_the_filter_keeps_the_counters() {
    let configuration = with_limit(1_000, &["laptop"]);
    let Some(mut gateway) = Gateway::start(&configuration) else { return };
    let mut connection = gateway.connect();
    assert_eq!(remaining(&connection.request(&chat().bearer(&secret("laptop")))), 999);
    let vms = gateway.envoy.stat("wasm.envoy.wasm.runtime.v8.created");
    assert_eq!(gateway.envoy.upgrade(&filter(&["inject-trap"]), &configuration.to_string()), Reload::Taken);
    assert_eq!(remaining(&connection.request(&chat().bearer(&secret("laptop")))), 998);
    let new = gateway.envoy.stat("wasm.envoy.wasm.runtime.v8.created") - vms;
    assert!(new > u64::from(WORKERS), "{new} new VMs: the old build still runs");
    gateway.assert_no_trap();
}

#[test]
fn no_request_is_lost_while_policies_change() {
    const CLIENTS: usize = 8;
    const RELOADS: u32 = 20;
    let Some(mut gateway) = Gateway::start(&with_limit(1_000_000, &["laptop"])) else { return };
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = gateway.address();
    let answers = std::thread::scope(|scope| {
        let client = || {
            // One connection throughout: a reload closes none.
            let mut connection = Connection::open(address);
            let mut statuses = Vec::new();
            while !done.load(Ordering::Relaxed) {
                statuses.push(connection.request(&chat().bearer(&secret("laptop"))).status);
                answered.fetch_add(1, Ordering::Relaxed);
            }
            statuses
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for reload in 1..=RELOADS {
            let before = answered.load(Ordering::Relaxed);
            assert_eq!(
                gateway.envoy.reload(&with_limit(1_000_000 + reload, &["laptop"]).to_string()),
                Reload::Taken
            );
            // Some traffic under each of them.
            while answered.load(Ordering::Relaxed) < before + CLIENTS * 4
                && !clients.iter().any(|client| client.is_finished())
            {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    let counted = u32::try_from(answers.len()).unwrap() + 1;
    let last = gateway.request(&chat().bearer(&secret("laptop")));
    assert_eq!(remaining(&last), 1_000_000 + RELOADS - counted, "each was counted once");
    gateway.assert_no_trap();
}

#[test]
fn after_a_trap_it_serves_again_within_three_seconds_and_keeps_the_counters() {
    const LIMIT: u32 = 1_000;
    let trapping = filter(&["inject-trap"]);
    let Some(gateway) = Gateway::with(&with_limit(LIMIT, &["laptop"]), trapping, Protocol::Http1) else {
        return;
    };
    let mut connections = connections_to_all_workers(&gateway);
    let before: Vec<_> = connections
        .iter_mut()
        .map(|connection| connection.request(&chat().bearer(&secret("laptop"))))
        .collect();
    let counted = u32::try_from(before.len()).unwrap();

    // One trap in each worker.
    for connection in &mut connections {
        let trapped =
            connection.try_request(&chat().bearer(&secret("laptop")).header("x-tollgate-inject-trap", "1"));
        assert!(
            trapped.as_ref().is_ok_and(|response| response.status >= 500) || trapped.is_err(),
            "{trapped:?}"
        );
    }
    let traps = Instant::now();
    assert!(gateway.envoy.log().contains("Uncaught RuntimeError"), "{}", gateway.envoy.log());

    let mut passed = 0;
    for connection in connections_to_all_workers(&gateway) {
        let mut connection = Some(connection);
        loop {
            let mut open = connection.take().unwrap_or_else(|| gateway.connect());
            let response = open.try_request(&chat().bearer(&secret("laptop")));
            if let Ok(response) = &response
                && response.status == 200
            {
                passed += 1;
                assert_eq!(remaining(response), LIMIT - counted - passed, "counters are as they were");
                break;
            }
            if response.is_ok() {
                connection = Some(open);
            }
            assert!(traps.elapsed() < Duration::from_secs(3), "{response:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
