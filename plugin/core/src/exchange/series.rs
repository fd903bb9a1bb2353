//! The series of the metrics: their names with labels, and the list of those that exist in the process.
//!
//! The proxy-wasm ABI has names only, so that labels are a part of the name: `tollgate.denied;reason=R;organization=O;team=T`.
//! A host never forgets a name. The teams that get series of their own are therefore listed in shared data, where the
//! maximum holds for all workers and configurations of the process; the others share `team=other`. A host drops the
//! series that no VM has defined: every VM defines the whole list, so that a new module continues all of them.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::access_log::{AccessLogEntry, Decision};
use crate::counters::{CounterStore, RecordKey, StoreError, Update};

/// The label of teams above the maximum, and of their organizations.
pub const OTHER: &str = "other";

/// The prefix of the records, which does not depend on the configuration: names are those of the process.
const PREFIX: &str = "tollgate/series/";

macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident => $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All of them, in the order of their numbers.
            pub const ALL: &[$type] = &[$($type::$variant),*];

            /// Returns the name after `tollgate.`.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }
        }
    };
}

named! {
    /// A series without labels. Every VM defines all of them.
    Counter {
        /// Requests without a decision.
        Undecided => "undecided",
        /// Requests that need no key.
        Public => "public",
        /// Requests that the filter answered.
        Answered => "answered",
        /// Admissions that were charged.
        Reserved => "reserved",
        /// Settlements.
        Settled => "settled",
        /// Settlements by an estimate.
        Estimated => "estimated",
        /// Calls above a budget's soft mark.
        OverSoftBudget => "over_soft_budget",
        /// Calls with more input than the target's `max_input_tokens`.
        OverMaxInput => "over_max_input_tokens",
        /// Requests that passed although limits could not be checked.
        Uncounted => "uncounted",
        /// Swaps of counters that had a conflict.
        Retries => "retries",
        /// Admissions with conflicts in all swaps.
        Contended => "contended",
        /// Corrections that were kept for the next tick.
        CorrectionsKept => "corrections_kept",
        /// Calls that are missing in the usage that the management API shows.
        UsageUncounted => "usage_uncounted",
        /// Failed changes of heads.
        HeaderEditsFailed => "header_edits_failed",
        /// Failed changes of request bodies.
        BodyEditsFailed => "body_edits_failed",
        /// Failed changes of response bodies.
        AnswerEditsFailed => "answer_edits_failed",
        /// Failed responses of the filter's own.
        RepliesFailed => "replies_failed",
        /// Errors of the managed policy.
        DocumentsTrouble => "documents_trouble",
        /// Errors of shared data before a decision.
        DocumentsUnavailable => "documents_unavailable",
        /// Calls to etcd for counters that a fleet shares.
        SharedCalls => "shared_calls",
        /// Failed ones of these.
        SharedCallsFailed => "shared_calls_failed",
        /// Requests that waited for one of these.
        SharedWaits => "shared_waits",
    }
}

named! {
    /// A series of each team. A VM that defines one for a team defines all of them.
    Measure {
        /// Admitted requests.
        Allowed => "allowed",
        /// Input tokens.
        TokensInput => "tokens_input",
        /// Output tokens.
        TokensOutput => "tokens_output",
        /// Cached input tokens.
        TokensCached => "tokens_cached",
        /// Reasoning tokens.
        TokensReasoning => "tokens_reasoning",
        /// The cost in picodollars.
        Cost => "cost_picodollars",
    }
}

named! {
    /// A series of each team and reason. A VM defines it when it first needs it.
    Refused {
        /// Rejected requests.
        Denied => "denied",
        /// Requests that shadow mode let pass.
        Shadowed => "shadowed",
    }
}

/// The organization and the team of a series; both are empty for requests without a key.
pub type TeamLabels<'a> = (&'a str, &'a str);

/// Returns the name of a series with its labels.
pub fn series_name(name: &str, reason: Option<&str>, (organization, team): TeamLabels<'_>) -> String {
    let mut text = format!("tollgate.{name}");
    for (label, value) in
        [("reason", reason.unwrap_or_default()), ("organization", organization), ("team", team)]
    {
        if !value.is_empty() {
            text.push_str(&format!(";{label}={value}"));
        }
    }
    text
}

