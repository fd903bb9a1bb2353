//! Effective access. The same function decides calls, model lists and previews.
//!
//! ```text
//! E = organization's direct targets + members of its groups
//! for each of the team's ceiling, team, key, user that restricts:  E = E ∩ (its direct targets + members of its groups)
//! ```

use crate::policy::index::Policy;
use crate::policy::model::*;

/// The access of the levels that apply to a request.
#[derive(Clone, Copy, Debug)]
pub struct AccessChain<'p> {
    organization: &'p TargetSet,
    restrictions: [(Restriction, &'p AccessScope); 4],
}

/// A level that can restrict access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// The ceiling that the administrators of the organization set for the key's team.
    Ceiling,
    /// The key's team.
    Team,
    /// The key itself.
    Key,
    /// The key's user.
    User,
}

/// The reason that a selection contains a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantedBy {
    /// `"*"` is selected.
    Everything,
    /// The name of the target is selected.
    Name,
    /// A group that the target belongs to is selected.
    Group(GroupId),
}

/// The decision about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessDecision {
    /// The organization grants the target, and no level below excludes it.
    Granted(GrantedBy),
    /// The organization does not grant the target.
    NotGranted,
    /// The organization grants the target, and the selection of this level does not contain it.
    RefusedBy(Restriction),
}

impl AccessDecision {
    /// Returns true if the target can be called.
    pub fn is_granted(self) -> bool {
        matches!(self, AccessDecision::Granted(_))
    }
}

static INHERIT: AccessScope = AccessScope::Inherit;

impl<'p> AccessChain<'p> {
    /// Returns the levels of a request with a key.
    pub fn new(organization: &'p Organization, team: &'p Team, key: &'p Key, user: Option<&'p User>) -> Self {
        let user = user.map_or(&INHERIT, |user| &user.access);
        AccessChain {
            organization: &organization.access,
            restrictions: [
                (Restriction::Ceiling, team.ceiling_access()),
                (Restriction::Team, &team.access),
                (Restriction::Key, key.access()),
                (Restriction::User, user),
            ],
        }
    }

    /// Returns the levels of a team without a key.
    pub fn of_team(organization: &'p Organization, team: &'p Team) -> Self {
        AccessChain {
            organization: &organization.access,
            restrictions: [
                (Restriction::Ceiling, team.ceiling_access()),
                (Restriction::Team, &team.access),
                (Restriction::Key, &INHERIT),
                (Restriction::User, &INHERIT),
            ],
        }
    }

    /// Returns the levels of a member of a team, without a key.
    pub fn of_member(organization: &'p Organization, team: &'p Team, user: &'p User) -> Self {
        AccessChain {
            organization: &organization.access,
            restrictions: [
                (Restriction::Ceiling, team.ceiling_access()),
                (Restriction::Team, &team.access),
                (Restriction::Key, &INHERIT),
                (Restriction::User, &user.access),
            ],
        }
    }

    /// Decides about a target.
    pub fn reach(&self, id: TargetId, target: &Target) -> AccessDecision {
        let Some(granted_by) = self.organization.has(id, target) else {
            return AccessDecision::NotGranted;
        };
        for (level, scope) in self.restrictions {
            if let AccessScope::Restrict(selection) = scope
                && selection.has(id, target).is_none()
            {
                return AccessDecision::RefusedBy(level);
            }
        }
        AccessDecision::Granted(granted_by)
    }

    /// Returns all targets that can be called, in the order of the catalog.
    pub fn targets(self, policy: &'p Policy) -> impl Iterator<Item = (TargetId, &'p Target)> {
        let chain = self;
        policy
            .targets
            .iter()
            .map(|(position, _, target)| (TargetId(position), target))
            .filter(move |(id, target)| chain.reach(*id, target).is_granted())
    }
}

impl TargetSet {
    /// Returns the reason that the selection contains a target. `None` if it does not.
    pub fn has(&self, id: TargetId, target: &Target) -> Option<GrantedBy> {
        if self.targets.binary_search(&id).is_ok() {
            return Some(GrantedBy::Name);
        }
        if let Some(group) = target.groups.iter().find(|group| self.groups.binary_search(group).is_ok()) {
            return Some(GrantedBy::Group(*group));
        }
        self.all.then_some(GrantedBy::Everything)
    }
}

impl AccessScope {
    /// Returns true if the scope allows a target that the level above allows.
    pub(crate) fn allows(&self, id: TargetId, target: &Target) -> bool {
        match self {
            AccessScope::Inherit => true,
            AccessScope::Restrict(selection) => selection.has(id, target).is_some(),
        }
    }
}

impl Team {
    /// Returns the access of the team's ceiling.
    pub fn ceiling_access(&self) -> &AccessScope {
        self.ceiling.as_ref().map_or(&INHERIT, |ceiling| &ceiling.access)
    }

    /// Returns true if the team's ceiling allows a group, or at least one target of it.
    pub(crate) fn ceiling_allows_group(&self, policy: &Policy, group: GroupId) -> bool {
        match self.ceiling_access() {
            AccessScope::Inherit => true,
            AccessScope::Restrict(selection) => {
                let has = |(position, _, target): (u32, &str, &Target)| {
                    target.groups.contains(&group) && selection.has(TargetId(position), target).is_some()
                };
                selection.groups.contains(&group) || policy.targets.iter().any(has)
            }
        }
    }
}

impl Organization {
    /// Returns true if the organization grants a group, or at least one target of it.
    pub(crate) fn grants_group(&self, policy: &Policy, group: GroupId) -> bool {
        self.access.groups.contains(&group)
            || policy.targets.iter().any(|(position, _, target)| {
                target.groups.contains(&group) && self.access.has(TargetId(position), target).is_some()
            })
    }
}

/// Returns the role of a user among members.
pub(crate) fn role_of<R: Copy>(members: &[(UserId, R)], user: UserId) -> Option<R> {
    let at = members.binary_search_by_key(&user, |(member, _)| *member).ok()?;
    members.get(at).map(|(_, role)| *role)
}
