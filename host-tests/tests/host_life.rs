//! The life of VMs and processes: canaries, updates, ticks, clocks, metrics, queues, faults.

mod modules;

use std::time::Duration;

use modules::{Recorder, ok, post};
use tollgate_host::proxy_wasm::{
    Clock, Dialect, Effect, Ending, HostCall, Log, LogLevel, MetricKind, Process, ProcessBuilder, StartError,
    Status, VmError, When, interleave,
};

fn probe() -> ProcessBuilder {
    Process::builder(&modules::from_wat(include_str!("modules/probe.wat")))
}

/// Runs a part of the probe in the canary, and returns its log.
fn answers(settings: impl FnOnce(ProcessBuilder) -> ProcessBuilder, part: &str) -> Vec<String> {
    let (sink, log) = Log::capture();
    settings(probe()).log(sink).start(part.as_bytes()).unwrap();
    log.lines().into_iter().map(|line| line.text).collect()
}

#[test]
fn a_temporary_canary_takes_the_configuration_before_any_worker() {
    let (sink, log) = Log::capture();
    let process = Process::builder(&modules::recorder()).log(sink).start(b"cccccccccccc").unwrap();
    assert!(log.lines().iter().all(|line| line.vm.is_none()));
    assert_eq!(log.lines().len(), 3, "create, vm_start, configure: {:?}", log.lines());
    log.clear();
    let worker = process.worker().unwrap();
    assert!(log.lines().iter().all(|line| line.vm == Some(0)));
    assert_eq!(worker.open_streams(), 0);
}

#[test]
fn a_configuration_that_the_canary_refuses_changes_nothing() {
    let mut host = Recorder::new("rccccccccccc");
    for (bad, trapped) in [(b"cccccccccccn", false), (b"ccccccccccct", true)] {
        let error = host.process.configure(bad).unwrap_err();
        assert_eq!(matches!(error, StartError::Vm(VmError::Trapped { .. })), trapped, "{error}");
        assert_eq!(matches!(error, StartError::ConfigurationRefused), !trapped, "{error}");
    }
    host.vm.reconfigure().unwrap();
    let id = host.open();
    assert!(
        host.vm.request_headers(id, post(), true).unwrap().reply().is_some(),
        "the old script still holds"
    );
}

#[test]
fn an_update_puts_a_new_root_context_beside_the_old_until_its_streams_end() {
    let mut host = Recorder::new("cccccccccccc");
    let old = host.vm.open(Default::default()).unwrap();
    host.process.configure(b"cccccccccccc").unwrap();
    host.log.clear();
    host.vm.reconfigure().unwrap();
    let new = host.vm.open(Default::default()).unwrap();
    let lines: Vec<String> = host.log.lines().into_iter().map(|line| line.text).collect();
    // Contexts: 1 the old root, 2 the old stream, 3 the new root, 4 the new stream under it.
    assert_eq!(lines, ["create 3 0 0", "configure 3 12 0", "create 4 3 0"]);
    host.events();
    host.vm.response_headers(old, ok(), true).unwrap();
    host.vm.close(old, &Ending::Complete).unwrap();
    let last = host.log.lines().split_off(4);
    assert_eq!(
        last.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(),
        ["done 1 0 0", "delete 1 0 0"]
    );
    host.vm.close(new, &Ending::Complete).unwrap();
}

#[test]
fn an_update_without_open_streams_ends_the_old_root_context_at_once() {
    let mut host = Recorder::new("cccccccccccT");
    host.process.configure(b"cccccccccccc").unwrap();
    assert_eq!(host.vm.tick_period(), Some(Duration::from_millis(250)));
    host.events();
    host.vm.reconfigure().unwrap();
    assert_eq!(host.events(), ["create 0 0", "configure 12 0", "done 0 0", "delete 0 0"]);
    assert_eq!(host.vm.tick_period(), None);
}

#[test]
fn ticks_are_delivered_to_root_contexts_with_a_period() {
    let mut host = Recorder::new("cccccccccccT");
    assert_eq!(host.vm.tick_period(), Some(Duration::from_millis(250)));
    host.events();
    host.vm.tick().unwrap();
    assert_eq!(host.events(), ["tick 0 0"]);
    let mut host = Recorder::new("cccccccccccc");
    host.vm.tick().unwrap();
    assert!(host.events().is_empty());
}

