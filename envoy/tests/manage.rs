//! The management API for its users: behind `tollgate serve`, behind real Envoy, and with a real etcd.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_envoy::client::{self, Connection, Ended, Request, Response};
use tollgate_envoy::fleet::{self, Member, manage, token};
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::shipped;
use tollgate_envoy::world::chat;
use tollgate_host::build::module;
use tollgate_host::proxy_wasm::{Log, Process};
use tollgate_host::server::lines::Lines;
use tollgate_host::server::{BUFFER_LIMIT, Limits, Options, Server, Target};
use tollgate_host::simulator::Upstream;
use tollgate_host::tools::Etcd;

/// Returns the fleet's configuration for one process.
fn volatile() -> Value {
    let mut configuration = fleet::configuration();
    let fields = configuration.as_object_mut().unwrap();
    fields.remove("fleet");
    fields.insert("volatile_keys".to_owned(), json!(true));
    configuration["policy"]["targets"]["gpt-5"] = json!({"price": {"input": "1.25", "output": "10.00"}});
    configuration["policy"]["targets"]["gpt-5-mini"] = json!({"price": {"input": "0.25", "output": "2.00"}});
    configuration
}

/// `tollgate serve` with four workers.
struct Serving {
    server: Server,
    _upstream: Upstream,
}

impl Serving {
    fn start(configuration: &Value) -> Serving {
        Serving::with(configuration, &[])
    }

    fn with(configuration: &Value, features: &[&str]) -> Serving {
        let upstream = Upstream::start().unwrap();
        let module = module::load(features).unwrap();
        let server = Server::start(Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 4,
            process: Process::builder(&module).log(Log::capture().0).buffer_limit(BUFFER_LIMIT),
            configuration: configuration.to_string().into_bytes(),
            upstream: Target::parse(&upstream.url()).unwrap(),
            clusters: Vec::new(),
            lines: Lines::discard(),
            drain: Duration::ZERO,
            limits: Limits::default(),
            tls: None,
            console: None,
        })
        .unwrap();
        Serving { server, _upstream: upstream }
    }
}

fn workflow(address: SocketAddr) {
    let output = Command::new("python3")
        .arg(shipped::folder().join("tests/manage/workflow.py"))
        .arg(format!("http://{address}"))
        .args(["root", "ada", "bob"].map(token))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{said}\n{failed}");
}

#[test]
fn a_team_manages_itself_behind_the_command() {
    let serving = Serving::start(&volatile());
    workflow(serving.server.addr());
}

#[test]
fn a_team_manages_itself_behind_envoy() {
    let Some(gateway) = Gateway::start(&volatile()) else { return };
    workflow(gateway.address());
    gateway.assert_no_trap();
}

#[test]
fn a_team_manages_itself_behind_envoy_with_etcd() {
    let Some(etcd) = Etcd::start() else { return };
    let mut configuration = volatile();
    let fields = configuration.as_object_mut().unwrap();
    fields.remove("volatile_keys");
    fields.insert("fleet".to_owned(), json!({"cluster": "etcd"}));
    let Some(member) = Member::start(&configuration, etcd.address()) else { return };
    // A load balancer sends no request before.
    fleet::until(Duration::from_secs(20), "the gateway has joined its fleet", || {
        member.request(&Request::new("GET", "/tollgate/readyz")).status == 200
    });
    workflow(member.envoy.address());
}

fn mint(connection: &mut Connection, user: &str) -> Response {
    connection.request(&manage(user, "POST", "/teams/search/keys", Some(&json!({"name": "laptop"}))))
}

fn secret(response: &Response) -> String {
    assert_eq!(response.status, 201, "{response:?}");
    response.json()["secret"].as_str().unwrap().to_owned()
}

fn exactly_three_of_forty(address: SocketAddr) {
    let statuses: Vec<u16> = thread::scope(|scope| {
        let creations: Vec<_> = (0..40)
            .map(|_| scope.spawn(move || mint(&mut Connection::open(address), "bob").status))
            .collect();
        creations.into_iter().map(|creation| creation.join().unwrap()).collect()
    });
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(201), count(403)), (3, 37), "{statuses:?}");
    let keys = client::request(address, &manage("ada", "GET", "/teams/search/keys", None)).json();
    assert_eq!(keys["items"].as_array().map(Vec::len), Some(3), "{keys}");
}

#[test]
fn forty_concurrent_creations_on_four_workers_make_exactly_three_keys() {
    exactly_three_of_forty(Serving::start(&volatile()).server.addr());
    let Some(gateway) = Gateway::start(&volatile()) else { return };
    exactly_three_of_forty(gateway.address());
    gateway.assert_no_trap();
}

