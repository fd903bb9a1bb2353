//! The modelled fleet: etcd, gateways with their workers, messages on the way, and the true history.
//!
//! All decisions are those of `tollgate_core::fleet`. This file only carries them, as an adapter does. A [`Rule`] that is
//! left out changes one thing that the adapter passes or does.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_core::counters::CounterId;
use tollgate_core::fleet::{
    Ask, CALL_TIMEOUT, CallId, Clock, Draft, Finished, Fleet, FleetNow, FleetTime, GatewayId, Held,
    HeldBlock, Local, MemberValue, MembersRead, Membership, Outcome, PendingBlock, RefusedBy, Row, Slice,
    Term,
};
use tollgate_core::time::{DAY, Now, SECOND};

use crate::config::{Config, Rule};

/// A worker of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Its random number.
    pub lane: u64,
    /// The last number of its calls.
    pub number: u64,
    /// The call without an answer.
    pub call: Option<u64>,
    /// The request that waits for the call.
    pub waiting: Option<u128>,
    /// The policy that all gateways had read when the call was decided.
    pub policy: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gateway {
    pub is_alive: bool,
    pub is_suspended: bool,
    /// It cannot reach etcd.
    pub is_cut: bool,
    pub wall: u64,
    pub monotonic: u64,
    pub membership: Option<Membership>,
    pub clock: Option<Clock>,
    /// The incarnation of etcd that it has seen.
    pub incarnation: u8,
    /// The number of the policy that it has read.
    pub policy: usize,
    pub slice: Slice,
    /// The row as its last call wrote it.
    pub known: Row,
    pub workers: Vec<Worker>,
}

/// The records in etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Etcd {
    pub revision: u64,
    pub row: Row,
    pub base: u64,
    pub held: BTreeMap<GatewayId, Held>,
    /// Values and the true times at which their leases end.
    pub members: BTreeMap<GatewayId, (MemberValue, u64)>,
    pub clock: FleetTime,
    /// The gateway that wants what slices hold, until a true time.
    pub wants: Option<(GatewayId, u64)>,
    pub restored: FleetTime,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Sent,
    Applied,
    Lost,
}

/// A call on its way to etcd, or its answer on the way back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub gateway: usize,
    pub id: GatewayId,
    pub lane: u64,
    pub number: u64,
    pub base: u64,
    pub row: Row,
    pub held: Held,
    pub stage: Stage,
    /// The policy that it was decided on.
    pub policy: usize,
    /// True if it takes something of what is left.
    pub is_grant: bool,
}

/// An admitted request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Admission {
    pub time: u64,
    pub slot: u64,
    pub amount: u128,
    pub gateway: usize,
    pub id: GatewayId,
    pub lane: u64,
    pub is_settled: bool,
    /// All gateways had read the present policy.
    pub policy: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub time: u64,
    pub etcd: Etcd,
    pub backup: Option<Box<Etcd>>,
    pub incarnation: u8,
    pub gateways: Vec<Gateway>,
    pub messages: Vec<Message>,
    pub admissions: Vec<Admission>,
    pub next_id: u128,
    /// The policy in force.
    pub policy: usize,
    /// The newest policy on which a call was decided that etcd has applied.
    pub granted_policy: usize,
    pub requests_left: u8,
    pub faults_left: u8,
    pub advances_left: u8,
    pub background_left: u8,
    /// Counted minus true, as known deaths explain it.
    pub stranded: i128,
    /// The first violation that an action itself found.
    pub violation: Option<&'static str>,
}

/// A full hour, on the fleet's clock.
pub const START: u64 = 20_000 * DAY + 3_600 * SECOND * 12;
/// The time to live of leases.
const TTL: u64 = 10 * SECOND;

impl Gateway {
    fn new(wall: u64) -> Self {
        Gateway {
            is_alive: true,
            is_suspended: false,
            is_cut: false,
            wall,
            monotonic: SECOND,
            membership: None,
            clock: None,
            incarnation: 0,
            policy: 0,
            slice: Slice::new(GatewayId(0)),
            known: Row::default(),
            workers: Vec::new(),
        }
    }

    pub fn host(&self) -> Now {
        Now { wall: self.wall, monotonic: self.monotonic }
    }

