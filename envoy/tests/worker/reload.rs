//! Another configuration, without another deployment.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::{Response, request};
use tollgate_envoy::workerd::Workerd;
use tollgate_envoy::world::{chat, digest, secret};

use crate::{ask, configuration};

/// The worker looks again after five seconds; the rest is for a machine that does other things as well.
const WITHIN: Duration = Duration::from_secs(10);

fn limited(rpd: u64) -> Value {
    configuration(&json!({"limits": {"rpd": rpd}}))
}

fn remaining(answer: &Response) -> u64 {
    let value = answer.headers.get("x-ratelimit-remaining-requests").and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("{answer:?}"))
}

/// Asks for as long as it takes until `there`; answers with the number of the answers, and the last of them.
fn until(workerd: &Workerd, there: impl Fn(&Response) -> bool) -> (u64, Response) {
    let begun = Instant::now();
    for asked in 1.. {
        let answer = ask(workerd, chat());
        if there(&answer) {
            return (asked, answer);
        }
        assert!(begun.elapsed() < WITHIN, "{answer:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    unreachable!("the clock goes on");
}

#[test]
fn a_changed_policy_holds_within_seconds_and_counters_stay() {
    let Some(workerd) = Workerd::start(&limited(1_000)) else { return };
    assert_eq!(remaining(&ask(&workerd, chat())), 999);

    workerd.configure(&limited(100_000));
    let (asked, answer) = until(&workerd, |answer| remaining(answer) > 1_000);
    assert_eq!(remaining(&answer), 100_000 - 1 - asked);

    // A limit below what was counted, and a key in the place of the other.
    let mut other = limited(1);
    other["policy"]["keys"]["phone"] = json!({"team": "ml", "digest": digest(&secret("phone"))});
    other["policy"]["keys"].as_object_mut().unwrap().remove("laptop");
    workerd.configure(&other);
    until(&workerd, |answer| answer.status == 401);
    let refused = request(workerd.address(), &chat().bearer(&secret("phone")));
    assert_eq!((refused.status, crate::code(&refused)), (429, json!("team_rpd_exceeded")));
}

#[test]
fn a_configuration_with_errors_changes_nothing_and_the_log_says_what_is_wrong() {
    let Some(workerd) = Workerd::start(&limited(1_000)) else { return };
    assert_eq!(ask(&workerd, chat()).status, 200);

    // Errors of more than one kind, and a key where its digest belongs.
    let mut wrong = limited(0);
    wrong["policy"]["keys"]["laptop"]["digest"] = json!(secret("laptop"));
    wrong["on_unavailable"] = json!("perhaps");
    workerd.configure(&wrong);
    let told = [
        "error /policy/teams/ml/limits/rpd: ",
        "error /policy/keys/laptop/digest: ",
        "error /on_unavailable: ",
    ];
    let (asked, answer) = until(&workerd, |_| told.iter().all(|words| workerd.log().contains(words)));
    assert_eq!((answer.status, remaining(&answer)), (200, 1_000 - 1 - asked));
    assert!(workerd.log().contains("the configuration is not taken, what was in force stays"));
    assert!(!workerd.log().contains("sk-tg-"), "a secret in\n{}", workerd.log());

    // One that cannot be read at all, and none.
    let path = workerd.folder().join("policy/configuration.json");
    fs::write(&path, "{\"policy\": ").unwrap();
    until(&workerd, |answer| {
        assert_eq!(answer.status, 200);
        workerd.log().contains("error (document): ")
    });
    fs::remove_file(&path).unwrap();
    until(&workerd, |answer| {
        assert_eq!(answer.status, 200);
        workerd.log().contains("the binding CONFIGURATION has no configuration.json")
    });

    // It needs no restart to do better.
    workerd.configure(&limited(100_000));
    until(&workerd, |answer| remaining(answer) > 1_000);
}

#[test]
fn a_configured_fleet_that_the_worker_ignores_is_logged() {
    let mut fleet = limited(1_000);
    fleet["fleet"] = json!({"cluster": "etcd"});
    let Some(workerd) = Workerd::start(&fleet) else { return };
    assert_eq!(ask(&workerd, chat()).status, 503);
    assert!(workerd.log().contains("error /fleet: a worker asks no etcd"), "{}", workerd.log());

    workerd.configure(&limited(1_000));
    until(&workerd, |answer| answer.status == 200);
    workerd.configure(&fleet);
    until(&workerd, |answer| {
        assert_eq!(answer.status, 200);
        workerd.log().matches("error /fleet: ").count() > 1
    });
}

#[test]
fn without_a_good_configuration_nothing_passes() {
    let Some(workerd) = Workerd::start(&json!({"policy": {"version": 2}})) else { return };
    assert_eq!(ask(&workerd, chat()).status, 503);
    assert!(workerd.log().contains("error /policy/version: "), "{}", workerd.log());
    assert!(workerd.upstream.recording().requests().is_empty());

    workerd.configure(&limited(1_000));
    assert_eq!(ask(&workerd, chat()).status, 200);
}
