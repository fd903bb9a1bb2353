//! Counters of the host: the names of `tollgate_core::exchange::series`, defined once in each VM.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tollgate_core::counters::{SharedDataKind, SharedDataStore};
use tollgate_core::exchange::access_log::AccessLogEntry;
use tollgate_core::exchange::series::{Counter, Line, Measure, Refused, SeriesList, TeamLabels, series_name};

use crate::host::{self, Shared};

/// The id of a counter; `None` if the host did not define it.
type Id = Option<u32>;

/// The series of one team, or of the requests without one.
#[derive(Debug)]
struct TeamSeries {
    /// In the order of [`Measure::ALL`].
    measures: Vec<Id>,
    /// A few dozen at most.
    refused: Vec<(Refused, String, Id)>,
}

impl TeamSeries {
    fn define(labels: TeamLabels<'_>) -> TeamSeries {
        let define = |measure: &Measure| define(&series_name(measure.name(), None, labels));
        TeamSeries { measures: Measure::ALL.iter().map(define).collect(), refused: Vec::new() }
    }

    fn refused(&self, kind: Refused, reason: &str) -> Option<Id> {
        let mut all = self.refused.iter();
        all.find(|(known, text, _)| *known == kind && text == reason).map(|(_, _, id)| *id)
    }
}

/// The host's counters. They belong to the VM: a name that was defined once costs nothing under another configuration.
#[derive(Debug)]
pub struct Metrics {
    /// In the order of [`Counter::ALL`].
    counters: Vec<Id>,
    /// By organization and team; empty names stand for requests without a key.
    teams: RefCell<BTreeMap<String, BTreeMap<String, TeamSeries>>>,
    list: RefCell<SeriesList>,
    kind: Cell<SharedDataKind>,
}

impl Metrics {
    /// Defines all series without labels.
    pub fn new() -> Metrics {
        let counters =
            Counter::ALL.iter().map(|counter| define(&series_name(counter.name(), None, ("", ""))));
        let mut unlabeled = TeamSeries::define(("", ""));
        // They stay at 0; a query for all refusals finds them before the first.
        for kind in Refused::ALL {
            let id = define(&series_name(kind.name(), None, ("", "")));
            unlabeled.refused.push((*kind, String::new(), id));
        }
        let teams = BTreeMap::from([(String::new(), BTreeMap::from([(String::new(), unlabeled)]))]);
        Metrics {
            counters: counters.collect(),
            teams: RefCell::new(teams),
            list: RefCell::default(),
            kind: Cell::new(SharedDataKind::None),
        }
    }

    /// Returns true if the host supports metrics.
    pub fn available(&self) -> bool {
        self.counters.first().is_some_and(Option::is_some)
    }

    /// Defines the series that other VMs have defined, so that they outlive those VMs. Runs when a configuration is loaded
    /// and on each tick.
    pub fn follow(&self, kind: SharedDataKind) {
        self.kind.set(kind);
        let mut added = Vec::new();
        if let Ok(mut list) = self.list.try_borrow_mut() {
            list.follow(&mut self.store(), &mut added);
        }
        self.define_all(&added);
    }

    /// Adds one.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `by`.
    #[inline(never)]
    pub fn add(&self, counter: Counter, by: u128) {
        increment(self.counters.get(counter as usize).copied().flatten(), by);
    }

    /// Counts a request that has ended.
    pub fn record(&self, entry: &AccessLogEntry, max_teams: u64) {
        for counter in entry.counters() {
            self.count(counter);
        }
        let labels = self.labels(entry.team_labels(), max_teams);
        if let Some((kind, reason)) = entry.refused() {
            increment(self.refused(labels, kind, reason), 1);
        }
        let teams = self.teams.borrow();
        if let Some(series) = find(&teams, labels) {
            for (measure, by) in entry.measures() {
                increment(series.measures.get(measure as usize).copied().flatten(), by);
            }
        }
    }

    /// Returns the labels under which a team is counted, whose series are defined.
    fn labels<'a>(&self, labels: TeamLabels<'a>, max_teams: u64) -> TeamLabels<'a> {
        if find(&self.teams.borrow(), labels).is_some() {
            return labels;
        }
        let mut added = Vec::new();
        let labels = self.list.borrow_mut().team(&mut self.store(), labels, max_teams, &mut added);
        self.define_all(&added);
        self.define_team(labels);
        labels
    }

    /// Returns the id of a team's refusals, and defines it the first time.
    fn refused(&self, labels: TeamLabels<'_>, kind: Refused, reason: &str) -> Id {
        let known = find(&self.teams.borrow(), labels).and_then(|series| series.refused(kind, reason));
        if let Some(id) = known {
            return id;
        }
        let mut added = Vec::new();
        self.list.borrow_mut().refusal(&mut self.store(), labels, (kind, reason), &mut added);
        self.define_all(&added);
        self.define_refused(labels, kind, reason)
    }

    fn define_all(&self, lines: &[Line]) {
        for Line { organization, team, refused } in lines {
            let labels = (organization.as_str(), team.as_str());
            self.define_team(labels);
            if let Some((kind, reason)) = refused {
                self.define_refused(labels, *kind, reason);
            }
        }
    }

    fn define_team(&self, labels: TeamLabels<'_>) {
        let mut teams = self.teams.borrow_mut();
        if find(&teams, labels).is_none() {
            let (organization, team) = labels;
            let series = TeamSeries::define(labels);
            teams.entry(organization.to_owned()).or_default().insert(team.to_owned(), series);
        }
    }

    fn define_refused(&self, labels: TeamLabels<'_>, kind: Refused, reason: &str) -> Id {
        let mut teams = self.teams.borrow_mut();
        let (organization, team) = labels;
        let series = teams.get_mut(organization).and_then(|teams| teams.get_mut(team))?;
        if let Some(id) = series.refused(kind, reason) {
            return id;
        }
        let id = define(&series_name(kind.name(), Some(reason), labels));
        series.refused.push((kind, reason.to_owned(), id));
        id
    }

    fn store(&self) -> SharedDataStore<Shared> {
        SharedDataStore::new(Shared, self.kind.get())
    }
}

fn find<'m>(
    teams: &'m BTreeMap<String, BTreeMap<String, TeamSeries>>,
    (organization, team): TeamLabels<'_>,
) -> Option<&'m TeamSeries> {
    teams.get(organization)?.get(team)
}

fn define(name: &str) -> Id {
    host::define_counter(name).ok()
}

fn increment(id: Id, by: u128) {
    // Hosts reject an increment of 0, and the ABI has none above `i64::MAX`.
    let by = i64::try_from(by).unwrap_or(i64::MAX);
    if let Some(id) = id
        && by > 0
    {
        let _ = host::increment_metric(id, by);
    }
}