    /// True if it can do something now.
    pub fn runs(&self) -> bool {
        self.is_alive && !self.is_suspended
    }

    pub fn reaches(&self, world_incarnation: u8) -> bool {
        self.runs() && !self.is_cut && self.incarnation == world_incarnation
    }
}

impl World {
    pub fn new(config: &Config) -> World {
        let mut world = World {
            time: 0,
            etcd: Etcd { revision: 1, ..Etcd::default() },
            backup: None,
            incarnation: 0,
            gateways: config.workers.iter().map(|_| Gateway::new(START - config.before_border)).collect(),
            messages: Vec::new(),
            admissions: Vec::new(),
            next_id: 1,
            policy: 0,
            granted_policy: 0,
            requests_left: config.requests,
            faults_left: config.faults,
            advances_left: config.advances,
            background_left: config.background,
            stranded: 0,
            violation: None,
        };
        for (gateway, workers) in config.workers.iter().enumerate() {
            for _ in 0..*workers {
                let worker = world.new_worker();
                world.gateways[gateway].workers.push(worker);
            }
            world.join(config, gateway);
            // The next one joins when this one's value is old.
            world.pass(config.stagger);
        }
        world
    }

    fn new_worker(&mut self) -> Worker {
        self.next_id += 1;
        Worker { lane: self.next_id as u64, number: 0, call: None, waiting: None, policy: 0 }
    }

    // ---- time and membership -------------------------------------------------------------------------------------

    fn pass(&mut self, nanos: u64) {
        self.time += nanos;
        for gateway in &mut self.gateways {
            gateway.wall += nanos;
            if !gateway.is_suspended {
                gateway.monotonic += nanos;
            }
        }
        let time = self.time;
        self.etcd.members.retain(|_, (_, until)| *until > time);
        self.etcd.wants.take_if(|(_, until)| *until <= time);
    }

    /// Time passes; all that can renew their membership.
    pub fn advance(&mut self, config: &Config, mut nanos: u64) {
        self.renew_all(config);
        while nanos > 0 {
            let step = nanos.min(5 * SECOND);
            self.pass(step);
            self.renew_all(config);
            nanos -= step;
        }
    }

    fn renew_all(&mut self, config: &Config) {
        for gateway in 0..self.gateways.len() {
            let is_member = self.now(config, gateway).is_some();
            let state = &self.gateways[gateway];
            // A renewal finds that etcd was restored.
            if state.runs() && !state.is_cut && state.incarnation != self.incarnation {
                self.join(config, gateway);
            } else if is_member && self.gateways[gateway].reaches(self.incarnation) {
                self.renew(gateway);
            }
        }
    }

    fn members(&self, own: GatewayId) -> Vec<(GatewayId, MemberValue)> {
        let others = self.etcd.members.iter().filter(|(id, _)| **id != own);
        others.map(|(id, (value, _))| (*id, *value)).collect()
    }

    fn renew(&mut self, gateway: usize) {
        let host = self.gateways[gateway].host();
        let Some(membership) = self.gateways[gateway].membership else { return };
        let id = membership.id;
        if !self.etcd.members.contains_key(&id) {
            return;
        }
        let clock = self.gateways[gateway].clock.clone();
        let mut clock = clock.unwrap_or_else(|| Clock::resume(membership.clock()));
        let value = clock.value(self.etcd.revision, host);
        self.etcd.revision += 1;
        self.etcd.members.insert(id, (value, self.time + TTL));
        self.etcd.clock = self.etcd.clock.max(value.time);
        let members = self.members(id);
        let clock_value = self.etcd.clock;
        clock.sample(&MembersRead {
            revision: self.etcd.revision,
            sent: host,
            received: host,
            clock: clock_value,
            members: &members,
        });
        let gateway = &mut self.gateways[gateway];
        gateway.membership = Some(Membership::renewed(id, host, clock.reading()));
        gateway.clock = Some(clock);
    }

