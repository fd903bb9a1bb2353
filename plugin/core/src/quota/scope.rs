//! The principals of a request, and the names of their limits.

use super::{Window, windows};

/// A level of the hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum PrincipalKind {
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

/// The principal of a limit or budget, and the part of its use that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct QuotaScope {
    /// The principal's level.
    pub principal: PrincipalKind,
    /// True if only the use of one target is counted.
    pub target: bool,
}

macro_rules! define_labels {
    ($($(#[doc = $doc:literal])* $variant:ident { $field:ident, $code:literal, $unit:ident, $span:ident })*) => {
        /// The name of a scope, and the labels of its limits and its budget.
        struct Labels {
            name: &'static str,
            $($field: &'static str,)*
            budget: &'static str,
        }

        impl Labels {
            fn of(&self, window: Window) -> &'static str {
                match window {
                    $(Window::$variant => self.$field,)*
                }
            }
        }
    };
}
windows!(define_labels!);

impl QuotaScope {
    /// The principal as a whole.
    pub fn whole(principal: PrincipalKind) -> Self {
        QuotaScope { principal, target: false }
    }

    /// The same principal's use of one target.
    pub fn of_target(self) -> Self {
        QuotaScope { target: true, ..self }
    }

    /// The name in messages.
    pub fn name(self) -> &'static str {
        self.labels().name
    }

    /// The label of one of its limits, or (`None`) of its budget, in headers: `team_rpm`, `user_budget`.
    pub fn label(self, window: Option<Window>) -> &'static str {
        let labels = self.labels();
        window.map_or(labels.budget, |window| labels.of(window))
    }

    fn labels(self) -> &'static Labels {
        macro_rules! labels {
            ([$name:literal] $($(#[doc = $doc:literal])* $variant:ident { $field:ident, $code:literal, $unit:ident, $span:ident })*) => {
                &Labels {
                    name: $name,
                    $($field: concat!($name, "_", stringify!($field)),)*
                    budget: concat!($name, "_budget"),
                }
            };
        }
        match (self.principal, self.target) {
            (PrincipalKind::Key, _) => windows!(labels! "key"),
            (PrincipalKind::Member, _) => windows!(labels! "member"),
            (PrincipalKind::User, _) => windows!(labels! "user"),
            (PrincipalKind::Team, false) => windows!(labels! "team"),
            (PrincipalKind::Team, true) => windows!(labels! "team_target"),
            (PrincipalKind::Organization, false) => windows!(labels! "organization"),
            (PrincipalKind::Organization, true) => windows!(labels! "organization_target"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_label_names_the_scope_and_the_limit() {
        use PrincipalKind::{Key, Member, Organization, Team, User};
        for principal in [Key, Member, User, Team, Organization] {
            for scope in [QuotaScope::whole(principal), QuotaScope::whole(principal).of_target()] {
                for window in Window::ALL {
                    assert_eq!(scope.label(Some(window)), format!("{}_{}", scope.name(), window.name()));
                }
                assert_eq!(scope.label(None), format!("{}_budget", scope.name()));
            }
        }
    }
}
