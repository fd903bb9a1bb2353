//! The records of the management API that the console reads. What it does not show is left out; fields that it does not know
//! are ignored.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct Listed<T> {
    /// The entries.
    pub items: Vec<T>,
    /// The value of `after` for the next page.
    pub next: Option<String>,
}

/// The maximum of requests and tokens in each window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Limits(BTreeMap<String, u64>);

impl Limits {
    /// Returns the limit of a window, by its name.
    pub fn get(&self, window: &str) -> Option<u64> {
        self.0.get(window).copied()
    }
}

/// A maximum of cost in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Budget {
    /// US dollars.
    pub max: String,
    /// `hour`, `day`, `week`, `month` or `lifetime`, the default.
    pub period: Option<String>,
}

/// A selection of targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Access {
    /// `inherit` or `restrict`; an organization has none.
    #[serde(default)]
    pub mode: String,
    /// The targets by name.
    #[serde(default)]
    pub targets: Vec<String>,
    /// The access groups.
    #[serde(default)]
    pub access_groups: Vec<String>,
}

/// A self-service policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SelfService {
    /// Members may create keys.
    pub enabled: bool,
    /// The maximum of active keys of one member.
    pub max_keys_per_user: Option<u64>,
    /// The maximum budget of a key.
    pub budget_ceiling: Option<String>,
    /// The longest lifetime.
    pub max_expiry_days: Option<u64>,
    /// Each key must expire.
    pub require_expiry: bool,
}

/// A role in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Manages the team.
    TeamAdmin,
    /// Creates keys of their own.
    TeamDeveloper,
    /// Reads.
    TeamViewer,
}

/// An organization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Organization {
    /// The id.
    pub id: String,
    /// The display name.
    pub name: String,
    /// The targets that its teams may be given.
    pub access: Access,
    /// Its limits.
    pub limits: Limits,
    /// Its budget.
    pub budget: Option<Budget>,
}

/// A team.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Team {
    /// The id.
    pub id: String,
    /// The display name.
    pub name: String,
    /// The organization's id.
    pub organization: String,
    /// Its access.
    #[serde(default)]
    pub access: Access,
    /// Its limits.
    #[serde(default)]
    pub limits: Limits,
    /// Its budget.
    pub budget: Option<Budget>,
    /// Its members with their roles.
    #[serde(default)]
    pub members: BTreeMap<String, Role>,
    /// `blocked`, or active.
    pub state: Option<String>,
    /// `shadow`, or enforcing.
    pub mode: Option<String>,
    /// The self-service policy, for callers who may read it.
    pub self_service: Option<SelfService>,
}

/// A person in an organization or team.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// The id of the user.
    pub user: String,
    /// The display name.
    pub name: String,
    /// The name of the role.
    pub role: String,
}

/// A service account of a team.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// The id.
    pub id: String,
    /// The display name.
    pub name: String,
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Key {
    /// The id.
    pub id: String,
    /// The team's id.
    pub team: String,
    /// The display name.
    pub name: Option<String>,
    /// The last characters of the secret.
    pub hint: Option<String>,
    /// `user/ID` or `service_account/ID`.
    pub owner: Option<String>,
    /// `blocked`, or active.
    pub state: Option<String>,
    /// The time from which it is rejected.
    pub expires_at: Option<String>,
    /// Its budget.
    pub budget: Option<Budget>,
    /// Its limits.
    #[serde(default)]
    pub limits: Limits,
    /// Made by a member through self-service.
    #[serde(default)]
    pub self_service: bool,
    /// The secret before the last rotation, while it is valid.
    pub previous: Option<Previous>,
}

/// A secret that a rotation has replaced.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Previous {
    /// The end of its grace period.
    pub until: String,
}

/// A key with its secret, which the API shows once.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct NewSecret {
    /// The id of the key.
    pub id: String,
    /// The secret.
    pub secret: String,
}

/// A limit with its use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct UsedLimit {
    /// `rpm`, `tpm`, `rph`, `rpd` or `tpd`.
    pub window: String,
    /// The maximum.
    pub limit: u64,
    /// The use.
    pub used: u64,
    /// The time until the window is empty, or starts over.
    pub resets_in_seconds: u64,
    /// The target of a limit for one target.
    pub target: Option<String>,
}

/// A budget with its use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct UsedBudget {
    /// The maximum.
    pub max: String,
    /// The cost so far.
    pub spent: String,
    /// The part of it that no provider has reported yet.
    pub estimated: String,
    /// The rest.
    pub left: String,
    /// The period.
    pub period: String,
    /// The soft maximum.
    pub soft: Option<String>,
    /// The time until the period ends.
    pub resets_in_seconds: Option<u64>,
}

/// Limits and budget of a team or key, with their use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// The limits.
    pub limits: Vec<UsedLimit>,
    /// The limits of single targets.
    pub target_limits: Vec<UsedLimit>,
    /// The budget.
    pub budget: Option<UsedBudget>,
}

/// The access of a team with its effect.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AccessPreview {
    /// The selection.
    #[serde(flatten)]
    pub access: Access,
    /// The selected names that grant nothing.
    pub inert: Access,
    /// The decision for each target.
    pub preview: Vec<Reach>,
}

/// The decision for one target.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reach {
    /// The target.
    pub target: String,
    /// The grant of the organization.
    pub available: Option<String>,
    /// The team's selection that contains it.
    pub selected: Option<String>,
    /// The team may call it.
    pub effective: bool,
    /// The sentence of the gateway.
    pub reason: String,
}

/// A model of `GET /v1/models`.
#[derive(Clone, Debug, Deserialize)]
pub struct Models {
    /// The callable models.
    pub data: Vec<serde_json::Value>,
}

/// A problem (RFC 9457) of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// A stable name.
    pub code: String,
    /// The explanation.
    pub detail: String,
    /// The faults with their places.
    pub errors: Vec<Fault>,
}

/// A fault of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Fault {
    /// The explanation.
    pub detail: String,
    /// The place in the body.
    pub pointer: Option<String>,
    /// The record in conflict.
    pub policy_pointer: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_new_to_the_console_are_ignored() {
        let team: Team = serde_json::from_str(
            r#"{"id": "t", "name": "T", "organization": "o", "may": ["update"], "limits": {"rpm": 1}, "members": {"bob": "team_viewer"}}"#,
        )
        .unwrap();
        assert_eq!(team.limits.get("rpm"), Some(1));
        let preview: AccessPreview = serde_json::from_str(
            r#"{"mode": "inherit", "inert": {"access_groups": [], "targets": []}, "preview": [{"available": null, "effective": false,
                "reason": "r", "refused_by": "organization", "selected": null, "target": "x"}]}"#,
        )
        .unwrap();
        assert_eq!(preview.access.mode, "inherit");
    }
}
