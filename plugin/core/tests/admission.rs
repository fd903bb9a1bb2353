//! Exactness of admission: never a request too many, no charge lost, all principals or none.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail so"
)]

mod support;

use std::collections::VecDeque;
use std::num::NonZeroU64;

use proptest::prelude::*;
use support::{Map, Rows};
use tollgate_core::admission::headers::HeaderStyle;
use tollgate_core::admission::status::RateLimitStatus;
use tollgate_core::admission::{
    ActualUsage, AdmissionError, AdmissionRequest, NotAdmitted, Principal, Reservation, acquire, settle,
};
use tollgate_core::counters::{RecordKey, SharedDataKind, SharedDataStore};
use tollgate_core::money::{Budget, Period, Pico};
use tollgate_core::quota::Limits;
use tollgate_core::quota::{PrincipalKind, QuotaReason, QuotaScope};
use tollgate_core::time::{DAY, Now, SECOND};

fn store_over(map: &Map) -> SharedDataStore<Map> {
    let mut map = map.clone();
    let kind = SharedDataStore::probe(&mut map, "t/");
    SharedDataStore::new(map, kind)
}

fn at(millis: u64) -> Now {
    let nanos = 1_700_000_000 * SECOND + millis * 1_000_000;
    Now { wall: nanos, monotonic: nanos }
}

fn limit(number: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(number)
}

fn principal(level: PrincipalKind, id: &str, limits: Limits) -> Principal {
    Principal {
        scope: QuotaScope::whole(level),
        record: RecordKey::new("t/", &[id]),
        limits,
        target_limits: None,
        budget: None,
    }
}

fn charges(principals: Vec<Principal>) -> AdmissionRequest {
    AdmissionRequest { principals, reservation: Reservation::default() }
}

#[test]
fn the_probe_distinguishes_hosts_and_leaves_one_record() {
    for (map, kind) in [
        (Map::new(), SharedDataKind::CompareAndSwap),
        (Map::insert_if_absent(), SharedDataKind::InsertIfAbsent),
    ] {
        for _ in 0..3 {
            assert_eq!(SharedDataStore::probe(&mut map.clone(), "t/"), kind);
        }
        assert_eq!(map.rows().len(), 1);
    }
}

#[test]
fn keys_of_a_team_share_its_limit_and_a_rejection_charges_nothing() {
    let map = Map::new();
    let mut store = store_over(&map);
    let of_key = |key: &str| {
        charges(vec![
            principal(PrincipalKind::Key, key, Limits { rpm: limit(10), ..Limits::default() }),
            principal(PrincipalKind::Team, "team", Limits { rpm: limit(3), ..Limits::default() }),
            principal(PrincipalKind::Organization, "org", Limits { rpd: limit(100), ..Limits::default() }),
        ])
    };
    for (n, key) in ["one", "two", "one"].into_iter().enumerate() {
        acquire(&mut store, of_key(key), at(n as u64)).unwrap();
    }
    let before = map.rows();
    let rejected = acquire(&mut store, of_key("two"), at(10)).unwrap_err();
    let NotAdmitted { error: AdmissionError::Denied(denial), .. } = rejected else { panic!("{rejected:?}") };
    assert_eq!(denial.label(), "team_rpm");
    assert_eq!(map.rows(), before);

    let wait = denial.wait.unwrap();
    let waited =
        |extra: u64| Now { wall: at(10).wall + wait + extra, monotonic: at(10).monotonic + wait + extra };
    let early = Now { wall: waited(0).wall - 1, monotonic: waited(0).monotonic - 1 };
    assert!(acquire(&mut store, of_key("two"), early).is_err(), "not a nanosecond early");
    acquire(&mut store, of_key("two"), waited(0)).unwrap();
}

