//! Traps at every host call, and interleavings.

use tollgate_core::counters::StoreError;

use super::support_random::Random;
use super::support_stepped::{Remote, Stepped};
use super::*;

/// Shared data of a VM that traps before its call after `left` more.
struct Trapping {
    map: Map,
    left: usize,
}

const TRAPPED: HostStatus = HostStatus(10);

impl Trapping {
    fn call(&mut self) -> Result<&mut Map, HostStatus> {
        self.left = self.left.checked_sub(1).ok_or(TRAPPED)?;
        Ok(&mut self.map)
    }
}

impl SharedData for Trapping {
    fn get(&mut self, name: &str) -> Result<SharedValue, HostStatus> {
        self.call()?.get(name)
    }

    fn set(&mut self, name: &str, bytes: &[u8], version: u32) -> Result<Cas, HostStatus> {
        self.call()?.set(name, bytes, version)
    }
}

/// Counted calls, of which none is posted.
fn with_calls(count: u32) -> (Map, Vec<EndedCall>) {
    let map = Map::new();
    let mut recorder = Recorder::default();
    let calls: Vec<_> = (0..count).map(call).collect();
    for call in &calls {
        assert!(recorder.count(&mut store(map.clone()), &names(), call.clone()));
    }
    (map, calls)
}

fn tick<S: SharedData>(shared: S) -> Result<(), StoreError> {
    Poster::default().tick(&mut store(shared), &names(), NIGHT + 2 * HOUR)
}

#[test]
fn a_posting_may_trap_at_any_call() {
    for left in 0.. {
        let (map, mut calls) = with_calls(10);
        let trapped = tick(Trapping { map: map.clone(), left }).is_err();
        let context = format!("after a trap behind {left} calls");
        assert_counted(&map, &calls, &context);
        // A second trap, of the VM that continues.
        for again in [1, 3, 6, 9] {
            let _ = tick(Trapping { map: map.clone(), left: again });
            assert_counted(&map, &calls, &context);
        }
        for number in 10..20 {
            calls.push(call(number));
            assert!(Recorder::default().count(&mut store(map.clone()), &names(), call(number)));
            assert_counted(&map, &calls, &context);
            if number == 14 {
                tick(map.clone()).unwrap();
                assert_counted(&map, &calls, &context);
            }
        }
        if !trapped {
            assert!(left > 30, "it made {left} calls only");
            break;
        }
    }
}

