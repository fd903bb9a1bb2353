//! What must hold between records: names that exist, limits within the level above, members, what a team
//! selected, digests that are one key's.

use crate::secret::api_key::Digest;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::policy::change::Section;
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics, pointer};
use crate::policy::index::Policy;
use crate::policy::model::*;
use crate::policy::validate::affected::AffectedRecords;
use crate::policy::validate::ceilings::{Ceiling, Holder, budget_within, limits_within};
use crate::policy::validate::source_map::{Selected, SourceMap};

/// Checks what spans records, of a whole policy or of a part of it.
pub(in crate::policy) struct Validator<'a> {
    policy: &'a Policy,
    order: &'a SourceMap,
    /// Where the policy stands in its document.
    base: &'a str,
    /// By group: whether a target carries it.
    carried: Vec<bool>,
    report: &'a mut Diagnostics,
}

/// A record's place in the document, spelt out only for a finding.
#[derive(Clone, Copy)]
pub(in crate::policy) struct RecordPath<'a> {
    base: &'a str,
    section: Section,
    id: &'a str,
}

impl RecordPath<'_> {
    /// The pointer of something in the record.
    pub fn at(&self, steps: &[&str]) -> String {
        let mut whole = Vec::from([self.section.name(), self.id]);
        whole.extend_from_slice(steps);
        pointer(self.base, &whole)
    }
}

impl<'a> Validator<'a> {
    /// Of this policy, with the order in which the text lists what records select.
    pub fn new(policy: &'a Policy, order: &'a SourceMap, base: &'a str, report: &'a mut Diagnostics) -> Self {
        let mut carried = Vec::new();
        for (_, _, target) in policy.targets.iter() {
            for group in &target.groups {
                let at = group.0 as usize;
                if at >= carried.len() {
                    carried.resize(at.saturating_add(1), false);
                }
                if let Some(carried) = carried.get_mut(at) {
                    *carried = true;
                }
            }
        }
        Validator { policy, order, base, carried, report }
    }

