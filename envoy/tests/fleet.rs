//! Two gateways that share an etcd: real Envoys with four workers each, and a real etcd.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::{Connection, Ended, Response};
use tollgate_envoy::fleet::{self, Member, configuration, manage};
use tollgate_envoy::world::{chat, digest};
use tollgate_host::tools::Etcd;

/// The time limit where no time is promised.
const PATIENCE: Duration = Duration::from_secs(20);

fn fleet() -> Option<(Etcd, Member, Member)> {
    let etcd = Etcd::start()?;
    let one = Member::start(&configuration(), etcd.address())?;
    let other = Member::start(&configuration(), etcd.address())?;
    for member in [&one, &other] {
        until("etcd is read", || {
            member.manage("root", "GET", "/teams/search", None).headers.get("age").is_some()
        });
    }
    Some((etcd, one, other))
}

/// Waits for the condition and returns the time that it took.
fn until(what: &str, holds: impl FnMut() -> bool) -> Duration {
    fleet::until(PATIENCE, what, holds)
}

fn mint(member: &Member, user: &str) -> Response {
    member.manage(user, "POST", "/teams/search/keys", Some(&json!({"name": "laptop"})))
}

/// Returns the id and the secret of a new key.
fn minted(response: &Response) -> (String, String) {
    assert_eq!(response.status, 201, "{response:?}");
    let key = response.json();
    let text = |field: &str| key[field].as_str().unwrap_or_else(|| panic!("no {field}")).to_owned();
    (text("id"), text("secret"))
}

fn ids(member: &Member) -> BTreeSet<String> {
    let page = member.manage("root", "GET", "/teams/search/keys?limit=100", None).json();
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
    items.iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect()
}

fn call(member: &Member, secret: &str) -> u16 {
    member.request(&chat().bearer(secret)).status
}

/// Opens enough connections that each worker very probably has some.
fn connections(member: &Member) -> Vec<Connection> {
    std::iter::repeat_with(|| member.connect()).take(24).collect()
}

#[test]
fn forty_concurrent_creations_on_two_gateways_make_exactly_three_keys() {
    let Some((_etcd, one, other)) = fleet() else { return };
    let (one, other) = (&one, &other);
    let answers: Vec<Response> = thread::scope(|scope| {
        let creations: Vec<_> =
            (0..40).map(|n| scope.spawn(move || mint(if n % 2 == 0 { one } else { other }, "bob"))).collect();
        creations.into_iter().map(|creation| creation.join().unwrap()).collect()
    });
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    let made = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(made, 3, "{statuses:?}");
    // A request that ran out of time gets a status to retry, and changes nothing.
    assert!(statuses.iter().all(|status| [201, 403, 503].contains(status)), "{statuses:?}");
    until("both show the three", || ids(one).len() == 3 && ids(one) == ids(other));
    for answer in answers.iter().filter(|answer| answer.status == 201) {
        let (_, secret) = minted(answer);
        assert_eq!((call(one, &secret), call(other, &secret)), (200, 200));
    }
}

#[test]
fn an_acknowledged_key_survives_a_kill_of_envoy_and_of_etcd() {
    let Some((mut etcd, mut one, other)) = fleet() else { return };
    let (_, secret) = minted(&mint(&one, "bob"));
    etcd.kill();
    one.envoy.kill();
    etcd.restart();
    one.crash();
    until("the key works again", || call(&one, &secret) == 200);
    until("and at the other gateway", || call(&other, &secret) == 200);
    // An unknown key is rejected as unknown once etcd was read.
    assert_eq!(call(&one, "sk-foreign"), 401);
}

#[test]
fn without_etcd_keys_work_reads_state_their_age_and_no_key_is_created() {
    let Some((mut etcd, one, _other)) = fleet() else { return };
    let (_, secret) = minted(&mint(&one, "bob"));
    for away in ["frozen", "killed"] {
        if away == "frozen" {
            etcd.freeze()
        } else {
            etcd.kill()
        }
        let start = Instant::now();
        let refused = mint(&one, "eve");
        let took = start.elapsed();
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(took < Duration::from_secs(2), "{away}: {took:?}");
        println!("etcd {away}: a creation was refused after {took:?}");
        assert_eq!(call(&one, &secret), 200);
        let read = || one.manage("root", "GET", "/teams/search", None);
        until("reads are seconds old", || {
            read().headers.get("age").and_then(|age| age.parse::<u32>().ok()).is_some_and(|age| age >= 3)
        });
        assert_eq!(read().headers.get("x-tollgate-warning"), Some("behind_fleet"));
        if away == "frozen" {
            etcd.thaw()
        } else {
            etcd.restart()
        }
        until("reads are fresh", || read().headers.get("age") == Some("0"));
    }
    minted(&mint(&one, "eve"));
}

#[test]
fn a_gateway_that_starts_without_etcd_serves_its_own_policy_and_mints_nothing() {
    let Some(mut etcd) = Etcd::start() else { return };
    etcd.kill();
    let mut configuration = configuration();
    let own = "sk-of-the-configuration";
    configuration["policy"]["keys"] = json!({"own": {"team": "search", "digest": digest(own)}});
    let Some(one) = Member::start(&configuration, etcd.address()) else { return };
    assert_eq!(call(&one, own), 200);
    // It may be one that etcd knows.
    let unknown = one.request(&chat().bearer("sk-of-another-owner"));
    assert_eq!(unknown.status, 503, "{unknown:?}");
    assert!(unknown.headers.get("retry-after").is_some(), "{unknown:?}");
    assert_eq!(mint(&one, "bob").status, 503);
    let read = one.manage("root", "GET", "/teams/search", None);
    assert_eq!((read.status, read.headers.get("x-tollgate-warning")), (200, Some("fleet_never_read")));
    until("it says so", || one.envoy.log().contains("etcd"));

    etcd.restart();
    until("it has caught up", || call(&one, "sk-of-another-owner") == 401);
    minted(&mint(&one, "bob"));
}

