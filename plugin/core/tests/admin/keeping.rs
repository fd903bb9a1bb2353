//! What becomes of a write that cannot be kept: it is refused, and so it stands in the audit.

use serde_json::{Value, json};
use tollgate_core::admin::{Durability, RequestInputs};
use tollgate_core::config;
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::{Cas, CounterStore, RecordKey, SharedDataStore, StoreError};
use tollgate_core::replication::{Effect, PolicyStore};
use tollgate_core::time::{Now, SECOND};

use super::support::Map;
use super::world::{START, policy, request};

/// Shared data where others can always be faster.
struct Busy {
    cells: SharedDataStore<Map>,
    busy: bool,
}

impl Busy {
    fn new() -> Busy {
        let mut map = Map::new();
        let kind = SharedDataStore::probe(&mut map, "tollgate/1/");
        Busy { cells: SharedDataStore::new(map, kind), busy: false }
    }
}

impl CounterStore for Busy {
    type Version = <SharedDataStore<Map> as CounterStore>::Version;

    fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, Self::Version), StoreError> {
        self.cells.read(name)
    }

    fn compare_and_swap(
        &mut self,
        name: &RecordKey,
        version: Self::Version,
        new: &[u8],
    ) -> Result<Cas, StoreError> {
        if self.busy { Ok(Cas::Conflict) } else { self.cells.compare_and_swap(name, version, new) }
    }
}

fn gateway(more: Value) -> GatewayConfig {
    let mut whole = json!({ "policy": policy(), "volatile_keys": true });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut loader = config::ConfigLoader::default();
    loader.push(whole.to_string().as_bytes());
    loader.finish().unwrap().0
}

/// A key is asked for: the status and the code of the answer, and the attempt as the log has it.
fn create(keeper: &mut PolicyStore, cells: &mut Busy, gateway: &GatewayConfig) -> (u16, String, Value) {
    let now = Now { wall: START, monotonic: SECOND };
    let asked = RequestInputs { now, random: [u8::from(cells.busy); 48], durability: Durability::Durable };
    let request = request("developer", "POST", "/teams/search/keys", &json!({ "name": "x" }));
    let (mut answers, mut logged) = (Vec::new(), Vec::new());
    for act in keeper.manage(cells, gateway, (1, request), &asked) {
        match act {
            Effect::Answer(_, answered) => answers.push(answered.response),
            Effect::Audit(line) => logged.push(serde_json::from_str::<Value>(&line).unwrap()["audit"].take()),
            Effect::Call { .. } | Effect::Warn(_) => {}
        }
    }
    let (Some(answer), Some(entry)) = (answers.pop(), logged.pop()) else { panic!("{answers:?} {logged:?}") };
    assert!(answers.is_empty() && logged.is_empty());
    let code = serde_json::from_str::<Value>(&answer.body).unwrap()["code"].take();
    (answer.status, code.as_str().unwrap_or_default().to_string(), entry)
}

#[test]
fn where_others_are_always_faster_the_attempt_is_kept_as_refused() {
    let (gateway, mut cells) = (gateway(json!({})), Busy::new());
    let (mut keeper, trouble) = PolicyStore::open(&mut cells, &gateway, 1);
    assert_eq!(trouble, None);
    assert_eq!(create(&mut keeper, &mut cells, &gateway).0, 201);
    cells.busy = true;
    let (status, code, entry) = create(&mut keeper, &mut cells, &gateway);
    assert_eq!((&entry["status"], &entry["reason"]), (&json!(503), &json!("contended")));
    assert_eq!((status, code.as_str()), (503, "contended"));
}

#[test]
fn in_a_fleet_the_attempt_at_a_configuration_that_is_superseded_is_kept_as_refused() {
    let (old, mut cells) = (gateway(json!({ "fleet": { "cluster": "old" } })), Busy::new());
    let (mut keeper, trouble) = PolicyStore::open(&mut cells, &old, 1);
    assert_eq!(trouble, None);
    let new = gateway(json!({ "fleet": { "cluster": "new" } }));
    let (_, trouble) = PolicyStore::open(&mut cells, &new, 2);
    assert_eq!(trouble, None);
    let (status, code, entry) = create(&mut keeper, &mut cells, &old);
    assert_eq!((&entry["status"], &entry["reason"]), (&json!(503), &json!("superseded")));
    assert_eq!((status, code.as_str()), (503, "superseded"));
}
