//! `/teams/{id}/access`: the access selection of a team, and the resulting decision for each target.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::AdminDecision;
use super::body::{self, INVALID};
use super::caller::{Permission, Resource};
use super::context::{Representation, RequestContext};
use super::page::no_parameters;
use super::problem::{Fault, FaultLocation, Problem};
use super::teams::{scope, with_field};
use crate::collections::sort::{sort, sort_by_key};
use crate::json::out_of_line::object;
use crate::policy::access::{AccessChain, AccessDecision, GrantedBy, Restriction};
use crate::policy::load::records::AccessRecord;
use crate::policy::load::value::group_name;
use crate::policy::{
    AccessScope, GroupId, Organization, OrganizationId, Policy, Section, Target, TargetId, Team,
};

/// `GET /teams/{id}/access`
pub(super) fn show(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, _) = context.team(id)?;
    context.require(Permission::Read, Resource::Team(ix))?;
    let representation = Representation::new(preview(context.policy, id));
    context.require_match(Some(&representation))?;
    Ok(AdminDecision::Answer(representation.response(200)))
}

/// `PUT /teams/{id}/access`
pub(super) fn put(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, organization) = context.team(id)?;
    context.require(Permission::ManageTeam, Resource::Team(ix))?;
    context.require_match(Some(&Representation::new(preview(context.policy, id))))?;
    let body = body::object(context.request)?;
    let access = body::read::<AccessRecord>(body.clone(), INVALID)?;
    let before = scope(context.policy, ix);
    let place = (organization, context.policy.teams.get(ix.0));
    require_available(context.policy, place, &before, &access, "")?;
    let change = with_field(context.policy, id, "access", &body);
    context.change(&change, &["teams", id, "access"], &|policy| Some(selection(policy, id)), &|policy, _| {
        Representation::new(preview(policy, id)).response(200)
    })
}

/// Rejects newly selected targets and groups that the organization does not grant or the ceiling of the team excludes,
/// each by its name. Earlier selections stay, without effect.
pub(super) fn require_available(
    policy: &Policy,
    (OrganizationId(organization), team): (OrganizationId, Option<&Team>),
    before: &AccessScope,
    access: &AccessRecord,
    base: &str,
) -> Result<(), Problem> {
    let Some(organization) = policy.organizations.get(organization) else { return Ok(()) };
    let mut faults = Vec::new();
    let mut refuse = |field: &str, index: usize, kind: &str, name: &str, excluded: bool| {
        let through = match excluded {
            false => format!("is not available through organization `{}`", organization.id),
            true => {
                "is excluded by the ceiling that administrators of the organization set for the team".into()
            }
        };
        let detail = format!("{kind} `{name}` {through}.");
        faults.push(Fault { location: FaultLocation::Body(format!("{base}/{field}/{index}")), detail });
    };
    let previous = match before {
        AccessScope::Inherit => None,
        AccessScope::Restrict(selection) => Some(selection),
    };
    let targets = access.targets.iter().flat_map(|targets| &targets.0);
    for (index, (_, name)) in targets.enumerate() {
        // Validation of the policy reports a missing target.
        let Some((ix, target)) = policy.target(&name.0) else { continue };
        if previous.is_some_and(|previous| previous.targets.contains(&ix)) {
            continue;
        }
        if organization.access.has(ix, target).is_none() {
            refuse("targets", index, "target", &name.0, false);
        } else if team.is_some_and(|team| !team.ceiling_access().allows(ix, target)) {
            refuse("targets", index, "target", &name.0, true);
        }
    }
    let groups = access.access_groups.iter().flat_map(|groups| &groups.0);
    for (index, (_, name)) in groups.enumerate() {
        let name = group_name(&name.0).unwrap_or_default();
        let group = policy.groups.find(&name).map(GroupId);
        let was_selected =
            group.is_some_and(|group| previous.is_some_and(|previous| previous.groups.contains(&group)));
        if was_selected {
            continue;
        }
        if !group.is_some_and(|group| organization.grants_group(policy, group)) {
            refuse("access_groups", index, "group", &name, false);
        } else if group.zip(team).is_some_and(|(group, team)| !team.ceiling_allows_group(policy, group)) {
            refuse("access_groups", index, "group", &name, true);
        }
    }
    let Some(first) = faults.first() else { return Ok(()) };
    let detail = first.detail.clone();
    Err(Problem { faults, ..Problem::new(400, "not_available", detail) })
}