#[test]
fn a_revocation_and_a_lower_limit_apply_at_once_and_in_other_gateways_within_a_second() {
    let Some((_etcd, one, other)) = fleet() else { return };
    let (revoked, secret) = minted(&mint(&one, "bob"));
    let (_, kept) = minted(&mint(&one, "eve"));
    until("both know the keys", || call(&other, &secret) == 200 && call(&other, &kept) == 200);
    let mut workers = connections(&one);
    let mut theirs = connections(&other);
    for connection in workers.iter_mut().chain(&mut theirs) {
        assert_eq!(connection.request(&chat().bearer(&secret)).status, 200);
    }
    let (done, one, other) = (AtomicBool::new(false), &one, &other);
    thread::scope(|scope| {
        // Load, on both.
        for member in [one, other] {
            let (done, kept) = (&done, &kept);
            scope.spawn(move || {
                let mut connection = member.connect();
                while !done.load(Ordering::Relaxed) {
                    let status = connection.request(&chat().bearer(kept)).status;
                    assert!([200, 429].contains(&status), "{status}");
                }
            });
        }
        let ended = Ended(&done);
        let answer = one.manage("bob", "DELETE", &format!("/keys/{revoked}"), None);
        assert_eq!(answer.status, 204, "{answer:?}");
        let written = Instant::now();
        for connection in &mut workers {
            assert_eq!(connection.request(&chat().bearer(&secret)).status, 401, "in every worker");
        }
        until("no worker of the other lets it through", || {
            theirs.iter_mut().all(|connection| connection.request(&chat().bearer(&secret)).status == 401)
        });
        let took = written.elapsed();
        println!("a revocation held at the other gateway after {took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");

        let lower = json!({"limits": {"rpm": 1}});
        let answer = one.manage("ada", "PATCH", "/teams/search", Some(&lower));
        assert_eq!(answer.status, 200, "{answer:?}");
        let written = Instant::now();
        for connection in &mut workers {
            assert_eq!(connection.request(&chat().bearer(&kept)).status, 429, "in every worker");
        }
        until("no worker of the other lets more through", || {
            theirs.iter_mut().all(|connection| connection.request(&chat().bearer(&kept)).status == 429)
        });
        let took = written.elapsed();
        println!("a lower limit held at the other gateway after {took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        drop(ended);
    });
}

#[test]
fn a_hundred_concurrent_conditional_edits_lose_none() {
    const EDITS: usize = 100;
    let Some((_etcd, one, other)) = fleet() else { return };
    let (one, other) = (&one, &other);
    // Each adds one to a number; an unconditional write would lose the updates of others.
    let edit = |member: &Member| {
        let start = Instant::now();
        let mut connection = member.connect();
        loop {
            assert!(start.elapsed() < PATIENCE * 4, "an edit never gets through");
            let read = connection.request(&manage("ada", "GET", "/teams/search", None));
            let tag = read.headers.get("etag").unwrap_or_else(|| panic!("{read:?}")).to_owned();
            let rpm = read.json()["limits"]["rpm"].as_u64().unwrap();
            let body = json!({"limits": {"rpm": rpm + 1}});
            let request = manage("ada", "PATCH", "/teams/search", Some(&body)).header("if-match", &tag);
            match connection.request(&request).status {
                200 => return,
                412 | 503 => {}
                status => panic!("{status}"),
            }
        }
    };
    let edit = &edit;
    thread::scope(|scope| {
        for n in 0..EDITS {
            scope.spawn(move || edit(if n % 2 == 0 { one } else { other }));
        }
    });
    let rpm =
        |member: &Member| member.manage("ada", "GET", "/teams/search", None).json()["limits"]["rpm"].clone();
    until("both show all", || rpm(one) == json!(100_000 + EDITS) && rpm(other) == json!(100_000 + EDITS));
}

#[test]
fn a_secret_appears_in_one_response_and_nowhere_else() {
    let Some((etcd, mut one, _other)) = fleet() else { return };
    let (id, secret) = minted(&mint(&one, "bob"));
    assert_eq!(call(&one, &secret), 200);
    let rotated = one.manage("bob", "POST", &format!("/keys/{id}/rotate"), Some(&json!({})));
    assert_eq!(rotated.status, 201, "{rotated:?}");
    let fresh = rotated.json()["secret"].as_str().unwrap().to_owned();

    let audit = one.manage("root", "GET", "/audit?organization=acme", None);
    assert_eq!(audit.status, 200, "{audit:?}");
    assert!(audit.text().contains(&id), "the audit has the creation: {}", audit.text());
    let key = one.manage("bob", "GET", &format!("/keys/{id}"), None);
    let log = one.envoy.log();
    let access: Vec<Value> = one.envoy.access_log(3);
    let stored = etcd.bytes();
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has(&stored, "tollgate/1/doc/team/search"), "this is where etcd keeps it");
    for secret in [&secret, &fresh] {
        // The secret part, regardless of its framing.
        let tail = &secret[secret.len() - 32..];
        assert!(!has(&stored, tail), "in etcd");
        assert!(!log.contains(tail), "in the log");
        assert!(access.iter().all(|line| !line.to_string().contains(tail)), "in the access log");
        assert!(!audit.text().contains(tail) && !key.text().contains(tail), "in another answer");
    }
    assert!(!audit.text().contains("sha256:") && !log.contains("sha256:"), "nor is a digest");
}
