//! The entities of a policy, every name resolved to a position.

use crate::secret::api_key::Digest;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::num::NonZeroU64;

use crate::counters::RecordKey;
use crate::money::{Budget, Period, Pico, Price};
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
    /// Position of an access group in [`Policy::groups`](super::Policy::groups).
    GroupId
    /// Position of an organization in [`Policy::organizations`](super::Policy::organizations).
    OrganizationId
    /// Position of a team in [`Policy::teams`](super::Policy::teams).
    TeamId
    /// Position of a user in [`Policy::users`](super::Policy::users).
    UserId
    /// Position of a service account in [`Policy::service_accounts`](super::Policy::service_accounts).
    ServiceAccountId
    /// Position of a key in [`Policy::keys`](super::Policy::keys).
    KeyId
}

/// The state of a principal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// In use.
    #[default]
    Active,
    /// Requests are rejected.
    Blocked,
}

/// The effect of a violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The request is rejected.
    #[default]
    Enforce,
    /// The violation is recorded, and the request passes.
    Shadow,
}

/// A selection of targets and groups. Both lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetSet {
    /// `"*"`: the whole catalog, including targets added later. Organizations only.
    pub all: bool,
    /// Targets selected by name.
    pub targets: Box<[TargetId]>,
    /// Groups: all their targets, including those added later.
    pub groups: Box<[GroupId]>,
}

/// The access mode of a team, a user or a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessScope {
    /// Everything that the level above allows.
    #[default]
    Inherit,
    /// Only this part of what the level above allows.
    Restrict(Box<TargetSet>),
}

/// Limits and budget of one principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Limits of the principal as a whole.
    pub limits: Limits,
    /// Limits of single targets, counted within this principal. Sorted by target.
    pub target_limits: Box<[(TargetId, Limits)]>,
    /// Budget of the principal.
    pub budget: Option<Budget>,
    /// Key of the counter record, if there is only one.
    pub record: CachedRecordKey,
}

/// The number that tells a record from an earlier one of the same id; `None` for a record that has none.
pub type Created = Option<NonZeroU64>;

/// Returns the name of a record in the names of counters, which no earlier or later record of the same id has.
pub fn instance(id: &str, created: Created) -> Cow<'_, str> {
    match created {
        None => Cow::Borrowed(id),
        // No id contains the separator.
        Some(created) => Cow::Owned(format!("{id}~{created}")),
    }
}

/// The key of a counter record, computed on first use and cached, because every request needs it. All values compare
/// equal.
#[derive(Clone, Debug, Default)]
pub struct CachedRecordKey(OnceCell<(u64, RecordKey)>);

impl CachedRecordKey {
    /// Returns the key of this record below `level`.
    pub fn name(&self, level: &RecordKey, id: &str, created: Created) -> RecordKey {
        let make = || level.below(&[&instance(id, created)]);
        let (of, name) = self.0.get_or_init(|| (level.fingerprint(), make()));
        // A gateway with another prefix has another key.
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

/// A callable target: a model, or a route named by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Public name.
    pub name: Rc<str>,
    /// Groups that the target belongs to, sorted.
    pub groups: Box<[GroupId]>,
    /// Upper bound of the input in tokens.
    pub max_input_tokens: Option<u64>,
    /// Upper bound of the output in tokens.
    pub max_output_tokens: Option<u64>,
    /// Price, if there is one.
    pub price: Option<Price>,
    /// Source of a call's cost.
    pub cost: CostSource,
    /// Request for usage in streams.
    pub usage_chunk: UsageChunk,
    /// Charge of a call that ends before its response does.
    pub abandoned: Abandoned,
    /// The model generates output that the response does not show.
    pub reasoning: bool,
}

/// The charge of a call without a reported usage that ends before its response does, because its client left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Abandoned {
    /// The estimated input, and the output that was seen.
    #[default]
    Seen,
    /// The whole reservation: the provider completes and bills such calls.
    Reserved,
}

/// The source of a call's cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CostSource {
    /// The usage and the price of the target.
    #[default]
    Priced,
    /// The cost that the provider reports, if it does.
    Reported,
}

/// The treatment of a stream whose client does not request its usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageChunk {
    /// Usage is requested if a token limit or a budget applies, and removed from the response.
    #[default]
    Add,
    /// The request is forwarded as it is.
    Never,
}

