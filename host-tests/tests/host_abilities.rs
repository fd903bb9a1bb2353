//! What a host lacks is said at the start, each with what that means.

use std::sync::LazyLock;

use serde_json::{Value, json};
use tollgate_host::host::{
    CapturedLog, Dialect, Effect, HostCall, Log, LogLevel, Module, Process, Status, When,
};
use tollgate_host::module;

const NO_DATA: &str = "no shared data: limits and budgets cannot be checked, `on_unavailable` applies";
const NO_TICKS: &str = "no ticks: not needed without shared data";
const NO_METRICS: &str = "no metrics: decisions are in the access log only";

static FILTER: LazyLock<Module> = LazyLock::new(|| load(&[]));
static BARE: LazyLock<Module> = LazyLock::new(|| load(&["bare"]));

fn load(features: &[&str]) -> Module {
    module::load(features).expect("the filter builds and loads")
}

fn configuration(more: &Value) -> Vec<u8> {
    // Without management: what is said of it is another subject.
    let mut configuration = json!({"policy": {"version": 1}, "manage": {"enabled": false}});
    for (field, value) in more.as_object().into_iter().flatten() {
        configuration[field] = value.clone();
    }
    configuration.to_string().into_bytes()
}

/// What the first worker says of at least this severity, in order.
fn said(log: &CapturedLog, least: LogLevel) -> Vec<String> {
    let lines = log.lines().into_iter().filter(|line| line.vm == Some(0) && line.level >= least);
    lines.map(|line| line.text).collect()
}

/// What a worker says that starts on this host, while these of its calls fail.
fn start(module: &Module, dialect: Dialect, more: &Value, failing: &[HostCall]) -> CapturedLog {
    let (sink, log) = Log::capture();
    let process = Process::builder(module).dialect(dialect).log(sink);
    let process = process.start(&configuration(more)).unwrap();
    for call in failing {
        process.faults().inject(Some(*call), When::Always, Effect::Answer(Status::Unimplemented));
    }
    process.worker().unwrap();
    log
}

#[test]
fn a_host_with_everything_has_one_line() {
    let log = start(&FILTER, Dialect::Envoy, &json!({}), &[]);
    assert_eq!(
        said(&log, LogLevel::Info),
        ["shared data found: limits are shared by all VMs of this process"]
    );
}

#[test]
fn a_host_with_nothing_says_so_of_each() {
    for module in [&*FILTER, &*BARE] {
        let log = start(module, Dialect::Unimplemented, &json!({}), &[]);
        assert_eq!(said(&log, LogLevel::Warn), [NO_DATA, NO_TICKS, NO_METRICS]);

        // Of what a host says yes to and does not do, only shared data can be tried.
        let log = start(module, Dialect::Forgetful, &json!({}), &[]);
        assert_eq!(said(&log, LogLevel::Warn), [NO_DATA]);
    }
}

#[test]
fn what_it_means_depends_on_what_there_is() {
    let lacks = |more: Value, call| said(&start(&FILTER, Dialect::Envoy, &more, &[call]), LogLevel::Warn);
    assert_eq!(
        lacks(json!({}), HostCall::SetTickPeriodMilliseconds),
        ["no ticks: counter corrections that fail are not retried"]
    );
    assert_eq!(
        lacks(json!({"fleet": {"cluster": "etcd"}}), HostCall::SetTickPeriodMilliseconds),
        ["no ticks: etcd is never polled, its policy is not loaded"]
    );
    assert_eq!(lacks(json!({}), HostCall::DefineMetric), [NO_METRICS]);
}

#[test]
fn missing_callouts_are_said_with_the_first_that_a_fleet_makes_and_once() {
    for (status, why) in [
        (Status::Unimplemented, "no callouts"),
        (Status::BadArgument, "no cluster `etcd` (`/fleet/cluster`)"),
    ] {
        let (sink, log) = Log::capture();
        let process = Process::builder(&FILTER).cluster("etcd").log(sink);
        let process = process.start(&configuration(&json!({"fleet": {"cluster": "etcd"}}))).unwrap();
        let mut vm = process.worker().unwrap();
        assert_eq!(said(&log, LogLevel::Warn), [""; 0]);
        process.faults().inject(Some(HostCall::HttpCall), When::Always, Effect::Answer(status));
        for _ in 0..20 {
            vm.tick().unwrap();
        }
        assert!(process.faults().hits() > 1, "it goes on trying");
        let words = "etcd cannot be reached, its policy is not loaded and every change is rejected";
        let words = format!("{why}: {words}");
        let said = said(&log, LogLevel::Warn);
        assert_eq!(said.iter().filter(|line| **line == words).count(), 1, "{:?}", log.lines());
    }
}
