//! The journal: all VMs hold the same documents, with any interleaving of their calls and after any trap.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail so"
)]

mod stepped;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/stepped.rs"]
mod support_stepped;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::Map;
use tollgate_core::admin::audit::{AuditQuery, EntryKind, MAX_ENTRIES, MAX_ENTRIES_OF_ACTOR};
use tollgate_core::counters::{
    Cas, HostStatus, SharedData, SharedDataKind, SharedDataStore, SharedValue, StoreError,
};
use tollgate_core::policy::{Change, Section};
use tollgate_core::replication::{DELTA_SLOTS, Journal, JournalCommit, JournalError, LogEntry, Replica};

const PREFIX: &str = "t/";
const FORMAT: u64 = 7;

/// Teams by id: a minimal replica.
#[derive(Clone, Debug, Default, PartialEq)]
struct Teams(BTreeMap<String, Value>);

impl Replica for Teams {
    fn apply(&mut self, change: &Change) -> bool {
        for edit in &change.edits {
            match &edit.record {
                Some(record) => drop(self.0.insert(edit.id.clone(), record.clone())),
                None => drop(self.0.remove(&edit.id)),
            }
        }
        true
    }

    fn replace(&mut self, documents: &[(String, Option<Value>)]) -> bool {
        for (document, content) in documents {
            let Some(id) = document.strip_prefix("team/") else { return false };
            match content {
                Some(content) => drop(self.0.insert(id.to_owned(), content.clone())),
                None => drop(self.0.remove(id)),
            }
        }
        true
    }

    fn document(&self, document: &str) -> Option<Value> {
        self.0.get(document.strip_prefix("team/")?).cloned()
    }

    fn touched(&self, change: &Change) -> Vec<String> {
        change.edits.iter().map(|edit| format!("team/{}", edit.id)).collect()
    }
}

/// A VM with its replica, over the shared data `S`.
struct Vm<S> {
    store: SharedDataStore<S>,
    journal: Journal,
    teams: Teams,
}

impl<S: SharedData> Vm<S> {
    fn start(shared: S, kind: SharedDataKind, format: u64) -> Result<Self, JournalError> {
        let mut store = SharedDataStore::new(shared, kind);
        let journal = Journal::open(&mut store, PREFIX, format)?;
        let mut vm = Vm { store, journal, teams: Teams::default() };
        vm.journal.catch_up(&mut vm.store, &mut vm.teams)?;
        Ok(vm)
    }

    fn refresh(&mut self) -> Result<(), JournalError> {
        if self.journal.is_behind(&mut self.store)? {
            return match self.journal.catch_up(&mut self.store, &mut self.teams) {
                Err(JournalError::Superseded) => Ok(()),
                other => other,
            };
        }
        Ok(())
    }

    fn recover(&mut self) -> Result<(), JournalError> {
        self.journal.recover(&mut self.store, &mut self.teams)
    }

    fn commit(&mut self, change: Change, entry: Option<String>) -> Result<bool, JournalError> {
        self.commit_as("", change, entry)
    }

    /// Commits a change of this actor.
    fn commit_as(
        &mut self,
        actor: &str,
        change: Change,
        entry: Option<String>,
    ) -> Result<bool, JournalError> {
        let commit = JournalCommit {
            change,
            entry: entry.map(|text| LogEntry {
                organization: Some("acme".to_owned()),
                actor: actor.to_owned(),
                text,
            }),
            ..JournalCommit::default()
        };
        self.journal.commit(&mut self.store, &mut self.teams, commit)
    }

    /// Adds one to a team's number. The result is wrong if the decision is based on an old replica.
    fn add_one(&mut self, team: &str) -> Result<(), JournalError> {
        loop {
            self.journal.catch_up(&mut self.store, &mut self.teams)?;
            let number = self.number(team) + 1;
            if self.commit(put(team, number), Some(format!("{team}={number}")))? {
                return Ok(());
            }
        }
    }

    fn number(&self, team: &str) -> u64 {
        self.teams.0.get(team).and_then(Value::as_u64).unwrap_or_default()
    }

    fn attempts(&mut self, limit: usize) -> Vec<String> {
        let query = AuditQuery { organization: Some("acme".to_owned()), after: None, limit, kind: None };
        let (entries, _) = self.journal.audit_page(&mut self.store, &query).unwrap();
        entries.into_iter().map(|stored| stored.entry).collect()
    }
}

/// Returns all entries of the organization, newest first.
fn entries(vm: &mut Vm<Map>) -> Vec<String> {
    let mut query = AuditQuery { organization: Some("acme".to_owned()), after: None, limit: 64, kind: None };
    let mut all = Vec::new();
    loop {
        let (page, next) = vm.journal.audit_page(&mut vm.store, &query).unwrap();
        assert!(page.len() <= 64);
        all.extend(page.into_iter().map(|stored| stored.entry));
        let Some(next) = next else { return all };
        query.after = Some(next);
    }
}

fn put(team: &str, number: u64) -> Change {
    let mut change = Change::default();
    change.put(Section::Teams, team, json!(number));
    change
}

