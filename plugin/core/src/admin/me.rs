//! `/me` and `/targets`: who am I; what may I call, and through what.

use alloc::vec::Vec;

use serde_json::Value;

use super::answer;
use super::caller::role_of;
use super::context::{Desk, Reply};
use super::page::{Page, no_parameters};
use super::preview::through;
use super::problem::Problem;
use crate::json::out_of_line::object;
use crate::policy::access::{Levels, Reach};
use crate::policy::{OrganizationIx, Target, TargetIx};

/// `GET /me`
pub(super) fn show(desk: &Desk<'_>) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let (policy, user) = (&*desk.policy, desk.who.user);
    let organizations: Vec<Value> = policy
        .organizations
        .iter()
        .filter_map(|(_, id, organization)| {
            let role = role_of(&organization.members, user)?;
            Some(object!({ "id": id, "name": organization.name, "role": role.name() }))
        })
        .collect();
    let teams: Vec<Value> = policy
        .teams
        .iter()
        .filter_map(|(_, id, team)| {
            let role = role_of(&team.members, user)?;
            let organization = policy.organizations.name(team.organization.0);
            let role = role.name();
            Some(object!({ "id": id, "name": team.name, "organization": organization, "role": role }))
        })
        .collect();
    let name = policy.users.get(user.0).map(|user| &user.name);
    Ok(Reply::Answer(answer(
        200,
        &object!({
            "id": desk.who.id,
            "name": name,
            "platform_admin": desk.who.platform_admin,
            "organizations": organizations,
            "teams": teams,
        }),
    )))
}

/// `GET /targets`: what a key of the signed-in person's own could call, in each of their teams.
pub(super) fn targets(desk: &Desk<'_>) -> Result<Reply, Problem> {
    let page = Page::asked(desk.request)?;
    let (policy, ix) = (&*desk.policy, desk.who.user);
    let Some(user) = policy.users.get(ix.0) else {
        return Err(Problem::not_found("user", &desk.who.id));
    };
    let mine: Vec<_> = policy
        .teams
        .iter()
        .filter(|(_, _, team)| role_of(&team.members, ix).is_some())
        .filter_map(|(_, id, team)| {
            let OrganizationIx(organization) = team.organization;
            Some((id, Levels::of_member(policy.organizations.get(organization)?, team, user)))
        })
        .collect();
    let reached = |ix: TargetIx, target: &Target| -> Vec<Value> {
        mine.iter()
            .filter_map(|(team, levels)| match levels.reach(ix, target) {
                Reach::Granted(by) => Some(object!({ "team": team, "through": through(policy, by) })),
                _ => None,
            })
            .collect()
    };
    let callable = policy
        .targets
        .iter()
        .filter(|(position, _, target)| !reached(TargetIx(*position), target).is_empty());
    let show = |name: &str| {
        let teams = policy.target(name).map(|(ix, target)| reached(ix, target));
        object!({ "target": name, "teams": teams })
    };
    Ok(Reply::Answer(page.of(callable.map(|(_, name, _)| name).collect(), &show)))
}
