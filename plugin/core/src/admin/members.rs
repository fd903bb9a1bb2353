//! Members of teams and organizations. Removing a member also revokes the member's keys there.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::AdminDecision;
use super::body::{self, INVALID, take_fixed};
use super::caller::{Permission, Resource};
use super::context::{Representation, RequestContext, no_content};
use super::page::{PageQuery, no_parameters};
use super::problem::{Problem, redacted};
use super::view;
use crate::json::node::Node;
use crate::json::out_of_line::object;
use crate::policy::access::role_of;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::load::record::record;
use crate::policy::load::records::{BudgetRecord, LimitsRecord};
use crate::policy::load::value::{DisplayText, FromNode as _, Id};
use crate::policy::{
    Change, OrganizationId, OrganizationRole, Owner, Policy, Section, TeamId, TeamRole, UserId,
};

record! {
    /// Membership in an organization.
    OrganizationMemberBody {
        /// The member's role.
        role!required: OrganizationRole,
        /// Display name of a new user; the id if left out.
        name: DisplayText,
    }
}
record! {
    /// Membership in a team.
    TeamMemberBody {
        /// The member's role.
        role!required: TeamRole,
        /// Limits of this member, within those of the team. Each replaces the one in the team's `member_limits`.
        limits: LimitsRecord,
        /// Budget of this member, instead of the team's `member_budget`.
        budget: BudgetRecord,
        /// Display name of a new user; the id if left out.
        name: DisplayText,
    }
}

/// `GET /organizations/{id}/members`
pub(super) fn of_organization(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    let page = PageQuery::from_request(context.request)?;
    let ix = context.organization(id)?;
    context.require(Permission::Read, Resource::Organization(ix))?;
    let members =
        context.policy.organizations.get(ix.0).map_or(&[][..], |organization| &organization.members);
    let policy = &*context.policy;
    Ok(list(policy, &page, members, &|user| in_organization(policy, id, user)))
}

/// `GET /teams/{id}/members`
pub(super) fn of_team(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    let page = PageQuery::from_request(context.request)?;
    let (ix, _) = context.team(id)?;
    context.require(Permission::Read, Resource::Team(ix))?;
    let members = context.policy.teams.get(ix.0).map_or(&[][..], |team| &team.members);
    let policy = &*context.policy;
    Ok(list(policy, &page, members, &|user| in_team(policy, id, user)))
}

fn list<R>(
    policy: &Policy,
    page: &PageQuery,
    members: &[(UserId, R)],
    show: &dyn Fn(&str) -> Option<Value>,
) -> AdminDecision {
    let ids = members.iter().map(|(user, _)| policy.users.name(user.0)).collect();
    AdminDecision::Answer(page.of(ids, &|user| show(user).unwrap_or_default()))
}

/// `GET /organizations/{id}/members/{user}`
pub(super) fn show_in_organization(
    context: &mut RequestContext<'_>,
    id: &str,
    user: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let ix = context.organization(id)?;
    context.require(Permission::Read, Resource::Organization(ix))?;
    show(context, in_organization(context.policy, id, user), user)
}

/// `GET /teams/{id}/members/{user}`
pub(super) fn show_in_team(
    context: &mut RequestContext<'_>,
    id: &str,
    user: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, _) = context.team(id)?;
    context.require(Permission::Read, Resource::Team(ix))?;
    show(context, in_team(context.policy, id, user), user)
}

fn show(context: &RequestContext<'_>, member: Option<Value>, user: &str) -> Result<AdminDecision, Problem> {
    let member = member.ok_or_else(|| Problem::not_found("member", user))?;
    let representation = Representation::new(member);
    context.require_match(Some(&representation))?;
    Ok(AdminDecision::Answer(representation.response(200)))
}

/// `PUT /organizations/{id}/members/{user}`: also creates an unknown user.
pub(super) fn put_in_organization(
    context: &mut RequestContext<'_>,
    id: &str,
    user: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let ix = context.organization(id)?;
    context.require(Permission::ManageOrganization, Resource::Organization(ix))?;
    let before = in_organization(context.policy, id, user).map(Representation::new);
    context.require_match(before.as_ref())?;
    let mut body = body::object(context.request)?;
    take_fixed(&mut body, &[("user", user)])?;
    let user_exists = take_user_name(context.policy, user, &mut body)?;
    let OrganizationMemberBody { role, name } = body::read(body, INVALID)?;
    let Some(role) = role else { return Err(Problem::at(INVALID, "/role", "`role` is missing")) };
    let owner_now = organization_role(context.policy, ix, user) == Some(OrganizationRole::Owner);
    if role == OrganizationRole::Owner || owner_now {
        context.require(Permission::ManageOwners, Resource::Organization(ix))?;
    }
    let mut change = Change::default();
    if !user_exists {
        create_user(&mut change, user, name)?;
    }
    put_member(context.policy, &mut change, Section::Organizations, id, user, role.name().into());
    context.change(
        &change,
        &["organizations", id, "members", user],
        &|policy| in_organization(policy, id, user),
        &|policy, _| Representation::new(in_organization(policy, id, user).unwrap_or_default()).response(200),
    )
}