fn vm(map: &Map) -> Vm<Map> {
    Vm::start(map.clone(), SharedDataKind::CompareAndSwap, FORMAT).unwrap()
}

#[test]
fn a_change_applies_in_every_vm_from_its_next_request_on() {
    let map = Map::new();
    let mut vms = [vm(&map), vm(&map), vm(&map)];
    for round in 1..=5 {
        for writer in 0..3 {
            vms[writer].add_one("search").unwrap();
            for vm in &mut vms {
                vm.refresh().unwrap();
                assert_eq!(vm.number("search"), (round - 1) * 3 + writer as u64 + 1);
            }
        }
    }
    let mut removed = Change::default();
    removed.remove(Section::Teams, "search");
    assert_eq!(vms[0].commit(removed, None), Ok(true));
    vms[1].refresh().unwrap();
    assert_eq!(vms[1].teams, Teams::default());
    assert_eq!(vm(&map).teams, Teams::default());
}

#[test]
fn a_decision_on_an_old_replica_is_not_committed() {
    let map = Map::new();
    let (mut one, mut two) = (vm(&map), vm(&map));
    assert_eq!(one.commit(put("search", 1), None), Ok(true));
    assert_eq!(two.commit(put("search", 9), None), Ok(false));
    two.refresh().unwrap();
    assert_eq!(two.number("search"), 1);
    assert_eq!(two.commit(put("search", 2), None), Ok(true));
}

#[test]
fn a_refresh_without_changes_reads_one_short_record() {
    let map = Map::new();
    let mut writer = vm(&map);
    writer.add_one("search").unwrap();
    let calls = Counted { map: map.clone(), gets: 0, bytes: 0 };
    let mut reader = Vm::start(calls, SharedDataKind::CompareAndSwap, FORMAT).unwrap();
    let before = (reader.store.host().gets, reader.store.host().bytes);
    reader.refresh().unwrap();
    let host = reader.store.host();
    assert_eq!((host.gets - before.0, host.bytes - before.1), (1, 24));
}

struct Counted {
    map: Map,
    gets: usize,
    bytes: usize,
}

impl SharedData for Counted {
    fn get(&mut self, name: &str) -> Result<SharedValue, HostStatus> {
        let entry = self.map.get(name)?;
        self.gets += 1;
        self.bytes += entry.bytes.len();
        Ok(entry)
    }
    fn set(&mut self, name: &str, bytes: &[u8], version: u32) -> Result<Cas, HostStatus> {
        self.map.set(name, bytes, version)
    }
}

#[test]
fn a_vm_catches_up_from_any_epoch() {
    for behind in [1, 2, DELTA_SLOTS - 1, DELTA_SLOTS, DELTA_SLOTS + 1, 3 * DELTA_SLOTS] {
        let map = Map::new();
        let (mut writer, mut reader) = (vm(&map), vm(&map));
        // A new VM would read all documents anyway.
        writer.add_one("first").unwrap();
        reader.refresh().unwrap();
        for number in 0..behind {
            writer.add_one(if number % 3 == 0 { "search" } else { "ads" }).unwrap();
        }
        reader.refresh().unwrap();
        assert_eq!(reader.teams, writer.teams, "{behind} behind");
        assert_eq!(vm(&map).teams, writer.teams, "new after {behind}");
    }
}

#[test]
fn another_format_drops_the_changes_and_supersedes_the_old_journal() {
    let map = Map::new();
    let mut old = vm(&map);
    old.add_one("search").unwrap();
    assert_eq!(vm(&map).number("search"), 1, "the same format keeps it");
    let mut new = Vm::start(map.clone(), SharedDataKind::CompareAndSwap, FORMAT + 1).unwrap();
    assert_eq!((&new.teams, new.journal.dropped(), old.journal.dropped()), (&Teams::default(), 1, 0));
    new.add_one("ads").unwrap();
    old.refresh().unwrap();
    assert_eq!(old.number("search"), 1, "it serves what it had");
    assert_eq!(old.commit(put("search", 2), None), Err(JournalError::Superseded));
    assert!(old.journal.is_superseded());
    let again = Vm::start(map.clone(), SharedDataKind::CompareAndSwap, FORMAT + 1).unwrap();
    assert_eq!(again.teams, new.teams, "nothing of the first journal's documents is left");
}

#[test]
fn a_lower_revision_never_replaces_a_higher_one() {
    let map = Map::new();
    let (mut one, mut two) = (vm(&map), vm(&map));
    let publish = |vm: &mut Vm<Map>, number, revision| {
        let commit = JournalCommit {
            change: put("search", number),
            revision: Some(revision),
            ..JournalCommit::default()
        };
        vm.journal.commit(&mut vm.store, &mut vm.teams, commit)
    };
    assert_eq!(publish(&mut one, 1, 20), Ok(true));
    two.refresh().unwrap();
    assert_eq!(two.journal.revision(), 20);
    assert_eq!(publish(&mut two, 2, 19), Ok(false));
    assert_eq!(publish(&mut two, 2, 21), Ok(true));
    assert_eq!(vm(&map).journal.revision(), 21);
}

