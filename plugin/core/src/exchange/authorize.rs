//! The decision about a key and a target: identity, access, price, and the quotas that have to admit the call.
//!
//! The request path runs the parts `identify`, `named_target` and `authorize` as headers and body arrive.
//! [`evaluate`] runs the same parts in one call, for `tollgate explain`. Each part reports its steps to a [`Trace`];
//! the request path passes `()`, which discards them without building them.

use alloc::string::String;
use alloc::vec::Vec;

use super::cost::CallPrice;
use super::reserve::{bare_call, price_of_call, reserve};
use crate::admission::{AdmissionRequest, Principal, Reservation};
use crate::api::{Api, Provider};
use crate::auth::identity::{Identity, check_key};
use crate::counters::RecordKeys;
use crate::http::rejection::Rejection;
use crate::llm::dialect::Dialect;
use crate::llm::request::LlmRequest;
use crate::policy::access::AccessDecision;
use crate::policy::{Abandoned, Key, Mode, Policy, Target, TargetId, Unpriced, UsageChunk};
use crate::quota::QuotaScope;
use crate::secret::api_key::{self, Digest, KeyFormat};
use crate::time::Clock;

/// One step of a decision; the variants are in the order of the steps. If the request is rejected, the failing step is
/// the one after the last reported.
#[derive(Clone, Debug)]
pub enum Step<'s> {
    /// The format of the key's text.
    KeyFormat(KeyFormat),
    /// The key with this digest, current or within the grace period of a rotation; `None`: there is none.
    Key(Option<&'s Key>),
    /// The key and its team, organization and owner: all resolved and active, and the key has not expired.
    Identity(Identity<'s>),
    /// Shadow mode applies: rejections of this caller are only recorded.
    Shadow(ShadowMode),
    /// The target of this name in the catalogue; `None`: it has none.
    Target {
        /// The name that the request gave.
        name: &'s str,
        /// The target and its position.
        found: Option<(TargetId, &'s Target)>,
    },
    /// The access to a target.
    Access {
        /// The caller.
        identity: Identity<'s>,
        /// The target's position.
        id: TargetId,
        /// The target.
        target: &'s Target,
        /// The level that decided, and the binding that grants it.
        decision: AccessDecision,
    },
    /// The principals whose limits and budgets have to admit the call, narrow to wide.
    Quotas {
        /// The caller.
        identity: Identity<'s>,
        /// The principals, with the limits for this target.
        principals: &'s [Principal],
    },
    /// The price of a target.
    Price {
        /// The target.
        target: &'s Target,
        /// True if a budget applies, so that the price counts.
        budgeted: bool,
    },
}

/// A receiver of the steps of a decision.
pub trait Trace {
    /// Receives a step; `step` builds it.
    fn step<'s>(&mut self, step: impl FnOnce() -> Step<'s>);
}

/// Discards every step. The compiler removes the calls.
impl Trace for () {
    #[inline(always)]
    fn step<'s>(&mut self, _: impl FnOnce() -> Step<'s>) {}
}

/// The setting that turns rejections into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowMode {
    /// The gateway's.
    Gateway,
    /// The team's.
    Team,
}

impl ShadowMode {
    /// The setting that applies to a caller, given the gateway's mode.
    pub fn of(gateway: Mode, identity: &Identity<'_>) -> Option<Self> {
        match (gateway, identity.team.mode) {
            (Mode::Shadow, _) => Some(ShadowMode::Gateway),
            (Mode::Enforce, Mode::Shadow) => Some(ShadowMode::Team),
            (Mode::Enforce, Mode::Enforce) => None,
        }
    }
}

/// The properties of a call that the decision depends on, besides its caller and target.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The API of its route.
    pub api: Api,
    /// The form of the request.
    pub form: CallForm<'a>,
    /// Only some fields of the response were requested, perhaps without the usage.
    pub partial_response: bool,
}

