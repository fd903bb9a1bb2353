//! `/organizations`: the tenants, and the ceiling of each.

use alloc::format;
use alloc::vec::Vec;

use super::AdminDecision;
use super::body::{self, INVALID, Members, take, take_fixed};
use super::caller::{Permission, Resource};
use super::context::{RequestContext, new_id, removed, require_free};
use super::page::{PageQuery, no_parameters};
use super::problem::Problem;
use super::view;
use crate::json::node::Node;
use crate::policy::load::records::OrganizationRecord;
use crate::policy::{Change, OrganizationId, Section};

/// Fields that only the platform's administrators set: what the organization can never exceed.
const CEILING: [&str; 5] = ["access", "limits", "budget", "target_limits", "state"];

/// `GET /organizations`: those that the signed-in person can read.
pub(super) fn list(context: &RequestContext<'_>) -> Result<AdminDecision, Problem> {
    let page = PageQuery::inputs(context.request)?;
    let policy = &*context.policy;
    let mine = policy.organizations.iter().filter(|(position, ..)| {
        context.caller.may(policy, Permission::Read, Resource::Organization(OrganizationId(*position)))
    });
    let ids = mine.map(|(_, id, _)| id).collect();
    Ok(AdminDecision::Answer(page.of(ids, &|id| view::record(policy, Section::Organizations, id).body)))
}

/// `POST /organizations`
pub(super) fn create(context: &mut RequestContext<'_>) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    context.need(Permission::SetCeiling, Resource::Platform)?;
    context.require_match(None)?;
    let mut body = body::object(context.request)?;
    let id = new_id(&mut body)?;
    require_free(context.policy, Section::Organizations, "organization", &id)?;
    if !body.iter().any(|(name, _)| name == "access") {
        // Default deny.
        body.push(("access".into(), Node::Object(Members::new())));
    }
    body::read::<OrganizationRecord>(body.clone(), INVALID)?;
    context.organization = Some(id.clone());
    let mut change = Change::default();
    change.put(Section::Organizations, &id, body::object_json(&body));
    let location = format!("{}/organizations/{id}", context.paths);
    context.change(
        &change,
        &["organizations", &id],
        &|policy| view::kept(policy, Section::Organizations, &id),
        &|policy, _| {
            let mut response = view::record(policy, Section::Organizations, &id).response(201);
            response.fields.push(("location", location.clone()));
            response
        },
    )
}

/// `GET /organizations/{id}`
pub(super) fn show(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let ix = context.organization(id)?;
    context.need(Permission::Read, Resource::Organization(ix))?;
    let shown = view::record(context.policy, Section::Organizations, id);
    context.require_match(Some(&shown))?;
    Ok(AdminDecision::Answer(shown.response(200)))
}

/// `PATCH /organizations/{id}`
pub(super) fn update(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let ix = context.organization(id)?;
    context.need(Permission::ManageOrganization, Resource::Organization(ix))?;
    context.require_match(Some(&view::record(context.policy, Section::Organizations, id)))?;
    let mut patch = body::object(context.request)?;
    take_fixed(&mut patch, &[("id", id)])?;
    if patch.iter().any(|(name, _)| CEILING.contains(&name.as_str())) {
        context.need(Permission::SetCeiling, Resource::Platform)?;
    }
    refuse_members(&mut patch, &format!("{}/organizations/{id}/members", context.paths))?;
    let record = context.policy.record(Section::Organizations, id).unwrap_or_default();
    let merged = body::merge(Node::from(&record), patch);
    body::read_at::<OrganizationRecord>("", merged.clone(), INVALID)?;
    let mut change = Change::default();
    change.put(Section::Organizations, id, body::to_json(&merged));
    context.change(
        &change,
        &["organizations", id],
        &|policy| view::kept(policy, Section::Organizations, id),
        &|policy, _| view::record(policy, Section::Organizations, id).response(200),
    )
}

/// `DELETE /organizations/{id}`
pub(super) fn remove(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let ix = context.organization(id)?;
    context.need(Permission::SetCeiling, Resource::Platform)?;
    context.require_match(Some(&view::record(context.policy, Section::Organizations, id)))?;
    let teams: Vec<&str> = context.policy.teams_of(ix).map(|(_, team)| &*team.id).take(8).collect();
    if !teams.is_empty() {
        let detail = format!("The organization still has teams: {}. Delete them first.", teams.join(", "));
        return Err(Problem::new(409, "teams_exist", detail));
    }
    let mut change = Change::default();
    change.remove(Section::Organizations, id);
    context.change(
        &change,
        &["organizations", id],
        &|policy| view::kept(policy, Section::Organizations, id),
        &|_, _| removed(),
    )
}

/// Members are changed one by one: leaving takes more than a field.
pub(super) fn refuse_members(patch: &mut Members, where_to: &str) -> Result<(), Problem> {
    match take(patch, "members") {
        None => Ok(()),
        Some(_) => {
            Err(Problem::at(INVALID, "/members", format!("Members are changed at `{where_to}/USER`.")))
        }
    }
}

/// `GET /organizations/{id}/teams`
pub(super) fn teams(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    let page = PageQuery::inputs(context.request)?;
    let ix = context.organization(id)?;
    context.need(Permission::Read, Resource::Organization(ix))?;
    let (policy, caller) = (&*context.policy, &context.caller);
    let ids = policy.teams_of(ix).map(|(_, team)| &*team.id).collect();
    Ok(AdminDecision::Answer(page.of(ids, &|id| view::team(policy, caller, id).body)))
}
