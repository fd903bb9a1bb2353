//! The filter in the host: exactly the limit, in every schedule, on every dialect.

mod modules;

use std::sync::Barrier;
use std::time::Duration;

use modules::{filter, ok};
use serde_json::{Value, json};
use tollgate_core::secret::api_key::{digest, format_digest};
use tollgate_host::proxy_wasm::{
    CapturedLog, Clock, Dialect, Effect, Ending, Flow, HeaderMap, HostCall, Log, Process, SharedData,
    StreamInfo, Vm, When, interleave,
};

const KEY: &str = "a-key-of-another-gateway";
const UNLIMITED_KEY: &str = "a-key-without-limits";
const LIMIT: usize = 2;

/// Returns one limited team with a key and one unlimited team with another; both may call `/reports`.
fn configuration() -> Vec<u8> {
    let digest = |key: &str| format_digest(&digest(key.as_bytes()));
    let policy = json!({
        "version": 1,
        "targets": { "reports-api": {} },
        "organizations": {
            "acme": { "name": "Acme", "access": { "targets": ["reports-api"] }, "limits": { "rph": 1000 } },
            "open": { "name": "Open", "access": { "targets": ["reports-api"] } }
        },
        "teams": {
            "blue": { "organization": "acme", "name": "Blue", "limits": { "rpm": LIMIT } },
            "free": { "organization": "open", "name": "Free" }
        },
        "keys": {
            "limited": { "team": "blue", "digest": digest(KEY), "limits": { "rpm": LIMIT } },
            "unlimited": { "team": "free", "digest": digest(UNLIMITED_KEY) }
        }
    });
    let gateway: Value =
        json!({ "policy": policy, "routes": [{ "path": "/reports", "target": "reports-api" }] });
    gateway.to_string().into_bytes()
}

fn process(data: SharedData) -> (Process, CapturedLog) {
    process_of(data, &configuration())
}

fn process_of(data: SharedData, configuration: &[u8]) -> (Process, CapturedLog) {
    let (sink, log) = Log::capture();
    let (clock, _) = Clock::manual(Duration::from_secs(1_800_000_000));
    let builder = Process::builder(&filter()).shared_data(data).clock(clock).log(sink);
    (builder.start(configuration).expect("the configuration is right"), log)
}

/// Makes a call and returns the status for the caller.
fn call(vm: &mut Vm, key: &str) -> u16 {
    let bearer = format!("Bearer {key}");
    let head = HeaderMap::from([
        (":method", "GET"),
        (":path", "/reports"),
        (":authority", "gateway"),
        (":scheme", "http"),
        ("authorization", &bearer),
    ]);
    let stream = vm.open(StreamInfo::default()).unwrap();
    let status = match vm.request_headers(stream, head, true).unwrap() {
        Flow::Reply(reply) => reply.status,
        Flow::Forward(_) => {
            vm.response_headers(stream, ok(), true).unwrap();
            200
        }
        flow => panic!("a request without a body is decided in its head, not {flow:?}"),
    };
    vm.close(stream, &Ending::Complete).unwrap();
    status
}

fn admitted(statuses: &[u16]) -> usize {
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 200).count()
}

#[test]
fn exactly_the_limit_is_admitted_in_every_schedule() {
    let (process, _) = process(SharedData::new(Dialect::Envoy));
    let mut vms: Vec<Vm> = (0..3).map(|_| process.worker().unwrap()).collect();
    for seed in 0..5_000 {
        process.shared_data().clear();
        let done = interleave(seed, &mut vms, |_, vm| call(vm, KEY));
        assert_eq!(admitted(&done.results), LIMIT, "seed {seed}: {:?}", done.trace);
    }
}

