//! `/teams`: the teams of an organization.

use alloc::format;
use alloc::string::ToString;

use super::AdminDecision;
use super::body::{self, INVALID, Members, take_fixed};
use super::caller::{Permission, Resource};
use super::ceiling;
use super::context::{Representation, RequestContext, new_id, no_content, require_free};
use super::organizations::refuse_members;
use super::page::no_parameters;
use super::preview;
use super::problem::Problem;
use super::view;
use crate::json::node::Node;
use crate::json::out_of_line::object;
use crate::policy::load::records::{SelfServiceRecord, TeamRecord};
use crate::policy::{AccessScope, Change, Policy, Section, TeamId};

/// `POST /organizations/{id}/teams`: self-service is enabled by default.
pub(super) fn create(context: &mut RequestContext<'_>, organization: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let organization_ix = context.organization(organization)?;
    context.require(Permission::ManageOrganization, Resource::Organization(organization_ix))?;
    context.require_match(None)?;
    let mut body = body::object(context.request)?;
    take_fixed(&mut body, &[("organization", organization)])?;
    require_platform_for_mode(context, &body)?;
    let id = new_id(&mut body)?;
    require_free(context.policy, Section::Teams, "team", &id)?;
    body.push(("organization".into(), Node::String(organization.to_string())));
    if !body.iter().any(|(name, _)| name == "self_service") {
        let on = Members::from([("enabled".to_string(), Node::Bool(true))]);
        body.push(("self_service".into(), Node::Object(on)));
    }
    let record: TeamRecord = context.read_record(Section::Teams, &id, &Node::Object(body.clone()))?;
    ceiling::require_within(None, &record)?;
    if let Some(access) = &record.access {
        let place = (organization_ix, None);
        preview::require_available(context.policy, place, &AccessScope::Inherit, access, "/access")?;
    }
    let mut change = Change::default();
    change.put(Section::Teams, &id, body::object_json(&body));
    let location = format!("{}/teams/{id}", context.path_prefix);
    context.change(
        &change,
        &["teams", &id],
        &|policy| view::audited(policy, Section::Teams, &id),
        &|policy, caller| {
            let mut response = view::team(policy, caller, &id).response(201);
            response.fields.push(("location", location.clone()));
            response
        },
    )
}

/// `GET /teams/{id}`
pub(super) fn show(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, _) = context.team(id)?;
    context.require(Permission::Read, Resource::Team(ix))?;
    let representation = view::team(context.policy, &context.caller, id);
    context.require_match(Some(&representation))?;
    Ok(AdminDecision::Answer(representation.response(200)))
}

/// `PATCH /teams/{id}`
pub(super) fn update(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, organization) = context.team(id)?;
    context.require(Permission::ManageTeam, Resource::Team(ix))?;
    let shown = view::team(context.policy, &context.caller, id);
    context.require_match(Some(&shown))?;
    let mut patch = body::object(context.request)?;
    body::take_equal(&mut patch, &shown.body, &["may"])?;
    let organization_id = context.policy.organizations.name(organization.0).to_string();
    take_fixed(&mut patch, &[("id", id), ("organization", &organization_id)])?;
    require_platform_for_mode(context, &patch)?;
    if patch.iter().any(|(name, _)| name == "state" || name == "ceiling") {
        // A team admin must not be able to unblock the team, nor to lift its ceiling.
        context.require(Permission::ManageOrganization, Resource::Organization(organization))?;
    }
    refuse_members(&mut patch, &format!("{}/teams/{id}/members", context.path_prefix))?;
    let record = context.policy.record(Section::Teams, id).unwrap_or_default();
    let merged = body::merge(Node::from(&record), patch);
    let typed: TeamRecord = context.read_record(Section::Teams, id, &merged)?;
    ceiling::require_within(context.policy.teams.get(ix.0), &typed)?;
    if let Some(access) = &typed.access {
        let before = scope(context.policy, ix);
        // A new ceiling applies as well as the present one.
        let place = (organization, context.policy.teams.get(ix.0));
        preview::require_available(context.policy, place, &before, access, "/access")?;
    }
    let mut change = Change::default();
    change.put(Section::Teams, id, body::to_json(&merged));
    context.change(
        &change,
        &["teams", id],
        &|policy| view::audited(policy, Section::Teams, id),
        &|policy, caller| view::team(policy, caller, id).response(200),
    )
}

/// `DELETE /teams/{id}`
pub(super) fn remove(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, organization) = context.team(id)?;
    context.require(Permission::ManageOrganization, Resource::Organization(organization))?;
    context.require_match(Some(&view::team(context.policy, &context.caller, id)))?;
    let keys = context.policy.keys_of(ix).count();
    if keys > 0 {
        let detail = format!("The team still has {keys} keys. Revoke them first.");
        return Err(Problem::new(409, "keys_assigned", detail));
    }
    let mut change = Change::default();
    for (_, account) in context.policy.service_accounts_of(ix) {
        change.remove(Section::ServiceAccounts, &account.id);
    }
    change.remove(Section::Teams, id);
    context.change(&change, &["teams", id], &|policy| view::audited(policy, Section::Teams, id), &|_, _| {
        no_content()
    })
}

/// `GET /teams/{id}/self-service`
pub(super) fn show_self_service(
    context: &mut RequestContext<'_>,
    id: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, _) = context.team(id)?;
    context.require(Permission::ReadSelfService, Resource::Team(ix))?;
    let representation = self_service(context.policy, id);
    context.require_match(Some(&representation))?;
    Ok(AdminDecision::Answer(representation.response(200)))
}

/// `PUT /teams/{id}/self-service`
pub(super) fn put_self_service(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, _) = context.team(id)?;
    context.require(Permission::ManageTeam, Resource::Team(ix))?;
    context.require_match(Some(&self_service(context.policy, id)))?;
    let body = body::object(context.request)?;
    body::read::<SelfServiceRecord>(body.clone(), INVALID)?;
    let change = with_field(context.policy, id, "self_service", &body);
    context.change(
        &change,
        &["teams", id, "self_service"],
        &|policy| Some(self_service(policy, id).body),
        &|policy, _| self_service(policy, id).response(200),
    )
}

/// Returns a change that sets one field of a team.
pub(super) fn with_field(policy: &Policy, id: &str, field: &str, value: &Members) -> Change {
    let mut record = policy.record(Section::Teams, id).unwrap_or_default();
    if let Some(fields) = record.as_object_mut() {
        fields.insert(field.to_string(), body::object_json(value));
    }
    let mut change = Change::default();
    change.put(Section::Teams, id, record);
    change
}

/// Returns the current access selection of a team.
pub(super) fn scope(policy: &Policy, ix: TeamId) -> AccessScope {
    policy.teams.get(ix.0).map(|team| team.access.clone()).unwrap_or_default()
}

fn self_service(policy: &Policy, id: &str) -> Representation {
    let record = policy.record(Section::Teams, id);
    let stored = record.and_then(|mut record| Some(record.get_mut("self_service")?.take()));
    Representation::new(stored.unwrap_or_else(|| object!({ "enabled": false })))
}

/// Requires a platform administrator if the body sets `mode`: shadow mode also lifts the organization's rejections.
fn require_platform_for_mode(context: &RequestContext<'_>, body: &Members) -> Result<(), Problem> {
    match body.iter().any(|(name, _)| name == "mode") {
        true => context.require(Permission::SetCeiling, Resource::Platform),
        false => Ok(()),
    }
}
