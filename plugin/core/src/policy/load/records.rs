//! The records of a policy document. The field comments are the descriptions in the published JSON Schema and OpenAPI.

use crate::json::node::Node;
use crate::money::Period;
use crate::policy::diagnostic::Diagnostics;
use crate::policy::load::prices::PriceRecord;
use crate::policy::load::record::{choice, record};
use crate::policy::load::value::*;
use crate::policy::model::{
    Abandoned, CostSource, Mode, OrganizationRole, State, TeamRole, Unpriced, UsageChunk,
};
use crate::quota::{Limits, windows};
use crate::secret::api_key::Digest;
#[cfg(feature = "schema")]
use alloc::format;

choice!(State, "`active` or `blocked`", "active" => State::Active, "blocked" => State::Blocked);
choice!(Mode, "`enforce` or `shadow`", "enforce" => Mode::Enforce, "shadow" => Mode::Shadow);
choice!(Unpriced, "`deny` or `allow`", "deny" => Unpriced::Deny, "allow" => Unpriced::Allow);
choice!(Abandoned, "`seen` or `reserved`", "seen" => Abandoned::Seen, "reserved" => Abandoned::Reserved);
choice!(CostSource, "`priced` or `reported`", "priced" => CostSource::Priced, "reported" => CostSource::Reported);
choice!(UsageChunk, "`add` or `never`", "add" => UsageChunk::Add, "never" => UsageChunk::Never);
choice!(Period, "`hour`, `day`, `week`, `month` or `lifetime`",
    "hour" => Period::Hour, "day" => Period::Day, "week" => Period::Week, "month" => Period::Month,
    "lifetime" => Period::Lifetime);
choice!(OrganizationRole, "`org_owner`, `org_admin`, `org_billing`, `org_auditor` or `org_member`",
    "org_owner" => OrganizationRole::Owner, "org_admin" => OrganizationRole::Admin,
    "org_billing" => OrganizationRole::Billing, "org_auditor" => OrganizationRole::Auditor,
    "org_member" => OrganizationRole::Member);
choice!(TeamRole, "`team_admin`, `team_developer` or `team_viewer`",
    "team_admin" => TeamRole::Admin, "team_developer" => TeamRole::Developer, "team_viewer" => TeamRole::Viewer);

/// The access mode of a team, a user or a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// Everything that the level above allows.
    #[default]
    Inherit,
    /// Only the selected part of what the level above allows.
    Restrict,
}
choice!(AccessMode, "`inherit` or `restrict`", "inherit" => AccessMode::Inherit, "restrict" => AccessMode::Restrict);

/// The only role that a user record can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformAdmin;
choice!(PlatformAdmin, "`platform_admin`", "platform_admin" => PlatformAdmin);

record! {
    /// A target of the catalog.
    TargetRecord {
        /// Access groups that the target belongs to.
        access_groups: Indexed<GroupName>,
        /// Maximum number of input tokens that the model reads. It caps the input tokens reserved for a call, and is reserved for
        /// a call whose input is not entirely in its body.
        max_input_tokens: Count,
        /// Maximum number of output tokens that the model generates. It caps the output tokens reserved for a call, and is reserved
        /// for a request that sets no maximum itself.
        max_output_tokens: Count,
        /// Price of the target. Without a price, `unpriced` decides about calls that count against a budget.
        price: PriceRecord,
        /// The source of a call's cost. `priced`: the usage and the price of the target. `reported`: the cost that the provider
        /// reports in its usage, if it does; the price is what is reserved. Default: `priced`.
        cost: CostSource,
        /// `add`: the usage of a stream is requested (`stream_options`) if its client does not and a token limit or a budget
        /// applies, and removed from the response. `never`: the request stays as it is, for an upstream that rejects
        /// `stream_options`; the estimate is charged. Default: `add`.
        usage_chunk: UsageChunk,
        /// The charge of a call whose client leaves before the end of the response. `seen`: the input and the output that was
        /// seen. `reserved`: what was reserved, for a provider that completes and bills the call. Default: `seen`.
        abandoned: Abandoned,
        /// `true` for a model that reasons before it answers and does not show it: a call whose client leaves is charged up to 25,000
        /// tokens, within the reservation, on top of the output that was seen. Default: `false`.
        reasoning: bool,
    }
}
record! {
    /// The access that an organization grants.
    GrantRecord {
        /// Targets by name; `*` grants the whole catalog.
        targets: Indexed<TargetName>,
        /// Access groups: every target in one of them, including targets added later.
        access_groups: Indexed<GroupName>,
    }
}
record! {
    /// The access of a team, a user or a key.
    AccessRecord {
        /// `inherit`: everything that the level above allows. `restrict`: only the targets and groups selected here.
        mode!required: AccessMode,
        /// Targets by name. Only with `restrict`.
        targets: Indexed<TargetName>,
        /// Access groups. Only with `restrict`.
        access_groups: Indexed<GroupName>,
    }
}
macro_rules! limit_form {
    (Minute) => {
        SlidingLimit
    };
    (Hour) => {
        SlidingLimit
    };
    (Day) => {
        DailyLimit
    };
}

