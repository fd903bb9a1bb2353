//! Exceeded limits and budgets, and the one of several that a response names.

use super::QuotaScope;
use crate::money::{Period, Pico};
use crate::quota::Window;

/// A limit or budget of one principal that a request exceeds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct QuotaExceeded {
    /// The scope of the limit or budget.
    pub scope: QuotaScope,
    /// The limit or budget, with the numbers.
    pub reason: QuotaReason,
    /// Nanoseconds until the same request would be admitted if no other request came; `None`: never.
    pub wait: Option<u64>,
    /// The part of the request's cost that a lower maximum of output tokens does not change, for the advice in messages. The
    /// admission leaves it 0.
    #[cfg_attr(feature = "wire", serde(skip))]
    pub input_cost: Pico,
}

/// The exceeded limit or budget, with the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum QuotaReason {
    /// The window is full.
    LimitReached {
        /// The window.
        window: Window,
        /// The most requests or tokens in the window.
        limit: u64,
        /// The requests or tokens in the window now.
        used: u64,
        /// The requests or tokens that the request would add.
        requested: u64,
    },
    /// The input alone is larger than the whole limit.
    InputAboveLimit {
        /// The window.
        window: Window,
        /// The most tokens in the window.
        limit: u64,
        /// The estimated tokens of the input.
        input: u64,
    },
    /// The rest of the budget is less than the request could cost.
    BudgetSpent {
        /// The budget.
        max: Pico,
        /// The rest of it.
        left: Pico,
        /// The most that the request can cost.
        cost: Pico,
        /// The period of the budget.
        period: Period,
    },
    /// The request could cost more than the whole budget.
    CostAboveBudget {
        /// The budget.
        max: Pico,
        /// The most that the request can cost.
        cost: Pico,
    },
    /// As [`QuotaReason::LimitReached`], but calls that have not ended reserve what the request lacks: they return what they do
    /// not use.
    LimitHeld {
        /// The window.
        window: Window,
        /// The most tokens in the window.
        limit: u64,
        /// The tokens in the window now.
        used: u64,
        /// The tokens that the request would add.
        requested: u64,
    },
    /// As [`QuotaReason::BudgetSpent`], but calls that have not ended reserve what the request lacks.
    BudgetHeld {
        /// The budget.
        max: Pico,
        /// The rest of it.
        left: Pico,
        /// The most that the request can cost.
        cost: Pico,
        /// The period of the budget.
        period: Period,
    },
}

impl QuotaReason {
    /// The same reason, held by calls that have not ended.
    #[must_use]
    pub fn held(self) -> Self {
        match self {
            Self::LimitReached { window, limit, used, requested } => {
                Self::LimitHeld { window, limit, used, requested }
            }
            Self::BudgetSpent { max, left, cost, period } => Self::BudgetHeld { max, left, cost, period },
            Self::InputAboveLimit { .. }
            | Self::CostAboveBudget { .. }
            | Self::LimitHeld { .. }
            | Self::BudgetHeld { .. } => self,
        }
    }

    fn is_held(&self) -> bool {
        matches!(self, Self::LimitHeld { .. } | Self::BudgetHeld { .. })
    }
}

impl QuotaExceeded {
    /// A violation as the admission finds it.
    pub fn new(scope: QuotaScope, reason: QuotaReason, wait: Option<u64>) -> Self {
        QuotaExceeded { scope, reason, wait, input_cost: Pico(0) }
    }

    /// The label in headers: `team_rpm`, `user_budget`.
    pub fn label(&self) -> &'static str {
        match self.reason {
            QuotaReason::LimitReached { window, .. }
            | QuotaReason::LimitHeld { window, .. }
            | QuotaReason::InputAboveLimit { window, .. } => self.scope.label(Some(window)),
            QuotaReason::BudgetSpent { .. }
            | QuotaReason::BudgetHeld { .. }
            | QuotaReason::CostAboveBudget { .. } => self.scope.label(None),
        }
    }

    /// The rank by which one violation of several is named: those that outlast the calls in flight, then limits before budgets,
    /// then the longer wait.
    fn rank(&self) -> (bool, bool, u64) {
        (!self.reason.is_held(), self.is_limit(), self.longest())
    }

    /// The wait; `u64::MAX` if waiting does not help.
    fn longest(&self) -> u64 {
        self.wait.unwrap_or(u64::MAX)
    }

    fn is_limit(&self) -> bool {
        match self.reason {
            QuotaReason::LimitReached { .. }
            | QuotaReason::LimitHeld { .. }
            | QuotaReason::InputAboveLimit { .. } => true,
            QuotaReason::BudgetSpent { .. }
            | QuotaReason::BudgetHeld { .. }
            | QuotaReason::CostAboveBudget { .. } => false,
        }
    }
}

/// All limits and budgets that one request exceeds.
#[derive(Debug, Default)]
pub struct QuotaViolations {
    /// The violation to name, with its own wait, so that ranks compare.
    named: Option<QuotaExceeded>,
    longest: u64,
}

impl QuotaViolations {
    /// Adds a violation.
    pub fn add(&mut self, exceeded: QuotaExceeded) {
        self.longest = self.longest.max(exceeded.longest());
        if self.named.as_ref().is_none_or(|named| exceeded.rank() > named.rank()) {
            self.named = Some(exceeded);
        }
    }

    /// True if there is no violation.
    pub fn is_empty(&self) -> bool {
        self.named.is_none()
    }

    /// The violation to name (limits before budgets, then the longer wait), with the longest wait of all.
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
    fn the_limit_with_the_longest_wait_is_named_in_every_order() {
        let limit = |scope, window, wait| {
            let reason = QuotaReason::LimitReached { window, limit: 1, used: 1, requested: 1 };
            QuotaExceeded::new(QuotaScope::whole(scope), reason, wait)
        };
        let budget = |wait| {
            let reason =
                QuotaReason::BudgetSpent { max: Pico(1), left: Pico(0), cost: Pico(1), period: Period::Day };
            QuotaExceeded::new(QuotaScope::whole(PrincipalKind::Key), reason, wait)
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
    #[test]
    fn a_violation_that_outlasts_the_calls_in_flight_is_named_before_others() {
        let of = |window, wait| {
            let reason = QuotaReason::LimitReached { window, limit: 1, used: 1, requested: 1 };
            QuotaExceeded::new(QuotaScope::whole(PrincipalKind::Team), reason, wait)
        };
        let mut held = of(Window::Tpd, Some(1));
        held.reason = held.reason.held();
        let spent = of(Window::Rpm, Some(60));
        for (all, name, wait) in [
            ([held.clone(), spent.clone()], "team_rpm", 60),
            ([spent, held.clone()], "team_rpm", 60),
            ([held.clone(), held], "team_tpd", 1),
        ] {
            let mut violations = QuotaViolations::default();
            all.into_iter().for_each(|one| violations.add(one));
            let named = violations.into_one().unwrap();
            assert_eq!((named.label(), named.wait), (name, Some(wait)));
        }
    }
}
