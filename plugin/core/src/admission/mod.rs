//! All principals and all windows, or none; and the correction when the true cost is known.
//!
//! Every cell is read and decided first; a refusal there has written nothing. Then each is swapped,
//! narrow to wide, deciding again where a swap was lost. A late refusal takes back, in reverse, exactly
//! what was charged. A trap in between leaves a charge: the safe side.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod headers;
pub mod status;

use alloc::boxed::Box;
use alloc::vec::Vec;

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
    /// Which level it is.
    pub scope: QuotaScope,
    /// Where it counts.
    pub record: RecordKey,
    /// Its limits as a whole.
    pub limits: Limits,
    /// The target's limits within it, by the target's fingerprint. Boxed: few have any.
    pub target_limits: Option<Box<(u64, Limits)>>,
    /// Its budget.
    pub budget: Option<Budget>,
}

impl Principal {
    /// Its limits, as a whole and of the target: whose they are, and which blocks count them.
    fn all_limits(&self) -> impl Iterator<Item = (QuotaScope, u64, &Limits)> {
        let of_target = self.target_limits.as_deref();
        let of_target = of_target.map(|(target, limits)| (self.scope.of_target(), *target, limits));
        core::iter::once((self.scope, 0, &self.limits)).chain(of_target)
    }

    /// Whether one of its limits counts tokens.
    pub fn counts_tokens(&self) -> bool {
        self.limits.counts_tokens()
            || self.target_limits.as_ref().is_some_and(|of_target| of_target.1.counts_tokens())
    }
}

/// What a request is charged before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Reservation {
    /// Tokens of the input alone, as estimated for limits.
    pub input_tokens: u64,
    /// Tokens of input and output, as estimated for limits. Cut to a limit that is smaller.
    pub tokens: u64,
    /// The most the call can cost. Never cut.
    pub cost: Pico,
}

/// What a request turned out to have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct ActualUsage {
    /// Input and output tokens.
    pub tokens: u64,
    /// Their price.
    pub cost: Pico,
    /// Whether the two rest on an estimate.
    pub estimated: bool,
}

/// The principals of one request, narrow to wide, and what it is to be charged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct AdmissionRequest {
    /// Narrow to wide: key, member, user, team, organization.
    pub principals: Vec<Principal>,
    /// Before it runs.
    pub reservation: Reservation,
}

/// What was charged to one cell, and exactly where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Hold {
    record: RecordKey,
    entries: Vec<HoldEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
// Aligned as `Pico` is.
#[repr(Rust, packed(8))]
struct HoldEntry {
    block: CounterId,
    /// Slot, day or period.
    slot: u64,
    amount: u128,
}

/// Proof of an admission; settling consumes it, so that it cannot happen twice.
#[derive(Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Receipt {
    held: Vec<Hold>,
}

impl Receipt {
    /// Whether nothing was charged.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// A correction of one cell that is still to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    held: Hold,
    change: HoldChange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HoldChange {
    /// The request never ran: everything is taken back.
    Release,
    /// It ran, and used this.
    Settle(ActualUsage),
}

/// An admitted request.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    /// To be settled once.
    pub receipt: Receipt,
    /// For the answer's headers.
    pub status: RateLimitStatus,
}

/// A request that was not admitted. Nothing is charged for it, but for what `unsettled` takes back.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAdmitted {
    /// Why.
    pub error: AdmissionError,
    /// For the answer's headers.
    pub status: RateLimitStatus,
    /// Roll-backs that lost too many swaps: to be tried again later.
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

/// A cell as it was read, charged and not yet stored.
struct Planned<V> {
    record: CounterRecord,
    version: V,
    marks: Vec<HoldEntry>,
}