#[test]
fn a_second_tick_period_replaces_the_first() {
    let mut envoy = Recorder::new("ccccccccTccT");
    envoy.vm.tick().unwrap();
}

#[test]
fn hosts_without_ticks_and_callouts_fail_or_accept_them_without_effect() {
    let forgetful = Recorder::on(Dialect::Forgetful, "cccccccccccT");
    assert_eq!(forgetful.vm.tick_period(), None);
    let mut plain = Recorder::on(Dialect::Unimplemented, "Tccccccccccc");
    let id = plain.open();
    plain.vm.request_headers(id, post(), true).unwrap();
    assert_eq!(plain.events().pop().unwrap(), "status 12");
}

#[test]
fn wall_and_monotonic_time_move_apart() {
    let (clock, hand) = Clock::manual(Duration::from_secs(1_800_000_000));
    let process = probe().clock(clock).log(Log::discard()).start(b"t").unwrap();
    let read = || {
        let (value, _) = process.shared_data().get(b"clocks").unwrap();
        let time = |at: usize| u64::from_le_bytes(value[at..at + 8].try_into().unwrap());
        [time(0), time(8), time(16)].map(Duration::from_nanos)
    };
    let [proxy, wall, monotonic] = read();
    assert_eq!((proxy, wall), (hand.wall(), hand.wall()));
    assert_eq!(monotonic, hand.monotonic());
    hand.set_wall(Duration::from_secs(1_799_999_990));
    hand.advance(Duration::from_secs(1));
    process.worker().unwrap();
    let [later_proxy, later_wall, later_monotonic] = read();
    assert_eq!((later_proxy, later_wall), (proxy - Duration::from_secs(9), wall - Duration::from_secs(9)));
    assert_eq!(later_monotonic, monotonic + Duration::from_secs(1));
}

#[test]
fn metrics_count_set_and_sum_as_in_envoy() {
    let process = probe().log(Log::discard()).start(b"m").unwrap();
    let metrics = process.metrics();
    assert_eq!(metrics.get("requests"), Some(5), "an increment of 3, and 2 recorded, which adds");
    assert_eq!(metrics.get("streams"), Some(6));
    assert_eq!((metrics.get("latency"), metrics.samples("latency")), (Some(7), Some(1)));
    assert_eq!(metrics.get("nobody"), None);
    assert_eq!(metrics.snapshot()["requests"], (MetricKind::Counter, 5));
    process.worker().unwrap();
    assert_eq!(metrics.get("requests"), Some(10), "one counter for all VMs");
    // define ×3, +3, +0 (BadArgument), record ×2, -4, record, an unknown id (NotFound)
    assert_eq!(answers(|builder| builder, "m").concat(), "0000200001");
}

#[test]
fn metrics_of_other_hosts_are_accepted_without_effect_or_missing() {
    assert_eq!(answers(|builder| builder.dialect(Dialect::Forgetful), "m").concat(), "0000000000");
    assert_eq!(answers(|builder| builder.dialect(Dialect::Unimplemented), "m").concat(), "<<<<<<<<<<");
}

#[test]
fn a_shared_queue_notifies_the_vm_that_registered_it() {
    let (sink, log) = Log::capture();
    let process = probe().log(sink).start(b"q").unwrap();
    assert_eq!(log.lines().iter().map(|line| line.text.as_str()).collect::<String>(), "001");
    let mut vm = process.worker().unwrap();
    log.clear();
    vm.deliver_queues().unwrap();
    let lines: Vec<String> = log.lines().into_iter().map(|line| line.text).collect();
    assert_eq!(lines, ["0", "jobs", "0"], "both the canary's item and its own");
    log.clear();
    vm.deliver_queues().unwrap();
    assert!(log.lines().is_empty());
}

#[test]
fn standard_error_is_the_log_and_proc_exit_a_trap() {
    let (sink, log) = Log::capture();
    probe().log(sink).start(b"w").unwrap();
    let line = &log.lines()[0];
    assert_eq!((line.level, line.text.as_str()), (LogLevel::Error, "to standard error"));
    let error = probe().log(Log::discard()).start(b"x").err().unwrap();
    assert!(error.to_string().contains("proc_exit(3)"), "{error}");
}