macro_rules! limits_record {
    ($($(#[doc = $doc:literal])* $variant:ident { $field:ident, $code:literal, $unit:ident, $span:ident })*) => {
        record! {
            /// Rate limits. A limit that is left out is not enforced.
            LimitsRecord {
                $($(#[doc = $doc])* $field: limit_form!($span),)*
            }
        }

        impl From<LimitsRecord> for Limits {
            fn from(record: LimitsRecord) -> Limits {
                Limits { $($field: record.$field.map(|limit| limit.0),)* }
            }
        }
    };
}
windows!(limits_record!);

record! {
    /// A budget.
    BudgetRecord {
        /// Maximum spend in a period. `"0"` rejects every call.
        max!required: Dollars,
        /// Spend above which responses carry a warning. It never rejects a call.
        soft: Dollars,
        /// Period after which the budget starts over, on the UTC calendar (weeks start on Monday). Default: `lifetime`.
        period: Present<Period>,
    }
}
impl BudgetRecord {
    /// Returns the period, `lifetime` by default. `None` if the document has an invalid one.
    pub fn period(&self) -> Option<Period> {
        self.period.as_ref().map_or(Some(Period::default()), |given| given.0)
    }
}

record! {
    /// An organization.
    OrganizationRecord {
        /// Display name.
        name!required: DisplayText,
        /// Access that the organization grants. Teams, users and keys cannot exceed it.
        access!required: GrantRecord,
        /// Limits of the organization as a whole.
        limits: LimitsRecord,
        /// Budget of the organization as a whole.
        budget: BudgetRecord,
        /// Limits of single targets, by target name.
        target_limits: Map<LimitsRecord>,
        /// Role of each member, by user id.
        members: Map<Present<OrganizationRole>>,
        /// `blocked`: every key of the organization is rejected. Default: `active`.
        state: State,
        /// Number that tells this record from an earlier one of the same id, set by the management API. Counters of one are
        /// not those of the other.
        created: Count,
    }
}
record! {
    /// The self-service policy of a team.
    SelfServiceRecord {
        /// `true`: members may create keys for themselves.
        enabled!required: bool,
        /// Maximum number of active keys of one member in this team.
        max_keys_per_user: Small,
        /// Maximum budget of a self-service key.
        budget_ceiling: Dollars,
        /// `true`: a self-service key must have an expiry date.
        require_expiry: bool,
        /// Maximum number of days until a self-service key expires.
        max_expiry_days: Small,
    }
}
record! {
    /// A member of a team, with limits or a budget of its own.
    TeamMemberRecord {
        /// Role of the member.
        role!required: TeamRole,
        /// Limits of this member, within those of the team. Each replaces the one in `member_limits`.
        limits: LimitsRecord,
        /// Budget of this member, instead of `member_budget`.
        budget: BudgetRecord,
    }
}

/// A member of a team: its role, or a record with the role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TeamMember(pub TeamMemberRecord);

impl FromNode for TeamMember {
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        if matches!(node, Node::Object(_)) {
            return TeamMemberRecord::read(node, report).map(TeamMember);
        }
        let role = TeamRole::read(node, report)?;
        Some(TeamMember(TeamMemberRecord { role: Some(role), ..TeamMemberRecord::default() }))
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [TeamRole::schema(), TeamMemberRecord::schema()] })
    }
}
record! {
    /// Bounds that the administrators of the organization set for a team, above those of its own administrators. The tighter of
    /// both holds.
    CeilingRecord {
        /// Limits of the team as a whole. A window that the team does not limit has this limit.
        limits: LimitsRecord,
        /// Budget of the team as a whole. A budget of the team must have the same period.
        budget: BudgetRecord,
        /// Access within what the organization grants. Default: inherit.
        access: AccessRecord,
    }
}
record! {
    /// A team.
    TeamRecord {
        /// Organization that the team belongs to.
        organization!required: Id,
        /// Display name.
        name!required: DisplayText,
        /// Access within what the organization grants. Default: inherit.
        access: AccessRecord,
        /// Limits of the team as a whole, within those of its organization.
        limits: LimitsRecord,
        /// Budget of the team as a whole.
        budget: BudgetRecord,
        /// Limits of single targets, by target name.
        target_limits: Map<LimitsRecord>,
        /// Limits of each member.
        member_limits: LimitsRecord,
        /// Budget of each member.
        member_budget: BudgetRecord,
        /// Self-service policy: which keys members may create themselves. Default: disabled.
        self_service: SelfServiceRecord,
        /// Role of each member, by user id; or an object with the role, and limits or a budget of this member.
        members: Map<Present<TeamMember>>,
        /// `blocked`: every key of the team is rejected. Default: `active`.
        state: State,
        /// `shadow`: violations are recorded, and the requests pass. Default: `enforce`.
        mode: Mode,
        /// Ceiling of the team's limits, budget and access, which only administrators of the organization set.
        ceiling: CeilingRecord,
        /// Number that tells this record from an earlier one of the same id, set by the management API. Counters of one are
        /// not those of the other.
        created: Count,
    }
}
record! {
    /// A person.
    UserRecord {
        /// Display name.
        name!required: DisplayText,
        /// Access of this user's keys within what their teams allow. Default: inherit.
        access: AccessRecord,
        /// Limits of all keys of the user together, counted for each organization separately.
        limits: LimitsRecord,
        /// Budget of all keys of the user together, counted for each organization separately.
        budget: BudgetRecord,
        /// Digests of the bearer tokens that sign the user in at the management API.
        tokens: alloc::vec::Vec<Digest>,
        /// Platform-wide role. Roles in organizations and teams are in their `members`.
        role: PlatformAdmin,
        /// Number that tells this record from an earlier one of the same id, set by the management API. Counters of one are
        /// not those of the other.
        created: Count,
    }
}
record! {
    /// An owner of keys that is not a person.
    ServiceAccountRecord {
        /// Team that the service account belongs to.
        team!required: Id,
        /// Display name.
        name!required: DisplayText,
        /// `blocked`: every key of the service account is rejected. Default: `active`.
        state: State,
        /// Number that tells this record from an earlier one of the same id, set by the management API. Counters of one are
        /// not those of the other.
        created: Count,
    }
}
record! {
    /// The previous secret of a rotated key.
    PreviousRecord {
        /// Digest of the previous secret.
        digest!required: Digest,
        /// End of the grace period, in which the previous secret still works.
        until!required: DateTime,
    }
}
record! {
    /// An API key. Only the digest of its secret is stored.
    KeyRecord {
        /// Team that the key belongs to.
        team!required: Id,
        /// User or service account that owns the key. Default: the team itself.
        owner: OwnerName,
        /// Display name.
        name: DisplayText,
        /// Digest of the key as the client sends it.
        digest!required: Digest,
        /// Previous secret of a rotated key.
        previous: PreviousRecord,
        /// Last characters of the secret, to recognize the key by.
        hint: DisplayText,
        /// Access within what the team allows. Default: inherit.
        access: AccessRecord,
        /// Limits of the key.
        limits: LimitsRecord,
        /// Budget of the key.
        budget: BudgetRecord,
        /// Time from which the key is rejected. Default: it does not expire.
        expires_at: DateTime,
        /// `blocked`: the key is rejected. Default: `active`.
        state: State,
        /// `true`: a self-service key. Its cost also counts against the owner's self-service budget in the team.
        self_service: bool,
        /// Number that tells this record from an earlier one of the same id, set by the management API. Counters of one are
        /// not those of the other.
        created: Count,
    }
}
