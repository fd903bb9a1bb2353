//! `/teams/{id}/service-accounts`: key owners that are not users.

use serde_json::Value;

use alloc::string::ToString;

use super::AdminDecision;
use super::body::{self, INVALID, take_fixed};
use super::caller::{Permission, Resource};
use super::context::{Representation, RequestContext, no_content};
use super::page::{PageQuery, no_parameters};
use super::problem::{Problem, redacted};
use super::view;
use crate::json::node::Node;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::load::records::ServiceAccountRecord;
use crate::policy::load::value::{FromNode as _, Id};
use crate::policy::{Change, Owner, Policy, Section, ServiceAccountId, TeamId};

/// `GET /teams/{id}/service-accounts`
pub(super) fn list(context: &mut RequestContext<'_>, team: &str) -> Result<AdminDecision, Problem> {
    let page = PageQuery::from_request(context.request)?;
    let (ix, _) = context.team(team)?;
    context.require(Permission::Read, Resource::Team(ix))?;
    let policy = &*context.policy;
    let ids = policy.service_accounts_of(ix).map(|(_, account)| &*account.id).collect();
    Ok(AdminDecision::Answer(page.of(ids, &|id| view::record(policy, Section::ServiceAccounts, id).body)))
}

/// `GET /teams/{id}/service-accounts/{account}`
pub(super) fn show(context: &mut RequestContext<'_>, team: &str, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, _) = context.team(team)?;
    context.require(Permission::Read, Resource::Team(ix))?;
    let account = of_team(context.policy, ix, id).ok_or_else(|| Problem::not_found("service account", id))?;
    context.require_match(Some(&account))?;
    Ok(AdminDecision::Answer(account.response(200)))
}

/// `PUT /teams/{id}/service-accounts/{account}`
pub(super) fn put(context: &mut RequestContext<'_>, team: &str, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, _) = context.team(team)?;
    context.require(Permission::ManageTeam, Resource::Team(ix))?;
    let before = of_team(context.policy, ix, id);
    if before.is_none() && context.policy.record(Section::ServiceAccounts, id).is_some() {
        let detail = "A service account with this id exists in another team. Choose another id.";
        return Err(Problem::new(409, "already_exists", detail));
    }
    context.require_match(before.as_ref())?;
    if Id::read(Node::String(id.to_string()), &mut Diagnostics::default()).is_none() {
        let detail = alloc::format!("`{}` is not a valid id.", redacted(id));
        return Err(Problem::new(400, INVALID, detail));
    }
    let mut body = body::object(context.request)?;
    take_fixed(&mut body, &[("id", id), ("team", team)])?;
    body.push(("team".into(), Node::String(team.to_string())));
    let record = Node::Object(body.clone());
    context.read_record::<ServiceAccountRecord>(Section::ServiceAccounts, id, &record)?;
    let mut change = Change::default();
    change.put(Section::ServiceAccounts, id, body::object_json(&body));
    context.change(&change, &["service_accounts", id], &|policy| audited(policy, id), &|policy, _| {
        view::record(policy, Section::ServiceAccounts, id).response(200)
    })
}

/// `DELETE /teams/{id}/service-accounts/{account}`: also revokes its keys.
pub(super) fn remove(
    context: &mut RequestContext<'_>,
    team: &str,
    id: &str,
) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, _) = context.team(team)?;
    context.require(Permission::ManageTeam, Resource::Team(ix))?;
    let account = of_team(context.policy, ix, id).ok_or_else(|| Problem::not_found("service account", id))?;
    context.require_match(Some(&account))?;
    let mut change = Change::default();
    let owner =
        context.policy.service_accounts.find(id).map(|at| Owner::ServiceAccount(ServiceAccountId(at)));
    for (_, key) in context.policy.keys_of(ix).filter(|(_, key)| Some(key.owner) == owner) {
        change.remove(Section::Keys, &key.id);
    }
    change.remove(Section::ServiceAccounts, id);
    context.change(&change, &["service_accounts", id], &|policy| audited(policy, id), &|_, _| no_content())
}

fn audited(policy: &Policy, id: &str) -> Option<Value> {
    view::audited(policy, Section::ServiceAccounts, id)
}

fn of_team(policy: &Policy, team: TeamId, id: &str) -> Option<Representation> {
    let account = policy.service_accounts.get(policy.service_accounts.find(id)?)?;
    (account.team == team).then(|| view::record(policy, Section::ServiceAccounts, id))
}
