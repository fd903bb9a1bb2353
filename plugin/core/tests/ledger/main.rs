//! The ledger: each call is counted once, with any interleaving of the VMs' host calls and after a trap at any of them.
//!
//! The reference model is the list of the calls. Each call costs a power of two, so that a sum shows which calls it contains.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail so"
)]

mod schedules;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/random.rs"]
mod support_random;
#[path = "../support/stepped.rs"]
mod support_stepped;

use std::collections::BTreeMap;

use support::Map;
use tollgate_core::counters::{Cas, HostStatus, SharedData, SharedDataKind, SharedDataStore, SharedValue};
use tollgate_core::ledger::{
    Amounts, CROWDED, EndedCall, LedgerNames, PeriodSum, Poster, Recorder, Subject, Unit, begin, consistent,
    since,
};
use tollgate_core::money::Pico;
use tollgate_core::time::{DAY, SECOND};

const PREFIX: &str = "t/1/";
const HOUR: u64 = 3_600 * SECOND;
/// 2026-12-31T23:00:00Z: the next hour is in another day, month and year.
const NIGHT: u64 = 1_798_758_000 * SECOND;

fn store<S: SharedData>(shared: S) -> SharedDataStore<S> {
    SharedDataStore::new(shared, SharedDataKind::CompareAndSwap)
}

fn names() -> LedgerNames {
    LedgerNames::new(PREFIX)
}

/// The call of this number, of a team's keys `a` and `b` (which is a user's) in turn, in one of three hours.
fn call(number: u32) -> EndedCall {
    let amounts = Amounts {
        requests: 1,
        input: 100,
        cached_input: 10,
        output: 7,
        cost: Pico(1 << number),
        ..Amounts::default()
    };
    EndedCall {
        team: "search".into(),
        key: if number.is_multiple_of(2) { "a" } else { "b" }.into(),
        user: if number.is_multiple_of(2) { "" } else { "bob" }.into(),
        target: Some(if number % 3 < 2 { "small" } else { "large" }.into()),
        wall: NIGHT + u64::from(number % 5 / 2) * HOUR,
        amounts,
    }
}

/// The refused call of this number.
fn refused(number: u32) -> EndedCall {
    let amounts = Amounts { refused: 1, ..Amounts::default() };
    EndedCall { amounts, target: None, ..call(number) }
}

fn read<S: SharedData>(shared: S, team: &str, subject: Subject<'_>, unit: Unit) -> Vec<PeriodSum> {
    let (first, last) = (unit.index(NIGHT - 400 * DAY), unit.index(NIGHT + 400 * DAY));
    // Ranges as long as what is kept, around the calls.
    let near = unit.index(NIGHT + 2 * HOUR);
    let first = first.max(near.saturating_sub(unit.kept() - 1));
    consistent(&mut store(shared), &names(), team, |store, reader| {
        reader.sums(store, subject, unit, &(first..=last.min(near)))
    })
    .unwrap()
}

fn total(lines: &[PeriodSum]) -> Amounts {
    lines.iter().fold(Amounts::default(), |mut sum, line| {
        sum.add(&line.amounts);
        sum
    })
}

/// The sums that the model has for a subject.
fn expected(calls: &[EndedCall], subject: Subject<'_>, unit: Unit) -> Vec<PeriodSum> {
    let mut sums: BTreeMap<(u64, String), Amounts> = BTreeMap::new();
    for call in calls {
        let (counts, target) = match subject {
            Subject::Team => (true, call.target.as_deref().unwrap_or_default()),
            Subject::Key(key) => (*call.key == *key, ""),
            Subject::Member(user) => (*call.user == *user, ""),
        };
        if counts {
            sums.entry((unit.index(call.wall), target.into())).or_default().add(&call.amounts);
        }
    }
    sums.into_iter().map(|((period, target), amounts)| PeriodSum { period, target, amounts }).collect()
}

/// Asserts that all sums are those of these calls.
fn assert_counted(map: &Map, calls: &[EndedCall], context: &str) {
    for unit in Unit::ALL {
        let lines = read(map.clone(), "search", Subject::Team, unit);
        assert_eq!(lines, expected(calls, Subject::Team, unit), "by {} {context}", unit.name());
    }
    for unit in [Unit::Day, Unit::Month] {
        for subject in [Subject::Key("a"), Subject::Key("b"), Subject::Member("bob")] {
            let lines = read(map.clone(), "search", subject, unit);
            assert_eq!(lines, expected(calls, subject, unit), "{subject:?} by {} {context}", unit.name());
        }
    }
}

#[test]
fn calls_are_counted_by_hour_day_month_target_key_and_member() {
    let map = Map::new();
    let mut recorder = Recorder::default();
    let mut calls = Vec::new();
    for number in 0..40 {
        for call in [call(number), refused(number)] {
            assert!(recorder.count(&mut store(map.clone()), &names(), call.clone()));
            calls.push(call);
        }
        if number % 7 == 3 {
            Poster::default().tick(&mut store(map.clone()), &names(), NIGHT + 2 * HOUR).unwrap();
        }
        assert_counted(&map, &calls, &format!("after {number}"));
    }
    assert_eq!(total(&read(map, "search", Subject::Team, Unit::Month)).requests, 40);
}

