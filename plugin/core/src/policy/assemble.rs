//! From records to the index: names become positions, in whatever order the sections come.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::check;
use super::finding::{Problem, Report};
use super::index::Policy;
use super::model::*;
use super::records::*;
use super::table::Table;
use super::value::{Map, Placed, TargetName, Value, group_name, is_target_name};
use crate::json::node::Node;
use crate::limits::Limits;
use crate::money::{Budget, Price};

/// The sections and fields of a policy document.
pub const FIELDS: &[&str] =
    &["version", "targets", "organizations", "teams", "users", "service_accounts", "keys", "unpriced"];

/// The fields that hold records by name.
pub const SECTIONS: &[&str] = &["targets", "organizations", "teams", "users", "service_accounts", "keys"];

/// Puts a policy together, entry by entry.
#[derive(Debug, Default)]
pub struct Assembly {
    policy: Policy,
    mentions: Vec<Mention>,
    selected: Vec<Selected>,
    groups: Vec<(GroupIx, String)>,
}

/// A name that had no record when it was mentioned.
#[derive(Debug)]
struct Mention {
    kind: &'static str,
    position: u32,
    pointer: String,
}

/// What a team selected, for the check against its organization.
#[derive(Debug)]
pub(super) struct Selected {
    pub team: TeamIx,
    pub what: Choice,
    pub pointer: String,
}

/// A selected thing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    Target(TargetIx),
    Group(GroupIx),
}

impl Assembly {
    /// Takes one record of a section; the report stands at its place.
    pub fn entry(&mut self, section: &str, id: &str, node: Node, report: &mut Report) {
        let known_form = match section {
            "targets" => is_target_name(id) && id != "*",
            _ => super::value::Id::read(Node::String(id.to_string()), &mut Report::default()).is_some(),
        };
        if !known_form {
            let expected = match section {
                "targets" => "a target's name: 1 to 128 visible ASCII characters, not `*`",
                _ => "an id: a letter or digit, then up to 63 of letters, digits, `.`, `_`, `@`, `+`, `-`",
            };
            report.error(Problem::Expected { expected, found: super::finding::quoted(id) });
            return;
        }
        let new = match section {
            "targets" => TargetRecord::read(node, report).map(|record| self.target(id, record)),
            "organizations" => {
                OrganizationRecord::read(node, report).map(|record| self.organization(id, record, report))
            }
            "teams" => TeamRecord::read(node, report).map(|record| self.team(id, record, report)),
            "users" => UserRecord::read(node, report).map(|record| self.user(id, record, report)),
            "service_accounts" => ServiceAccountRecord::read(node, report)
                .map(|record| self.service_account(id, record, report)),
            _ => KeyRecord::read(node, report).map(|record| self.key(id, record, report)),
        };
        if new == Some(false) {
            report.error(Problem::Duplicate);
        }
    }

    /// `unpriced`.
    pub fn unpriced(&mut self, unpriced: Unpriced) {
        self.policy.unpriced = unpriced;
    }

    /// Reserves a target's position for a route.
    pub fn mention_target(&mut self, name: &str, pointer: String) -> TargetIx {
        let position = mention(&mut self.policy.targets, "target", name, pointer, &mut self.mentions);
        TargetIx(position)
    }

    /// The index, after all that spans several records is checked. `base` is where the policy stands in
    /// its document.
    pub fn finish(mut self, base: &str, report: &mut Report) -> Policy {
        for Mention { kind, position, pointer } in core::mem::take(&mut self.mentions) {
            let policy = &self.policy;
            let (known, id) = match kind {
                "target" => (policy.targets.get(position).is_some(), policy.targets.name(position)),
                "organization" => {
                    (policy.organizations.get(position).is_some(), policy.organizations.name(position))
                }
                "team" => (policy.teams.get(position).is_some(), policy.teams.name(position)),
                "user" => (policy.users.get(position).is_some(), policy.users.name(position)),
                _ => {
                    (policy.service_accounts.get(position).is_some(), policy.service_accounts.name(position))
                }
            };
            if !known {
                report.error_at(pointer, Problem::Unknown { kind, id: id.to_string() });
            }
        }
        check::across(&self.policy, &self.selected, &self.groups, base, report);
        self.policy.shrink();
        self.policy
    }

    fn target(&mut self, id: &str, record: TargetRecord) -> bool {
        let mut groups: Vec<GroupIx> =
            record.access_groups.unwrap_or_default().0.iter().map(|(_, name)| self.group(&name.0)).collect();
        groups.sort_unstable();
        groups.dedup();
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
        let target = Target {
            name: id.into(),
            groups: groups.into(),
            max_input_tokens: record.max_input_tokens.map(|count| count.0),
            max_output_tokens: record.max_output_tokens.map(|count| count.0),
            price,
        };
        let position = self.policy.targets.reserve(id);
        self.policy.targets.define(position, target)
    }

