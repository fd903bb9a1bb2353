//! Exactly the limit is admitted, for any number of workers that decide at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};
use tollgate_envoy::gateway::{Gateway, WORKERS};
use tollgate_envoy::world::{chat, configuration, key_of, secret};

const CLIENTS: usize = 64;
const TEAMS: usize = 500;
const LIMIT: usize = 10;

#[test]
fn exactly_the_limit_of_64_concurrent_requests_is_admitted_in_each_of_500_teams() {
    let (mut teams, mut keys) = (Map::new(), Map::new());
    for team in 0..TEAMS {
        let name = format!("team{team:03}");
        teams.insert(name.clone(), json!({"organization": "acme", "name": name, "limits": {"rpm": LIMIT}}));
        keys.insert(name.clone(), key_of(&name, &name));
    }
    let mut configuration = configuration(&Value::Object(teams), &Value::Object(keys));
    // A counter that all teams write, in addition to their own.
    configuration["policy"]["organizations"]["acme"]["limits"] = json!({"rpm": 1_000_000});
    let Some(gateway) = Gateway::start(&configuration) else { return };

    let requests: Vec<_> = (0..TEAMS).map(|team| chat().bearer(&secret(&format!("team{team:03}")))).collect();
    let admitted: Vec<_> = (0..TEAMS).map(|_| AtomicUsize::new(0)).collect();
    let refused: Vec<_> = (0..TEAMS).map(|_| AtomicUsize::new(0)).collect();
    let together = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut connection = gateway.connect();
            let (requests, admitted, refused, together) = (&requests, &admitted, &refused, &together);
            scope.spawn(move || {
                for team in 0..TEAMS {
                    together.wait();
                    let response = connection.request(&requests[team]);
                    let count = match response.status {
                        200 => &admitted[team],
                        429 => &refused[team],
                        _ => panic!("{response:?}"),
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });

    let counts = |counters: &[AtomicUsize]| {
        counters.iter().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>()
    };
    assert_eq!(counts(&admitted), vec![LIMIT; TEAMS]);
    assert_eq!(counts(&refused), vec![CLIENTS - LIMIT; TEAMS]);
    assert_eq!(gateway.upstream.recording().requests().len(), LIMIT * TEAMS);
    let stats = gateway.envoy.stats();
    for worker in 0..WORKERS {
        let name = format!("worker_{worker}.downstream_cx_total");
        let connections: u64 = stats
            .iter()
            .filter(|(stat, _)| stat.starts_with("listener.") && stat.contains(&name))
            .map(|(_, value)| value)
            .sum();
        assert!(connections > 0, "worker {worker} had no part in it: {stats:#?}");
    }
    gateway.assert_no_trap();
}
