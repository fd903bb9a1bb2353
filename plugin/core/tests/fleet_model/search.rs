//! The exhaustive search: every order of every action, each state once.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};

use tollgate_core::time::SECOND;

use crate::check;
use crate::config::Config;
use crate::world::{Stage, World};

/// One step of the model. Indexes name gateways, workers, messages and admissions of the state before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Request { gateway: usize, worker: usize, amount: u128 },
    Background { gateway: usize, worker: usize },
    Wake { gateway: usize, worker: usize },
    Arrive(usize),
    Answer(usize),
    AnswerTwice(usize),
    Lose(usize),
    Resolve(usize),
    Retire(usize),
    Settle(usize),
    Advance(u64),
    Trap { gateway: usize, worker: usize },
    Crash(usize),
    Suspend(usize),
    Resume(usize),
    Cut(usize),
    Heal(usize),
    Join(usize),
    StepWall { gateway: usize, forward: bool },
    LowerLimit,
    ReadPolicy(usize),
    Backup,
    Restore,
}

/// The actions of a state.
fn actions(world: &World, config: &Config) -> Vec<Action> {
    let mut actions = Vec::new();
    let faults = if world.faults_left > 0 { config.allowed } else { crate::config::Faults::default() };
    for (index, gateway) in world.gateways.iter().enumerate() {
        if !gateway.is_alive {
            continue;
        }
        if gateway.is_suspended {
            actions.push(Action::Resume(index));
            continue;
        }
        let is_member = world.now(config, index).is_some();
        let reaches = gateway.reaches(world.incarnation);
        if gateway.is_cut {
            actions.push(Action::Heal(index));
        }
        for (worker, state) in gateway.workers.iter().enumerate() {
            if is_member && world.requests_left > 0 {
                let all = config.amounts.iter();
                actions.extend(all.map(|amount| Action::Request { gateway: index, worker, amount: *amount }));
            }
            let can_care = is_member && reaches && state.call.is_none() && world.background_left > 0;
            if can_care && check::has_background(world, config, index) {
                actions.push(Action::Background { gateway: index, worker });
            }
            if state.waiting.is_some() && state.call.is_none() {
                actions.push(Action::Wake { gateway: index, worker });
            }
            if faults.trap && (state.call.is_some()) {
                actions.push(Action::Trap { gateway: index, worker });
            }
        }
        if reaches && gateway.slice.stale(gateway.host()).next().is_some() {
            actions.push(Action::Resolve(index));
        }
        let can_join = !gateway.is_cut && (gateway.incarnation != world.incarnation || !is_member);
        if can_join {
            actions.push(Action::Join(index));
        }
        if reaches && is_member && check::has_dead(world) {
            actions.push(Action::Retire(index));
        }
        if faults.crash {
            actions.push(Action::Crash(index));
        }
        if faults.suspend {
            actions.extend([Action::Suspend(index), Action::Cut(index)]);
        }
        if faults.step {
            actions.extend([true, false].map(|forward| Action::StepWall { gateway: index, forward }));
        }
        if gateway.policy < world.policy {
            actions.push(Action::ReadPolicy(index));
        }
    }
    for (index, message) in world.messages.iter().enumerate() {
        let gateway = &world.gateways[message.gateway];
        match message.stage {
            Stage::Sent => actions.push(Action::Arrive(index)),
            Stage::Applied | Stage::Lost if gateway.runs() && !gateway.is_cut => {
                actions.push(Action::Answer(index));
                if faults.repeated {
                    actions.push(Action::AnswerTwice(index));
                }
            }
            Stage::Applied | Stage::Lost => {}
        }
        if faults.lost {
            actions.push(Action::Lose(index));
        }
    }
    if world.requests_left > 0 {
        for (index, admission) in world.admissions.iter().enumerate() {
            let gateway = &world.gateways[admission.gateway];
            let is_open =
                gateway.runs() && gateway.workers.iter().any(|worker| worker.lane == admission.lane);
            if !admission.is_settled && is_open && admission.amount > 1 {
                actions.push(Action::Settle(index));
            }
        }
    }
    if world.advances_left > 0 {
        actions.extend(config.steps.iter().map(|step| Action::Advance(*step)));
    }
    if faults.lower && world.policy + 1 < config.limits.len() {
        actions.push(Action::LowerLimit);
    }
    if config.allowed.restore && world.backup.is_none() && world.incarnation == 0 {
        actions.push(Action::Backup);
    }
    if faults.restore && world.backup.is_some() {
        actions.push(Action::Restore);
    }
    actions
}

