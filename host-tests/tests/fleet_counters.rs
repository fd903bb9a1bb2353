//! The lease clients of gateways with a real etcd, on a clock of the test's own: answers are lost, and workers and gateways are
//! stopped at any call.

mod random;

use std::collections::BTreeMap;

use random::Random;
use serde_json::json;
use tollgate_core::admission::{ActualUsage, AdmissionRequest, Admitted, Principal, Receipt, Reservation};
use tollgate_core::config::{ConfigLoader, GatewayConfig};
use tollgate_core::counters::{Cas, CounterId, CounterKind, CounterStore, RecordKey, StoreError};
use tollgate_core::etcd::{Read, Snapshot};
use tollgate_core::fleet::{FleetNow, FleetTime, Row, RowBlock};
use tollgate_core::leases::{LeaseClient, LeaseEffect};
use tollgate_core::money::{Budget, Period, Pico};
use tollgate_core::quota::{Limits, PrincipalKind, QuotaScope};
use tollgate_core::time::{Now, SECOND};
use tollgate_host::etcd::Etcd as Client;
use tollgate_host::tools::Etcd;

const PREFIX: &str = "tollgate/1/";
const MILLISECOND: u64 = SECOND / 1_000;
const BUDGET: u128 = 20_000;
/// The most that a request can cost.
const RESERVED: u128 = 50;

/// The shared data of one gateway.
#[derive(Default)]
struct Records(BTreeMap<String, (Vec<u8>, u64)>);

impl CounterStore for Records {
    type Version = u64;

    fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, u64), StoreError> {
        Ok(self.0.get(name.as_str()).cloned().unwrap_or_default())
    }

    fn compare_and_swap(&mut self, name: &RecordKey, at: u64, bytes: &[u8]) -> Result<Cas, StoreError> {
        let stored = self.0.entry(name.as_str().to_owned()).or_default();
        if stored.1 != at {
            return Ok(Cas::Conflict);
        }
        *stored = (bytes.to_vec(), at + 1);
        Ok(Cas::Stored)
    }
}

/// A gateway with its workers, and the requests that it runs.
struct Gateway {
    records: Records,
    workers: Vec<LeaseClient>,
    /// Its wall clock less that of the others, in seconds.
    ahead: u64,
    running: Vec<Receipt>,
}

struct Fleet {
    config: GatewayConfig,
    client: Client,
    gateways: Vec<Gateway>,
    random: Random,
    now: u64,
    /// One of so many calls is lost on the way, and one of so many answers.
    losses: u64,
    last_id: u32,
    by_day: bool,
    waiting: usize,
    admitted: u64,
    refused: u64,
    unavailable: u64,
    /// The sum in the upstream's book.
    spent: u128,
}

fn config() -> GatewayConfig {
    let mut loader = ConfigLoader::default();
    loader.push(json!({"policy": {"version": 1}, "fleet": {"cluster": "etcd"}}).to_string().as_bytes());
    loader.finish().unwrap().0
}

impl Fleet {
    fn new(etcd: &Etcd, gateways: usize, seed: u64) -> Fleet {
        let client = Client::new(&etcd.url(), PREFIX, None).unwrap();
        let mut fleet = Fleet {
            config: config(),
            client,
            gateways: Vec::new(),
            random: Random(seed),
            now: 1_800_000_000 * SECOND,
            losses: u64::MAX,
            last_id: 0,
            by_day: false,
            waiting: 0,
            admitted: 0,
            refused: 0,
            unavailable: 0,
            spent: 0,
        };
        for number in 0..gateways {
            let mut gateway = Gateway {
                records: Records::default(),
                workers: Vec::new(),
                ahead: number as u64,
                running: Vec::new(),
            };
            for _ in 0..2 {
                gateway.workers.push(fleet.worker());
            }
            fleet.gateways.push(gateway);
        }
        fleet.pass(200);
        fleet
    }

    fn worker(&mut self) -> LeaseClient {
        LeaseClient::new(&self.config, self.random.next()).unwrap()
    }

