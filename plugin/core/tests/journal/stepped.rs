//! VMs that pause, trap or continue at any single host call.

use super::support::Map;
use super::support_stepped::Stepped;
use super::*;

fn writer() -> Stepped<Result<(), JournalError>> {
    Stepped::start(move |remote| Vm::start(remote, SharedDataKind::CompareAndSwap, FORMAT)?.add_one("search"))
}

/// Asserts the final state: every VM, old and new, has all acknowledged changes, and each commit has one audit entry.
fn assert_settled(map: &Map, written: u64, context: &str) {
    let mut vm = vm(map);
    vm.recover().unwrap();
    let number = vm.number("search");
    assert_eq!(number, written, "{context}");
    let expected: Vec<_> = (1..=number).rev().map(|number| format!("search={number}")).collect();
    assert_eq!(vm.attempts(100), expected, "{context}");
}

#[test]
fn a_writer_may_trap_at_any_call() {
    for calls in 0.. {
        let mut map = Map::new();
        let mut old = vm(&map);
        old.add_one("search").unwrap();
        let mut trapping = writer();
        if trapping.steps(&mut map, calls).is_some() {
            assert!(calls > 20, "it made {calls} calls only");
            break;
        }
        drop(trapping);
        let context = format!("after a trap behind {calls} calls");
        let mut new = vm(&map);
        let seen = new.number("search");
        assert!((1..=2).contains(&seen), "{context}");
        new.add_one("search").unwrap();
        assert_eq!(new.number("search"), seen + 1, "{context}");
        old.refresh().unwrap();
        assert_eq!(old.teams, new.teams, "{context}");
        assert_settled(&map, seen + 1, &context);
    }
}

#[test]
fn a_tick_of_another_vm_completes_the_commit_of_a_trapped_writer() {
    for calls in 0.. {
        let mut map = Map::new();
        let (mut ticking, mut old) = (vm(&map), vm(&map));
        let mut trapping = writer();
        if trapping.steps(&mut map, calls).is_some() {
            break;
        }
        drop(trapping);
        ticking.recover().unwrap();
        old.refresh().unwrap();
        assert_eq!(old.teams, ticking.teams, "after {calls} calls");
        assert_eq!(vm(&map).teams, ticking.teams);
    }
}

#[test]
fn a_writer_delayed_twice_neither_loses_nor_reverts_changes() {
    let mut schedules = 0;
    for first in 0..60 {
        for second in 0..12 {
            let mut map = Map::new();
            let mut others = [vm(&map), vm(&map)];
            let mut slow = writer();
            let mut done = slow.steps(&mut map, first);
            others[0].add_one("search").unwrap();
            if done.is_none() {
                done = slow.steps(&mut map, second);
            }
            others[1].add_one("search").unwrap();
            let result = done.unwrap_or_else(|| slow.finish(&mut map));
            let context = format!("held up after {first} and {second} calls");
            result.unwrap_or_else(|error| panic!("{error:?} {context}"));
            assert_settled(&map, 3, &context);
            for other in &mut others {
                other.refresh().unwrap();
                assert_eq!(other.number("search"), 3, "{context}");
            }
            schedules += 1;
        }
    }
    assert!(schedules > 500);
}

#[test]
fn random_schedules_of_four_vms_lose_no_write_and_readers_never_go_back() {
    const SEEDS: u64 = 300;
    for seed in 0..SEEDS {
        let mut map = Map::new();
        let mut random = seed;
        let mut writers: Vec<_> = (0..3).map(|_| writer()).collect();
        let mut readers = vec![Stepped::start(move |remote| {
            let mut vm = Vm::start(remote, SharedDataKind::CompareAndSwap, FORMAT)?;
            let mut last = 0;
            for _ in 0..6 {
                vm.refresh()?;
                assert!(vm.number("search") >= last);
                last = vm.number("search");
            }
            Ok(())
        })];
        while !writers.is_empty() || !readers.is_empty() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let choice = (random >> 33) as usize % (writers.len() + readers.len());
            let (list, at) = if choice < writers.len() {
                (&mut writers, choice)
            } else {
                let at = choice - writers.len();
                (&mut readers, at)
            };
            if let Some(result) = list[at].step(&mut map) {
                let result: Result<(), JournalError> = result;
                result.unwrap_or_else(|error| panic!("{error:?} with seed {seed}"));
                drop(list.swap_remove(at));
            }
        }
        assert_settled(&map, 3, &format!("with seed {seed}"));
    }
}
