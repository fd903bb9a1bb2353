//! Charging and correcting the slices of a request's principals.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::index::Index;
use crate::admission::status::RateLimitStatus;
use crate::admission::{
    Account, ActualUsage, AdmissionError, AdmissionRequest, Admitted, HoldChange, HoldEntry, NotAdmitted,
    Principal, Receipt, Reservation, release_account,
};
use crate::counters::{Cas, CounterId, CounterKind, CounterStore, RecordKey, StoreError, Update};
use crate::fleet::{Ask, FleetNow, FleetTime, GatewayId, Local, Refused, RefusedBy, Row, Slice, Term};
use crate::money::{Budget, Period, Pico};
use crate::quota::{QuotaExceeded, QuotaReason, QuotaScope, QuotaViolations};

/// This gateway in its fleet, at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) gateway: GatewayId,
    pub(super) fleet: FleetNow,
    /// The revision of the policy that the request was decided on.
    pub(super) policy: u64,
}

/// A slice record, and the fingerprint of its name.
pub(super) struct SliceAccount {
    slice: Slice,
    fingerprint: u64,
}

impl Account for SliceAccount {
    fn open(bytes: Vec<u8>, fingerprint: u64) -> Result<Self, StoreError> {
        Ok(SliceAccount { slice: Slice::open(&bytes, fingerprint, GatewayId(0))?, fingerprint })
    }

    fn correct(&mut self, entry: &HoldEntry, change: HoldChange, under: u128) {
        let HoldEntry { block, slot, amount } = *entry;
        let actual = match change {
            HoldChange::Release => ActualUsage::default(),
            HoldChange::Settle(actual) => actual,
        };
        let amount_of = match block.kind {
            // A settlement leaves requests as they are counted.
            CounterKind::Window(window) if !window.counts_tokens() => match change {
                HoldChange::Settle(_) => return,
                HoldChange::Release => 0,
            },
            CounterKind::Window(_) => u128::from(actual.tokens),
            CounterKind::Budget => actual.cost.0,
        };
        self.slice.settle(block, slot, amount, amount_of, actual.estimated, GatewayId(under));
    }

    fn into_bytes(self) -> Vec<u8> {
        bytes_of(&self.slice, self.fingerprint)
    }
}

/// The bytes of a slice record; none for an empty one.
pub(super) fn bytes_of(slice: &Slice, fingerprint: u64) -> Vec<u8> {
    if slice.blocks.is_empty() && slice.pending.is_empty() { Vec::new() } else { slice.to_bytes(fingerprint) }
}

/// The amount that a request needs of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    scope: QuotaScope,
    /// The amount, limit and term.
    pub(super) ask: Ask,
    budget: Option<Budget>,
}

/// The amounts that a request needs of a principal.
pub(super) fn needs(principal: &Principal, reservation: &Reservation, policy: u64) -> Vec<Need> {
    let mut needs = Vec::with_capacity(4);
    for (scope, target, limits) in principal.all_limits() {
        needs.extend(limits.iter().map(|(window, limit)| {
            let kind = CounterKind::Window(window);
            let amount = if window.counts_tokens() { reservation.tokens.min(limit) } else { 1 };
            let (amount, limit) = (u128::from(amount), u128::from(limit));
            let (id, term) = (CounterId { kind, target }, Term::of(kind, Period::Day));
            Need { scope, ask: Ask { id, term, limit, policy, amount }, budget: None }
        }));
    }
    if let Some(budget) = principal.budget {
        let kind = CounterKind::Budget;
        let (id, term) = (CounterId { kind, target: 0 }, Term::of(kind, budget.period));
        // A call without cost is rejected too once nothing is left.
        let amount = reservation.cost.0.max(1);
        let ask = Ask { id, term, limit: budget.max.0, policy, amount };
        needs.push(Need { scope: principal.scope, ask, budget: Some(budget) });
    }
    needs
}

impl Need {
    pub(super) fn entry(&self, slot: u64) -> HoldEntry {
        HoldEntry { block: self.ask.id, slot, amount: self.ask.amount }
    }

    /// The violation by a request that does not fit before `wait` ns have passed.
    fn exceeded(&self, used: u128, wait: Option<u64>, is_held: bool) -> QuotaExceeded {
        let Ask { limit, amount, .. } = self.ask;
        let count = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
        let reason = match (self.ask.id.kind, self.budget) {
            (CounterKind::Window(window), _) => QuotaReason::LimitReached {
                window,
                limit: count(limit),
                used: count(used),
                requested: count(amount),
            },
            (CounterKind::Budget, budget) => QuotaReason::BudgetSpent {
                max: Pico(limit),
                left: Pico(limit.saturating_sub(used)),
                cost: Pico(amount),
                period: budget.map_or(Period::Lifetime, |budget| budget.period),
            },
        };
        let reason = if is_held { reason.held() } else { reason };
        QuotaExceeded::new(self.scope, reason, wait)
    }

