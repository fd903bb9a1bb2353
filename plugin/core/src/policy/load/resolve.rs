//! Turns records into entities of the index: names become positions, whatever the order of the records.
//!
//! Every function destructures its record without `..`, so that a new field fails to compile until it is used.

use crate::secret::api_key;
use crate::secret::redact::redact_quoted;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::collections::sort::{once, sort_by_key};
use crate::json::node::Node;
use crate::money::Budget;
use crate::policy::change::Section;
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics};
use crate::policy::entity::Entity;
use crate::policy::index::Policy;
use crate::policy::load::records::*;
use crate::policy::load::value::{
    Count, FromNode, GroupName, Id, Indexed, Map, Present, TargetName, group_name, is_target_name,
};
use crate::policy::model::*;
use crate::policy::validate::source_map::SourceList;
use crate::quota::Limits;

/// The name of a team or organization in place of one that could not be read. It is no id.
pub(in crate::policy) const UNREADABLE: &str = "\0unreadable";

/// A record after reading.
pub(in crate::policy) struct ReadRecord {
    /// The position of its name.
    pub position: u32,
    /// The entity for that position.
    pub entity: Entity,
    /// The indexes in the document of what it selects.
    pub source: SourceList,
    /// True if it selects `*`.
    pub all: bool,
}

impl Policy {
    /// Reads a record and resolves its names. The policy changes only by new names that get a position. Diagnostics
    /// are reported relative to the current pointer of `report`. `None` if the record is not an object.
    ///
    /// In place of an invalid field without which there is no entity, which was reported, the entity has one that
    /// adds no diagnostics. The other fields are thereby checked against other records as well.
    pub(in crate::policy) fn read(
        &mut self,
        section: Section,
        id: &str,
        node: Node,
        report: &mut Diagnostics,
    ) -> Option<ReadRecord> {
        let is_valid = match section {
            Section::Targets => is_target_name(id) && id != "*",
            Section::Organizations
            | Section::Teams
            | Section::Users
            | Section::ServiceAccounts
            | Section::Keys => Id::read(Node::String(id.to_string()), &mut Diagnostics::default()).is_some(),
        };
        if !is_valid {
            let expected = match section {
                Section::Targets => "a target name: 1 to 128 visible ASCII characters, not `*`",
                Section::Organizations
                | Section::Teams
                | Section::Users
                | Section::ServiceAccounts
                | Section::Keys => {
                    "an id: a letter or digit, then up to 63 of letters, digits, `.`, `_`, `@`, `+`, `-`"
                }
            };
            report.error(DiagnosticKind::Expected { expected, found: redact_quoted(id) });
        }
        let mut source = SourceList::default();
        let listed = &mut source;
        let entity = match section {
            Section::Targets => Entity::Target(self.read_target(id, TargetRecord::read(node, report)?)),
            Section::Organizations => Entity::Organization(self.read_organization(
                id,
                OrganizationRecord::read(node, report)?,
                listed,
            )),
            Section::Teams => {
                let record = TeamRecord::read(node, report)?;
                Entity::Team(self.read_team(id, record, listed, report))
            }
            Section::Users => {
                let record = UserRecord::read(node, report)?;
                Entity::User(self.read_user(id, record, listed, report))
            }
            Section::ServiceAccounts => Entity::ServiceAccount(
                self.read_service_account(id, ServiceAccountRecord::read(node, report)?),
            ),
            Section::Keys => {
                let record = KeyRecord::read(node, report)?;
                Entity::Key(self.read_key(id, record, listed, report))
            }
        };
        let all = matches!(&entity, Entity::Organization(organization) if organization.access.all);
        Some(ReadRecord { position: self.reserve(section, id), entity, source, all })
    }

    fn read_target(&mut self, id: &str, record: TargetRecord) -> Target {
        let TargetRecord {
            access_groups,
            max_input_tokens,
            max_output_tokens,
            price,
            cost,
            usage_chunk,
            abandoned,
            reasoning,
        } = record;
        let groups = access_groups.unwrap_or_default().0;
        let mut groups: Vec<GroupId> = groups.iter().map(|(_, name)| self.group(&name.0)).collect();
        once(&mut groups);
        Target {
            name: id.into(),
            groups: groups.into(),
            max_input_tokens: max_input_tokens.map(|count| count.0),
            max_output_tokens: max_output_tokens.map(|count| count.0),
            price: price.map(|price| price.0),
            cost: cost.unwrap_or_default(),
            usage_chunk: usage_chunk.unwrap_or_default(),
            abandoned: abandoned.unwrap_or_default(),
            reasoning: reasoning.unwrap_or_default(),
        }
    }