#[test]
fn a_call_costs_one_swap_after_the_first_of_its_team() {
    let map = Map::new();
    let mut recorder = Recorder::default();
    let mut swaps = Vec::new();
    for number in 0..6 {
        let mut counted = store(Counted { map: map.clone(), swaps: 0 });
        assert!(recorder.count(&mut counted, &names(), call(number)));
        swaps.push(counted.host().swaps);
    }
    assert_eq!(swaps, [2, 1, 1, 1, 1, 1]);
}

struct Counted {
    map: Map,
    swaps: u32,
}

impl SharedData for Counted {
    fn get(&mut self, name: &str) -> Result<SharedValue, HostStatus> {
        self.map.get(name)
    }

    fn set(&mut self, name: &str, bytes: &[u8], version: u32) -> Result<Cas, HostStatus> {
        self.swaps += 1;
        self.map.set(name, bytes, version)
    }
}

#[test]
fn a_crowded_inbox_is_posted_by_the_call_itself() {
    let map = Map::new();
    let mut recorder = Recorder::default();
    let mut calls = Vec::new();
    let mut longest = 0;
    for number in 0..5 * CROWDED {
        let call = EndedCall { key: format!("key-{number}").into(), ..call(number as u32 % 30) };
        assert!(recorder.count(&mut store(map.clone()), &names(), call.clone()));
        calls.push(call);
        longest = longest.max(map.rows()["t/1/usage/team/search/inbox"].len());
    }
    assert!(longest < 64 * CROWDED, "an inbox of {longest} bytes");
    let lines = read(map.clone(), "search", Subject::Team, Unit::Day);
    assert_eq!(lines, expected(&calls, Subject::Team, Unit::Day));
    for key in ["key-0", "key-64", "key-319"] {
        let lines = read(map.clone(), "search", Subject::Key(key), Unit::Day);
        assert_eq!(lines, expected(&calls, Subject::Key(key), Unit::Day));
    }
}

#[test]
fn ticks_post_all_teams_although_each_posts_a_few() {
    let map = Map::new();
    let mut recorder = Recorder::default();
    let teams: Vec<String> = (0..200).map(|number| format!("team-{number}")).collect();
    for team in &teams {
        let call = EndedCall { team: team.as_str().into(), ..call(3) };
        assert!(recorder.count(&mut store(map.clone()), &names(), call));
    }
    // Another VM, which knows nothing.
    let mut elected = Poster::default();
    for _ in 0..teams.len() {
        elected.tick(&mut store(map.clone()), &names(), NIGHT).unwrap();
    }
    for team in &teams {
        let rows = map.rows();
        let inbox = &rows[&format!("t/1/usage/team/{team}/inbox")];
        assert_eq!(inbox.len(), 32, "the inbox of {team} is empty");
        assert_eq!(total(&read(map.clone(), team, Subject::Team, Unit::Month)).requests, 1);
    }
}

#[test]
fn records_are_bounded_however_long_a_process_runs() {
    let map = Map::new();
    let mut recorder = Recorder::default();
    let mut most = (0, 0);
    for day in 0..800_u64 {
        let wall = NIGHT + day * DAY;
        for hour in [0, 9, 20] {
            let mut call = call(day as u32 % 30);
            call.wall = wall + hour * HOUR;
            assert!(recorder.count(&mut store(map.clone()), &names(), call));
        }
        Poster::default().tick(&mut store(map.clone()), &names(), wall).unwrap();
        if day == 500 {
            most = (map.rows().len(), map.rows().values().map(Vec::len).sum());
        }
    }
    let (records, bytes) = (map.rows().len(), map.rows().values().map(Vec::len).sum::<usize>());
    assert_eq!(records, most.0);
    assert!(bytes < most.1 * 3 / 2, "{bytes} bytes, {} at day 500", most.1);
    let last = NIGHT + 799 * DAY;
    let days = Unit::Day.index(last);
    let kept = consistent(&mut store(map), &names(), "search", |store, reader| {
        reader.sums(store, Subject::Team, Unit::Day, &(days - 61..=days))
    });
    assert_eq!(total(&kept.unwrap()).requests, 62 * 3, "62 days are whole");
}

#[test]
fn the_first_moment_is_kept() {
    let map = Map::new();
    assert_eq!(since(&mut store(map.clone()), &names()), Ok(None));
    for wall in [NIGHT, NIGHT + 1, 5] {
        begin(&mut store(map.clone()), &names(), wall).unwrap();
        assert_eq!(since(&mut store(map.clone()), &names()), Ok(Some(NIGHT)));
    }
}

#[test]
fn instances_of_one_id_are_counted_apart() {
    let map = Map::new();
    let mut recorder = Recorder::default();
    for (team, key) in [("search", "a"), ("search~7", "a"), ("search", "a~9")] {
        let call = EndedCall { team: team.into(), key: key.into(), ..call(1) };
        assert!(recorder.count(&mut store(map.clone()), &names(), call));
    }
    let requests = |team: &str, subject| total(&read(map.clone(), team, subject, Unit::Day)).requests;
    assert_eq!(requests("search", Subject::Team), 2);
    assert_eq!(requests("search~7", Subject::Team), 1);
    assert_eq!(requests("search", Subject::Key("a")), 1);
    assert_eq!(requests("search", Subject::Member("bob")), 2);
}
