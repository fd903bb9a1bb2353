//! Why a limit or a budget refuses, with the numbers.

use crate::limits::Window;
use crate::money::{Period, Pico};

/// A level of the hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum Level {
    /// One API key.
    Key,
    /// A user within a team.
    Member,
    /// A user within an organization.
    User,
    /// A team.
    Team,
    /// An organization.
    Organization,
}

/// Whose limit or budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Scope {
    /// The principal's level.
    pub level: Level,
    /// Only its use of one target.
    pub target: bool,
}

/// What a scope and its limits are called.
struct Texts {
    name: &'static str,
    rpm: &'static str,
    tpm: &'static str,
    rph: &'static str,
    rpd: &'static str,
    tpd: &'static str,
    budget: &'static str,
}

impl Scope {
    /// The principal as a whole.
    pub fn whole(level: Level) -> Self {
        Scope { level, target: false }
    }

    /// The same principal's use of one target.
    pub fn of_target(self) -> Self {
        Scope { target: true, ..self }
    }

    /// As messages name it.
    pub fn name(self) -> &'static str {
        self.texts().name
    }

    /// One of its limits, or (`None`) its budget, as headers name it: `team_rpm`, `user_budget`.
    pub fn label(self, window: Option<Window>) -> &'static str {
        let texts = self.texts();
        match window {
            Some(Window::Rpm) => texts.rpm,
            Some(Window::Tpm) => texts.tpm,
            Some(Window::Rph) => texts.rph,
            Some(Window::Rpd) => texts.rpd,
            Some(Window::Tpd) => texts.tpd,
            None => texts.budget,
        }
    }

    fn texts(self) -> &'static Texts {
        macro_rules! texts {
            ($name:literal) => {
                &Texts {
                    name: $name,
                    rpm: concat!($name, "_rpm"),
                    tpm: concat!($name, "_tpm"),
                    rph: concat!($name, "_rph"),
                    rpd: concat!($name, "_rpd"),
                    tpd: concat!($name, "_tpd"),
                    budget: concat!($name, "_budget"),
                }
            };
        }
        match (self.level, self.target) {
            (Level::Key, _) => texts!("key"),
            (Level::Member, _) => texts!("member"),
            (Level::User, _) => texts!("user"),
            (Level::Team, false) => texts!("team"),
            (Level::Team, true) => texts!("team_target"),
            (Level::Organization, false) => texts!("organization"),
            (Level::Organization, true) => texts!("organization_target"),
        }
    }
}

/// A refusal by one principal's allowance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Denial {
    /// Whose.
    pub scope: Scope,
    /// Why, with the numbers.
    pub reason: Reason,
    /// Nanoseconds until the same request would be admitted if nothing else came; `None`: never.
    pub wait: Option<u64>,
}

/// What refused, with the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum Reason {
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

impl Denial {
    /// What refused, as headers name it: `team_rpm`, `user_budget`.
    pub fn label(&self) -> &'static str {
        match self.reason {
            Reason::LimitReached { window, .. } | Reason::InputAboveLimit { window, .. } => {
                self.scope.label(Some(window))
            }
            Reason::BudgetSpent { .. } | Reason::CostAboveBudget { .. } => self.scope.label(None),
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
        matches!(self.reason, Reason::LimitReached { .. } | Reason::InputAboveLimit { .. })
    }
}

/// All that refuses one request.
#[derive(Debug, Default)]
pub struct Denials {
    /// The one to name, with its own wait: another one's must not make it look longer.
    named: Option<Denial>,
    longest: u64,
}

impl Denials {
    /// One more.
    pub fn add(&mut self, denial: Denial) {
        self.longest = self.longest.max(denial.longest());
        if self.named.as_ref().is_none_or(|named| denial.rank() > named.rank()) {
            self.named = Some(denial);
        }
    }

    /// Whether nothing refuses.
    pub fn is_empty(&self) -> bool {
        self.named.is_none()
    }

    /// The one to name - limits before budgets, then the longer wait - with the longest wait of all.
    pub fn into_one(self) -> Option<Denial> {
        let wait = Some(self.longest).filter(|longest| *longest < u64::MAX);
        self.named.map(|named| Denial { wait, ..named })
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_label_is_whose_it_is_and_which_limit() {
        use Level::{Key, Member, Organization, Team, User};
        for level in [Key, Member, User, Team, Organization] {
            for scope in [Scope::whole(level), Scope::whole(level).of_target()] {
                for window in Window::ALL {
                    assert_eq!(scope.label(Some(window)), format!("{}_{}", scope.name(), window.name()));
                }
                assert_eq!(scope.label(None), format!("{}_budget", scope.name()));
            }
        }
    }
    #[test]
    fn the_limit_with_the_longest_wait_is_named_in_whatever_order_they_come() {
        let limit = |scope, window, wait| {
            let reason = Reason::LimitReached { window, limit: 1, used: 1, asked: 1 };
            Denial { scope: Scope::whole(scope), reason, wait }
        };
        let budget = |wait| {
            let reason =
                Reason::BudgetSpent { max: Pico(1), left: Pico(0), cost: Pico(1), period: Period::Day };
            Denial { scope: Scope::whole(Level::Key), reason, wait }
        };
        let team = |window, wait| limit(Level::Team, window, wait);
        let all = [budget(Some(9_000)), team(Window::Rpm, Some(60)), team(Window::Rph, Some(3_600))];
        let for_ever = [budget(None), all[1].clone(), all[2].clone()];
        for (all, wait) in [(all, Some(9_000)), (for_ever, None)] {
            for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let mut denials = Denials::default();
                assert!(denials.is_empty());
                order.into_iter().for_each(|position| denials.add(all[position].clone()));
                let named = denials.into_one().unwrap();
                assert_eq!((named.label(), named.wait), ("team_rph", wait), "{order:?}");
            }
        }
    }
}