    /// The violation that a call found.
    pub(super) fn refused(&self, refused: &Refused, now: FleetNow) -> QuotaExceeded {
        let until = |time: FleetTime| time.0.saturating_sub(now.earliest.0);
        let (is_held, wait) = match refused.by {
            RefusedBy::Spent => (false, refused.fits_at.map(until)),
            RefusedBy::InFlight | RefusedBy::Leases | RefusedBy::OldPolicy | RefusedBy::Restored => {
                (true, Some(until(refused.until)))
            }
        };
        self.exceeded(refused.used, wait, is_held)
    }

    /// Records the state of the counter as this gateway knows it, for headers.
    pub(super) fn record(&self, slice: &Slice, now: FleetNow, status: &mut RateLimitStatus) {
        self.record_used(slice.block(self.ask.id).map_or(0, |block| block.used()), now, status);
    }

    /// Records the state of the counter in the fleet, for headers.
    pub(super) fn record_row(&self, row: &Row, now: FleetNow, status: &mut RateLimitStatus) {
        self.record_used(row.block(self.ask.id).map_or(0, |block| block.used(now)), now, status);
    }

    fn record_used(&self, used: u128, now: FleetNow, status: &mut RateLimitStatus) {
        match (self.ask.id.kind, self.budget) {
            (CounterKind::Window(window), _) => {
                let [used, limit] =
                    [used, self.ask.limit].map(|number| u64::try_from(number).unwrap_or(u64::MAX));
                status.record_window(self.scope, window, limit, used, || self.until_empty(used, now));
            }
            (CounterKind::Budget, Some(budget)) => status.record_budget(self.scope, &budget, Pico(used)),
            (CounterKind::Budget, None) => {}
        }
    }

    /// Nanoseconds until the counter is empty if no other request comes.
    fn until_empty(&self, used: u64, now: FleetNow) -> u64 {
        let leaves = self.ask.term.leaves(self.ask.term.stamp(now)).map_or(0, |time| time.0);
        if used == 0 { 0 } else { leaves.saturating_sub(now.earliest.0) }
    }
}

/// The result of charging a principal's slice.
enum Charged {
    /// The amounts are charged.
    Covered(Vec<HoldEntry>),
    /// A call is needed. Nothing is charged.
    Missing,
    /// The fleet has nothing left.
    Exceeded,
}

/// Charges a slice, all of the amounts or none.
fn charge(slice: &mut Slice, needs: &[Need], now: FleetNow, violations: &mut QuotaViolations) -> Charged {
    let mut entries = Vec::with_capacity(needs.len());
    let mut trial = slice.clone();
    let (mut missing, mut exceeded) = (false, false);
    for need in needs {
        match trial.charge(&need.ask, now) {
            Local::Covered { slot } => entries.push(need.entry(slot)),
            Local::Missing => missing = true,
            Local::NothingUntil(until) => {
                exceeded = true;
                let used = slice.block(need.ask.id).map_or(0, |block| block.used());
                let wait = until.0.saturating_sub(now.earliest.0);
                let fits = used.saturating_add(need.ask.amount) <= need.ask.limit;
                violations.add(need.exceeded(used, Some(wait), fits));
            }
        }
    }
    match (exceeded, missing) {
        (true, _) => Charged::Exceeded,
        (false, true) => Charged::Missing,
        (false, false) => {
            *slice = trial;
            Charged::Covered(entries)
        }
    }
}

/// Opens the slice of a principal under the present id of the gateway.
pub(super) fn open(bytes: &[u8], name: &RecordKey, gateway: GatewayId) -> Result<Slice, StoreError> {
    let mut slice = Slice::open(bytes, name.fingerprint(), gateway)?;
    slice.renew(gateway);
    Ok(slice)
}

/// The charges of a request as far as slices cover them.
#[derive(Debug)]
pub(super) struct Acquired {
    pub(super) receipt: Receipt,
    pub(super) status: RateLimitStatus,
    /// The positions of the principals that need a call.
    pub(super) missing: Vec<usize>,
}