impl AccessLogEntry {
    /// Returns the labels of the caller; empty without a key.
    pub fn team_labels(&self) -> TeamLabels<'_> {
        (self.organization.as_deref().unwrap_or_default(), self.team.as_deref().unwrap_or_default())
    }

    /// Returns the series that the request counts in once, besides those of the team.
    pub fn counters(&self) -> impl Iterator<Item = Counter> {
        let decision = match self.decision {
            Decision::Undecided => Some(Counter::Undecided),
            Decision::Public => Some(Counter::Public),
            Decision::Answered => Some(Counter::Answered),
            Decision::Allowed | Decision::Denied | Decision::Shadowed => None,
        };
        let facts = [
            (self.estimated, Counter::Estimated),
            (self.over_soft_budget.is_some(), Counter::OverSoftBudget),
            (self.over_max_input.is_some(), Counter::OverMaxInput),
            (self.uncounted, Counter::Uncounted),
        ];
        decision.into_iter().chain(facts.into_iter().filter_map(|(holds, counter)| holds.then_some(counter)))
    }

    /// Returns the team's series with the amounts to add; an amount can be 0.
    pub fn measures(&self) -> impl Iterator<Item = (Measure, u128)> {
        let usage = self.usage.unwrap_or_default();
        [
            (Measure::Allowed, u128::from(self.decision == Decision::Allowed)),
            (Measure::TokensInput, usage.input.into()),
            (Measure::TokensOutput, usage.output.into()),
            (Measure::TokensCached, usage.cached_input.into()),
            (Measure::TokensReasoning, usage.reasoning.into()),
            (Measure::Cost, self.cost.0),
        ]
        .into_iter()
    }

    /// Returns the team's series of refusals that the request counts in, with the reason.
    pub fn refused(&self) -> Option<(Refused, &str)> {
        let reason = self.reason.as_deref().unwrap_or("unknown");
        match self.decision {
            Decision::Denied => Some((Refused::Denied, reason)),
            Decision::Shadowed => Some((Refused::Shadowed, reason)),
            Decision::Undecided | Decision::Allowed | Decision::Public | Decision::Answered => None,
        }
    }
}

/// A line of the list: a team, or a team's refusals for one reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The organization; empty for requests without a key.
    pub organization: String,
    /// The team; empty for requests without a key.
    pub team: String,
    /// `None`: the series of each [`Measure`].
    pub refused: Option<(Refused, String)>,
}

impl Line {
    fn new((organization, team): TeamLabels<'_>, refused: Option<(Refused, &str)>) -> Line {
        Line {
            organization: organization.to_string(),
            team: team.to_string(),
            refused: refused.map(|(kind, reason)| (kind, reason.to_string())),
        }
    }

    /// Returns true for a team that counts towards the maximum.
    fn is_team(&self) -> bool {
        self.refused.is_none()
            && !self.team.is_empty()
            && (self.organization.as_str(), self.team.as_str()) != (OTHER, OTHER)
    }

    /// Ids and codes have no space.
    fn to_text(&self) -> String {
        let Line { organization, team, refused } = self;
        let (kind, reason) = refused.as_ref().map_or(("", ""), |(kind, reason)| (kind.name(), reason));
        format!("{organization} {team} {kind} {reason}")
    }

    /// `None` for a line of another version.
    fn from_text(text: &str) -> Option<Line> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [organization, team, kind, reason] = parts.as_slice() else { return None };
        let kind = Refused::ALL.iter().find(|known| known.name() == *kind);
        if kind.is_none() && !reason.is_empty() {
            return None;
        }
        Some(Line::new((organization, team), kind.map(|kind| (*kind, *reason))))
    }

    /// Returns the names of the line's series.
    pub fn names(&self) -> Vec<String> {
        let labels = (self.organization.as_str(), self.team.as_str());
        match &self.refused {
            Some((kind, reason)) => Vec::from([series_name(kind.name(), Some(reason), labels)]),
            None => Measure::ALL.iter().map(|measure| series_name(measure.name(), None, labels)).collect(),
        }
    }
}

