//! The actions that the API allows a caller on an object, as the object's representation lists them.

use alloc::vec::Vec;

use serde_json::Value;

use super::caller::{Caller, Permission, Resource};
use crate::policy::{KeyId, OrganizationId, Owner, Policy, TeamId};

/// An action on an organization or a team, with the permission that it needs.
type Action = (&'static str, Permission);

/// The actions on an organization, in the order of a list.
pub(super) const ORGANIZATION: &[Action] = &[
    ("update", Permission::ManageOrganization),
    ("members", Permission::ManageOrganization),
    ("owners", Permission::ManageOwners),
    ("teams", Permission::ManageOrganization),
    ("usage", Permission::ReadUsage),
    ("audit", Permission::ReadAudit),
    ("ceiling", Permission::SetCeiling),
    ("delete", Permission::SetCeiling),
];

/// The actions on a team.
pub(super) const TEAM: &[Action] = &[
    ("update", Permission::ManageTeam),
    ("members", Permission::ManageTeam),
    ("keys", Permission::ManageTeam),
    ("own_keys", Permission::OwnKeys),
    ("read_keys", Permission::ReadKeys),
    ("usage", Permission::ReadUsage),
    ("state", Permission::ManageOrganization),
    ("ceiling", Permission::ManageOrganization),
    ("delete", Permission::ManageOrganization),
    ("mode", Permission::SetCeiling),
];

/// The actions on a key.
pub(super) const KEY: &[&str] = &["update", "rotate", "revoke", "usage"];

/// Returns the actions on an organization.
pub(super) fn on_organization(policy: &Policy, caller: &Caller, id: &str) -> Value {
    let Some(ix) = policy.organizations.find(id).map(OrganizationId) else { return Value::Array(Vec::new()) };
    allowed(ORGANIZATION, |permission| {
        let is_platforms = permission == Permission::SetCeiling;
        caller.may(
            policy,
            permission,
            if is_platforms { Resource::Platform } else { Resource::Organization(ix) },
        )
    })
}

/// Returns the actions on a team.
pub(super) fn on_team(policy: &Policy, caller: &Caller, id: &str) -> Value {
    let found = policy.teams.find(id).map(TeamId);
    let found = found.and_then(|ix| Some((ix, policy.teams.get(ix.0)?)));
    let Some((ix, team)) = found else { return Value::Array(Vec::new()) };
    allowed(TEAM, |permission| {
        // A role in the organization grants its permissions on its teams; no role in a team grants those on the organization.
        let resource =
            if permission == Permission::SetCeiling { Resource::Platform } else { Resource::Team(ix) };
        let is_off = permission == Permission::OwnKeys
            && !team.self_service.as_ref().is_some_and(|policy| policy.enabled);
        !is_off && caller.may(policy, permission, resource)
    })
}

/// Returns the actions on a key.
pub(super) fn on_key(policy: &Policy, caller: &Caller, id: &str) -> Value {
    let found = policy.keys.find(id).map(KeyId).and_then(|ix| policy.keys.get(ix.0));
    let Some(key) = found else { return Value::Array(Vec::new()) };
    let team = Resource::Team(key.team);
    let manages = caller.may(policy, Permission::ManageTeam, team);
    let is_own = key.owner == Owner::User(caller.user) && caller.may(policy, Permission::OwnKeys, team);
    let reads_usage = caller.may(policy, Permission::ReadUsage, team);
    let is_allowed = [manages, manages || is_own, manages || is_own, reads_usage || is_own];
    let names = KEY.iter().zip(is_allowed).filter(|(_, allowed)| *allowed);
    names.map(|(name, _)| Value::from(*name)).collect()
}

fn allowed(actions: &[Action], may: impl Fn(Permission) -> bool) -> Value {
    let names = actions.iter().filter(|(_, permission)| may(*permission));
    names.map(|(name, _)| Value::from(*name)).collect()
}