    fn now(&self, gateway: usize) -> Now {
        // Monotonic clocks begin anywhere.
        let monotonic = self.now - 1_700_000_000 * SECOND;
        Now { wall: self.now + self.gateways[gateway].ahead * SECOND, monotonic }
    }

    /// Lets time pass, with ticks of all workers.
    fn pass(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.now += 50 * MILLISECOND;
            for gateway in 0..self.gateways.len() {
                for worker in 0..self.gateways[gateway].workers.len() {
                    let now = self.now(gateway);
                    let random = u128::from(self.random.next()) << 64 | u128::from(self.random.next());
                    let of = &mut self.gateways[gateway];
                    let effects = of.workers[worker].tick(&mut of.records, (Some(random), 0), now);
                    self.carry_out(gateway, worker, effects);
                }
            }
        }
    }

    fn carry_out(&mut self, gateway: usize, worker: usize, mut effects: Vec<LeaseEffect>) {
        while !effects.is_empty() {
            match effects.remove(0) {
                LeaseEffect::Call { slot, call, timeout } => {
                    let [sent_is_lost, answer_is_lost] =
                        [(); 2].map(|()| self.losses != u64::MAX && self.random.below(self.losses) == 0);
                    let (mut status, mut body) = (0, Default::default());
                    if !sent_is_lost {
                        (status, body) = self.client.call(call);
                    }
                    self.now += MILLISECOND;
                    if sent_is_lost || answer_is_lost {
                        // Longer than a request waits; a member would not live through many timeouts of its own.
                        self.now += u64::from(timeout).min(260) * MILLISECOND;
                        (status, body) = (0, Default::default());
                    }
                    let now = self.now(gateway);
                    let of = &mut self.gateways[gateway];
                    effects.extend(of.workers[worker].answer(&mut of.records, (slot, status, &body), now));
                }
                LeaseEffect::Decided(_, outcome) => {
                    self.waiting -= 1;
                    match outcome {
                        Ok(admitted) => self.admitted(gateway, admitted),
                        Err(refused) => self.refused(&format!("{:?}", refused.error)),
                    }
                }
                LeaseEffect::Queue(_) => panic!("a swap cannot fail here"),
                LeaseEffect::Note(_) | LeaseEffect::Warn(_) => {}
            }
        }
    }

    fn admitted(&mut self, gateway: usize, admitted: Admitted) {
        self.admitted += 1;
        if self.by_day {
            return;
        }
        self.gateways[gateway].running.push(admitted.receipt);
        let running: usize = self.gateways.iter().map(|gateway| gateway.running.len()).sum();
        assert!(self.spent + running as u128 * RESERVED <= BUDGET, "overspent");
    }

    fn refused(&mut self, error: &str) {
        match error.contains("Unreachable") {
            true => self.unavailable += 1,
            false => self.refused += 1,
        }
    }

    /// Sends a request to a worker. All requests are of one team.
    fn request(&mut self, gateway: usize, worker: usize) {
        self.last_id += 1;
        let principal = Principal {
            scope: QuotaScope::whole(PrincipalKind::Team),
            record: self.config.record_keys.team("search"),
            limits: Limits::default(),
            target_limits: None,
            budget: Some(Budget { max: Pico(BUDGET), soft: None, period: Period::Lifetime }),
        };
        let reservation = Reservation { cost: Pico(RESERVED), ..Reservation::default() };
        let request = AdmissionRequest { principals: vec![principal], reservation };
        let now = self.now(gateway);
        let mut effects = Vec::new();
        let of = &mut self.gateways[gateway];
        let decided =
            of.workers[worker].admit(&mut of.records, (self.last_id, request), 0, now, &mut effects);
        match decided {
            None => self.waiting += 1,
            Some(Ok(admitted)) => self.admitted(gateway, admitted),
            Some(Err(refused)) => self.refused(&format!("{:?}", refused.error)),
        }
        self.carry_out(gateway, worker, effects);
    }

    /// Sends a request of a team with a limit by the day, from a policy of this revision.
    fn request_by_day(&mut self, gateway: usize, worker: usize, limit: u64, policy: u64) {
        self.last_id += 1;
        let principal = Principal {
            scope: QuotaScope::whole(PrincipalKind::Team),
            record: self.config.record_keys.team("search"),
            limits: Limits { rpd: std::num::NonZeroU64::new(limit), ..Limits::default() },
            target_limits: None,
            budget: None,
        };
        let request = AdmissionRequest { principals: vec![principal], reservation: Reservation::default() };
        let now = self.now(gateway);
        let mut effects = Vec::new();
        let of = &mut self.gateways[gateway];
        let decided =
            of.workers[worker].admit(&mut of.records, (self.last_id, request), policy, now, &mut effects);
        match decided {
            None => self.waiting += 1,
            Some(Ok(_)) => self.admitted += 1,
            Some(Err(refused)) => self.refused(&format!("{:?}", refused.error)),
        }
        self.by_day = true;
        self.carry_out(gateway, worker, effects);
        self.by_day = false;
    }

    /// Ends the oldest request of a gateway, at a random cost.
    fn settle(&mut self, gateway: usize) {
        if self.gateways[gateway].running.is_empty() {
            return;
        }
        let cost = u128::from(self.random.below(RESERVED as u64 + 1));
        let of = &mut self.gateways[gateway];
        let receipt = of.running.remove(0);
        let actual = ActualUsage { tokens: 0, cost: Pico(cost), estimated: false };
        assert!(LeaseClient::settle(&mut of.records, receipt, actual).is_empty());
        self.spent += cost;
    }

    fn settle_all(&mut self) {
        for gateway in 0..self.gateways.len() {
            while !self.gateways[gateway].running.is_empty() {
                self.settle(gateway);
            }
        }
    }

    /// Stops a worker, as a trap does, and starts another. What waits is cut.
    fn trap(&mut self, gateway: usize, worker: usize) {
        let new = self.worker();
        self.gateways[gateway].workers[worker] = new;
    }

    fn block(&mut self) -> RowBlock {
        let key = format!("{PREFIX}row/team/search");
        let (_, read) = self.client.run(Snapshot::new(vec![Read::Key(key)])).unwrap();
        let row = Row::from_bytes(&read[0][0].value).unwrap();
        row.block(CounterId { kind: CounterKind::Budget, target: 0 }).unwrap().clone()
    }

    fn fleet_now(&self) -> FleetNow {
        FleetNow { earliest: FleetTime(self.now), latest: FleetTime(self.now) }
    }

    /// Lets time pass until all is reported and given back.
    fn rest(&mut self) -> RowBlock {
        self.losses = u64::MAX;
        for round in 0..40 {
            self.pass(50);
            // A stream that waited until now may have been admitted.
            self.settle_all();
            if round > 10 {
                // The lease of an earlier id ends in etcd's own time.
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
            let block = self.block();
            if block.leased == 0 && block.in_flight == 0 {
                return block;
            }
        }
        panic!("something is held for ever: {:?}", self.block());
    }
}

