//! Who asks, and what their roles let them do.

use alloc::string::{String, ToString};

use super::AdminRequest;
use super::problem::Problem;
use crate::policy::access::role_of;
use crate::policy::{OrganizationId, OrganizationRole, Policy, TeamId, TeamRole, UserId};
use crate::secret::api_key;
use crate::secret::api_key::KeyFormat;

/// Somebody signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Their position.
    pub user: UserId,
    /// Their id.
    pub id: String,
    /// Role `platform_admin`.
    pub platform_admin: bool,
}

/// Something that roles let people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Read an organization and its teams.
    Read,
    /// Read a team's self-service policy.
    ReadSelfService,
    /// Read all keys of a team.
    ReadKeys,
    /// Read what was used and spent.
    ReadUsage,
    /// Read the audit.
    ReadAudit,
    /// Create, rotate and revoke one's own keys in a team.
    OwnKeys,
    /// Update a team: its members, its self-service policy, its service accounts, its keys.
    ManageTeam,
    /// An organization's members and teams.
    ManageOrganization,
    /// Give and take the role of an owner.
    ManageOwners,
    /// Organizations themselves, and what they grant: the ceiling.
    SetCeiling,
}

/// What a right is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// All organizations.
    Platform,
    /// One organization.
    Organization(OrganizationId),
    /// One team.
    Team(TeamId),
}

/// What an organization's role gives there and in all teams there.
fn organization_gives(role: OrganizationRole, right: Permission) -> bool {
    use Permission::*;
    match role {
        OrganizationRole::Owner => !matches!(right, SetCeiling | OwnKeys),
        OrganizationRole::Admin => {
            matches!(right, Read | ReadSelfService | ReadKeys | ManageTeam | ManageOrganization)
        }
        OrganizationRole::Billing => matches!(right, Read | ReadUsage),
        OrganizationRole::Auditor => {
            matches!(right, Read | ReadSelfService | ReadKeys | ReadUsage | ReadAudit)
        }
        OrganizationRole::Member => matches!(right, Read),
    }
}

/// What a team's role gives in this team.
fn team_gives(role: TeamRole, right: Permission) -> bool {
    use Permission::*;
    match role {
        TeamRole::Admin => matches!(right, Read | ReadSelfService | ReadKeys | ReadUsage | ManageTeam),
        TeamRole::Developer => matches!(right, Read | OwnKeys),
        TeamRole::Viewer => matches!(right, Read),
    }
}

impl Caller {
    /// Who asks, by the host's verified JWT or by a user token.
    ///
    /// # Errors
    /// 401 where it is nobody, or where the two name different people.
    pub fn sign_in(policy: &Policy, request: &AdminRequest) -> Result<Caller, Problem> {
        let by_token = request.token.as_deref().and_then(|token| {
            let (user, _) = policy.user_by_token(&api_key::digest(token.as_bytes()))?;
            Some(user)
        });
        let by_jwt = match request.subject.as_deref() {
            None => None,
            Some(subject) => Some(policy.users.find(subject).map(UserId).ok_or_else(|| {
                Problem::unauthorized("unknown_user", "Nobody here has the id that the JWT names.")
            })?),
        };
        let user = match (by_jwt, by_token) {
            (Some(one), Some(other)) if one != other => {
                let detail = "The JWT and the token name different people. Send one of them.";
                return Err(Problem::unauthorized("ambiguous_identity", detail));
            }
            (Some(user), _) | (None, Some(user)) => user,
            (None, None) => return Err(stranger(request.token.as_deref())),
        };
        let Some(record) = policy.users.get(user.0) else {
            return Err(stranger(None));
        };
        Ok(Caller { user, id: record.id.to_string(), platform_admin: record.platform_admin })
    }

    /// Whether they have a right there. A role in one team gives nothing in another.
    pub fn may(&self, policy: &Policy, right: Permission, over: Resource) -> bool {
        if self.platform_admin {
            return right != Permission::OwnKeys;
        }
        let in_organization = |organization: OrganizationId| {
            self.organization_role(policy, organization).is_some_and(|role| organization_gives(role, right))
        };
        match over {
            Resource::Platform => false,
            Resource::Organization(organization) => in_organization(organization),
            Resource::Team(ix) => policy.teams.get(ix.0).is_some_and(|team| {
                let in_team = self.team_role(policy, ix).is_some_and(|role| team_gives(role, right));
                in_team || in_organization(team.organization)
            }),
        }
    }

    /// Their role in an organization.
    pub fn organization_role(&self, policy: &Policy, ix: OrganizationId) -> Option<OrganizationRole> {
        role_of(&policy.organizations.get(ix.0)?.members, self.user)
    }

    /// Their role in a team.
    pub fn team_role(&self, policy: &Policy, ix: TeamId) -> Option<TeamRole> {
        role_of(&policy.teams.get(ix.0)?.members, self.user)
    }
}

fn stranger(token: Option<&str>) -> Problem {
    match token {
        None => Problem::unauthorized(
            "not_signed_in",
            "Nobody is signed in. Send your user token as `Authorization: Bearer TOKEN`.",
        ),
        Some(token) if api_key::key_format(token) != KeyFormat::Foreign => Problem::unauthorized(
            "unknown_token",
            "This is an API key. Sign in here with your user token: `Authorization: Bearer TOKEN`.",
        ),
        Some(_) => Problem::unauthorized(
            "unknown_token",
            "This user token is not known here. Check that it is complete, or ask your administrator.",
        ),
    }
}
