//! Changes of a policy, in place: the cost of a change depends on the change, not on the size of the policy.

use alloc::vec::Vec;

use crate::json::node::Node;
use crate::policy::change::{Change, Edit, Section};
use crate::policy::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::policy::entity::Entity;
use crate::policy::index::Policy;
use crate::policy::validate::affected::AffectedRecords;
use crate::policy::validate::references::Validator;
use crate::policy::validate::source_map::SourceMap;

/// A position and the entity for it; `None` removes the one there.
type PlacedEntity = (Section, u32, Option<Entity>);

/// The lengths of the arenas whose positions other records refer to.
#[derive(Clone, Copy, Debug)]
struct ArenaLengths {
    targets: usize,
    groups: usize,
    organizations: usize,
    teams: usize,
    users: usize,
    service_accounts: usize,
}

impl Policy {
    /// Puts and removes records in place, in any order. References between records are not validated: this is for a
    /// change that [`Policy::try_change`] accepted where it was made. A record that others still name can be gone
    /// afterwards; keys that depend on it are rejected then ([`crate::auth::identity::check_key`]).
    ///
    /// Positions stay valid, except those of keys.
    ///
    /// # Errors
    /// The malformed records, with pointers into the whole policy document. The policy is unchanged then.
    pub fn apply(&mut self, change: &Change) -> Result<(), Vec<Diagnostic>> {
        let before = self.arena_lengths();
        let mut report = Diagnostics::default();
        let (entities, _) = self.read_edits(change, &mut report);
        let keys = keys_among(&entities);
        let failed = report.has_errors();
        if failed {
            self.truncate(before);
        } else {
            self.replace_all(entities);
            self.unpriced = change.unpriced.unwrap_or(self.unpriced);
        }
        self.release_keys(&keys);
        if failed { Err(report.finish()) } else { Ok(()) }
    }

    /// Validates a change: returns the warnings that a check of the whole changed document would report about the
    /// records that the change affects. The policy is the same afterwards. Pointers are into the whole policy
    /// document; indexes in lists that the change does not contain are those of [`Policy::record`]. Errors that the
    /// policy has already are left out, so that one broken team does not block the administrators of others.
    ///
    /// # Errors
    /// All diagnostics, if one of them is an error.
    pub fn try_change(&mut self, change: &Change) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        self.try_change_with(change, |_| ()).map(|((), warnings)| warnings)
    }

    /// Validates a change and calls `look` with the changed policy, unless the change is malformed.
    ///
    /// # Errors
    /// As [`Policy::try_change`].
    pub fn try_change_with<R>(
        &mut self,
        change: &Change,
        look: impl FnOnce(&Policy) -> R,
    ) -> Result<(R, Vec<Diagnostic>), Vec<Diagnostic>> {
        let before = self.arena_lengths();
        let mut report = Diagnostics::default();
        let (entities, source_map) = self.read_edits(change, &mut report);
        let keys = keys_among(&entities);
        let malformed = report.has_errors();
        let unpriced = self.unpriced;
        let mut affected = AffectedRecords::default();
        entities.iter().for_each(|(section, position, _)| affected.add(self, *section, *position));
        let undo = self.replace_all(entities);
        self.unpriced = change.unpriced.unwrap_or(unpriced);
        undo.iter().for_each(|(section, position, _)| affected.add(self, *section, *position));
        affected.deduplicate();
        Validator::new(self, &source_map, "", &mut report).check_affected(&affected);
        let seen = (!malformed).then(|| look(self));
        self.replace_all(undo.into_iter().rev());
        self.unpriced = unpriced;
        let has_errors = report.has_errors();
        let mut diagnostics = report.finish();
        if has_errors && !malformed {
            let old = self.errors_in(&affected);
            diagnostics.retain(|diagnostic| !old.contains(diagnostic));
        }
        self.truncate(before);
        self.release_keys(&keys);
        match seen {
            Some(seen) if diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Warning) => {
                Ok((seen, diagnostics))
            }
            _ => Err(diagnostics),
        }
    }

    /// Replaces entities one after another. Returns the previous ones in the same order.
    fn replace_all(&mut self, entities: impl IntoIterator<Item = PlacedEntity>) -> Vec<PlacedEntity> {
        entities
            .into_iter()
            .map(|(section, position, entity)| (section, position, self.replace(section, position, entity)))
            .collect()
    }

    fn errors_in(&self, affected: &AffectedRecords) -> Vec<Diagnostic> {
        let (mut report, source_map) = (Diagnostics::default(), SourceMap::default());
        Validator::new(self, &source_map, "", &mut report).check_affected(affected);
        let mut diagnostics = report.finish();
        diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
        diagnostics
    }

    /// Reads the records of a change. Malformed ones are reported and left out.
    fn read_edits(&mut self, change: &Change, report: &mut Diagnostics) -> (Vec<PlacedEntity>, SourceMap) {
        let mut entities = Vec::with_capacity(change.edits.len());
        let mut source_map = SourceMap::default();
        for Edit { section, id, record, basis: _ } in &change.edits {
            match record {
                None => {
                    entities.extend(self.position(*section, id).map(|position| (*section, position, None)));
                }
                Some(record) => {
                    let read = report.within(section.name(), |report| {
                        report.within(id, |report| self.read(*section, id, Node::from(record), report))
                    });
                    if let Some(read) = read {
                        source_map.keep(self, *section, read.position, read.source, read.all);
                        entities.push((*section, read.position, Some(read.entity)));
                    }
                }
            }
        }
        (entities, source_map)
    }

    fn arena_lengths(&self) -> ArenaLengths {
        ArenaLengths {
            targets: self.targets.len(),
            groups: self.groups.len(),
            organizations: self.organizations.len(),
            teams: self.teams.len(),
            users: self.users.len(),
            service_accounts: self.service_accounts.len(),
        }
    }

    /// Removes the names added since then.
    fn truncate(&mut self, lengths: ArenaLengths) {
        let ArenaLengths { targets, groups, organizations, teams, users, service_accounts } = lengths;
        self.targets.truncate(targets);
        self.groups.truncate(groups);
        self.organizations.truncate(organizations);
        self.teams.truncate(teams);
        self.users.truncate(users);
        self.service_accounts.truncate(service_accounts);
    }

    /// Frees the positions among these that have no key, so that years of created and deleted keys do not add up.
    fn release_keys(&mut self, keys: &[u32]) {
        for position in keys {
            self.keys.release(*position);
        }
    }
}

fn keys_among(entities: &[PlacedEntity]) -> Vec<u32> {
    entities
        .iter()
        .filter(|(section, ..)| *section == Section::Keys)
        .map(|(_, position, _)| *position)
        .collect()
}
