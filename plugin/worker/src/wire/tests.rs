//! The bytes of format 1 in objects of running deployments: a build that writes another format must still
//! read these.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZeroU64;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tollgate_core::admission::{
    self, ActualUsage, AdmissionError, AdmissionRequest, Admitted, NotAdmitted, Principal, Reservation,
};
use tollgate_core::counters::{Cas, CounterStore, RecordKey, StoreError};
use tollgate_core::money::{Budget, DOLLAR, Period, Pico};
use tollgate_core::quota::{Limits, Window};
use tollgate_core::quota::{PrincipalKind, QuotaExceeded, QuotaReason, QuotaScope};
use tollgate_core::text::hash::fingerprint;
use tollgate_core::time::{Now, SECOND};

use super::{FORMAT, Outcome, Reserved, WireError, decode, encode};

#[derive(Default)]
struct Map(BTreeMap<String, Vec<u8>>);

impl CounterStore for Map {
    type Version = ();

    fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, ()), StoreError> {
        Ok((self.0.get(name.as_str()).cloned().unwrap_or_default(), ()))
    }

    fn compare_and_swap(&mut self, name: &RecordKey, (): (), bytes: &[u8]) -> Result<Cas, StoreError> {
        self.0.insert(name.as_str().to_owned(), bytes.to_vec());
        Ok(Cas::Stored)
    }
}

fn now() -> Now {
    let nanoseconds = 1_795_600_000 * SECOND;
    Now { wall: nanoseconds, monotonic: nanoseconds }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[track_caller]
fn pinned<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T, hex: &str) {
    let written: String = encode(message).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(decode::<T>(&bytes(hex)).as_ref(), Ok(message), "it is {written}");
    assert_eq!(bytes(&written), bytes(hex), "it is {written}");
}

/// Returns the charges of a key, a team with every limit, and an organization.
fn charges() -> AdmissionRequest {
    let limit = NonZeroU64::new;
    let principal = |level, parts: &[&str]| Principal {
        scope: QuotaScope::whole(level),
        record: RecordKey::new("tollgate/1/", parts),
        limits: Limits::default(),
        target_limits: None,
        budget: None,
    };
    let team = Principal {
        limits: Limits {
            rpm: limit(10),
            tpm: limit(1_000),
            rph: limit(20),
            rpd: limit(30),
            tpd: limit(5_000),
        },
        target_limits: Some(Box::new((
            fingerprint(b"gpt-5-mini"),
            Limits { tpd: limit(700), ..Limits::default() },
        ))),
        budget: Some(Budget { max: Pico(2 * DOLLAR), soft: Some(Pico(3)), period: Period::Month }),
        ..principal(PrincipalKind::Team, &["team", "ml"])
    };
    let organization = Principal {
        budget: Some(Budget { max: Pico(u128::MAX), soft: None, period: Period::Lifetime }),
        ..principal(PrincipalKind::Organization, &["organization", "acme"])
    };
    AdmissionRequest {
        principals: vec![principal(PrincipalKind::Key, &["key", "laptop"]), team, organization],
        reservation: Reservation {
            input_tokens: 12,
            tokens: 612,
            input_cost: Pico(0),
            cost: Pico(340_000_000),
        },
    }
}

fn admitted() -> Admitted {
    admission::acquire(&mut Map::default(), charges(), now()).unwrap()
}

#[test]
fn messages_of_a_worker() {
    pinned(
        &charges(),
        "0103000015746f6c6c676174652f312f6b65792f6c6170746f70bc87c3e1dcb78f877c0000000000000003001274\
        6f6c6c676174652f312f7465616d2f6d6cfbbaedbe94c1f6b3e601010a01e8070114011e01882701c0f9a4d1d5e3\
        c58e5c0000000001bc050180c0a8ca9a3a01030304001c746f6c6c676174652f312f6f7267616e697a6174696f6e\
        2f61636d65beaadfd7e29e95c03700000000000001ffffffffffffffffffffffffffffffffffff0300040ce40480\
        fa8fa201",
    );
    pinned(&ActualUsage { tokens: 77, cost: Pico(5_000_000_000), estimated: true }, "014d80e497d01201");
}