/// Charges a request to all of its principals, or to none.
///
/// # Errors
/// [`NotAdmitted`] with the refusal that has the longest wait; limits before budgets.
#[allow(clippy::result_large_err, reason = "both ends of one decision, taken once a request")]
pub fn acquire<C: CounterStore>(
    store: &mut C,
    request: AdmissionRequest,
    now: Now,
) -> Result<Admitted, NotAdmitted> {
    let mut status = RateLimitStatus::default();
    if let Some(exceeded) = check_capacity(&request) {
        let why = AdmissionError::Denied(Box::new(exceeded));
        return Err(NotAdmitted { error: why, status, unsettled: Vec::new() });
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
        let marks = charge(principal, &request.reservation, &mut record, now, &mut status, &mut violations);
        planned.push(Planned { record, version, marks });
    }
    if let Some(exceeded) = violations.into_one() {
        let status = without_charges(&request.principals, planned, now);
        let why = AdmissionError::Denied(Box::new(exceeded));
        return Err(NotAdmitted { error: why, status, unsettled: Vec::new() });
    }

    let mut held = Vec::with_capacity(planned.len());
    for (principal, planned) in request.principals.iter().zip(&mut planned) {
        let swapped = store.compare_and_swap(&principal.record, planned.version, planned.record.as_bytes());
        let charged = match swapped {
            Ok(Cas::Stored) => Ok(core::mem::take(&mut planned.marks)),
            Ok(Cas::Conflict) => charge_again(store, principal, &request.reservation, now, &mut status),
            Err(error) => Err(AdmissionError::Store(error)),
        };
        match charged {
            Ok(marks) => held.push(Hold { record: principal.record.clone(), entries: marks }),
            Err(why) => {
                let unsettled = apply(store, held.into_iter().rev(), HoldChange::Release);
                return Err(NotAdmitted { error: why, status, unsettled });
            }
        }
    }
    Ok(Admitted { receipt: Receipt { held }, status })
}

/// Corrects the reservation to what was used. What is returned lost too many swaps, and is to be tried
/// again with [`retry`].
pub fn settle<C: CounterStore>(store: &mut C, receipt: Receipt, actual: ActualUsage) -> Vec<Correction> {
    let held = receipt.held.into_iter().filter(Hold::awaits_settlement);
    apply(store, held, HoldChange::Settle(actual))
}

/// Takes an admission back whose request was not sent on.
pub fn release<C: CounterStore>(store: &mut C, receipt: Receipt) -> Vec<Correction> {
    apply(store, receipt.held.into_iter().rev(), HoldChange::Release)
}

/// Tries a correction again.
pub fn retry<C: CounterStore>(store: &mut C, correction: Correction) -> Option<Correction> {
    let Correction { held, change } = correction;
    apply(store, core::iter::once(held), change).pop()
}

fn apply<C: CounterStore>(
    store: &mut C,
    held: impl Iterator<Item = Hold>,
    change: HoldChange,
) -> Vec<Correction> {
    held.filter_map(|held| {
        let done = store.update(&held.record, |record| {
            for mark in &held.entries {
                correct(record, mark, change);
            }
            Update::Write(())
        });
        done.err().map(|_| Correction { held, change })
    })
    .collect()
}

impl Hold {
    fn awaits_settlement(&self) -> bool {
        self.entries.iter().any(|mark| match mark.block.kind {
            CounterKind::Window(window) => window.counts_tokens(),
            CounterKind::Budget => true,
        })
    }
}

/// Limits and budgets that are smaller than the request itself, whatever is counted already.
fn check_capacity(request: &AdmissionRequest) -> Option<QuotaExceeded> {
    let input = request.reservation.input_tokens;
    let cost = request.reservation.cost;
    let mut violations = QuotaViolations::default();
    for principal in &request.principals {
        for (scope, _, limits) in principal.all_limits() {
            limits.below_tokens(input, &mut |window, limit| {
                let reason = QuotaReason::InputAboveLimit { window, limit, input };
                violations.add(QuotaExceeded { scope, reason, wait: None });
            });
        }
        if let Some(budget) = principal.budget.filter(|budget| cost > budget.max && budget.max.0 > 0) {
            violations.add(QuotaExceeded {
                scope: principal.scope,
                reason: QuotaReason::CostAboveBudget { max: budget.max, cost },
                wait: None,
            });
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
            let marks = charge(principal, reservation, record, now, status, &mut violations);
            match violations.into_one() {
                None => Update::Write(Ok(marks)),
                Some(exceeded) => Update::Keep(Err(AdmissionError::Denied(Box::new(exceeded)))),
            }
        })
        .map_err(AdmissionError::Store)?
}