/// Offers more than the budget, to all workers in turn.
fn offer(fleet: &mut Fleet, requests: usize, mut disturb: impl FnMut(&mut Fleet)) {
    for _ in 0..requests {
        let gateway = fleet.random.below(fleet.gateways.len() as u64) as usize;
        let worker = fleet.random.below(2) as usize;
        fleet.request(gateway, worker);
        fleet.now += MILLISECOND;
        if fleet.random.below(4) > 0 {
            fleet.settle(gateway);
        }
        if fleet.random.below(20) == 0 {
            fleet.pass(1);
        }
        disturb(fleet);
    }
    fleet.settle_all();
}

#[test]
fn a_budget_is_used_to_its_end_and_the_row_equals_the_upstreams_book() {
    let Some(etcd) = Etcd::start() else { return };
    let mut fleet = Fleet::new(&etcd, 3, 1);
    offer(&mut fleet, 1_500, |_| {});
    let block = fleet.rest();
    println!("admitted {}, refused {}, spent {}", fleet.admitted, fleet.refused, fleet.spent);
    assert_eq!((fleet.waiting, fleet.unavailable), (0, 0));
    assert_eq!((block.used(fleet.fleet_now()), block.estimated(fleet.fleet_now())), (fleet.spent, 0));
    assert_eq!(block.stranded(fleet.fleet_now()), 0);
    assert!(fleet.refused > 0 && fleet.spent * 100 >= BUDGET * 95, "{} used", fleet.spent);
}

