//! Self-service keys: the keys that a team's policy allows its developers to create.
//!
//! The rows of the table in this folder's README are checked in order; the first failure is the response. Rows 1 to 3
//! (authentication, name and team, role in the team) are checked by the caller.

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

/// Adds the requested fields to the record of a key, if the team's policy allows all of them.
pub(super) fn grant(
    context: &mut RequestContext<'_>,
    team: TeamId,
    mut requested: Members,
    id: &str,
    record: &mut Members,
) -> Result<(), Problem> {
    let policy = enabled(context, team)?;
    require_slot(context, team, &policy)?;

    let owner = format!("user/{}", context.caller.id);
    record.push(("owner".into(), Node::String(owner.clone())));
    record.push(("self_service".into(), Node::Bool(true)));
    let budget = take(&mut requested, "budget");
    require_budget(&policy, budget.as_ref())?;
    record.extend(budget.map(|budget| ("budget".to_string(), budget)));
    require_within_ceilings(context, id, record, BUDGET)?;

    let expiry = take(&mut requested, "expires_at");
    require_expiry(context, &policy, expiry.as_ref())?;
    record.extend(expiry.map(|expiry| ("expires_at".to_string(), expiry)));

    if let Some(limits) = take(&mut requested, "limits") {
        body::read_at::<LimitsRecord>("limits", limits.clone(), LIMITS)?;
        record.push(("limits".into(), limits));
        require_within_ceilings(context, id, record, LIMITS)?;
    }

    require_defaults(&mut requested, &owner)
}

/// Row 4: self-service is enabled in the team.
fn enabled(context: &RequestContext<'_>, team: TeamId) -> Result<SelfService, Problem> {
    let team = context.policy.teams.get(team.0);
    let policy = team.and_then(|team| team.self_service.as_deref()).filter(|policy| policy.enabled);
    policy.cloned().ok_or_else(|| {
        let detail = "Self-service is disabled in this team. Ask a team admin for a key.";
        Problem::new(403, "self_service_disabled", detail)
    })
}

/// Row 5: the number of active keys. Blocked keys count; expired and revoked ones do not.
fn require_slot(context: &RequestContext<'_>, team: TeamId, policy: &SelfService) -> Result<(), Problem> {
    let Some(max) = policy.max_keys_per_user else { return Ok(()) };
    let (now, owner) = (context.inputs.now.timestamp(), Owner::User(context.caller.user));
    let active = context
        .policy
        .keys_of(team)
        .filter(|(_, key)| key.owner == owner && key.expires_at.is_none_or(|end| now < end))
        .count();
    if active < usize::try_from(max).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let detail =
        format!("You have {active} active keys in this team; the maximum is {max}. Revoke one first.");
    Err(Problem::new(403, "too_many_keys", detail))
}

/// Row 6: a budget within the ceiling, if the team has one.
fn require_budget(policy: &SelfService, budget: Option<&Node>) -> Result<(), Problem> {
    let Some(node) = budget else {
        return match policy.budget_ceiling {
            None => Ok(()),
            Some(ceiling) => {
                let detail =
                    format!("`budget` is missing: this team requires one of at most ${}.", dollars(ceiling));
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
            let detail = "The period of a key's budget must be `month` or `lifetime` in this team.";
            Err(Problem::at(BUDGET, "/budget/period", detail))
        }
    }
}

/// Row 7: an expiry, if the team requires one, within the maximum.
fn require_expiry(
    context: &RequestContext<'_>,
    policy: &SelfService,
    expiry: Option<&Node>,
) -> Result<(), Problem> {
    let Some(node) = expiry else {
        if policy.require_expiry || policy.max_expiry_days.is_some() {
            let detail = "`expires_at` is missing: keys of this team must expire.";
            return Err(Problem::at(EXPIRY, "/expires_at", detail));
        }
        return Ok(());
    };
    let end = body::read_at::<DateTime>("expires_at", node.clone(), EXPIRY)?;
    require_future(context.inputs, Some(end))?;
    let Some(days) = policy.max_expiry_days else { return Ok(()) };
    let latest = context.inputs.now.wall.saturating_add(u64::from(days).saturating_mul(DAY));
    let latest = Timestamp(latest / 1_000_000);
    if end.0 > latest {
        let latest = rfc3339(latest);
        let detail = format!("Keys of this team must expire within {days} days: by {latest} at the latest.");
        return Err(Problem::at(EXPIRY, "/expires_at", detail));
    }
    Ok(())
}

/// Rows 6 and 8: budget and limits are within the nearest level above the key that sets them.
fn require_within_ceilings(
    context: &mut RequestContext<'_>,
    id: &str,
    record: &Members,
    code: &'static str,
) -> Result<(), Problem> {
    let mut change = Change::default();
    change.put(Section::Keys, id, body::object_json(record));
    match context.policy.try_change(&change) {
        Ok(_) => Ok(()),
        Err(diagnostics) => Err(Problem::from_diagnostics(code, diagnostics, &pointer("", &["keys", id]))),
    }
}

/// Row 9: owner, access and state cannot be chosen. The values that apply anyway are accepted.
fn require_defaults(requested: &mut Members, owner: &str) -> Result<(), Problem> {
    if let Some(node) = take(requested, "owner") {
        let named = body::read_at::<OwnerName>("owner", node, NOT_CHOOSABLE)?;
        if *named.0 != *owner {
            let detail = "You own the keys that you create: leave `owner` out.";
            return Err(Problem::at(NOT_CHOOSABLE, "/owner", detail));
        }
    }
    if let Some(node) = take(requested, "access") {
        let access = body::read_at::<AccessRecord>("access", node, NOT_CHOOSABLE)?;
        if access.mode != Some(AccessMode::Inherit) {
            let detail = "The key inherits the access of its team: leave `access` out.";
            return Err(Problem::at(NOT_CHOOSABLE, "/access", detail));
        }
    }
    match requested.first() {
        None => Ok(()),
        Some((name, _)) => {
            let detail = format!("You cannot set `{name}`: leave it out.");
            Err(Problem::at(NOT_CHOOSABLE, pointer("", &[name]), detail))
        }
    }
}