/// A tenant. Its access bounds that of everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Id.
    pub id: Rc<str>,
    /// Display name.
    pub name: Box<str>,
    /// Access granted to everything below.
    pub access: TargetSet,
    /// Limits and budget. `None`: nothing is limited, and there is no counter record.
    pub allowance: Option<Box<Quota>>,
    /// Members, sorted by user.
    pub members: Vec<(UserId, OrganizationRole)>,
    /// Blocked: every key of the organization is rejected.
    pub state: State,
    /// Number that tells the record from an earlier one of the same id.
    pub created: Created,
}

/// A team of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// Id.
    pub id: Rc<str>,
    /// Organization that the team belongs to.
    pub organization: OrganizationId,
    /// Display name.
    pub name: Box<str>,
    /// Access within that of the organization.
    pub access: AccessScope,
    /// Limits and budget that hold: the tighter ones of the team's own and its ceiling. `None`: nothing is limited, and there
    /// is no counter record.
    pub allowance: Option<Box<Quota>>,
    /// Ceiling that the administrators of the organization set.
    pub ceiling: Option<Box<TeamCeiling>>,
    /// Limits and budget of each member.
    pub member_allowance: Option<Box<Quota>>,
    /// Self-service policy. `None`: disabled.
    pub self_service: Option<Box<SelfService>>,
    /// Members, sorted by user.
    pub members: Vec<(UserId, TeamRole)>,
    /// The members with limits or budgets of their own.
    pub member_overrides: MemberOverrides,
    /// Blocked: every key of the team is rejected.
    pub state: State,
    /// Effect of violations.
    pub mode: Mode,
    /// Number that tells the record from an earlier one of the same id.
    pub created: Created,
}

/// Limits or a budget of one member of a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberOverride {
    /// The member's own limits and budget.
    pub own: Quota,
    /// Those in force: the member's own, and the team's for each member where it has none.
    pub in_force: Quota,
}

/// Limits and budgets of single members, sorted by user.
pub type MemberOverrides = Vec<(UserId, Box<MemberOverride>)>;

impl MemberOverride {
    /// Combines a member's own quota with that of each member.
    pub fn new(own: Quota, of_each: Option<&Quota>) -> Self {
        let limits = of_each.map_or(own.limits, |of_each| own.limits.or(&of_each.limits));
        let budget = own.budget.or_else(|| of_each?.budget);
        MemberOverride { in_force: Quota { limits, budget, ..own.clone() }, own }
    }
}

/// The ceiling of a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamCeiling {
    /// Limits of the team as a whole.
    pub limits: Limits,
    /// Budget of the team as a whole.
    pub budget: Option<Budget>,
    /// Access of the team, within that of the organization.
    pub access: AccessScope,
    /// Limits and budget that the team itself sets.
    pub own: Option<Box<Quota>>,
}

impl TeamCeiling {
    /// Returns the tighter of the team's own limits and budget and those of the ceiling.
    pub(super) fn tighter(&self) -> Option<Box<Quota>> {
        let own = self.own.as_deref();
        let limits = self.limits.tighter(&own.map_or(Limits::default(), |own| own.limits));
        let budget = match (own.and_then(|own| own.budget), self.budget) {
            (Some(own), Some(ceiling)) if own.period == ceiling.period => {
                let max = own.max.min(ceiling.max);
                let soft = [own.soft, ceiling.soft].into_iter().flatten().min();
                Some(Budget { max, soft: soft.filter(|soft| *soft < max), period: own.period })
            }
            // Different periods are an error of the document.
            (Some(own), _) => Some(own),
            (None, ceiling) => ceiling,
        };
        let target_limits = own.map_or_else(Box::default, |own| own.target_limits.clone());
        Quota { limits, target_limits, budget, record: CachedRecordKey::default() }.boxed()
    }
}

impl Team {
    /// Returns a member's own limits and budget, if it has any.
    pub fn member_override(&self, user: UserId) -> Option<&MemberOverride> {
        let at = self.member_overrides.binary_search_by_key(&user, |(member, _)| *member).ok()?;
        self.member_overrides.get(at).map(|(_, own)| &**own)
    }