    /// Joins with a new id: at the start, after the margin has passed, or after a restore.
    pub fn join(&mut self, config: &Config, gateway: usize) {
        let host = self.gateways[gateway].host();
        self.next_id += 1;
        let id = GatewayId(self.next_id);
        let old = self.gateways[gateway].membership;
        let is_restored = self.gateways[gateway].incarnation != self.incarnation;
        let members = self.members(id);
        let read = MembersRead {
            revision: self.etcd.revision,
            sent: host,
            received: host,
            clock: self.etcd.clock,
            members: &members,
        };
        let clock = match old.filter(|_| is_restored) {
            Some(old) => Clock::resume(old.clock()),
            None => {
                let own = old.map(|old| old.clock());
                Clock::join(&read).unwrap_or_else(|| Clock::first(&read, own))
            }
        };
        let value = clock.value(self.etcd.revision, host);
        self.etcd.revision += 1;
        self.etcd.members.insert(id, (value, self.time + TTL));
        self.etcd.clock = self.etcd.clock.max(value.time);
        let gateway_state = &mut self.gateways[gateway];
        let membership = Membership::renewed(id, host, clock.reading());
        gateway_state.membership = Some(membership);
        gateway_state.clock = Some(clock);
        gateway_state.incarnation = self.incarnation;
        if is_restored {
            let now = membership.now(host).unwrap();
            gateway_state.slice.restore(id);
            for worker in &mut gateway_state.workers {
                (worker.call, worker.waiting) = (None, None);
            }
            if self.etcd.restored == FleetTime(0) && config.without != Rule::Quiet {
                self.etcd.restored = now.latest;
            }
            if config.without != Rule::Merge {
                self.etcd.row.restore(&self.gateways[gateway].known, now);
            }
            self.put_row();
        } else {
            gateway_state.slice.renew(id);
        }
    }

    fn put_row(&mut self) {
        self.etcd.revision += 1;
        self.etcd.base = self.etcd.revision;
    }

    /// The fleet's time at a gateway.
    pub fn now(&self, config: &Config, gateway: usize) -> Option<FleetNow> {
        let gateway = &self.gateways[gateway];
        let membership = gateway.membership?;
        let host = gateway.host();
        let now = match config.without {
            // No margin: it goes on until it finds out.
            Rule::Margin => membership.clock().now(host),
            _ => membership.now(host)?,
        };
        Some(match config.without {
            Rule::LateStamp => FleetNow { latest: now.earliest, ..now },
            // The wall clock of each gateway.
            Rule::FleetClock => {
                let time = FleetTime(gateway.wall);
                FleetNow { earliest: time, latest: time }
            }
            _ => now,
        })
    }

    pub fn live(&self, config: &Config) -> u64 {
        if config.without == Rule::Tight { 1 } else { self.etcd.members.len() as u64 }
    }

    pub fn ask(&self, config: &Config, gateway: usize, amount: u128) -> Ask {
        let policy = self.gateways[gateway].policy;
        let limit = config.limits[policy];
        let revision = if config.without == Rule::PolicyOrder { 0 } else { policy as u64 };
        Ask { id: id(config), term: Term::of(config.kind, config.period), limit, policy: revision, amount }
    }

    fn fleet(&self, config: &Config, gateway: usize) -> Fleet {
        let own = self.gateways[gateway].membership.map(|membership| membership.id);
        let wanted = self.etcd.wants.is_some_and(|(by, _)| Some(by) != own);
        Fleet { live: self.live(config), wanted: wanted && config.without != Rule::Wants }
    }

    // ---- requests and calls --------------------------------------------------------------------------------------

    /// A request arrives at a worker. Returns true if it was decided or a call was begun.
    pub fn request(&mut self, config: &Config, gateway: usize, worker: usize, amount: u128) -> Option<bool> {
        let now = self.now(config, gateway)?;
        let mut ask = self.ask(config, gateway, amount);
        if config.without == Rule::OldSlice {
            // The slice is spent whatever the limit is now.
            let limit = self.gateways[gateway].slice.block(ask.id).map(|block| block.limit);
            ask.limit = limit.unwrap_or(ask.limit);
        }
        match self.gateways[gateway].slice.charge(&ask, now) {
            Local::Covered { slot } => {
                self.admit(gateway, worker, amount, slot, self.common_policy());
                return Some(true);
            }
            Local::NothingUntil(_) => return Some(false),
            Local::Missing => {}
        }
        let is_idle = self.gateways[gateway].workers[worker].call.is_none();
        (is_idle && self.gateways[gateway].reaches(self.incarnation)).then(|| {
            self.start_call(config, gateway, worker, Some(amount), now);
            false
        })
    }

