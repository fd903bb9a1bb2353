//! The invariants: of each state, of each step, and of what follows once faults end.

use std::collections::BTreeMap;

use tollgate_core::fleet::{Due, Fleet, GatewayId, Slice, Term};
use tollgate_core::time::SECOND;

use crate::config::{Config, Rule};
use crate::search::Action;
use crate::world::{Stage, World, id};

/// True if a gateway has work for a background call.
pub fn has_background(world: &World, config: &Config, gateway: usize) -> bool {
    let Some(now) = world.now(config, gateway) else { return false };
    let own = world.gateways[gateway].membership.map(|membership| membership.id);
    let wanted = world.etcd.wants.is_some_and(|(by, _)| Some(by) != own) && config.without != Rule::Wants;
    let ask = world.ask(config, gateway, 0);
    let due = world.gateways[gateway].slice.due(&ask, Fleet { live: world.live(config), wanted }, now);
    due != Due::Nothing
}

/// True if a gateway that is no member still holds something.
pub fn has_dead(world: &World) -> bool {
    let mut held = world.etcd.held.iter();
    held.any(|(id, held)| !held.retired && !held.is_empty() && !world.etcd.members.contains_key(id))
}

/// True if a gateway that is gone holds something.
fn awaits_retirement(world: &World) -> bool {
    let is_present =
        |id: &GatewayId| world.gateways.iter().any(|one| one.is_alive && one.slice.gateway == *id);
    world.etcd.held.iter().any(|(id, held)| !held.retired && !held.is_empty() && !is_present(id))
}

/// Spends of a slice that the row does not have, and those that a pending call has brought there before it is known.
fn unreported(world: &World, slice: &Slice) -> (i128, i128) {
    let [mut unreported, mut direct] = [0; 2];
    for block in &slice.blocks {
        unreported += block.entries.iter().map(|entry| entry.charged as i128 + entry.delta).sum::<i128>();
    }
    for pending in &slice.pending {
        let held = world.etcd.held.get(&pending.gateway);
        let is_applied = held.is_some_and(|held| held.is_applied(pending.lane, pending.number));
        for block in &pending.blocks {
            if is_applied {
                direct += block.direct.iter().map(|direct| direct.amount as i128).sum::<i128>();
            } else if pending.gateway == slice.gateway {
                unreported += block.entries.iter().map(|one| one.charged as i128 + one.delta).sum::<i128>();
            } else {
                unreported += block.entries.iter().map(|one| one.delta.max(0)).sum::<i128>();
            }
        }
    }
    (unreported, direct)
}

/// The amount that is counted, less the amount that was admitted.
fn surplus(world: &World) -> i128 {
    let row = world.etcd.row.blocks.iter().flat_map(|block| &block.spent);
    let mut counted = row.map(|spent| spent.amount).sum::<i128>();
    for gateway in world.gateways.iter().filter(|gateway| gateway.is_alive) {
        let (unreported, direct) = unreported(world, &gateway.slice);
        counted += unreported - direct;
    }
    counted - world.admissions.iter().map(|admission| admission.amount as i128).sum::<i128>()
}

/// Checks a step and the state after it.
pub fn invariants(before: &World, after: &mut World, config: &Config, action: Action) -> Option<String> {
    if let Some(violation) = after.violation {
        return Some(violation.to_owned());
    }
    spans(after, config)
        .or_else(|| held(after))
        .or_else(|| leased(after))
        .or_else(|| account(before, after, config, action))
}

/// No span of true time, and no period, contains more than the limit.
fn spans(world: &World, config: &Config) -> Option<String> {
    // Spends at a time when all gateways had read a policy are bounded by its limit.
    for (policy, limit) in config.limits.iter().enumerate() {
        let admissions = || world.admissions.iter().filter(move |one| one.policy >= policy);
        match Term::of(config.kind, config.period) {
            Term::Sliding(_) => {
                for last in admissions() {
                    let span = admissions()
                        .filter(|one| one.time <= last.time && one.time + 60 * SECOND > last.time);
                    let sum = span.map(|one| one.amount).sum::<u128>();
                    if sum > *limit {
                        return Some(format!("{sum} of {limit} in 60 s of true time"));
                    }
                }
            }
            Term::Calendar(_) => {
                let mut periods = BTreeMap::new();
                for one in admissions() {
                    *periods.entry(one.slot).or_insert(0) += one.amount;
                }
                if let Some((_, sum)) = periods.iter().find(|(_, sum)| **sum > *limit) {
                    return Some(format!("{sum} of {limit} in one period"));
                }
            }
        }
    }
    None
}

/// Each gateway holds what etcd says it holds.
fn held(world: &World) -> Option<String> {
    for gateway in world.gateways.iter().filter(|gateway| gateway.is_alive) {
        if gateway.incarnation != world.incarnation {
            continue;
        }
        let slice = &gateway.slice;
        let stored = world.etcd.held.get(&slice.gateway).cloned().unwrap_or_default();
        if stored.retired {
            continue;
        }
        for block in &slice.blocks {
            let mut own = block.free + block.entries.iter().map(|entry| entry.charged).sum::<u128>();
            for pending in slice.pending.iter().filter(|pending| pending.gateway == slice.gateway) {
                for moved in pending.blocks.iter().filter(|moved| moved.id == block.id) {
                    own += match stored.is_applied(pending.lane, pending.number) {
                        true => moved.granted,
                        false => moved.returned + moved.entries.iter().map(|one| one.charged).sum::<u128>(),
                    };
                }
            }
            let said = stored.block(block.id).amount;
            if own != said {
                return Some(format!("a gateway has {own}, etcd says that it holds {said}"));
            }
        }
    }
    None
}

