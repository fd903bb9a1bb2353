//! A fleet as a discrete-event simulation in true time: gateways with the functions of `tollgate_core::fleet`, calls that take
//! time, and an etcd that applies them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use tollgate_core::counters::{CounterId, CounterKind};
use tollgate_core::fleet::{
    Ask, CALL_TIMEOUT, CallId, Clock, Draft, Due, Finished, Fleet, FleetNow, FleetTime, GatewayId, Held,
    Local, MemberValue, MembersRead, Membership, Outcome, RENEWAL, RefusedBy, Row, Slice, Term, backoff,
};
use tollgate_core::money::Period;
use tollgate_core::quota::Window;
use tollgate_core::time::{DAY, Now, SECOND};

use crate::random::Random;

const START: u64 = 20_000 * DAY;
const TICK: u64 = SECOND / 4;
const MILLI: u64 = SECOND / 1_000;
const LEASE: u64 = 10 * SECOND;
/// The age of a row in hand at which a refusal is not decided on it.
const FRESH: u64 = 20 * MILLI;

/// One simulated run.
#[derive(Clone, Debug)]
pub struct Case {
    pub gateways: usize,
    pub window: Window,
    pub limit: u64,
    /// The requests offered, as a share of the limit.
    pub offered: f64,
    pub zipf: bool,
    /// Requests come at equal intervals.
    pub regular: bool,
    /// The amount of each request.
    pub amount: u64,
    /// A larger request that arrives at gateway 0 every 90 s, and is tried again by its client.
    pub large: Option<u64>,
    pub crashes: bool,
    pub seconds: u64,
}

/// The figures of a run.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The most in any 60 s of true time.
    pub most: u64,
    /// The share of the limit that was used after the first minute.
    pub used: f64,
    pub calls: f64,
    /// The share of calls that found another revision.
    pub lost: f64,
    /// The share of the limit that slices held unused, on average.
    pub idle: f64,
    pub stranded: u64,
    /// The share of requests that waited for a call.
    pub waited: f64,
    /// The longest time until a large request was served (s).
    pub large: f64,
    /// The number of large requests served.
    pub larges: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request(usize),
    Large,
    LargeAgain(u64),
    Tick(usize),
    Renew(usize),
    Retry(usize),
    AtEtcd(usize),
    Back(usize),
    Timeout(usize),
    Crash,
    Retire,
}

enum Kind {
    Transaction { row: Row, held: Held },
    Read,
    Resolve,
}

struct Call {
    gateway: usize,
    id: GatewayId,
    number: u64,
    base: u64,
    kind: Kind,
    applied: Option<bool>,
    fresh: Option<(u64, Row, Held)>,
    streams: Vec<Stream>,
    is_done: bool,
}

#[derive(Clone, Copy)]
struct Stream {
    at: u64,
    amount: u64,
    is_large: bool,
}

struct Gateway {
    skew: u64,
    membership: Option<Membership>,
    clock: Option<Clock>,
    renewals: u32,
    slice: Slice,
    number: u64,
    call: Option<usize>,
    waiting: VecDeque<Stream>,
    /// Revision, row and held record, with the time of reading.
    cache: Option<(u64, Row, Held, u64)>,
    tries: u32,
}

struct Member {
    value: MemberValue,
    until: u64,
}

pub struct Simulation {
    case: Case,
    random: Random,
    time: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    gateways: Vec<Gateway>,
    calls: Vec<Call>,
    row: Row,
    base: u64,
    revision: u64,
    held: HashMap<GatewayId, Held>,
    members: HashMap<GatewayId, Member>,
    wants: Option<(GatewayId, u64)>,
    admitted: Vec<(u64, u64)>,
    offered: usize,
    waited: usize,
    sent: usize,
    lost: usize,
    idle: f64,
    samples: usize,
    stranded: u64,
    large_since: Option<u64>,
    large_waits: Vec<u64>,
}

