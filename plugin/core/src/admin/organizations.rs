//! `/organizations`: the tenants with their access, limits and budgets.

use alloc::format;
use alloc::vec::Vec;

use super::AdminDecision;
use super::body::{self, INVALID, Members, take, take_fixed};
use super::caller::{Permission, Resource};
use super::context::{RequestContext, new_id, no_content, require_free};
use super::page::{PageQuery, no_parameters};
use super::problem::Problem;
use super::view;
use crate::json::node::Node;
use crate::policy::load::records::OrganizationRecord;
use crate::policy::{Change, OrganizationId, Section};

/// Fields that only platform administrators may set: the ceiling of the organization.
const CEILING: [&str; 5] = ["access", "limits", "budget", "target_limits", "state"];

/// `GET /organizations`: those that the caller may read.
pub(super) fn list(context: &RequestContext<'_>) -> Result<AdminDecision, Problem> {
    let page = PageQuery::from_request(context.request)?;
    let policy = &*context.policy;
    let readable = policy.organizations.iter().filter(|(position, ..)| {
        context.caller.may(policy, Permission::Read, Resource::Organization(OrganizationId(*position)))
    });
    let ids = readable.map(|(_, id, _)| id).collect();
    Ok(AdminDecision::Answer(page.of(ids, &|id| view::organization(policy, &context.caller, id).body)))
}

/// `POST /organizations`
pub(super) fn create(context: &mut RequestContext<'_>) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    context.require(Permission::SetCeiling, Resource::Platform)?;
    context.require_match(None)?;
    let mut body = body::object(context.request)?;
    let id = new_id(&mut body)?;
    require_free(context.policy, Section::Organizations, "organization", &id)?;
    if !body.iter().any(|(name, _)| name == "access") {
        // Default deny.
        body.push(("access".into(), Node::Object(Members::new())));
    }
    let record = Node::Object(body.clone());
    context.read_record::<OrganizationRecord>(Section::Organizations, &id, &record)?;
    context.organization = Some(id.clone());
    let mut change = Change::default();
    change.put(Section::Organizations, &id, body::object_json(&body));
    let location = format!("{}/organizations/{id}", context.path_prefix);
    context.change(
        &change,
        &["organizations", &id],
        &|policy| view::audited(policy, Section::Organizations, &id),
        &|policy, caller| {
            let mut response = view::organization(policy, caller, &id).response(201);
            response.fields.push(("location", location.clone()));
            response
        },
    )
}

/// `GET /organizations/{id}`
pub(super) fn show(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let ix = context.organization(id)?;
    context.require(Permission::Read, Resource::Organization(ix))?;
    let representation = view::organization(context.policy, &context.caller, id);
    context.require_match(Some(&representation))?;
    Ok(AdminDecision::Answer(representation.response(200)))
}

/// `PATCH /organizations/{id}`
pub(super) fn update(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let ix = context.organization(id)?;
    context.require(Permission::ManageOrganization, Resource::Organization(ix))?;
    let shown = view::organization(context.policy, &context.caller, id);
    context.require_match(Some(&shown))?;
    let mut patch = body::object(context.request)?;
    body::take_equal(&mut patch, &shown.body, &["may"])?;
    take_fixed(&mut patch, &[("id", id)])?;
    if patch.iter().any(|(name, _)| CEILING.contains(&name.as_str())) {
        context.require(Permission::SetCeiling, Resource::Platform)?;
    }
    refuse_members(&mut patch, &format!("{}/organizations/{id}/members", context.path_prefix))?;
    let record = context.policy.record(Section::Organizations, id).unwrap_or_default();
    let merged = body::merge(Node::from(&record), patch);
    context.read_record::<OrganizationRecord>(Section::Organizations, id, &merged)?;
    let mut change = Change::default();
    change.put(Section::Organizations, id, body::to_json(&merged));
    context.change(
        &change,
        &["organizations", id],
        &|policy| view::audited(policy, Section::Organizations, id),
        &|policy, caller| view::organization(policy, caller, id).response(200),
    )
}

/// `DELETE /organizations/{id}`
pub(super) fn remove(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let ix = context.organization(id)?;
    context.require(Permission::SetCeiling, Resource::Platform)?;
    context.require_match(Some(&view::organization(context.policy, &context.caller, id)))?;
    let teams: Vec<&str> = context.policy.teams_of(ix).map(|(_, team)| &*team.id).take(8).collect();
    if !teams.is_empty() {
        let detail = format!("The organization still has teams: {}. Delete them first.", teams.join(", "));
        return Err(Problem::new(409, "teams_exist", detail));
    }
    let mut change = Change::default();
    change.remove(Section::Organizations, id);
    let decided = context.change(
        &change,
        &["organizations", id],
        &|policy| view::audited(policy, Section::Organizations, id),
        &|_, _| no_content(),
    )?;
    // The organization's own log cannot be read afterwards.
    context.organization = None;
    Ok(decided)
}

/// Rejects `members` in a patch: removing a member also revokes keys, so members have their own endpoint.
pub(super) fn refuse_members(patch: &mut Members, path: &str) -> Result<(), Problem> {
    match take(patch, "members") {
        None => Ok(()),
        Some(_) => Err(Problem::at(INVALID, "/members", format!("Change members at `{path}/USER`."))),
    }
}

/// `GET /organizations/{id}/teams`
pub(super) fn teams(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    let page = PageQuery::from_request(context.request)?;
    let ix = context.organization(id)?;
    context.require(Permission::Read, Resource::Organization(ix))?;
    let (policy, caller) = (&*context.policy, &context.caller);
    let ids = policy.teams_of(ix).map(|(_, team)| &*team.id).collect();
    Ok(AdminDecision::Answer(page.of(ids, &|id| view::team(policy, caller, id).body)))
}