/// Charges the slices of a request that cover it, narrow to wide, if the fleet may have something left of all others.
#[allow(clippy::result_large_err, reason = "both ends of one decision, taken once a request")]
pub(super) fn acquire<C: CounterStore>(
    store: &mut C,
    request: &AdmissionRequest,
    moment: Moment,
) -> Result<Acquired, NotAdmitted> {
    let mut status = RateLimitStatus::default();
    let now = moment.fleet;
    let mut violations = QuotaViolations::default();
    let mut planned = Vec::with_capacity(request.principals.len());
    for principal in &request.principals {
        let needs = needs(principal, &request.reservation, moment.policy);
        let read = store
            .read(&principal.record)
            .and_then(|(bytes, version)| Ok((open(&bytes, &principal.record, moment.gateway)?, version)));
        let (mut slice, version) = match read {
            Ok(read) => read,
            Err(error) => return Err(not_admitted(error.into(), status, Vec::new())),
        };
        let charged = charge(&mut slice, &needs, now, &mut violations);
        needs.iter().for_each(|need| need.record(&slice, now, &mut status));
        planned.push((needs, slice, version, charged));
    }
    if let Some(exceeded) = violations.into_one() {
        return Err(not_admitted(AdmissionError::Denied(Box::new(exceeded)), status, Vec::new()));
    }
    let mut receipt = Receipt::under(moment.gateway.0);
    let mut missing = Vec::new();
    for (position, (principal, (needs, slice, version, charged))) in
        request.principals.iter().zip(planned).enumerate()
    {
        let name = &principal.record;
        let charged = match charged {
            Charged::Covered(entries) => {
                match store.compare_and_swap(name, version, &slice.to_bytes(name.fingerprint())) {
                    Ok(Cas::Stored) => Ok(Some(entries)),
                    Ok(Cas::Conflict) => charge_again(store, name, &needs, moment),
                    Err(error) => Err(AdmissionError::Store(error)),
                }
            }
            Charged::Missing | Charged::Exceeded => Ok(None),
        };
        match charged {
            Ok(Some(entries)) => receipt.push(name.clone(), entries),
            Ok(None) => missing.push(position),
            Err(error) => {
                let unsettled = release_account::<SliceAccount, C>(store, receipt);
                return Err(not_admitted(error, status, unsettled));
            }
        }
    }
    Ok(Acquired { receipt, status, missing })
}

pub(super) fn charge_again<C: CounterStore>(
    store: &mut C,
    name: &RecordKey,
    needs: &[Need],
    moment: Moment,
) -> Result<Option<Vec<HoldEntry>>, AdmissionError> {
    store
        .update_bytes::<_, StoreError>(name, |_, bytes| {
            let mut slice = open(bytes, name, moment.gateway)?;
            let mut violations = QuotaViolations::default();
            let charged = charge(&mut slice, needs, moment.fleet, &mut violations);
            Ok(match (charged, violations.into_one()) {
                (Charged::Covered(entries), _) => {
                    *bytes = slice.to_bytes(name.fingerprint());
                    Update::Write(Ok(Some(entries)))
                }
                (Charged::Missing, _) | (Charged::Exceeded, None) => Update::Keep(Ok(None)),
                (Charged::Exceeded, Some(exceeded)) => {
                    Update::Keep(Err(AdmissionError::Denied(Box::new(exceeded))))
                }
            })
        })
        .map_err(AdmissionError::Store)?
}

/// Charges a principal without a slice: what `on_unavailable: allow` lets pass is reported later.
pub(super) fn charge_debt<C: CounterStore>(
    store: &mut C,
    index: &Index,
    name: &RecordKey,
    needs: &[Need],
    moment: Moment,
) -> Result<Vec<HoldEntry>, StoreError> {
    index.add(store, name)?;
    store.update_bytes::<_, StoreError>(name, |_, bytes| {
        let mut slice = open(bytes, name, moment.gateway)?;
        let charge = |need: &Need| need.entry(slice.charge_debt(&need.ask, moment.fleet));
        let entries = needs.iter().map(charge).collect();
        *bytes = slice.to_bytes(name.fingerprint());
        Ok(Update::Write(entries))
    })
}

pub(super) fn not_admitted(
    error: AdmissionError,
    status: RateLimitStatus,
    unsettled: Vec<crate::admission::Correction>,
) -> NotAdmitted {
    NotAdmitted { error, status, unsettled }
}

/// The decision about a request that all of its principals cover.
pub(super) fn admitted(receipt: Receipt, status: RateLimitStatus) -> Result<Admitted, NotAdmitted> {
    Ok(Admitted { receipt, status })
}