/// Takes note of a window as it is stored. A function of its own: it would be written out for each.
#[inline(never)]
fn note(
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

/// How a request stands that was refused: nothing of it is counted.
fn without_charges<V>(whose: &[Principal], planned: Vec<Planned<V>>, now: Now) -> RateLimitStatus {
    let mut status = RateLimitStatus::default();
    for (principal, Planned { mut record, marks, .. }) in whose.iter().zip(planned) {
        for mark in &marks {
            correct(&mut record, mark, HoldChange::Release);
        }
        for (scope, target, limits) in principal.all_limits() {
            for (window, limit) in limits.iter() {
                note(&mut record, scope, target, window, limit, now, &mut status);
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

/// Decides for one cell and charges it, as long as nothing refuses. Where something does at the end, only a part of it is
/// charged, and not to be stored.
fn charge(
    principal: &Principal,
    reservation: &Reservation,
    record: &mut CounterRecord,
    now: Now,
    status: &mut RateLimitStatus,
    violations: &mut QuotaViolations,
) -> Vec<HoldEntry> {
    let mut charging = Charging { record, now, status, violations, marks: Vec::with_capacity(4) };
    for (scope, target, limits) in principal.all_limits() {
        charging.limits(scope, target, limits, reservation.tokens);
    }
    if let Some(budget) = &principal.budget {
        charging.budget(principal.scope, budget, reservation.cost);
    }
    charging.marks
}

/// A cell that is being charged, and what is found out on the way.
struct Charging<'a> {
    record: &'a mut CounterRecord,
    now: Now,
    status: &'a mut RateLimitStatus,
    violations: &'a mut QuotaViolations,
    marks: Vec<HoldEntry>,
}

impl Charging<'_> {
    // A function of its own, as is the next: they would be written out for each window of each kind of limits.
    #[inline(never)]
    fn limits(&mut self, scope: QuotaScope, target: u64, limits: &Limits, tokens: u64) {
        for (window, limit) in limits.iter() {
            let amount = if window.counts_tokens() { tokens.min(limit) } else { 1 };
            self.window(scope, target, window, limit, amount);
        }
    }

    #[inline(never)]
    fn window(&mut self, scope: QuotaScope, target: u64, window: Window, limit: u64, amount: u64) {
        let now = self.now;
        let Some(mut counter) = self.record.counter(window, target, now) else {
            // What cannot be counted is not admitted.
            let reason = QuotaReason::LimitReached { window, limit, used: limit, asked: amount };
            return self.violations.add(QuotaExceeded { scope, reason, wait: None });
        };
        let mut used = counter.used();
        if used.saturating_add(amount) > limit {
            let reason = QuotaReason::LimitReached { window, limit, used, asked: amount };
            let wait = counter.wait(now, amount, limit);
            self.violations.add(QuotaExceeded { scope, reason, wait });
        } else if self.violations.is_empty() {
            counter.charge(amount);
            used = used.saturating_add(amount);
            let block = CounterId { kind: CounterKind::Window(window), target };
            self.marks.push(HoldEntry { block, slot: counter.slot(), amount: u128::from(amount) });
        }
        self.status.record_window(scope, window, limit, used, || counter.until_empty(now));
    }

    fn budget(&mut self, scope: QuotaScope, budget: &Budget, cost: Pico) {
        let Some((mut spend, stored)) = self.record.spend_mut() else {
            // What cannot be counted is not admitted.
            let reason =
                QuotaReason::BudgetSpent { max: budget.max, left: Pico(0), cost, period: budget.period };
            return self.violations.add(QuotaExceeded { scope, reason, wait: None });
        };
        spend.advance(budget.period, self.now.wall);
        let left = Pico(budget.max.0.saturating_sub(spend.spent().0));
        if cost > left || left.0 == 0 {
            let reason = QuotaReason::BudgetSpent { max: budget.max, left, cost, period: budget.period };
            // A budget of nothing is one in the next period too.
            let wait = spend.until_over(self.now.wall).filter(|_| budget.max.0 > 0);
            self.violations.add(QuotaExceeded { scope, reason, wait });
        } else if self.violations.is_empty() {
            spend.charge(cost);
            let block = CounterId { kind: CounterKind::Budget, target: 0 };
            self.marks.push(HoldEntry { block, slot: spend.number(), amount: cost.0 });
            spend.store(stored);
        }
        self.status.record_budget(scope, budget, spend.spent());
    }
}

fn correct(record: &mut CounterRecord, mark: &HoldEntry, change: HoldChange) {
    let actual = match change {
        HoldChange::Release => ActualUsage::default(),
        HoldChange::Settle(actual) => actual,
    };
    match mark.block.kind {
        CounterKind::Window(window) => {
            // A settlement leaves requests as they are counted.
            if matches!(change, HoldChange::Settle(_)) && !window.counts_tokens() {
                return;
            }
            if let Some(mut counter) = record.stored_counter(window, mark.block.target) {
                counter.correct(mark.slot, u64::try_from(mark.amount).unwrap_or(u64::MAX), actual.tokens);
            }
        }
        CounterKind::Budget => {
            record.correct_spend(|spend| {
                spend.correct(mark.slot, Pico(mark.amount), actual.cost, actual.estimated);
            });
        }
    }
}
