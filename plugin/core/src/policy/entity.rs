//! A record of any section, and its position in the index.

use crate::policy::change::Section;
use crate::policy::index::Policy;
use crate::policy::model::*;

/// A record with its names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entity {
    Target(Target),
    Organization(Organization),
    Team(Team),
    User(User),
    ServiceAccount(ServiceAccount),
    Key(Key),
}

impl Policy {
    /// Returns the position of an id, which is new or can be without a record.
    pub(super) fn reserve(&mut self, section: Section, id: &str) -> u32 {
        match section {
            Section::Targets => self.targets.reserve(id),
            Section::Organizations => self.organizations.reserve(id),
            Section::Teams => self.teams.reserve(id),
            Section::Users => self.users.reserve(id),
            Section::ServiceAccounts => self.service_accounts.reserve(id),
            Section::Keys => self.keys.reserve(id),
        }
    }

    /// Returns the position of an id, if it has one.
    pub(super) fn position(&self, section: Section, id: &str) -> Option<u32> {
        match section {
            Section::Targets => self.targets.find(id),
            Section::Organizations => self.organizations.find(id),
            Section::Teams => self.teams.find(id),
            Section::Users => self.users.find(id),
            Section::ServiceAccounts => self.service_accounts.find(id),
            Section::Keys => self.keys.find(id),
        }
    }

    /// Returns the id at a position.
    pub(super) fn name(&self, section: Section, position: u32) -> &str {
        match section {
            Section::Targets => self.targets.name(position),
            Section::Organizations => self.organizations.name(position),
            Section::Teams => self.teams.name(position),
            Section::Users => self.users.name(position),
            Section::ServiceAccounts => self.service_accounts.name(position),
            Section::Keys => self.keys.name(position),
        }
    }

    /// Returns the number of positions of a section.
    pub(super) fn position_count(&self, section: Section) -> usize {
        match section {
            Section::Targets => self.targets.len(),
            Section::Organizations => self.organizations.len(),
            Section::Teams => self.teams.len(),
            Section::Users => self.users.len(),
            Section::ServiceAccounts => self.service_accounts.len(),
            Section::Keys => self.keys.len(),
        }
    }

    /// Returns true if there is a record at a position.
    pub(super) fn has(&self, section: Section, position: u32) -> bool {
        match section {
            Section::Targets => self.targets.get(position).is_some(),
            Section::Organizations => self.organizations.get(position).is_some(),
            Section::Teams => self.teams.get(position).is_some(),
            Section::Users => self.users.get(position).is_some(),
            Section::ServiceAccounts => self.service_accounts.get(position).is_some(),
            Section::Keys => self.keys.get(position).is_some(),
        }
    }

    /// Replaces or removes the record at a position. Returns the previous one.
    pub(super) fn replace(
        &mut self,
        section: Section,
        position: u32,
        entity: Option<Entity>,
    ) -> Option<Entity> {
        match entity {
            Some(Entity::Target(target)) => self.targets.replace(position, Some(target)).map(Entity::Target),
            Some(Entity::Organization(organization)) => {
                self.organizations.replace(position, Some(organization)).map(Entity::Organization)
            }
            Some(Entity::Team(team)) => self.teams.replace(position, Some(team)).map(Entity::Team),
            Some(Entity::User(user)) => self.replace_user(position, Some(user)).map(Entity::User),
            Some(Entity::ServiceAccount(account)) => {
                self.service_accounts.replace(position, Some(account)).map(Entity::ServiceAccount)
            }
            Some(Entity::Key(key)) => self.replace_key(position, Some(key)).map(Entity::Key),
            None => match section {
                Section::Targets => self.targets.replace(position, None).map(Entity::Target),
                Section::Organizations => {
                    self.organizations.replace(position, None).map(Entity::Organization)
                }
                Section::Teams => self.teams.replace(position, None).map(Entity::Team),
                Section::Users => self.replace_user(position, None).map(Entity::User),
                Section::ServiceAccounts => {
                    self.service_accounts.replace(position, None).map(Entity::ServiceAccount)
                }
                Section::Keys => self.replace_key(position, None).map(Entity::Key),
            },
        }
    }
}