/// The form of a call.
#[derive(Clone, Copy, Debug)]
pub enum CallForm<'a> {
    /// A request whose body was read.
    Body(&'a LlmRequest),
    /// A request whose body is not read.
    Bare,
    /// A protocol upgrade.
    Upgrade {
        /// The route permits it although it cannot be metered.
        unmetered: bool,
    },
}

impl Call<'_> {
    /// A call of which nothing but the target is known.
    pub const BARE: Call<'static> = Call { api: Api::Plain, form: CallForm::Bare, partial_response: false };
}

/// A call that is permitted if its quotas admit it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The price that the settlement uses.
    pub price: Option<CallPrice>,
    /// The charge before the call runs; without principals nothing limits it.
    pub admission: AdmissionRequest,
    /// The usage of the response counts, and a request may be changed to obtain it.
    pub requests_usage: bool,
    /// The charge if the call ends before its response does.
    pub abandoned: Abandoned,
    /// The most output tokens of such a call that are taken to be generated unseen.
    pub unseen_output: u64,
    /// The most input tokens that the targets read, by the policy; `None` if one of them has no maximum.
    pub max_input_tokens: Option<u64>,
}

/// The output tokens that a reasoning model may generate for an answer before its first word (OpenAI's guide to reasoning models
/// recommends to leave room for so many).
const UNSEEN_REASONING: u64 = 25_000;

/// Decides about a call of one target with a key, as a request does, without the admission itself.
///
/// # Errors
/// The rejection that the request would get.
#[allow(clippy::too_many_arguments, reason = "the inputs of one decision")]
pub fn evaluate(
    policy: &Policy,
    record_keys: &RecordKeys,
    mode: Mode,
    key: &str,
    target: &str,
    call: &Call<'_>,
    now: impl Clock,
    trace: &mut impl Trace,
) -> Result<Grant, Rejection> {
    let (_, identity) = identify(policy, key, now, trace)?;
    if let Some(shadow) = ShadowMode::of(mode, &identity) {
        trace.step(|| Step::Shadow(shadow));
    }
    named_target(policy, TargetNames { path: Some(target), ..TargetNames::default() }, trace)
        .and_then(|target| authorize(policy, record_keys, &identity, target, call, &mut None, trace))
        .map_err(|rejection| with_shorter_name(policy, &identity, rejection))
}

/// The identity behind a key's text, and the key's digest.
///
/// # Errors
/// [`Rejection::MistypedKey`], and the errors of [`identify_digest`].
pub(super) fn identify<'p>(
    policy: &'p Policy,
    key: &str,
    now: impl Clock,
    trace: &mut impl Trace,
) -> Result<(Digest, Identity<'p>), Rejection> {
    let format = api_key::key_format(key);
    trace.step(|| Step::KeyFormat(format));
    match format {
        KeyFormat::BadChecksum => return Err(Rejection::MistypedKey),
        KeyFormat::Native | KeyFormat::Foreign => {}
    }
    let digest = api_key::digest(key.as_bytes());
    Ok((digest, identify_digest(policy, &digest, now, trace)?))
}

/// The identity behind a key's digest.
///
/// # Errors
/// A rejection for a key that is unknown, expired or blocked, or whose team, organization or service account is
/// blocked.
pub(super) fn identify_digest<'p>(
    policy: &'p Policy,
    digest: &Digest,
    now: impl Clock,
    trace: &mut impl Trace,
) -> Result<Identity<'p>, Rejection> {
    let found = policy.key_by_digest(digest, now).map(|(_, key)| key);
    trace.step(|| Step::Key(found));
    let Some(key) = found else {
        return Err(Rejection::InvalidKey);
    };
    let identity = check_key(policy, key, now)?;
    trace.step(|| Step::Identity(identity));
    Ok(identity)
}

