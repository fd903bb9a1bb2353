//! Admission: a request is charged to all windows of all its principals, or to none; settlement corrects the charge
//! when the usage is known.
//!
//! First every record is read and decided; a rejection there has written nothing. Then each record is written by
//! compare-and-swap, narrow to wide, and decided again after a conflict. A late rejection releases, in reverse, exactly
//! the amounts that were charged. A trap in between leaves a charge, which is the safe side.

mod charge;
pub mod headers;
pub mod status;

use alloc::boxed::Box;
use alloc::vec::Vec;

use charge::{charge, correct};

use crate::admission::status::RateLimitStatus;
use crate::counters::{
    Cas, CounterId, CounterKind, CounterRecord, CounterStore, RecordKey, StoreError, Update,
};
use crate::money::{Budget, Pico};
use crate::quota::{Limits, QuotaExceeded, QuotaReason, QuotaScope, QuotaViolations, Window};
use crate::time::Now;

/// One principal that governs the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Principal {
    /// The principal's level.
    pub scope: QuotaScope,
    /// The name of its counter record.
    pub record: RecordKey,
    /// The limits of all its use.
    pub limits: Limits,
    /// The limits of its use of the request's target, with the target's fingerprint. Boxed: few principals have any.
    pub target_limits: Option<Box<(u64, Limits)>>,
    /// Its budget.
    pub budget: Option<Budget>,
}

impl Principal {
    /// Each set of limits with its scope and the fingerprint of the target that it counts; 0 for all targets.
    pub(crate) fn all_limits(&self) -> impl Iterator<Item = (QuotaScope, u64, &Limits)> {
        let of_target = self.target_limits.as_deref();
        let of_target = of_target.map(|(target, limits)| (self.scope.of_target(), *target, limits));
        core::iter::once((self.scope, 0, &self.limits)).chain(of_target)
    }

    /// Removes its budget and its limits of tokens, for a call that has neither cost nor tokens. Returns true if a limit
    /// is left.
    pub fn keep_request_limits(&mut self) -> bool {
        self.budget = None;
        self.limits.remove_tokens();
        if let Some(of_target) = &mut self.target_limits {
            of_target.1.remove_tokens();
        }
        self.all_limits().any(|(_, _, limits)| !limits.is_empty())
    }

    /// True if one of its limits counts tokens.
    pub fn counts_tokens(&self) -> bool {
        self.limits.counts_tokens()
            || self.target_limits.as_ref().is_some_and(|of_target| of_target.1.counts_tokens())
    }
}

/// The amounts that a request is charged before it is forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Reservation {
    /// Estimated tokens of the input alone, for limits.
    pub input_tokens: u64,
    /// Estimated tokens of input and output, for limits. Capped at a limit that is smaller when
    /// it is charged there.
    pub tokens: u64,
    /// The part of `cost` that a lower maximum of output tokens does not change: the input, and the price of the call. For
    /// messages only: it is not sent with a reservation.
    #[cfg_attr(feature = "wire", serde(skip))]
    pub input_cost: Pico,
    /// The most that the call can cost. Never reduced.
    pub cost: Pico,
}

/// The usage of a finished request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct ActualUsage {
    /// Input and output tokens.
    pub tokens: u64,
    /// Their price.
    pub cost: Pico,
    /// True if both are estimates.
    pub estimated: bool,
}

/// The principals of one request, and the amounts to charge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct AdmissionRequest {
    /// Narrow to wide: key, member, user, team, organization.
    pub principals: Vec<Principal>,
    /// The amounts to charge.
    pub reservation: Reservation,
}

/// The amounts charged to one record, and the slots they were charged to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Hold {
    record: RecordKey,
    entries: Vec<HoldEntry>,
}

/// The amount charged to one counter of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
// Aligned as `Pico` is.
#[repr(Rust, packed(8))]
pub(crate) struct HoldEntry {
    /// The counter.
    pub(crate) block: CounterId,
    /// The number of the slot, day or period.
    pub(crate) slot: u64,
    /// The amount.
    pub(crate) amount: u128,
}

/// The charges of an admission. Settlement consumes it, so that it cannot happen twice.
#[derive(Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Receipt {
    held: Vec<Hold>,
    /// The id that the gateway had in its fleet; 0 if the counters are its own.
    #[cfg_attr(feature = "wire", serde(skip))]
    under: u128,
}

impl Receipt {
    /// True if nothing was charged.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// An empty receipt of a gateway that has this id in its fleet.
    pub(crate) fn under(gateway: u128) -> Self {
        Receipt { held: Vec::new(), under: gateway }
    }

    /// The id that the gateway had in its fleet.
    pub(crate) fn gateway(&self) -> u128 {
        self.under
    }

    /// Adds the charges of one record.
    pub(crate) fn push(&mut self, record: RecordKey, entries: Vec<HoldEntry>) {
        self.held.push(Hold { record, entries });
    }

    /// The releases of all charges, for [`retry`].
    pub fn into_corrections(self) -> Vec<Correction> {
        let Receipt { held, under } = self;
        let release = |held| Correction { held, change: HoldChange::Release, under };
        held.into_iter().rev().map(release).collect()
    }
}

