//! The ceiling of a team, which administrators of its organization set: its own administrators move within it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::problem::{Fault, FaultLocation, Problem};
use crate::money::dollars;
use crate::policy::Team;
use crate::policy::load::records::TeamRecord;
use crate::quota::{Limits, Window};

/// Rejects limits and a budget that a write raises above the ceiling of the team. Earlier ones stay, and the ceiling
/// holds.
///
/// # Errors
/// 400 with each fault.
pub(super) fn require_within(before: Option<&Team>, new: &TeamRecord) -> Result<(), Problem> {
    let Some(ceiling) = &new.ceiling else { return Ok(()) };
    let own = before.and_then(Team::own_allowance);
    let mut faults = Vec::new();
    let mut refuse = |pointer: String, maximum: String| {
        let detail = format!(
            "The ceiling that administrators of the organization set for the team is {maximum}. Choose at most that, or ask \
             them to raise it."
        );
        faults.push(Fault { location: FaultLocation::Body(pointer), detail });
    };
    let limits = |limits: &Option<_>| limits.clone().map_or(Limits::default(), Limits::from);
    let (wanted, most) = (limits(&new.limits), limits(&ceiling.limits));
    for window in Window::ALL {
        let was = own.and_then(|own| own.limits.get(window));
        if let (Some(wanted), Some(most)) = (wanted.get(window), most.get(window))
            && wanted > most
            && was != Some(wanted)
        {
            refuse(format!("/limits/{}", window.name()), format!("{most} {}", window.name()));
        }
    }
    let max = |budget: &Option<_>| max_of(budget.as_ref());
    if let (Some(wanted), Some(most)) = (max(&new.budget), max(&ceiling.budget))
        && wanted > most
        && own.and_then(|own| own.budget).is_none_or(|own| own.max != wanted)
    {
        refuse("/budget/max".to_string(), format!("${}", dollars(most)));
    }
    let Some(first) = faults.first() else { return Ok(()) };
    let detail = first.detail.clone();
    Err(Problem { faults, ..Problem::new(400, "above_ceiling", detail) })
}

fn max_of(budget: Option<&crate::policy::load::records::BudgetRecord>) -> Option<crate::money::Pico> {
    Some(budget?.max.as_ref()?.0)
}