/// The names that a request gives its target, one for each place that can have one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TargetNames<'a> {
    /// The target of the route.
    pub(super) route: Option<TargetId>,
    /// `{model}` of the path, or the parameter of the query in its place.
    pub(super) path: Option<&'a str>,
    /// Names in the query of a request whose target is named elsewhere: they must agree.
    pub(super) query: &'a [String],
    /// `model` of the body.
    pub(super) body: Option<&'a str>,
}

/// The one target that a request names. The only place where names are compared: what is decided here is what the upstream
/// reads in the path, the query or the body.
///
/// # Errors
/// [`Rejection::TargetNotAllowed`] for a name that is not in the catalogue, [`Rejection::ModelRequired`] without any,
/// [`Rejection::ModelMismatch`] if two of them differ.
pub(super) fn named_target<'p>(
    policy: &'p Policy,
    names: TargetNames<'_>,
    trace: &mut impl Trace,
) -> Result<(TargetId, &'p Target), Rejection> {
    let of_route = names.route.map(|id| policy.targets.name(id.0));
    let name = of_route.or(names.path).or(names.body).ok_or(Rejection::ModelRequired)?;
    // Gemini's resource names.
    let in_body = names.body.map(|body| match body.strip_prefix("models/") {
        Some(rest) if rest == name => name,
        Some(_) | None => body,
    });
    let others = [("the path", names.path), ("`model` of the body", in_body)];
    let in_query = names.query.iter().map(|name| ("the query", Some(name.as_str())));
    for (place, other) in others.into_iter().chain(in_query) {
        if let Some(other) = other.filter(|other| *other != name) {
            return Err(Rejection::ModelMismatch { target: name.into(), place, other: other.into() });
        }
    }
    if let Some(id) = names.route {
        // The target may have been removed since the route was read.
        let found = policy.targets.get(id.0).map(|target| (id, target));
        trace.step(|| Step::Target { name, found });
        return found.ok_or_else(|| not_allowed(name));
    }
    catalogued(policy, name, trace)
}

fn catalogued<'p>(
    policy: &'p Policy,
    name: &str,
    trace: &mut impl Trace,
) -> Result<(TargetId, &'p Target), Rejection> {
    let found = policy.target(name);
    trace.step(|| Step::Target { name, found });
    found.ok_or_else(|| not_allowed(name))
}

fn not_allowed(target: &str) -> Rejection {
    Rejection::TargetNotAllowed { target: target.into(), shorter: None }
}

/// Adds the longest target that the caller may call and of which the refused name is a longer form, such as `gpt-5` for
/// `gpt-5-2025-08-07`. Other targets are not looked at: a name that exists must look like one that does not.
#[cold]
pub(super) fn with_shorter_name(policy: &Policy, identity: &Identity<'_>, rejection: Rejection) -> Rejection {
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other rejection is about something else")]
    match rejection {
        Rejection::TargetNotAllowed { target, .. } => {
            let is_form_of = |name: &str| {
                let rest = target.strip_prefix(name);
                rest.is_some_and(|rest| rest.starts_with(|first: char| !first.is_alphanumeric()))
            };
            let allowed = identity.levels().targets(policy).map(|(_, target)| &*target.name);
            let shorter =
                allowed.filter(|name| is_form_of(name)).max_by_key(|name| name.len()).map(Into::into);
            Rejection::TargetNotAllowed { target, shorter }
        }
        other => other,
    }
}

fn granted<'p>(
    identity: &Identity<'p>,
    (id, target): (TargetId, &'p Target),
    trace: &mut impl Trace,
) -> Result<&'p Target, Rejection> {
    let decision = identity.levels().reach(id, target);
    trace.step(|| Step::Access { identity: *identity, id, target, decision });
    match decision {
        AccessDecision::Granted(_) => Ok(target),
        AccessDecision::NotGranted | AccessDecision::RefusedBy(_) => Err(not_allowed(&target.name)),
    }
}

