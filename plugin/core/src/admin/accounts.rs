//! `/teams/{id}/service-accounts`: owners of keys that are no people.

use serde_json::Value;

use alloc::string::ToString;

use super::body::{self, INVALID, take_fixed};
use super::caller::{Over, Right};
use super::context::{Desk, Reply, Shown, removed};
use super::page::{Page, no_parameters};
use super::problem::{Problem, shown};
use super::view;
use crate::json::node::Node;
use crate::policy::diagnostic::Report;
use crate::policy::load::records::ServiceAccountRecord;
use crate::policy::load::value::{Id, Value as _};
use crate::policy::{Change, Owner, Policy, Section, ServiceAccountIx, TeamIx};

/// `GET /teams/{id}/service-accounts`
pub(super) fn list(desk: &mut Desk<'_>, team: &str) -> Result<Reply, Problem> {
    let page = Page::asked(desk.request)?;
    let (ix, _) = desk.team(team)?;
    desk.need(Right::Read, Over::Team(ix))?;
    let policy = &*desk.policy;
    let ids = policy.service_accounts_of(ix).map(|(_, account)| &*account.id).collect();
    Ok(Reply::Answer(page.of(ids, &|id| view::record(policy, Section::ServiceAccounts, id).body)))
}

/// `GET /teams/{id}/service-accounts/{account}`
pub(super) fn show(desk: &mut Desk<'_>, team: &str, id: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let (ix, _) = desk.team(team)?;
    desk.need(Right::Read, Over::Team(ix))?;
    let account = of_team(desk.policy, ix, id).ok_or_else(|| Problem::not_found("service account", id))?;
    desk.require_match(Some(&account))?;
    Ok(Reply::Answer(account.response(200)))
}

/// `PUT /teams/{id}/service-accounts/{account}`
pub(super) fn put(desk: &mut Desk<'_>, team: &str, id: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let (ix, _) = desk.team(team)?;
    desk.need(Right::ManageTeam, Over::Team(ix))?;
    let before = of_team(desk.policy, ix, id);
    if before.is_none() && desk.policy.record(Section::ServiceAccounts, id).is_some() {
        let detail = "Another team has a service account of this id: choose another.";
        return Err(Problem::new(409, "already_exists", detail));
    }
    desk.require_match(before.as_ref())?;
    if Id::read(Node::String(id.to_string()), &mut Report::default()).is_none() {
        let detail = alloc::format!("`{}` cannot be an id.", shown(id));
        return Err(Problem::new(400, INVALID, detail));
    }
    let mut body = body::object(desk.request)?;
    take_fixed(&mut body, &[("id", id), ("team", team)])?;
    body.push(("team".into(), Node::String(team.to_string())));
    body::read::<ServiceAccountRecord>(body.clone(), INVALID)?;
    let mut change = Change::default();
    change.put(Section::ServiceAccounts, id, body::object_json(&body));
    desk.change(&change, &["service_accounts", id], &|policy| kept(policy, id), &|policy, _| {
        view::record(policy, Section::ServiceAccounts, id).response(200)
    })
}

/// `DELETE /teams/{id}/service-accounts/{account}`: its keys are revoked.
pub(super) fn remove(desk: &mut Desk<'_>, team: &str, id: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let (ix, _) = desk.team(team)?;
    desk.need(Right::ManageTeam, Over::Team(ix))?;
    let account = of_team(desk.policy, ix, id).ok_or_else(|| Problem::not_found("service account", id))?;
    desk.require_match(Some(&account))?;
    let mut change = Change::default();
    let owner = desk.policy.service_accounts.find(id).map(|at| Owner::ServiceAccount(ServiceAccountIx(at)));
    for (_, key) in desk.policy.keys_of(ix).filter(|(_, key)| Some(key.owner) == owner) {
        change.remove(Section::Keys, &key.id);
    }
    change.remove(Section::ServiceAccounts, id);
    desk.change(&change, &["service_accounts", id], &|policy| kept(policy, id), &|_, _| removed())
}

fn kept(policy: &Policy, id: &str) -> Option<Value> {
    view::kept(policy, Section::ServiceAccounts, id)
}

fn of_team(policy: &Policy, team: TeamIx, id: &str) -> Option<Shown> {
    let account = policy.service_accounts.get(policy.service_accounts.find(id)?)?;
    (account.team == team).then(|| view::record(policy, Section::ServiceAccounts, id))
}
