//! The authenticated caller and the permissions of its roles.

use alloc::string::{String, ToString};

use super::AdminRequest;
use super::problem::Problem;
use crate::policy::access::role_of;
use crate::policy::{OrganizationId, OrganizationRole, Policy, TeamId, TeamRole, UserId};
use crate::secret::api_key;
use crate::secret::api_key::KeyFormat;

/// The authenticated user of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Position of the user in the policy.
    pub user: UserId,
    /// Id of the user.
    pub id: String,
    /// True for the role `platform_admin`.
    pub platform_admin: bool,
}

/// A permission that roles grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// Read an organization and its teams.
    Read,
    /// Read a team's self-service policy.
    ReadSelfService,
    /// Read all keys of a team.
    ReadKeys,
    /// Read usage and spending.
    ReadUsage,
    /// Read the audit log.
    ReadAudit,
    /// Create, rotate and revoke the caller's own keys in a team.
    OwnKeys,
    /// Update a team with its members, self-service policy, service accounts and keys.
    ManageTeam,
    /// Change the members and teams of an organization.
    ManageOrganization,
    /// Grant and revoke the role `org_owner`.
    ManageOwners,
    /// Create and delete organizations, and change their access, limits and budgets.
    SetCeiling,
}

/// The resource that a permission applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// The platform: all organizations.
    Platform,
    /// One organization.
    Organization(OrganizationId),
    /// One team.
    Team(TeamId),
}

/// Returns true if an organization role grants a permission in the organization and its teams.
fn organization_role_grants(role: OrganizationRole, permission: Permission) -> bool {
    use Permission::*;
    match role {
        OrganizationRole::Owner => !matches!(permission, SetCeiling | OwnKeys),
        OrganizationRole::Admin => {
            matches!(
                permission,
                Read | ReadSelfService | ReadKeys | ReadUsage | ManageTeam | ManageOrganization
            )
        }
        OrganizationRole::Billing => matches!(permission, Read | ReadUsage),
        OrganizationRole::Auditor => {
            matches!(permission, Read | ReadSelfService | ReadKeys | ReadUsage | ReadAudit)
        }
        OrganizationRole::Member => matches!(permission, Read),
    }
}

/// Returns true if a team role grants a permission in the team.
fn team_role_grants(role: TeamRole, permission: Permission) -> bool {
    use Permission::*;
    match role {
        TeamRole::Admin => matches!(permission, Read | ReadSelfService | ReadKeys | ReadUsage | ManageTeam),
        TeamRole::Developer => matches!(permission, Read | OwnKeys),
        TeamRole::Viewer => matches!(permission, Read),
    }
}

impl Caller {
    /// Authenticates the caller by the host's verified JWT or by a user token.
    ///
    /// # Errors
    /// 401 if both are missing or unknown, or if they name different users.
    pub(super) fn sign_in(policy: &Policy, request: &AdminRequest) -> Result<Caller, Problem> {
        let by_token = request.token.as_deref().and_then(|token| {
            let (user, _) = policy.user_by_token(&api_key::digest(token.as_bytes()))?;
            Some(user)
        });
        let by_jwt = match request.subject.as_deref() {
            None => None,
            Some(subject) => Some(policy.users.find(subject).map(UserId).ok_or_else(|| {
                Problem::unauthorized("unknown_user", "The policy has no user with the id in the JWT.")
            })?),
        };
        let user = match (by_jwt, by_token) {
            (Some(one), Some(other)) if one != other => {
                let detail = "The JWT and the token belong to different users. Send only one of them.";
                return Err(Problem::unauthorized("ambiguous_identity", detail));
            }
            (Some(user), _) | (None, Some(user)) => user,
            (None, None) => return Err(unauthenticated(request.token.as_deref())),
        };
        let Some(record) = policy.users.get(user.0) else {
            return Err(unauthenticated(None));
        };
        Ok(Caller { user, id: record.id.to_string(), platform_admin: record.platform_admin })
    }

    /// Returns true if the caller's roles grant the permission on the resource. A role in one team grants nothing in
    /// another.
    pub(super) fn may(&self, policy: &Policy, permission: Permission, resource: Resource) -> bool {
        if self.platform_admin {
            return permission != Permission::OwnKeys;
        }
        let in_organization = |organization: OrganizationId| {
            self.organization_role(policy, organization)
                .is_some_and(|role| organization_role_grants(role, permission))
        };
        match resource {
            Resource::Platform => false,
            Resource::Organization(organization) => in_organization(organization),
            Resource::Team(ix) => policy.teams.get(ix.0).is_some_and(|team| {
                let in_team =
                    self.team_role(policy, ix).is_some_and(|role| team_role_grants(role, permission));
                in_team || in_organization(team.organization)
            }),
        }
    }

    /// Returns the caller's role in an organization.
    pub(super) fn organization_role(&self, policy: &Policy, ix: OrganizationId) -> Option<OrganizationRole> {
        role_of(&policy.organizations.get(ix.0)?.members, self.user)
    }

    /// Returns the caller's role in a team.
    pub(super) fn team_role(&self, policy: &Policy, ix: TeamId) -> Option<TeamRole> {
        role_of(&policy.teams.get(ix.0)?.members, self.user)
    }
}

fn unauthenticated(token: Option<&str>) -> Problem {
    match token {
        None => Problem::unauthorized(
            "not_signed_in",
            "Authentication is required. Send your user token as `Authorization: Bearer TOKEN`.",
        ),
        Some(token) if api_key::key_format(token) != KeyFormat::Foreign => Problem::unauthorized(
            "unknown_token",
            "The token is an API key. Send your user token instead: `Authorization: Bearer TOKEN`.",
        ),
        Some(_) => Problem::unauthorized(
            "unknown_token",
            "The user token is unknown. Check that it is complete, or ask your administrator.",
        ),
    }
}
