//! What is known about a request, for access logs and metrics. Never a key, a digest or a body.

use alloc::borrow::Cow;
use alloc::rc::Rc;
use alloc::vec::Vec;

use smol_str::{SmolStr, format_smolstr};

use crate::auth::identity::Identity;
use crate::llm::usage::Usage;
use crate::money::Pico;
use crate::money::dollars;
use crate::quota::QuotaScope;
use crate::text::format::number;
use crate::time::Timestamp;

/// How a request was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decision {
    /// Not yet.
    #[default]
    Undecided,
    /// Sent on.
    Allowed,
    /// Refused here.
    Denied,
    /// Would have been refused, and was sent on.
    Shadowed,
    /// Sent on without a key: a public or unmatched route.
    Public,
    /// Answered by the gateway itself.
    Answered,
}

impl Decision {
    /// As logs and metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Decision::Undecided => "undecided",
            Decision::Allowed => "allowed",
            Decision::Denied => "denied",
            Decision::Shadowed => "shadowed",
            Decision::Public => "public",
            Decision::Answered => "answered",
        }
    }
}

/// What is known about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLogEntry {
    /// When it was decided; undecided: when something of its body came last, if any did.
    pub time: Option<Timestamp>,
    /// How.
    pub decision: Decision,
    /// The code of the refusal.
    pub reason: Option<Cow<'static, str>>,
    /// HTTP status of the answer; 0: none came.
    pub status: u16,
    /// Ids of those behind the key.
    pub organization: Option<Rc<str>>,
    /// The team's id.
    pub team: Option<Rc<str>>,
    /// The user's id.
    pub user: Option<Rc<str>>,
    /// The key's public id.
    pub key: Option<Rc<str>>,
    /// What was called.
    pub target: Option<Rc<str>>,
    /// The tokens of it, reported or (where `estimated`) seen.
    pub usage: Option<Usage>,
    /// What it cost.
    pub cost: Pico,
    /// Whether the cost rests on an estimate.
    pub estimated: bool,
    /// Whose budget is above its soft mark, with this request.
    pub over_soft_budget: Option<QuotaScope>,
    /// It passed although its limits could not be checked.
    pub uncounted: bool,
}

impl AccessLogEntry {
    /// Takes note of who asks.
    pub fn take_identity(&mut self, identity: &Identity<'_>) {
        self.organization = Some(Rc::clone(&identity.organization.id));
        self.team = Some(Rc::clone(&identity.team.id));
        self.user = identity.user.map(|user| Rc::clone(&user.id));
        self.key = Some(Rc::clone(&identity.key.id));
    }

    /// Organization, team, user, key: what the upstream is told.
    pub fn identity(&self) -> [Option<&str>; 4] {
        [&self.organization, &self.team, &self.user, &self.key].map(Option::as_deref)
    }

    /// Name and value of each field of the access log.
    pub fn fields(&self) -> Vec<(&'static str, SmolStr)> {
        let mut fields = Vec::with_capacity(13);
        if let Some(Timestamp(ms)) = self.time {
            fields.push(("tollgate.time", format_smolstr!("{}.{:03}", ms / 1_000, ms % 1_000)));
        }
        fields.push(("tollgate.decision", SmolStr::new_static(self.decision.name())));
        let texts = [
            ("tollgate.organization", &self.organization),
            ("tollgate.team", &self.team),
            ("tollgate.user", &self.user),
            ("tollgate.key", &self.key),
            ("tollgate.target", &self.target),
        ];
        fields.extend(
            texts.into_iter().filter_map(|(name, text)| Some((name, SmolStr::new(text.as_deref()?)))),
        );
        fields.extend(self.reason.as_ref().map(|reason| ("tollgate.reason", SmolStr::new(reason))));
        if let Some(usage) = self.usage {
            fields.push(("tollgate.input_tokens", number(usage.input)));
            fields.push(("tollgate.output_tokens", number(usage.output)));
            fields.push(("tollgate.cached_tokens", number(usage.cached_input)));
        }
        if self.cost > Pico(0) {
            fields.push(("tollgate.cost", dollars(self.cost).into()));
        }
        fields.extend(
            self.over_soft_budget
                .map(|scope| ("tollgate.over_soft_budget", SmolStr::new_static(scope.name()))),
        );
        if self.usage.is_some() || self.cost > Pico(0) {
            fields.push((
                "tollgate.estimated",
                SmolStr::new_static(if self.estimated { "true" } else { "false" }),
            ));
        }
        fields
    }
}