    fn read_organization(
        &mut self,
        id: &str,
        record: OrganizationRecord,
        source: &mut SourceList,
    ) -> Organization {
        let OrganizationRecord { name, access, limits, budget, target_limits, members, state, created } =
            record;
        let GrantRecord { targets, access_groups } = access.unwrap_or_default();
        let targets = targets.unwrap_or_default();
        let all = targets.0.iter().any(|(_, name)| &*name.0 == "*");
        let named = Indexed(targets.0.into_iter().filter(|(_, name)| &*name.0 != "*").collect());
        let access = self.target_set(all, named, access_groups.unwrap_or_default(), source);
        Organization {
            id: id.into(),
            name: name.map_or_else(|| id.into(), |name| name.0),
            access,
            allowance: self.quota(limits, target_limits, budget),
            members: self.members(members),
            state: state.unwrap_or_default(),
            created: read_created(created),
        }
    }

    fn read_team(
        &mut self,
        id: &str,
        record: TeamRecord,
        source: &mut SourceList,
        report: &mut Diagnostics,
    ) -> Team {
        let TeamRecord {
            organization,
            name,
            access,
            limits,
            budget,
            target_limits,
            member_limits,
            member_budget,
            self_service,
            members,
            state,
            mode,
            ceiling,
            created,
        } = record;
        let organization = organization.map_or_else(|| UNREADABLE.into(), |organization| organization.0);
        let member_allowance = self.quota(member_limits, None, member_budget);
        let (members, member_overrides) = self.team_members(members, member_allowance.as_deref());
        let own = self.quota(limits, target_limits, budget);
        let ceiling = ceiling.map(|ceiling| Box::new(self.read_ceiling(ceiling, own.clone(), report)));
        Team {
            id: id.into(),
            organization: OrganizationId(self.organizations.reserve(&organization)),
            name: name.map_or_else(|| id.into(), |name| name.0),
            access: self.scope(access, source, report),
            allowance: ceiling.as_ref().map_or(own, |ceiling| ceiling.tighter()),
            ceiling,
            member_allowance,
            self_service: self_service.map(|record| Box::new(read_self_service(record))),
            members,
            member_overrides,
            state: state.unwrap_or_default(),
            mode: mode.unwrap_or_default(),
            created: read_created(created),
        }
    }

    fn read_ceiling(
        &mut self,
        record: CeilingRecord,
        own: Option<Box<Quota>>,
        report: &mut Diagnostics,
    ) -> TeamCeiling {
        let CeilingRecord { limits, budget, access } = record;
        let budget = budget.and_then(read_budget);
        if let (Some(ceiling), Some(own)) = (budget, own.as_ref().and_then(|own| own.budget))
            && ceiling.period != own.period
        {
            let found = format!("`{}`, and the ceiling has `{}`", own.period.name(), ceiling.period.name());
            let kind = DiagnosticKind::Expected {
                expected: "the period of the budget of the team's ceiling",
                found,
            };
            report.within("budget", |report| report.within("period", |report| report.error(kind)));
        }
        // The places of its selections are not recorded: diagnostics name the list.
        let mut places = SourceList::default();
        TeamCeiling {
            limits: limits.map_or(Limits::default(), Limits::from),
            budget,
            access: report.within("ceiling", |report| self.scope(access, &mut places, report)),
            own,
        }
    }

    fn read_user(
        &mut self,
        id: &str,
        record: UserRecord,
        source: &mut SourceList,
        report: &mut Diagnostics,
    ) -> User {
        let UserRecord { name, access, limits, budget, tokens, role, created } = record;
        User {
            id: id.into(),
            name: name.map_or_else(|| id.into(), |name| name.0),
            access: self.scope(access, source, report),
            allowance: self.quota(limits, None, budget),
            tokens: tokens.unwrap_or_default().into(),
            platform_admin: role.is_some_and(|PlatformAdmin| true),
            created: read_created(created),
        }
    }

    fn read_service_account(&mut self, id: &str, record: ServiceAccountRecord) -> ServiceAccount {
        let ServiceAccountRecord { team, name, state, created } = record;
        let team = team.map_or_else(|| UNREADABLE.into(), |team| team.0);
        ServiceAccount {
            id: id.into(),
            team: TeamId(self.teams.reserve(&team)),
            name: name.map_or_else(|| id.into(), |name| name.0),
            state: state.unwrap_or_default(),
            created: read_created(created),
        }
    }

    fn read_key(
        &mut self,
        id: &str,
        record: KeyRecord,
        source: &mut SourceList,
        report: &mut Diagnostics,
    ) -> Key {
        let KeyRecord {
            team,
            owner,
            name,
            digest,
            previous,
            hint,
            access,
            limits,
            budget,
            expires_at,
            state,
            self_service,
            created,
        } = record;
        let team = team.map_or_else(|| UNREADABLE.into(), |team| team.0);
        // No two keys share it, and no secret has it: the text is no key that a client can send.
        let digest =
            digest.unwrap_or_else(|| api_key::digest(alloc::format!("{UNREADABLE}\0{id}").as_bytes()));
        let owner = match owner.as_ref().and_then(|owner| owner.0.split_once('/')) {
            Some(("user", user)) => Owner::User(UserId(self.users.reserve(user))),
            Some((_, account)) => {
                Owner::ServiceAccount(ServiceAccountId(self.service_accounts.reserve(account)))
            }
            None => Owner::None,
        };
        let more = KeyDetails {
            name: name.map(|name| name.0),
            hint: hint.map(|hint| hint.0),
            previous: previous.and_then(|PreviousRecord { digest, until }| Some((digest?, until?.0))),
            access: self.scope(access, source, report),
            allowance: self.quota(limits, None, budget),
            self_service: self_service.unwrap_or_default(),
            created: read_created(created),
        };
        Key {
            id: id.into(),
            team: TeamId(self.teams.reserve(&team)),
            owner,
            digest,
            more: (more != KeyDetails::default()).then(|| Box::new(more)),
            expires_at: expires_at.map(|time| time.0),
            state: state.unwrap_or_default(),
        }
    }

