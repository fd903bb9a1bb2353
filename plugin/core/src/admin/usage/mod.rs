//! Usage: remaining quota and time until reset, read from the counter records that admission charges, and the sums of the
//! ledger, which counts every call.

mod history;
mod query;
mod table;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::AdminDecision;
use super::caller::{Permission, Resource};
use super::context::RequestContext;
use super::json_response;
use super::keys::require_for_key;
use super::problem::Problem;
use crate::auth::identity::{member_record, self_service_record};
use crate::counters::RecordKeys;
use crate::counters::{CounterRecord, CounterStore, RecordKey, StoreError};
use crate::json::out_of_line::object;
use crate::ledger::{LedgerNames, Subject, since};
use crate::money::Period;
use crate::money::dollars;
use crate::policy::access::role_of;
use crate::policy::{Owner, Policy, Quota, Team, UserId};
use crate::quota::Limits;
use crate::text::hash::fingerprint;
use crate::time::{Now, SECOND};
#[cfg(feature = "schema")]
pub(super) use query::MAX_ROWS;
use query::{Group, Offered, UsageQuery};
use table::{Nearest, Rows};

/// `GET /organizations/{id}/usage`
pub(super) fn of_organization<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    key_prefix: &str,
    id: &str,
) -> Result<AdminDecision, Problem> {
    let offered = Offered { groups: &[Group::Team, Group::Target], days_only: false, ordered: true };
    let query = UsageQuery::from_request(context.request, context.inputs.now, offered)?;
    let ix = context.organization(id)?;
    context.require(Permission::ReadUsage, Resource::Organization(ix))?;
    let (policy, now) = (&*context.policy, context.inputs.now);
    let organization = policy.organizations.get(ix.0);
    let allowance = organization.and_then(|record| record.allowance.as_deref());
    let name = organization.map_or(Cow::Borrowed(id), |organization| organization.instance());
    let record = RecordKeys::new(key_prefix).organization(&name);
    let answer = with("organization", id, used(policy, store, &record, allowance, now)?);
    let teams = policy.teams_of(ix).map(|(team, _)| team).collect();
    let names = LedgerNames::new(key_prefix);
    let rows = history::of_teams(policy, store, (key_prefix, now), teams, &query)?;
    respond(context, store, &names, (answer, id), &query, &rows)
}

/// `GET /teams/{id}/usage`
pub(super) fn of_team<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    key_prefix: &str,
    id: &str,
) -> Result<AdminDecision, Problem> {
    let groups = &[Group::Target, Group::Key, Group::Member];
    let offered = Offered { groups, days_only: false, ordered: false };
    let query = UsageQuery::from_request(context.request, context.inputs.now, offered)?;
    let (ix, _) = context.team(id)?;
    context.require(Permission::ReadUsage, Resource::Team(ix))?;
    let policy = &*context.policy;
    let team = policy.teams.get(ix.0);
    let allowance = team.and_then(|team| team.allowance.as_deref());
    let name = team.map_or(Cow::Borrowed(id), |team| team.instance());
    let record = RecordKeys::new(key_prefix).team(&name);
    let answer = with("team", id, used(policy, store, &record, allowance, context.inputs.now)?);
    let names = LedgerNames::new(key_prefix);
    let rows = history::of_team(policy, store, &names, ix, &query)?;
    respond(context, store, &names, (answer, id), &query, &rows)
}

/// `GET /keys/{id}/usage`: the usage of the key and, if the team limits its members, of the owner as a member.
pub(super) fn of_key<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    key_prefix: &str,
    id: &str,
) -> Result<AdminDecision, Problem> {
    let query = UsageQuery::from_request(context.request, context.inputs.now, ALONE)?;
    let (ix, team_ix) = context.key(id)?;
    require_for_key(context, ix, team_ix, Permission::ReadUsage)?;
    let (policy, now) = (&*context.policy, context.inputs.now);
    let key = policy.keys.get(ix.0);
    let record_keys = RecordKeys::new(key_prefix);
    let instance = key.map_or(Cow::Borrowed(id), |key| key.instance());
    let record = record_keys.key(&instance);
    let mut used_of_key = used(policy, store, &record, key.and_then(|key| key.allowance()), now)?;
    let team = policy.teams.get(team_ix.0);
    let owner = match key.map(|key| key.owner) {
        Some(Owner::User(id)) => policy.users.get(id.0).map(|user| (id, user)),
        _ => None,
    };
    if let (Some(key), Some(team), Some((owner, user))) = (key, team, owner) {
        if let Some(allowance) = team.member_quota(owner) {
            let record = member_record(&record_keys, team, user);
            let member = used(policy, store, &record, Some(allowance), now)?;
            used_of_key.insert("member".into(), with("user", &user.id, member));
        }
        if let Some(allowance) = key.self_service_budget(team) {
            let record = self_service_record(&record_keys, key, team, user);
            let keys = used(policy, store, &record, Some(&allowance), now)?;
            used_of_key.insert("self_service".into(), with("user", &user.id, keys));
        }
    }
    let names = LedgerNames::new(key_prefix);
    let team = team.map_or(Cow::Borrowed(""), |team| team.instance());
    let rows = history::of_subject(store, &names, &team, Subject::Key(&instance), &query)?;
    respond(context, store, &names, (with("key", id, used_of_key), id), &query, &rows)
}