    /// Returns the limits and the budget of a member: its own, or those of each member.
    pub fn member_quota(&self, user: UserId) -> Option<&Quota> {
        let own = self.member_override(user).map(|own| &own.in_force);
        own.or(self.member_allowance.as_deref())
    }

    /// Returns the limits and budget that the team itself sets.
    pub fn own_allowance(&self) -> Option<&Quota> {
        match &self.ceiling {
            Some(ceiling) => ceiling.own.as_deref(),
            None => self.allowance.as_deref(),
        }
    }
}

/// The self-service policy of a team: which keys members may create themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfService {
    /// True if members may create keys.
    pub enabled: bool,
    /// Maximum number of active keys of a member in this team.
    pub max_keys_per_user: Option<u32>,
    /// Maximum budget of such a key.
    pub budget_ceiling: Option<Pico>,
    /// True if such a key must have an expiry date.
    pub require_expiry: bool,
    /// Maximum time until such a key expires, in days.
    pub max_expiry_days: Option<u32>,
}

impl SelfService {
    /// Returns the budget of all self-service keys of one person in the team, revoked ones included, for keys whose own
    /// budget has this period. `None` if the policy bounds their number or budget only.
    pub fn budget(&self, period: Period) -> Option<Quota> {
        let max = self.budget_ceiling?.0.saturating_mul(u128::from(self.max_keys_per_user?));
        Some(Quota {
            limits: Limits::default(),
            target_limits: Box::default(),
            budget: Some(Budget { max: Pico(max), soft: None, period }),
            record: CachedRecordKey::default(),
        })
    }
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Id.
    pub id: Rc<str>,
    /// Display name.
    pub name: Box<str>,
    /// Access within that of the team of a key.
    pub access: AccessScope,
    /// Limits and budget, counted for each organization separately.
    pub allowance: Option<Box<Quota>>,
    /// Digests of the tokens for the management API.
    pub tokens: Box<[Digest]>,
    /// True for the role `platform_admin`.
    pub platform_admin: bool,
    /// Number that tells the record from an earlier one of the same id.
    pub created: Created,
}

/// An owner of keys that is not a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Id.
    pub id: Rc<str>,
    /// Team that the service account belongs to.
    pub team: TeamId,
    /// Display name.
    pub name: Box<str>,
    /// Blocked: every key of the service account is rejected.
    pub state: State,
    /// Number that tells the record from an earlier one of the same id.
    pub created: Created,
}

/// The owner of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The team itself.
    None,
    /// A user.
    User(UserId),
    /// A service account.
    ServiceAccount(ServiceAccountId),
}

/// An API key. Only the digest of its secret is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Public id, for counters and logs. A rotation does not change it.
    pub id: Rc<str>,
    /// Team that the key belongs to.
    pub team: TeamId,
    /// Owner.
    pub owner: Owner,
    /// Digest of the secret.
    pub digest: Digest,
    /// Less common fields. `None` for nearly all keys, to keep a hundred thousand of them small.
    pub more: Option<Box<KeyDetails>>,
    /// Time from which the key is rejected.
    pub expires_at: Option<Timestamp>,
    /// Blocked: the key is rejected.
    pub state: State,
}

/// The less common fields of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDetails {
    /// Display name.
    pub name: Option<Box<str>>,
    /// Last characters of the secret, to recognize the key by.
    pub hint: Option<Box<str>>,
    /// Digest of the previous secret of a rotated key, and the end of its grace period.
    pub previous: Option<(Digest, Timestamp)>,
    /// Access within that of the team.
    pub access: AccessScope,
    /// Limits and budget. `None`: nothing is limited, and there is no counter record.
    pub allowance: Option<Box<Quota>>,
    /// True for a self-service key: it is also charged to the owner's self-service budget in the team.
    pub self_service: bool,
    /// Number that tells the key from an earlier one of the same id.
    pub created: Created,
}

/// The decision about a call that counts against a budget and whose target has no price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unpriced {
    /// Rejected: 403 `unpriced_target`.
    #[default]
    Deny,
    /// Admitted, at no cost.
    Allow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_record_key_is_not_used_for_another_prefix() {
        let known = CachedRecordKey::default();
        for prefix in ["one/1/", "two/1/", "one/1/"] {
            let name = known.name(&RecordKey::new(prefix, &["team"]), "search", None);
            assert_eq!(name, RecordKey::new(prefix, &["team", "search"]));
        }
    }
}
