//! Limits and budgets must not exceed those of the levels above.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use crate::money::Budget;
use crate::money::dollars;
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics};
use crate::policy::model::*;
use crate::policy::validate::references::RecordPath;
use crate::quota::{Limits, Window};

/// The holder of a limit, for messages.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) enum Holder<'p> {
    Organization(&'p str),
    Team(&'p str),
    User(&'p str),
    /// Each member of a team.
    MembersOf(&'p str),
    /// One member of a team.
    MemberOf(&'p str, &'p str),
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Organization(id) => write!(f, "organization `{id}`"),
            Holder::Team(id) => write!(f, "team `{id}`"),
            Holder::User(id) => write!(f, "user `{id}`"),
            Holder::MembersOf(id) => write!(f, "team `{id}` for each member"),
            Holder::MemberOf(id, user) => write!(f, "team `{id}` for its member `{user}`"),
        }
    }
}

/// A level whose limits bound those below.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Ceiling<'p> {
    pub holder: Holder<'p>,
    pub quota: Option<&'p Quota>,
}

impl<'p> Ceiling<'p> {
    pub fn organization(organization: &'p Organization) -> Self {
        Ceiling { holder: Holder::Organization(&organization.id), quota: organization.allowance.as_deref() }
    }

    pub fn user(user: &'p User) -> Self {
        Ceiling { holder: Holder::User(&user.id), quota: user.allowance.as_deref() }
    }

    pub fn team(team: &'p Team) -> Self {
        Ceiling { holder: Holder::Team(&team.id), quota: team.allowance.as_deref() }
    }

    /// Returns the ceiling of a member of a team.
    pub fn member_of(team: &'p Team, (id, user): (UserId, &'p User)) -> Self {
        let holder = match team.member_override(id) {
            Some(_) => Holder::MemberOf(&team.id, &user.id),
            None => Holder::MembersOf(&team.id),
        };
        Ceiling { holder, quota: team.member_quota(id) }
    }
}

/// Reports each limit above that of the nearest level which limits the same window.
pub(in crate::policy) fn check_limits<'p>(
    own: &Limits,
    above: impl Iterator<Item = (&'p Limits, Holder<'p>)> + Clone,
    path: RecordPath<'_>,
    steps: &[&str],
    report: &mut Diagnostics,
) {
    for window in Window::ALL {
        let Some(found) = own.get(window) else { continue };
        let nearest = above.clone().find_map(|(limits, holder)| Some((limits.get(window)?, holder)));
        if let Some((maximum, holder)) = nearest
            && found > maximum
        {
            let steps: Vec<&str> = steps.iter().copied().chain([window.name()]).collect();
            let kind = DiagnosticKind::Above {
                what: window.name(),
                found: found.to_string(),
                maximum: maximum.to_string(),
                holder: holder.to_string(),
            };
            report.error_at(path.at(&steps), kind);
        }
    }
}

/// Reports a budget above that of the nearest level with a budget over the same period.
pub(in crate::policy) fn check_budget(
    own: Budget,
    above: &[Ceiling<'_>],
    path: RecordPath<'_>,
    steps: &[&str],
    report: &mut Diagnostics,
) {
    let nearest = above.iter().find_map(|above| {
        let budget = above.quota?.budget.filter(|budget| budget.period == own.period)?;
        Some((budget.max, above.holder))
    });
    if let Some((maximum, holder)) = nearest
        && own.max > maximum
    {
        let kind = DiagnosticKind::Above {
            what: "budget",
            found: format!("${}", dollars(own.max)),
            maximum: format!("${}", dollars(maximum)),
            holder: holder.to_string(),
        };
        let steps: Vec<&str> = steps.iter().copied().chain(["max"]).collect();
        report.error_at(path.at(&steps), kind);
    }
}