#[test]
fn lost_calls_and_lost_answers_lose_no_spend_and_count_nothing_twice() {
    let Some(etcd) = Etcd::start() else { return };
    for seed in 1..=4 {
        let mut fleet = Fleet::new(&etcd, 2, seed);
        fleet.losses = 12;
        offer(&mut fleet, 400, |_| {});
        let block = fleet.rest();
        println!("seed {seed}: admitted {}, unavailable {}", fleet.admitted, fleet.unavailable);
        // A gateway that could not renew its lease in time has stranded what it held.
        let [used, stranded] = [block.used(fleet.fleet_now()), block.stranded(fleet.fleet_now())];
        println!("used {used}, spent {}, stranded {stranded}", fleet.spent);
        assert!(fleet.spent <= used && used - fleet.spent <= stranded, "seed {seed}");
        assert!(fleet.unavailable > 0 && fleet.admitted > 50, "seed {seed}");
        fleet.forget();
    }
}

#[test]
fn a_stopped_worker_leaves_no_call_open_and_no_amount_behind() {
    let Some(etcd) = Etcd::start() else { return };
    for seed in 1..=4 {
        let mut fleet = Fleet::new(&etcd, 2, seed);
        offer(&mut fleet, 400, |fleet| {
            if fleet.random.below(15) == 0 {
                // The worker stops before it has the answer to the call that it makes.
                let [gateway, worker] = [fleet.random.below(2), fleet.random.below(2)].map(|it| it as usize);
                fleet.losses = 1;
                fleet.request(gateway, worker);
                fleet.losses = u64::MAX;
                fleet.trap(gateway, worker);
            }
        });
        let block = fleet.rest();
        println!("seed {seed}: admitted {}, unavailable {}", fleet.admitted, fleet.unavailable);
        assert_eq!(block.used(fleet.fleet_now()), fleet.spent, "seed {seed}");
        fleet.forget();
    }
}

#[test]
fn after_a_lower_limit_no_more_is_admitted_than_it_leaves() {
    let Some(etcd) = Etcd::start() else { return };
    for seed in 1..=4 {
        let mut fleet = Fleet::new(&etcd, 2, seed);
        for round in 0..40 {
            let worker = fleet.random.below(2) as usize;
            fleet.request_by_day(round % 2, worker, 100_000, 5);
            if fleet.random.below(3) == 0 {
                fleet.pass(1);
            }
        }
        assert_eq!(fleet.admitted, 40);
        for round in 0..200 {
            let worker = fleet.random.below(2) as usize;
            fleet.request_by_day(round % 2, worker, 50, 6);
            if fleet.random.below(3) == 0 {
                fleet.pass(1);
            }
            assert!(fleet.admitted <= 50, "seed {seed}: {} after {round}", fleet.admitted);
        }
        println!("seed {seed}: {} of 50", fleet.admitted);
        assert_eq!(fleet.admitted, 50, "seed {seed}");
        fleet.forget();
    }
}

impl Fleet {
    /// Removes all keys, for the next fleet.
    fn forget(&mut self) {
        for part in ["row/", "held/", "member/", "gateway/", "wants/"] {
            self.client.run(tollgate_core::etcd::RemoveAll::new(format!("{PREFIX}{part}"))).unwrap();
        }
    }
}