/// The state after an action.
pub fn apply(before: &World, config: &Config, action: Action) -> World {
    let mut world = before.clone();
    match action {
        Action::Request { gateway, worker, amount } => {
            world.requests_left -= 1;
            world.request(config, gateway, worker, amount);
        }
        Action::Background { gateway, worker } => {
            world.background_left -= 1;
            if let Some(now) = world.now(config, gateway) {
                world.start_call(config, gateway, worker, None, now);
            }
        }
        Action::Wake { gateway, worker } => world.wake(config, gateway, worker),
        Action::Arrive(message) => world.process(config, message),
        Action::Answer(message) => world.answer(config, message, false),
        Action::AnswerTwice(message) => {
            world.faults_left -= 1;
            world.answer(config, message, true);
        }
        Action::Lose(message) => {
            world.faults_left -= 1;
            world.messages.remove(message);
        }
        Action::Resolve(gateway) => {
            world.resolve(config, gateway);
        }
        Action::Retire(gateway) => {
            if let Some(now) = world.now(config, gateway) {
                world.retire(config, now);
            }
        }
        Action::Settle(admission) => {
            world.requests_left -= 1;
            world.settle(admission, 1);
        }
        Action::Advance(step) => {
            world.advances_left -= 1;
            world.advance(config, step);
            world.time_out(config);
        }
        Action::Trap { gateway, worker } => {
            world.faults_left -= 1;
            world.trap(gateway, worker);
        }
        Action::Crash(gateway) => {
            world.faults_left -= 1;
            let gateway = &mut world.gateways[gateway];
            gateway.is_alive = false;
            gateway.workers.clear();
        }
        Action::Suspend(gateway) => {
            world.faults_left -= 1;
            world.gateways[gateway].is_suspended = true;
        }
        Action::Resume(gateway) => world.gateways[gateway].is_suspended = false,
        Action::Cut(gateway) => {
            world.faults_left -= 1;
            world.gateways[gateway].is_cut = true;
        }
        Action::Heal(gateway) => world.gateways[gateway].is_cut = false,
        Action::Join(gateway) => world.join(config, gateway),
        Action::StepWall { gateway, forward } => {
            world.faults_left -= 1;
            let wall = &mut world.gateways[gateway].wall;
            *wall = if forward { *wall + 120 * SECOND } else { *wall - 120 * SECOND };
        }
        Action::LowerLimit => {
            world.faults_left -= 1;
            world.policy += 1;
        }
        Action::ReadPolicy(gateway) => world.gateways[gateway].policy = world.policy,
        Action::Backup => world.backup = Some(Box::new(world.etcd.clone())),
        Action::Restore => {
            world.faults_left -= 1;
            world.incarnation += 1;
            if let Some(backup) = world.backup.take() {
                world.etcd = *backup;
                // The leases of the backup begin anew.
                let until = world.time + 10 * SECOND;
                world.etcd.members.values_mut().for_each(|member| member.1 = until);
            }
            world.messages.clear();
        }
    }
    world.messages.sort_by_key(|message| (message.gateway, message.lane, message.number));
    world
}

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// The result of a search.
#[derive(Debug)]
pub struct Explored {
    pub states: usize,
    pub transitions: usize,
    pub probes: usize,
    /// True if all states were explored.
    pub is_complete: bool,
    /// A violated invariant, with the shortest way to it.
    pub violation: Option<(String, Vec<Action>)>,
}

/// The order in which states are explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Finds the shortest way to a violation.
    Breadth,
    /// Needs memory for one way at a time, beside a number for each state.
    Depth,
}

/// Explores at most `most` states.
pub fn explore(config: &Config, most: usize, order: Order) -> Explored {
    let mut start = World::new(config);
    for action in &config.begin {
        start = apply(&start, config, *action);
    }
    let mut seen: HashMap<u64, (u64, Option<Action>)> = HashMap::new();
    let first = hash(&start);
    seen.insert(first, (0, None));
    let mut queue = VecDeque::from([(first, start)]);
    let mut result = Explored { states: 1, transitions: 0, probes: 0, is_complete: true, violation: None };
    let next = |queue: &mut VecDeque<_>| match order {
        Order::Breadth => queue.pop_front(),
        Order::Depth => queue.pop_back(),
    };
    while let Some((key, world)) = next(&mut queue) {
        let is_probed = key.is_multiple_of(config.probe);
        result.probes += usize::from(is_probed);
        let mut found = if is_probed { check::liveness(&world, config) } else { None };
        let mut last = None;
        if found.is_none() {
            for action in actions(&world, config) {
                let mut after = apply(&world, config, action);
                result.transitions += 1;
                if let Some(violation) = check::invariants(&world, &mut after, config, action) {
                    (found, last) = (Some(violation), Some(action));
                    break;
                }
                let number = hash(&after);
                if seen.contains_key(&number) {
                    continue;
                }
                if seen.len() >= most {
                    result.is_complete = false;
                    continue;
                }
                seen.insert(number, (key, Some(action)));
                queue.push_back((number, after));
            }
        }
        if let Some(violation) = found {
            let mut way: Vec<Action> = last.into_iter().collect();
            let mut at = key;
            while let Some((parent, Some(action))) = seen.get(&at) {
                way.push(*action);
                at = *parent;
            }
            way.reverse();
            result.violation = Some((violation, way));
            break;
        }
    }
    result.states = seen.len();
    result
}
