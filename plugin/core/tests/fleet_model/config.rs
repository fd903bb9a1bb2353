//! The modelled fleets: their sizes, their faults, and the rules that can be left out.

use tollgate_core::counters::CounterKind;
use tollgate_core::money::Period;
use tollgate_core::quota::Window;
use tollgate_core::time::SECOND;

use crate::search::Action;

/// A part of the protocol that a run leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The protocol as it is.
    None,
    /// 1: the transaction compares the row's revision.
    CompareRow,
    /// 2: the grant of a call belongs to its request.
    OwnGrant,
    /// 3: a spend is stamped with the latest that its moment can be.
    LateStamp,
    /// 3: the fleet has a clock of its own.
    FleetClock,
    /// 3: an answer that comes after the stamp admits nothing.
    LateAnswer,
    /// 4: the number of a call tells its outcome.
    CallNumbers,
    /// 4: a call that is taken for lost cannot arrive later.
    Fence,
    /// 5: idle slices are given back.
    IdleReturn,
    /// 6: near the limit nothing is leased.
    Tight,
    /// 7: "nothing left" holds for a second at most while something can be returned.
    BoundedNothing,
    /// 8: slices that another gateway wants are given back.
    Wants,
    /// 9: what a dead gateway held counts as spent.
    CountDead,
    /// 9: a gateway stops before its lease can have ended.
    Margin,
    /// 10: the period of a row never goes back.
    PeriodOrder,
    /// 11: a gateway with an older policy does not grant.
    PolicyOrder,
    /// 11: a slice of another limit is given back before the next spend.
    OldSlice,
    /// 12: after a restore, nothing is granted for one window.
    Quiet,
    /// 12: after a restore, each gateway writes what it knows.
    Merge,
}

/// The faults that may happen, each counted against [`Config::faults`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A request or an answer is lost; a call is applied and never answered.
    pub lost: bool,
    /// An answer arrives twice.
    pub repeated: bool,
    /// A worker is stopped, at any point of a call.
    pub trap: bool,
    /// A gateway is killed.
    pub crash: bool,
    /// A machine is suspended, or cut off from etcd.
    pub suspend: bool,
    /// A wall clock steps by two minutes.
    pub step: bool,
    /// The limit is lowered.
    pub lower: bool,
    /// etcd is restored from a backup.
    pub restore: bool,
}

/// A bounded fleet.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: &'static str,
    /// The number of workers of each gateway.
    pub workers: Vec<usize>,
    pub kind: CounterKind,
    pub period: Period,
    /// The limit of each policy in turn.
    pub limits: Vec<u128>,
    /// The amounts of requests.
    pub amounts: Vec<u128>,
    /// The number of requests and settlements.
    pub requests: u8,
    pub faults: u8,
    pub advances: u8,
    /// The number of calls without a request.
    pub background: u8,
    /// The times that may pass at once (ns).
    pub steps: Vec<u64>,
    /// The time between the joins of two gateways (ns).
    pub stagger: u64,
    /// The time until a period ends (ns).
    pub before_border: u64,
    pub allowed: Faults,
    pub without: Rule,
    /// The first actions, after which the search begins.
    pub begin: Vec<Action>,
    /// The share of states, one in so many, from which liveness is tried.
    pub probe: u64,
}

const MILLI: u64 = SECOND / 1_000;

/// Calls, their losses and their workers: a count that does not start over, so that each unit is accounted for.
pub fn calls() -> Config {
    Config {
        name: "calls",
        workers: vec![2, 1],
        kind: CounterKind::Window(Window::Tpd),
        period: Period::Day,
        limits: vec![12],
        amounts: vec![1, 5],
        requests: 2,
        faults: 1,
        advances: 1,
        background: 2,
        steps: vec![300 * MILLI, 2_300 * MILLI],
        stagger: 0,
        before_border: 0,
        allowed: Faults { lost: true, repeated: true, trap: true, ..Faults::default() },
        without: Rule::None,
        begin: Vec::new(),
        probe: 16,
    }
}

/// Gateways that die, are suspended or are cut off.
pub fn deaths() -> Config {
    Config {
        name: "deaths",
        workers: vec![2, 1],
        steps: vec![8 * SECOND, 13 * SECOND],
        requests: 2,
        advances: 2,
        allowed: Faults { crash: true, suspend: true, lost: true, ..Faults::default() },
        ..calls()
    }
}

/// A sliding window of gateways whose clocks differ and step.
pub fn window() -> Config {
    Config {
        name: "window",
        kind: CounterKind::Window(Window::Tpm),
        workers: vec![1, 1],
        amounts: vec![1, 12],
        requests: 3,
        advances: 3,
        steps: vec![300 * MILLI, 59_000 * MILLI],
        stagger: 1_700 * MILLI,
        allowed: Faults { step: true, ..Faults::default() },
        ..calls()
    }
}

/// A sliding window of gateways that are suspended or cut off.
pub fn partition() -> Config {
    Config {
        name: "partition",
        steps: vec![13 * SECOND, 59 * SECOND],
        allowed: Faults { suspend: true, ..Faults::default() },
        ..window()
    }
}

/// A limit that is lowered.
pub fn policy() -> Config {
    Config {
        name: "policy",
        workers: vec![1, 1],
        limits: vec![12, 1],
        amounts: vec![1, 4],
        requests: 4,
        advances: 0,
        allowed: Faults { lower: true, ..Faults::default() },
        ..calls()
    }
}

/// The border of a budget's period.
pub fn border() -> Config {
    Config {
        name: "border",
        kind: CounterKind::Budget,
        period: Period::Hour,
        before_border: 5 * SECOND,
        workers: vec![1, 1],
        requests: 3,
        amounts: vec![1, 7],
        advances: 2,
        steps: vec![1_100 * MILLI, 5 * SECOND],
        stagger: 1_900 * MILLI,
        allowed: Faults { crash: true, lost: true, ..Faults::default() },
        ..calls()
    }
}

/// A restore of a sliding window from a backup.
pub fn restore() -> Config {
    Config {
        name: "restore",
        advances: 2,
        requests: 3,
        amounts: vec![1, 7],
        steps: vec![2 * SECOND, 63 * SECOND],
        allowed: Faults { restore: true, ..Faults::default() },
        ..window()
    }
}

/// A restore of a budget from a backup.
pub fn restored_budget() -> Config {
    Config {
        name: "restored budget",
        kind: CounterKind::Budget,
        steps: vec![2 * SECOND, 20 * SECOND],
        ..restore()
    }
}

/// All of them.
pub fn all() -> [Config; 8] {
    [calls(), deaths(), window(), partition(), policy(), border(), restore(), restored_budget()]
}

/// The same with a third gateway and more of everything: hours rather than seconds in a debug build.
pub fn all_larger() -> Vec<Config> {
    let larger = |config: Config| Config {
        workers: if config.workers[0] == 2 { vec![2, 1, 1] } else { vec![1, 1, 1] },
        faults: config.faults + 1,
        requests: config.requests + 1,
        ..config
    };
    all().into_iter().map(larger).collect()
}