    /// Everything.
    pub fn whole(&mut self) {
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

    /// What a change reaches.
    pub fn reach(&mut self, reach: &AffectedRecords) {
        if reach.everything {
            return self.whole();
        }
        reach.organizations.iter().for_each(|ix| self.organization(*ix));
        reach.members.iter().for_each(|(organization, user)| self.member(*organization, *user));
        reach.teams.iter().for_each(|ix| self.team(*ix));
        reach.users.iter().for_each(|ix| self.user(*ix));
        reach.service_accounts.iter().for_each(|ix| self.service_account(*ix));
        reach.keys.iter().for_each(|ix| self.key(*ix));
    }

    fn organization(&mut self, ix: OrganizationId) {
        let Some(organization) = self.policy.organizations.get(ix.0) else { return };
        let place = self.place(Section::Organizations, &organization.id);
        self.selection(ix.0, place, &organization.access, None);
        self.allowance(place, organization.allowance.as_deref());
        self.members(place, &organization.members);
    }

    fn team(&mut self, ix: TeamId) {
        let policy = self.policy;
        let Some(team) = policy.teams.get(ix.0) else { return };
        let place = self.place(Section::Teams, &team.id);
        let organization = policy.organizations.get(team.organization.0);
        self.scope(ix.0, place, &team.access, organization);
        self.allowance(place, team.allowance.as_deref());
        self.members(place, &team.members);
        let Some(organization) = organization else {
            return self.unknown(place.at(&["organization"]), Section::Organizations, team.organization.0);
        };
        let ceiling = Ceiling::organization(organization);
        self.within(team.allowance.as_deref(), &[ceiling], place, ["limits", "budget"]);
        let above = [Ceiling::team(team), ceiling];
        self.within(team.member_allowance.as_deref(), &above, place, ["member_limits", "member_budget"]);
        self.target_limits_within(team, organization, place);
        for (user, _) in &team.members {
            // A user that does not exist is reported as such.
            if policy.users.get(user.0).is_some() && !is_member(&organization.members, *user) {
                let user = policy.users.name(user.0);
                let of = Holder::Organization(&organization.id).to_string();
                let problem = DiagnosticKind::NotMember { user: user.to_string(), of };
                self.report.error_at(place.at(&["members", user]), problem);
            }
        }
    }

    /// A person within an organization.
    fn member(&mut self, organization: OrganizationId, user: UserId) {
        let policy = self.policy;
        let Some(organization) = policy.organizations.get(organization.0) else { return };
        let Some(record) = policy.users.get(user.0) else { return };
        if is_member(&organization.members, user) {
            let above = [Ceiling::organization(organization)];
            let place = self.place(Section::Users, &record.id);
            self.within(record.allowance.as_deref(), &above, place, ["limits", "budget"]);
        }
    }

    fn user(&mut self, ix: UserId) {
        let policy = self.policy;
        let Some(user) = policy.users.get(ix.0) else { return };
        let place = self.place(Section::Users, &user.id);
        self.scope(ix.0, place, &user.access, None);
        for (at, token) in (0_u32..).zip(&user.tokens) {
            let named = |(other, at): (UserId, u32)| (policy.users.name(other.0), at);
            if policy.token_holders(token).map(named).any(|other| other < (&*user.id, at)) {
                self.report.error_at(place.at(&["tokens", &at.to_string()]), DiagnosticKind::DuplicateToken);
            }
        }
    }

    fn service_account(&mut self, ix: ServiceAccountId) {
        let policy = self.policy;
        let Some(account) = policy.service_accounts.get(ix.0) else { return };
        if policy.teams.get(account.team.0).is_none() {
            let place = self.place(Section::ServiceAccounts, &account.id);
            self.unknown(place.at(&["team"]), Section::Teams, account.team.0);
        }
    }

    fn key(&mut self, ix: KeyId) {
        let policy = self.policy;
        let Some(key) = policy.keys.get(ix.0) else { return };
        let place = self.place(Section::Keys, &key.id);
        self.scope(ix.0, place, key.access(), None);
        self.digests(key, place);
        let owner = match key.owner {
            Owner::None => None,
            Owner::User(user) => {
                let owner = policy.users.get(user.0);
                if owner.is_none() {
                    self.unknown(place.at(&["owner"]), Section::Users, user.0);
                }
                owner
            }
            Owner::ServiceAccount(account) => {
                match policy.service_accounts.get(account.0) {
                    None => self.unknown(place.at(&["owner"]), Section::ServiceAccounts, account.0),
                    Some(account) if account.team != key.team => {
                        let problem = DiagnosticKind::OtherTeam(account.id.to_string());
                        self.report.error_at(place.at(&["owner"]), problem);
                    }
                    Some(_) => {}
                }
                None
            }
        };
        let Some(team) = policy.teams.get(key.team.0) else {
            return self.unknown(place.at(&["team"]), Section::Teams, key.team.0);
        };
        if let Owner::User(user) = key.owner
            && owner.is_some()
            && !is_member(&team.members, user)
        {
            let (user, of) = (policy.users.name(user.0).to_string(), Holder::Team(&team.id).to_string());
            self.report.error_at(place.at(&["owner"]), DiagnosticKind::NotMember { user, of });
        }
        let Some(organization) = policy.organizations.get(team.organization.0) else { return };
        let (whole, ceiling) = (Ceiling::team(team), Ceiling::organization(organization));
        match owner {
            Some(owner) => {
                let above = [Ceiling::member_of(team), Ceiling::user(owner), whole, ceiling];
                self.within(key.allowance(), &above, place, ["limits", "budget"]);
            }
            None => self.within(key.allowance(), &[whole, ceiling], place, ["limits", "budget"]),
        }
    }

    /// Of all that have a digest, the first by name has it rightly: its present one before an earlier one.
    fn digests(&mut self, key: &Key, place: RecordPath<'_>) {
        let policy = self.policy;
        let mut check = |digest: &Digest, previous: bool, steps: &[&str]| {
            let named = |(other, previous): (KeyId, bool)| (policy.keys.name(other.0), previous);
            if policy.holders(digest).map(named).any(|other| other < (&*key.id, previous)) {
                self.report.error_at(place.at(steps), DiagnosticKind::DuplicateDigest);
            }
        };
        check(&key.digest, false, &["digest"]);
        if let Some((digest, _)) = key.previous() {
            check(digest, true, &["previous", "digest"]);
        }
    }

    fn scope(
        &mut self,
        position: u32,
        place: RecordPath<'_>,
        scope: &AccessScope,
        of: Option<&Organization>,
    ) {
        if let AccessScope::Restrict(selection) = scope {
            self.selection(position, place, selection, of);
        }
    }

    /// What is selected exists; what a team selects is available through its organization, if it is given.
    fn selection(
        &mut self,
        position: u32,
        place: RecordPath<'_>,
        selection: &TargetSet,
        organization: Option<&Organization>,
    ) {
        let policy = self.policy;
        let order = self.order;
        let places = |choice| order.places(policy, place.section, position, selection, choice);
        let at = |list: &str, index: u32| place.at(&["access", list, &index.to_string()]);
        let inert =
            |organization: &Organization| DiagnosticKind::Inert { organization: organization.id.to_string() };
        for target in &selection.targets {
            let choice = Selected::Target(*target);
            if policy.targets.get(target.0).is_none() {
                for index in places(choice) {
                    self.unknown(at("targets", index), Section::Targets, target.0);
                }
            } else if let Some(organization) = organization.filter(|of| !is_available(policy, of, choice)) {
                for index in places(choice) {
                    self.report.warning_at(at("targets", index), inert(organization));
                }
            }
        }
        for group in &selection.groups {
            let choice = Selected::Group(*group);
            if let Some(organization) = organization.filter(|of| !is_available(policy, of, choice)) {
                for index in places(choice) {
                    self.report.warning_at(at("access_groups", index), inert(organization));
                }
            }
            if self.carried.get(group.0 as usize) != Some(&true) {
                for index in places(choice) {
                    self.report.warning_at(at("access_groups", index), DiagnosticKind::EmptyGroup);
                }
            }
        }
    }

    fn allowance(&mut self, place: RecordPath<'_>, allowance: Option<&Quota>) {
        for (target, _) in allowance.into_iter().flat_map(|allowance| &allowance.target_limits) {
            if self.policy.targets.get(target.0).is_none() {
                let id = self.policy.targets.name(target.0);
                self.unknown(place.at(&["target_limits", id]), Section::Targets, target.0);
            }
        }
    }

    fn members<R>(&mut self, place: RecordPath<'_>, members: &[(UserId, R)]) {
        for (user, _) in members {
            if self.policy.users.get(user.0).is_none() {
                let id = self.policy.users.name(user.0);
                self.unknown(place.at(&["members", id]), Section::Users, user.0);
            }
        }
    }

    fn within(
        &mut self,
        own: Option<&Quota>,
        above: &[Ceiling<'_>],
        place: RecordPath<'_>,
        [limits, budget]: [&str; 2],
    ) {
        let Some(own) = own else { return };
        let levels = above.iter().filter_map(|above| Some((&above.allowance?.limits, above.whose)));
        limits_within(&own.limits, levels, place, &[limits], self.report);
        if let Some(own) = own.budget {
            budget_within(own, above, place, budget, self.report);
        }
    }

    fn target_limits_within(&mut self, team: &Team, organization: &Organization, place: RecordPath<'_>) {
        let (Some(own), Some(above)) = (team.allowance.as_deref(), organization.allowance.as_deref()) else {
            return;
        };
        for (target, limits) in &own.target_limits {
            let most = above.target_limits.iter().filter(|(other, _)| other == target);
            let most = most.map(|(_, limits)| (limits, Holder::Organization(&organization.id)));
            let steps = ["target_limits", self.policy.targets.name(target.0)];
            limits_within(limits, most, place, &steps, self.report);
        }
    }

    fn place(&self, section: Section, id: &'a str) -> RecordPath<'a> {
        RecordPath { base: self.base, section, id }
    }

    /// Reports a name without a record; not where one stands that could not be read, which was said there.
    #[inline(never)]
    fn unknown(&mut self, pointer: String, section: Section, position: u32) {
        if !self.order.is_unread(section, position) {
            let (kind, id) = (section.singular(), self.policy.name(section, position).to_string());
            self.report.error_at(pointer, DiagnosticKind::Unknown { kind, id });
        }
    }
}

/// Whether an organization offers what a team selected: a target in its set; a group that is granted, or
/// of which at least one member is.
fn is_available(policy: &Policy, organization: &Organization, what: Selected) -> bool {
    match what {
        Selected::Target(ix) => {
            policy.targets.get(ix.0).is_none_or(|target| organization.access.has(ix, target).is_some())
        }
        Selected::Group(group) => {
            organization.access.groups.contains(&group)
                || policy.targets.iter().any(|(position, _, target)| {
                    target.groups.contains(&group)
                        && organization.access.has(TargetId(position), target).is_some()
                })
        }
    }
}

fn is_member<R>(members: &[(UserId, R)], user: UserId) -> bool {
    members.binary_search_by_key(&user, |(member, _)| *member).is_ok()
}
