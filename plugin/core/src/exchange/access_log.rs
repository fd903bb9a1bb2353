//! The fields of a request for access logs and metrics. Never a key, a digest or a body.

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

/// The decision about a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decision {
    /// No decision yet.
    #[default]
    Undecided,
    /// Forwarded.
    Allowed,
    /// Rejected.
    Denied,
    /// Rejected in shadow mode, and forwarded.
    Shadowed,
    /// Forwarded without a key: a public or unmatched route.
    Public,
    /// Answered by the gateway itself.
    Answered,
}

impl Decision {
    /// The name in logs and metrics.
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

/// The fields of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLogEntry {
    /// The time of the decision; while undecided, of the last bytes of its body.
    pub time: Option<Timestamp>,
    /// The decision.
    pub decision: Decision,
    /// The code of the rejection.
    pub reason: Option<Cow<'static, str>>,
    /// The HTTP status of the response; 0 without one.
    pub status: u16,
    /// The organization's id.
    pub organization: Option<Rc<str>>,
    /// The team's id.
    pub team: Option<Rc<str>>,
    /// The user's id.
    pub user: Option<Rc<str>>,
    /// The key's public id.
    pub key: Option<Rc<str>>,
    /// The name of the target.
    pub target: Option<Rc<str>>,
    /// The path of the request without its query, redacted.
    pub path: Option<SmolStr>,
    /// The tokens, reported or (if `estimated`) counted.
    pub usage: Option<Usage>,
    /// The cost.
    pub cost: Pico,
    /// The usage is an estimate.
    pub estimated: bool,
    /// The scope of a budget that is above its soft mark with this request.
    pub over_soft_budget: Option<QuotaScope>,
    /// The `max_input_tokens` of the target, if the call had more input: its reservation was then too small.
    pub over_max_input: Option<u64>,
    /// Forwarded although its limits could not be checked.
    pub uncounted: bool,
}

impl AccessLogEntry {
    /// Records the caller.
    pub fn take_identity(&mut self, identity: &Identity<'_>) {
        self.organization = Some(Rc::clone(&identity.organization.id));
        self.team = Some(Rc::clone(&identity.team.id));
        self.user = identity.user.map(|user| Rc::clone(&user.id));
        self.key = Some(Rc::clone(&identity.key.id));
    }

    /// The ids of organization, team, user and key, for the identity headers.
    pub fn identity(&self) -> [Option<&str>; 4] {
        [&self.organization, &self.team, &self.user, &self.key].map(Option::as_deref)
    }

    /// The name and value of each field.
    pub fn fields(&self) -> Vec<(&'static str, SmolStr)> {
        let mut fields = Vec::with_capacity(14);
        if let Some(Timestamp(ms)) = self.time {
            fields.push(("tollgate.time", format_smolstr!("{}.{:03}", ms / 1_000, ms % 1_000)));
        }
        fields.push(("tollgate.decision", SmolStr::new_static(self.decision.name())));
        fields.extend(self.path.clone().map(|path| ("tollgate.path", path)));
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
        fields.extend(self.over_max_input.map(|most| ("tollgate.over_max_input_tokens", number(most))));
        if self.usage.is_some() || self.cost > Pico(0) {
            fields.push((
                "tollgate.estimated",
                SmolStr::new_static(if self.estimated { "true" } else { "false" }),
            ));
        }
        fields
    }
}
