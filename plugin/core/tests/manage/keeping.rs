//! What becomes of a write that cannot be kept: it is refused, and so it stands in the audit.

use serde_json::{Value, json};
use tollgate_core::admin::{Asked, Keeps};
use tollgate_core::config;
use tollgate_core::config::Gateway;
use tollgate_core::counters::{CellName, Cells, CellsError, SharedCells, Swap};
use tollgate_core::replication::{Act, Keeper};
use tollgate_core::time::{Now, SECOND};

use super::support::Map;
use super::world::{START, policy, request};

/// Shared data where others can always be faster.
struct Busy {
    cells: SharedCells<Map>,
    busy: bool,
}

impl Busy {
    fn new() -> Busy {
        let mut map = Map::new();
        let kind = SharedCells::probe(&mut map, "tollgate/1/");
        Busy { cells: SharedCells::new(map, kind), busy: false }
    }
}

impl Cells for Busy {
    type Version = <SharedCells<Map> as Cells>::Version;

    fn read(&mut self, name: &CellName) -> Result<(Vec<u8>, Self::Version), CellsError> {
        self.cells.read(name)
    }

    fn swap(&mut self, name: &CellName, version: Self::Version, new: &[u8]) -> Result<Swap, CellsError> {
        if self.busy { Ok(Swap::Lost) } else { self.cells.swap(name, version, new) }
    }
}

fn gateway(more: Value) -> Gateway {
    let mut whole = json!({ "policy": policy(), "volatile_keys": true });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut loader = config::Loader::default();
    loader.push(whole.to_string().as_bytes());
    loader.finish().unwrap().0
}

/// A key is asked for: the status and the code of the answer, and the attempt as the log has it.
fn create(keeper: &mut Keeper, cells: &mut Busy, gateway: &Gateway) -> (u16, String, Value) {
    let now = Now { wall: START, monotonic: SECOND };
    let asked = Asked { now, random: [u8::from(cells.busy); 48], keeps: Keeps::Durable };
    let request = request("developer", "POST", "/teams/search/keys", &json!({ "name": "x" }));
    let (mut answers, mut logged) = (Vec::new(), Vec::new());
    for act in keeper.manage(cells, gateway, (1, request), &asked) {
        match act {
            Act::Answer(_, answered) => answers.push(answered.response),
            Act::Audit(line) => logged.push(serde_json::from_str::<Value>(&line).unwrap()["audit"].take()),
            Act::Call { .. } | Act::Warn(_) => {}
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
    let (mut keeper, trouble) = Keeper::open(&mut cells, &gateway, 1);
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
    let (mut keeper, trouble) = Keeper::open(&mut cells, &old, 1);
    assert_eq!(trouble, None);
    let new = gateway(json!({ "fleet": { "cluster": "new" } }));
    let (_, trouble) = Keeper::open(&mut cells, &new, 2);
    assert_eq!(trouble, None);
    let (status, code, entry) = create(&mut keeper, &mut cells, &old);
    assert_eq!((&entry["status"], &entry["reason"]), (&json!(503), &json!("superseded")));
    assert_eq!((status, code.as_str()), (503, "superseded"));
}