/// `PUT /teams/{id}/members/{user}`: also adds the user to the organization if the caller may do that.
pub(super) fn put_in_team(
    context: &mut RequestContext<'_>,
    id: &str,
    user: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, organization) = context.team(id)?;
    context.require(Permission::ManageTeam, Resource::Team(ix))?;
    let before = in_team(context.policy, id, user).map(Representation::new);
    context.require_match(before.as_ref())?;
    let mut body = body::object(context.request)?;
    take_fixed(&mut body, &[("user", user)])?;
    let user_exists = take_user_name(context.policy, user, &mut body)?;
    let mut own = take_quota(&mut body);
    let TeamMemberBody { role, name, limits: _, budget: _ } = body::read(body, INVALID)?;
    let Some(role) = role else { return Err(Problem::at(INVALID, "/role", "`role` is missing")) };
    let mut change = Change::default();
    if organization_role(context.policy, organization, user).is_none() {
        let of = context.policy.organizations.name(organization.0).to_string();
        if !context.may(Permission::ManageOrganization, Resource::Organization(organization)) {
            let detail = format!(
                "User `{}` is not a member of organization `{of}`. An administrator of the organization must add the user first.",
                redacted(user)
            );
            return Err(Problem::new(409, "not_an_organization_member", detail));
        }
        if !user_exists {
            create_user(&mut change, user, name)?;
        }
        let member = OrganizationRole::Member.name();
        put_member(context.policy, &mut change, Section::Organizations, &of, user, member.into());
    }
    if !own.is_empty() {
        own.insert("role".into(), role.name().into());
    }
    let member = if own.is_empty() { role.name().into() } else { Value::Object(own) };
    put_member(context.policy, &mut change, Section::Teams, id, user, member);
    context.change(
        &change,
        &["teams", id, "members", user],
        &|policy| in_team(policy, id, user),
        &|policy, _| Representation::new(in_team(policy, id, user).unwrap_or_default()).response(200),
    )
}

/// `DELETE /organizations/{id}/members/{user}`: also removes the user from its teams and revokes the user's keys there.
pub(super) fn remove_from_organization(
    context: &mut RequestContext<'_>,
    id: &str,
    user: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let ix = context.organization(id)?;
    context.require(Permission::ManageOrganization, Resource::Organization(ix))?;
    let Some(role) = organization_role(context.policy, ix, user) else {
        return Err(Problem::not_found("member", user));
    };
    if role == OrganizationRole::Owner {
        context.require(Permission::ManageOwners, Resource::Organization(ix))?;
    }
    context.require_match(in_organization(context.policy, id, user).map(Representation::new).as_ref())?;
    let policy = &*context.policy;
    let mut change = Change::default();
    for (team, record) in policy.teams_of(ix) {
        revoke_keys(policy, &mut change, team, user);
        if position(policy, user).is_some_and(|user| role_of(&record.members, user).is_some()) {
            remove_member(policy, &mut change, Section::Teams, &record.id, user);
        }
    }
    remove_member(policy, &mut change, Section::Organizations, id, user);
    let revoked = revoked(&change);
    context.change(
        &change,
        &["organizations", id, "members", user],
        &|policy| with_keys(in_organization(policy, id, user), &revoked),
        &|_, _| no_content(),
    )
}

/// `DELETE /teams/{id}/members/{user}`: also revokes the user's keys in the team.
pub(super) fn remove_from_team(
    context: &mut RequestContext<'_>,
    id: &str,
    user: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, _) = context.team(id)?;
    context.require(Permission::ManageTeam, Resource::Team(ix))?;
    let Some(member) = in_team(context.policy, id, user) else {
        return Err(Problem::not_found("member", user));
    };
    context.require_match(Some(&Representation::new(member)))?;
    let mut change = Change::default();
    revoke_keys(context.policy, &mut change, ix, user);
    remove_member(context.policy, &mut change, Section::Teams, id, user);
    let revoked = revoked(&change);
    context.change(
        &change,
        &["teams", id, "members", user],
        &|policy| with_keys(in_team(policy, id, user), &revoked),
        &|_, _| no_content(),
    )
}