    fn organization(&mut self, id: &str, record: OrganizationRecord, report: &mut Report) -> bool {
        let grant = record.access.unwrap_or_default();
        let targets = grant.targets.unwrap_or_default();
        let all = targets.0.iter().any(|(_, name)| &*name.0 == "*");
        let named = Placed(targets.0.into_iter().filter(|(_, name)| &*name.0 != "*").collect());
        let access = self.selection(all, named, grant.access_groups.unwrap_or_default(), None);
        let organization = Organization {
            id: id.into(),
            name: record.name.map_or_else(|| id.into(), |name| name.0),
            access,
            allowance: self.allowance(record.limits, record.target_limits, record.budget, report),
            members: self.members(record.members, report),
            state: record.state.unwrap_or_default(),
        };
        let position = self.policy.organizations.reserve(id);
        self.policy.organizations.define(position, organization)
    }

    fn team(&mut self, id: &str, record: TeamRecord, report: &mut Report) -> bool {
        let position = self.policy.teams.reserve(id);
        let Some(organization) = record.organization else { return true };
        let pointer = pointer_of(report, "organization");
        let organization = OrganizationIx(mention(
            &mut self.policy.organizations,
            "organization",
            &organization.0,
            pointer,
            &mut self.mentions,
        ));
        let access = self.scope(record.access, Some(TeamIx(position)), report);
        let self_service = record.self_service.map(|record| {
            Box::new(SelfService {
                enabled: record.enabled.unwrap_or_default(),
                max_keys_per_user: record.max_keys_per_user.map(|count| count.0),
                budget_ceiling: record.budget_ceiling.map(|amount| amount.0),
                require_expiry: record.require_expiry.unwrap_or_default(),
                max_expiry_days: record.max_expiry_days.map(|count| count.0),
            })
        });
        let team = Team {
            id: id.into(),
            organization,
            name: record.name.map_or_else(|| id.into(), |name| name.0),
            access,
            allowance: self.allowance(record.limits, record.target_limits, record.budget, report),
            member_allowance: self.allowance(record.member_limits, None, record.member_budget, report),
            self_service,
            members: self.members(record.members, report),
            state: record.state.unwrap_or_default(),
            mode: record.mode.unwrap_or_default(),
        };
        self.policy.teams.define(position, team)
    }

    fn user(&mut self, id: &str, record: UserRecord, report: &mut Report) -> bool {
        let user = User {
            id: id.into(),
            name: record.name.map_or_else(|| id.into(), |name| name.0),
            access: self.scope(record.access, None, report),
            allowance: self.allowance(record.limits, None, record.budget, report),
            tokens: record.tokens.unwrap_or_default().into(),
            platform_admin: record.role.is_some(),
        };
        let position = self.policy.users.reserve(id);
        self.policy.users.define(position, user)
    }

    fn service_account(&mut self, id: &str, record: ServiceAccountRecord, report: &mut Report) -> bool {
        let Some(team) = record.team else { return true };
        let account = ServiceAccount {
            id: id.into(),
            team: self.team_named(&team.0, report),
            name: record.name.map_or_else(|| id.into(), |name| name.0),
            state: record.state.unwrap_or_default(),
        };
        let position = self.policy.service_accounts.reserve(id);
        self.policy.service_accounts.define(position, account)
    }

    fn key(&mut self, id: &str, record: KeyRecord, report: &mut Report) -> bool {
        let (Some(team), Some(digest)) = (record.team, record.digest) else { return true };
        let team = self.team_named(&team.0, report);
        let owner = match record.owner.as_ref().and_then(|owner| owner.0.split_once('/')) {
            Some(("user", user)) => Owner::User(UserIx(mention(
                &mut self.policy.users,
                "user",
                user,
                pointer_of(report, "owner"),
                &mut self.mentions,
            ))),
            Some((_, account)) => Owner::ServiceAccount(ServiceAccountIx(mention(
                &mut self.policy.service_accounts,
                "service account",
                account,
                pointer_of(report, "owner"),
                &mut self.mentions,
            ))),
            None => Owner::None,
        };
        let more = KeyMore {
            name: record.name.map(|name| name.0),
            hint: record.hint.map(|hint| hint.0),
            previous: record.previous.and_then(|previous| Some((previous.digest?, previous.until?.0))),
            access: self.scope(record.access, None, report),
            allowance: self.allowance(record.limits, None, record.budget, report),
        };
        let key = Key {
            id: id.into(),
            team,
            owner,
            digest,
            more: (more != KeyMore::default()).then(|| Box::new(more)),
            expires_at: record.expires_at.map(|moment| moment.0),
            state: record.state.unwrap_or_default(),
        };
        let position = self.policy.keys.reserve(id);
        let new = self.policy.keys.define(position, key);
        if new {
            let [current_is_new, previous_is_new] = self.policy.enter_digests(position);
            if !current_is_new {
                report.within("digest", |report| report.error(Problem::DuplicateDigest));
            }
            if !previous_is_new {
                report.within("previous", |report| {
                    report.within("digest", |report| report.error(Problem::DuplicateDigest));
                });
            }
        }
        new
    }

