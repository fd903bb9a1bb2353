//! The parameters of a question about usage.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::super::AdminRequest;
use super::super::page::{DEFAULT_LIMIT, invalid_parameter, parameters, parse_after};
use super::super::problem::Problem;
use crate::ledger::Unit;
use crate::time::{Now, Timestamp, parse_rfc3339};

/// The maximum number of rows in an answer.
pub(in crate::admin) const MAX_ROWS: usize = 1_000;

/// The maximum number of records that an answer reads.
const MAX_READS: usize = 3_000;

/// The maximum number of periods that an answer reads, over all keys, members or teams.
const MAX_PERIODS: usize = 10_000;

/// A dimension that sums are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Targets.
    Target,
    /// Keys.
    Key,
    /// Members.
    Member,
    /// Teams.
    Team,
}

impl Group {
    const ALL: [Group; 4] = [Group::Target, Group::Key, Group::Member, Group::Team];

    /// Returns the name of the parameter's value, and of the member in rows.
    pub(super) fn name(self) -> &'static str {
        match self {
            Group::Target => "target",
            Group::Key => "key",
            Group::Member => "member",
            Group::Team => "team",
        }
    }
}

/// An order of teams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The highest cost first.
    Spend,
    /// The team first that has used the largest part of one of its limits or of its budget.
    Closeness,
}

/// The sums that a resource has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    /// The groups.
    pub groups: &'static [Group],
    /// True if the sums of no group are kept by hour.
    pub days_only: bool,
    /// True for lists of teams that can be ordered.
    pub ordered: bool,
}

/// A question about usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UsageQuery {
    /// The length of the periods; `None`: one sum over the whole range.
    pub by: Option<Unit>,
    /// The length of the periods that are read.
    pub unit: Unit,
    /// The periods that are read.
    pub periods: RangeInclusive<u64>,
    /// The dimension that sums are told apart by.
    pub group: Option<Group>,
    /// The order; `None`: by id.
    pub order: Option<Order>,
    /// True for an answer as CSV.
    pub csv: bool,
    /// The maximum number of targets, keys, members or teams.
    pub limit: usize,
    /// Only those after this one.
    pub after: Option<String>,
}