fn position(policy: &Policy, user: &str) -> Option<UserId> {
    policy.users.find(user).map(UserId)
}

#[inline(never)]
fn in_organization(policy: &Policy, id: &str, user: &str) -> Option<Value> {
    let organization = policy.organizations.get(policy.organizations.find(id)?)?;
    view::member(policy, &organization.members, position(policy, user)?, OrganizationRole::name)
}

#[inline(never)]
fn in_team(policy: &Policy, id: &str, user: &str) -> Option<Value> {
    let team = policy.teams.get(policy.teams.find(id)?)?;
    let user = position(policy, user)?;
    let mut member = view::member(policy, &team.members, user, TeamRole::name)?;
    if let (Some(fields), Some(own)) = (member.as_object_mut(), team.member_override(user)) {
        fields.extend(policy.member_quota(own));
    }
    Some(member)
}

fn organization_role(policy: &Policy, ix: OrganizationId, user: &str) -> Option<OrganizationRole> {
    role_of(&policy.organizations.get(ix.0)?.members, position(policy, user)?)
}

/// Returns the fields of a member's own limits and budget, which stay in the body to be read. `null` is none.
fn take_quota(body: &mut body::Members) -> serde_json::Map<String, Value> {
    let is_quota = |name: &str| matches!(name, "limits" | "budget");
    body.retain(|(name, node)| !(is_quota(name) && *node == Node::Null));
    let own = body.iter().filter(|(name, _)| is_quota(name));
    own.map(|(name, node)| (name.clone(), body::to_json(node))).collect()
}

/// Returns true if the user exists; the body may then repeat the name but not change it.
fn take_user_name(policy: &Policy, user: &str, body: &mut body::Members) -> Result<bool, Problem> {
    let record = policy.users.find(user).and_then(|position| policy.users.get(position));
    if let Some(record) = record {
        take_fixed(body, &[("name", &record.name)])?;
    }
    Ok(record.is_some())
}

fn create_user(change: &mut Change, user: &str, name: Option<DisplayText>) -> Result<(), Problem> {
    let mut report = Diagnostics::default();
    if Id::read(Node::String(user.to_string()), &mut report).is_none() {
        let detail =
            report.finish().first().map_or_else(String::new, |diagnostic| diagnostic.kind.to_string());
        return Err(Problem::new(400, INVALID, format!("The user id in the path is invalid: {detail}.")));
    }
    let name = name.map_or_else(|| user.to_string(), |name| name.0.to_string());
    change.put(Section::Users, user, object!({ "name": name }));
    Ok(())
}

fn put_member(policy: &Policy, change: &mut Change, section: Section, id: &str, user: &str, member: Value) {
    edit_members(policy, change, section, id, |members| {
        members.insert(user.to_string(), member);
    });
}

fn remove_member(policy: &Policy, change: &mut Change, section: Section, id: &str, user: &str) {
    edit_members(policy, change, section, id, |members| {
        members.remove(user);
    });
}

fn edit_members(
    policy: &Policy,
    change: &mut Change,
    section: Section,
    id: &str,
    edit: impl FnOnce(&mut serde_json::Map<String, Value>),
) {
    let mut record = policy.record(section, id).unwrap_or_default();
    if let Some(fields) = record.as_object_mut()
        && let Some(members) = fields.entry("members").or_insert_with(|| json!({})).as_object_mut()
    {
        edit(members);
    }
    change.put(section, id, record);
}

fn revoke_keys(policy: &Policy, change: &mut Change, team: TeamId, user: &str) {
    let Some(user) = position(policy, user) else { return };
    for (_, key) in policy.keys_of(team).filter(|(_, key)| key.owner == Owner::User(user)) {
        change.remove(Section::Keys, &key.id);
    }
}

fn revoked(change: &Change) -> Vec<String> {
    change.edits.iter().filter(|edit| edit.section == Section::Keys).map(|edit| edit.id.clone()).collect()
}

/// A removed member for the audit log, with the revoked keys.
fn with_keys(member: Option<Value>, keys: &[String]) -> Option<Value> {
    let mut member = member?;
    if let Some(fields) = member.as_object_mut() {
        fields.insert("keys".into(), json!(keys));
    }
    Some(member)
}
