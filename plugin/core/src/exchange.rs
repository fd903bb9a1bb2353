//! One request and its answer: the state machine an adapter drives.
//!
//! ```text
//! head() -> Hold | Admit | Forward | Answer        body() -> the same
//! Admit: the adapter runs the admission on its cells and calls admitted() -> Forward | Answer
//! answer_head() -> edits of the answer             answer_body() -> its usage      end() -> the settlement, once
//! ```

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::admission::{Actual, Admitted, Charges, NotAdmitted, Receipt, Reservation, Why};
use crate::body::{Ask, BodyError, Reader};
use crate::cell::CellsError;
use crate::facts::{Decision, Facts};
use crate::gateway::{Api, Gateway, OnTrouble, Route, Unmatched};
use crate::head::{Edit, Edits, Head};
use crate::identity::{Identity, identify};
use crate::meter::{Meter, Metered, Usage};
use crate::money::{Pico, Price};
use crate::policy::{Mode, Target, TargetIx, Unpriced};
use crate::refusal::Refusal;
use crate::standing::Standing;
use crate::time::Now;
use crate::{credential, models, route};

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Hold everything back: the decision needs more of the body.
    Hold,
    /// Run [`crate::admission::admit`] on these and report to [`Exchange::admitted`].
    Admit(Charges),
    /// Send it on, with the head changed so.
    Forward(Edits),
    /// Answer it here.
    Answer(Answer),
}

/// An answer by the gateway itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Fields besides content-type and content-length.
    pub fields: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

/// Headers the upstream may trust, in the order of [`Facts::identity`].
const IDENTITY: [&str; 5] =
    ["x-tollgate-organization", "x-tollgate-team", "x-tollgate-user", "x-tollgate-key", "x-tollgate-target"];

/// Output tokens reserved where neither the request nor the target says.
const DEFAULT_OUTPUT: u64 = 4_096;

/// One request and its answer.
#[derive(Debug)]
pub struct Exchange {
    gateway: Rc<Gateway>,
    stage: Stage,
    facts: Facts,
    standing: Standing,
    api: Api,
    shadow: bool,
    edits: Edits,
    reservation: Reservation,
    price: Option<Price>,
    meter: Option<Meter>,
    status: u16,
}

#[derive(Debug)]
enum Stage {
    /// The head has not come.
    Fresh,
    /// The body decides; held back.
    Body(Box<Pending>),
    /// The cells are being asked.
    Admitting,
    /// Sent on; the receipt, if it was charged.
    Running(Option<Receipt>),
    /// Answered here, or settled.
    Over,
}

/// What is known before the body is.
#[derive(Debug)]
struct Pending {
    key: String,
    /// From the path, where it names one.
    model: Option<String>,
    target: Option<TargetIx>,
    reader: Reader,
    received: u64,
}

impl Exchange {
    /// A stream that has just begun.
    pub fn new(gateway: Rc<Gateway>) -> Self {
        Exchange {
            gateway,
            stage: Stage::Fresh,
            facts: Facts::default(),
            standing: Standing::default(),
            api: Api::Plain,
            shadow: false,
            edits: Edits::new(),
            reservation: Reservation::default(),
            price: None,
            meter: None,
            status: 0,
        }
    }

