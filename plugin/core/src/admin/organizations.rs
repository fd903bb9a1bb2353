//! `/organizations`: the tenants, and the ceiling of each.

use alloc::format;
use alloc::vec::Vec;

use super::body::{self, INVALID, Members, take, take_fixed};
use super::caller::{Over, Right};
use super::context::{Desk, Reply, new_id, removed, require_free};
use super::page::{Page, no_parameters};
use super::problem::Problem;
use super::view;
use crate::json::node::Node;
use crate::policy::load::records::OrganizationRecord;
use crate::policy::{Change, OrganizationIx, Section};

/// Fields that only the platform's administrators set: what the organization can never exceed.
const CEILING: [&str; 5] = ["access", "limits", "budget", "target_limits", "state"];

/// `GET /organizations`: those that the signed-in person can read.
pub(super) fn list(desk: &Desk<'_>) -> Result<Reply, Problem> {
    let page = Page::asked(desk.request)?;
    let policy = &*desk.policy;
    let mine = policy.organizations.iter().filter(|(position, ..)| {
        desk.who.may(policy, Right::Read, Over::Organization(OrganizationIx(*position)))
    });
    let ids = mine.map(|(_, id, _)| id).collect();
    Ok(Reply::Answer(page.of(ids, &|id| view::record(policy, Section::Organizations, id).body)))
}

/// `POST /organizations`
pub(super) fn create(desk: &mut Desk<'_>) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    desk.need(Right::SetCeiling, Over::Platform)?;
    desk.require_match(None)?;
    let mut body = body::object(desk.request)?;
    let id = new_id(&mut body)?;
    require_free(desk.policy, Section::Organizations, "organization", &id)?;
    if !body.iter().any(|(name, _)| name == "access") {
        // Default deny.
        body.push(("access".into(), Node::Object(Members::new())));
    }
    body::read::<OrganizationRecord>(body.clone(), INVALID)?;
    desk.organization = Some(id.clone());
    let mut change = Change::default();
    change.put(Section::Organizations, &id, body::object_json(&body));
    let location = format!("{}/organizations/{id}", desk.paths);
    desk.change(
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
pub(super) fn show(desk: &mut Desk<'_>, id: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let ix = desk.organization(id)?;
    desk.need(Right::Read, Over::Organization(ix))?;
    let shown = view::record(desk.policy, Section::Organizations, id);
    desk.require_match(Some(&shown))?;
    Ok(Reply::Answer(shown.response(200)))
}

/// `PATCH /organizations/{id}`
pub(super) fn update(desk: &mut Desk<'_>, id: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let ix = desk.organization(id)?;
    desk.need(Right::ManageOrganization, Over::Organization(ix))?;
    desk.require_match(Some(&view::record(desk.policy, Section::Organizations, id)))?;
    let mut patch = body::object(desk.request)?;
    take_fixed(&mut patch, &[("id", id)])?;
    if patch.iter().any(|(name, _)| CEILING.contains(&name.as_str())) {
        desk.need(Right::SetCeiling, Over::Platform)?;
    }
    refuse_members(&mut patch, &format!("{}/organizations/{id}/members", desk.paths))?;
    let record = desk.policy.record(Section::Organizations, id).unwrap_or_default();
    let merged = body::merge(Node::from(&record), patch);
    body::read_at::<OrganizationRecord>("", merged.clone(), INVALID)?;
    let mut change = Change::default();
    change.put(Section::Organizations, id, body::to_json(&merged));
    desk.change(
        &change,
        &["organizations", id],
        &|policy| view::kept(policy, Section::Organizations, id),
        &|policy, _| view::record(policy, Section::Organizations, id).response(200),
    )
}

/// `DELETE /organizations/{id}`
pub(super) fn remove(desk: &mut Desk<'_>, id: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let ix = desk.organization(id)?;
    desk.need(Right::SetCeiling, Over::Platform)?;
    desk.require_match(Some(&view::record(desk.policy, Section::Organizations, id)))?;
    let teams: Vec<&str> = desk.policy.teams_of(ix).map(|(_, team)| &*team.id).take(8).collect();
    if !teams.is_empty() {
        let detail = format!("The organization still has teams: {}. Delete them first.", teams.join(", "));
        return Err(Problem::new(409, "teams_exist", detail));
    }
    let mut change = Change::default();
    change.remove(Section::Organizations, id);
    desk.change(
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
pub(super) fn teams(desk: &mut Desk<'_>, id: &str) -> Result<Reply, Problem> {
    let page = Page::asked(desk.request)?;
    let ix = desk.organization(id)?;
    desk.need(Right::Read, Over::Organization(ix))?;
    let (policy, who) = (&*desk.policy, &desk.who);
    let ids = policy.teams_of(ix).map(|(_, team)| &*team.id).collect();
    Ok(Reply::Answer(page.of(ids, &|id| view::team(policy, who, id).body)))
}