impl Simulation {
    pub fn run(case: &Case, seed: u64) -> Figures {
        let mut simulation = Simulation {
            case: case.clone(),
            random: Random(seed),
            time: 0,
            events: BinaryHeap::new(),
            sequence: 0,
            gateways: Vec::new(),
            calls: Vec::new(),
            row: Row::default(),
            base: 0,
            revision: 1,
            held: HashMap::new(),
            members: HashMap::new(),
            wants: None,
            admitted: Vec::new(),
            offered: 0,
            waited: 0,
            sent: 0,
            lost: 0,
            idle: 0.0,
            samples: 0,
            stranded: 0,
            large_since: None,
            large_waits: Vec::new(),
        };
        for gateway in 0..case.gateways {
            let fresh = simulation.new_gateway();
            simulation.gateways.push(fresh);
            simulation.join(gateway);
            let [tick, renew] = [TICK, RENEWAL].map(|span| simulation.random.next() % span);
            simulation.push(tick, Event::Tick(gateway));
            simulation.push(renew, Event::Renew(gateway));
            let wait = simulation.until_request(gateway);
            simulation.push(wait, Event::Request(gateway));
        }
        if case.crashes {
            simulation.push(40 * SECOND, Event::Crash);
        }
        if case.large.is_some() {
            simulation.push(65 * SECOND, Event::Large);
        }
        while let Some(Reverse((time, _, event))) = simulation.events.pop() {
            if time > case.seconds * SECOND {
                break;
            }
            simulation.time = time;
            simulation.handle(event);
        }
        simulation.figures()
    }

