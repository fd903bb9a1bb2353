//! Several configurations in one Envoy: two listeners with different policies, and new modules and policies under load.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::{Connection, Ended, Response, request};
use tollgate_envoy::envoy::{Envoy, Folder, Reload};
use tollgate_envoy::fleet::{self, manage};
use tollgate_envoy::gateway::{Gateway, WORKERS, filter, site};
use tollgate_envoy::shipped;
use tollgate_envoy::world::{chat, key_of, secret};
use tollgate_host::simulator::Upstream;
use tollgate_host::tools;

/// Returns a configuration whose team `search` has this limit.
fn volatile(rpm: u32) -> Value {
    let mut configuration = fleet::configuration();
    let fields = configuration.as_object_mut().unwrap();
    fields.remove("fleet");
    fields.insert("volatile_keys".to_owned(), json!(true));
    configuration["policy"]["teams"]["search"]["limits"]["rpm"] = json!(rpm);
    configuration["policy"]["keys"] = json!({"laptop": key_of("search", "laptop")});
    configuration
}

/// Opens enough connections that each worker has some.
fn connections(address: SocketAddr) -> Vec<Connection> {
    std::iter::repeat_with(|| Connection::open(address)).take(24).collect()
}

/// One listener, with connections to all workers.
struct Listener {
    address: SocketAddr,
    connections: Vec<Connection>,
}

impl Listener {
    fn open(address: SocketAddr) -> Self {
        Listener { address, connections: connections(address) }
    }

    fn manage(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        request(self.address, &manage("root", method, path, body))
    }