    /// The policy that all gateways have read.
    fn common_policy(&self) -> usize {
        let alive = self.gateways.iter().filter(|gateway| gateway.is_alive);
        alive.map(|gateway| gateway.policy).min().unwrap_or(0)
    }

    fn admit(&mut self, gateway: usize, worker: usize, amount: u128, slot: u64, policy: usize) {
        let id = self.gateways[gateway].slice.gateway;
        let lane = self.gateways[gateway].workers[worker].lane;
        self.admissions.push(Admission {
            time: self.time,
            slot,
            amount,
            gateway,
            id,
            lane,
            is_settled: false,
            policy,
        });
    }

    /// Builds a call, stores the slice record and sends.
    pub fn start_call(
        &mut self,
        config: &Config,
        gateway: usize,
        worker: usize,
        amount: Option<u128>,
        now: FleetNow,
    ) {
        let ask = self.ask(config, gateway, amount.unwrap_or(0));
        let fleet = self.fleet(config, gateway);
        let state = &mut self.gateways[gateway];
        let id = state.slice.gateway;
        let held = self.etcd.held.get(&id).cloned().unwrap_or_default();
        let number = state.workers[worker].number + 1;
        let call = CallId {
            lane: state.workers[worker].lane,
            number,
            base: self.etcd.base,
            sent: state.host(),
            now,
        };
        let row = self.etcd.row.clone();
        let mut draft = Draft::new(state.slice.clone(), row, held, call, self.etcd.restored);
        if amount.is_some() {
            if let Err(mut refused) = draft.fits(&[ask], fleet) {
                if config.without == Rule::BoundedNothing {
                    refused.until =
                        refused.fits_at.unwrap_or(FleetTime(u64::MAX)).max(now.earliest.plus(60 * SECOND));
                }
                state.slice.set_nothing(&refused.ask, refused.until);
                if refused.by == RefusedBy::Leases && self.etcd.wants.is_none() {
                    self.etcd.wants = Some((id, self.time + 2 * SECOND));
                }
                return;
            }
            if config.without != Rule::OwnGrant {
                draft.charge(&[ask]);
            }
        }
        let own_period = ask.term.stamp(now);
        if config.without == Rule::PeriodOrder
            && let Some(block) = draft.row.blocks.first_mut()
        {
            // The row follows the clock of the gateway that writes it.
            block.spent.retain(|spent| spent.slot <= own_period);
        }
        if config.without == Rule::IdleReturn {
            // Only grows.
            let still = draft.slice.block(ask.id).is_some_and(|block| block.free > 0);
            if !still {
                draft.refill(&[ask], fleet);
            }
        } else {
            draft.refill(&[ask], fleet);
        }
        let (mut slice, mut row, mut held) = draft.finish();
        if let (Rule::OwnGrant, Some(amount)) = (config.without, amount) {
            share(&mut slice, &mut row, &mut held, &ask, amount);
        }
        self.check_grant(config, &slice, &row, &ask, now, amount);
        let policy = self.common_policy();
        let state = &mut self.gateways[gateway];
        state.slice = slice;
        let worker = &mut state.workers[worker];
        worker.number = number;
        worker.call = Some(number);
        worker.waiting = amount;
        worker.policy = policy;
        let lane = worker.lane;
        let base = self.etcd.base;
        let policy = state.policy;
        let granted =
            state.slice.pending.iter().flat_map(|pending| &pending.blocks).any(|one| one.granted > 0);
        self.messages.push(Message {
            gateway,
            id,
            lane,
            number,
            base,
            row,
            held,
            stage: Stage::Sent,
            policy,
            is_grant: granted || amount.is_some(),
        });
    }