#[test]
fn a_call_is_counted_once_or_not_if_its_vm_traps() {
    let mut outcomes = [0, 0];
    for left in 0..12 {
        let (map, mut calls) = with_calls(4);
        let mut shared = store(Trapping { map: map.clone(), left });
        Recorder::default().count(&mut shared, &names(), call(20));
        tick(map.clone()).unwrap();
        let counted = total(&read(map.clone(), "search", Subject::Team, Unit::Day)).requests == 5;
        outcomes[usize::from(counted)] += 1;
        if counted {
            calls.push(call(20));
        }
        assert_counted(&map, &calls, &format!("after a trap behind {left} calls"));
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}

fn posting() -> Stepped<Result<(), StoreError>> {
    Stepped::start(move |remote: Remote<_>| tick(remote))
}

#[test]
fn a_posting_may_be_held_up_twice_while_others_post_and_count() {
    let mut schedules = 0;
    for first in 0..45 {
        for second in 0..45 {
            let (mut map, mut calls) = with_calls(5);
            let mut slow = posting();
            let mut over = slow.steps(&mut map, first).is_some();
            calls.push(call(20));
            assert!(Recorder::default().count(&mut store(map.clone()), &names(), call(20)));
            // Another one gets as far, and is held up too.
            let mut other = posting();
            let other_over = other.steps(&mut map, second).is_some();
            over = over || slow.steps(&mut map, 3).is_some();
            calls.push(call(21));
            assert!(Recorder::default().count(&mut store(map.clone()), &names(), call(21)));
            if !other_over {
                other.finish(&mut map).unwrap();
            }
            if !over {
                slow.finish(&mut map).unwrap();
            }
            tick(map.clone()).unwrap();
            assert_counted(&map, &calls, &format!("held up after {first} and {second} calls"));
            schedules += 1;
        }
    }
    assert_eq!(schedules, 2_025);
}

#[test]
fn a_reader_may_be_held_up_at_any_call_while_calls_are_posted() {
    for unit in Unit::ALL {
        let mut over = 0;
        for held_up in 0..8 {
            let (mut map, mut calls) = with_calls(5);
            let mut reader =
                Stepped::start(move |remote: Remote<_>| read(remote, "search", Subject::Team, unit));
            let mut sums = reader.steps(&mut map, held_up);
            over += u32::from(sums.is_some());
            tick(map.clone()).unwrap();
            let mut expected_sums = vec![expected(&calls, Subject::Team, unit)];
            calls.push(call(20));
            assert!(Recorder::default().count(&mut store(map.clone()), &names(), call(20)));
            tick(map.clone()).unwrap();
            expected_sums.push(expected(&calls, Subject::Team, unit));
            let sums = sums.take().unwrap_or_else(|| reader.finish(&mut map));
            assert!(expected_sums.contains(&sums), "by {} after {held_up} calls: {sums:?}", unit.name());
        }
        assert!((1..8).contains(&over));
    }
}

/// The work of a VM.
enum Done {
    Counted(u32),
    Posted,
    Read(Amounts),
}

#[test]
fn random_schedules_with_traps_count_each_call_once_and_readers_see_all_that_ended() {
    const SEEDS: u64 = 400;
    let mut traps = 0;
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let (mut map, calls) = with_calls(3);
        let before: u128 = calls.iter().map(|call| call.amounts.cost.0).sum();
        let (mut counted, mut trapped) = (before, 0_u128);
        let mut vms: Vec<(Stepped<Done>, u32, u128)> = Vec::new();
        let mut next = 10;
        for _ in 0..400 {
            if vms.len() < 4 && next < 26 {
                let number = next;
                next += 1;
                let vm = match random.below(4) {
                    0 => Stepped::start(|remote| {
                        let _ = tick(remote);
                        Done::Posted
                    }),
                    1 => Stepped::start(|remote| {
                        Done::Read(total(&read(remote, "search", Subject::Team, Unit::Month)))
                    }),
                    _ => Stepped::start(move |remote| {
                        assert!(Recorder::default().count(&mut store(remote), &names(), call(number)));
                        Done::Counted(number)
                    }),
                };
                vms.push((vm, number, counted));
            }
            if vms.is_empty() {
                break;
            }
            let at = random.below(vms.len());
            if random.below(150) == 0 {
                // A trap. A counting VM may have been just before or just behind its swap.
                let (_, number, _) = vms.swap_remove(at);
                trapped |= 1 << number;
                traps += 1;
                continue;
            }
            let Some(done) = vms[at].0.step(&mut map) else { continue };
            let (_, _, began) = vms.swap_remove(at);
            match done {
                Done::Posted => {}
                Done::Counted(number) => counted |= 1 << number,
                Done::Read(Amounts { requests, cost: Pico(sum), .. }) => {
                    assert_eq!(sum & began, began, "a reader lacks what had ended, seed {seed}");
                    assert_eq!(u64::from(sum.count_ones()), requests, "a call is read twice, seed {seed}");
                }
            }
        }
        for (mut vm, ..) in vms {
            if let Done::Counted(number) = vm.finish(&mut map) {
                counted |= 1 << number;
            }
        }
        tick(map.clone()).unwrap();
        let sums = [Unit::Hour, Unit::Day, Unit::Month]
            .map(|unit| total(&read(map.clone(), "search", Subject::Team, unit)));
        let of_keys = ["a", "b"].map(|key| total(&read(map.clone(), "search", Subject::Key(key), Unit::Day)));
        assert!(sums.iter().all(|sum| *sum == sums[0]), "seed {seed}");
        let sum = sums[0].cost.0;
        assert_eq!(of_keys.map(|sum| sum.cost.0).into_iter().sum::<u128>(), sum, "seed {seed}");
        assert_eq!(sum & !trapped, counted & !trapped, "seed {seed}");
        assert_eq!(sum.count_ones(), u32::try_from(sums[0].requests).unwrap(), "counted twice, seed {seed}");
    }
    assert!(traps > 100, "{traps} traps");
}