/// The leased amount equals the sum that gateways hold.
fn leased(world: &World) -> Option<String> {
    for block in &world.etcd.row.blocks {
        let held = world.etcd.held.values().map(|held| held.block(block.id).amount).sum::<u128>();
        if held != block.leased {
            return Some(format!("{} is leased, gateways hold {held}", block.leased));
        }
        let in_flight = world.etcd.held.values().map(|held| held.block(block.id).in_flight).sum::<u128>();
        if in_flight != block.in_flight {
            return Some(format!("{} is in flight, by gateways {in_flight}", block.in_flight));
        }
    }
    None
}

/// Nothing is lost, nothing is counted twice. Deaths make the count too high by what is shown as stranded, never too low.
fn account(before: &World, after: &mut World, config: &Config, action: Action) -> Option<String> {
    let is_whole =
        matches!(Term::of(config.kind, config.period), Term::Calendar(_)) && config.before_border == 0;
    if !is_whole || config.allowed.restore {
        return None;
    }
    let surplus = surplus(after);
    let explains = match action {
        Action::Crash(_) | Action::Retire(_) | Action::Join(_) => true,
        // A late call of an id that has ended: reported, and held by nothing any more.
        Action::Arrive(message) => {
            let message = &before.messages[message];
            let gateway = &before.gateways[message.gateway];
            !gateway.is_alive || gateway.slice.gateway != message.id
        }
        // The stream is gone before it is woken: its charge stays.
        _ => false,
    };
    if explains {
        after.stranded = surplus;
        if surplus < 0 && !awaits_retirement(after) {
            return Some(format!("{} was spent and is not counted", -surplus));
        }
        return None;
    }
    (surplus != before.stranded)
        .then(|| format!("counted minus spent went from {} to {surplus}", before.stranded))
}

/// Everything that is wanted and free is granted in bounded steps, once faults have ended: two seconds of requests to one
/// gateway, while the others are busy and return what they take.
pub fn liveness(world: &World, config: &Config) -> Option<String> {
    let mut world = world.clone();
    world.requests_left = 0;
    for gateway in 0..world.gateways.len() {
        let state = &mut world.gateways[gateway];
        (state.is_suspended, state.is_cut) = (false, false);
        state.policy = world.policy;
    }
    // All that is on the way arrives, what was lost is resolved, the dead are retired.
    let settle = |world: &mut World| {
        while !world.messages.is_empty() {
            if world.messages[0].stage == Stage::Sent {
                world.process(config, 0);
            }
            world.answer(config, 0, false);
        }
        for gateway in 0..world.gateways.len() {
            if !world.gateways[gateway].is_alive {
                continue;
            }
            let is_new = world.gateways[gateway].incarnation != world.incarnation;
            if is_new || world.now(config, gateway).is_none() {
                world.join(config, gateway);
            }
            while world.resolve(config, gateway) {}
            if let Some(now) = world.now(config, gateway) {
                world.retire(config, now);
            }
        }
    };
    let quiet = if config.allowed.restore { 90 } else { 12 };
    settle(&mut world);
    for _ in 0..3 {
        world.advance(config, quiet / 3 * SECOND);
        settle(&mut world);
    }
    let asks: Vec<usize> = (0..world.gateways.len()).filter(|one| world.gateways[*one].is_alive).collect();
    for wanting in &asks {
        let mut world = world.clone();
        tick(&mut world, config, &asks, &settle, None);
        let now = world.now(config, *wanting)?;
        let used = world.etcd.row.block(id(config)).map_or(0, |block| block.used(now));
        // A request of each other gateway may be in flight.
        let others = asks.len() as u128 - 1;
        let limit = config.limits[world.policy];
        let left = limit.saturating_sub(used).saturating_sub(2 * others);
        for amount in [1, left] {
            if amount == 0 || amount > left {
                continue;
            }
            let mut world = world.clone();
            let served = (0..12).any(|_| {
                tick(&mut world, config, &asks, &settle, Some(*wanting));
                let before = world.admissions.len();
                world.request(config, *wanting, 0, amount);
                settle(&mut world);
                world.admissions.len() > before
            });
            if !served {
                return Some(format!("gateway {wanting} was not served {amount} of {left} that are left"));
            }
        }
    }
    None
}

/// A quarter of a second: the other gateways take one unit and return it, then all do their background work.
fn tick(
    world: &mut World,
    config: &Config,
    all: &[usize],
    settle: &dyn Fn(&mut World),
    wanting: Option<usize>,
) {
    world.advance(config, SECOND / 4);
    for gateway in all {
        if wanting.is_some_and(|wanting| wanting != *gateway) {
            let before = world.admissions.len();
            world.request(config, *gateway, 0, 1);
            settle(world);
            if world.admissions.len() > before {
                world.settle(before, 0);
                world.admissions.pop();
            }
        }
        if has_background(world, config, *gateway)
            && let Some(now) = world.now(config, *gateway)
        {
            world.start_call(config, *gateway, 0, None, now);
            settle(world);
        }
    }
}
