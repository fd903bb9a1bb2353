//! The sums that a question asks for, read from the ledger within a bound of records and rows.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::super::page::invalid_parameter;
use super::super::problem::Problem;
use super::query::{Group, MAX_ROWS, Order, UsageQuery};
use super::quotas::Quotas;
use super::table::{Row, Rows};
use super::unavailable;
use crate::collections::sort::{sort, sort_by_key};
use crate::config::GatewayConfig;
use crate::counters::{CounterStore, StoreError};
use crate::ledger::{Amounts, LedgerNames, PeriodSum, Subject, consistent};
use crate::policy::{Owner, Policy, TeamId, UserId};

/// Any member: all read as many records.
const MEMBER: Subject<'_> = Subject::Member("");

/// Returns the sums of a team.
pub(super) fn of_team<C: CounterStore>(
    policy: &Policy,
    store: &mut C,
    names: &LedgerNames,
    id: TeamId,
    query: &UsageQuery,
) -> Result<Rows, Problem> {
    let Some(team) = policy.teams.get(id.0) else { return Ok(Rows::default()) };
    let entities: Vec<(&str, String)> = match query.group {
        Some(Group::Key) => {
            policy.keys_of(id).map(|(_, key)| (&*key.id, key.instance().into_owned())).collect()
        }
        Some(Group::Member) => {
            let users = team.members.iter().filter_map(|(user, _)| policy.users.get(user.0));
            users.map(|user| (&*user.id, user.instance().into_owned())).collect()
        }
        Some(Group::Target | Group::Team) | None => Vec::new(),
    };
    let key = query.group == Some(Group::Key);
    fn subject(key: bool, instance: &str) -> Subject<'_> {
        if key { Subject::Key(instance) } else { Subject::Member(instance) }
    }
    let (page, next) = page(entities, subject(key, ""), query);
    let instance = team.instance();
    let read = consistent(store, names, &instance, |store, reader| {
        let Some(all) = reader.sums(store, Subject::Team, query.unit, &query.periods)? else {
            return Ok(None);
        };
        let mut of_entities = Vec::new();
        for (id, instance) in &page {
            let Some(sums) = reader.sums(store, subject(key, instance), query.unit, &query.periods)? else {
                return Ok(None);
            };
            of_entities.push((*id, sums));
        }
        Ok(Some((all, of_entities)))
    });
    let (all, of_entities) = read.map_err(|error| unavailable(&error))?;
    let total = Some(sum(&all));
    let mut rows = Table::new(query);
    match query.group {
        Some(Group::Key | Group::Member) => {
            for (id, sums) in &of_entities {
                rows.add(Some(id), sums);
            }
            rows.finish(total, next)
        }
        Some(Group::Target | Group::Team) | None => {
            rows.add_targets(&all);
            rows.finish(total, None)
        }
    }
}

/// Returns the sums of a key or a member within a team.
pub(super) fn of_subject<C: CounterStore>(
    store: &mut C,
    names: &LedgerNames,
    team: &str,
    subject: Subject<'_>,
    query: &UsageQuery,
) -> Result<Rows, Problem> {
    let sums = sums_of(store, names, team, subject, query)?;
    let mut rows = Table::new(query);
    rows.add(None, &sums);
    rows.finish(Some(sum(&sums)), None)
}

/// Returns the sums of an organization's teams.
pub(super) fn of_teams<C: CounterStore>(
    policy: &Policy,
    store: &mut C,
    config: &GatewayConfig,
    quotas: &mut Quotas<'_>,
    teams: Vec<TeamId>,
    query: &UsageQuery,
) -> Result<Rows, Problem> {
    let names = LedgerNames::new(&config.prefix);
    let teams = teams.into_iter().map(|team| (policy.teams.name(team.0), team)).collect();
    let mut rows = Table::new(query);
    let mut total = Amounts::default();
    let (page, next) = match query.order {
        None if query.group == Some(Group::Team) => page(teams, Subject::Team, query),
        _ => (within(teams, Subject::Team, query)?, None),
    };
    let whole = next.is_none() && query.after.is_none();
    let mut ordered = Vec::new();
    for (id, ix) in &page {
        let Some(team) = policy.teams.get(ix.0) else { continue };
        let sums = sums_of(store, &names, &team.instance(), Subject::Team, query)?;
        let of_team = sum(&sums);
        total.add(&of_team);
        match (query.order, query.group) {
            (Some(order), _) => {
                let row = Row { name: Some((*id).to_owned()), amounts: of_team, ..Row::default() };
                let row = match order {
                    Order::Spend => row,
                    Order::Closeness => {
                        Row { nearest: quotas.nearest(store, &config.record_keys, team)?, ..row }
                    }
                };
                ordered.push(row);
            }
            (None, Some(Group::Team)) => rows.add(Some(id), &sums),
            (None, _) => rows.add_targets(&sums),
        }
    }
    if query.order.is_some() {
        let part = |row: &Row| row.nearest.as_ref().map(|nearest| nearest.percent);
        sort_by_key(&mut ordered, |row| {
            core::cmp::Reverse((part(row), { row.amounts.cost }, row.amounts.requests))
        });
        ordered.truncate(query.limit);
        return Ok(Rows { rows: ordered, total: Some(total), next: None });
    }
    rows.finish(whole.then_some(total), next)
}

