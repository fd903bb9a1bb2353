//! Usage, remaining quota and time until reset, read from the counter records that admission charges, or from the rows that a
//! fleet shares.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::caller::{Permission, Resource};
use super::context::RequestContext;
use super::json_response;
use super::keys::require_for_key;
use super::page::no_parameters;
use super::problem::Problem;
use super::{AdminDecision, CountersRead, RequestInputs};
use crate::auth::identity::{member_record, self_service_record};
use crate::counters::RecordKeys;
use crate::counters::{CounterId, CounterKind, CounterRecord, CounterStore, RecordKey, StoreError};
use crate::fleet::{FleetNow, Row, RowBlock};
use crate::json::out_of_line::object;
use crate::money::{Period, Pico, dollars};
use crate::policy::{Owner, Policy, Quota};
use crate::quota::{Limits, Window};
use crate::text::hash::fingerprint;
use crate::time::{Now, SECOND, period_end, period_index};

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
    let policy = &*context.policy;
    let mut usage = Usage::new(policy, context.inputs);
    let key = policy.keys.get(ix.0);
    let record = names.key(&key.map_or(Cow::Borrowed(id), |key| key.instance()));
    let mut used_of_key = usage.of(store, &record, key.and_then(|key| key.allowance()))?;
    let team = policy.teams.get(team.0);
    let owner = match key.map(|key| key.owner) {
        Some(Owner::User(user)) => policy.users.get(user.0),
        _ => None,
    };
    if let (Some(key), Some(team), Some(user)) = (key, team, owner) {
        if let Some(allowance) = team.member_allowance.as_deref() {
            let record = member_record(names, team, user);
            let member = usage.of(store, &record, Some(allowance))?;
            used_of_key.insert("member".into(), with("user", &user.id, member));
        }
        if let Some(allowance) = key.self_service_budget(team) {
            let record = self_service_record(names, key, team, user);
            let keys = usage.of(store, &record, Some(&allowance))?;
            used_of_key.insert("self_service".into(), with("user", &user.id, keys));
        }
    }
    Ok(usage.answer(&with("key", id, used_of_key)))
}

fn show<C: CounterStore>(
    context: &RequestContext<'_>,
    store: &mut C,
    (kind, id): (&str, &str),
    record: &RecordKey,
    allowance: Option<&Quota>,
) -> Result<AdminDecision, Problem> {
    let mut usage = Usage::new(context.policy, context.inputs);
    let used = usage.of(store, record, allowance)?;
    Ok(usage.answer(&with(kind, id, used)))
}

fn with(kind: &str, id: &str, mut fields: Map<String, Value>) -> Value {
    fields.insert(kind.into(), id.into());
    Value::Object(fields)
}

/// The counters of one principal.
enum Counters<'r> {
    Own(CounterRecord),
    Shared(&'r Row, FleetNow),
}

/// Reads the counters of principals, and collects those that are to be read first.
struct Usage<'u> {
    policy: &'u Policy,
    read: &'u CountersRead,
    now: Now,
    missing: Vec<RecordKey>,
}

impl<'u> Usage<'u> {
    fn new(policy: &'u Policy, inputs: &'u RequestInputs) -> Self {
        Usage { policy, read: &inputs.counters, now: inputs.now, missing: Vec::new() }
    }

    /// Returns all counters of one principal. Only limited windows are counted.
    fn of<C: CounterStore>(
        &mut self,
        store: &mut C,
        name: &RecordKey,
        allowance: Option<&Quota>,
    ) -> Result<Map<String, Value>, Problem> {
        let mut fields = Map::new();
        let nothing = Row::default();
        let counters = match (self.read, allowance) {
            (_, None) => None,
            (CountersRead::Own, Some(allowance)) => {
                let record = store
                    .read(name)
                    .and_then(|(bytes, _)| CounterRecord::open(bytes, name.fingerprint()))
                    .map_err(|error| unavailable(&error))?;
                Some((Counters::Own(record), allowance))
            }
            (CountersRead::Shared, Some(_)) => {
                self.missing.push(name.clone());
                None
            }
            (CountersRead::Rows(rows, fleet), Some(allowance)) => {
                let row = rows.iter().find(|(of, _)| of == name).map_or(&nothing, |(_, row)| row);
                Some((Counters::Shared(row, *fleet), allowance))
            }
        };
        let Some((mut counters, allowance)) = counters else {
            fields.insert("limits".into(), json!([]));
            fields.insert("target_limits".into(), json!([]));
            fields.insert("budget".into(), Value::Null);
            return Ok(fields);
        };
        fields.insert("limits".into(), windows(&mut counters, &allowance.limits, 0, self.now).into());
        let mut by_target = Vec::new();
        for (ix, limits) in &allowance.target_limits {
            let target = self.policy.targets.name(ix.0);
            for mut entry in windows(&mut counters, limits, fingerprint(target.as_bytes()), self.now) {
                if let Some(fields) = entry.as_object_mut() {
                    fields.insert("target".into(), target.into());
                }
                by_target.push(entry);
            }
        }
        fields.insert("target_limits".into(), by_target.into());
        fields.insert("budget".into(), budget(&counters, allowance, self.now));
        Ok(fields)
    }

