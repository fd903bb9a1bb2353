//! Which records a change can make right or wrong.

use alloc::vec::Vec;

use crate::collections::sort::once;
use crate::policy::change::Section;
use crate::policy::index::Policy;
use crate::policy::model::*;

/// Records to be checked, by kind.
#[derive(Debug, Default)]
pub(in crate::policy) struct AffectedRecords {
    /// The catalogue changes, and anything may name a part of it.
    pub everything: bool,
    pub organizations: Vec<OrganizationId>,
    /// People within an organization.
    pub members: Vec<(OrganizationId, UserId)>,
    pub teams: Vec<TeamId>,
    pub users: Vec<UserId>,
    pub service_accounts: Vec<ServiceAccountId>,
    pub keys: Vec<KeyId>,
}

impl AffectedRecords {
    /// Adds what stands or falls with a record, as the policy is now: itself, what names it, what lies below it,
    /// and what it contends with for a digest.
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

    /// Each record once.
    pub fn settle(&mut self) {
        once(&mut self.organizations);
        once(&mut self.members);
        once(&mut self.teams);
        once(&mut self.users);
        once(&mut self.service_accounts);
        once(&mut self.keys);
    }

    fn add_organization(&mut self, policy: &Policy, ix: OrganizationId) {
        self.organizations.push(ix);
        if let Some(organization) = policy.organizations.get(ix.0) {
            self.members.extend(organization.members.iter().map(|(user, _)| (ix, *user)));
        }
        for (team, _) in policy.teams_of(ix) {
            self.teams.push(team);
            self.keys.extend(policy.keys_of(team).map(|(key, _)| key));
        }
    }

    fn add_team(&mut self, policy: &Policy, ix: TeamId) {
        self.teams.push(ix);
        self.service_accounts.extend(policy.service_accounts_of(ix).map(|(account, _)| account));
        self.keys.extend(policy.keys_of(ix).map(|(key, _)| key));
    }

    fn add_user(&mut self, policy: &Policy, ix: UserId) {
        fn has<R>(members: &[(UserId, R)], user: UserId) -> bool {
            members.binary_search_by_key(&user, |(member, _)| *member).is_ok()
        }
        self.users.push(ix);
        for token in policy.users.get(ix.0).into_iter().flat_map(|user| &user.tokens) {
            self.users.extend(policy.token_holders(token).map(|(user, _)| user));
        }
        for (position, _, organization) in policy.organizations.iter() {
            if has(&organization.members, ix) {
                self.organizations.push(OrganizationId(position));
                self.members.push((OrganizationId(position), ix));
            }
        }
        // The owner of a key is a member of its team: else the policy was wrong before.
        for (position, ..) in policy.teams.iter().filter(|(_, _, team)| has(&team.members, ix)) {
            self.teams.push(TeamId(position));
            self.add_owned(policy, TeamId(position), Owner::User(ix));
        }
    }

    fn add_service_account(&mut self, policy: &Policy, ix: ServiceAccountId) {
        self.service_accounts.push(ix);
        if let Some(account) = policy.service_accounts.get(ix.0) {
            self.add_owned(policy, account.team, Owner::ServiceAccount(ix));
        }
    }

    fn add_owned(&mut self, policy: &Policy, team: TeamId, owner: Owner) {
        self.keys.extend(policy.keys_of(team).filter(|(_, key)| key.owner == owner).map(|(key, _)| key));
    }

    fn add_key(&mut self, policy: &Policy, ix: KeyId) {
        self.keys.push(ix);
        let Some(key) = policy.keys.get(ix.0) else { return };
        let previous = key.previous().map(|(digest, _)| digest);
        for digest in previous.into_iter().chain([&key.digest]) {
            self.keys.extend(policy.holders(digest).map(|(other, _)| other));
        }
    }
}
