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
pub struct Levels<'p> {
    organization: &'p Selection,
    narrower: [(Narrower, &'p Scope); 3],
}

/// A level that may restrict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrower {
    /// The key's team.
    Team,
    /// The key itself.
    Key,
    /// The key's user.
    User,
}

/// How a selection has a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// `"*"`.
    Everything,
    /// By its name.
    Name,
    /// By a group it carries.
    Group(GroupIx),
}

/// Whether a target can be called, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The organization grants it, and nothing below takes it away.
    Granted(Through),
    /// The organization does not grant it.
    NotGranted,
    /// Granted, and not in what this level selected.
    RefusedBy(Narrower),
}

impl Reach {
    /// Whether it can be called.
    pub fn is_granted(self) -> bool {
        matches!(self, Reach::Granted(_))
    }
}

static INHERIT: Scope = Scope::Inherit;

impl<'p> Levels<'p> {
    /// The levels of a key's request.
    pub fn new(organization: &'p Organization, team: &'p Team, key: &'p Key, user: Option<&'p User>) -> Self {
        let user = user.map_or(&INHERIT, |user| &user.access);
        Levels {
            organization: &organization.access,
            narrower: [(Narrower::Team, &team.access), (Narrower::Key, key.access()), (Narrower::User, user)],
        }
    }

    /// What a team as such may call.
    pub fn of_team(organization: &'p Organization, team: &'p Team) -> Self {
        Levels {
            organization: &organization.access,
            narrower: [(Narrower::Team, &team.access), (Narrower::Key, &INHERIT), (Narrower::User, &INHERIT)],
        }
    }

    /// What a member of a team may call through it.
    pub fn of_member(organization: &'p Organization, team: &'p Team, user: &'p User) -> Self {
        Levels {
            organization: &organization.access,
            narrower: [
                (Narrower::Team, &team.access),
                (Narrower::Key, &INHERIT),
                (Narrower::User, &user.access),
            ],
        }
    }

    /// Whether a target can be called, and why.
    pub fn reach(&self, ix: TargetIx, target: &Target) -> Reach {
        let Some(through) = self.organization.has(ix, target) else {
            return Reach::NotGranted;
        };
        for (level, scope) in self.narrower {
            if let Scope::Restrict(selection) = scope
                && selection.has(ix, target).is_none()
            {
                return Reach::RefusedBy(level);
            }
        }
        Reach::Granted(through)
    }

    /// Everything that can be called, in the catalogue's order.
    pub fn targets(self, policy: &'p Policy) -> impl Iterator<Item = (TargetIx, &'p Target)> {
        let levels = self;
        policy
            .targets
            .iter()
            .map(|(position, _, target)| (TargetIx(position), target))
            .filter(move |(ix, target)| levels.reach(*ix, target).is_granted())
    }
}

impl Selection {
    /// How this selection has a target, if it does.
    pub fn has(&self, ix: TargetIx, target: &Target) -> Option<Through> {
        if self.targets.binary_search(&ix).is_ok() {
            return Some(Through::Name);
        }
        if let Some(group) = target.groups.iter().find(|group| self.groups.binary_search(group).is_ok()) {
            return Some(Through::Group(*group));
        }
        self.all.then_some(Through::Everything)
    }
}
