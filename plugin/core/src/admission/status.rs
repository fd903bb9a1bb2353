//! The state of the limits that govern a request, for the rate-limit headers.

use crate::money::{Budget, Pico};
use crate::quota::QuotaScope;
use crate::quota::Window;

/// The windows with the smallest remaining share of their limit: one for requests, one for tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct RateLimitStatus {
    pub(super) requests: Option<TightestWindow>,
    pub(super) tokens: Option<TightestWindow>,
    over_soft_budget: Option<QuotaScope>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct TightestWindow {
    pub(super) scope: QuotaScope,
    pub(super) window: Window,
    pub(super) limit: u64,
    pub(super) remaining: u64,
    pub(super) reset: u64,
}

impl TightestWindow {
    /// True if a smaller part of this limit remains than of the other.
    fn is_tighter_than(&self, other: &TightestWindow) -> bool {
        // Most limits are equal: no 128-bit product.
        if self.limit == other.limit {
            return self.remaining < other.remaining;
        }
        let cross = |a: u64, b: u64| u128::from(a) * u128::from(b);
        cross(self.remaining, other.limit) < cross(other.remaining, self.limit)
    }

    pub(super) fn label(&self) -> &'static str {
        self.scope.label(Some(self.window))
    }

    fn used_permille(&self) -> u64 {
        // Limits are at most 2^53, so the product fits.
        self.limit.saturating_sub(self.remaining).wrapping_mul(1000) / self.limit.max(1)
    }
}

impl RateLimitStatus {
    /// Records a window: `used` of `limit`, empty again after `reset` ns.
    pub fn record_window(
        &mut self,
        scope: QuotaScope,
        window: Window,
        limit: u64,
        used: u64,
        reset: impl FnOnce() -> u64,
    ) {
        let mut tight =
            TightestWindow { scope, window, limit, remaining: limit.saturating_sub(used), reset: 0 };
        let place = if window.counts_tokens() { &mut self.tokens } else { &mut self.requests };
        let same = place.is_some_and(|old| old.scope == scope && old.window == window);
        if same || place.is_none_or(|old| tight.is_tighter_than(&old)) {
            tight.reset = reset();
            *place = Some(tight);
        }
    }

    /// Records a budget; `spent` includes this request's reservation.
    pub fn record_budget(&mut self, scope: QuotaScope, budget: &Budget, spent: Pico) {
        if budget.soft.is_some_and(|soft| spent > soft) {
            self.over_soft_budget.get_or_insert(scope);
        }
    }

    /// The scope of a budget above its soft limit.
    pub fn over_soft_budget(&self) -> Option<QuotaScope> {
        self.over_soft_budget
    }

    /// True if no limit governs the request.
    pub fn is_empty(&self) -> bool {
        self.requests.is_none() && self.tokens.is_none()
    }

    pub(super) fn tightest(&self) -> Option<TightestWindow> {
        match (self.requests, self.tokens) {
            (Some(requests), Some(tokens)) if tokens.is_tighter_than(&requests) => Some(tokens),
            (requests, tokens) => requests.or(tokens),
        }
    }

    /// The value of the warning header. A warning about a limit does not hide one about a budget.
    pub(super) fn warning(&self) -> Option<&'static str> {
        let used = [self.requests, self.tokens].iter().flatten().map(TightestWindow::used_permille).max();
        let limit = match used.unwrap_or(0) {
            950.. => Some(Near::NinetyFive),
            800.. => Some(Near::Eighty),
            _ => None,
        };
        match (limit, self.over_soft_budget) {
            (None, None) => None,
            (Some(Near::Eighty), None) => Some("approaching_limit"),
            (Some(Near::NinetyFive), None) => Some("near_limit"),
            (None, Some(_)) => Some("soft_budget_exceeded"),
            (Some(Near::Eighty), Some(_)) => Some("approaching_limit, soft_budget_exceeded"),
            (Some(Near::NinetyFive), Some(_)) => Some("near_limit, soft_budget_exceeded"),
        }
    }
}

/// The part of a limit that is used, in percent.
enum Near {
    Eighty,
    NinetyFive,
}
