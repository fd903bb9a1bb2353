//! Validation across records: names that exist, limits within those of the levels above, membership, selections that
//! the organization grants, unique digests.

use crate::secret::api_key::Digest;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::policy::access::role_of;
use crate::policy::change::Section;
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics, pointer};
use crate::policy::index::Policy;
use crate::policy::load::resolve::UNREADABLE;
use crate::policy::model::*;
use crate::policy::validate::affected::AffectedRecords;
use crate::policy::validate::ceilings::{Ceiling, Holder, check_budget, check_limits};
use crate::policy::validate::source_map::{Selected, SourceMap};

/// Validates a policy, or the part of it that a change affects.
pub(in crate::policy) struct Validator<'a> {
    policy: &'a Policy,
    source_map: &'a SourceMap,
    /// The JSON Pointer of the policy in its document.
    base: &'a str,
    /// For each group, true if a target belongs to it.
    has_targets: Vec<bool>,
    report: &'a mut Diagnostics,
}

/// The path of a record in the document. A pointer is built only for a diagnostic.
#[derive(Clone, Copy)]
pub(in crate::policy) struct RecordPath<'a> {
    base: &'a str,
    section: Section,
    id: &'a str,
    /// The member of the team that the values belong to.
    member: Option<&'a str>,
}

impl<'a> RecordPath<'a> {
    /// Returns the path of a member of the team.
    fn of_member(self, user: &'a str) -> Self {
        RecordPath { member: Some(user), ..self }
    }

    /// Returns the JSON Pointer of a value in the record.
    pub fn at(&self, steps: &[&str]) -> String {
        let mut whole = Vec::from([self.section.name(), self.id]);
        whole.extend(self.member.iter().flat_map(|user| ["members", user]));
        whole.extend_from_slice(steps);
        pointer(self.base, &whole)
    }
}

impl<'a> Validator<'a> {
    /// Returns a validator of a policy; `source_map` has the indexes of what its records select.
    pub fn new(
        policy: &'a Policy,
        source_map: &'a SourceMap,
        base: &'a str,
        report: &'a mut Diagnostics,
    ) -> Self {
        let mut has_targets = Vec::new();
        for (_, _, target) in policy.targets.iter() {
            for group in &target.groups {
                let at = group.0 as usize;
                if at >= has_targets.len() {
                    has_targets.resize(at.saturating_add(1), false);
                }
                if let Some(has_target) = has_targets.get_mut(at) {
                    *has_target = true;
                }
            }
        }
        Validator { policy, source_map, base, has_targets, report }
    }

    /// Validates the whole policy.
    pub fn check_all(&mut self) {
        let policy = self.policy;
        for (position, _, organization) in policy.organizations.iter() {
            self.organization(OrganizationId(position));
            for (user, _) in &organization.members {
                self.member(OrganizationId(position), *user);
            }
        }
        policy.teams.iter().for_each(|(position, ..)| self.team(TeamId(position)));
        policy.users.iter().for_each(|(position, ..)| self.user(UserId(position)));
        let accounts = policy.service_accounts.iter();
        accounts.for_each(|(position, ..)| self.service_account(ServiceAccountId(position)));
        policy.keys.iter().for_each(|(position, ..)| self.key(KeyId(position)));
    }

    /// Validates the records that a change affects.
    pub fn check_affected(&mut self, affected: &AffectedRecords) {
        if affected.everything {
            return self.check_all();
        }
        affected.organizations.iter().for_each(|id| self.organization(*id));
        affected.members.iter().for_each(|(organization, user)| self.member(*organization, *user));
        affected.teams.iter().for_each(|id| self.team(*id));
        affected.users.iter().for_each(|id| self.user(*id));
        affected.service_accounts.iter().for_each(|id| self.service_account(*id));
        affected.keys.iter().for_each(|id| self.key(*id));
    }

    fn organization(&mut self, id: OrganizationId) {
        let Some(organization) = self.policy.organizations.get(id.0) else { return };
        let path = self.path(Section::Organizations, &organization.id);
        self.selection(id.0, path, &organization.access, None);
        self.target_limits(path, organization.allowance.as_deref());
        self.members(path, &organization.members);
    }