#[test]
fn the_status_of_a_rejection_excludes_the_rejected_request() {
    let map = Map::new();
    let mut store = store_over(&map);
    let limits = Limits { rpm: limit(5), tpd: limit(1_000), ..Limits::default() };
    let mut team = principal(PrincipalKind::Team, "team", Limits { tpm: limit(1_000), ..Limits::default() });
    team.budget = Some(Budget { max: Pico(100), soft: Some(Pico(60)), period: Period::Lifetime });
    let charges = AdmissionRequest {
        principals: vec![principal(PrincipalKind::Key, "key", limits), team],
        reservation: Reservation { input_tokens: 10, tokens: 510, input_cost: Pico(5), cost: Pico(55) },
    };
    let headers = |status: &RateLimitStatus| {
        let mut headers = Vec::new();
        status.headers(HeaderStyle::OpenAi, None, &mut |name, value| {
            if name.contains("remaining") || name.ends_with("warning") {
                headers.push(value.map(str::to_owned));
            }
        });
        headers
    };
    let first = acquire(&mut store, charges.clone(), at(0)).unwrap().status;
    let remaining = [Some("4".into()), Some("490".into()), None];
    assert_eq!(headers(&first), remaining);
    for _ in 0..2 {
        let rejected = acquire(&mut store, charges.clone(), at(1)).unwrap_err();
        assert!(matches!(rejected.error, AdmissionError::Denied(_)));
        assert_eq!(headers(&rejected.status), remaining);
        assert_eq!(rejected.status.over_soft_budget(), None);
    }
}

#[test]
fn a_reservation_of_tokens_is_reduced_to_a_limit_and_one_of_money_is_not() {
    let map = Map::new();
    let mut store = store_over(&map);
    let mut team = principal(PrincipalKind::Team, "team", Limits { tpm: limit(100), ..Limits::default() });
    let reservation = Reservation { input_tokens: 40, tokens: 4_000, input_cost: Pico(7), cost: Pico(70) };
    let receipt =
        acquire(&mut store, AdmissionRequest { principals: vec![team.clone()], reservation }, at(0))
            .unwrap()
            .receipt;
    assert!(
        settle(&mut store, receipt, ActualUsage { tokens: 60, cost: Pico(0), estimated: false }).is_empty()
    );
    let small = Reservation { input_tokens: 40, tokens: 40, input_cost: Pico(7), cost: Pico(70) };
    acquire(&mut store, AdmissionRequest { principals: vec![team.clone()], reservation: small }, at(1))
        .unwrap();

    let input_alone = Reservation { input_tokens: 101, tokens: 101, input_cost: Pico(0), cost: Pico(0) };
    let rejected = acquire(
        &mut store,
        AdmissionRequest { principals: vec![team.clone()], reservation: input_alone },
        at(2),
    );
    let Err(NotAdmitted { error: AdmissionError::Denied(denial), .. }) = rejected else {
        panic!("{rejected:?}")
    };
    assert!(matches!(denial.reason, QuotaReason::InputAboveLimit { limit: 100, input: 101, .. }));

    team.limits = Limits::default();
    team.budget = Some(Budget { max: Pico(100), soft: None, period: Period::Lifetime });
    let of = |team: &Principal, cost| AdmissionRequest {
        principals: vec![team.clone()],
        reservation: Reservation { cost: Pico(cost), ..Reservation::default() },
    };
    let receipt = acquire(&mut store, of(&team, 70), at(3)).unwrap().receipt;
    let rejected = acquire(&mut store, of(&team, 31), at(4));
    let Err(NotAdmitted { error: AdmissionError::Denied(denial), .. }) = rejected else {
        panic!("{rejected:?}")
    };
    assert!(matches!(denial.reason, QuotaReason::BudgetHeld { left: Pico(30), cost: Pico(31), .. }));
    settle(&mut store, receipt, ActualUsage { tokens: 0, cost: Pico(69), estimated: false });
    let receipt = acquire(&mut store, of(&team, 31), at(5)).unwrap().receipt;
    assert!(acquire(&mut store, of(&team, 1), at(6)).is_err());
    settle(&mut store, receipt, ActualUsage { tokens: 0, cost: Pico(31), estimated: false });
    let rejected = acquire(&mut store, of(&team, 2), at(6)).unwrap_err();
    let AdmissionError::Denied(denial) = rejected.error else { panic!("{rejected:?}") };
    assert!(matches!(denial.reason, QuotaReason::BudgetSpent { left: Pico(0), cost: Pico(2), .. }));
    assert!(matches!(
        acquire(&mut store, of(&team, 101), at(7)).unwrap_err().error,
        AdmissionError::Denied(denial) if matches!(denial.reason, QuotaReason::CostAboveBudget { .. })
    ));
}

