//! The principals of a request, and the names of their limits.

use super::Window;

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

/// Whose limit or budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct QuotaScope {
    /// The principal's level.
    pub principal: PrincipalKind,
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

impl QuotaScope {
    /// The principal as a whole.
    pub fn whole(level: PrincipalKind) -> Self {
        QuotaScope { principal: level, target: false }
    }

    /// The same principal's use of one target.
    pub fn of_target(self) -> Self {
        QuotaScope { target: true, ..self }
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
        match (self.principal, self.target) {
            (PrincipalKind::Key, _) => texts!("key"),
            (PrincipalKind::Member, _) => texts!("member"),
            (PrincipalKind::User, _) => texts!("user"),
            (PrincipalKind::Team, false) => texts!("team"),
            (PrincipalKind::Team, true) => texts!("team_target"),
            (PrincipalKind::Organization, false) => texts!("organization"),
            (PrincipalKind::Organization, true) => texts!("organization_target"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_label_is_whose_it_is_and_which_limit() {
        use PrincipalKind::{Key, Member, Organization, Team, User};
        for level in [Key, Member, User, Team, Organization] {
            for scope in [QuotaScope::whole(level), QuotaScope::whole(level).of_target()] {
                for window in Window::ALL {
                    assert_eq!(scope.label(Some(window)), format!("{}_{}", scope.name(), window.name()));
                }
                assert_eq!(scope.label(None), format!("{}_budget", scope.name()));
            }
        }
    }
}
