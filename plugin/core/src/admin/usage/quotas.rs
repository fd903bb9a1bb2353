//! Remaining quotas, and the time until reset: from the counter records of this process, or from the rows that a fleet shares.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::super::problem::Problem;
use super::super::{AdminDecision, CountersRead, RequestInputs};
use super::table::Nearest;
use super::unavailable;
use crate::counters::{CounterId, CounterKind, CounterRecord, CounterStore, RecordKey, RecordKeys};
use crate::fleet::{FleetNow, GatewayId, Row, RowBlock, Slice, SliceBlock};
use crate::json::out_of_line::object;
use crate::money::{Budget, Period, Pico, dollars};
use crate::policy::{Policy, Quota, Team};
use crate::quota::{Limits, Window};
use crate::text::hash::fingerprint;
use crate::time::{Now, SECOND, period_end, period_index};

/// The counters of one principal.
enum Counters<'r> {
    Own(CounterRecord),
    /// The row, the fleet's time, and the slice of this gateway: its spends since the last call are not in the row.
    Shared(&'r Row, FleetNow, Slice),
}

/// Reads the counters of principals, and collects those that are to be read from the fleet's store first.
pub(super) struct Quotas<'u> {
    policy: &'u Policy,
    read: &'u CountersRead,
    now: Now,
    nothing: Row,
    missing: Vec<RecordKey>,
}

impl<'u> Quotas<'u> {
    pub(super) fn new(policy: &'u Policy, inputs: &'u RequestInputs) -> Self {
        let (read, now) = (&inputs.counters, inputs.now);
        Quotas { policy, read, now, nothing: Row::default(), missing: Vec::new() }
    }

    /// The decision to read rows first, if any are needed.
    pub(super) fn rows_to_read(&mut self) -> Option<AdminDecision> {
        (!self.missing.is_empty()).then(|| AdminDecision::Rows(core::mem::take(&mut self.missing)))
    }

    /// The counters of a principal; `None` if its row is to be read first.
    fn counters<C: CounterStore>(
        &mut self,
        store: &mut C,
        name: &RecordKey,
    ) -> Result<Option<Counters<'_>>, Problem> {
        match self.read {
            CountersRead::Own => {
                let read = store.read(name);
                let opened = read.and_then(|(bytes, _)| CounterRecord::open(bytes, name.fingerprint()));
                opened.map(|record| Some(Counters::Own(record))).map_err(|error| unavailable(&error))
            }
            CountersRead::Shared => {
                self.missing.push(name.clone());
                Ok(None)
            }
            CountersRead::Rows(rows, fleet) => {
                let row = rows.iter().find(|(of, _)| of == name).map_or(&self.nothing, |(_, row)| row);
                let slice = store
                    .read(name)
                    .and_then(|(bytes, _)| Slice::open(&bytes, name.fingerprint(), GatewayId::default()));
                slice
                    .map(|slice| Some(Counters::Shared(row, *fleet, slice)))
                    .map_err(|error| unavailable(&error))
            }
        }
    }

    /// Returns all counters of one principal. Only limited windows are counted.
    pub(super) fn of<C: CounterStore>(
        &mut self,
        store: &mut C,
        name: &RecordKey,
        allowance: Option<&Quota>,
    ) -> Result<Map<String, Value>, Problem> {
        let (policy, now) = (self.policy, self.now);
        let mut fields = Map::new();
        let counters = match allowance {
            Some(_) => self.counters(store, name)?,
            None => None,
        };
        let Some((mut counters, allowance)) = counters.zip(allowance) else {
            fields.insert("limits".into(), json!([]));
            fields.insert("target_limits".into(), json!([]));
            fields.insert("budget".into(), Value::Null);
            return Ok(fields);
        };
        fields.insert("limits".into(), counters.windows(&allowance.limits, 0, now).into());
        let mut by_target = Vec::new();
        for (ix, limits) in &allowance.target_limits {
            let target = policy.targets.name(ix.0);
            for mut entry in counters.windows(limits, fingerprint(target.as_bytes()), now) {
                if let Some(fields) = entry.as_object_mut() {
                    fields.insert("target".into(), target.into());
                }
                by_target.push(entry);
            }
        }
        fields.insert("target_limits".into(), by_target.into());
        let budget = allowance.budget.map_or(Value::Null, |budget| counters.budget(&budget, now));
        fields.insert("budget".into(), budget);
        Ok(fields)
    }

    /// Returns the limit or budget of a team of which it has used the largest part.
    pub(super) fn nearest<C: CounterStore>(
        &mut self,
        store: &mut C,
        names: &RecordKeys,
        team: &Team,
    ) -> Result<Option<Nearest>, Problem> {
        let (policy, now) = (self.policy, self.now);
        let Some(allowance) = team.allowance.as_deref() else { return Ok(None) };
        let Some(mut counters) = self.counters(store, &names.team(&team.instance()))? else {
            return Ok(None);
        };
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
                let used = counters.used(window, counted, now);
                let name = target
                    .map_or_else(|| window.name().into(), |target| format!("{target} {}", window.name()));
                add(name, percent(used.into(), limit.into()));
            }
        }
        if let Some(budget) = allowance.budget {
            add("budget".into(), percent(counters.spent(&budget, now).0, budget.max.0));
        }
        Ok(nearest)
    }
}