    fn push(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((self.time + after, self.sequence, event)));
    }

    /// A random share of 1.
    fn share(&mut self) -> f64 {
        (self.random.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.next().is_multiple_of(one_in)
    }

    fn latency(&mut self) -> u64 {
        // Half of a call of 1 to 10 ms.
        MILLI / 2 + self.random.next() % (9 * MILLI / 2)
    }

    fn until_request(&mut self, gateway: usize) -> u64 {
        let weight = |gateway: usize| if self.case.zipf { 1.0 / (gateway + 1) as f64 } else { 1.0 };
        let all: f64 = (0..self.case.gateways).map(weight).sum();
        let per_second = self.case.offered * self.case.limit as f64 / 60.0 / self.case.amount as f64;
        let rate = per_second * weight(gateway) / all;
        let random = if self.case.regular { 1.0 } else { -(1.0 - self.share()).ln() };
        (random / rate * SECOND as f64) as u64
    }

    // ---- membership ----------------------------------------------------------------------------------------------

    fn new_gateway(&mut self) -> Gateway {
        Gateway {
            // Clocks are up to a second apart.
            skew: self.random.next() % SECOND,
            membership: None,
            clock: None,
            renewals: 0,
            slice: Slice::new(GatewayId(0)),
            number: 0,
            call: None,
            waiting: VecDeque::new(),
            cache: None,
            tries: 0,
        }
    }

    fn host(&self, gateway: usize) -> Now {
        Now { wall: START + self.time + self.gateways[gateway].skew, monotonic: SECOND + self.time }
    }

    fn others(&self, id: GatewayId) -> Vec<(GatewayId, MemberValue)> {
        let others = self.members.iter().filter(|(other, member)| **other != id && member.until > self.time);
        let mut others: Vec<_> = others.map(|(id, member)| (*id, member.value)).collect();
        others.sort_unstable_by_key(|(id, _)| *id);
        others
    }

    fn join(&mut self, gateway: usize) {
        let id = GatewayId(u128::from(self.random.next()) << 64 | u128::from(self.random.next()));
        let host = self.host(gateway);
        let members = self.others(id);
        let read = MembersRead {
            revision: self.revision,
            sent: host,
            received: host,
            clock: FleetTime(0),
            members: &members,
        };
        let clock = Clock::join(&read).unwrap_or_else(|| Clock::first(&read, None));
        let value = clock.value(self.revision, host);
        self.revision += 1;
        self.members.insert(id, Member { value, until: self.time + LEASE });
        let state = &mut self.gateways[gateway];
        state.membership = Some(Membership::renewed(id, host, clock.reading()));
        state.clock = Some(clock);
        state.slice.renew(id);
        state.cache = None;
    }

    fn renew(&mut self, gateway: usize) {
        let host = self.host(gateway);
        let state = &self.gateways[gateway];
        let (Some(membership), Some(mut clock)) = (state.membership, state.clock.clone()) else { return };
        if membership.now(host).is_none() {
            return self.join(gateway);
        }
        let value = clock.value(self.revision, host);
        self.revision += 1;
        self.members.insert(membership.id, Member { value, until: self.time + LEASE });
        // Once its bounds are close, a gateway need not read the others again.
        if state.renewals < 4 {
            let members = self.others(membership.id);
            clock.sample(&MembersRead {
                revision: self.revision,
                sent: host,
                received: host,
                clock: FleetTime(0),
                members: &members,
            });
        }
        let state = &mut self.gateways[gateway];
        state.renewals += 1;
        state.membership = Some(Membership::renewed(membership.id, host, clock.reading()));
        state.clock = Some(clock);
    }

    fn now(&self, gateway: usize) -> Option<FleetNow> {
        self.gateways[gateway].membership?.now(self.host(gateway))
    }

    fn fleet(&self, gateway: usize) -> Fleet {
        let own = self.gateways[gateway].slice.gateway;
        let wanted = self.wants.is_some_and(|(by, until)| by != own && until > self.time);
        Fleet { live: self.case.gateways as u64, wanted }
    }

    fn ask(&self, amount: u64) -> Ask {
        let kind = CounterKind::Window(self.case.window);
        let term = Term::of(kind, Period::Day);
        Ask { id: self.id(), term, limit: u128::from(self.case.limit), policy: 1, amount: u128::from(amount) }
    }

    fn id(&self) -> CounterId {
        CounterId { kind: CounterKind::Window(self.case.window), target: 0 }
    }

    // ---- events --------------------------------------------------------------------------------------------------

    fn handle(&mut self, event: Event) {
        match event {
            Event::Request(gateway) => {
                let wait = self.until_request(gateway);
                self.push(wait, Event::Request(gateway));
                let stream = Stream { at: self.time, amount: self.case.amount, is_large: false };
                self.request(gateway, stream);
            }
            Event::Large => {
                self.push(90 * SECOND, Event::Large);
                self.large_since = Some(self.time);
                self.handle(Event::LargeAgain(self.time));
            }
            Event::LargeAgain(since) => {
                if self.large_since == Some(since) {
                    self.push(300 * MILLI, Event::LargeAgain(since));
                    let amount = self.case.large.unwrap_or(1);
                    self.request(0, Stream { at: self.time, amount, is_large: true });
                }
            }
            Event::Tick(gateway) => {
                self.push(TICK, Event::Tick(gateway));
                self.tick(gateway);
            }
            Event::Renew(gateway) => {
                self.push(RENEWAL, Event::Renew(gateway));
                self.renew(gateway);
            }
            Event::Retry(gateway) => {
                if self.gateways[gateway].call.is_none() {
                    self.start_call(gateway);
                }
            }
            Event::AtEtcd(call) => self.at_etcd(call),
            Event::Back(call) => self.back(call),
            Event::Timeout(call) => self.time_out(call),
            Event::Crash => self.crash(),
            Event::Retire => self.retire(),
        }
    }

    fn request(&mut self, gateway: usize, stream: Stream) {
        self.offered += 1;
        let Some(now) = self.now(gateway) else { return };
        let ask = self.ask(stream.amount);
        match self.gateways[gateway].slice.charge(&ask, now) {
            Local::Covered { .. } => self.admit(stream),
            Local::NothingUntil(_) => {}
            Local::Missing => {
                self.waited += 1;
                self.gateways[gateway].waiting.push_back(stream);
                if self.gateways[gateway].call.is_none() {
                    self.start_call(gateway);
                }
            }
        }
    }

    fn admit(&mut self, stream: Stream) {
        self.admitted.push((self.time, stream.amount));
        if stream.is_large
            && let Some(since) = self.large_since.take()
        {
            self.large_waits.push(self.time - since);
        }
    }

    fn tick(&mut self, gateway: usize) {
        let id = self.id();
        if gateway == 0 {
            self.samples += 1;
            let free = self.gateways.iter().filter_map(|one| one.slice.block(id)).map(|block| block.free);
            self.idle += free.sum::<u128>() as f64 / self.case.limit as f64;
        }
        let Some(now) = self.now(gateway) else { return };
        let (ask, fleet) = (self.ask(0), self.fleet(gateway));
        let state = &self.gateways[gateway];
        if state.call.is_some() {
            return;
        }
        let Some(block) = state.slice.block(id) else { return };
        let is_close = (block.known.used + block.known.leased) * 2 > ask.limit;
        let within = if is_close { SECOND } else { 15 * SECOND };
        let is_due = match state.slice.due(&ask, fleet, now) {
            Due::Nothing => false,
            Due::Report => now.earliest.0 - block.known.at.0 > within,
            Due::Now => true,
        };
        if is_due {
            self.start_call(gateway);
        }
    }

    fn start_call(&mut self, gateway: usize) {
        let Some(now) = self.now(gateway) else { return self.gateways[gateway].waiting.clear() };
        let time = self.time;
        let (ask, fleet, host) = (self.ask(0), self.fleet(gateway), self.host(gateway));
        let state = &mut self.gateways[gateway];
        state.waiting.retain(|stream| time - stream.at < CALL_TIMEOUT);
        let Some((base, row, held, read)) = state.cache.clone() else {
            return self.send(gateway, 0, 0, Kind::Read, Vec::new());
        };
        let number = state.number + 1;
        let call = CallId { lane: 1, number, base, sent: host, now };
        let mut draft = Draft::new(state.slice.clone(), row, held, call, FleetTime(0));
        let mut streams = Vec::new();
        let mut refusals = Vec::new();
        for stream in &state.waiting {
            let ask = Ask { amount: u128::from(stream.amount), ..ask };
            match draft.fits(&[ask], fleet) {
                Ok(()) => {
                    draft.charge(&[ask]);
                    streams.push(*stream);
                }
                // A row that may have changed refuses nothing.
                Err(_) if time - read > FRESH => {
                    return self.send(gateway, 0, 0, Kind::Read, Vec::new());
                }
                Err(refused) => refusals.push(refused),
            }
        }
        state.waiting.clear();
        for refused in refusals {
            state.slice.set_nothing(&refused.ask, refused.until);
            draft.slice.set_nothing(&refused.ask, refused.until);
            if refused.by == RefusedBy::Leases && self.wants.is_none_or(|(_, until)| until <= time) {
                self.wants = Some((state.slice.gateway, time + 2 * SECOND));
                self.sent += 1;
            }
        }
        draft.refill(&[ask], fleet);
        let (slice, row, held) = draft.finish();
        if slice.pending.last().is_none_or(|pending| pending.blocks.is_empty()) {
            return;
        }
        state.slice = slice;
        state.number = number;
        self.send(gateway, number, base, Kind::Transaction { row, held }, streams);
    }

    fn send(&mut self, gateway: usize, number: u64, base: u64, kind: Kind, streams: Vec<Stream>) {
        let id = self.gateways[gateway].slice.gateway;
        let call = self.calls.len();
        self.calls.push(Call {
            gateway,
            id,
            number,
            base,
            kind,
            applied: None,
            fresh: None,
            streams,
            is_done: false,
        });
        self.gateways[gateway].call = Some(call);
        self.sent += 1;
        if !self.chance(200) {
            let latency = self.latency();
            self.push(latency, Event::AtEtcd(call));
        }
        self.push(CALL_TIMEOUT, Event::Timeout(call));
    }

    fn at_etcd(&mut self, index: usize) {
        let call = &mut self.calls[index];
        let is_member = self.members.get(&call.id).is_some_and(|member| member.until > self.time);
        match &call.kind {
            Kind::Transaction { row, held } => {
                let is_same = is_member && call.base == self.base;
                if is_same {
                    self.revision += 1;
                    self.base = self.revision;
                    self.row = row.clone();
                    self.held.insert(call.id, held.clone());
                } else {
                    self.lost += 1;
                }
                call.applied = Some(is_same);
            }
            Kind::Read => {}
            Kind::Resolve => {
                let held = self.held.get(&call.id);
                let is_applied = held.is_some_and(|held| held.is_applied(1, call.number));
                if !is_applied && self.base == call.base {
                    self.revision += 1;
                    self.base = self.revision;
                }
                call.applied = Some(is_applied);
            }
        }
        let held = self.held.get(&call.id).cloned().unwrap_or_default();
        call.fresh = Some((self.base, self.row.clone(), held));
        if !self.chance(200) {
            let latency = self.latency();
            self.push(latency, Event::Back(index));
        }
    }

    fn back(&mut self, index: usize) {
        let call = &mut self.calls[index];
        let gateway = call.gateway;
        // The answer of a call that timed out is resolved by another call.
        if call.is_done || self.gateways[gateway].call != Some(index) {
            return;
        }
        call.is_done = true;
        let (applied, number, id) = (call.applied, call.number, call.id);
        let streams = std::mem::take(&mut call.streams);
        let fresh = call.fresh.take();
        let is_resolved = matches!(call.kind, Kind::Resolve);
        call.kind = Kind::Read;
        let host = self.host(gateway);
        let time = self.time;
        let state = &mut self.gateways[gateway];
        state.call = None;
        if let Some((base, row, held)) = fresh.filter(|_| id == state.slice.gateway) {
            state.cache = Some((base, row, held, time));
        }
        let mut retry = 0;
        match applied {
            None => {}
            Some(true) => {
                state.tries = 0;
                let finished = state.slice.finish(1, number, Outcome::Applied, host);
                if finished == Finished::Admitted && !is_resolved {
                    streams.into_iter().for_each(|stream| self.admit(stream));
                }
            }
            Some(false) => {
                state.slice.finish(1, number, Outcome::NotApplied, host);
                streams.into_iter().rev().for_each(|stream| state.waiting.push_front(stream));
                state.tries += 1;
                retry = backoff(state.tries, self.case.gateways as u64, self.random.next());
            }
        }
        if retry > 0 {
            self.push(retry, Event::Retry(gateway));
        } else if !self.gateways[gateway].waiting.is_empty() {
            self.start_call(gateway);
        }
    }

    fn time_out(&mut self, index: usize) {
        let call = &mut self.calls[index];
        if call.is_done || self.gateways[call.gateway].call != Some(index) {
            return;
        }
        call.is_done = true;
        let (gateway, number, base) = (call.gateway, call.number, call.base);
        if matches!(call.kind, Kind::Read) {
            self.gateways[gateway].call = None;
            return;
        }
        self.send(gateway, number, base, Kind::Resolve, Vec::new());
    }

    fn crash(&mut self) {
        self.push(30 * SECOND, Event::Crash);
        let gateway = (self.random.next() % self.case.gateways as u64) as usize;
        let fresh = self.new_gateway();
        self.gateways[gateway] = fresh;
        self.join(gateway);
        self.push(11 * SECOND, Event::Retire);
    }

    fn retire(&mut self) {
        let Some(now) = (0..self.case.gateways).find_map(|gateway| self.now(gateway)) else { return };
        for (id, held) in &mut self.held {
            let is_dead = self.members.get(id).is_none_or(|member| member.until <= self.time);
            if is_dead && !held.retired {
                self.stranded += held.blocks.iter().map(|block| block.amount as u64).sum::<u64>();
                self.row.retire(held, now);
                self.revision += 1;
                self.base = self.revision;
                self.sent += 1;
            }
        }
    }

    fn figures(&self) -> Figures {
        let (mut most, mut sum, mut first) = (0, 0, 0);
        for (time, amount) in &self.admitted {
            sum += amount;
            while self.admitted[first].0 + 60 * SECOND <= *time {
                sum -= self.admitted[first].1;
                first += 1;
            }
            most = most.max(sum);
        }
        let warm = 61 * SECOND;
        let used: u64 =
            self.admitted.iter().filter(|(time, _)| *time >= warm).map(|(_, amount)| amount).sum();
        let minutes = (self.case.seconds * SECOND - warm) as f64 / (60 * SECOND) as f64;
        Figures {
            most,
            used: used as f64 / (self.case.limit as f64 * minutes),
            calls: self.sent as f64 / self.case.seconds as f64,
            lost: self.lost as f64 / self.sent.max(1) as f64,
            idle: self.idle / self.samples.max(1) as f64,
            stranded: self.stranded,
            waited: self.waited as f64 / self.offered.max(1) as f64,
            large: self.large_waits.iter().max().map_or(0.0, |wait| *wait as f64 / SECOND as f64),
            larges: self.large_waits.len(),
        }
    }
}