/// `GET /teams/{id}/members/{user}/usage`: the usage of a member's keys in the team, for the member too.
pub(super) fn of_member<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    key_prefix: &str,
    id: &str,
    user: &str,
) -> Result<AdminDecision, Problem> {
    let query = UsageQuery::from_request(context.request, context.inputs.now, ALONE)?;
    let (ix, _) = context.team(id)?;
    let policy = &*context.policy;
    let found = policy.users.find(user).map(UserId);
    let found = found.and_then(|user| {
        let team = policy.teams.get(ix.0).filter(|team| role_of(&team.members, user).is_some())?;
        Some((user, policy.users.get(user.0)?, team))
    });
    let is_own = found.is_some_and(|(user, ..)| user == context.caller.user);
    if !is_own {
        context.require(Permission::ReadUsage, Resource::Team(ix))?;
    }
    let Some((member, record, team)) = found else { return Err(Problem::not_found("member", user)) };
    let counters = member_record(&RecordKeys::new(key_prefix), team, record);
    let allowance = team.member_quota(member);
    let mut answer = used(policy, store, &counters, allowance, context.inputs.now)?;
    answer.insert("team".into(), id.into());
    let names = LedgerNames::new(key_prefix);
    let subject = record.instance();
    let rows = history::of_subject(store, &names, &team.instance(), Subject::Member(&subject), &query)?;
    respond(context, store, &names, (with("user", user, answer), user), &query, &rows)
}

/// `GET /me/usage`: the usage of the caller's keys, in all teams.
pub(super) fn of_caller<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    key_prefix: &str,
) -> Result<AdminDecision, Problem> {
    let offered = Offered { groups: &[Group::Team], ..ALONE };
    let query = UsageQuery::from_request(context.request, context.inputs.now, offered)?;
    let names = LedgerNames::new(key_prefix);
    let rows = history::of_user(context.policy, store, &names, context.caller.user, &query)?;
    let answer = with("user", &context.caller.id, Map::new());
    respond(context, store, &names, (answer, &context.caller.id), &query, &rows)
}

/// The sums of keys and members.
const ALONE: Offered = Offered { groups: &[], days_only: true, ordered: false };

/// Builds the response in the requested format.
fn respond<C: CounterStore>(
    context: &RequestContext<'_>,
    store: &mut C,
    names: &LedgerNames,
    (answer, id): (Value, &str),
    query: &UsageQuery,
    rows: &Rows,
) -> Result<AdminDecision, Problem> {
    if query.csv {
        let request = context.request;
        let path = format!("{}{}?{}", context.path_prefix, request.path, without_after(&request.query));
        return Ok(AdminDecision::Answer(rows.csv_response(query, id, &path)));
    }
    // Counts are complete from the first configuration on, and as long as they are kept.
    let unit = query.unit;
    let oldest = unit.index(context.inputs.now.wall).saturating_add(1).saturating_sub(unit.kept());
    let since = since(store, names).map_err(|error| unavailable(&error))?;
    let since = since.map(|since| since.max(unit.start(oldest)));
    let mut response = json_response(200, &Value::Null);
    response.body = rows.to_json(&answer, query, since);
    Ok(AdminDecision::Answer(response))
}

/// Removes `after` from a query.
fn without_after(query: &str) -> String {
    let kept: Vec<&str> = query.split('&').filter(|part| !part.starts_with("after=")).collect();
    kept.join("&")
}

/// Returns the limit or budget of a team of which it has used the largest part.
fn nearest<C: CounterStore>(
    policy: &Policy,
    store: &mut C,
    key_prefix: &str,
    team: &Team,
    now: Now,
) -> Result<Option<Nearest>, Problem> {
    let Some(allowance) = team.allowance.as_deref() else { return Ok(None) };
    let name = RecordKeys::new(key_prefix).team(&team.instance());
    let mut record = open(store, &name)?;
    let percent = |used: u128, limit: u128| {
        let percent = used.saturating_mul(100).checked_div(limit).unwrap_or(100);
        u64::try_from(percent).unwrap_or(u64::MAX)
    };
    let mut nearest: Option<Nearest> = None;
    let mut add = |limit: String, percent: u64| {
        if nearest.as_ref().is_none_or(|known| known.percent < percent) {
            nearest = Some(Nearest { limit, percent });
        }
    };
    let whole = core::iter::once((None, &allowance.limits));
    let targets =
        allowance.target_limits.iter().map(|(ix, limits)| (Some(policy.targets.name(ix.0)), limits));
    for (target, limits) in whole.chain(targets) {
        let counted = target.map_or(0, |target| fingerprint(target.as_bytes()));
        for (window, limit) in limits.iter() {
            let used = record.counter(window, counted, now).map_or(0, |counter| counter.used());
            let name =
                target.map_or_else(|| window.name().into(), |target| format!("{target} {}", window.name()));
            add(name, percent(used.into(), limit.into()));
        }
    }
    if let Some(budget) = allowance.budget {
        let mut spend = record.spend();
        spend.advance(budget.period, now.wall);
        add("budget".into(), percent(spend.spent().0, budget.max.0));
    }
    Ok(nearest)
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
    let mut record = open(store, name)?;
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

fn open<C: CounterStore>(store: &mut C, name: &RecordKey) -> Result<CounterRecord, Problem> {
    let read = store.read(name).and_then(|(bytes, _)| CounterRecord::open(bytes, name.fingerprint()));
    read.map_err(|error| unavailable(&error))
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
