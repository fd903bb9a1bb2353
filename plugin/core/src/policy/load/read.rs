//! From records to rows of the index: names become positions, in whatever order records come.

use crate::secret::redact::redact_quoted;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::collections::sort::{once, sort_by_key};
use crate::json::node::Node;
use crate::money::{Budget, Price};
use crate::policy::change::Section;
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics};
use crate::policy::entity::Entity;
use crate::policy::index::Policy;
use crate::policy::load::records::*;
use crate::policy::load::value::{
    FromNode, GroupName, Id, Indexed, Map, Present, TargetName, group_name, is_target_name,
};
use crate::policy::model::*;
use crate::policy::validate::source_map::SourceList;
use crate::quota::Limits;

/// A record that was read.
pub(in crate::policy) struct ReadRecord {
    /// The position of its name.
    pub position: u32,
    /// What is to stand there.
    pub row: Entity,
    /// How its text lists what it selects.
    pub listing: SourceList,
    /// Whether it selects `*`.
    pub all: bool,
}

impl Policy {
    /// Reads a record and resolves its names; nothing changes but that names have positions. The report stands
    /// at its place. `None`: too little of it is right.
    pub(in crate::policy) fn read(
        &mut self,
        section: Section,
        id: &str,
        node: Node,
        report: &mut Diagnostics,
    ) -> Option<ReadRecord> {
        let known_form = match section {
            Section::Targets => is_target_name(id) && id != "*",
            _ => Id::read(Node::String(id.to_string()), &mut Diagnostics::default()).is_some(),
        };
        if !known_form {
            let expected = match section {
                Section::Targets => "a target's name: 1 to 128 visible ASCII characters, not `*`",
                _ => "an id: a letter or digit, then up to 63 of letters, digits, `.`, `_`, `@`, `+`, `-`",
            };
            report.error(DiagnosticKind::Expected { expected, found: redact_quoted(id) });
            return None;
        }
        let mut listing = SourceList::default();
        let listed = &mut listing;
        let row = match section {
            Section::Targets => Entity::Target(self.read_target(id, TargetRecord::read(node, report)?)),
            Section::Organizations => Entity::Organization(self.read_organization(
                id,
                OrganizationRecord::read(node, report)?,
                listed,
            )),
            Section::Teams => {
                let record = TeamRecord::read(node, report)?;
                Entity::Team(self.read_team(id, record, listed, report)?)
            }
            Section::Users => {
                let record = UserRecord::read(node, report)?;
                Entity::User(self.read_user(id, record, listed, report))
            }
            Section::ServiceAccounts => Entity::ServiceAccount(
                self.read_service_account(id, ServiceAccountRecord::read(node, report)?)?,
            ),
            Section::Keys => {
                let record = KeyRecord::read(node, report)?;
                Entity::Key(self.read_key(id, record, listed, report)?)
            }
        };
        let all = matches!(&row, Entity::Organization(organization) if organization.access.all);
        Some(ReadRecord { position: self.reserve(section, id), row, listing, all })
    }

    fn read_target(&mut self, id: &str, record: TargetRecord) -> Target {
        let mut groups: Vec<GroupId> =
            record.access_groups.unwrap_or_default().0.iter().map(|(_, name)| self.group(&name.0)).collect();
        once(&mut groups);
        let price = record.price.map(|price| {
            let input = price.input.map_or(Default::default(), |price| price.0);
            Price {
                input,
                output: price.output.map_or(Default::default(), |price| price.0),
                cached_input: price.cached_input.map_or(input, |price| price.0),
                cache_write: price.cache_write.map_or(input, |price| price.0),
                request: price.request.map_or(Default::default(), |price| price.0),
            }
        });
        Target {
            name: id.into(),
            groups: groups.into(),
            max_input_tokens: record.max_input_tokens.map(|count| count.0),
            max_output_tokens: record.max_output_tokens.map(|count| count.0),
            price,
        }
    }

    fn read_organization(
        &mut self,
        id: &str,
        record: OrganizationRecord,
        listing: &mut SourceList,
    ) -> Organization {
        let grant = record.access.unwrap_or_default();
        let targets = grant.targets.unwrap_or_default();
        let all = targets.0.iter().any(|(_, name)| &*name.0 == "*");
        let named = Indexed(targets.0.into_iter().filter(|(_, name)| &*name.0 != "*").collect());
        let access = self.selection(all, named, grant.access_groups.unwrap_or_default(), listing);
        Organization {
            id: id.into(),
            name: record.name.map_or_else(|| id.into(), |name| name.0),
            access,
            allowance: self.allowance(record.limits, record.target_limits, record.budget),
            members: self.members(record.members),
            state: record.state.unwrap_or_default(),
        }
    }

    fn read_team(
        &mut self,
        id: &str,
        record: TeamRecord,
        listing: &mut SourceList,
        report: &mut Diagnostics,
    ) -> Option<Team> {
        let organization = OrganizationId(self.organizations.reserve(&record.organization?.0));
        let access = self.scope(record.access, listing, report);
        let self_service = record.self_service.map(|record| {
            Box::new(SelfService {
                enabled: record.enabled.unwrap_or_default(),
                max_keys_per_user: record.max_keys_per_user.map(|count| count.0),
                budget_ceiling: record.budget_ceiling.map(|amount| amount.0),
                require_expiry: record.require_expiry.unwrap_or_default(),
                max_expiry_days: record.max_expiry_days.map(|count| count.0),
            })
        });
        Some(Team {
            id: id.into(),
            organization,
            name: record.name.map_or_else(|| id.into(), |name| name.0),
            access,
            allowance: self.allowance(record.limits, record.target_limits, record.budget),
            member_allowance: self.allowance(record.member_limits, None, record.member_budget),
            self_service,
            members: self.members(record.members),
            state: record.state.unwrap_or_default(),
            mode: record.mode.unwrap_or_default(),
        })
    }

