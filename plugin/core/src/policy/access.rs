//! Effective access: one function, used by the call, by the model list and by every preview.
//!
//! ```text
//! E = organization's direct targets + members of its groups
//! for each of team, key, user that restricts:  E = E ∩ (its direct targets + members of its groups)
//! ```

use crate::policy::index::Policy;
use crate::policy::model::*;

/// The levels whose access meets in one request.
#[derive(Clone, Copy, Debug)]
pub struct AccessChain<'p> {
    organization: &'p TargetSet,
    narrower: [(Restriction, &'p AccessScope); 3],
}

/// A level that may restrict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// The key's team.
    Team,
    /// The key itself.
    Key,
    /// The key's user.
    User,
}

/// How a selection has a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantedBy {
    /// `"*"`.
    Everything,
    /// By its name.
    Name,
    /// By a group it carries.
    Group(GroupId),
}

/// Whether a target can be called, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessDecision {
    /// The organization grants it, and nothing below takes it away.
    Granted(GrantedBy),
    /// The organization does not grant it.
    NotGranted,
    /// Granted, and not in what this level selected.
    RefusedBy(Restriction),
}

impl AccessDecision {
    /// Whether it can be called.
    pub fn is_granted(self) -> bool {
        matches!(self, AccessDecision::Granted(_))
    }
}

static INHERIT: AccessScope = AccessScope::Inherit;

impl<'p> AccessChain<'p> {
    /// The levels of a key's request.
    pub fn new(organization: &'p Organization, team: &'p Team, key: &'p Key, user: Option<&'p User>) -> Self {
        let user = user.map_or(&INHERIT, |user| &user.access);
        AccessChain {
            organization: &organization.access,
            narrower: [
                (Restriction::Team, &team.access),
                (Restriction::Key, key.access()),
                (Restriction::User, user),
            ],
        }
    }

    /// What a team as such may call.
    pub fn of_team(organization: &'p Organization, team: &'p Team) -> Self {
        AccessChain {
            organization: &organization.access,
            narrower: [
                (Restriction::Team, &team.access),
                (Restriction::Key, &INHERIT),
                (Restriction::User, &INHERIT),
            ],
        }
    }

    /// What a member of a team may call through it.
    pub fn of_member(organization: &'p Organization, team: &'p Team, user: &'p User) -> Self {
        AccessChain {
            organization: &organization.access,
            narrower: [
                (Restriction::Team, &team.access),
                (Restriction::Key, &INHERIT),
                (Restriction::User, &user.access),
            ],
        }
    }

    /// Whether a target can be called, and why.
    pub fn reach(&self, ix: TargetId, target: &Target) -> AccessDecision {
        let Some(through) = self.organization.has(ix, target) else {
            return AccessDecision::NotGranted;
        };
        for (level, scope) in self.narrower {
            if let AccessScope::Restrict(selection) = scope
                && selection.has(ix, target).is_none()
            {
                return AccessDecision::RefusedBy(level);
            }
        }
        AccessDecision::Granted(through)
    }

    /// Everything that can be called, in the catalogue's order.
    pub fn targets(self, policy: &'p Policy) -> impl Iterator<Item = (TargetId, &'p Target)> {
        let levels = self;
        policy
            .targets
            .iter()
            .map(|(position, _, target)| (TargetId(position), target))
            .filter(move |(ix, target)| levels.reach(*ix, target).is_granted())
    }
}

impl TargetSet {
    /// How this selection has a target, if it does.
    pub fn has(&self, ix: TargetId, target: &Target) -> Option<GrantedBy> {
        if self.targets.binary_search(&ix).is_ok() {
            return Some(GrantedBy::Name);
        }
        if let Some(group) = target.groups.iter().find(|group| self.groups.binary_search(group).is_ok()) {
            return Some(GrantedBy::Group(*group));
        }
        self.all.then_some(GrantedBy::Everything)
    }
}