const BUDGET: CounterId = CounterId { kind: CounterKind::Budget, target: 0 };

impl Counters<'_> {
    /// The requests or tokens in a window.
    fn used(&mut self, window: Window, target: u64, now: Now) -> u64 {
        match self {
            Counters::Own(record) => record.counter(window, target, now).map_or(0, |counter| counter.used()),
            Counters::Shared(row, fleet, slice) => {
                let id = CounterId { kind: CounterKind::Window(window), target };
                count(shared_use(row, *fleet, slice, id))
            }
        }
    }

    /// The money spent in a budget's period.
    fn spent(&self, budget: &Budget, now: Now) -> Pico {
        match self {
            Counters::Own(record) => {
                let mut spend = record.spend();
                spend.advance(budget.period, now.wall);
                spend.spent()
            }
            Counters::Shared(row, fleet, slice) => Pico(shared_use(row, *fleet, slice, BUDGET)),
        }
    }

    fn windows(&mut self, limits: &Limits, target: u64, now: Now) -> Vec<Value> {
        let lines = limits.iter().map(|(window, limit)| {
            let used = self.used(window, target, now);
            let (until_empty, shared) = match self {
                Counters::Own(record) => {
                    let counter = record.counter(window, target, now);
                    (counter.map_or(0, |counter| counter.until_empty(now)), None)
                }
                Counters::Shared(row, fleet, slice) => {
                    let id = CounterId { kind: CounterKind::Window(window), target };
                    let block = row.block(id);
                    let empty = block.and_then(|block| block.empty_at(*fleet));
                    let until_empty = empty.map_or(0, |at| at.0.saturating_sub(fleet.earliest.0));
                    (until_empty, Some((block, *fleet, charged(slice, id))))
                }
            };
            let mut line = object!({
                "window": window.name(),
                "limit": limit,
                "used": used,
                "left": limit.saturating_sub(used),
                "resets_in_seconds": until_empty.div_ceil(SECOND),
            });
            if let Some(shared) = shared {
                add_shared(&mut line, shared, |amount| count(amount).into());
            }
            line
        });
        lines.collect()
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other period ends")]
    fn budget(&self, budget: &Budget, now: Now) -> Value {
        let spent = self.spent(budget, now);
        let (estimated, until_over, shared) = match self {
            Counters::Own(record) => {
                let mut spend = record.spend();
                spend.advance(budget.period, now.wall);
                (spend.estimated(), spend.until_over(now.wall), None)
            }
            Counters::Shared(row, fleet, slice) => {
                let block = row.block(BUDGET);
                let estimated = Pico(block.map_or(0, |block| block.estimated(*fleet)));
                let end = period_end(budget.period, period_index(budget.period, fleet.latest.0));
                let until_over = end.map(|end| end.saturating_sub(fleet.earliest.0));
                (estimated, until_over, Some((block, *fleet, charged(slice, BUDGET))))
            }
        };
        let resets = match budget.period {
            Period::Lifetime => None,
            _ => until_over.map(|nanos| nanos.div_ceil(SECOND)),
        };
        let mut line = object!({
            "max": dollars(budget.max),
            "soft": budget.soft.map(dollars),
            "period": budget.period.name(),
            "spent": dollars(spent),
            "estimated": dollars(estimated),
            "left": dollars(Pico(budget.max.0.saturating_sub(spent.0))),
            "resets_in_seconds": resets,
        });
        if let Some(shared) = shared {
            add_shared(&mut line, shared, |amount| dollars(Pico(amount)).into());
        }
        line
    }
}

/// The amount of a window or period that the fleet has used, the spends of this gateway since its last call included.
fn shared_use(row: &Row, fleet: FleetNow, slice: &Slice, id: CounterId) -> u128 {
    let reported = row.block(id).map_or(0, |block| block.used(fleet));
    slice.block(id).map_or(reported, |block| block.used_beside(reported))
}

/// The amount that this gateway has spent from its slice since the last call.
fn charged(slice: &Slice, id: CounterId) -> u128 {
    slice.block(id).map_or(0, SliceBlock::charged)
}

/// Adds the figures that only shared counters have. `charged` is a part of what the row has leased, and is shown as used.
fn add_shared(
    fields: &mut Value,
    (block, fleet, charged): (Option<&RowBlock>, FleetNow, u128),
    show: impl Fn(u128) -> Value,
) {
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("leased".into(), show(block.map_or(0, |block| block.leased.saturating_sub(charged))));
        fields.insert("stranded".into(), show(block.map_or(0, |block| block.stranded(fleet))));
    }
}

fn count(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}
