//! The series of the metrics, and the list of them that all workers of a process share.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "these tests need one kind of host")]
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::rc::Rc;

use support::Map;
use tollgate_core::counters::{SharedDataKind, SharedDataStore};
use tollgate_core::exchange::access_log::{AccessLogEntry, Decision};
use tollgate_core::exchange::series::{Counter, Line, Measure, OTHER, Refused, SeriesList, series_name};

/// One VM.
struct Vm {
    store: SharedDataStore<Map>,
    list: SeriesList,
    /// The names that the VM has defined on the host.
    defined: Vec<String>,
}

impl Vm {
    fn start(map: &Map) -> Vm {
        Vm::with(map, SharedDataKind::CompareAndSwap)
    }

    fn with(map: &Map, kind: SharedDataKind) -> Vm {
        let store = SharedDataStore::new(map.clone(), kind);
        let mut vm = Vm { store, list: SeriesList::default(), defined: Vec::new() };
        vm.tick();
        vm
    }

    fn tick(&mut self) {
        let mut added = Vec::new();
        self.list.follow(&mut self.store, &mut added);
        self.define(added);
    }

    fn define(&mut self, added: Vec<Line>) {
        self.defined.extend(added.iter().flat_map(Line::names));
    }

    fn team(&mut self, team: &str, max: u64) -> String {
        let mut added = Vec::new();
        let labels = self.list.team(&mut self.store, ("acme", team), max, &mut added);
        let (organization, team) = (labels.0.to_owned(), labels.1.to_owned());
        assert!(organization == "acme" || (organization == OTHER && team == OTHER));
        self.define(added);
        team
    }

    fn refused(&mut self, labels: (&str, &str), reason: &str) {
        let mut added = Vec::new();
        self.list.refusal(&mut self.store, labels, (Refused::Denied, reason), &mut added);
        self.define(added);
    }

    /// The teams with names of their own.
    fn teams(&self) -> BTreeSet<String> {
        let of_name = |name: &String| name.split(";team=").nth(1).map(str::to_owned);
        self.defined.iter().filter_map(of_name).filter(|team| team != OTHER).collect()
    }
}

#[test]
fn no_more_teams_than_the_maximum_get_names_in_all_workers_together() {
    const MAX: u64 = 10;
    let map = Map::new();
    let mut workers: Vec<Vm> = (0..4).map(|_| Vm::start(&map)).collect();
    for number in 0..200 {
        let worker = &mut workers[number * 7 % 4];
        worker.team(&format!("team-{}", number % 50), MAX);
    }
    // As after reloads with other teams, and in a VM that starts later.
    let mut late = Vm::start(&map);
    for number in 1_000..1_100 {
        assert_eq!(late.team(&format!("team-{number}"), MAX), OTHER);
    }
    workers.push(late);
    workers.iter_mut().for_each(Vm::tick);
    let all: BTreeSet<String> = workers.iter().flat_map(Vm::teams).collect();
    assert_eq!(all.len() as u64, MAX, "{all:?}");
    for vm in &mut workers {
        assert_eq!(vm.teams(), all, "every VM has defined all of them");
        for team in &all {
            assert_eq!(vm.team(team, MAX), *team, "a named team keeps its name");
        }
    }
    // A higher maximum makes room, a lower one takes no name away.
    assert_eq!(workers[0].team("more", MAX + 1), "more");
    workers[1].tick();
    assert_eq!(workers[1].team("more", 1), "more");
    assert_eq!(workers[1].team("another", 1), OTHER);
}

