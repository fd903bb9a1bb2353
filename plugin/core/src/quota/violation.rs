//! Why a limit or a budget refuses, with the numbers.

use super::QuotaScope;
use crate::money::{Period, Pico};
use crate::quota::Window;

/// A refusal by one principal's allowance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct QuotaExceeded {
    /// Whose.
    pub scope: QuotaScope,
    /// Why, with the numbers.
    pub reason: QuotaReason,
    /// Nanoseconds until the same request would be admitted if nothing else came; `None`: never.
    pub wait: Option<u64>,
}

/// What refused, with the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum QuotaReason {
    /// The window is full.
    LimitReached {
        /// Which.
        window: Window,
        /// Requests or tokens it may hold.
        limit: u64,
        /// What it holds.
        used: u64,
        /// What the request would add.
        asked: u64,
    },
    /// The input alone is larger than the whole limit.
    InputAboveLimit {
        /// Which window.
        window: Window,
        /// Tokens it may hold.
        limit: u64,
        /// Tokens of the input, as estimated.
        input: u64,
    },
    /// What is left of the budget is less than the request could cost.
    BudgetSpent {
        /// The budget.
        max: Pico,
        /// What is left of it.
        left: Pico,
        /// What the request could cost.
        cost: Pico,
        /// When it starts over.
        period: Period,
    },
    /// The request could cost more than the whole budget.
    CostAboveBudget {
        /// The budget.
        max: Pico,
        /// What the request could cost.
        cost: Pico,
    },
}

impl QuotaExceeded {
    /// What refused, as headers name it: `team_rpm`, `user_budget`.
    pub fn label(&self) -> &'static str {
        match self.reason {
            QuotaReason::LimitReached { window, .. } | QuotaReason::InputAboveLimit { window, .. } => {
                self.scope.label(Some(window))
            }
            QuotaReason::BudgetSpent { .. } | QuotaReason::CostAboveBudget { .. } => self.scope.label(None),
        }
    }

    /// What stands in the way longest is named, and limits before budgets.
    fn rank(&self) -> (bool, u64) {
        (self.is_limit(), self.longest())
    }

    /// Its wait; `u64::MAX`: for ever.
    fn longest(&self) -> u64 {
        self.wait.unwrap_or(u64::MAX)
    }

    fn is_limit(&self) -> bool {
        matches!(self.reason, QuotaReason::LimitReached { .. } | QuotaReason::InputAboveLimit { .. })
    }
}

/// All that refuses one request.
#[derive(Debug, Default)]
pub struct QuotaViolations {
    /// The one to name, with its own wait: another one's must not make it look longer.
    named: Option<QuotaExceeded>,
    longest: u64,
}

impl QuotaViolations {
    /// One more.
    pub fn add(&mut self, exceeded: QuotaExceeded) {
        self.longest = self.longest.max(exceeded.longest());
        if self.named.as_ref().is_none_or(|named| exceeded.rank() > named.rank()) {
            self.named = Some(exceeded);
        }
    }

    /// Whether nothing refuses.
    pub fn is_empty(&self) -> bool {
        self.named.is_none()
    }

    /// The one to name - limits before budgets, then the longer wait - with the longest wait of all.
    pub fn into_one(self) -> Option<QuotaExceeded> {
        let wait = Some(self.longest).filter(|longest| *longest < u64::MAX);
        self.named.map(|named| QuotaExceeded { wait, ..named })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::PrincipalKind;

    #[test]
    fn the_limit_with_the_longest_wait_is_named_in_whatever_order_they_come() {
        let limit = |scope, window, wait| {
            let reason = QuotaReason::LimitReached { window, limit: 1, used: 1, asked: 1 };
            QuotaExceeded { scope: QuotaScope::whole(scope), reason, wait }
        };
        let budget = |wait| {
            let reason =
                QuotaReason::BudgetSpent { max: Pico(1), left: Pico(0), cost: Pico(1), period: Period::Day };
            QuotaExceeded { scope: QuotaScope::whole(PrincipalKind::Key), reason, wait }
        };
        let team = |window, wait| limit(PrincipalKind::Team, window, wait);
        let all = [budget(Some(9_000)), team(Window::Rpm, Some(60)), team(Window::Rph, Some(3_600))];
        let for_ever = [budget(None), all[1].clone(), all[2].clone()];
        for (all, wait) in [(all, Some(9_000)), (for_ever, None)] {
            for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let mut violations = QuotaViolations::default();
                assert!(violations.is_empty());
                order.into_iter().for_each(|position| violations.add(all[position].clone()));
                let named = violations.into_one().unwrap();
                assert_eq!((named.label(), named.wait), ("team_rph", wait), "{order:?}");
            }
        }
    }
}
