//! Usage, remaining quota and time until reset, read from the counter records that admission charges.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::AdminDecision;
use super::caller::{Permission, Resource};
use super::context::RequestContext;
use super::json_response;
use super::keys::require_for_key;
use super::page::no_parameters;
use super::problem::Problem;
use crate::auth::identity::{member_record, self_service_record};
use crate::counters::RecordKeys;
use crate::counters::{CounterRecord, CounterStore, RecordKey, StoreError};
use crate::json::out_of_line::object;
use crate::money::Period;
use crate::money::dollars;
use crate::policy::{Owner, Policy, Quota};
use crate::quota::Limits;
use crate::text::hash::fingerprint;
use crate::time::{Now, SECOND};

/// `GET /organizations/{id}/usage`
pub(super) fn of_organization<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    names: &RecordKeys,
    id: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let ix = context.organization(id)?;
    context.require(Permission::ReadUsage, Resource::Organization(ix))?;
    let organization = context.policy.organizations.get(ix.0);
    let allowance = organization.and_then(|record| record.allowance.as_deref());
    let name = organization.map_or(Cow::Borrowed(id), |organization| organization.instance());
    show(context, store, ("organization", id), &names.organization(&name), allowance)
}

/// `GET /teams/{id}/usage`
pub(super) fn of_team<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    names: &RecordKeys,
    id: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, _) = context.team(id)?;
    context.require(Permission::ReadUsage, Resource::Team(ix))?;
    let team = context.policy.teams.get(ix.0);
    let allowance = team.and_then(|team| team.allowance.as_deref());
    let name = team.map_or(Cow::Borrowed(id), |team| team.instance());
    show(context, store, ("team", id), &names.team(&name), allowance)
}

/// `GET /keys/{id}/usage`: the usage of the key and, if the team limits its members, of the owner as a member.
pub(super) fn of_key<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    names: &RecordKeys,
    id: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, team) = context.key(id)?;
    require_for_key(context, ix, team, Permission::ReadUsage)?;
    let (policy, now) = (&*context.policy, context.inputs.now);
    let key = policy.keys.get(ix.0);
    let record = names.key(&key.map_or(Cow::Borrowed(id), |key| key.instance()));
    let mut used_of_key = used(policy, store, &record, key.and_then(|key| key.allowance()), now)?;
    let team = policy.teams.get(team.0);
    let owner = match key.map(|key| key.owner) {
        Some(Owner::User(user)) => policy.users.get(user.0),
        _ => None,
    };
    if let (Some(key), Some(team), Some(user)) = (key, team, owner) {
        if let Some(allowance) = team.member_allowance.as_deref() {
            let record = member_record(names, team, user);
            let member = used(policy, store, &record, Some(allowance), now)?;
            used_of_key.insert("member".into(), with("user", &user.id, member));
        }
        if let Some(allowance) = key.self_service_budget(team) {
            let record = self_service_record(names, key, team, user);
            let keys = used(policy, store, &record, Some(&allowance), now)?;
            used_of_key.insert("self_service".into(), with("user", &user.id, keys));
        }
    }
    Ok(AdminDecision::Answer(json_response(200, &with("key", id, used_of_key))))
}

fn show<C: CounterStore>(
    context: &RequestContext<'_>,
    store: &mut C,
    (kind, id): (&str, &str),
    record: &RecordKey,
    allowance: Option<&Quota>,
) -> Result<AdminDecision, Problem> {
    let used = used(context.policy, store, record, allowance, context.inputs.now)?;
    Ok(AdminDecision::Answer(json_response(200, &with(kind, id, used))))
}

fn with(kind: &str, id: &str, mut fields: Map<alloc::string::String, Value>) -> Value {
    fields.insert(kind.into(), id.into());
    Value::Object(fields)
}

/// Returns all counters of one principal's record. Only limited windows are counted.
fn used<C: CounterStore>(
    policy: &Policy,
    store: &mut C,
    name: &RecordKey,
    allowance: Option<&Quota>,
    now: Now,
) -> Result<Map<alloc::string::String, Value>, Problem> {
    let mut fields = Map::new();
    let Some(allowance) = allowance else {
        fields.insert("limits".into(), json!([]));
        fields.insert("target_limits".into(), json!([]));
        fields.insert("budget".into(), Value::Null);
        return Ok(fields);
    };
    let mut record = store
        .read(name)
        .and_then(|(bytes, _)| CounterRecord::open(bytes, name.fingerprint()))
        .map_err(|error| unavailable(&error))?;
    fields.insert("limits".into(), windows(&mut record, &allowance.limits, 0, now).into());
    let mut by_target = Vec::new();
    for (ix, limits) in &allowance.target_limits {
        let target = policy.targets.name(ix.0);
        for mut entry in windows(&mut record, limits, fingerprint(target.as_bytes()), now) {
            if let Some(fields) = entry.as_object_mut() {
                fields.insert("target".into(), target.into());
            }
            by_target.push(entry);
        }
    }
    fields.insert("target_limits".into(), by_target.into());
    fields.insert("budget".into(), budget(&record, allowance, now));
    Ok(fields)
}

fn windows(record: &mut CounterRecord, limits: &Limits, target: u64, now: Now) -> Vec<Value> {
    limits
        .iter()
        .filter_map(|(window, limit)| {
            let counter = record.counter(window, target, now)?;
            Some(object!({
                "window": window.name(),
                "limit": limit,
                "used": counter.used(),
                "left": limit.saturating_sub(counter.used()),
                "resets_in_seconds": counter.until_empty(now).div_ceil(SECOND),
            }))
        })
        .collect()
}

#[allow(clippy::wildcard_enum_match_arm, reason = "every other period ends")]
fn budget(record: &CounterRecord, allowance: &Quota, now: Now) -> Value {
    let Some(budget) = allowance.budget else { return Value::Null };
    let mut spend = record.spend();
    spend.advance(budget.period, now.wall);
    let left = crate::money::Pico(budget.max.0.saturating_sub(spend.spent().0));
    let resets = match budget.period {
        Period::Lifetime => None,
        _ => spend.until_over(now.wall).map(|nanos| nanos.div_ceil(SECOND)),
    };
    object!({
        "max": dollars(budget.max),
        "soft": budget.soft.map(dollars),
        "period": budget.period.name(),
        "spent": dollars(spend.spent()),
        "estimated": dollars(spend.estimated()),
        "left": dollars(left),
        "resets_in_seconds": resets,
    })
}

fn unavailable(error: &StoreError) -> Problem {
    let what = match error {
        StoreError::Unavailable(_) => "are unavailable on this gateway",
        StoreError::Contention => "are too busy",
    };
    Problem::new(503, "usage_unavailable", format!("The counters {what}. Try again shortly."))
}