#[test]
fn documents_committed_without_a_change_are_read_by_later_vms() {
    let map = Map::new();
    let mut one = vm(&map);
    one.teams.0.insert("inline".to_owned(), json!(3));
    let documents = vec!["team/inline".to_owned()];
    let commit = JournalCommit { documents, ..JournalCommit::default() };
    assert_eq!(one.journal.commit(&mut one.store, &mut one.teams, commit), Ok(true));
    assert_eq!(vm(&map).number("inline"), 3);
}

#[test]
fn the_last_thousand_audit_entries_are_stored_newest_first() {
    let map = Map::new();
    let mut vm = vm(&map);
    assert!(vm.attempts(10).is_empty());
    for number in 0..MAX_ENTRIES + 30 {
        let (change, entry) = (put("search", number as u64), number.to_string());
        assert_eq!(vm.commit_as(&format!("actor{}", number % 8), change, Some(entry)), Ok(true));
    }
    vm.journal.append_audit(&mut vm.store, None, "ann", "platform").unwrap();
    let all = entries(&mut vm);
    let expected: Vec<_> = (30..MAX_ENTRIES + 30).rev().map(|number| number.to_string()).collect();
    assert_eq!(all, expected);
    let names = map.rows().into_keys().filter(|name| name.contains("/audit/acme")).count();
    assert!(names <= MAX_ENTRIES + 1, "{names} records for ever");
}

#[test]
fn attempts_without_effect_never_remove_a_change() {
    let map = Map::new();
    let mut vm = vm(&map);
    for number in 0..3 {
        vm.commit(put("search", number), Some(format!("change {number}"))).unwrap();
    }
    for number in 0..2 * MAX_ENTRIES {
        vm.journal.append_audit(&mut vm.store, Some("acme"), "eve", &format!("attempt {number}")).unwrap();
    }
    vm.commit(put("search", 3), Some("change 3".to_owned())).unwrap();
    vm.journal.append_audit(&mut vm.store, Some("acme"), "ann", "attempt of ann").unwrap();
    let read = |vm: &mut Vm<Map>, kind, limit| {
        let mut query = AuditQuery { organization: Some("acme".to_owned()), after: None, limit, kind };
        let mut all = Vec::new();
        loop {
            let (page, next) = vm.journal.audit_page(&mut vm.store, &query).unwrap();
            assert!(page.len() <= limit);
            all.extend(page.into_iter().map(|stored| stored.entry));
            let Some(next) = next else { return all };
            query.after = Some(next);
        }
    };
    let changes = ["change 3", "change 2", "change 1", "change 0"];
    assert_eq!(read(&mut vm, Some(EntryKind::Change), 3), changes);
    let attempts = read(&mut vm, Some(EntryKind::Attempt), 5);
    assert_eq!(attempts.len(), 33, "the last of each actor");
    assert_eq!((&*attempts[0], &*attempts[1]), ("attempt of ann", "attempt 1999"));
    for limit in [1, 4, 200] {
        let all = read(&mut vm, None, limit);
        assert_eq!(all.len(), 37, "pages of {limit}");
        assert_eq!(all[..3], ["attempt of ann", "change 3", "attempt 1999"], "pages of {limit}");
        assert_eq!(all[34..], changes[1..], "pages of {limit}");
    }
    let names = map.rows().into_keys().filter(|name| name.contains("/attempts/")).count();
    assert_eq!(names, 1, "one record for all attempts");
}

#[test]
fn the_changes_of_one_actor_never_remove_those_of_others() {
    let map = Map::new();
    let mut vm = vm(&map);
    for number in 0..100 {
        vm.commit_as("owner", put("search", number), Some(format!("owner {number}"))).unwrap();
    }
    for number in 0..2 * MAX_ENTRIES as u64 {
        vm.commit_as("developer", put("search", number), Some(format!("developer {number}"))).unwrap();
    }
    let all = entries(&mut vm);
    let of = |actor: &str| all.iter().filter(|entry| entry.starts_with(actor)).count();
    assert_eq!((of("owner"), of("developer")), (100, MAX_ENTRIES_OF_ACTOR));
    assert_eq!((&*all[0], &*all[MAX_ENTRIES_OF_ACTOR]), ("developer 1999", "owner 99"));
    // Ten actors together leave each the same share.
    for number in 0..3 * MAX_ENTRIES as u64 {
        let actor = format!("crowd{}", number % 9);
        vm.commit_as(&actor, put("search", number), Some(format!("{actor} {number}"))).unwrap();
    }
    let all = entries(&mut vm);
    let of = |actor: &str| all.iter().filter(|entry| entry.starts_with(actor)).count();
    assert_eq!((all.len(), of("owner")), (MAX_ENTRIES, 90), "the share of eleven actors");
    let records = map.rows().into_keys().filter(|name| name.contains("audit/acme/")).count();
    assert!(records <= MAX_ENTRIES + 1, "{records}");
}

#[test]
fn a_host_without_shared_data_has_no_journal() {
    let map = Map::new();
    let refused = Vm::start(map, SharedDataKind::None, FORMAT).err();
    assert!(matches!(refused, Some(JournalError::Store(StoreError::Unavailable(_)))));
}
