//! Limits and budgets within those of the level above.

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

/// Whose limits they are, as a message says it.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) enum Holder<'p> {
    Organization(&'p str),
    Team(&'p str),
    User(&'p str),
    /// Of each member of a team.
    MembersOf(&'p str),
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Organization(id) => write!(f, "organization `{id}`"),
            Holder::Team(id) => write!(f, "team `{id}`"),
            Holder::User(id) => write!(f, "user `{id}`"),
            Holder::MembersOf(id) => write!(f, "team `{id}` for each member"),
        }
    }
}

/// A level that what lies below must fit into.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Ceiling<'p> {
    pub whose: Holder<'p>,
    pub allowance: Option<&'p Quota>,
}

impl<'p> Ceiling<'p> {
    pub fn organization(organization: &'p Organization) -> Self {
        Ceiling {
            whose: Holder::Organization(&organization.id),
            allowance: organization.allowance.as_deref(),
        }
    }

    pub fn user(user: &'p User) -> Self {
        Ceiling { whose: Holder::User(&user.id), allowance: user.allowance.as_deref() }
    }

    pub fn team(team: &'p Team) -> Self {
        Ceiling { whose: Holder::Team(&team.id), allowance: team.allowance.as_deref() }
    }

    /// What each member of a team has.
    pub fn member_of(team: &'p Team) -> Self {
        Ceiling { whose: Holder::MembersOf(&team.id), allowance: team.member_allowance.as_deref() }
    }
}

/// Each limit lies within the nearest level above that sets the same one.
pub(in crate::policy) fn limits_within<'p>(
    own: &Limits,
    above: impl Iterator<Item = (&'p Limits, Holder<'p>)> + Clone,
    place: RecordPath<'_>,
    steps: &[&str],
    report: &mut Diagnostics,
) {
    for window in Window::ALL {
        let Some(found) = own.get(window) else { continue };
        let nearest = above.clone().find_map(|(limits, whose)| Some((limits.get(window)?, whose)));
        if let Some((most, whose)) = nearest
            && found > most
        {
            let steps: Vec<&str> = steps.iter().copied().chain([window.name()]).collect();
            let problem = DiagnosticKind::Above {
                what: window.name(),
                found: found.to_string(),
                most: most.to_string(),
                whose: whose.to_string(),
            };
            report.error_at(place.at(&steps), problem);
        }
    }
}

/// A budget lies within the nearest one above over the same period.
pub(in crate::policy) fn budget_within(
    own: Budget,
    above: &[Ceiling<'_>],
    place: RecordPath<'_>,
    field: &str,
    report: &mut Diagnostics,
) {
    let nearest = above.iter().find_map(|above| {
        let budget = above.allowance?.budget.filter(|budget| budget.period == own.period)?;
        Some((budget.max, above.whose))
    });
    if let Some((most, whose)) = nearest
        && own.max > most
    {
        let problem = DiagnosticKind::Above {
            what: "budget",
            found: format!("${}", dollars(own.max)),
            most: format!("${}", dollars(most)),
            whose: whose.to_string(),
        };
        report.error_at(place.at(&[field, "max"]), problem);
    }
}
