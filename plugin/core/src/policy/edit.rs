//! The policy as something that changes: in place, so that a change of one key costs one key.

use alloc::vec::Vec;

use crate::json::node::Node;
use crate::policy::change::{Change, Edit, Section};
use crate::policy::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::policy::entity::Entity;
use crate::policy::index::Policy;
use crate::policy::validate::affected::AffectedRecords;
use crate::policy::validate::references::Validator;
use crate::policy::validate::source_map::SourceMap;

/// What is to stand at a position.
type PlacedEntity = (Section, u32, Option<Entity>);

/// How far the tables reach whose positions others hold.
#[derive(Clone, Copy, Debug)]
struct Extent([usize; 6]);

impl Policy {
    /// Puts and removes records, in place. Records are not held against one another: this is for a change that
    /// was checked where it was made, and it works in whatever order the records come. A name that others still
    /// use may be gone afterwards; keys that hang on it are refused ([`crate::auth::identity::identify`]).
    ///
    /// Positions of names keep their meaning, those of keys aside.
    ///
    /// # Errors
    /// What is malformed, with pointers into the whole policy document; nothing is changed then.
    pub fn apply(&mut self, change: &Change) -> Result<(), Vec<Diagnostic>> {
        let before = self.extent();
        let mut report = Diagnostics::default();
        let (rows, _) = self.read_edits(change, &mut report);
        let keys = keys_among(&rows);
        let failed = report.has_errors();
        if failed {
            self.cut(before);
        } else {
            self.put_all(rows);
            self.unpriced = change.unpriced.unwrap_or(self.unpriced);
        }
        self.release_keys(&keys);
        if failed { Err(report.finish()) } else { Ok(()) }
    }

    /// What a check of the whole would find if the change were made, as far as the change can reach. The policy
    /// is as before afterwards. Pointers are those of the whole policy document, lists that the change itself
    /// does not write as [`Policy::record`] writes them. What was wrong before and stays so is not held against
    /// the change, so that one broken team does not lock another's admin out.
    ///
    /// # Errors
    /// Every finding, if one of them is an error.
    pub fn try_change(&mut self, change: &Change) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        self.try_change_with(change, |_| ()).map(|((), warnings)| warnings)
    }

    /// The same, with a look at the policy as it would be. A change that is malformed is not shown.
    ///
    /// # Errors
    /// As [`Policy::try_change`].
    pub fn try_change_with<R>(
        &mut self,
        change: &Change,
        look: impl FnOnce(&Policy) -> R,
    ) -> Result<(R, Vec<Diagnostic>), Vec<Diagnostic>> {
        let before = self.extent();
        let mut report = Diagnostics::default();
        let (rows, order) = self.read_edits(change, &mut report);
        let keys = keys_among(&rows);
        let malformed = report.has_errors();
        let unpriced = self.unpriced;
        let mut reach = AffectedRecords::default();
        rows.iter().for_each(|(section, position, _)| reach.add(self, *section, *position));
        let undo = self.put_all(rows);
        self.unpriced = change.unpriced.unwrap_or(unpriced);
        undo.iter().for_each(|(section, position, _)| reach.add(self, *section, *position));
        reach.settle();
        Validator::new(self, &order, "", &mut report).reach(&reach);
        let seen = (!malformed).then(|| look(self));
        self.put_all(undo.into_iter().rev());
        self.unpriced = unpriced;
        let has_errors = report.has_errors();
        let mut diagnostics = report.finish();
        if has_errors && !malformed {
            let old = self.errors_in(&reach);
            diagnostics.retain(|diagnostic| !old.contains(diagnostic));
        }
        self.cut(before);
        self.release_keys(&keys);
        match seen {
            Some(seen) if diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Warning) => {
                Ok((seen, diagnostics))
            }
            _ => Err(diagnostics),
        }
    }

    /// Puts each in its place, one after another; what was there, in the same order.
    fn put_all(&mut self, rows: impl IntoIterator<Item = PlacedEntity>) -> Vec<PlacedEntity> {
        rows.into_iter()
            .map(|(section, position, row)| (section, position, self.replace(section, position, row)))
            .collect()
    }

    fn errors_in(&self, reach: &AffectedRecords) -> Vec<Diagnostic> {
        let (mut report, order) = (Diagnostics::default(), SourceMap::default());
        Validator::new(self, &order, "", &mut report).reach(reach);
        let mut diagnostics = report.finish();
        diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
        diagnostics
    }

    /// Reads the records of a change; what cannot be used is left out and reported.
    fn read_edits(&mut self, change: &Change, report: &mut Diagnostics) -> (Vec<PlacedEntity>, SourceMap) {
        let mut rows = Vec::with_capacity(change.edits.len());
        let mut order = SourceMap::default();
        for Edit { section, id, record } in &change.edits {
            match record {
                None => {
                    rows.extend(self.position(*section, id).map(|position| (*section, position, None)));
                }
                Some(record) => {
                    let read = report.within(section.name(), |report| {
                        report.within(id, |report| self.read(*section, id, Node::from(record), report))
                    });
                    if let Some(read) = read {
                        order.keep(self, *section, read.position, read.listing, read.all);
                        rows.push((*section, read.position, Some(read.row)));
                    }
                }
            }
        }
        (rows, order)
    }

    fn extent(&self) -> Extent {
        Extent([
            self.targets.len(),
            self.groups.len(),
            self.organizations.len(),
            self.teams.len(),
            self.users.len(),
            self.service_accounts.len(),
        ])
    }

    /// Forgets the names that came after.
    fn cut(&mut self, extent: Extent) {
        let Extent([targets, groups, organizations, teams, users, service_accounts]) = extent;
        self.targets.truncate(targets);
        self.groups.truncate(groups);
        self.organizations.truncate(organizations);
        self.teams.truncate(teams);
        self.users.truncate(users);
        self.service_accounts.truncate(service_accounts);
    }

    /// Forgets the names among these that no key has: keys come and go for years.
    fn release_keys(&mut self, keys: &[u32]) {
        for position in keys {
            self.keys.release(*position);
        }
    }
}

fn keys_among(rows: &[PlacedEntity]) -> Vec<u32> {
    rows.iter().filter(|(section, ..)| *section == Section::Keys).map(|(_, position, _)| *position).collect()
}
