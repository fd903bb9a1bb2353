//! The protocol of leased counters, model-checked: every order of requests, calls, losses and deaths of small fleets, with
//! the functions that gateways run. Each of the protocol's rules, left out, violates an invariant.
//!
//! `cargo test --release -p tollgate-core --test fleet_model -- --ignored --nocapture` explores larger fleets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod check;
mod config;
mod search;
mod world;

use config::{Config, Rule};
use search::{Action, Order, explore};

fn report(config: &Config, most: usize, order: Order) -> search::Explored {
    let began = std::time::Instant::now();
    let explored = explore(config, most, order);
    println!(
        "{:16} without {:?}: {} states, {} transitions, {} probes, complete {}, {:.1} s",
        config.name,
        config.without,
        explored.states,
        explored.transitions,
        explored.probes,
        explored.is_complete,
        began.elapsed().as_secs_f64()
    );
    if let Some((violation, way)) = &explored.violation {
        println!("  {violation}");
        way.iter().for_each(|action| println!("    {action:?}"));
    }
    explored
}

/// A larger part of the states is in the next test, and the larger fleets in the one after it.
#[test]
fn no_order_of_events_violates_an_invariant() {
    for config in config::all() {
        let explored = report(&config, 1_500, Order::Breadth);
        assert!(explored.violation.is_none(), "{}: {:?}", config.name, explored.violation);
    }
}

/// A slice of an old limit that a lost call has given back, and gets back under the new limit, is not spent.
#[test]
fn a_lost_call_does_not_bring_a_slice_of_an_old_limit_back() {
    let admitted =
        [Action::Request { gateway: 0, worker: 0, amount: 1 }, Action::Arrive(0), Action::Answer(0)];
    let begin = [admitted.as_slice(), &[Action::LowerLimit]].concat();
    let config = Config { amounts: vec![1], begin, probe: u64::MAX, ..config::policy() };
    let explored = report(&config, 5_000, Order::Breadth);
    assert!(explored.violation.is_none(), "{:?}", explored.violation);
}

/// Each rule with a fleet that is just large enough to need it, and the beginning of a way there where it is long.
fn rules() -> Vec<Config> {
    use Action::{Advance, Answer, Arrive, Backup, Cut, Request, Restore, Retire, StepWall};
    let of = |without, config: Config| Config { without, ..config };
    let small = |config: Config| Config { workers: vec![1, 1], requests: 2, ..config };
    let two_workers = |config: Config| Config { workers: vec![2, 1], requests: 2, ..config };
    let busy = |config: Config| Config { workers: vec![1, 1, 1], requests: 2, probe: 1, ..config };
    let no_fault = |config: Config| Config { faults: 0, ..config };
    let no_probe = |config: Config| Config { probe: u64::MAX, ..config };
    let admitted = |gateway, amount| [Request { gateway, worker: 0, amount }, Arrive(0), Answer(0)];
    let of_seven = |config: Config| Config { requests: 2, amounts: vec![7], ..config };
    let restored = [Backup, admitted(0, 7)[0], Arrive(0), Answer(0), Restore];
    let cut_off = [Cut(0), Advance(13_000_000_000), Retire(1), Advance(59_000_000_000)];
    let cut_off = [admitted(0, 1).as_slice(), &cut_off].concat();
    let begin = |begin: &[Action], config: Config| Config { begin: begin.to_vec(), ..config };
    vec![
        of(Rule::CompareRow, small(config::calls())),
        of(Rule::OwnGrant, Config { amounts: vec![5], ..no_fault(two_workers(config::calls())) }),
        of(Rule::LateStamp, begin(&admitted(1, 1), no_fault(small(config::window())))),
        of(
            Rule::FleetClock,
            begin(&[StepWall { gateway: 0, forward: false }], no_probe(small(config::window()))),
        ),
        of(
            Rule::LateAnswer,
            begin(&admitted(0, 12)[..2], Config { amounts: vec![12], ..no_fault(small(config::window())) }),
        ),
        of(Rule::CallNumbers, small(config::calls())),
        of(Rule::Fence, small(config::calls())),
        of(Rule::IdleReturn, busy(config::calls())),
        of(Rule::Tight, Config { amounts: vec![9, 1], ..no_fault(small(config::calls())) }),
        of(Rule::BoundedNothing, Config { probe: 1, ..no_fault(two_workers(config::calls())) }),
        of(Rule::Wants, busy(config::calls())),
        of(Rule::CountDead, small(config::deaths())),
        of(Rule::Margin, begin(&cut_off, no_probe(config::partition()))),
        of(Rule::PeriodOrder, begin(&[Advance(1_100_000_000)], no_fault(of_seven(config::border())))),
        of(Rule::PolicyOrder, config::policy()),
        of(
            Rule::OldSlice,
            begin(&admitted(0, 1), Config { limits: vec![12, 1], amounts: vec![1], ..config::policy() }),
        ),
        of(Rule::Quiet, begin(&restored, of_seven(config::restore()))),
        of(Rule::Merge, begin(&restored, of_seven(config::restored_budget()))),
    ]
}

#[test]
fn each_rule_that_is_left_out_is_caught() {
    let mut missed = Vec::new();
    for config in rules() {
        let explored = report(&config, 400_000, Order::Breadth);
        if explored.violation.is_none() {
            missed.push(config.without);
        }
        // The same fleet with the rule violates nothing on the way to that depth.
        let whole =
            report(&Config { without: Rule::None, ..config }, explored.states.min(1_000), Order::Breadth);
        assert!(whole.violation.is_none(), "{:?}", whole.violation);
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// Millions of states of each fleet, all of them where there are no more, and of larger ones.
#[test]
#[ignore = "minutes in a release build"]
fn proof_no_order_of_events_of_larger_fleets_violates_an_invariant() {
    for (configs, most) in [(config::all().to_vec(), 1_000_000), (config::all_larger(), 300_000)] {
        for config in configs.into_iter().rev() {
            let explored = report(&config, most, Order::Depth);
            assert!(explored.violation.is_none(), "{}: {:?}", config.name, explored.violation);
        }
    }
}