/// Formats a grant for the field `through`.
pub(super) fn grant_text(policy: &Policy, grant: GrantedBy) -> String {
    match grant {
        GrantedBy::Everything => "everything".into(),
        GrantedBy::Name => "name".into(),
        GrantedBy::Group(group) => format!("group:{}", policy.groups.name(group.0)),
    }
}

/// Returns the selection as in the policy document.
fn selection(policy: &Policy, id: &str) -> Value {
    let record = policy.record(Section::Teams, id);
    let stored = record.and_then(|mut record| Some(record.get_mut("access")?.take()));
    stored.unwrap_or_else(|| object!({ "mode": "inherit" }))
}

fn preview(policy: &Policy, id: &str) -> Value {
    let mut body = selection(policy, id);
    let team = policy.teams.find(id).and_then(|position| policy.teams.get(position));
    let organization = team.and_then(|team| policy.organizations.get(team.organization.0));
    if let (Some(fields), Some(team), Some(organization)) = (body.as_object_mut(), team, organization) {
        fields.insert("inert".into(), inert(policy, organization, team));
        let mut targets: Vec<(u32, &str, &Target)> = policy.targets.iter().collect();
        sort_by_key(&mut targets, |(_, name, _)| *name);
        let entries = targets.into_iter().map(|(position, _, target)| {
            preview_entry(policy, organization, team, TargetId(position), target)
        });
        fields.insert("preview".into(), entries.collect());
    }
    body
}

/// Returns the selected targets and groups that the organization or the team's ceiling does not allow, or no longer.
fn inert(policy: &Policy, organization: &Organization, team: &Team) -> Value {
    let AccessScope::Restrict(selection) = &team.access else {
        return json!({ "targets": [], "access_groups": [] });
    };
    let offers = |ix: &TargetId| {
        policy.targets.get(ix.0).is_some_and(|target| {
            organization.access.has(*ix, target).is_some() && team.ceiling_access().allows(*ix, target)
        })
    };
    let targets = selection.targets.iter().filter(|ix| !offers(ix)).map(|ix| policy.targets.name(ix.0));
    let groups = selection.groups.iter().filter(|group| {
        !organization.grants_group(policy, **group) || !team.ceiling_allows_group(policy, **group)
    });
    let mut targets: Vec<&str> = targets.collect();
    let mut groups: Vec<&str> = groups.map(|group| policy.groups.name(group.0)).collect();
    sort(&mut targets);
    sort(&mut groups);
    object!({ "targets": targets, "access_groups": groups })
}

/// Builds the entry of one target: selected, available, effective, and the reason.
fn preview_entry(
    policy: &Policy,
    organization: &Organization,
    team: &Team,
    ix: TargetId,
    target: &Target,
) -> Value {
    let selected = match &team.access {
        AccessScope::Inherit => Some("inherit".into()),
        AccessScope::Restrict(selection) => selection.has(ix, target).map(|by| grant_text(policy, by)),
    };
    let available = organization.access.has(ix, target).filter(|_| team.ceiling_access().allows(ix, target));
    let available = available.map(|by| grant_text(policy, by));
    let (refused_by, reason) = match AccessChain::of_team(organization, team).reach(ix, target) {
        AccessDecision::Granted(by) => (None, granted(policy, organization, by)),
        AccessDecision::NotGranted => {
            (Some("organization"), format!("organization `{}` does not grant it", organization.id))
        }
        AccessDecision::RefusedBy(Restriction::Ceiling) => {
            let detail = "the ceiling that administrators of the organization set for the team excludes it";
            (Some("ceiling"), detail.into())
        }
        AccessDecision::RefusedBy(Restriction::Team) => {
            (Some("team"), format!("team `{}` restricts its access and has not selected it", team.id))
        }
        // A team's own access chain has no key and no user.
        AccessDecision::RefusedBy(Restriction::Key | Restriction::User) => (Some("key"), String::new()),
    };
    object!({
        "target": &*target.name,
        "selected": selected,
        "available": available,
        "effective": refused_by.is_none(),
        "refused_by": refused_by,
        "reason": reason,
    })
}

fn granted(policy: &Policy, organization: &Organization, by: GrantedBy) -> String {
    let how = match by {
        GrantedBy::Everything => "with the whole catalogue".into(),
        GrantedBy::Name => "directly".into(),
        GrantedBy::Group(group) => format!("through group `{}`", policy.groups.name(group.0)),
    };
    format!("granted by organization `{}` {how}", organization.id)
}