    /// Creates a key, and returns its id and secret.
    fn create(&self, team: &str) -> (String, String) {
        let made = self.manage("POST", &format!("/teams/{team}/keys"), Some(&json!({"name": "made"})));
        assert_eq!(made.status, 201, "{made:?}");
        let text = |name: &str| made.json()[name].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    fn revoke(&self, id: &str) {
        let revoked = self.manage("DELETE", &format!("/keys/{id}"), None);
        // A key of the policy comes back after a restart, and the response says so.
        let expected = if id == "laptop" { 200 } else { 204 };
        assert_eq!(revoked.status, expected, "{revoked:?}");
    }

    /// Asserts the status of a request with this key in every worker, and returns the last limit header.
    fn expect(&mut self, key: &str, status: u16) -> Option<String> {
        let mut limit = None;
        for connection in &mut self.connections {
            let answer = connection.request(&chat().bearer(key));
            assert_eq!(answer.status, status, "{answer:?}");
            limit = answer.headers.get("x-ratelimit-limit-requests").map(str::to_owned);
        }
        limit
    }

    /// Asserts that the management API answers in every worker, and returns the number of changes without effect.
    fn unapplied(&mut self) -> Value {
        let mut count = Value::Null;
        for connection in &mut self.connections {
            let answer = connection.request(&manage("root", "GET", "", None));
            assert_eq!(answer.status, 200, "{answer:?}");
            count = answer.json()["unapplied"]["count"].clone();
        }
        count
    }
}

#[test]
fn two_listeners_with_different_policies_keep_them_and_both_are_managed() {
    let Some(program) = tools::require(tools::envoy()) else { return };
    let upstream = Upstream::start().unwrap();
    let first = volatile(1_000_000);
    let mut second = volatile(2_000_000);
    second["policy"]["teams"]["lab"] =
        json!({"organization": "acme", "name": "Lab", "limits": {"rpm": 1_000_000}});
    let site = site(&first, upstream.addr());
    let folder = Folder::new();
    shipped::lay_out(folder.path(), &site);
    shipped::add_listener(folder.path(), &site, &second.to_string());
    let mut envoy = Envoy::run(&program, folder, WORKERS);
    let shipped_name = shipped::shipped("envoy.yaml")["static_resources"]["listeners"][0]["name"].clone();
    let mut one = Listener::open(envoy.listener(shipped_name.as_str()).unwrap());
    let mut two = Listener::open(envoy.listener(Some("second")).unwrap());

    // Each has its own policy, in every worker.
    assert_eq!(one.expect(&secret("laptop"), 200).as_deref(), Some("1000000"));
    assert_eq!(two.expect(&secret("laptop"), 200).as_deref(), Some("2000000"));
    let lab = two.create("lab");
    two.expect(&lab.1, 200);
    one.expect(&lab.1, 401);
    let lower = json!({"limits": {"rpm": 900_000}});
    assert_eq!(one.manage("PATCH", "/teams/search", Some(&lower)).status, 200);
    assert_eq!(one.expect(&secret("laptop"), 200).as_deref(), Some("900000"));
    assert_eq!(two.expect(&secret("laptop"), 200).as_deref(), Some("2000000"));
    assert_eq!((one.unapplied(), two.unapplied()), (json!(1), json!(1)));

    // A key of a team that both have works in every worker of both, until it is revoked in either.
    for _ in 0..3 {
        let (by_one, by_two) = (one.create("search"), two.create("search"));
        for listener in [&mut one, &mut two] {
            listener.expect(&by_one.1, 200);
            listener.expect(&by_two.1, 200);
        }
        one.revoke(&by_two.0);
        two.revoke(&by_one.0);
        for listener in [&mut one, &mut two] {
            listener.expect(&by_one.1, 401);
            listener.expect(&by_two.1, 401);
        }
    }
    one.revoke("laptop");
    one.expect(&secret("laptop"), 401);
    two.expect(&secret("laptop"), 401);

    // They are updated one after the other, and the first is taken back.
    let kept = one.create("search");
    assert_eq!(envoy.reload(&volatile(800_000).to_string()), Reload::Taken);
    second["policy"]["teams"]["search"]["limits"]["rpm"] = json!(700_000);
    assert_eq!(one.expect(&kept.1, 200).as_deref(), Some("800000"));
    assert_eq!(two.expect(&kept.1, 200).as_deref(), Some("2000000"));
    assert_eq!(envoy.reload_file("second.yaml", &second.to_string()), Reload::Taken);
    assert_eq!(two.expect(&kept.1, 200).as_deref(), Some("700000"));
    assert_eq!(envoy.reload(&first.to_string()), Reload::Taken);
    assert_eq!(one.expect(&kept.1, 200).as_deref(), Some("900000"), "the API's change of this very record");
    for listener in [&mut one, &mut two] {
        listener.expect(&secret("laptop"), 401);
        listener.unapplied();
    }
    two.expect(&lab.1, 200);
    one.expect(&lab.1, 401);
    let warned = "changes made through the management API have no effect on the policy of this configuration";
    assert!(envoy.log().contains(warned), "{}", envoy.log());
}

/// Returns the filter's counters by name with labels, as Prometheus reads them.
fn counters(envoy: &Envoy) -> BTreeMap<String, u64> {
    let page = envoy.admin("GET", "/stats/prometheus");
    let lines = page.lines().filter(|line| line.starts_with("tollgate_"));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// Asserts that no counter fell or disappeared since the last look.
fn compare(envoy: &Envoy, last: &mut BTreeMap<String, u64>) {
    let now = counters(envoy);
    for (name, value) in &*last {
        let new = now.get(name);
        assert!(new.is_some_and(|new| new >= value), "{name} was {value} and is {new:?}");
    }
    *last = now;
}

#[test]
fn a_module_is_rolled_out_and_back_under_load_and_no_counter_falls_and_no_revoked_key_answers() {
    let configuration = volatile(100_000_000);
    let Some(mut gateway) = Gateway::start(&configuration) else { return };
    let listener = Listener::open(gateway.address());
    let ((_, kept), (gone, revoked)) = (listener.create("search"), listener.create("search"));
    listener.revoke(&gone);
    listener.revoke("laptop");
    assert_eq!(gateway.request(&chat()).status, 401);
    assert_eq!(gateway.request(&chat().bearer(&kept).header("x-simulate", "status=500")).status, 500);
    assert_eq!(gateway.request(&tollgate_envoy::world::chat_with("gpt-5")).status, 401);
    assert_eq!(gateway.request(&tollgate_envoy::world::chat_with("gpt-5").bearer(&kept)).status, 403);
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = gateway.address();
    let rare = counters(&gateway.envoy);
    let forbidden =
        "tollgate_denied{tollgate_reason=\"target_not_allowed\",organization=\"acme\",team=\"search\"}";
    assert_eq!(rare.get(forbidden), Some(&1), "{rare:#?}");
    assert_eq!(rare.get("tollgate_contended{}"), Some(&0), "{rare:#?}");

    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = Connection::open(address);
                let (laptop, mut number) = (secret("laptop"), 0_u32);
                while !done.load(Ordering::Relaxed) {
                    number += 1;
                    let (key, expected) = match number % 3 {
                        0 => (&kept, 200),
                        1 => (&revoked, 401),
                        _ => (&laptop, 401),
                    };
                    let answer = connection.request(&chat().bearer(key));
                    assert_eq!(answer.status, expected, "{answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let ended = Ended(&done);
        let mut last = rare.clone();
        let vms = |envoy: &Envoy| envoy.stat("wasm.envoy.wasm.runtime.v8.active");
        let few = vms(&gateway.envoy);
        let mut other = configuration.clone();
        other["policy"]["teams"]["search"]["limits"]["rpm"] = json!(99_000_000);
        for (module, configuration) in [
            (Some(filter(&["inject-trap"])), &configuration),
            (Some(filter(&[])), &configuration),
            (None, &other),
            (Some(filter(&["inject-trap"])), &other),
            (Some(filter(&[])), &configuration),
        ] {
            let taken = match module {
                Some(module) => gateway.envoy.upgrade(&module, &configuration.to_string()),
                None => gateway.envoy.reload(&configuration.to_string()),
            };
            assert_eq!(taken, Reload::Taken);
            // Until the VMs of the old module are gone, and a moment of traffic more.
            let (end, before) = (Instant::now() + Duration::from_secs(20), answered.load(Ordering::Relaxed));
            while vms(&gateway.envoy) > few || answered.load(Ordering::Relaxed) < before + 100 {
                assert!(Instant::now() < end, "{} VMs are left", vms(&gateway.envoy));
                compare(&gateway.envoy, &mut last);
                thread::sleep(Duration::from_millis(50));
            }
            compare(&gateway.envoy, &mut last);
        }
        assert_eq!(last.get(forbidden), Some(&1), "{last:#?}");
        drop(ended);
    });
    gateway.assert_no_trap();
}

#[test]
fn more_teams_than_the_maximum_are_counted_together_over_reloads_and_workers() {
    let configuration = |names: std::ops::Range<u32>| {
        let mut configuration = volatile(1_000);
        configuration["metrics"] = json!({"max_teams": 2});
        for number in names {
            let (team, key) = (format!("team.{number}"), format!("key{number}"));
            configuration["policy"]["teams"][&team] = json!({"organization": "acme", "name": "T"});
            configuration["policy"]["keys"][&key] = key_of(&team, &key);
        }
        configuration
    };
    let Some(mut gateway) = Gateway::start(&configuration(0..4)) else { return };
    let ask = |gateway: &Gateway, number: u32| {
        for mut connection in connections(gateway.address()) {
            let answer = connection.request(&chat().bearer(&secret(&format!("key{number}"))));
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    };
    (0..4).for_each(|number| ask(&gateway, number));
    assert_eq!(gateway.envoy.reload(&configuration(3..7).to_string()), Reload::Taken);
    (3..7).for_each(|number| ask(&gateway, number));
    let allowed: BTreeMap<String, u64> = counters(&gateway.envoy)
        .into_iter()
        .filter(|(name, _)| name.starts_with("tollgate_allowed"))
        .collect();
    let expected = [
        ("tollgate_allowed{organization=\"acme\",team=\"team.0\"}", 24),
        ("tollgate_allowed{organization=\"acme\",team=\"team.1\"}", 24),
        ("tollgate_allowed{organization=\"other\",team=\"other\"}", 24 * 6),
        ("tollgate_allowed{}", 0),
    ];
    assert_eq!(allowed, expected.map(|(name, value)| (name.to_owned(), value)).into());
    gateway.assert_no_trap();
}
