//! The index a VM holds: every name resolved, nothing kept of the text.

use crate::secret::api_key::Digest;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::OnceCell;

use crate::counters::RecordKey;
use crate::money::{Budget, Price};
use crate::quota::Limits;
use crate::time::Timestamp;

macro_rules! index_types {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);
    )*};
}

index_types! {
    /// Position of a target in [`Policy::targets`](super::Policy::targets).
    TargetId
    /// An access group; its name is in [`Policy::groups`](super::Policy::groups).
    GroupId
    /// Position of an organization.
    OrganizationId
    /// Position of a team.
    TeamId
    /// Position of a user.
    UserId
    /// Position of a service account.
    ServiceAccountId
    /// Position of a key.
    KeyId
}

/// Whether a principal may be used at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// In use.
    #[default]
    Active,
    /// Refused at once.
    Blocked,
}

/// What a refusal does to the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is recorded and passes.
    Shadow,
}

/// Targets and groups somebody selected. Both lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetSet {
    /// `"*"`: the whole catalogue, also what joins it later (organizations only).
    pub all: bool,
    /// Targets named one by one.
    pub targets: Box<[TargetId]>,
    /// Groups: all their members, present and future.
    pub groups: Box<[GroupId]>,
}

/// The access mode of a team, a user or a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessScope {
    /// Whatever the level above has.
    #[default]
    Inherit,
    /// Of what the level above has, only this.
    Restrict(Box<TargetSet>),
}

/// Limits and budget of one principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Limits of the principal as a whole.
    pub limits: Limits,
    /// Limits of single targets, counted within this principal. Sorted by target.
    pub target_limits: Box<[(TargetId, Limits)]>,
    /// Its budget.
    pub budget: Option<Budget>,
    /// Where it is counted, if that is one place.
    pub record: CachedRecordKey,
}

/// The name of a cell, made when it is first asked for and kept with the record, since every request needs it. A record
/// that is replaced begins without; no two differ by it.
#[derive(Clone, Debug, Default)]
pub struct CachedRecordKey(OnceCell<(u64, RecordKey)>);

impl CachedRecordKey {
    /// The name of this id below `level`.
    pub fn name(&self, level: &RecordKey, id: &str) -> RecordKey {
        let make = || level.below(&[id]);
        let (of, name) = self.0.get_or_init(|| (level.fingerprint(), make()));
        // Of a gateway with another prefix it is another one.
        if *of == level.fingerprint() { name.clone() } else { make() }
    }
}

impl PartialEq for CachedRecordKey {
    fn eq(&self, _: &CachedRecordKey) -> bool {
        true
    }
}

impl Eq for CachedRecordKey {}

/// A role in an organization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OrganizationRole {
    /// `org_owner`
    Owner,
    /// `org_admin`
    Admin,
    /// `org_billing`
    Billing,
    /// `org_auditor`
    Auditor,
    /// `org_member`
    #[default]
    Member,
}

/// A role in a team.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TeamRole {
    /// `team_admin`
    Admin,
    /// `team_developer`
    Developer,
    /// `team_viewer`
    #[default]
    Viewer,
}

/// Something that can be called: a model, or a route an operator names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The public name a caller asks for.
    pub name: Rc<str>,
    /// The groups that carry it, sorted.
    pub groups: Box<[GroupId]>,
    /// Upper bound of the input where the body does not show it (tokens).
    pub max_input_tokens: Option<u64>,
    /// Output bound where the request does not set one (tokens).
    pub max_output_tokens: Option<u64>,
    /// What it costs.
    pub price: Option<Price>,
}

/// The tenant; its access is a ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its id, the policy's key for it.
    pub id: Rc<str>,
    /// For people.
    pub name: Box<str>,
    /// What it grants.
    pub access: TargetSet,
    /// `None`: nothing is limited, there is no cell.
    pub allowance: Option<Box<Quota>>,
    /// Sorted by user.
    pub members: Vec<(UserId, OrganizationRole)>,
    /// Blocked organizations refuse all their keys.
    pub state: State,
}

/// The working unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// Its id, the policy's key for it.
    pub id: Rc<str>,
    /// The one it belongs to.
    pub organization: OrganizationId,
    /// For people.
    pub name: Box<str>,
    /// Which part of the organization's access it has.
    pub access: AccessScope,
    /// `None`: nothing is limited, there is no cell.
    pub allowance: Option<Box<Quota>>,
    /// The allowance of each single member.
    pub member_allowance: Option<Box<Quota>>,
    /// `None`: off.
    pub self_service: Option<Box<SelfService>>,
    /// Sorted by user.
    pub members: Vec<(UserId, TeamRole)>,
    /// Blocked teams refuse all their keys.
    pub state: State,
    /// Shadow: refusals are recorded only.
    pub mode: Mode,
}

/// What a team's developers may do without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfService {
    /// Whether members may create keys at all.
    pub enabled: bool,
    /// Active keys a member may own in this team.
    pub max_keys_per_user: Option<u32>,
    /// The largest budget of such a key.
    pub budget_ceiling: Option<crate::money::Pico>,
    /// Whether such a key must expire.
    pub require_expiry: bool,
    /// How far away the expiry may lie, in days.
    pub max_expiry_days: Option<u32>,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id, the policy's key for it.
    pub id: Rc<str>,
    /// For people.
    pub name: Box<str>,
    /// A user may be restricted too.
    pub access: AccessScope,
    /// Counted for each organization apart.
    pub allowance: Option<Box<Quota>>,
    /// Digests of the tokens that sign it in at the management API.
    pub tokens: Box<[Digest]>,
    /// Role `platform_admin`.
    pub platform_admin: bool,
}

/// An owner of keys that is not a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its id, the policy's key for it.
    pub id: Rc<str>,
    /// The team it works for.
    pub team: TeamId,
    /// For people.
    pub name: Box<str>,
    /// Blocked accounts refuse all their keys.
    pub state: State,
}

/// Who owns a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The team as such.
    None,
    /// A person.
    User(UserId),
    /// A service account.
    ServiceAccount(ServiceAccountId),
}

/// An API key; the secret itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its public id. Cells and logs name it; a rotation keeps it.
    pub id: Rc<str>,
    /// The team that owns it.
    pub team: TeamId,
    /// Whose key it is.
    pub owner: Owner,
    /// Digest of the secret.
    pub digest: Digest,
    /// `None` in nearly all keys, so that a hundred thousand of them stay small.
    pub more: Option<Box<KeyDetails>>,
    /// From this moment on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Blocked keys are refused.
    pub state: State,
}

/// The rarer facts of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDetails {
    /// For people.
    pub name: Option<Box<str>>,
    /// The last characters of the secret, for people.
    pub hint: Option<Box<str>>,
    /// The rotated secret, and when it stops working.
    pub previous: Option<(Digest, Timestamp)>,
    /// Which part of the team's access it has.
    pub access: AccessScope,
    /// `None`: nothing is limited, there is no cell.
    pub allowance: Option<Box<Quota>>,
}

/// What happens to a call that a budget governs and that has no price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unpriced {
    /// 403 `unpriced_target`.
    #[default]
    Deny,
    /// It costs nothing.
    Allow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_name_is_not_taken_for_that_of_another_gateway() {
        let known = CachedRecordKey::default();
        for prefix in ["one/1/", "two/1/", "one/1/"] {
            let name = known.name(&RecordKey::new(prefix, &["team"]), "search");
            assert_eq!(name, RecordKey::new(prefix, &["team", "search"]));
        }
    }
}