    fn read_user(
        &mut self,
        id: &str,
        record: UserRecord,
        listing: &mut SourceList,
        report: &mut Diagnostics,
    ) -> User {
        User {
            id: id.into(),
            name: record.name.map_or_else(|| id.into(), |name| name.0),
            access: self.scope(record.access, listing, report),
            allowance: self.allowance(record.limits, None, record.budget),
            tokens: record.tokens.unwrap_or_default().into(),
            platform_admin: record.role.is_some(),
        }
    }

    fn read_service_account(&mut self, id: &str, record: ServiceAccountRecord) -> Option<ServiceAccount> {
        Some(ServiceAccount {
            id: id.into(),
            team: TeamId(self.teams.reserve(&record.team?.0)),
            name: record.name.map_or_else(|| id.into(), |name| name.0),
            state: record.state.unwrap_or_default(),
        })
    }

    fn read_key(
        &mut self,
        id: &str,
        record: KeyRecord,
        listing: &mut SourceList,
        report: &mut Diagnostics,
    ) -> Option<Key> {
        let (team, digest) = (record.team?, record.digest?);
        let owner = match record.owner.as_ref().and_then(|owner| owner.0.split_once('/')) {
            Some(("user", user)) => Owner::User(UserId(self.users.reserve(user))),
            Some((_, account)) => {
                Owner::ServiceAccount(ServiceAccountId(self.service_accounts.reserve(account)))
            }
            None => Owner::None,
        };
        let more = KeyDetails {
            name: record.name.map(|name| name.0),
            hint: record.hint.map(|hint| hint.0),
            previous: record.previous.and_then(|previous| Some((previous.digest?, previous.until?.0))),
            access: self.scope(record.access, listing, report),
            allowance: self.allowance(record.limits, None, record.budget),
        };
        Some(Key {
            id: id.into(),
            team: TeamId(self.teams.reserve(&team.0)),
            owner,
            digest,
            more: (more != KeyDetails::default()).then(|| Box::new(more)),
            expires_at: record.expires_at.map(|moment| moment.0),
            state: record.state.unwrap_or_default(),
        })
    }

    fn group(&mut self, name: &str) -> GroupId {
        GroupId(self.groups.reserve(&group_name(name).unwrap_or_default()))
    }

    fn selection(
        &mut self,
        all: bool,
        targets: Indexed<TargetName>,
        groups: Indexed<GroupName>,
        listing: &mut SourceList,
    ) -> TargetSet {
        listing.targets =
            targets.0.iter().map(|(place, name)| (TargetId(self.targets.reserve(&name.0)), *place)).collect();
        listing.groups = groups.0.iter().map(|(place, name)| (self.group(&name.0), *place)).collect();
        let targets = listing.targets.iter().map(|(target, _)| *target).collect();
        let groups = listing.groups.iter().map(|(group, _)| *group).collect();
        TargetSet::new(all, targets, groups)
    }

    fn scope(
        &mut self,
        access: Option<AccessRecord>,
        listing: &mut SourceList,
        report: &mut Diagnostics,
    ) -> AccessScope {
        let Some(access) = access else { return AccessScope::Inherit };
        let targets = access.targets.unwrap_or_default();
        let groups = access.access_groups.unwrap_or_default();
        // One that is missing or wrong was meant to fit the selection.
        match access.mode.unwrap_or(AccessMode::Restrict) {
            AccessMode::Inherit => {
                if !targets.0.is_empty() || !groups.0.is_empty() {
                    report.within("access", |report| report.error(DiagnosticKind::SelectionWithInherit));
                }
                AccessScope::Inherit
            }
            AccessMode::Restrict => {
                AccessScope::Restrict(Box::new(self.selection(false, targets, groups, listing)))
            }
        }
    }

    fn allowance(
        &mut self,
        limits: Option<LimitsRecord>,
        target_limits: Option<Map<LimitsRecord>>,
        budget: Option<BudgetRecord>,
    ) -> Option<Box<Quota>> {
        let mut by_target: Vec<(TargetId, Limits)> = target_limits
            .unwrap_or_default()
            .0
            .into_iter()
            .map(|(name, limits)| (TargetId(self.targets.reserve(&name)), Limits::from(limits)))
            .collect();
        sort_by_key(&mut by_target, |(target, _)| *target);
        let budget = budget.and_then(|record| {
            Some(Budget {
                max: record.max?.0,
                soft: record.soft.map(|soft| soft.0),
                // Over nobody knows which period: there is nothing to compare.
                period: record.period()?,
            })
        });
        let limits = limits.map_or(Limits::default(), Limits::from);
        Quota { limits, target_limits: by_target.into(), budget, record: CachedRecordKey::default() }.boxed()
    }

    /// Who has a role that is wrong is a member all the same.
    fn members<R: Copy + Default>(&mut self, members: Option<Map<Present<R>>>) -> Vec<(UserId, R)> {
        let members = members.map_or(Vec::new(), |members| members.0).into_iter();
        let mut list: Vec<(UserId, R)> = members
            .map(|(user, role)| (UserId(self.users.reserve(&user)), role.0.unwrap_or_default()))
            .collect();
        sort_by_key(&mut list, |(user, _)| *user);
        list
    }
}