impl UsageQuery {
    /// Reads the parameters.
    ///
    /// # Errors
    /// 400 for parameters that are unknown, invalid, or not answered by this resource.
    pub(super) fn from_request(
        request: &AdminRequest,
        now: Now,
        offered: Offered,
    ) -> Result<UsageQuery, Problem> {
        let names = ["from", "to", "by", "group", "sort", "format", "limit", "after"];
        let [from, to, by, group, sort, format, limit, after] = parameters(request, names)?;
        let by = one_of("by", by, Unit::ALL.map(|unit| (unit.name(), unit)))?;
        let group = one_of("group", group, Group::ALL.map(|group| (group.name(), group)))?;
        let order = [("spend", Order::Spend), ("closeness", Order::Closeness)];
        let order = one_of("sort", sort, order)?;
        let csv = one_of("format", format, [("json", false), ("csv", true)])?.unwrap_or_default();
        if let Some(group) = group.filter(|group| !offered.groups.contains(group)) {
            return Err(invalid_parameter("group", not_grouped(group, offered.groups)));
        }
        if order.is_some() && !(offered.ordered && group == Some(Group::Team) && by.is_none()) {
            let detail = "`sort` is for sums over a whole range with `group=team`, of an organization.";
            return Err(invalid_parameter("sort", detail.into()));
        }
        let days_only = offered.days_only || matches!(group, Some(Group::Key | Group::Member));
        let from = moment("from", from)?;
        let to = moment("to", to)?.filter(|to| *to < now.wall);
        let unit = by.unwrap_or_else(|| unit_of(from, to));
        if days_only && unit == Unit::Hour {
            let detail = "Sums of keys and members are kept by day: `from` and `to` must be midnight UTC, and `by` \
                          must not be `hour`.";
            return Err(invalid_parameter(if by.is_some() { "by" } else { "from" }, detail.into()));
        }
        let last = unit.index(to.map_or(now.wall, |to| to.saturating_sub(1)));
        let first = match from {
            Some(from) => unit.index(from),
            None if by.is_none() => unit.index(Unit::Month.start(Unit::Month.index(unit.start(last)))),
            None => (last.saturating_add(1)).saturating_sub(unit.kept()),
        };
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(invalid_parameter("from", "`from` must be before `to`.".into()));
        }
        Ok(UsageQuery {
            by,
            unit,
            periods: first..=last,
            group,
            order,
            csv,
            limit: parse_limit(limit)?,
            after: parse_after(after)?,
        })
    }

    /// Returns the number of keys, members or teams that one answer reads at most. `reads`: the number of records that are
    /// read for each.
    pub(super) fn most_read(&self, reads: usize) -> usize {
        let of = |all: usize, each: usize| all.checked_div(each).unwrap_or(all).max(1);
        of(MAX_READS, reads).min(of(MAX_PERIODS, self.period_count()))
    }

    /// Returns the number of those that one answer lists at most.
    pub(super) fn most_listed(&self, reads: usize) -> usize {
        let rows = if self.by.is_some() { MAX_ROWS.checked_div(self.period_count()) } else { None };
        self.limit.min(self.most_read(reads)).min(rows.unwrap_or(MAX_ROWS).max(1))
    }

    /// The number of periods of each; of longer ranges no more is stored.
    fn period_count(&self) -> usize {
        let (first, last) = (*self.periods.start(), *self.periods.end());
        let count = last.saturating_sub(first).saturating_add(1).min(self.unit.kept().saturating_mul(2));
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

/// The longest periods that begin at the ends of a range.
fn unit_of(from: Option<u64>, to: Option<u64>) -> Unit {
    let begins =
        |unit: &Unit| [from, to].into_iter().flatten().all(|moment| unit.start(unit.index(moment)) == moment);
    [Unit::Month, Unit::Day].into_iter().find(begins).unwrap_or(Unit::Hour)
}

fn not_grouped(group: Group, known: &[Group]) -> String {
    let known: Vec<String> = known.iter().map(|group| format!("`{}`", group.name())).collect();
    let known = if known.is_empty() { "it has no groups".to_string() } else { known.join(", ") };
    format!("The usage here has no sums by `{}`; known: {known}.", group.name())
}

fn one_of<T: Copy, const N: usize>(
    name: &'static str,
    value: Option<String>,
    known: [(&'static str, T); N],
) -> Result<Option<T>, Problem> {
    let Some(value) = value else { return Ok(None) };
    match known.iter().find(|(text, _)| *text == value) {
        Some((_, found)) => Ok(Some(*found)),
        None => {
            let known: Vec<String> = known.iter().map(|(text, _)| format!("`{text}`")).collect();
            Err(invalid_parameter(name, format!("`{name}` must be one of {}.", known.join(", "))))
        }
    }
}

/// Parses a moment, or a date, which stands for its first moment in UTC (ns).
fn moment(name: &'static str, text: Option<String>) -> Result<Option<u64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let whole = if text.len() == "2026-01-31".len() { format!("{text}T00:00:00Z") } else { text };
    match parse_rfc3339(&whole) {
        Some(Timestamp(millis)) => Ok(Some(millis.saturating_mul(1_000_000))),
        None => {
            let detail =
                format!("`{name}` must be a date, as 2026-01-31, or a moment, as 2026-01-31T08:00:00Z.");
            Err(invalid_parameter(name, detail))
        }
    }
}

fn parse_limit(limit: Option<String>) -> Result<usize, Problem> {
    match limit.map(|text| text.parse()) {
        None => Ok(DEFAULT_LIMIT),
        Some(Ok(limit)) if (1..=MAX_ROWS).contains(&limit) => Ok(limit),
        Some(_) => {
            let detail = format!("`limit` must be an integer from 1 to {MAX_ROWS}.");
            Err(invalid_parameter("limit", detail))
        }
    }
}
