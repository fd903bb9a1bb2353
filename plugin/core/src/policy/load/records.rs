//! The records of a policy document, as they are written.

use crate::money::Period;
use crate::policy::load::value::*;
use crate::policy::model::{Mode, OrganizationRole, State, TeamRole, Unpriced};
use crate::quota::{Limits, windows};
use crate::secret::api_key::Digest;
use crate::{choice, record};
#[cfg(feature = "schema")]
use alloc::format;

choice!(State, "`active` or `blocked`", "active" => State::Active, "blocked" => State::Blocked);
choice!(Mode, "`enforce` or `shadow`", "enforce" => Mode::Enforce, "shadow" => Mode::Shadow);
choice!(Unpriced, "`deny` or `allow`", "deny" => Unpriced::Deny, "allow" => Unpriced::Allow);
choice!(Period, "`hour`, `day`, `week`, `month` or `lifetime`",
    "hour" => Period::Hour, "day" => Period::Day, "week" => Period::Week, "month" => Period::Month,
    "lifetime" => Period::Lifetime);
choice!(OrganizationRole, "`org_owner`, `org_admin`, `org_billing`, `org_auditor` or `org_member`",
    "org_owner" => OrganizationRole::Owner, "org_admin" => OrganizationRole::Admin,
    "org_billing" => OrganizationRole::Billing, "org_auditor" => OrganizationRole::Auditor,
    "org_member" => OrganizationRole::Member);
choice!(TeamRole, "`team_admin`, `team_developer` or `team_viewer`",
    "team_admin" => TeamRole::Admin, "team_developer" => TeamRole::Developer, "team_viewer" => TeamRole::Viewer);

/// Whether a level narrows what it inherits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// It takes what the level above has.
    #[default]
    Inherit,
    /// It takes only what it selects.
    Restrict,
}
choice!(AccessMode, "`inherit` or `restrict`", "inherit" => AccessMode::Inherit, "restrict" => AccessMode::Restrict);

/// The one role a user record may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformAdmin;
choice!(PlatformAdmin, "`platform_admin`", "platform_admin" => PlatformAdmin);

record! {
    /// What a target costs.
    PriceRecord {
        /// Price of input tokens.
        input!required: PerMillion,
        /// Price of output tokens, reasoning included.
        output!required: PerMillion,
        /// Price of input tokens served from a cache; the input price if left out.
        cached_input: PerMillion,
        /// Price of input tokens written to a cache; the input price if left out.
        cache_write: PerMillion,
        /// Price of each call.
        request: PerCall,
    }
}
record! {
    /// A target of the catalogue.
    TargetRecord {
        /// The groups it carries.
        access_groups: Indexed<GroupName>,
        /// Most input tokens of a call whose body does not show its content.
        max_input_tokens: Count,
        /// Output tokens assumed where the request sets no maximum.
        max_output_tokens: Count,
        /// What it costs.
        price: PriceRecord,
    }
}
record! {
    /// What an organization grants.
    GrantRecord {
        /// Targets by name; `*` is the whole catalogue.
        targets: Indexed<TargetName>,
        /// Groups: all targets that carry one, also future ones.
        access_groups: Indexed<GroupName>,
    }
}
record! {
    /// What a team, a user or a key may call.
    AccessRecord {
        /// Whether it narrows what it inherits.
        mode!required: AccessMode,
        /// Targets by name, with `restrict`.
        targets: Indexed<TargetName>,
        /// Groups, with `restrict`.
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
            /// Limits; one that is left out is not enforced.
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
        /// Never more than this in a period; 0 blocks.
        max!required: Dollars,
        /// A warning above this; it never blocks.
        soft: Dollars,
        /// When it starts over, on the UTC calendar (weeks on Monday); `lifetime` if left out.
        period: Present<Period>,
    }
}
impl BudgetRecord {
    /// The period, also where it is left out; `None`: it is wrong.
    pub fn period(&self) -> Option<Period> {
        self.period.as_ref().map_or(Some(Period::default()), |given| given.0)
    }
}

record! {
    /// An organization.
    OrganizationRecord {
        /// For people.
        name!required: DisplayText,
        /// What it grants; nothing below it can exceed it.
        access!required: GrantRecord,
        /// Its limits.
        limits: LimitsRecord,
        /// Its budget.
        budget: BudgetRecord,
        /// Limits of single targets within it.
        target_limits: Map<LimitsRecord>,
        /// User to role.
        members: Map<Present<OrganizationRole>>,
        /// Blocked refuses all its keys.
        state: State,
    }
}
record! {
    /// What a team's developers may do without asking.
    SelfServiceRecord {
        /// Whether members may create keys.
        enabled!required: bool,
        /// Active keys of one member in this team.
        max_keys_per_user: Small,
        /// Largest budget of such a key.
        budget_ceiling: Dollars,
        /// Whether such a key must expire.
        require_expiry: bool,
        /// How far away its expiry may lie.
        max_expiry_days: Small,
    }
}
record! {
    /// A team.
    TeamRecord {
        /// The organization it belongs to.
        organization!required: Id,
        /// For people.
        name!required: DisplayText,
        /// What it may call, of what its organization grants.
        access: AccessRecord,
        /// Its limits, within its organization's.
        limits: LimitsRecord,
        /// Its budget.
        budget: BudgetRecord,
        /// Limits of single targets within it.
        target_limits: Map<LimitsRecord>,
        /// Limits of each single member.
        member_limits: LimitsRecord,
        /// Budget of each single member.
        member_budget: BudgetRecord,
        /// Keys without asking.
        self_service: SelfServiceRecord,
        /// User to role.
        members: Map<Present<TeamRole>>,
        /// Blocked refuses all its keys.
        state: State,
        /// Shadow records refusals and lets pass.
        mode: Mode,
    }
}
record! {
    /// A person.
    UserRecord {
        /// For people.
        name!required: DisplayText,
        /// What this person's keys may call.
        access: AccessRecord,
        /// Limits, in each organization apart.
        limits: LimitsRecord,
        /// Budget, in each organization apart.
        budget: BudgetRecord,
        /// Digests of the tokens that sign in at the management API.
        tokens: alloc::vec::Vec<Digest>,
        /// Role on the whole platform.
        role: PlatformAdmin,
    }
}
record! {
    /// An owner of keys that is not a person.
    ServiceAccountRecord {
        /// The team it works for.
        team!required: Id,
        /// For people.
        name!required: DisplayText,
        /// Blocked refuses all its keys.
        state: State,
    }
}
record! {
    /// The secret before the last rotation.
    PreviousRecord {
        /// Its digest.
        digest!required: Digest,
        /// When it stops working.
        until!required: DateTime,
    }
}
record! {
    /// An API key; the secret itself is nowhere.
    KeyRecord {
        /// The team that owns it.
        team!required: Id,
        /// Whose key it is.
        owner: OwnerName,
        /// For people.
        name: DisplayText,
        /// Digest of the secret.
        digest!required: Digest,
        /// The rotated secret.
        previous: PreviousRecord,
        /// The last characters of the secret, for people.
        hint: DisplayText,
        /// What it may call, of what its team may.
        access: AccessRecord,
        /// Its limits.
        limits: LimitsRecord,
        /// Its budget.
        budget: BudgetRecord,
        /// From this moment on it is refused.
        expires_at: DateTime,
        /// Blocked is refused.
        state: State,
    }
}
