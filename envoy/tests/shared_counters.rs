//! Counters that gateways share: real Envoys with a real etcd.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::fleet::{Member, configuration};
use tollgate_envoy::world::{chat, digest};
use tollgate_host::tools::Etcd;

/// The time limit where no time is promised.
const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "sk-of-the-fleet";

/// The configuration of a fleet with one key of the team `search`, which has these fields.
fn limited(fields: &Value) -> Value {
    let mut configuration = configuration();
    configuration["policy"]["keys"] = json!({"own": {"team": "search", "digest": digest(SECRET)}});
    let team = configuration["policy"]["teams"]["search"].as_object_mut().unwrap();
    team.extend(fields.as_object().unwrap().clone());
    configuration
}

fn call(member: &Member) -> u16 {
    member.request(&chat().bearer(SECRET)).status
}

/// Starts gateways, and waits until each is a member of the fleet.
fn fleet(etcd: &Etcd, count: usize, configuration: &Value) -> Option<Vec<Member>> {
    let members: Option<Vec<_>> = (0..count).map(|_| Member::start(configuration, etcd.address())).collect();
    for member in members.iter().flatten() {
        let start = Instant::now();
        while !member.envoy.log().contains("of its fleet") {
            assert!(start.elapsed() < PATIENCE, "no member:\n{}", member.envoy.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
    members
}

#[test]
fn a_limit_is_admitted_once_by_two_gateways_together() {
    const LIMIT: usize = 60;
    let Some(etcd) = Etcd::start() else { return };
    let configuration = limited(&json!({"limits": {"rpm": LIMIT}}));
    let Some(members) = fleet(&etcd, 2, &configuration) else { return };
    let admitted = AtomicUsize::new(0);
    let refused = AtomicUsize::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for member in &members {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..40 {
                        match call(member) {
                            200 => admitted.fetch_add(1, Ordering::Relaxed),
                            429 => refused.fetch_add(1, Ordering::Relaxed),
                            status => panic!("{status}: {}", member.envoy.log()),
                        };
                    }
                });
            }
        }
    });
    let took = start.elapsed();
    println!("admitted {admitted:?}, refused {refused:?} in {took:?}");
    for member in &members {
        println!(
            "{}",
            member.envoy.log().lines().filter(|line| line.contains("wasm")).collect::<Vec<_>>().join("\n")
        );
    }
    assert!(took < Duration::from_secs(50), "{took:?}");
    assert_eq!(admitted.into_inner(), LIMIT);
}
