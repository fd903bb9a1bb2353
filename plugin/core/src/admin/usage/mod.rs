//! Usage: remaining quota and time until reset, read from the counter records that admission charges, and the sums of the
//! ledger, which counts every call.

mod history;
mod query;
mod quotas;
mod table;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::{Map, Value};

use super::AdminDecision;
use super::caller::{Permission, Resource};
use super::context::RequestContext;
use super::json_response;
use super::keys::require_for_key;
use super::problem::Problem;
use crate::auth::identity::{member_record, self_service_record};
use crate::config::GatewayConfig;
use crate::counters::{CounterStore, StoreError};
use crate::ledger::{LedgerNames, Subject, since};
use crate::policy::access::role_of;
use crate::policy::{Owner, UserId};
#[cfg(feature = "schema")]
pub(super) use query::MAX_ROWS;
use query::{Group, Offered, UsageQuery};
use quotas::Quotas;
use table::Rows;

/// `GET /organizations/{id}/usage`
pub(super) fn of_organization<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    config: &GatewayConfig,
    id: &str,
) -> Result<AdminDecision, Problem> {
    let offered = Offered { groups: &[Group::Team, Group::Target], days_only: false, ordered: true };
    let query = UsageQuery::from_request(context.request, context.inputs.now, offered)?;
    let ix = context.organization(id)?;
    context.require(Permission::ReadUsage, Resource::Organization(ix))?;
    let policy = &*context.policy;
    let organization = policy.organizations.get(ix.0);
    let allowance = organization.and_then(|record| record.allowance.as_deref());
    let name = organization.map_or(Cow::Borrowed(id), |organization| organization.instance());
    let record = config.record_keys.organization(&name);
    let mut quotas = Quotas::new(policy, context.inputs);
    let answer = with("organization", id, quotas.of(store, &record, allowance)?);
    let teams = policy.teams_of(ix).map(|(team, _)| team).collect();
    let names = LedgerNames::new(&config.prefix);
    let rows = history::of_teams(policy, store, config, &mut quotas, teams, &query)?;
    if let Some(read) = quotas.rows_to_read() {
        return Ok(read);
    }
    respond(context, store, &names, (answer, id), &query, &rows)
}

/// `GET /teams/{id}/usage`
pub(super) fn of_team<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    config: &GatewayConfig,
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
    let record = config.record_keys.team(&name);
    let mut quotas = Quotas::new(policy, context.inputs);
    let answer = with("team", id, quotas.of(store, &record, allowance)?);
    if let Some(read) = quotas.rows_to_read() {
        return Ok(read);
    }
    let names = LedgerNames::new(&config.prefix);
    let rows = history::of_team(policy, store, &names, ix, &query)?;
    respond(context, store, &names, (answer, id), &query, &rows)
}

/// `GET /keys/{id}/usage`: the usage of the key and, if the team limits its members, of the owner as a member.
pub(super) fn of_key<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    config: &GatewayConfig,
    id: &str,
) -> Result<AdminDecision, Problem> {
    let query = UsageQuery::from_request(context.request, context.inputs.now, ALONE)?;
    let (ix, team_ix) = context.key(id)?;
    require_for_key(context, ix, team_ix, Permission::ReadUsage)?;
    let policy = &*context.policy;
    let mut quotas = Quotas::new(policy, context.inputs);
    let key = policy.keys.get(ix.0);
    let record_keys = &config.record_keys;
    let instance = key.map_or(Cow::Borrowed(id), |key| key.instance());
    let record = record_keys.key(&instance);
    let mut used_of_key = quotas.of(store, &record, key.and_then(|key| key.allowance()))?;
    let team = policy.teams.get(team_ix.0);
    let owner = match key.map(|key| key.owner) {
        Some(Owner::User(id)) => policy.users.get(id.0).map(|user| (id, user)),
        _ => None,
    };
    if let (Some(key), Some(team), Some((owner, user))) = (key, team, owner) {
        if let Some(allowance) = team.member_quota(owner) {
            let record = member_record(record_keys, team, user);
            let member = quotas.of(store, &record, Some(allowance))?;
            used_of_key.insert("member".into(), with("user", &user.id, member));
        }
        if let Some(allowance) = key.self_service_budget(team) {
            let record = self_service_record(record_keys, key, team, user);
            let keys = quotas.of(store, &record, Some(&allowance))?;
            used_of_key.insert("self_service".into(), with("user", &user.id, keys));
        }
    }
    if let Some(read) = quotas.rows_to_read() {
        return Ok(read);
    }
    let names = LedgerNames::new(&config.prefix);
    let team = team.map_or(Cow::Borrowed(""), |team| team.instance());
    let rows = history::of_subject(store, &names, &team, Subject::Key(&instance), &query)?;
    respond(context, store, &names, (with("key", id, used_of_key), id), &query, &rows)
}

/// `GET /teams/{id}/members/{user}/usage`: the usage of a member's keys in the team, for the member too.
pub(super) fn of_member<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    config: &GatewayConfig,
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
    let counters = member_record(&config.record_keys, team, record);
    let allowance = team.member_quota(member);
    let mut quotas = Quotas::new(policy, context.inputs);
    let mut answer = quotas.of(store, &counters, allowance)?;
    if let Some(read) = quotas.rows_to_read() {
        return Ok(read);
    }
    answer.insert("team".into(), id.into());
    let names = LedgerNames::new(&config.prefix);
    let subject = record.instance();
    let rows = history::of_subject(store, &names, &team.instance(), Subject::Member(&subject), &query)?;
    respond(context, store, &names, (with("user", user, answer), user), &query, &rows)
}

/// `GET /me/usage`: the usage of the caller's keys, in all teams.
pub(super) fn of_caller<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    config: &GatewayConfig,
) -> Result<AdminDecision, Problem> {
    let offered = Offered { groups: &[Group::Team], ..ALONE };
    let query = UsageQuery::from_request(context.request, context.inputs.now, offered)?;
    let names = LedgerNames::new(&config.prefix);
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

fn with(kind: &str, id: &str, mut fields: Map<alloc::string::String, Value>) -> Value {
    fields.insert(kind.into(), id.into());
    Value::Object(fields)
}

fn unavailable(error: &StoreError) -> Problem {
    let what = match error {
        StoreError::Unavailable(_) => "are unavailable on this gateway",
        StoreError::Contention => "are too busy",
    };
    Problem::new(503, "usage_unavailable", format!("The counters {what}. Try again shortly."))
}