    /// Rule 6: near the limit nothing is leased. Rule 1: no grant exceeds the limit.
    fn check_grant(
        &mut self,
        config: &Config,
        slice: &Slice,
        row: &Row,
        ask: &Ask,
        now: FleetNow,
        amount: Option<u128>,
    ) {
        let Some(block) = row.block(ask.id) else { return };
        let moved = slice.pending.last().into_iter().flat_map(|pending| &pending.blocks);
        let granted = moved.map(|moved| moved.granted).sum::<u128>();
        let sum = block.used(now) + block.leased;
        let least = 2 * self.etcd.members.len() as u128;
        if granted > 0 && ask.limit + granted < least + sum && config.without != Rule::OwnGrant {
            self.violation = Some("near the limit, a slice was granted");
        }
        if (granted > 0 || amount.is_some()) && sum > ask.limit && config.limits.len() == 1 {
            self.violation = Some("a grant exceeded the limit by the row's own figures");
        }
    }

    /// A call arrives at etcd.
    pub fn process(&mut self, config: &Config, message: usize) {
        let message = &mut self.messages[message];
        let is_member = self.etcd.members.contains_key(&message.id);
        let is_same = message.base == self.etcd.base || config.without == Rule::CompareRow;
        if !is_member || !is_same {
            message.stage = Stage::Lost;
            return;
        }
        message.stage = Stage::Applied;
        let (id, row, held) = (message.id, message.row.clone(), message.held.clone());
        if message.is_grant && message.policy < self.granted_policy {
            self.violation = Some("a gateway with an older policy granted");
        }
        self.granted_policy = self.granted_policy.max(message.policy);
        self.etcd.row = row;
        self.etcd.held.insert(id, held);
        self.put_row();
    }

    /// An answer arrives at its worker, or at a gateway whose worker was stopped. `keep`: the answer arrives again later.
    pub fn answer(&mut self, config: &Config, message: usize, keep: bool) {
        let message = if keep { self.messages[message].clone() } else { self.messages.remove(message) };
        let gateway = message.gateway;
        let state = &mut self.gateways[gateway];
        let Some(worker) = state.workers.iter().position(|worker| worker.lane == message.lane) else {
            return;
        };
        if message.stage == Stage::Applied {
            state.known = message.row.clone();
        }
        if state.workers[worker].call == Some(message.number) {
            state.workers[worker].call = None;
        }
        let outcome = if message.stage == Stage::Applied { Outcome::Applied } else { Outcome::NotApplied };
        self.finish(config, gateway, worker, message.number, outcome);
    }

    fn finish(&mut self, config: &Config, gateway: usize, worker: usize, number: u64, outcome: Outcome) {
        let state = &mut self.gateways[gateway];
        let lane = state.workers[worker].lane;
        let pending =
            state.slice.pending.iter().find(|one| one.lane == lane && one.number == number).cloned();
        let mut host = state.host();
        if config.without == Rule::LateAnswer
            && let Some(pending) = &pending
        {
            // The answer admits whenever it comes.
            host = pending.sent();
        }
        let finished = state.slice.finish(lane, number, outcome, host);
        let waiting = if pending.is_some() { state.workers[worker].waiting.take() } else { None };
        let direct =
            pending.iter().flat_map(|pending| &pending.blocks).flat_map(|block| &block.direct).next();
        match (finished, waiting, direct) {
            (Finished::Admitted, Some(amount), Some(direct)) => {
                let slot = direct.slot;
                self.admit(gateway, worker, amount, slot, self.gateways[gateway].workers[worker].policy);
            }
            // Only without the rule: the grant went into the shared slice, and the stream takes it when it wakes.
            (Finished::Admitted, Some(amount), None) => {
                self.gateways[gateway].workers[worker].waiting = Some(amount);
            }
            (Finished::Admitted | Finished::NotAdmitted | Finished::Unknown, ..) => {}
        }
    }

    /// A stream whose amount was granted to the shared slice goes on.
    pub fn wake(&mut self, config: &Config, gateway: usize, worker: usize) {
        if let Some(amount) = self.gateways[gateway].workers[worker].waiting.take()
            && self.request(config, gateway, worker, amount) != Some(true)
        {
            self.violation = Some("a request whose call was applied was not admitted");
        }
    }