/// A correction of one record that is still to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    held: Hold,
    change: HoldChange,
    under: u128,
}

/// The change of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldChange {
    /// The request was never forwarded: everything is released.
    Release,
    /// The request was forwarded, with this usage.
    Settle(ActualUsage),
}

/// An admitted request.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The charges, to be settled once.
    pub receipt: Receipt,
    /// The state of the limits, for the response headers.
    pub status: RateLimitStatus,
}

/// A request that was not admitted. Nothing is charged for it except what `unsettled` will release.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAdmitted {
    /// The reason.
    pub error: AdmissionError,
    /// The state of the limits, for the response headers.
    pub status: RateLimitStatus,
    /// Releases that failed, to be retried later.
    pub unsettled: Vec<Correction>,
}

/// The reason why a request was not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// A limit or a budget is exceeded.
    #[error("{} exceeded", .0.label())]
    Denied(Box<QuotaExceeded>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A record that was read and charged, and is not yet stored.
struct Planned<V> {
    record: CounterRecord,
    version: V,
    entries: Vec<HoldEntry>,
}

/// Charges a request to all of its principals, or to none.
///
/// # Errors
/// [`NotAdmitted`]. If several limits or budgets are exceeded, it names a limit before a budget, and the one with the
/// longest wait.
#[allow(clippy::result_large_err, reason = "both ends of one decision, taken once a request")]
pub fn acquire<C: CounterStore>(
    store: &mut C,
    request: AdmissionRequest,
    now: Now,
) -> Result<Admitted, NotAdmitted> {
    let mut status = RateLimitStatus::default();
    if let Some(exceeded) = check_capacity(&request) {
        let error = AdmissionError::Denied(Box::new(exceeded));
        return Err(NotAdmitted { error, status, unsettled: Vec::new() });
    }

    let mut violations = QuotaViolations::default();
    let mut planned = Vec::with_capacity(request.principals.len());
    for principal in &request.principals {
        let read = store.read(&principal.record).and_then(|(bytes, version)| {
            Ok((CounterRecord::open(bytes, principal.record.fingerprint())?, version))
        });
        let (mut record, version) = match read {
            Ok(read) => read,
            Err(error) => {
                return Err(NotAdmitted {
                    error: AdmissionError::Store(error),
                    status,
                    unsettled: Vec::new(),
                });
            }
        };
        let entries = charge(principal, &request.reservation, &mut record, now, &mut status, &mut violations);
        planned.push(Planned { record, version, entries });
    }
    if let Some(exceeded) = violations.into_one() {
        let status = without_charges(&request.principals, planned, now);
        let error = AdmissionError::Denied(Box::new(exceeded));
        return Err(NotAdmitted { error, status, unsettled: Vec::new() });
    }

    let mut held = Vec::with_capacity(planned.len());
    for (principal, planned) in request.principals.iter().zip(&mut planned) {
        let swapped = store.compare_and_swap(&principal.record, planned.version, planned.record.as_bytes());
        let charged = match swapped {
            Ok(Cas::Stored) => Ok(core::mem::take(&mut planned.entries)),
            Ok(Cas::Conflict) => charge_again(store, principal, &request.reservation, now, &mut status),
            Err(error) => Err(AdmissionError::Store(error)),
        };
        match charged {
            Ok(entries) => held.push(Hold { record: principal.record.clone(), entries }),
            Err(error) => {
                let unsettled =
                    apply::<CounterRecord, _>(store, held.into_iter().rev(), HoldChange::Release, 0);
                return Err(NotAdmitted { error, status, unsettled });
            }
        }
    }
    Ok(Admitted { receipt: Receipt { held, under: 0 }, status })
}

/// Settles an admission: corrects the reservation to the actual usage. Returns the corrections that failed, for
/// [`retry`].
pub fn settle<C: CounterStore>(store: &mut C, receipt: Receipt, actual: ActualUsage) -> Vec<Correction> {
    settle_account::<CounterRecord, C>(store, receipt, actual)
}

/// Releases an admission whose request was not forwarded. Returns the corrections that failed, for [`retry`].
pub fn release<C: CounterStore>(store: &mut C, receipt: Receipt) -> Vec<Correction> {
    release_account::<CounterRecord, C>(store, receipt)
}

/// Retries a correction. Returns it if it failed again.
pub fn retry<C: CounterStore>(store: &mut C, correction: Correction) -> Option<Correction> {
    retry_account::<CounterRecord, C>(store, correction)
}

/// The kind of record that charges go to: the counters of a gateway, or its slices of a fleet's.
pub(crate) trait Account: Sized {
    /// Opens a stored record; empty bytes are a record without charges.
    fn open(bytes: Vec<u8>, fingerprint: u64) -> Result<Self, StoreError>;

    /// Changes a charge that was made while the gateway had the id `under`.
    fn correct(&mut self, entry: &HoldEntry, change: HoldChange, under: u128);

    /// The bytes to store.
    fn into_bytes(self) -> Vec<u8>;
}

impl Account for CounterRecord {
    fn open(bytes: Vec<u8>, fingerprint: u64) -> Result<Self, StoreError> {
        CounterRecord::open(bytes, fingerprint)
    }

    fn correct(&mut self, entry: &HoldEntry, change: HoldChange, _: u128) {
        correct(self, entry, change);
    }

    fn into_bytes(self) -> Vec<u8> {
        CounterRecord::into_bytes(self)
    }
}

/// [`settle`] for any kind of record.
pub(crate) fn settle_account<A: Account, C: CounterStore>(
    store: &mut C,
    receipt: Receipt,
    actual: ActualUsage,
) -> Vec<Correction> {
    let Receipt { held, under } = receipt;
    let held = held.into_iter().filter(Hold::awaits_settlement);
    apply::<A, C>(store, held, HoldChange::Settle(actual), under)
}

/// [`release`] for any kind of record.
pub(crate) fn release_account<A: Account, C: CounterStore>(
    store: &mut C,
    receipt: Receipt,
) -> Vec<Correction> {
    let Receipt { held, under } = receipt;
    apply::<A, C>(store, held.into_iter().rev(), HoldChange::Release, under)
}

/// [`retry`] for any kind of record.
pub(crate) fn retry_account<A: Account, C: CounterStore>(
    store: &mut C,
    correction: Correction,
) -> Option<Correction> {
    let Correction { held, change, under } = correction;
    apply::<A, C>(store, core::iter::once(held), change, under).pop()
}

fn apply<A: Account, C: CounterStore>(
    store: &mut C,
    held: impl Iterator<Item = Hold>,
    change: HoldChange,
    under: u128,
) -> Vec<Correction> {
    held.filter_map(|held| {
        let done = store.update_bytes::<_, StoreError>(&held.record, |_, bytes| {
            let mut record = A::open(core::mem::take(bytes), held.record.fingerprint())?;
            for entry in &held.entries {
                record.correct(entry, change, under);
            }
            *bytes = record.into_bytes();
            Ok(Update::Write(()))
        });
        done.err().map(|_| Correction { held, change, under })
    })
    .collect()
}

impl Hold {
    fn awaits_settlement(&self) -> bool {
        self.entries.iter().any(|entry| match entry.block.kind {
            CounterKind::Window(window) => window.counts_tokens(),
            CounterKind::Budget => true,
        })
    }
}

/// Returns a limit or budget that is smaller than the request itself, whatever is counted already.
pub(crate) fn check_capacity(request: &AdmissionRequest) -> Option<QuotaExceeded> {
    let input = request.reservation.input_tokens;
    let cost = request.reservation.cost;
    let mut violations = QuotaViolations::default();
    for principal in &request.principals {
        for (scope, _, limits) in principal.all_limits() {
            limits.below_tokens(input, &mut |window, limit| {
                let reason = QuotaReason::InputAboveLimit { window, limit, input };
                violations.add(QuotaExceeded::new(scope, reason, None));
            });
        }
        if let Some(budget) = principal.budget.filter(|budget| cost > budget.max && budget.max.0 > 0) {
            let reason = QuotaReason::CostAboveBudget { max: budget.max, cost };
            violations.add(QuotaExceeded::new(principal.scope, reason, None));
        }
    }
    violations.into_one()
}

fn charge_again<C: CounterStore>(
    store: &mut C,
    principal: &Principal,
    reservation: &Reservation,
    now: Now,
    status: &mut RateLimitStatus,
) -> Result<Vec<HoldEntry>, AdmissionError> {
    store
        .update(&principal.record, |record| {
            let mut violations = QuotaViolations::default();
            let entries = charge(principal, reservation, record, now, status, &mut violations);
            match violations.into_one() {
                None => Update::Write(Ok(entries)),
                Some(exceeded) => Update::Keep(Err(AdmissionError::Denied(Box::new(exceeded)))),
            }
        })
        .map_err(AdmissionError::Store)?
}

/// Records the stored state of a window.
// Not inlined: it would be copied for each window.
#[inline(never)]
fn record_stored(
    record: &mut CounterRecord,
    scope: QuotaScope,
    target: u64,
    window: Window,
    limit: u64,
    now: Now,
    status: &mut RateLimitStatus,
) {
    if let Some(counter) = record.stored_counter(window, target) {
        status.record_window(scope, window, limit, counter.used(), || counter.until_empty(now));
    }
}

/// The status of a rejected request, without its own charges.
fn without_charges<V>(principals: &[Principal], planned: Vec<Planned<V>>, now: Now) -> RateLimitStatus {
    let mut status = RateLimitStatus::default();
    for (principal, Planned { mut record, entries, .. }) in principals.iter().zip(planned) {
        for entry in &entries {
            correct(&mut record, entry, HoldChange::Release);
        }
        for (scope, target, limits) in principal.all_limits() {
            for (window, limit) in limits.iter() {
                record_stored(&mut record, scope, target, window, limit, now, &mut status);
            }
        }
        if let Some(budget) = principal.budget {
            let mut spend = record.spend();
            spend.advance(budget.period, now.wall);
            status.record_budget(principal.scope, &budget, spend.spent());
        }
    }
    status
}