#[test]
fn a_wait_is_short_only_while_calls_in_flight_hold_what_is_missing() {
    const CALL: u128 = 40_000_000_000;
    let denial = |store: &mut _, request: &AdmissionRequest, now| {
        let rejected = acquire(store, request.clone(), now).unwrap_err();
        let AdmissionError::Denied(denial) = rejected.error else { panic!("{rejected:?}") };
        *denial
    };
    let used = |tokens, cost| ActualUsage { tokens, cost: Pico(cost), estimated: false };
    let mut of_tokens =
        principal(PrincipalKind::Team, "team", Limits { tpd: limit(1_000), ..Limits::default() });
    let mut of_money = principal(PrincipalKind::Team, "team", Limits::default());
    of_money.budget = Some(Budget { max: Pico(CALL * 2 + CALL / 2), soft: None, period: Period::Month });
    let both = Principal { budget: of_money.budget, ..of_tokens.clone() };
    of_tokens.limits.tpm = limit(100_000);
    for team in [of_tokens, of_money, both] {
        let map = Map::new();
        let mut store = store_over(&map);
        let reservation =
            Reservation { input_tokens: 10, tokens: 400, input_cost: Pico(1), cost: Pico(CALL) };
        let request = AdmissionRequest { principals: vec![team], reservation };
        let first = acquire(&mut store, request.clone(), at(0)).unwrap().receipt;
        let second = acquire(&mut store, request.clone(), at(1)).unwrap().receipt;
        let held = denial(&mut store, &request, at(2));
        assert_eq!(held.wait, Some(SECOND), "{held:?}");
        assert!(
            matches!(held.reason, QuotaReason::LimitHeld { .. } | QuotaReason::BudgetHeld { .. }),
            "{held:?}"
        );
        // A call that used nearly all of its reservation leaves the other one in flight.
        settle(&mut store, first, used(399, CALL - 1));
        assert_eq!(denial(&mut store, &request, at(3)).wait, Some(SECOND));
        settle(&mut store, second, used(399, CALL - 1));
        let spent = denial(&mut store, &request, at(4));
        assert!(spent.wait > Some(60 * SECOND), "{spent:?}");
        assert!(
            matches!(spent.reason, QuotaReason::LimitReached { .. } | QuotaReason::BudgetSpent { .. }),
            "{spent:?}"
        );
    }
    // A call whose worker was stopped is never settled: its reservation is spent, and soon counts as such.
    let map = Map::new();
    let mut store = store_over(&map);
    let team = principal(PrincipalKind::Team, "team", Limits { tpd: limit(500), ..Limits::default() });
    let reservation = Reservation { input_tokens: 10, tokens: 400, ..Reservation::default() };
    let request = AdmissionRequest { principals: vec![team], reservation };
    acquire(&mut store, request.clone(), at(0)).unwrap();
    assert_eq!(denial(&mut store, &request, at(60_000)).wait, Some(SECOND));
    assert!(denial(&mut store, &request, at(16 * 60_000)).wait > Some(60 * SECOND));
    // Requests that ran are not returned.
    let team = principal(PrincipalKind::Team, "other", Limits { rpd: limit(1), ..Limits::default() });
    let request = AdmissionRequest { principals: vec![team], reservation };
    acquire(&mut store, request.clone(), at(0)).unwrap();
    assert!(denial(&mut store, &request, at(1)).wait > Some(60 * SECOND));
}