    /// A stale call is resolved by another worker, or by its own after a timeout.
    pub fn resolve(&mut self, config: &Config, gateway: usize) -> bool {
        let host = self.gateways[gateway].host();
        let Some(pending) = self.gateways[gateway].slice.stale(host).next().cloned() else { return false };
        let outcome = match config.without {
            // Without numbers: the call is taken for lost.
            Rule::CallNumbers => Outcome::NotApplied,
            // Not even fenced: it may arrive later.
            Rule::Fence => {
                let held = self.etcd.held.get(&pending.gateway);
                match held.is_some_and(|held| held.is_applied(pending.lane, pending.number)) {
                    true => Outcome::Applied,
                    false => Outcome::NotApplied,
                }
            }
            _ => {
                let held = self.etcd.held.get(&pending.gateway);
                if held.is_some_and(|held| held.is_applied(pending.lane, pending.number)) {
                    Outcome::Applied
                } else {
                    if self.etcd.base == pending.base {
                        self.put_row();
                    }
                    Outcome::NotApplied
                }
            }
        };
        let state = &mut self.gateways[gateway];
        for worker in &mut state.workers {
            if worker.lane == pending.lane && worker.call == Some(pending.number) {
                (worker.call, worker.waiting) = (None, None);
            }
        }
        state.slice.finish(pending.lane, pending.number, outcome, host);
        true
    }

    /// The client of a waiting request is told that it is not admitted: its call takes too long.
    pub fn time_out(&mut self, config: &Config) {
        if config.without == Rule::LateAnswer {
            return;
        }
        for gateway in &mut self.gateways {
            let host = gateway.host();
            for worker in &mut gateway.workers {
                let is_late = |number: u64| {
                    let pending = gateway.slice.pending.iter();
                    let mut own = pending.filter(|one| one.lane == worker.lane && one.number == number);
                    own.all(|one| host.monotonic - one.sent().monotonic > CALL_TIMEOUT)
                };
                if worker.call.is_some_and(is_late) {
                    worker.waiting = None;
                }
            }
        }
    }

    pub fn trap(&mut self, gateway: usize, worker: usize) {
        let new = self.new_worker();
        self.gateways[gateway].workers[worker] = new;
    }

    /// Retires the gateways that are no members.
    pub fn retire(&mut self, config: &Config, now: FleetNow) -> bool {
        let members: BTreeSet<GatewayId> = self.etcd.members.keys().copied().collect();
        let mut any = false;
        for (id, held) in &mut self.etcd.held {
            if !members.contains(id) && !held.retired {
                any = true;
                if config.without == Rule::CountDead {
                    // What it held is free again.
                    for held in held.blocks.drain(..) {
                        for block in &mut self.etcd.row.blocks {
                            block.leased = block.leased.saturating_sub(held.amount);
                        }
                    }
                    held.retired = true;
                } else {
                    self.etcd.row.retire(held, now);
                }
            }
        }
        if any {
            self.put_row();
        }
        any
    }

    pub fn settle(&mut self, admission: usize, actual: u128) {
        let admission = &mut self.admissions[admission];
        let gateway = &mut self.gateways[admission.gateway];
        let block = gateway.slice.blocks.first().map(|block| block.id);
        admission.is_settled = true;
        if let Some(block) = block {
            gateway.slice.settle(block, admission.slot, admission.amount, actual, false, admission.id);
            if admission.id == gateway.slice.gateway {
                admission.amount = actual;
            }
        }
    }
}

pub fn id(config: &Config) -> CounterId {
    CounterId { kind: config.kind, target: 0 }
}

/// Adds the amount of a request to the slice, instead of charging it.
fn share(slice: &mut Slice, row: &mut Row, held: &mut Held, ask: &Ask, amount: u128) {
    let pending = &mut slice.pending.last_mut().unwrap().blocks;
    if pending.is_empty() {
        pending.push(PendingBlock {
            id: ask.id,
            term: ask.term,
            entries: Vec::new(),
            returned: 0,
            direct: Vec::new(),
            granted: 0,
            grades: [tollgate_core::fleet::Grade::new(ask.limit, ask.term); 2],
        });
    }
    pending[0].granted += amount;
    row.blocks[0].leased += amount;
    if held.blocks.is_empty() {
        held.blocks.push(HeldBlock { id: ask.id, amount: 0, in_flight: 0 });
    }
    held.blocks[0].amount += amount;
}