/// Access to a target, and the charge of the call. `budget` receives the scope of the narrowest budget that applies;
/// the headers of a rejection name it too.
///
/// # Errors
/// The rejection.
pub(super) fn authorize<'p>(
    policy: &'p Policy,
    record_keys: &RecordKeys,
    identity: &Identity<'p>,
    (id, target): (TargetId, &'p Target),
    call: &Call<'_>,
    budget: &mut Option<QuotaScope>,
    trace: &mut impl Trace,
) -> Result<Grant, Rejection> {
    let fallbacks = match call.form {
        CallForm::Body(request) => request.fallbacks.as_slice(),
        CallForm::Bare | CallForm::Upgrade { .. } => &[],
    };
    let first = [granted(identity, (id, target), trace)?];
    let mut all = Vec::new();
    if !fallbacks.is_empty() {
        all.extend(first);
        for fallback in fallbacks {
            // Gemini's API writes names with their collection.
            let in_collection = call.api.provider() == Some(Provider::Gemini);
            let name = fallback.strip_prefix("models/").filter(|_| in_collection).unwrap_or(fallback);
            let found = catalogued(policy, name, trace)?;
            all.push(granted(identity, found, trace)?);
        }
    }
    // The upstream chooses which of them answers.
    let candidates = if all.is_empty() { &first[..] } else { &all };
    let mut principals = identity.principals(record_keys, Some((id, target)));
    let is_free = Dialect::of(call.api).free;
    if is_free {
        principals.retain_mut(Principal::keep_request_limits);
    }
    trace.step(|| Step::Quotas { identity: *identity, principals: &principals });
    *budget = principals.iter().find(|principal| principal.budget.is_some()).map(|principal| principal.scope);
    let budgeted = budget.is_some();
    let metered = budgeted || principals.iter().any(Principal::counts_tokens);
    if metered && matches!(call.form, CallForm::Upgrade { unmetered: false }) {
        return Err(Rejection::UpgradeNotMetered);
    }
    if metered && call.partial_response {
        return Err(Rejection::PartialAnswer);
    }
    let external_input = matches!(call.form, CallForm::Body(request) if request.external_input);
    for target in candidates {
        trace.step(|| Step::Price { target, budgeted });
        if budgeted && target.price.is_none() && policy.unpriced == Unpriced::Deny {
            return Err(Rejection::UnpricedTarget { target: (&*target.name).into() });
        }
        if budgeted && external_input && target.max_input_tokens.is_none() {
            return Err(Rejection::UnboundedCost { target: (&*target.name).into() });
        }
    }
    let (price, reservation) = match call.form {
        _ if is_free => (None, Reservation::default()),
        CallForm::Body(request) => {
            let price = price_of_call(call.api, candidates, Some(request), external_input);
            let reservation = reserve(call.api, candidates, price.as_ref(), request, external_input);
            (price, reservation)
        }
        CallForm::Bare | CallForm::Upgrade { .. } => {
            let price = price_of_call(call.api, candidates, None, false);
            let reservation = bare_call(price.as_ref());
            (price, reservation)
        }
    };
    let requests_usage = metered && candidates.iter().all(|target| target.usage_chunk == UsageChunk::Add);
    let any_reserves = candidates.iter().any(|target| target.abandoned == Abandoned::Reserved);
    let abandoned = if any_reserves { Abandoned::Reserved } else { Abandoned::Seen };
    let reasons = candidates.iter().any(|target| target.reasoning);
    let unseen_output = match call.form {
        CallForm::Body(request) if reasons => {
            UNSEEN_REASONING.saturating_mul(request.choices.unwrap_or(1).max(1))
        }
        CallForm::Body(_) | CallForm::Bare | CallForm::Upgrade { .. } => 0,
    };
    let admission = AdmissionRequest { principals, reservation };
    let maximum = |target: &&Target| target.max_input_tokens;
    let max_input_tokens = if candidates.iter().all(|target| maximum(target).is_some()) {
        candidates.iter().filter_map(maximum).max()
    } else {
        None
    };
    Ok(Grant { price, admission, requests_usage, abandoned, unseen_output, max_input_tokens })
}
