//! The roles of a person and what they allow.
//!
//! A copy of the table in `plugin/core/src/admin/README.md`, which a test compares, until the API says with each record what
//! the caller may do with it (`may`). Nothing else in the console decides by a role.

use serde::Deserialize;

/// The signed-in person: `GET /me`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Me {
    /// The id of the user.
    pub id: String,
    /// The display name.
    pub name: String,
    /// True for the role `platform_admin`.
    pub platform_admin: bool,
    /// The organizations with a role.
    pub organizations: Vec<Membership>,
    /// The teams with a role.
    pub teams: Vec<Membership>,
}

/// A role in an organization or team.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// The id of the organization or team.
    pub id: String,
    /// Its display name.
    pub name: String,
    /// The organization of a team.
    #[serde(default)]
    pub organization: String,
    /// The name of the role.
    pub role: String,
}

/// A permission that roles grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Read a team's self-service policy.
    ReadSelfService,
    /// Read all keys of a team.
    ReadKeys,
    /// Read usage of a team.
    ReadUsage,
    /// Create keys in the team as its self-service policy allows.
    OwnKeys,
    /// Change a team's fields, members and keys.
    ManageTeam,
    /// Create, delete, block and unblock teams; add people to the organization.
    ManageOrganization,
}

impl Me {
    /// Returns true if a role grants the permission in a team of this organization.
    pub fn may(&self, permission: Permission, organization: &str, team: &str) -> bool {
        if self.platform_admin {
            return permission != Permission::OwnKeys;
        }
        let role = |list: &[Membership], id: &str| {
            list.iter().find(|entry| entry.id == id).map(|entry| entry.role.clone())
        };
        role(&self.organizations, organization).is_some_and(|role| organization_role(&role, permission))
            || role(&self.teams, team).is_some_and(|role| team_role(&role, permission))
    }

    /// Returns true if the person may create teams in the organization.
    pub fn may_create_teams(&self, organization: &str) -> bool {
        self.may(Permission::ManageOrganization, organization, "")
    }

    /// Returns true if the person may create keys in the team, for others or by self-service.
    pub fn may_create_keys(&self, organization: &str, team: &str) -> bool {
        self.may(Permission::ManageTeam, organization, team)
            || self.may(Permission::OwnKeys, organization, team)
    }
}

fn organization_role(role: &str, permission: Permission) -> bool {
    use Permission::{ManageOrganization, ManageTeam, ReadKeys, ReadSelfService, ReadUsage};
    match role {
        "org_owner" => permission != Permission::OwnKeys,
        "org_admin" => {
            matches!(permission, ReadSelfService | ReadKeys | ReadUsage | ManageTeam | ManageOrganization)
        }
        "org_billing" => matches!(permission, ReadUsage),
        "org_auditor" => matches!(permission, ReadSelfService | ReadKeys | ReadUsage),
        _ => false,
    }
}

fn team_role(role: &str, permission: Permission) -> bool {
    use Permission::{ManageTeam, OwnKeys, ReadKeys, ReadSelfService, ReadUsage};
    match role {
        "team_admin" => matches!(permission, ReadSelfService | ReadKeys | ReadUsage | ManageTeam),
        "team_developer" => matches!(permission, OwnKeys),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = include_str!("../../core/src/admin/README.md");

    /// Returns a person with one role.
    fn person(role: &str) -> Me {
        let entry = |id: &str| Membership { id: id.into(), role: role.into(), ..Membership::default() };
        let mut me = Me { platform_admin: role == "platform_admin", ..Me::default() };
        if role.starts_with("org_") {
            me.organizations.push(entry("acme"));
        } else if role.starts_with("team_") {
            me.teams.push(entry("search"));
        }
        me
    }

    #[test]
    fn roles_allow_what_the_table_of_the_api_says() {
        let rows: Vec<Vec<&str>> = TABLE
            .lines()
            .filter_map(|line| {
                Some(line.strip_prefix("| ")?.strip_suffix('|')?.split('|').map(str::trim).collect())
            })
            .collect();
        let roles = rows.iter().find(|row| row.contains(&"platform_admin")).unwrap();
        let row =
            |what: &str| rows.iter().find(|row| row[0] == what).unwrap_or_else(|| panic!("no row {what}"));
        for (permission, what, granted) in [
            (Permission::ReadSelfService, "read a team's self-service policy", "✓"),
            (Permission::ReadKeys, "read keys", "✓"),
            (Permission::ReadUsage, "read usage", "✓ own team"),
            (Permission::OwnKeys, "create keys", "self-service"),
            (Permission::ManageTeam, "change keys; a team's fields, members, service accounts", "✓"),
            (
                Permission::ManageOrganization,
                "a team's `state` and `ceiling`; create and delete teams; members of the organization",
                "✓",
            ),
        ] {
            for (role, cell) in roles.iter().zip(row(what)).skip(1) {
                let allowed = !cell.is_empty() && granted.contains(cell);
                assert_eq!(person(role).may(permission, "acme", "search"), allowed, "{role}: {permission:?}");
                assert!(
                    !person(role).may(permission, "other", "other") || *role == "platform_admin",
                    "{role}"
                );
            }
        }
    }
}