    /// Whether the request is still undecided: every callback of its stream is to pause.
    pub fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Body(_) | Stage::Admitting)
    }

    /// What is known about the request, for logs and metrics.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The request's head.
    pub fn head(&mut self, head: &Head<'_>, end_of_stream: bool, now: Now) -> Step {
        if !matches!(self.stage, Stage::Fresh) {
            return Step::Forward(Edits::new());
        }
        self.facts.time = now.timestamp();
        let gateway = Rc::clone(&self.gateway);
        self.decide_head(&gateway, head, end_of_stream, now).unwrap_or_else(|refusal| self.refuse(refusal))
    }

    fn decide_head(
        &mut self,
        gateway: &Gateway,
        head: &Head<'_>,
        end_of_stream: bool,
        now: Now,
    ) -> Result<Step, Refusal> {
        let method = head.text(":method").unwrap_or_default();
        let target = head.text(":path").ok_or(Refusal::AmbiguousPath)?;
        let path = if method == "CONNECT" { target } else { route::plain_path(target)? };
        let found =
            route::find(&gateway.routes, method, path, |name| head.text(name).map(ToString::to_string));
        let Some(route::Found { route, model }) = found else {
            return match gateway.unmatched {
                Unmatched::Pass => Ok(self.forward_ungoverned(head)),
                Unmatched::Deny => Err(Refusal::UnknownRoute),
            };
        };
        self.api = route.api;
        if route.public {
            return Ok(self.forward_ungoverned(head));
        }

        let key = credential::find(&gateway.credentials, head, target)?;
        let identity = identify(&gateway.policy, key, now)?;
        self.facts.take_identity(&identity);
        self.shadow = gateway.mode == Mode::Shadow || identity.team.mode == Mode::Shadow;
        if route.api == Api::Models {
            let answer = models::answer(&gateway.policy, &identity, head, path)?;
            self.stage = Stage::Over;
            self.facts.decision = Decision::Answered;
            return Ok(Step::Answer(answer));
        }
        credential::remove(&gateway.credentials, head, target, &mut self.edits);
        self.identity_edits(head);

        let has_body = !end_of_stream && reads_body(route.api) && !is_upgrade(head, method);
        if has_body {
            let length = head.text("content-length").and_then(|length| length.parse::<u64>().ok());
            if length.is_some_and(|length| length > gateway.max_body) {
                return Err(Refusal::BodyTooLarge { max: gateway.max_body });
            }
            let encoding = match head.all("content-encoding").next() {
                None => None,
                Some(encoding) => {
                    Some(core::str::from_utf8(encoding).map_err(|_| Refusal::UnsupportedEncoding)?)
                }
            };
            let reader = Reader::for_head(head.text("content-type"), encoding).map_err(unreadable)?;
            // An encoded answer hides its usage.
            self.edits.push(Edit::Remove("accept-encoding".into()));
            self.stage = Stage::Body(Box::new(Pending {
                key: key.to_string(),
                model,
                target: route.target,
                reader,
                received: 0,
            }));
            return Ok(Step::Hold);
        }
        if reads_body(route.api) && !is_upgrade(head, method) {
            return Err(Refusal::InvalidBody(Cow::Borrowed("there is none, and this API needs one")));
        }
        let (ix, target) = named_target(gateway, route.target, model.as_deref(), None)?;
        self.govern(gateway, &identity, ix, target, &Ask::default(), Some((route, is_upgrade(head, method))))
    }

    /// The next bytes of the request's body, and whether they are the last.
    pub fn body(&mut self, bytes: &[u8], end_of_stream: bool, now: Now) -> Step {
        let Stage::Body(pending) = &mut self.stage else {
            return if self.is_held() { Step::Hold } else { Step::Forward(Edits::new()) };
        };
        pending.received = pending.received.saturating_add(bytes.len() as u64);
        let max = self.gateway.max_body;
        let read = if pending.received > max {
            Err(Refusal::BodyTooLarge { max })
        } else {
            pending.reader.push(bytes).map_err(unreadable)
        };
        match read {
            Err(refusal) => self.refuse_always(refusal),
            Ok(()) if end_of_stream => self.decide_body(now),
            Ok(()) => Step::Hold,
        }
    }

    /// The request's trailers: its body is whole.
    pub fn trailers(&mut self, now: Now) -> Step {
        self.body(&[], true, now)
    }

    fn decide_body(&mut self, now: Now) -> Step {
        let Stage::Body(pending) = core::mem::replace(&mut self.stage, Stage::Admitting) else {
            return Step::Hold;
        };
        let gateway = Rc::clone(&self.gateway);
        let Pending { key, model, target, reader, .. } = *pending;
        let ask = match reader.finish() {
            Ok(ask) => ask,
            Err(error) => return self.refuse_always(unreadable(error)),
        };
        let decided = identify(&gateway.policy, &key, now).and_then(|identity| {
            let (ix, target) = named_target(&gateway, target, model.as_deref(), ask.model.as_deref())?;
            for fallback in &ask.fallbacks {
                self.may_call(&gateway, &identity, fallback)?;
            }
            self.govern(&gateway, &identity, ix, target, &ask, None)
        });
        decided.unwrap_or_else(|refusal| self.refuse(refusal))
    }

    fn may_call(&self, gateway: &Gateway, identity: &Identity<'_>, name: &str) -> Result<(), Refusal> {
        let granted = gateway
            .policy
            .target(name)
            .is_some_and(|(ix, target)| identity.levels().reach(ix, target).is_granted());
        if granted { Ok(()) } else { Err(Refusal::TargetNotAllowed { target: name.into() }) }
    }

    /// Access, then what the call is to be charged.
    fn govern(
        &mut self,
        gateway: &Gateway,
        identity: &Identity<'_>,
        ix: TargetIx,
        target: &Target,
        ask: &Ask,
        bodyless: Option<(&Route, bool)>,
    ) -> Result<Step, Refusal> {
        self.may_call(gateway, identity, &target.name)?;
        self.facts.target = Some(target.name.clone());
        self.price = target.price;
        self.edits.push(Edit::Replace("x-tollgate-target", target.name.to_string()));
        let principals = identity.principals(&gateway.prefix, Some((ix, target)));
        let budgeted = principals.iter().any(|principal| principal.budget.is_some());
        let metered = budgeted || principals.iter().any(|principal| principal.counts_tokens());
        if let Some((route, true)) = bodyless
            && metered
            && !route.unmetered
        {
            return Err(Refusal::UpgradeNotMetered);
        }
        if budgeted && target.price.is_none() && gateway.policy.unpriced == Unpriced::Deny {
            return Err(Refusal::UnpricedTarget { target: target.name.clone() });
        }
        if budgeted && ask.hidden_content && target.max_input_tokens.is_none() {
            return Err(Refusal::UnboundedCost { target: target.name.clone() });
        }
        self.reservation =
            if bodyless.is_some() { bare_call(target) } else { reserve(self.api, target, ask) };
        if principals.is_empty() {
            return Ok(self.forward(None));
        }
        self.stage = Stage::Admitting;
        Ok(Step::Admit(Charges { principals, reservation: self.reservation }))
    }

    /// The outcome of [`Step::Admit`].
    pub fn admitted(
        &mut self,
        outcome: Result<Admitted, NotAdmitted>,
    ) -> (Step, Vec<crate::admission::Correction>) {
        match outcome {
            Ok(Admitted { receipt, standing }) => {
                self.standing = standing;
                (self.forward(Some(receipt)), Vec::new())
            }
            Err(NotAdmitted { why, standing, unsettled }) => {
                self.standing = standing;
                let trouble = match &why {
                    Why::Cells(CellsError::Contention) => self.gateway.on_contention,
                    Why::Cells(CellsError::Unavailable(_)) => self.gateway.on_unavailable,
                    Why::Denied(_) => OnTrouble::Deny,
                };
                let step = match (why, trouble) {
                    (Why::Denied(denial), _) => self.refuse(Refusal::Denied(denial)),
                    (Why::Cells(_), OnTrouble::Deny) => self.refuse(Refusal::LimitsUnavailable),
                    (Why::Cells(_), OnTrouble::Allow) => {
                        self.facts.uncounted = true;
                        self.forward(None)
                    }
                };
                (step, unsettled)
            }
        }
    }

    /// The answer's head: its status, and what is to be changed in it.
    pub fn answer_head(&mut self, head: &Head<'_>) -> Edits {
        if let Some(status) = head.text(":status").and_then(|status| status.parse().ok()) {
            self.status = status;
        }
        let mut edits = Edits::new();
        if matches!(self.stage, Stage::Running(_)) {
            if reads_body(self.api) && head.all("content-encoding").next().is_none() {
                self.meter = Some(Meter::new(self.api, head.text("content-type")));
            }
            self.standing.headers(self.gateway.headers, |name, value| edits.push(Edit::Replace(name, value)));
        }
        edits
    }

    /// Whether the bytes of the answer are to be told to [`Exchange::answer_body`].
    pub fn reads_answer(&self) -> bool {
        self.meter.is_some()
    }

    /// The next bytes of the answer.
    pub fn answer_body(&mut self, bytes: &[u8]) {
        if let Some(meter) = &mut self.meter {
            meter.push(bytes);
        }
    }

    /// The end of the stream, however it came: what is to be settled. Only the first call has anything.
    pub fn end(&mut self, complete: bool) -> Option<(Receipt, Actual)> {
        let Stage::Running(receipt) = core::mem::replace(&mut self.stage, Stage::Over) else {
            return None;
        };
        self.facts.status = self.status;
        let metered = self.meter.take().map(Meter::finish);
        let (actual, usage) = self.actual(metered, complete);
        self.facts.usage = usage;
        self.facts.cost = actual.cost;
        self.facts.estimated = actual.estimated;
        receipt.map(|receipt| (receipt, actual))
    }

    /// As reported; without a report: nothing if there was no answer or it is an error, the estimate for a
    /// complete one, the input's estimate and the output seen for one that broke off.
    fn actual(&self, metered: Option<Metered>, complete: bool) -> (Actual, Option<Usage>) {
        let Reservation { input_tokens, tokens, cost } = self.reservation;
        let whole = complete && metered.is_none_or(|metered| metered.complete);
        let seen = metered.map_or(0, |metered| metered.output_seen_tokens);
        match metered.and_then(|metered| metered.usage) {
            Some(usage) => {
                let output = if whole { usage.output } else { usage.output.max(seen) };
                let usage = Usage { output, ..usage };
                let actual = Actual {
                    tokens: usage.input.saturating_add(output),
                    cost: self.cost(usage),
                    estimated: !whole,
                };
                (actual, Some(usage))
            }
            None if self.status == 0 || self.status >= 400 => (Actual::default(), None),
            None if whole => (Actual { tokens, cost, estimated: true }, None),
            None => {
                let usage = Usage { input: input_tokens, output: seen, ..Usage::default() };
                let tokens = input_tokens.saturating_add(seen);
                (Actual { tokens, cost: self.cost(usage), estimated: true }, Some(usage))
            }
        }
    }

    fn cost(&self, usage: Usage) -> Pico {
        let Some(price) = self.price else { return Pico(0) };
        let fresh = usage.input.saturating_sub(usage.cached_input).saturating_sub(usage.cache_write);
        let parts = [
            (fresh, price.input),
            (usage.cached_input, price.cached_input),
            (usage.cache_write, price.cache_write),
            (usage.output, price.output),
            (1, price.request),
        ];
        Pico(parts.into_iter().fold(0, |sum: u128, (tokens, price)| {
            sum.saturating_add(u128::from(tokens).saturating_mul(price.0))
        }))
    }

    fn forward(&mut self, receipt: Option<Receipt>) -> Step {
        self.stage = Stage::Running(receipt);
        if self.facts.decision == Decision::Undecided {
            self.facts.decision = Decision::Allowed;
        }
        Step::Forward(core::mem::take(&mut self.edits))
    }

    /// Sends on what no key is needed for; a client's word about who it is does not pass.
    fn forward_ungoverned(&mut self, head: &Head<'_>) -> Step {
        self.identity_edits(head);
        self.stage = Stage::Over;
        self.facts.decision = Decision::Public;
        Step::Forward(core::mem::take(&mut self.edits))
    }

    /// Replaces the identity headers, and removes every other spelling of ours that a client sent.
    fn identity_edits(&mut self, head: &Head<'_>) {
        let values = self.facts.identity();
        for name in head.names() {
            let ours = |known: &str| {
                known.len() == name.len()
                    && known
                        .bytes()
                        .zip(name)
                        .all(|(a, b)| a == b.to_ascii_lowercase() || (a == b'-' && *b == b'_'))
            };
            if IDENTITY.iter().any(|known| ours(known)) {
                self.edits.push(Edit::Remove(String::from_utf8_lossy(name).into_owned()));
            }
        }
        for (name, value) in IDENTITY.into_iter().zip(values) {
            if let Some(value) = value {
                self.edits.push(Edit::Replace(name, value.to_string()));
            }
        }
    }

    /// A refusal by the policy: in shadow mode it is recorded, and the request passes.
    fn refuse(&mut self, refusal: Refusal) -> Step {
        let shadowed =
            self.shadow && (400..=503).contains(&refusal.label().status) && !is_unreadable(&refusal);
        if shadowed {
            self.facts.decision = Decision::Shadowed;
            self.facts.reason = Some(refusal.label().code);
            return self.forward(None);
        }
        self.refuse_always(refusal)
    }

    fn refuse_always(&mut self, refusal: Refusal) -> Step {
        self.stage = Stage::Over;
        let label = refusal.label();
        let mut fields = Vec::new();
        self.standing.headers(self.gateway.headers, |name, value| fields.push((name, value)));
        if let Refusal::Denied(denial) = &refusal {
            fields.retain(|(name, _)| *name != "x-tollgate-scope");
            fields.push(("x-tollgate-scope", denial.label()));
        }
        if let Some((seconds, millis)) = refusal.retry_after() {
            fields.push(("retry-after", seconds.to_string()));
            fields.push(("retry-after-ms", millis.to_string()));
        }
        if refusal.should_not_retry() {
            fields.push(("x-should-retry", "false".into()));
        }
        self.facts.decision = Decision::Denied;
        self.facts.status = label.status;
        self.facts.reason = Some(label.code);
        Step::Answer(Answer { status: label.status, fields, body: refusal.body(self.api) })
    }
}