/// The list of series of the process, as one VM last read it.
#[derive(Debug)]
pub struct SeriesList {
    lines: BTreeSet<Line>,
    /// The number of stored lines, unknown ones included.
    stored: u64,
    teams: u64,
    list: RecordKey,
    /// A short record with the number of lines, which VMs read on each tick.
    length: RecordKey,
}

impl Default for SeriesList {
    fn default() -> Self {
        let key = |part: &str| RecordKey::new(PREFIX, &[part]);
        SeriesList { lines: BTreeSet::new(), stored: 0, teams: 0, list: key("list"), length: key("length") }
    }
}

impl SeriesList {
    /// Returns the labels for a team: its own if it has series or gets them now, else [`OTHER`]. New lines are added to
    /// `added`.
    pub fn team<'a, C: CounterStore>(
        &mut self,
        store: &mut C,
        labels: TeamLabels<'a>,
        max_teams: u64,
        added: &mut Vec<Line>,
    ) -> TeamLabels<'a> {
        let line = Line::new(labels, None);
        // The list never shrinks: if it is full, it stays full.
        if !line.is_team() || self.lines.contains(&line) {
            return labels;
        }
        if self.teams >= max_teams || !self.add(store, line, max_teams, added) {
            let other = Line::new((OTHER, OTHER), None);
            if !self.lines.contains(&other) {
                // A new module continues this series as well.
                let _ = self.add(store, other, max_teams, added);
            }
            return (OTHER, OTHER);
        }
        labels
    }

    /// Adds a team's refusals for one reason.
    pub fn refusal<C: CounterStore>(
        &mut self,
        store: &mut C,
        labels: TeamLabels<'_>,
        refused: (Refused, &str),
        added: &mut Vec<Line>,
    ) {
        // Without shared data the series is defined in this VM alone.
        let _ = self.add(store, Line::new(labels, Some(refused)), u64::MAX, added);
    }

    /// Adds a line if there is room for it. Returns false if there is none.
    fn add<C: CounterStore>(
        &mut self,
        store: &mut C,
        line: Line,
        max_teams: u64,
        added: &mut Vec<Line>,
    ) -> bool {
        let text = line.to_text();
        let list = self.list.clone();
        let updated = store.update_bytes::<_, StoreError>(&list, |_, bytes| {
            self.take(bytes, added);
            if self.lines.contains(&line) {
                return Ok(Update::Keep(true));
            }
            if line.is_team() && self.teams >= max_teams {
                return Ok(Update::Keep(false));
            }
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(b'\n');
            Ok(Update::Write(true))
        });
        match updated {
            Ok(true) if self.lines.contains(&line) => return true,
            Ok(true) => self.stored = self.stored.saturating_add(1),
            Ok(false) => return false,
            // A host without shared data: each VM has a list of its own.
            Err(StoreError::Unavailable(_)) => {}
            Err(StoreError::Contention) => return false,
        }
        let stored = self.stored;
        let length = self.length.clone();
        // If this fails, other VMs define the series when they need it.
        let _ = store.update_bytes::<_, StoreError>(&length, |_, bytes| {
            let known = bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            *bytes = known.max(stored).to_le_bytes().to_vec();
            Ok(Update::Write(()))
        });
        self.insert(line, added);
        true
    }

    /// Reads the lines that other VMs added since the last read.
    pub fn follow<C: CounterStore>(&mut self, store: &mut C, added: &mut Vec<Line>) {
        let length = store.read(&self.length).ok().and_then(|(bytes, _)| bytes.first_chunk().copied());
        if length.map_or(0, u64::from_le_bytes) > self.stored
            && let Ok((bytes, _)) = store.read(&self.list)
        {
            self.take(&bytes, added);
        }
    }

    /// Takes over a stored list.
    fn take(&mut self, bytes: &[u8], added: &mut Vec<Line>) {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let known = usize::try_from(self.stored).unwrap_or(usize::MAX);
        for line in lines.skip(known) {
            self.stored = self.stored.saturating_add(1);
            if let Some(line) = core::str::from_utf8(line).ok().and_then(Line::from_text) {
                self.insert(line, added);
            }
        }
    }

    fn insert(&mut self, line: Line, added: &mut Vec<Line>) {
        if self.lines.contains(&line) {
            return;
        }
        self.teams = self.teams.saturating_add(line.is_team().into());
        added.push(line.clone());
        self.lines.insert(line);
    }
}
