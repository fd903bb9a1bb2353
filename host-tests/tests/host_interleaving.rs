//! Schedules: several VMs in the order of a seed.

mod modules;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tollgate_host::proxy_wasm::{Dialect, HostCall, Log, Process, Step, StreamInfo, Vm, interleave};

fn vms(process: &Process, count: usize) -> Vec<Vm> {
    (0..count).map(|_| process.worker().unwrap()).collect()
}

fn cells(dialect: Dialect, strategy: &str) -> Process {
    let builder = Process::builder(&modules::cells()).dialect(dialect).log(Log::discard());
    builder.start(strategy.as_bytes()).unwrap()
}

/// Makes one request in each VM, on a new counter. Returns the counter and the order of the calls.
fn run(process: &Process, vms: &mut [Vm], seed: u64) -> (u32, Vec<Step>) {
    process.shared_data().clear();
    let done = interleave(seed, vms, |_, vm| {
        let stream = vm.open(StreamInfo::default()).unwrap();
        vm.request_headers(stream, modules::post(), true).unwrap();
        vm.close(stream, &Default::default()).unwrap();
    });
    let (value, _) = process.shared_data().get(b"cell").unwrap();
    (u32::from_le_bytes(value.try_into().unwrap()), done.trace)
}

#[test]
fn a_simple_creation_of_a_record_loses_updates_on_envoy() {
    let process = cells(Dialect::Envoy, "s");
    let mut vms = vms(&process, 2);
    let lost = (0..200).filter(|seed| run(&process, &mut vms, *seed).0 < 2).count();
    assert!((1..200).contains(&lost), "{lost} of 200 schedules lost an update");
}

#[test]
fn the_portable_creation_of_a_record_loses_nothing_in_any_schedule() {
    let process = cells(Dialect::Envoy, "p");
    let mut vms = vms(&process, 4);
    for seed in 0..1000 {
        assert_eq!(run(&process, &mut vms, seed).0, 4, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_schedule() {
    let process = cells(Dialect::Envoy, "p");
    let mut vms = vms(&process, 4);
    for seed in [0, 1, 99, u64::MAX] {
        let first = run(&process, &mut vms, seed);
        assert_eq!(run(&process, &mut vms, seed), first);
        assert!(first.1.iter().any(|step| step.call == HostCall::SetSharedData));
    }
}

#[test]
fn seeds_reach_every_schedule() {
    let process = cells(Dialect::Envoy, "s");
    let mut vms = vms(&process, 2);
    let traces: HashSet<Vec<Step>> = (0..200).map(|seed| run(&process, &mut vms, seed).1).collect();
    assert_eq!(traces.len(), 6, "two VMs with two calls each: 4! / (2! 2!)");
}

#[test]
fn a_panic_prints_its_seed_and_ends_all_threads() {
    let process = cells(Dialect::Envoy, "p");
    let mut vms = vms(&process, 3);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        interleave(77, &mut vms, |index, vm| {
            let stream = vm.open(StreamInfo::default()).unwrap();
            vm.request_headers(stream, modules::post(), true).unwrap();
            assert_ne!(index, 1, "the second fails");
        })
    }));
    let text = *panic.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("seed 77") && text.contains("the second fails"), "{text}");
    assert_eq!(run(&process, &mut vms, 5).0, 3, "the VMs can be used again");
}