    fn team_named(&mut self, id: &str, report: &Report) -> TeamIx {
        TeamIx(mention(&mut self.policy.teams, "team", id, pointer_of(report, "team"), &mut self.mentions))
    }

    fn group(&mut self, name: &str) -> GroupIx {
        GroupIx(self.policy.groups.reserve(&group_name(name).unwrap_or_default()))
    }

    fn selection(
        &mut self,
        all: bool,
        targets: Placed<TargetName>,
        groups: Placed<super::value::GroupName>,
        team: Option<TeamIx>,
    ) -> Selection {
        let mut target_list = Vec::with_capacity(targets.0.len());
        for (pointer, name) in targets.0 {
            let target = self.mention_target(&name.0, pointer.clone());
            target_list.push(target);
            self.selected.extend(team.map(|team| Selected { team, what: Choice::Target(target), pointer }));
        }
        let mut group_list = Vec::with_capacity(groups.0.len());
        for (pointer, name) in groups.0 {
            let group = self.group(&name.0);
            group_list.push(group);
            self.groups.push((group, pointer.clone()));
            self.selected.extend(team.map(|team| Selected { team, what: Choice::Group(group), pointer }));
        }
        Selection::new(all, target_list, group_list)
    }

    fn scope(&mut self, access: Option<AccessRecord>, team: Option<TeamIx>, report: &mut Report) -> Scope {
        let Some(access) = access else { return Scope::Inherit };
        let targets = access.targets.unwrap_or_default();
        let groups = access.access_groups.unwrap_or_default();
        match access.mode.unwrap_or_default() {
            AccessMode::Inherit => {
                if !targets.0.is_empty() || !groups.0.is_empty() {
                    report.within("access", |report| report.error(Problem::SelectionWithInherit));
                }
                Scope::Inherit
            }
            AccessMode::Restrict => Scope::Restrict(Box::new(self.selection(false, targets, groups, team))),
        }
    }

    fn allowance(
        &mut self,
        limits: Option<LimitsRecord>,
        target_limits: Option<Map<LimitsRecord>>,
        budget: Option<BudgetRecord>,
        report: &mut Report,
    ) -> Option<Box<Allowance>> {
        let base = pointer_of(report, "target_limits");
        let mut by_target: Vec<(TargetIx, Limits)> = target_limits
            .unwrap_or_default()
            .0
            .into_iter()
            .map(|(name, limits)| {
                (self.mention_target(&name, super::finding::pointer(&base, &[&name])), limits_of(&limits))
            })
            .collect();
        by_target.sort_by_key(|(target, _)| *target);
        let budget = budget.and_then(|record| {
            Some(Budget {
                max: record.max?.0,
                soft: record.soft.map(|soft| soft.0),
                period: record.period.unwrap_or_default(),
            })
        });
        let limits = limits.map_or(Limits::default(), |limits| limits_of(&limits));
        Allowance { limits, target_limits: by_target.into(), budget }.boxed()
    }

    fn members<R: Copy>(&mut self, members: Option<Map<R>>, report: &Report) -> Vec<(UserIx, R)> {
        let base = pointer_of(report, "members");
        let mut list: Vec<(UserIx, R)> = members
            .map_or(Vec::new(), |members| members.0)
            .into_iter()
            .map(|(user, role)| {
                let pointer = super::finding::pointer(&base, &[&user]);
                (UserIx(mention(&mut self.policy.users, "user", &user, pointer, &mut self.mentions)), role)
            })
            .collect();
        list.sort_by_key(|(user, _)| *user);
        list
    }
}

fn mention<T>(
    table: &mut Table<T>,
    kind: &'static str,
    name: &str,
    pointer: String,
    mentions: &mut Vec<Mention>,
) -> u32 {
    let position = table.reserve(name);
    if table.get(position).is_none() {
        mentions.push(Mention { kind, position, pointer });
    }
    position
}

fn pointer_of(report: &Report, field: &str) -> String {
    format!("{}/{field}", report.place())
}

fn limits_of(record: &LimitsRecord) -> Limits {
    Limits {
        rpm: record.rpm.map(|limit| limit.0),
        tpm: record.tpm.map(|limit| limit.0),
        rph: record.rph.map(|limit| limit.0),
        rpd: record.rpd.map(|limit| limit.0),
        tpd: record.tpd.map(|limit| limit.0),
    }
}