/// The reference: every admission with its time.
#[derive(Default)]
struct Model {
    admitted: VecDeque<u64>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Over days of random arrivals no span contains more than the limit, days reset at midnight, and a rejection names the
    /// moment from which the request is admitted.
    #[test]
    fn no_span_ever_admits_more_than_the_limit(
        gaps in proptest::collection::vec(prop_oneof![0_u64..400, 0_u64..70_000, 3_000_000_u64..30_000_000], 1..400),
        rpm in 1_u64..12, rph in 1_u64..30, rpd in 1_u64..60,
    ) {
        let map = Map::new();
        let mut store = store_over(&map);
        let limits = Limits { rpm: limit(rpm), rph: limit(rph), rpd: limit(rpd), ..Limits::default() };
        let charges = charges(vec![principal(PrincipalKind::Team, "team", limits)]);
        let mut model = Model::default();
        let mut now = at(0);
        for gap in gaps {
            now.wall += gap * 1_000_000;
            now.monotonic += gap * 1_000_000;
            let within = |span: u64| model.admitted.iter().filter(|time| **time > now.wall - span).count() as u64;
            let today = model.admitted.iter().filter(|time| **time / DAY == now.wall / DAY).count() as u64;
            // Capacity returns at most one slot late: what is free for longer must be admitted.
            let surely_free = within(61 * SECOND) < rpm && within(61 * 60 * SECOND) < rph && today < rpd;
            match acquire(&mut store, charges.clone(), now) {
                Ok(_) => {
                    prop_assert!(within(60 * SECOND) < rpm && within(3_600 * SECOND) < rph && today < rpd);
                    model.admitted.push_back(now.wall);
                }
                Err(rejected) => {
                    prop_assert!(!surely_free, "rejected although a slot late is over");
                    let AdmissionError::Denied(denial) = rejected.error else { panic!("{rejected:?}") };
                    let wait = denial.wait.expect("one request fits under every limit");
                    let moment = |wait: u64| Now { wall: now.wall + wait, monotonic: now.monotonic + wait };
                    let fork = |time| {
                        let map = map.fork();
                        acquire(&mut SharedDataStore::new(map, SharedDataKind::CompareAndSwap), charges.clone(), time).is_ok()
                    };
                    prop_assert!(wait > 0 && !fork(moment(wait - 1)), "Retry-After is too long");
                    prop_assert!(fork(moment(wait)), "Retry-After is too short");
                }
            }
        }
    }
}

/// All interleavings of a few requests, at every call of the host.
mod interleavings {
    use super::*;
    use std::collections::HashMap;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use tollgate_core::counters::{Cas, HostStatus, SharedData, SharedValue};

    /// The result of a host call.
    #[derive(Clone, PartialEq, Eq, Hash)]
    enum Call {
        Get(SharedValue),
        Set(Cas),
    }

    /// A request under way: the results of its calls so far, and its decision.
    #[derive(Clone, Default, PartialEq, Eq, Hash)]
    struct Request {
        past: Vec<Call>,
        admitted: Option<bool>,
    }

    /// Replays a request with the results it had, which leads to the same state without a call of the store, and then lets it
    /// make one more call.
    struct OneMore {
        past: VecDeque<Call>,
        map: Map,
        made: Option<Call>,
    }

    /// The error for further calls, which are not scheduled yet.
    struct NotYet;

    impl OneMore {
        fn answer<T>(
            &mut self,
            of: impl Fn(Call) -> Option<T>,
            call: impl FnOnce(&mut Map) -> Result<Call, HostStatus>,
        ) -> Result<T, HostStatus> {
            let answer = match self.past.pop_front() {
                Some(answer) => answer,
                None if self.made.is_some() => resume_unwind(Box::new(NotYet)),
                None => self.made.insert(call(&mut self.map)?).clone(),
            };
            Ok(of(answer).expect("the same calls in the same order"))
        }
    }