#[test]
fn lines_below_the_log_level_are_dropped() {
    let mut host = Recorder::with("cccccccccccc", |builder| builder.log_level(LogLevel::Warn));
    host.open();
    assert!(host.events().is_empty());
}

#[test]
fn an_injected_status_is_what_the_module_gets() {
    let process = probe().log(Log::discard()).start(b"t").unwrap();
    let faults = process.faults();
    faults.inject(Some(HostCall::SetSharedData), When::Next(1), Effect::Answer(Status::CasMismatch));
    process.shared_data().clear();
    process.worker().unwrap();
    assert!(process.shared_data().is_empty());
    process.worker().unwrap();
    assert_eq!((process.shared_data().len(), faults.hits()), (1, 1));
}

#[test]
fn an_injected_conflict_is_a_real_write() {
    let process = Process::builder(&modules::cells()).log(Log::discard()).start(b"p").unwrap();
    let mut vm = process.worker().unwrap();
    process.faults().inject(Some(HostCall::SetSharedData), When::Always, Effect::LoseSwap);
    let id = vm.open(Default::default()).unwrap();
    vm.request_headers(id, post(), true).unwrap();
    assert_eq!(process.shared_data().get(b"cell").unwrap(), (vec![1, 0, 0, 0], 1), "a creation is not lost");
    process.faults().clear();
    process.faults().inject(Some(HostCall::SetSharedData), When::Next(3), Effect::LoseSwap);
    let id = vm.open(Default::default()).unwrap();
    vm.request_headers(id, post(), true).unwrap();
    let (value, cas) = process.shared_data().get(b"cell").unwrap();
    assert_eq!((value, cas), (vec![2, 0, 0, 0], 5), "three writes of another, then its own");
    assert_eq!(vm.count(HostCall::SetSharedData), 5);
}

#[test]
fn every_nth_and_the_nth_call_can_fail() {
    let hits = |when| {
        let process = probe().log(Log::discard()).start(b"t").unwrap();
        process.faults().inject(Some(HostCall::SetSharedData), when, Effect::Answer(Status::InternalFailure));
        (0..6)
            .map(|_| {
                process.shared_data().clear();
                process.worker().unwrap();
                process.shared_data().is_empty()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(hits(When::Every(2)), [false, true, false, true, false, true]);
    assert_eq!(hits(When::Nth(3)), [false, false, true, false, false, false]);
    assert_eq!(hits(When::Always), [true; 6]);
}

#[test]
fn a_trap_can_be_injected_at_any_host_call_and_a_reload_recovers() {
    let mut host = Recorder::new("cccccccccccc");
    let id = host.vm.open(Default::default()).unwrap();
    host.process.faults().inject(None, When::Nth(1), Effect::Trap);
    let error = host.vm.request_headers(id, post(), true).unwrap_err();
    assert!(error.to_string().contains("injected fault in Log"), "{error}");
    host.vm.reload().unwrap();
    let id = host.vm.open(Default::default()).unwrap();
    host.vm.request_headers(id, post(), true).unwrap();
}

#[test]
fn a_trap_inside_a_schedule_ends_that_vm_and_lets_the_others_go_on() {
    let process = Process::builder(&modules::cells()).log(Log::discard()).start(b"p").unwrap();
    let mut vms: Vec<_> = (0..3).map(|_| process.worker().unwrap()).collect();
    process.faults().inject(Some(HostCall::SetSharedData), When::Nth(1), Effect::Trap);
    let done = interleave(1, &mut vms, |_, vm| {
        let id = vm.open(Default::default()).unwrap();
        vm.request_headers(id, post(), true).is_ok()
    });
    assert_eq!(done.results.iter().filter(|ok| **ok).count(), 2);
    assert_eq!(process.shared_data().get(b"cell").unwrap().0, [2, 0, 0, 0]);
}

#[test]
fn host_calls_are_counted() {
    let process = Process::builder(&modules::cells()).log(Log::discard()).start(b"p").unwrap();
    let mut vm = process.worker().unwrap();
    let id = vm.open(Default::default()).unwrap();
    vm.request_headers(id, post(), true).unwrap();
    assert_eq!((vm.count(HostCall::GetSharedData), vm.count(HostCall::SetSharedData)), (1, 1));
    assert_eq!(vm.total_calls(), 3, "and the one that read the configuration");
}