fn unreadable(error: BodyError) -> Refusal {
    match error {
        BodyError::UnsupportedEncoding { .. } => Refusal::UnsupportedEncoding,
        other => Refusal::InvalidBody(Cow::Owned(other.to_string())),
    }
}

fn is_unreadable(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::InvalidBody(_)
            | Refusal::BodyTooLarge { .. }
            | Refusal::UnsupportedEncoding
            | Refusal::AmbiguousKey
            | Refusal::AmbiguousPath
    )
}

/// Whether the API's requests say in their body what they ask for.
fn reads_body(api: Api) -> bool {
    !matches!(api, Api::Plain | Api::Models)
}

fn is_upgrade(head: &Head<'_>, method: &str) -> bool {
    method == "CONNECT" || head.all("upgrade").next().is_some()
}

/// The one target that route, path and body name.
fn named_target<'g>(
    gateway: &'g Gateway,
    of_route: Option<TargetIx>,
    of_path: Option<&str>,
    of_body: Option<&str>,
) -> Result<(TargetIx, &'g Target), Refusal> {
    if let Some(ix) = of_route {
        let target = gateway.policy.targets.get(ix.0).ok_or(Refusal::ModelRequired)?;
        return Ok((ix, target));
    }
    let name = match (of_path, of_body) {
        (Some(path), Some(body)) if path != body.strip_prefix("models/").unwrap_or(body) => {
            return Err(Refusal::InvalidBody(Cow::Borrowed("`/model` names another model than the path")));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err(Refusal::ModelRequired),
    };
    gateway.policy.target(name).ok_or_else(|| Refusal::TargetNotAllowed { target: name.into() })
}

/// The most that a call can use.
fn reserve(api: Api, target: &Target, ask: &Ask) -> Reservation {
    let hidden = if ask.hidden_content { target.max_input_tokens.unwrap_or(0) } else { 0 };
    let output = match api {
        Api::OpenAiEmbeddings => 0,
        _ => ask.max_output.or(target.max_output_tokens).unwrap_or(DEFAULT_OUTPUT),
    }
    .saturating_mul(ask.choices.unwrap_or(1).max(1));
    let input_tokens = ask.likely_input_tokens().max(hidden);
    let most_input = ask.most_input_tokens().max(hidden);
    let cost = target.price.map_or(0, |price| {
        let dearest = price.input.max(price.cached_input).max(price.cache_write).0;
        u128::from(most_input)
            .saturating_mul(dearest)
            .saturating_add(u128::from(output).saturating_mul(price.output.0))
            .saturating_add(price.request.0)
    });
    Reservation { input_tokens, tokens: input_tokens.saturating_add(output), cost: Pico(cost) }
}

/// A call whose bodies are nobody's business costs its price per call.
fn bare_call(target: &Target) -> Reservation {
    let cost = target.price.map_or(Pico(0), |price| price.request);
    Reservation { input_tokens: 0, tokens: 0, cost }
}