/// The same load as against real Envoy: four workers, 64 requests at once on each of 500 new teams.
#[test]
fn exactly_the_limit_of_64_concurrent_requests_is_admitted_in_each_of_500_teams_on_every_dialect() {
    const WORKERS: usize = 4;
    const EACH: usize = 16;
    const TEAMS: usize = 500;
    const MOST: usize = 10;
    let key = |team: usize| format!("the-key-of-team-{team}");
    let (mut teams, mut keys) = (serde_json::Map::new(), serde_json::Map::new());
    for team in 0..TEAMS {
        let (id, digest) = (format!("team{team}"), format_digest(&digest(key(team).as_bytes())));
        teams.insert(
            id.clone(),
            json!({ "organization": "acme", "name": "Fresh", "limits": { "rpm": MOST } }),
        );
        keys.insert(id.clone(), json!({ "team": id, "digest": digest }));
    }
    let configuration = json!({
        "policy": {
            "version": 1,
            "targets": { "reports-api": {} },
            // A counter that all of them write, in addition to their own.
            "organizations": { "acme": {
                "name": "Acme", "access": { "targets": ["reports-api"] }, "limits": { "rpm": 1_000_000 }
            } },
            "teams": teams,
            "keys": keys
        },
        "routes": [{ "path": "/reports", "target": "reports-api" }]
    });
    for dialect in Dialect::SUPPORTED {
        let (process, _) = process_of(SharedData::new(dialect), configuration.to_string().as_bytes());
        let together = Barrier::new(WORKERS);
        let statuses: Vec<Vec<u16>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS)
                .map(|_| {
                    let (mut vm, together, key) = (process.worker().unwrap(), &together, &key);
                    scope.spawn(move || {
                        let mut statuses = Vec::with_capacity(TEAMS * EACH);
                        for team in 0..TEAMS {
                            together.wait();
                            statuses.extend((0..EACH).map(|_| call(&mut vm, &key(team))));
                        }
                        statuses
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        for team in 0..TEAMS {
            let of_team: Vec<u16> =
                statuses.iter().flat_map(|all| all[team * EACH..(team + 1) * EACH].to_vec()).collect();
            if dialect.has_shared_data() {
                assert_eq!(admitted(&of_team), MOST, "{dialect:?}, team {team}");
            } else {
                assert_eq!(of_team, vec![503; WORKERS * EACH], "{dialect:?}: limits cannot be checked there");
            }
        }
    }
}

#[test]
fn many_conflicts_never_admit_more() {
    let (process, _) = process(SharedData::new(Dialect::Envoy));
    let mut vms: Vec<Vm> = (0..3).map(|_| process.worker().unwrap()).collect();
    process.faults().inject(Some(HostCall::SetSharedData), When::Every(3), Effect::LoseSwap);
    for seed in 0..300 {
        process.shared_data().clear();
        let done = interleave(seed, &mut vms, |_, vm| call(vm, KEY));
        assert_eq!(admitted(&done.results), LIMIT, "seed {seed}");
    }
}

#[test]
fn a_trap_in_one_vm_leaves_the_counters_to_the_others() {
    let (process, _) = process(SharedData::new(Dialect::Envoy));
    let mut vms: Vec<Vm> = (0..2).map(|_| process.worker().unwrap()).collect();
    assert_eq!(call(&mut vms[0], KEY), 200);
    process.faults().inject(None, When::Nth(1), Effect::Trap);
    let stream = vms[0].open(StreamInfo::default());
    assert!(stream.is_err() || vms[0].request_headers(stream.unwrap(), modules::post(), true).is_err());
    vms[0].reload().unwrap();
    assert_eq!([call(&mut vms[0], KEY), call(&mut vms[1], KEY)], [200, 429]);
}

#[test]
fn a_host_without_shared_data_serves_keys_without_limits_and_rejects_the_others() {
    for dialect in [Dialect::Forgetful, Dialect::Unimplemented] {
        let (process, log) = process(SharedData::new(dialect));
        let mut vm = process.worker().unwrap();
        assert_eq!(call(&mut vm, KEY), 503, "{dialect:?}: {:?}", log.lines());
        assert_eq!(call(&mut vm, UNLIMITED_KEY), 200, "{dialect:?}: {:?}", log.lines());
        assert_eq!(call(&mut vm, "unknown"), 401);
    }
}