    fn team(&mut self, id: TeamId) {
        let policy = self.policy;
        let Some(team) = policy.teams.get(id.0) else { return };
        let path = self.path(Section::Teams, &team.id);
        let organization = policy.organizations.get(team.organization.0);
        self.scope(id.0, path, &team.access, organization);
        self.target_limits(path, team.allowance.as_deref());
        self.members(path, &team.members);
        if let Some(own) = team.self_service.as_deref()
            && own.enabled
            && own.budget_ceiling.is_some()
            && own.max_keys_per_user.is_none()
        {
            let at = path.at(&["self_service", "budget_ceiling"]);
            self.report.warning_at(at, DiagnosticKind::UnboundedKeys);
        }
        let Some(organization) = organization else {
            self.unknown(path.at(&["organization"]), Section::Organizations, team.organization.0);
            let above = [Ceiling::team(team)];
            return self.member_quotas(team, &above, path);
        };
        let ceiling = Ceiling::organization(organization);
        self.check_quota(team.own_allowance(), &[ceiling], path, ["limits", "budget"]);
        self.check_ceiling(team, organization, path);
        let above = [Ceiling::team(team), ceiling];
        self.member_quotas(team, &above, path);
        self.check_target_limits(team, organization, path);
        for (user, _) in &team.members {
            // A user that does not exist is reported as such.
            if policy.users.get(user.0).is_some() && role_of(&organization.members, *user).is_none() {
                let user = policy.users.name(user.0);
                let of = Holder::Organization(&organization.id).to_string();
                let kind = DiagnosticKind::NotMember { user: user.to_string(), of };
                self.report.error_at(path.at(&["members", user]), kind);
            }
        }
    }

