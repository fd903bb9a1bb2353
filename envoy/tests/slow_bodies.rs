//! Slow and idle bodies: the time limits, at a scale of seconds.

use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_core::config::MAX_BODY;
use tollgate_envoy::client::{Connection, Request};
use tollgate_envoy::envoy::{Envoy, Folder};
use tollgate_envoy::gateway::{WORKERS, site};
use tollgate_envoy::shipped;
use tollgate_envoy::world::{chat, configuration, key_of, secret};
use tollgate_host::simulator::Upstream;
use tollgate_host::tools;

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
/// The time limit of a request in this test, in place of the shipped one.
const LIMIT: Duration = Duration::from_secs(3);

#[test]
fn a_slow_body_passes_and_an_idle_one_ends_with_the_time_limit() {
    let Some(program) = tools::require(tools::envoy()) else { return };
    let teams = json!({"ml": {"organization": "acme", "name": "ML"}});
    let configuration = configuration(&teams, &json!({"laptop": key_of("ml", "laptop")}));
    let upstream = Upstream::start_recording().unwrap();
    let site = site(&configuration, upstream.addr());
    let folder = Folder::new();
    shipped::lay_out(folder.path(), &site);
    let mut bootstrap = shipped::bootstrap(&site);
    let manager = bootstrap.pointer_mut(MANAGER).unwrap();
    manager["request_timeout"] = json!(format!("{}s", LIMIT.as_secs()));
    std::fs::write(folder.path().join("envoy.yaml"), bootstrap.to_string()).unwrap();
    let mut envoy = Envoy::run(&program, folder, WORKERS);

    let bytes = chat().bearer(&secret("laptop")).bytes();
    let mut slow = Connection::open(envoy.address());
    let mut idle = Connection::open(envoy.address());
    // Envoy's timers count whole milliseconds, so that one may be due a millisecond early.
    let start = Instant::now() - Duration::from_millis(1);
    idle.send(&bytes[..bytes.len() - 1]).unwrap();
    // Two thirds of the limit, so that a loaded machine keeps it too.
    for piece in bytes.chunks(bytes.len() / 20) {
        slow.send(piece).unwrap();
        std::thread::sleep(LIMIT / 30);
    }
    assert_eq!(slow.response().unwrap().status, 200);
    let answer = idle.response().unwrap();
    assert_eq!((answer.status, answer.text()), (408, "request timeout"));
    assert!(start.elapsed() >= LIMIT && start.elapsed() < 3 * LIMIT, "{:?}", start.elapsed());
    assert_eq!(upstream.recording().requests().len(), 1, "a part of a body is never sent on");

    // Neither a request that the filter never decided nor one that Envoy rejected lacks its time.
    let malformed = Connection::open(envoy.address()).request(&Request::new("GET", "/v1/%2e%2e%2fmodels"));
    assert_eq!(malformed.status, 400);
    for line in envoy.access_log(3) {
        let time = line["time"].as_str().unwrap_or_default();
        assert!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{line}");
    }
}

#[test]
fn the_time_limits_let_the_largest_body_through_at_100_kilobytes_a_second() {
    for option in [&[][..], &["http3"]] {
        let text = shipped::with_options(option);
        let limits = text.lines().filter_map(|line| line.trim().strip_prefix("request_timeout: "));
        let limits: Vec<u64> =
            limits.map(|limit| limit.strip_suffix('s').unwrap().parse().unwrap()).collect();
        assert_eq!(limits.len(), 1 + option.len());
        for limit in limits {
            assert!(limit * 100_000 >= MAX_BODY, "{limit} s");
            // Idle bodies hold their memory no longer than a stream may be silent.
            assert!(limit <= 600, "{limit} s");
        }
    }
}
