//! The charge of one record, and its correction.

use alloc::vec::Vec;

use super::status::RateLimitStatus;
use super::{ActualUsage, HoldChange, HoldEntry, Principal, Reservation};
use crate::counters::{CounterId, CounterKind, CounterRecord};
use crate::money::{Budget, Pico};
use crate::quota::{Limits, QuotaExceeded, QuotaReason, QuotaScope, QuotaViolations, Window};
use crate::time::{Now, SECOND};

/// The wait of a request if calls in flight hold what it lacks: they return the unused part of their reservation as they
/// end. Calls take seconds, and a retry costs nothing.
const IN_FLIGHT_WAIT: u64 = SECOND;

/// Decides for one record, and charges it until a limit or budget is exceeded. After a violation the record is charged in
/// part and must not be stored.
pub(super) fn charge(
    principal: &Principal,
    reservation: &Reservation,
    record: &mut CounterRecord,
    now: Now,
    status: &mut RateLimitStatus,
    violations: &mut QuotaViolations,
) -> Vec<HoldEntry> {
    let mut charging = Charging { record, now, status, violations, entries: Vec::with_capacity(4) };
    for (scope, target, limits) in principal.all_limits() {
        charging.limits(scope, target, limits, reservation.tokens);
    }
    if let Some(budget) = &principal.budget {
        charging.budget(principal.scope, budget, reservation.cost);
    }
    charging.entries
}

/// A record that is being charged, and the results so far.
struct Charging<'a> {
    record: &'a mut CounterRecord,
    now: Now,
    status: &'a mut RateLimitStatus,
    violations: &'a mut QuotaViolations,
    entries: Vec<HoldEntry>,
}

impl Charging<'_> {
    // Not inlined, like the next: it would be copied for both kinds of limits.
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
            // Without a counter nothing is admitted.
            let reason = QuotaReason::LimitReached { window, limit, used: limit, requested: amount };
            return self.violations.add(QuotaExceeded::new(scope, reason, None));
        };
        let block = CounterId { kind: CounterKind::Window(window), target };
        let mut used = counter.used();
        let total = used.saturating_add(amount);
        let mut exceeded = None;
        if total > limit {
            let reason = QuotaReason::LimitReached { window, limit, used, requested: amount };
            let wait = counter.wait(now, amount, limit);
            exceeded = Some(QuotaExceeded::new(scope, reason, wait));
        } else if self.violations.is_empty() {
            counter.charge(amount);
            used = total;
            self.entries.push(HoldEntry { block, slot: counter.slot(), amount: u128::from(amount) });
        }
        self.status.record_window(scope, window, limit, used, || counter.until_empty(now));
        if let Some(exceeded) = exceeded {
            // A request that ran stays counted, so that none in flight is returned.
            let lacks = if window.counts_tokens() { u128::from(total - limit) } else { u128::MAX };
            self.exceeded(exceeded, block, u128::from(used), lacks);
        } else if window.counts_tokens() && self.violations.is_empty() {
            self.record.add_in_flight(block, u128::from(amount), now);
        }
    }

    /// Adds a violation of a count that is `used` and `lacks` this much. If calls in flight hold it, the wait is short.
    fn exceeded(&mut self, mut exceeded: QuotaExceeded, block: CounterId, used: u128, lacks: u128) {
        let is_long = exceeded.wait.is_none_or(|wait| wait > IN_FLIGHT_WAIT);
        if is_long && self.record.in_flight(block, self.now).min(used) >= lacks {
            exceeded.wait = Some(IN_FLIGHT_WAIT);
            exceeded.reason = exceeded.reason.held();
        }
        self.violations.add(exceeded);
    }

    fn budget(&mut self, scope: QuotaScope, budget: &Budget, cost: Pico) {
        let (max, period) = (budget.max, budget.period);
        let Some((mut spend, stored)) = self.record.spend_mut() else {
            // Without a counter nothing is admitted.
            let reason = QuotaReason::BudgetSpent { max, left: Pico(0), cost, period };
            return self.violations.add(QuotaExceeded::new(scope, reason, None));
        };
        spend.advance(budget.period, self.now.wall);
        let spent = spend.spent();
        let left = Pico(budget.max.0.saturating_sub(spent.0));
        let block = CounterId { kind: CounterKind::Budget, target: 0 };
        if cost > left || left.0 == 0 {
            let reason = QuotaReason::BudgetSpent { max, left, cost, period };
            // A budget of 0 is 0 in the next period too.
            let wait = spend.until_over(self.now.wall).filter(|_| budget.max.0 > 0);
            let exceeded = QuotaExceeded::new(scope, reason, wait);
            let lacks = cost.0.max(1).saturating_add(spent.0).saturating_sub(max.0);
            self.exceeded(exceeded, block, spent.0, lacks);
        } else if self.violations.is_empty() {
            spend.charge(cost);
            self.entries.push(HoldEntry { block, slot: spend.number(), amount: cost.0 });
            spend.store(stored);
            self.record.add_in_flight(block, cost.0, self.now);
        }
        self.status.record_budget(scope, budget, spend.spent());
    }
}

/// Returns a charge to the record, or sets it to the actual usage.
pub(super) fn correct(record: &mut CounterRecord, entry: &HoldEntry, change: HoldChange) {
    let actual = match change {
        HoldChange::Release => ActualUsage::default(),
        HoldChange::Settle(actual) => actual,
    };
    match entry.block.kind {
        CounterKind::Window(window) => {
            // A settlement leaves requests as they are counted.
            if matches!(change, HoldChange::Settle(_)) && !window.counts_tokens() {
                return;
            }
            if let Some(mut counter) = record.stored_counter(window, entry.block.target) {
                counter.correct(entry.slot, u64::try_from(entry.amount).unwrap_or(u64::MAX), actual.tokens);
            }
            if window.counts_tokens() {
                record.remove_in_flight(entry.block, entry.amount);
            }
        }
        CounterKind::Budget => {
            record.remove_in_flight(entry.block, entry.amount);
            record.correct_spend(|spend| {
                spend.correct(entry.slot, Pico(entry.amount), actual.cost, actual.estimated);
            });
        }
    }
}
