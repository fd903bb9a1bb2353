//! Revocations, blocks and removals of members in real Envoy, under everything that can happen to the filter.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::{Connection, Response, request};
use tollgate_envoy::envoy::Reload;
use tollgate_envoy::fleet::{self, Member, manage};
use tollgate_envoy::gateway::{Gateway, filter};
use tollgate_envoy::world::{chat, key_of, secret};
use tollgate_host::tools::Etcd;

/// The time limit where no time is promised.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keys that must not answer after [`take_away`], and one that must.
const TAKEN: [&str; 5] = ["revoked", "blocked", "ofbob", "ofpaused", "ofglobex"];
const KEPT: &str = "kept";

/// Returns a configuration whose records differ in their names from those of another `version`.
fn configuration(version: usize) -> Value {
    let mut configuration = fleet::configuration();
    let policy = &mut configuration["policy"];
    let name = |what: &str| json!(format!("{what}, version {version}"));
    policy["organizations"]["acme"]["name"] = name("Acme");
    policy["organizations"]["globex"] = json!({"name": name("Globex"), "access": {"targets": ["*"]}});
    policy["teams"]["search"]["name"] = name("Search");
    policy["teams"]["paused"] = json!({"organization": "acme", "name": name("Paused")});
    policy["teams"]["lab"] = json!({"organization": "globex", "name": name("Lab")});
    policy["keys"] = json!({});
    for (id, team) in [
        ("revoked", "search"),
        ("blocked", "search"),
        ("ofbob", "search"),
        ("kept", "search"),
        ("ofpaused", "paused"),
        ("ofglobex", "lab"),
    ] {
        policy["keys"][id] = key_of(team, id);
        policy["keys"][id]["name"] = name("A key");
    }
    policy["keys"]["ofbob"]["owner"] = json!("user/bob");
    configuration
}

fn volatile(version: usize) -> Value {
    let mut configuration = configuration(version);
    let fields = configuration.as_object_mut().unwrap();
    fields.remove("fleet");
    fields.insert("volatile_keys".to_owned(), json!(true));
    configuration
}

/// Takes something away in each way, and returns the responses.
fn take_away(send: &dyn Fn(&str, &str, Option<&Value>) -> Response) -> Vec<Response> {
    let blocked = json!({"state": "blocked"});
    let responses = [
        send("DELETE", "/keys/revoked", None),
        send("PATCH", "/keys/blocked", Some(&blocked)),
        send("DELETE", "/teams/search/members/bob", None),
        send("PATCH", "/teams/paused", Some(&blocked)),
        send("PATCH", "/organizations/globex", Some(&blocked)),
    ];
    assert!(responses.iter().all(|response| response.status < 300), "{responses:?}");
    responses.into()
}

/// The status of a call. A worker answers 503 while Envoy makes its VM anew after a trap.
fn status(connection: &mut Connection, id: &str) -> u16 {
    let begun = Instant::now();
    loop {
        let status = connection.request(&chat().bearer(&secret(id))).status;
        if status != 503 || begun.elapsed() > PATIENCE {
            return status;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asserts that what was taken away is gone, on these connections.
fn assert_taken(connections: &mut [Connection], when: &str) {
    for connection in connections {
        for id in TAKEN {
            let status = status(connection, id);
            assert!(status == 401 || status == 403, "{id} gets {status} {when}");
        }
        assert_eq!(status(connection, KEPT), 200, "{when}");
        let member = connection.request(&manage("root", "GET", "/teams/search/members/bob", None));
        assert_eq!(member.status, 404, "{when}: {member:?}");
    }
}

#[test]
fn revocations_blocks_and_removals_outlast_policies_modules_traps_and_reloads() {
    let Some(mut gateway) = Gateway::start(&volatile(0)) else { return };
    let address = gateway.address();
    let open =
        || -> Vec<Connection> { std::iter::repeat_with(|| Connection::open(address)).take(24).collect() };
    for id in TAKEN.iter().chain([&KEPT]) {
        assert_eq!(gateway.request(&chat().bearer(&secret(id))).status, 200, "{id}");
    }
    let taken = take_away(&|method, path, body| request(address, &manage("root", method, path, body)));
    for response in taken {
        assert_eq!(response.json()["warnings"][0]["code"], "ends_with_process", "{response:?}");
    }
    assert_taken(&mut open(), "at once");

    assert_eq!(gateway.envoy.reload(&volatile(1).to_string()), Reload::Taken);
    assert_taken(&mut open(), "under another policy");
    let trapping = filter(&["inject-trap"]);
    assert_eq!(gateway.envoy.upgrade(&trapping, &volatile(2).to_string()), Reload::Taken);
    assert_taken(&mut open(), "in a new module");

    for connection in &mut open() {
        let _ = connection.try_request(&chat().bearer(&secret(KEPT)).header("x-tollgate-inject-trap", "1"));
    }
    assert!(gateway.envoy.log().contains("Uncaught RuntimeError"), "{}", gateway.envoy.log());
    let traps = Instant::now();
    let mut connections = open();
    for connection in &mut connections {
        while !connection.try_request(&chat().bearer(&secret(KEPT))).is_ok_and(|answer| answer.status == 200)
        {
            assert!(traps.elapsed() < PATIENCE, "a worker does not serve again");
            thread::sleep(Duration::from_millis(20));
            *connection = Connection::open(address);
        }
    }
    assert_taken(&mut connections, "after traps");

    for version in 3..103 {
        assert_eq!(gateway.envoy.reload(&volatile(version).to_string()), Reload::Taken);
        if version % 10 == 0 {
            assert_taken(&mut connections, &format!("after reload {version}"));
        }
    }
    assert_taken(&mut open(), "after 100 reloads");
}

#[test]
fn with_etcd_they_outlast_a_restart_with_another_policy() {
    let Some(etcd) = Etcd::start() else { return };
    let Some(mut member) = Member::start(&configuration(0), etcd.address()) else { return };
    let is_read = |member: &Member| {
        let begun = Instant::now();
        while member.manage("root", "GET", "/teams/search", None).headers.get("age").is_none() {
            assert!(begun.elapsed() < PATIENCE, "etcd is never read");
            thread::sleep(Duration::from_millis(10));
        }
    };
    is_read(&member);
    for id in TAKEN.iter().chain([&KEPT]) {
        assert_eq!(member.request(&chat().bearer(&secret(id))).status, 200, "{id}");
    }
    for response in take_away(&|method, path, body| member.manage("root", method, path, body)) {
        assert!(response.status == 204 || response.json()["warnings"].is_null(), "{response:?}");
    }
    assert_taken(&mut [member.connect()], "at once");
    member.crash();
    is_read(&member);
    assert_taken(&mut [member.connect()], "after a crash");
    drop(member);
    let Some(other) = Member::start(&configuration(1), etcd.address()) else { return };
    is_read(&other);
    assert_taken(&mut [other.connect()], "after a restart with another policy");
}