/// Opens enough connections that each of four workers has some.
fn connections(address: SocketAddr) -> Vec<Connection> {
    std::iter::repeat_with(|| Connection::open(address)).take(24).collect()
}

fn changes_hold_from_the_next_request_in_every_worker(address: SocketAddr) {
    let mut manager = Connection::open(address);
    let done = AtomicBool::new(false);
    let kept = secret(&mint(&mut manager, "eve"));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut connection = Connection::open(address);
                while !done.load(Ordering::Relaxed) {
                    let status = connection.request(&chat().bearer(&kept)).status;
                    assert!([200, 429].contains(&status), "{status}");
                }
            });
        }
        let ended = Ended(&done);
        let mut workers = connections(address);
        for _ in 0..5 {
            let made = mint(&mut manager, "bob");
            let (id, secret) = (made.json()["id"].as_str().unwrap().to_owned(), secret(&made));
            for connection in &mut workers {
                assert_eq!(connection.request(&chat().bearer(&secret)).status, 200, "made");
            }
            let answer = manager.request(&manage("bob", "DELETE", &format!("/keys/{id}"), None));
            assert_eq!(answer.status, 204, "{answer:?}");
            for connection in &mut workers {
                assert_eq!(connection.request(&chat().bearer(&secret)).status, 401, "revoked");
            }
        }
        let lower = json!({"limits": {"rpm": 1}});
        let answer = manager.request(&manage("ada", "PATCH", "/teams/search", Some(&lower)));
        assert_eq!(answer.status, 200, "{answer:?}");
        for connection in &mut workers {
            assert_eq!(connection.request(&chat().bearer(&kept)).status, 429, "lowered");
        }
        drop(ended);
    });
}

#[test]
fn management_changes_hold_under_load_from_the_next_request_in_every_worker() {
    changes_hold_from_the_next_request_in_every_worker(Serving::start(&volatile()).server.addr());
    let Some(gateway) = Gateway::start(&volatile()) else { return };
    changes_hold_from_the_next_request_in_every_worker(gateway.address());
    gateway.assert_no_trap();
}

#[test]
fn keys_made_through_the_api_survive_traps_of_every_worker() {
    let serving = Serving::with(&volatile(), &["inject-trap"]);
    let address = serving.server.addr();
    let secret = secret(&mint(&mut Connection::open(address), "bob"));
    for _ in 0..4 {
        let trap = client::request(address, &chat().bearer(&secret).header("x-tollgate-inject-trap", "1"));
        assert_eq!(trap.status, 503, "{trap:?}");
    }
    // A VM is restarted with the next request, at most once per second.
    for _ in 0..8 {
        assert_eq!(client::request(address, &chat().bearer(&secret)).status, 200);
    }
    let again = mint(&mut Connection::open(address), "bob");
    assert_eq!(again.status, 201, "{again:?}");
}

#[test]
fn another_inline_policy_keeps_the_keys_of_the_api_and_their_revocations() {
    let serving = Serving::start(&volatile());
    let address = serving.server.addr();
    let secret = secret(&mint(&mut Connection::open(address), "bob"));
    let status = || client::request(address, &chat().bearer(&secret)).status;
    let mut configuration = volatile();
    configuration["headers"] = json!("both");
    serving.server.reload(configuration.to_string().as_bytes()).unwrap();
    assert_eq!(status(), 200, "the policy is the same");
    configuration["policy"]["teams"]["search"]["limits"]["rpm"] = json!(99_999);
    serving.server.reload(configuration.to_string().as_bytes()).unwrap();
    assert_eq!(status(), 200, "the team and the owner are there");
    let keys = client::request(address, &manage("bob", "GET", "/teams/search/keys", None)).json();
    let path = format!("/keys/{}", keys["items"][0]["id"].as_str().unwrap());
    assert_eq!(client::request(address, &manage("bob", "DELETE", &path, None)).status, 204);
    serving.server.reload(volatile().to_string().as_bytes()).unwrap();
    assert_eq!(status(), 401, "the first policy again");
}

#[test]
fn a_gateway_that_cannot_store_keys_mints_none() {
    let mut configuration = volatile();
    configuration.as_object_mut().unwrap().remove("volatile_keys");
    let serving = Serving::start(&configuration);
    let refused = mint(&mut Connection::open(serving.server.addr()), "bob");
    assert_eq!(refused.status, 503, "{refused:?}");
}
