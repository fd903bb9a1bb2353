//! Writes that cannot be stored are rejected and recorded as rejected.

use serde_json::{Value, json};
use tollgate_core::admin::{AdminRequest, CountersRead, Durability, RequestInputs};
use tollgate_core::config;
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::{Cas, CounterStore, RecordKey, SharedDataStore, StoreError};
use tollgate_core::replication::{Effect, PolicyStore};
use tollgate_core::time::{Now, SECOND};

use super::support::Map;
use super::world::{START, policy, request};

/// A store whose compare-and-swap can be made to always conflict.
struct Busy {
    store: SharedDataStore<Map>,
    busy: bool,
    draws: u8,
}

impl Busy {
    fn new() -> Busy {
        let mut map = Map::new();
        let kind = SharedDataStore::probe(&mut map, "tollgate/1/");
        Busy { store: SharedDataStore::new(map, kind), busy: false, draws: 0 }
    }
}

impl CounterStore for Busy {
    type Version = <SharedDataStore<Map> as CounterStore>::Version;

    fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, Self::Version), StoreError> {
        self.store.read(name)
    }

    fn compare_and_swap(
        &mut self,
        name: &RecordKey,
        version: Self::Version,
        new: &[u8],
    ) -> Result<Cas, StoreError> {
        if self.busy { Ok(Cas::Conflict) } else { self.store.compare_and_swap(name, version, new) }
    }
}

fn gateway(more: Value) -> GatewayConfig {
    let mut whole = json!({ "policy": policy(), "volatile_keys": true });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut loader = config::ConfigLoader::default();
    loader.push(whole.to_string().as_bytes());
    loader.finish().unwrap().0
}

/// Creates a key; returns the status and code of the response, and the logged audit entry.
fn create(policies: &mut PolicyStore, store: &mut Busy, gateway: &GatewayConfig) -> (u16, String, Value) {
    let now = Now { wall: START, monotonic: SECOND };
    store.draws += 1;
    let inputs = RequestInputs {
        now,
        random: [store.draws; 48],
        durability: Durability::Durable,
        counters: CountersRead::Own,
    };
    let request = request("developer", "POST", "/teams/search/keys", &json!({ "name": "x" }));
    let (mut answers, mut logged) = (Vec::new(), Vec::new());
    for act in policies.manage(store, gateway, (1, request), &inputs) {
        match act {
            Effect::Answer(_, reply) => answers.push(reply.response),
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
fn a_write_that_always_conflicts_is_recorded_as_rejected() {
    let (gateway, mut store) = (gateway(json!({})), Busy::new());
    let (mut policies, error) = PolicyStore::open(&mut store, &gateway, 1);
    assert_eq!(error, None);
    assert_eq!(create(&mut policies, &mut store, &gateway).0, 201);
    store.busy = true;
    let (status, code, entry) = create(&mut policies, &mut store, &gateway);
    assert_eq!((&entry["status"], &entry["reason"]), (&json!(503), &json!("contended")));
    assert_eq!((status, code.as_str()), (503, "contended"));
}

#[test]
fn a_write_after_the_journal_was_lost_is_recorded_as_rejected() {
    let (gateway, mut store) = (gateway(json!({})), Busy::new());
    let (mut policies, error) = PolicyStore::open(&mut store, &gateway, 1);
    assert_eq!(error, None);
    assert_eq!(create(&mut policies, &mut store, &gateway).0, 201);
    // A host that evicts records, and a VM that starts afterwards.
    let head = RecordKey::new("tollgate/1/edits/doc/", &["head"]);
    let (record, version) = store.read(&head).unwrap();
    assert!(!record.is_empty());
    assert_eq!(store.compare_and_swap(&head, version, &[]), Ok(Cas::Stored));
    let (_, error) = PolicyStore::open(&mut store, &gateway, 2);
    assert_eq!(error, None);
    let (status, code, entry) = create(&mut policies, &mut store, &gateway);
    assert_eq!((&entry["status"], &entry["reason"]), (&json!(503), &json!("superseded")));
    assert_eq!((status, code.as_str()), (503, "superseded"));
}

#[test]
fn two_fleets_under_one_prefix_have_different_journals() {
    let (one, mut store) = (gateway(json!({ "fleet": { "cluster": "old" } })), Busy::new());
    let (_, error) = PolicyStore::open(&mut store, &one, 1);
    assert_eq!(error, None);
    let two = gateway(json!({ "fleet": { "cluster": "new" } }));
    let (_, error) = PolicyStore::open(&mut store, &two, 2);
    assert_eq!(error, None);
    let heads = store.store.host().rows().into_keys().filter(|name| name.ends_with("/doc/head")).count();
    assert_eq!(heads, 2);
}

#[test]
fn readiness_needs_no_caller_and_says_when_etcd_was_read() {
    let ask = |settings: Value| {
        let (gateway, mut store) = (gateway(settings), Busy::new());
        let (mut policies, _) = PolicyStore::open(&mut store, &gateway, 1);
        let inputs = PolicyStore::request_inputs(&gateway, Now { wall: START, monotonic: SECOND }, None);
        let request = AdminRequest { method: "GET".into(), readiness: true, ..AdminRequest::default() };
        match policies.manage(&mut store, &gateway, (1, request), &inputs).as_slice() {
            [Effect::Answer(1, reply)] => (reply.response.status, reply.response.body.clone()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(json!({})), (200, "ready: the policy is loaded\n".to_owned()));
    let (status, text) = ask(json!({ "fleet": { "cluster": "etcd" } }));
    assert_eq!((status, text.as_str()), (503, "not ready: etcd was never read\n"));
}