#[test]
fn records_of_an_object() {
    let reserved = Reserved { receipt: admitted().receipt, amount: charges().reservation };
    pinned(
        &reserved,
        "010315746f6c6c676174652f312f6b65792f6c6170746f70bc87c3e1dcb78f877c0012746f6c6c676174652f312f\
        7465616d2f6d6cfbbaedbe94c1f6b3e6010700000080dd9ad8060100010080dd9ad806e4040002008acaa20e0100\
        0300aea20101000400aea201e4040004c0f9a4d1d5e3c58e5caea201e404010082be0180fa8fa2011c746f6c6c67\
        6174652f312f6f7267616e697a6174696f6e2f61636d65beaadfd7e29e95c0370101000080fa8fa2010ce40480fa\
        8fa201",
    );
}

#[test]
fn responses_of_an_object() {
    pinned(
        &Outcome::Admitted(admitted().status),
        "0100010300000a0980c4889fe30101030104bc05588080c0ee8ed20b010300",
    );
    let mut cells = Map::default();
    admission::acquire(&mut cells, charges(), now()).unwrap();
    let Err(NotAdmitted { error: AdmissionError::Denied(denial), status: standing, .. }) =
        admission::acquire(&mut cells, charges(), now())
    else {
        panic!("612 of 700 tokens are reserved");
    };
    // The first call has not ended. The bytes are those of a limit that is used up.
    let QuotaReason::LimitHeld { window: Window::Tpm, limit: 1_000, used, requested } = denial.reason else {
        panic!("{denial:?}");
    };
    let reason = QuotaReason::LimitReached { window: Window::Tpd, limit: 700, used, requested };
    let midnight = 86_400 * SECOND - now().wall % (86_400 * SECOND);
    let denial = QuotaExceeded::new(denial.scope.of_target(), reason, Some(midnight));
    pinned(
        &Outcome::Denied(denial, standing),
        "010103010004bc05e404e404018080c0ee8ed20b010300000a0980c4889fe30101030104bc05588080c0ee8ed20b\
        010300",
    );
}

#[test]
fn every_reason_level_window_and_period() {
    let (max, left, cost) = (Pico(3), Pico(2), Pico(u128::MAX));
    let window = Window::Tpd;
    pinned(
        &vec![
            QuotaReason::LimitReached { window, limit: 5, used: 4, requested: 300 },
            QuotaReason::InputAboveLimit { window, limit: 5, input: 6 },
            QuotaReason::BudgetSpent { max, left, cost, period: Period::Week },
            QuotaReason::CostAboveBudget { max, cost },
        ],
        "010400040504ac0201040506020302ffffffffffffffffffffffffffffffffffff03020303ffffffffffffffffff\
         ffffffffffffffffff03",
    );
    pinned(
        &vec![
            QuotaReason::LimitHeld { window, limit: 5, used: 4, requested: 300 },
            QuotaReason::BudgetHeld { max: left, left, cost: max, period: Period::Week },
        ],
        "010204040504ac020502020302",
    );
    let scope = QuotaScope { principal: PrincipalKind::Team, target: true };
    pinned(
        &QuotaExceeded::new(scope, QuotaReason::CostAboveBudget { max, cost: left }, None),
        "01030103030200",
    );
    pinned(
        &vec![
            PrincipalKind::Key,
            PrincipalKind::Member,
            PrincipalKind::User,
            PrincipalKind::Team,
            PrincipalKind::Organization,
        ],
        "01050001020304",
    );
    pinned(&Window::ALL.to_vec(), "01050001020304");
    pinned(&vec![Period::Hour, Period::Day, Period::Week, Period::Month, Period::Lifetime], "01050001020304");
}

#[test]
fn another_format_is_rejected_by_its_number() {
    let mut message = encode(&ActualUsage::default()).unwrap();
    message[0] = FORMAT + 1;
    let refused = decode::<ActualUsage>(&message).unwrap_err();
    assert_eq!(refused, WireError::Format(Some(2)));
    assert_eq!(refused.to_string(), "a message of format 2, but this build reads 1");
    assert_eq!(decode::<ActualUsage>(&[]).unwrap_err().to_string(), "an empty message");
}

#[test]
fn a_damaged_message_is_refused() {
    let whole = encode(&charges()).unwrap();
    for length in 1..whole.len() {
        assert_eq!(decode::<AdmissionRequest>(&whole[..length]), Err(WireError::Malformed), "{length}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert_eq!(decode::<AdmissionRequest>(&longer), Err(WireError::Malformed));
}