    /// Returns the response, unless rows have to be read for it.
    fn answer(self, body: &Value) -> AdminDecision {
        if self.missing.is_empty() {
            AdminDecision::Answer(json_response(200, body))
        } else {
            AdminDecision::Rows(self.missing)
        }
    }
}

/// Adds the figures that only shared counters have.
fn add_shared(fields: &mut Value, block: Option<&RowBlock>, fleet: FleetNow, show: impl Fn(u128) -> Value) {
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("leased".into(), show(block.map_or(0, |block| block.leased)));
        fields.insert("stranded".into(), show(block.map_or(0, |block| block.stranded(fleet))));
    }
}

fn count(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

fn windows(counters: &mut Counters<'_>, limits: &Limits, target: u64, now: Now) -> Vec<Value> {
    let line = |window: Window, limit: u64, used: u64, until_empty: u64| {
        object!({
            "window": window.name(),
            "limit": limit,
            "used": used,
            "left": limit.saturating_sub(used),
            "resets_in_seconds": until_empty.div_ceil(SECOND),
        })
    };
    limits
        .iter()
        .filter_map(|(window, limit)| match counters {
            Counters::Own(record) => {
                let counter = record.counter(window, target, now)?;
                Some(line(window, limit, counter.used(), counter.until_empty(now)))
            }
            Counters::Shared(row, fleet) => {
                let block = row.block(CounterId { kind: CounterKind::Window(window), target });
                let used = block.map_or(0, |block| block.used(*fleet));
                let empty = block.and_then(|block| block.empty_at(*fleet));
                let until_empty = empty.map_or(0, |at| at.0.saturating_sub(fleet.earliest.0));
                let mut line = line(window, limit, count(used), until_empty);
                add_shared(&mut line, block, *fleet, |amount| count(amount).into());
                Some(line)
            }
        })
        .collect()
}

#[allow(clippy::wildcard_enum_match_arm, reason = "every other period ends")]
fn budget(counters: &Counters<'_>, allowance: &Quota, now: Now) -> Value {
    let Some(budget) = allowance.budget else { return Value::Null };
    let line = |spent: Pico, estimated: Pico, until_over: Option<u64>| {
        let resets = match budget.period {
            Period::Lifetime => None,
            _ => until_over.map(|nanos| nanos.div_ceil(SECOND)),
        };
        object!({
            "max": dollars(budget.max),
            "soft": budget.soft.map(dollars),
            "period": budget.period.name(),
            "spent": dollars(spent),
            "estimated": dollars(estimated),
            "left": dollars(Pico(budget.max.0.saturating_sub(spent.0))),
            "resets_in_seconds": resets,
        })
    };
    match counters {
        Counters::Own(record) => {
            let mut spend = record.spend();
            spend.advance(budget.period, now.wall);
            line(spend.spent(), spend.estimated(), spend.until_over(now.wall))
        }
        Counters::Shared(row, fleet) => {
            let block = row.block(CounterId { kind: CounterKind::Budget, target: 0 });
            let spent = block.map_or(0, |block| block.used(*fleet));
            let estimated = block.map_or(0, |block| block.estimated(*fleet));
            let end = period_end(budget.period, period_index(budget.period, fleet.latest.0));
            let until_over = end.map(|end| end.saturating_sub(fleet.earliest.0));
            let mut line = line(Pico(spent), Pico(estimated), until_over);
            add_shared(&mut line, block, *fleet, |amount| dollars(Pico(amount)).into());
            line
        }
    }
}

fn unavailable(error: &StoreError) -> Problem {
    let what = match error {
        StoreError::Unavailable(_) => "are unavailable on this gateway",
        StoreError::Contention => "are too busy",
    };
    Problem::new(503, "usage_unavailable", format!("The counters {what}. Try again shortly."))
}