    fn group(&mut self, name: &str) -> GroupId {
        GroupId(self.groups.reserve(&group_name(name).unwrap_or_default()))
    }

    fn target_set(
        &mut self,
        all: bool,
        targets: Indexed<TargetName>,
        groups: Indexed<GroupName>,
        source: &mut SourceList,
    ) -> TargetSet {
        source.targets =
            targets.0.iter().map(|(index, name)| (TargetId(self.targets.reserve(&name.0)), *index)).collect();
        source.groups = groups.0.iter().map(|(index, name)| (self.group(&name.0), *index)).collect();
        let targets = source.targets.iter().map(|(target, _)| *target).collect();
        let groups = source.groups.iter().map(|(group, _)| *group).collect();
        TargetSet::new(all, targets, groups)
    }

    fn scope(
        &mut self,
        access: Option<AccessRecord>,
        source: &mut SourceList,
        report: &mut Diagnostics,
    ) -> AccessScope {
        let Some(AccessRecord { mode, targets, access_groups }) = access else { return AccessScope::Inherit };
        let targets = targets.unwrap_or_default();
        let groups = access_groups.unwrap_or_default();
        // A missing or invalid mode was reported; with `restrict` the selection adds no diagnostics.
        match mode.unwrap_or(AccessMode::Restrict) {
            AccessMode::Inherit => {
                if !targets.0.is_empty() || !groups.0.is_empty() {
                    report.within("access", |report| report.error(DiagnosticKind::SelectionWithInherit));
                }
                AccessScope::Inherit
            }
            AccessMode::Restrict => {
                AccessScope::Restrict(Box::new(self.target_set(false, targets, groups, source)))
            }
        }
    }

    fn quota(
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
        let limits = limits.map_or(Limits::default(), Limits::from);
        let budget = budget.and_then(read_budget);
        Quota { limits, target_limits: by_target.into(), budget, record: CachedRecordKey::default() }.boxed()
    }

    /// Reads the members of a team, and the quotas of those who have one of their own.
    fn team_members(
        &mut self,
        members: Option<Map<Present<TeamMember>>>,
        of_each: Option<&Quota>,
    ) -> (Vec<(UserId, TeamRole)>, MemberOverrides) {
        let mut roles = Map::default();
        let mut overrides = MemberOverrides::new();
        for (user, member) in members.unwrap_or_default().0 {
            let Some(TeamMember(TeamMemberRecord { role, limits, budget })) = member.0 else {
                roles.0.push((user, Present(None)));
                continue;
            };
            if let Some(own) = self.quota(limits, None, budget) {
                let user = UserId(self.users.reserve(&user));
                overrides.push((user, Box::new(MemberOverride::new(*own, of_each))));
            }
            roles.0.push((user, Present(role)));
        }
        sort_by_key(&mut overrides, |(user, _)| *user);
        (self.members(Some(roles)), overrides)
    }

    /// Reads members. A member with an invalid role is a member, so that its keys are not reported as well.
    fn members<R: Copy + Default>(&mut self, members: Option<Map<Present<R>>>) -> Vec<(UserId, R)> {
        let members = members.map_or(Vec::new(), |members| members.0).into_iter();
        let mut list: Vec<(UserId, R)> = members
            .map(|(user, role)| (UserId(self.users.reserve(&user)), role.0.unwrap_or_default()))
            .collect();
        sort_by_key(&mut list, |(user, _)| *user);
        list
    }
}

fn read_created(created: Option<Count>) -> Created {
    NonZeroU64::new(created?.0)
}

fn read_self_service(record: SelfServiceRecord) -> SelfService {
    let SelfServiceRecord { enabled, max_keys_per_user, budget_ceiling, require_expiry, max_expiry_days } =
        record;
    SelfService {
        enabled: enabled.unwrap_or_default(),
        max_keys_per_user: max_keys_per_user.map(|count| count.0),
        budget_ceiling: budget_ceiling.map(|amount| amount.0),
        require_expiry: require_expiry.unwrap_or_default(),
        max_expiry_days: max_expiry_days.map(|count| count.0),
    }
}

/// Reads a budget. `None` if its period is invalid: there is no other budget to compare it with.
fn read_budget(record: BudgetRecord) -> Option<Budget> {
    let valid_period = record.period();
    let BudgetRecord { max, soft, period: _ } = record;
    Some(Budget { max: max?.0, soft: soft.map(|soft| soft.0), period: valid_period? })
}