/// Returns the sums of a user in the teams in which the user is a member or owns keys.
pub(super) fn of_user<C: CounterStore>(
    policy: &Policy,
    store: &mut C,
    names: &LedgerNames,
    id: UserId,
    query: &UsageQuery,
) -> Result<Rows, Problem> {
    let Some(user) = policy.users.get(id.0) else { return Ok(Rows::default()) };
    let teams = policy.teams.iter().filter(|(position, _, team)| {
        team.members.iter().any(|(member, _)| *member == id)
            || policy.keys_of(TeamId(*position)).any(|(_, key)| key.owner == Owner::User(id))
    });
    let teams: Vec<(&str, TeamId)> = teams.map(|(position, name, _)| (name, TeamId(position))).collect();
    let by_team = query.group == Some(Group::Team);
    let (page, next) =
        if by_team { page(teams, MEMBER, query) } else { (within(teams, MEMBER, query)?, None) };
    let whole = next.is_none() && query.after.is_none();
    let mut rows = Table::new(query);
    let mut total = Amounts::default();
    let user = user.instance();
    for (id, ix) in page {
        let Some(team) = policy.teams.get(ix.0) else { continue };
        let sums = sums_of(store, names, &team.instance(), Subject::Member(&user), query)?;
        total.add(&sum(&sums));
        rows.add(by_team.then_some(id), &sums);
    }
    rows.finish(whole.then_some(total), next)
}

fn sums_of<C: CounterStore>(
    store: &mut C,
    names: &LedgerNames,
    team: &str,
    subject: Subject<'_>,
    query: &UsageQuery,
) -> Result<Vec<PeriodSum>, Problem> {
    consistent(store, names, team, |store, reader| reader.sums(store, subject, query.unit, &query.periods))
        .map_err(|error: StoreError| unavailable(&error))
}

fn sum(sums: &[PeriodSum]) -> Amounts {
    sums.iter().fold(Amounts::default(), |mut total, sum| {
        total.add(&sum.amounts);
        total
    })
}

/// The number of records that are read for one team, key or member.
fn reads_of_each(subject: Subject<'_>, query: &UsageQuery) -> usize {
    // The inbox, and the counters if teams are ordered by them.
    let others = if query.order == Some(Order::Closeness) { 2 } else { 1 };
    subject.sheets(query.unit, &query.periods).saturating_add(others)
}

/// Returns the page of a list that a question selects, and the cursor of the next one.
fn page<'p, T>(
    mut all: Vec<(&'p str, T)>,
    subject: Subject<'_>,
    query: &UsageQuery,
) -> (Vec<(&'p str, T)>, Option<String>) {
    sort_by_key(&mut all, |(id, _)| *id);
    let most = query.most_listed(reads_of_each(subject, query));
    let mut rest = all.into_iter();
    let after = query.after.as_deref();
    let page: Vec<_> =
        rest.by_ref().filter(|(id, _)| after.is_none_or(|after| *id > after)).take(most).collect();
    let next = rest.next().and(page.last()).map(|(id, _)| (*id).to_string());
    (page, next)
}

/// Returns all of a list, which has to be read as a whole.
///
/// # Errors
/// 400 if that exceeds the work of one call.
fn within<'p, T>(
    all: Vec<(&'p str, T)>,
    subject: Subject<'_>,
    query: &UsageQuery,
) -> Result<Vec<(&'p str, T)>, Problem> {
    let most = query.most_read(reads_of_each(subject, query));
    if all.len() <= most {
        return Ok(all);
    }
    let detail = format!(
        "{} teams are too many for one answer over this range; at most {most} are. Choose a range of whole months within \
         one year, or `group=team` without `sort`, which has pages.",
        all.len()
    );
    Err(invalid_parameter("from", detail))
}

/// Rows that are being summed.
struct Table<'q> {
    query: &'q UsageQuery,
    rows: Vec<Row>,
}

impl<'q> Table<'q> {
    fn new(query: &'q UsageQuery) -> Self {
        Table { query, rows: Vec::new() }
    }

    fn push(&mut self, period: u64, name: Option<String>, amounts: Amounts) {
        let period = self.query.by.map(|_| period);
        self.rows.push(Row { period, name, amounts, nearest: None });
    }

    fn add(&mut self, name: Option<&str>, sums: &[PeriodSum]) {
        if sums.is_empty() && self.query.by.is_none() && name.is_some() {
            // In a list of keys, members or teams each has its row.
            self.push(0, name.map(ToString::to_string), Amounts::default());
        }
        for sum in sums {
            self.push(sum.period, name.map(ToString::to_string), sum.amounts);
        }
    }

    /// Adds sums by target, or over all of them.
    fn add_targets(&mut self, sums: &[PeriodSum]) {
        for sum in sums {
            self.push(sum.period, self.query.group.map(|_| sum.target.clone()), sum.amounts);
        }
    }

    /// # Errors
    /// 400 if there are more rows than an answer has.
    fn finish(self, total: Option<Amounts>, next: Option<String>) -> Result<Rows, Problem> {
        let mut rows = self.rows;
        sort(&mut rows);
        rows.dedup_by(|more, row| {
            let same = more.period == row.period && more.name == row.name;
            if same {
                row.amounts.add(&more.amounts);
            }
            same
        });
        if rows.len() > MAX_ROWS {
            let detail = format!(
                "The answer would have {} rows; at most {MAX_ROWS} are sent. Choose a shorter range.",
                rows.len()
            );
            return Err(invalid_parameter("from", detail));
        }
        Ok(Rows { rows, total, next })
    }
}
