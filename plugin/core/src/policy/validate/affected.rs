//! The records whose validity a change can affect.

use alloc::vec::Vec;

use crate::collections::sort::once;
use crate::policy::access::role_of;
use crate::policy::change::Section;
use crate::policy::index::Policy;
use crate::policy::model::*;

/// The records to be validated, by kind.
#[derive(Debug, Default)]
pub(in crate::policy) struct AffectedRecords {
    /// True if the catalog changes: any record may name a target or a group.
    pub everything: bool,
    pub organizations: Vec<OrganizationId>,
    /// Users as members of an organization.
    pub members: Vec<(OrganizationId, UserId)>,
    pub teams: Vec<TeamId>,
    pub users: Vec<UserId>,
    pub service_accounts: Vec<ServiceAccountId>,
    pub keys: Vec<KeyId>,
}

impl AffectedRecords {
    /// Adds the records that depend on a record in the present state of the policy: the record itself, those that
    /// name it, those below it, and those that share a digest with it.
    pub fn add(&mut self, policy: &Policy, section: Section, position: u32) {
        match section {
            Section::Targets => self.everything = true,
            Section::Organizations => self.add_organization(policy, OrganizationId(position)),
            Section::Teams => self.add_team(policy, TeamId(position)),
            Section::Users => self.add_user(policy, UserId(position)),
            Section::ServiceAccounts => self.add_service_account(policy, ServiceAccountId(position)),
            Section::Keys => self.add_key(policy, KeyId(position)),
        }
    }

    /// Removes duplicates.
    pub fn deduplicate(&mut self) {
        once(&mut self.organizations);
        once(&mut self.members);
        once(&mut self.teams);
        once(&mut self.users);
        once(&mut self.service_accounts);
        once(&mut self.keys);
    }

    fn add_organization(&mut self, policy: &Policy, id: OrganizationId) {
        self.organizations.push(id);
        if let Some(organization) = policy.organizations.get(id.0) {
            self.members.extend(organization.members.iter().map(|(user, _)| (id, *user)));
        }
        for (team, _) in policy.teams_of(id) {
            self.teams.push(team);
            self.keys.extend(policy.keys_of(team).map(|(key, _)| key));
        }
    }

    fn add_team(&mut self, policy: &Policy, id: TeamId) {
        self.teams.push(id);
        self.service_accounts.extend(policy.service_accounts_of(id).map(|(account, _)| account));
        self.keys.extend(policy.keys_of(id).map(|(key, _)| key));
    }

    fn add_user(&mut self, policy: &Policy, id: UserId) {
        self.users.push(id);
        for token in policy.users.get(id.0).into_iter().flat_map(|user| &user.tokens) {
            self.users.extend(policy.token_holders(token).map(|(user, _)| user));
        }
        for (position, _, organization) in policy.organizations.iter() {
            if role_of(&organization.members, id).is_some() {
                self.organizations.push(OrganizationId(position));
                self.members.push((OrganizationId(position), id));
            }
        }
        // The owner of a key is a member of its team, or else the policy is invalid already.
        for (position, ..) in policy.teams.iter().filter(|(_, _, team)| role_of(&team.members, id).is_some())
        {
            self.teams.push(TeamId(position));
            self.add_owned(policy, TeamId(position), Owner::User(id));
        }
    }

    fn add_service_account(&mut self, policy: &Policy, id: ServiceAccountId) {
        self.service_accounts.push(id);
        if let Some(account) = policy.service_accounts.get(id.0) {
            self.add_owned(policy, account.team, Owner::ServiceAccount(id));
        }
    }

    fn add_owned(&mut self, policy: &Policy, team: TeamId, owner: Owner) {
        self.keys.extend(policy.keys_of(team).filter(|(_, key)| key.owner == owner).map(|(key, _)| key));
    }

    fn add_key(&mut self, policy: &Policy, id: KeyId) {
        self.keys.push(id);
        let Some(key) = policy.keys.get(id.0) else { return };
        let previous = key.previous().map(|(digest, _)| digest);
        for digest in previous.into_iter().chain([&key.digest]) {
            self.keys.extend(policy.holders(digest).map(|(other, _)| other));
        }
    }
}
