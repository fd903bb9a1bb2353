//! `/`, `/drain`, `/me` and `/targets`: the gateway, the caller with its roles, and the targets it may call.

use alloc::vec::Vec;

use serde_json::Value;

use super::AdminDecision;
use super::caller::{Permission, Resource};
use super::context::RequestContext;
use super::json_response;
use super::page::{PageQuery, no_parameters};
use super::preview::grant_text;
use super::problem::Problem;
use crate::json::out_of_line::object;
use crate::policy::access::role_of;
use crate::policy::access::{AccessChain, AccessDecision};
use crate::policy::{OrganizationId, Target, TargetId};

/// `GET /`: the version of the API, and for platform administrators the changes that have no effect.
pub(super) fn gateway(context: &RequestContext<'_>) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    Ok(AdminDecision::Gateway { details: context.caller.platform_admin })
}

/// `POST /drain`: before a planned stop, gives back the slices that this gateway leases.
pub(super) fn drain(context: &RequestContext<'_>) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    context.require(Permission::SetCeiling, Resource::Platform)?;
    Ok(AdminDecision::Drain)
}

/// `GET /me`
pub(super) fn show(context: &RequestContext<'_>) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (policy, user) = (&*context.policy, context.caller.user);
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
    Ok(AdminDecision::Answer(json_response(
        200,
        &object!({
            "id": context.caller.id,
            "name": name,
            "platform_admin": context.caller.platform_admin,
            "organizations": organizations,
            "teams": teams,
        }),
    )))
}

/// `GET /targets`: the targets that a key owned by the caller could call, in each of the caller's teams.
#[allow(clippy::wildcard_enum_match_arm, reason = "only a grant is listed")]
pub(super) fn targets(context: &RequestContext<'_>) -> Result<AdminDecision, Problem> {
    let page = PageQuery::from_request(context.request)?;
    let (policy, ix) = (&*context.policy, context.caller.user);
    let Some(user) = policy.users.get(ix.0) else {
        return Err(Problem::not_found("user", &context.caller.id));
    };
    let mine: Vec<_> = policy
        .teams
        .iter()
        .filter(|(_, _, team)| role_of(&team.members, ix).is_some())
        .filter_map(|(_, id, team)| {
            let OrganizationId(organization) = team.organization;
            Some((id, AccessChain::of_member(policy.organizations.get(organization)?, team, user)))
        })
        .collect();
    let reached = |ix: TargetId, target: &Target| -> Vec<Value> {
        mine.iter()
            .filter_map(|(team, levels)| match levels.reach(ix, target) {
                AccessDecision::Granted(by) => {
                    Some(object!({ "team": team, "through": grant_text(policy, by) }))
                }
                _ => None,
            })
            .collect()
    };
    let callable = policy
        .targets
        .iter()
        .filter(|(position, _, target)| !reached(TargetId(*position), target).is_empty());
    let show = |name: &str| {
        let teams = policy.target(name).map(|(ix, target)| reached(ix, target));
        object!({ "target": name, "teams": teams })
    };
    Ok(AdminDecision::Answer(page.of(callable.map(|(_, name, _)| name).collect(), &show)))
}
