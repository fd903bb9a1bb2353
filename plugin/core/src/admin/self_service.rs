//! Keys without asking: what a team's policy lets its developers have.
//!
//! The rows are checked in the order of the table in this folder's README; the first one that fails answers. Rows 1
//! to 3 (signed in, a name and a team, a role in it) were checked before.

use alloc::format;
use alloc::string::ToString;

use super::body::{self, Members, take};
use super::context::RequestContext;
use super::keys::require_future;
use super::problem::Problem;
use crate::json::node::Node;
use crate::money::Period;
use crate::money::dollars;
use crate::policy::diagnostic::pointer;
use crate::policy::load::records::{AccessMode, AccessRecord, BudgetRecord, LimitsRecord};
use crate::policy::load::value::{DateTime, OwnerName};
use crate::policy::{Change, Owner, Section, SelfService, TeamId};
use crate::time::{DAY, Timestamp, rfc3339};

const BUDGET: &str = "invalid_budget";
const EXPIRY: &str = "invalid_expiry";
const LIMITS: &str = "invalid_limits";
const NOT_CHOOSABLE: &str = "not_choosable";

/// Adds to a key's record what its developer asks for, if the team's policy allows all of it.
pub(super) fn grant(
    context: &mut RequestContext<'_>,
    team: TeamId,
    mut wish: Members,
    id: &str,
    record: &mut Members,
) -> Result<(), Problem> {
    let policy = enabled(context, team)?;
    require_slot(context, team, &policy)?;

    let owner = format!("user/{}", context.caller.id);
    record.push(("owner".into(), Node::String(owner.clone())));
    let budget = take(&mut wish, "budget");
    require_budget(&policy, budget.as_ref())?;
    record.extend(budget.map(|budget| ("budget".to_string(), budget)));
    require_room(context, id, record, BUDGET)?;

    let expiry = take(&mut wish, "expires_at");
    require_expiry(context, &policy, expiry.as_ref())?;
    record.extend(expiry.map(|expiry| ("expires_at".to_string(), expiry)));

    if let Some(limits) = take(&mut wish, "limits") {
        body::read_at::<LimitsRecord>("limits", limits.clone(), LIMITS)?;
        record.push(("limits".into(), limits));
        require_room(context, id, record, LIMITS)?;
    }

    require_own(&mut wish, &owner)
}

/// Row 4: the team has self-service on.
fn enabled(context: &RequestContext<'_>, team: TeamId) -> Result<SelfService, Problem> {
    let team = context.policy.teams.get(team.0);
    let policy = team.and_then(|team| team.self_service.as_deref()).filter(|policy| policy.enabled);
    policy.cloned().ok_or_else(|| {
        let detail = "Self-service is off in this team. Ask one of its administrators for a key.";
        Problem::new(403, "self_service_disabled", detail)
    })
}

/// Row 5: one more active key. Blocked ones count, expired and revoked ones do not.
fn require_slot(context: &RequestContext<'_>, team: TeamId, policy: &SelfService) -> Result<(), Problem> {
    let Some(most) = policy.max_keys_per_user else { return Ok(()) };
    let (now, owner) = (context.inputs.now.timestamp(), Owner::User(context.caller.user));
    let active = context
        .policy
        .keys_of(team)
        .filter(|(_, key)| key.owner == owner && key.expires_at.is_none_or(|end| now < end))
        .count();
    if active < usize::try_from(most).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let detail = format!("You have {active} active keys in this team, of at most {most}. Revoke one first.");
    Err(Problem::new(403, "too_many_keys", detail))
}

/// Row 6: a budget under the ceiling, where there is one.
fn require_budget(policy: &SelfService, budget: Option<&Node>) -> Result<(), Problem> {
    let Some(node) = budget else {
        return match policy.budget_ceiling {
            None => Ok(()),
            Some(ceiling) => {
                let detail =
                    format!("`budget` is missing: this team wants one, of at most ${}.", dollars(ceiling));
                Err(Problem::at(BUDGET, "/budget", detail))
            }
        };
    };
    let budget = body::read_at::<BudgetRecord>("budget", node.clone(), BUDGET)?;
    let Some(ceiling) = policy.budget_ceiling else { return Ok(()) };
    if let Some(max) = budget.max.filter(|max| max.0 > ceiling) {
        let (max, ceiling) = (dollars(max.0), dollars(ceiling));
        let detail = format!("A budget of ${max} is above this team's ceiling of ${ceiling}.");
        return Err(Problem::at(BUDGET, "/budget/max", detail));
    }
    match budget.period() {
        Some(Period::Month | Period::Lifetime) => Ok(()),
        Some(Period::Hour | Period::Day | Period::Week) | None => {
            let detail = "In this team a key's budget is over a `month` or a `lifetime`.";
            Err(Problem::at(BUDGET, "/budget/period", detail))
        }
    }
}

/// Row 7: an end, where the team wants one, and not too far away.
fn require_expiry(
    context: &RequestContext<'_>,
    policy: &SelfService,
    expiry: Option<&Node>,
) -> Result<(), Problem> {
    let Some(node) = expiry else {
        if policy.require_expiry || policy.max_expiry_days.is_some() {
            let detail = "`expires_at` is missing: keys of this team have an end.";
            return Err(Problem::at(EXPIRY, "/expires_at", detail));
        }
        return Ok(());
    };
    let end = body::read_at::<DateTime>("expires_at", node.clone(), EXPIRY)?;
    require_future(context.inputs, Some(end))?;
    let Some(days) = policy.max_expiry_days else { return Ok(()) };
    let farthest = context.inputs.now.wall.saturating_add(u64::from(days).saturating_mul(DAY));
    let farthest = Timestamp(farthest / 1_000_000);
    if end.0 > farthest {
        let farthest = rfc3339(farthest);
        let detail = format!("In this team a key ends within {days} days: by {farthest} at the latest.");
        return Err(Problem::at(EXPIRY, "/expires_at", detail));
    }
    Ok(())
}

/// Rows 6 and 8: what the key would have lies within the nearest level above it that sets the same.
fn require_room(
    context: &mut RequestContext<'_>,
    id: &str,
    record: &Members,
    code: &'static str,
) -> Result<(), Problem> {
    let mut change = Change::default();
    change.put(Section::Keys, id, body::object_json(record));
    match context.policy.try_change(&change) {
        Ok(_) => Ok(()),
        Err(diagnostics) => Err(Problem::of_findings(code, diagnostics, &pointer("", &["keys", id]))),
    }
}

/// Row 9: neither owner, nor access, nor state is for a developer to choose. Saying what holds anyway is no choice.
fn require_own(wish: &mut Members, owner: &str) -> Result<(), Problem> {
    if let Some(node) = take(wish, "owner") {
        let named = body::read_at::<OwnerName>("owner", node, NOT_CHOOSABLE)?;
        if *named.0 != *owner {
            let detail = "You are the owner of the keys that you create: leave `owner` out.";
            return Err(Problem::at(NOT_CHOOSABLE, "/owner", detail));
        }
    }
    if let Some(node) = take(wish, "access") {
        let access = body::read_at::<AccessRecord>("access", node, NOT_CHOOSABLE)?;
        if access.mode != Some(AccessMode::Inherit) {
            let detail = "The key may call what its team may: leave `access` out.";
            return Err(Problem::at(NOT_CHOOSABLE, "/access", detail));
        }
    }
    match wish.first() {
        None => Ok(()),
        Some((name, _)) => {
            let detail = format!("`{name}` is not yours to set: leave it out.");
            Err(Problem::at(NOT_CHOOSABLE, pointer("", &[name]), detail.to_string()))
        }
    }
}