#[test]
fn a_new_vm_defines_each_series_of_the_process_and_follows_the_others() {
    let map = Map::new();
    let mut old = Vm::start(&map);
    old.team("ml", 5);
    old.refused(("acme", "ml"), "team_rpm_exceeded");
    old.refused(("", ""), "missing_api_key");
    let mut new = Vm::start(&map);
    assert_eq!(new.defined, old.defined);
    assert!(new.defined.contains(&"tollgate.allowed;organization=acme;team=ml".to_owned()));
    assert!(new.defined.contains(&"tollgate.denied;reason=missing_api_key".to_owned()));
    // The old one drains, and counts something new.
    old.refused(("acme", "ml"), "team_budget_exceeded");
    old.team("search", 5);
    new.tick();
    assert_eq!(new.defined, old.defined);
    // Nothing is defined twice, and nothing is written for what is known.
    let before = map.versions();
    for vm in [&mut old, &mut new] {
        vm.tick();
        vm.team("ml", 5);
        vm.refused(("acme", "ml"), "team_budget_exceeded");
    }
    assert_eq!(map.versions(), before);
    assert_eq!(new.defined.len(), new.defined.iter().collect::<BTreeSet<_>>().len());
}

#[test]
fn lines_of_another_version_are_kept_and_skipped() {
    let map = Map::new();
    let mut old = Vm::start(&map);
    old.team("ml", 5);
    let (list, bytes) = map.rows().into_iter().find(|(name, _)| name.ends_with("list")).unwrap();
    let mut newer = bytes.clone();
    newer.extend_from_slice(b"a line of a later version\nacme ml later reason\n\xff\n");
    tollgate_core::counters::SharedData::set(&mut map.clone(), &list, &newer, 0).unwrap();
    let mut new = Vm::start(&map);
    new.team("search", 5);
    assert_eq!(new.teams(), BTreeSet::from(["ml".to_owned(), "search".to_owned()]));
    old.team("vision", 5);
    assert!(old.teams().contains("search"));
    assert!(map.rows()[&list].starts_with(&newer));
}

#[test]
fn without_shared_data_each_vm_has_the_maximum_of_its_own() {
    let map = Map::new();
    let mut vm = Vm::with(&map, SharedDataKind::None);
    let names: Vec<String> = ["a", "b", "c", "a"].map(|team| vm.team(team, 2)).into();
    assert_eq!(names, ["a", "b", OTHER, "a"]);
    assert!(map.rows().is_empty());
}

#[test]
fn no_series_is_a_sum_of_others_and_no_two_have_one_name() {
    let mut names: Vec<&str> = Counter::ALL.iter().map(|counter| counter.name()).collect();
    names.extend(Measure::ALL.iter().map(|measure| measure.name()));
    names.extend(Refused::ALL.iter().map(|refused| refused.name()));
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for (decision, counted) in [
        (Decision::Allowed, "allowed"),
        (Decision::Denied, "denied"),
        (Decision::Shadowed, "shadowed"),
        (Decision::Public, "public"),
        (Decision::Answered, "answered"),
        (Decision::Undecided, "undecided"),
    ] {
        let entry = AccessLogEntry {
            decision,
            reason: Some("team_rpm_exceeded".into()),
            organization: Some(Rc::from("acme")),
            team: Some(Rc::from("m.l")),
            ..AccessLogEntry::default()
        };
        let mut counts: Vec<&str> = entry.counters().map(Counter::name).collect();
        counts.extend(entry.measures().filter(|(_, by)| *by > 0).map(|(measure, _)| measure.name()));
        counts.extend(entry.refused().map(|(refused, _)| refused.name()));
        assert_eq!(counts, [counted], "a request counts in one of them");
        assert_eq!(entry.team_labels(), ("acme", "m.l"));
    }
    let name = series_name("denied", Some("invalid_body"), ("acme", "a.b+c@d_e-f"));
    assert_eq!(name, "tollgate.denied;reason=invalid_body;organization=acme;team=a.b+c@d_e-f");
}

#[test]
fn the_series_of_all_other_teams_are_in_the_list() {
    let map = Map::new();
    let mut old = Vm::start(&map);
    assert_eq!(["ml", "search", "search"].map(|team| old.team(team, 1)), ["ml", OTHER, OTHER]);
    let new = Vm::start(&map);
    assert!(new.defined.contains(&"tollgate.allowed;organization=other;team=other".to_owned()));
}