    /// Validates the limits and budgets of a team's members.
    fn member_quotas(&mut self, team: &Team, above: &[Ceiling<'_>], path: RecordPath<'_>) {
        self.check_quota(team.member_allowance.as_deref(), above, path, ["member_limits", "member_budget"]);
        for (user, MemberOverride { own, .. }) in
            team.member_overrides.iter().map(|(user, own)| (user, &**own))
        {
            let path = path.of_member(self.policy.users.name(user.0));
            self.check_quota(Some(own), above, path, ["limits", "budget"]);
        }
    }

    /// Validates a user as a member of an organization.
    fn member(&mut self, organization: OrganizationId, user: UserId) {
        let policy = self.policy;
        let Some(organization) = policy.organizations.get(organization.0) else { return };
        let Some(record) = policy.users.get(user.0) else { return };
        if role_of(&organization.members, user).is_some() {
            let above = [Ceiling::organization(organization)];
            let path = self.path(Section::Users, &record.id);
            self.check_quota(record.allowance.as_deref(), &above, path, ["limits", "budget"]);
        }
    }

    fn user(&mut self, id: UserId) {
        let policy = self.policy;
        let Some(user) = policy.users.get(id.0) else { return };
        let path = self.path(Section::Users, &user.id);
        self.scope(id.0, path, &user.access, None);
        for (at, token) in (0_u32..).zip(&user.tokens) {
            let by_name = |(other, at): (UserId, u32)| (policy.users.name(other.0), at);
            if policy.token_holders(token).map(by_name).any(|other| other < (&*user.id, at)) {
                self.report.error_at(path.at(&["tokens", &at.to_string()]), DiagnosticKind::DuplicateToken);
            }
        }
    }

    fn service_account(&mut self, id: ServiceAccountId) {
        let policy = self.policy;
        let Some(account) = policy.service_accounts.get(id.0) else { return };
        if policy.teams.get(account.team.0).is_none() {
            let path = self.path(Section::ServiceAccounts, &account.id);
            self.unknown(path.at(&["team"]), Section::Teams, account.team.0);
        }
    }

    fn key(&mut self, id: KeyId) {
        let policy = self.policy;
        let Some(key) = policy.keys.get(id.0) else { return };
        let path = self.path(Section::Keys, &key.id);
        self.scope(id.0, path, key.access(), None);
        self.digests(key, path);
        let readable = |team: TeamId| policy.teams.name(team.0) != UNREADABLE;
        let owner = match key.owner {
            Owner::None => None,
            Owner::User(user) => {
                let owner = policy.users.get(user.0);
                if owner.is_none() {
                    self.unknown(path.at(&["owner"]), Section::Users, user.0);
                }
                owner
            }
            Owner::ServiceAccount(account) => {
                match policy.service_accounts.get(account.0) {
                    None => self.unknown(path.at(&["owner"]), Section::ServiceAccounts, account.0),
                    Some(account)
                        if account.team != key.team && readable(account.team) && readable(key.team) =>
                    {
                        let kind = DiagnosticKind::OtherTeam(account.id.to_string());
                        self.report.error_at(path.at(&["owner"]), kind);
                    }
                    Some(_) => {}
                }
                None
            }
        };
        let team = policy.teams.get(key.team.0);
        let (mut owner, mut above) = (owner, Vec::new());
        match team {
            None => self.unknown(path.at(&["team"]), Section::Teams, key.team.0),
            Some(team) => {
                if let Owner::User(user) = key.owner
                    && owner.is_some()
                    && role_of(&team.members, user).is_none()
                {
                    // The limits of a user who is not a member are not shown to those who manage the team.
                    owner = None;
                    let (user, of) =
                        (policy.users.name(user.0).to_string(), Holder::Team(&team.id).to_string());
                    self.report.error_at(path.at(&["owner"]), DiagnosticKind::NotMember { user, of });
                }
                if let (Some(user), Owner::User(id)) = (owner, key.owner) {
                    above.push(Ceiling::member_of(team, (id, user)));
                }
            }
        }
        above.extend(owner.map(Ceiling::user));
        above.extend(team.map(Ceiling::team));
        let organization = team.and_then(|team| policy.organizations.get(team.organization.0));
        above.extend(organization.map(Ceiling::organization));
        self.check_quota(key.allowance(), &above, path, ["limits", "budget"]);
    }

    /// Reports the digests of a key that another key has too. The first by id of several keys with one digest owns it
    /// and is not reported; a current digest comes before a previous one.
    fn digests(&mut self, key: &Key, path: RecordPath<'_>) {
        let policy = self.policy;
        let mut check = |digest: &Digest, previous: bool, steps: &[&str]| {
            let by_name = |(other, previous): (KeyId, bool)| (policy.keys.name(other.0), previous);
            if policy.holders(digest).map(by_name).any(|other| other < (&*key.id, previous)) {
                self.report.error_at(path.at(steps), DiagnosticKind::DuplicateDigest);
            }
        };
        check(&key.digest, false, &["digest"]);
        if let Some((digest, _)) = key.previous() {
            check(digest, true, &["previous", "digest"]);
        }
    }

    fn scope(&mut self, position: u32, path: RecordPath<'_>, scope: &AccessScope, of: Option<&Organization>) {
        if let AccessScope::Restrict(selection) = scope {
            self.selection(position, path, selection, of);
        }
    }

    /// Reports selected targets that do not exist and groups without targets. With an `organization`, also what that
    /// does not grant.
    fn selection(
        &mut self,
        position: u32,
        path: RecordPath<'_>,
        selection: &TargetSet,
        organization: Option<&Organization>,
    ) {
        let policy = self.policy;
        let source_map = self.source_map;
        let indexes = |selected| source_map.indexes(policy, path.section, position, selection, selected);
        let at = |list: &str, index: u32| path.at(&["access", list, &index.to_string()]);
        let inert =
            |organization: &Organization| DiagnosticKind::Inert { organization: organization.id.to_string() };
        for target in &selection.targets {
            let selected = Selected::Target(*target);
            if policy.targets.get(target.0).is_none() {
                for index in indexes(selected) {
                    self.unknown(at("targets", index), Section::Targets, target.0);
                }
            } else if let Some(organization) = organization.filter(|of| !selected.is_granted(policy, of)) {
                for index in indexes(selected) {
                    self.report.warning_at(at("targets", index), inert(organization));
                }
            }
        }
        for group in &selection.groups {
            let selected = Selected::Group(*group);
            if let Some(organization) = organization.filter(|of| !selected.is_granted(policy, of)) {
                for index in indexes(selected) {
                    self.report.warning_at(at("access_groups", index), inert(organization));
                }
            }
            if self.has_targets.get(group.0 as usize) != Some(&true) {
                for index in indexes(selected) {
                    self.report.warning_at(at("access_groups", index), DiagnosticKind::EmptyGroup);
                }
            }
        }
    }

    fn target_limits(&mut self, path: RecordPath<'_>, quota: Option<&Quota>) {
        for (target, _) in quota.into_iter().flat_map(|quota| &quota.target_limits) {
            if self.policy.targets.get(target.0).is_none() {
                let id = self.policy.targets.name(target.0);
                self.unknown(path.at(&["target_limits", id]), Section::Targets, target.0);
            }
        }
    }

    fn members<R>(&mut self, path: RecordPath<'_>, members: &[(UserId, R)]) {
        for (user, _) in members {
            if self.policy.users.get(user.0).is_none() {
                let id = self.policy.users.name(user.0);
                self.unknown(path.at(&["members", id]), Section::Users, user.0);
            }
        }
    }

    fn check_quota(
        &mut self,
        own: Option<&Quota>,
        above: &[Ceiling<'_>],
        path: RecordPath<'_>,
        [limits, budget]: [&str; 2],
    ) {
        let Some(own) = own else { return };
        let levels = above.iter().filter_map(|above| Some((&above.quota?.limits, above.holder)));
        check_limits(&own.limits, levels, path, &[limits], self.report);
        if let Some(own) = own.budget {
            check_budget(own, above, path, &[budget], self.report);
        }
    }

    /// Validates a team's ceiling against its organization.
    fn check_ceiling(&mut self, team: &Team, organization: &Organization, path: RecordPath<'_>) {
        let Some(TeamCeiling { limits, budget, access, own: _ }) = team.ceiling.as_deref() else { return };
        let above = Ceiling::organization(organization);
        let level = above.quota.map(|quota| (&quota.limits, above.holder));
        check_limits(limits, level.into_iter(), path, &["ceiling", "limits"], self.report);
        if let Some(budget) = budget {
            check_budget(*budget, &[above], path, &["ceiling", "budget"], self.report);
        }
        let AccessScope::Restrict(selection) = access else { return };
        for target in &selection.targets {
            if self.policy.targets.get(target.0).is_none() {
                let at = path.at(&["ceiling", "access", "targets"]);
                self.unknown(at, Section::Targets, target.0);
            }
        }
    }

    fn check_target_limits(&mut self, team: &Team, organization: &Organization, path: RecordPath<'_>) {
        let (Some(own), Some(above)) = (team.allowance.as_deref(), organization.allowance.as_deref()) else {
            return;
        };
        for (target, limits) in &own.target_limits {
            let most = above.target_limits.iter().filter(|(other, _)| other == target);
            let most = most.map(|(_, limits)| (limits, Holder::Organization(&organization.id)));
            let steps = ["target_limits", self.policy.targets.name(target.0)];
            check_limits(limits, most, path, &steps, self.report);
        }
    }

    fn path(&self, section: Section, id: &'a str) -> RecordPath<'a> {
        RecordPath { base: self.base, section, id, member: None }
    }

    /// Reports a name without a record, unless the record is there and could not be read: that was reported.
    #[inline(never)]
    fn unknown(&mut self, pointer: String, section: Section, position: u32) {
        let name = self.policy.name(section, position);
        if name != UNREADABLE && !self.source_map.is_unread(section, position) {
            let (kind, id) = (section.singular(), name.to_string());
            self.report.error_at(pointer, DiagnosticKind::Unknown { kind, id });
        }
    }
}
