//! A hundred thousand damaged records: each is accepted or rejected, and an accepted one can be charged and settled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/random.rs"]
mod random;
mod support;

use std::num::NonZeroU64;

use random::Random;
use support::Map;
use tollgate_core::admission::{ActualUsage, AdmissionRequest, Principal, Reservation, acquire, settle};
use tollgate_core::counters::{RecordKey, SharedData, SharedDataKind, SharedDataStore};
use tollgate_core::money::{Budget, Period, Pico};
use tollgate_core::quota::Limits;
use tollgate_core::quota::{PrincipalKind, QuotaScope};
use tollgate_core::time::{DAY, Now};

const INPUTS: usize = 100_000;
/// The length of a record's header, equal in all samples.
const HEADER: usize = 16;
const NOW: u64 = 20_000 * DAY;

fn principal(target: bool) -> Principal {
    let limit = NonZeroU64::new(1_000_000);
    let limits = Limits { rpm: limit, tpm: limit, rph: limit, rpd: limit, tpd: limit };
    Principal {
        scope: QuotaScope::whole(PrincipalKind::Team),
        record: RecordKey::new("t/", &["team", "blue"]),
        limits,
        target_limits: target.then(|| Box::new((77, limits))),
        budget: Some(Budget { max: Pico(1_000_000), soft: None, period: Period::Day }),
    }
}

fn charges(target: bool) -> AdmissionRequest {
    let reservation = Reservation { input_tokens: 5, tokens: 50, input_cost: Pico(4), cost: Pico(40) };
    AdmissionRequest { principals: vec![principal(target)], reservation }
}

/// Records that admissions have written, with and without limits of a target.
fn samples() -> Vec<Vec<u8>> {
    let record = |target| {
        let map = Map::new();
        let mut store = SharedDataStore::new(map.clone(), SharedDataKind::CompareAndSwap);
        for second in 0..3 {
            let now = Now { wall: NOW + second, monotonic: NOW + second * 1_000_000_000 };
            acquire(&mut store, charges(target), now).unwrap();
        }
        map.rows().remove("t/team/blue").unwrap()
    };
    vec![record(false), record(true)]
}

#[test]
fn damaged_records_are_accepted_or_rejected() {
    let samples = samples();
    let words: [&[u8]; 4] = [&[0xff; 16], &[0; 16], &[0x80], b"TG"];
    let (mut random, mut admitted, mut rejected) = (Random(4), 0, 0);
    for _ in 0..INPUTS {
        let mut record = random.mutated(&samples, &words);
        // Every fourth keeps its header and length, so that the damage after the header is reached.
        if random.below(4) == 0 {
            record.clone_from(random.pick(&samples));
            for _ in 0..=random.below(4) {
                let at = HEADER + random.below(record.len() - HEADER);
                record[at] = u8::try_from(random.below(256)).unwrap();
            }
        }
        let mut map = Map::new();
        map.set("t/team/blue", &record, 0).unwrap();
        let mut store = SharedDataStore::new(map, SharedDataKind::CompareAndSwap);
        let now = Now { wall: NOW + random.next() % DAY, monotonic: random.next() >> 1 };
        match acquire(&mut store, charges(random.below(2) == 1), now) {
            Ok(done) => {
                admitted += 1;
                let actual =
                    ActualUsage { tokens: random.next(), cost: Pico(random.next().into()), estimated: false };
                assert_eq!(settle(&mut store, done.receipt, actual), []);
            }
            Err(_) => rejected += 1,
        }
    }
    assert!(admitted > INPUTS / 20 && rejected > INPUTS / 10, "{admitted} admitted, {rejected} rejected");
}