    impl SharedData for OneMore {
        fn get(&mut self, name: &str) -> Result<SharedValue, HostStatus> {
            let of = |call| if let Call::Get(entry) = call { Some(entry) } else { None };
            self.answer(of, |map| map.get(name).map(Call::Get))
        }
        fn set(&mut self, name: &str, bytes: &[u8], version: u32) -> Result<Cas, HostStatus> {
            let of = |call| if let Call::Set(swap) = call { Some(swap) } else { None };
            self.answer(of, |map| map.set(name, bytes, version).map(Call::Set))
        }
    }

    /// States that were explored: many schedules lead to the same state.
    struct Search {
        charges: Vec<AdmissionRequest>,
        least: usize,
        most: usize,
        schedules_from: HashMap<(Rows, Vec<Request>), u64>,
    }

    impl Search {
        /// The number of schedules from this state.
        fn explore(&mut self, map: &Map, requests: &[Request]) -> u64 {
            if requests.iter().all(|request| request.admitted.is_some()) {
                let admitted = requests.iter().filter(|request| request.admitted == Some(true)).count();
                assert!((self.least..=self.most).contains(&admitted), "{admitted} admitted");
                return 1;
            }
            let here = (map.versions(), requests.to_vec());
            if let Some(schedules) = self.schedules_from.get(&here) {
                return *schedules;
            }
            let mut schedules = 0;
            for who in 0..requests.len() {
                if requests[who].admitted.is_none() {
                    let map = map.fork();
                    let mut requests = requests.to_vec();
                    requests[who] = self.step(&map, &self.charges[who], &requests[who]);
                    schedules += self.explore(&map, &requests);
                }
            }
            self.schedules_from.insert(here, schedules);
            schedules
        }

        fn step(&self, map: &Map, charges: &AdmissionRequest, request: &Request) -> Request {
            let past = request.past.iter().cloned().collect();
            let mut store = SharedDataStore::new(
                OneMore { past, map: map.clone(), made: None },
                SharedDataKind::CompareAndSwap,
            );
            let run = catch_unwind(AssertUnwindSafe(|| acquire(&mut store, charges.clone(), at(0)).is_ok()));
            let mut request = request.clone();
            request.past.extend(store.host().made.take());
            match run {
                Ok(admitted) => request.admitted = Some(admitted),
                Err(stop) if stop.is::<NotYet>() => {}
                Err(other) => resume_unwind(other),
            }
            request
        }
    }

    fn search(charges: Vec<AdmissionRequest>, least: usize, most: usize) -> u64 {
        let requests = vec![Request::default(); charges.len()];
        let mut search = Search { charges, least, most, schedules_from: HashMap::new() };
        search.explore(&Map::new(), &requests)
    }

    fn team(rpm: u64) -> Principal {
        principal(PrincipalKind::Team, "team", Limits { rpm: limit(rpm), ..Limits::default() })
    }

    fn key(id: &str) -> Principal {
        principal(PrincipalKind::Key, id, Limits { rpm: limit(5), ..Limits::default() })
    }

    #[test]
    fn of_two_requests_for_one_place_every_schedule_admits_one() {
        let one = charges(vec![key("a"), team(1)]);
        let two = charges(vec![key("b"), team(1)]);
        let schedules = search(vec![one, two], 1, 1);
        assert!(schedules > 50, "{schedules} schedules only");
    }

    #[test]
    fn of_three_requests_for_two_places_every_schedule_admits_two() {
        let schedules = search(vec![charges(vec![team(2)]); 3], 2, 2);
        assert!(schedules > 50, "{schedules} schedules only");
    }

    #[test]
    fn of_three_requests_of_one_team_every_schedule_admits_two() {
        let of = |id| charges(vec![key(id), team(2)]);
        let schedules = search(vec![of("a"), of("b"), of("c")], 2, 2);
        assert!(schedules > 10_000, "{schedules} schedules only");
    }

    #[test]
    fn principals_that_overlap_never_admit_too_many() {
        let user = || principal(PrincipalKind::User, "user", Limits { rpm: limit(1), ..Limits::default() });
        let one = charges(vec![user(), team(1)]);
        let two = charges(vec![team(1)]);
        search(vec![one, two], 1, 1);
    }
}
