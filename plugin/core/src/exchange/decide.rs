//! Whether a request is sent on: who asks, for what, and what that is to be charged.

use crate::text::percent::decode;
use alloc::borrow::Cow;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::reserve::{bare_call, dearest, reserve};
use super::{Exchange, Pending, Stage, Step, reads_body};
use crate::admission::Charges;
use crate::api::Api;
use crate::auth::credential::Credential;
use crate::auth::identity::{Identity, identify, of_digest};
use crate::config::{Gateway, Unmatched};
use crate::exchange::models;
use crate::http::framing::offers_http;
use crate::http::headers::{Edit, Editor, Head};
use crate::http::rejection::Refusal;
use crate::http::route;
use crate::llm::request::{Ask, Reader, include_usage};
use crate::policy::{Mode, Policy, Target, TargetIx, Unpriced};
use crate::text::ascii;
use crate::time::Timestamp;

/// What is known of a request when its target is.
enum Known<'a> {
    /// Its body was read.
    Body(&'a Ask),
    /// Nobody reads its bodies.
    Bare,
    /// It leaves HTTP; whether it may although it cannot be metered.
    Upgrade { unmetered: bool },
}

impl Exchange {
    pub(super) fn decide_head(
        &mut self,
        gateway: &Gateway,
        head: &Head<'_>,
        end_of_stream: bool,
        now: &dyn Fn() -> Timestamp,
        edit: &mut Editor<'_>,
    ) -> Result<Step, Refusal> {
        let method = head.text(":method").unwrap_or_default();
        let Some(target) = head.text(":path") else {
            return Err(Refusal::AmbiguousPath);
        };
        if let Some(step) = self.manages(gateway, head, target, end_of_stream) {
            return Ok(step);
        }
        let found = route::of_request(&gateway.routes, method, target, head)?;
        let leaves_http = asks_to_leave(head, edit) || method == "CONNECT";
        let Some(route::Found { route, path, model }) = found else {
            return match gateway.unmatched {
                Unmatched::Pass => self.pass(gateway, head, (method, target), edit),
                Unmatched::Deny => Err(Refusal::UnknownRoute),
            };
        };
        self.api = route.api;
        if route.public {
            return self.pass(gateway, head, (method, target), edit);
        }

        let Credential { key, places } = gateway.credentials.find(head, target)?;
        let policy = gateway.policy.read();
        let (digest, identity) = identify(&policy, &key, now).map_err(|refusal| self.unknown(refusal))?;
        self.facts.take_identity(&identity);
        self.shadow = gateway.mode == Mode::Shadow || identity.team.mode == Mode::Shadow;
        if route.api == Api::Models {
            return Ok(match models::answer(&policy, &identity, head, path) {
                Ok(answer) => self.answer(answer),
                Err(refusal) => self.refuse_always(&refusal),
            });
        }
        self.partial_answer = route.api == Api::GeminiGenerate && asks_for_a_part(head, target);
        gateway.credentials.remove(places, target, edit);
        self.tell_identity(head, edit);

        if leaves_http || !reads_body(route.api) {
            let (ix, target) = named_target(&policy, route.target, model.as_deref(), None)?;
            let known = if leaves_http { Known::Upgrade { unmetered: route.unmetered } } else { Known::Bare };
            let governed = self.govern(gateway, &policy, &identity, ix, target, known);
            self.tell_target(edit);
            return governed;
        }
        if end_of_stream {
            return Err(Refusal::InvalidBody(Cow::Borrowed("there is none, and this API needs one")));
        }
        let length = head.first("content-length");
        let bytes = length.and_then(|length| ascii::text(length)?.parse::<u64>().ok());
        if bytes.is_some_and(|bytes| bytes > gateway.max_body) {
            return Err(Refusal::BodyTooLarge { max: gateway.max_body });
        }
        let encoding = content_encoding(head)?;
        let reader = Reader::for_head(content_type(head)?, encoding.as_deref())?;
        // An encoded answer hides its usage.
        if head.first("accept-encoding").is_some() {
            edit(Edit::Remove("accept-encoding"));
        }
        self.stage = Stage::Body(Pending {
            key: digest,
            model,
            target: route.target,
            reader,
            received: 0,
            announced: length.is_some(),
        });
        Ok(Step::Hold)
    }

    /// No key is needed.
    fn pass(
        &mut self,
        gateway: &Gateway,
        head: &Head<'_>,
        (method, target): (&str, &str),
        edit: &mut Editor<'_>,
    ) -> Result<Step, Refusal> {
        if route::is_governed_in_other_case(&gateway.routes, method, target, head) {
            return Err(Refusal::AmbiguousPath);
        }
        Ok(self.forward_ungoverned(gateway, head, target, edit))
    }

    pub(super) fn decide_body(&mut self, now: Timestamp, edit: &mut Editor<'_>) -> Step {
        let Stage::Body(pending) = core::mem::replace(&mut self.stage, Stage::Admitting) else {
            return Step::Hold;
        };
        let gateway = Rc::clone(&self.gateway);
        let Pending { key, model, target, mut reader, announced, .. } = pending;
        let is_json = matches!(reader, Reader::Json(_));
        let ask = match reader.finish() {
            Ok(ask) => ask,
            Err(error) => return self.refuse_always(&error.into()),
        };
        self.metered = true;
        self.unseen_output = ask.unseen_output;
        if is_json && matches!(self.api, Api::OpenAiChat | Api::OpenAiCompletions) {
            self.ask_for_usage(ask, announced, edit);
        }
        let policy = gateway.policy.read();
        // Who may was decided for the head; it may have changed since.
        let found = of_digest(&policy, &key, now).map_err(|refusal| self.unknown(refusal));
        let decided = found.and_then(|identity| {
            let (ix, target) = named_target(&policy, target, model.as_deref(), ask.model.as_deref())?;
            self.govern(&gateway, &policy, &identity, ix, target, Known::Body(ask))
        });
        self.tell_target(edit);
        decided.unwrap_or_else(|refusal| self.refuse(refusal))
    }

    fn unknown(&self, refusal: Refusal) -> Refusal {
        if self.awaits_keys && refusal == Refusal::InvalidKey { Refusal::KeysUnavailable } else { refusal }
    }

    /// Streams of these APIs report usage on request only.
    fn ask_for_usage(&mut self, ask: &Ask, announced: bool, edit: &mut Editor<'_>) {
        let Some(put) = include_usage(ask) else { return };
        if announced {
            edit(Edit::Replace("content-length", &put.length_of(ask.bytes).to_string()));
        }
        self.usage_added = true;
        self.body_edit = Some(put);
    }

    /// Access, then what the call is to be charged.
    fn govern<'p>(
        &mut self,
        gateway: &Gateway,
        policy: &'p Policy,
        identity: &Identity<'p>,
        ix: TargetIx,
        target: &'p Target,
        known: Known<'_>,
    ) -> Result<Step, Refusal> {
        // Also of a refusal it is said what was called, where it is the catalogue's and no stranger's text.
        self.facts.target = Some(Rc::clone(&target.name));
        let levels = identity.levels();
        let granted = |found: Option<(TargetIx, &'p Target)>, name: &str| {
            found
                .filter(|(ix, target)| levels.reach(*ix, target).is_granted())
                .map(|(_, target)| target)
                .ok_or_else(|| Refusal::TargetNotAllowed { target: name.into() })
        };
        let fallbacks = match &known {
            Known::Body(ask) => ask.fallbacks.as_slice(),
            Known::Bare | Known::Upgrade { .. } => &[],
        };
        let first = [granted(Some((ix, target)), &target.name)?];
        let mut all = Vec::new();
        if !fallbacks.is_empty() {
            all.extend(first);
            for fallback in fallbacks {
                all.push(granted(policy.target(fallback), fallback)?);
            }
        }
        let named = if all.is_empty() { &first[..] } else { &all };
        let principals = identity.principals(&gateway.cells, Some((ix, target)));
        self.budget = principals.iter().find(|principal| principal.budget.is_some()).map(|it| it.scope);
        let budgeted = self.budget.is_some();
        let metered = budgeted || principals.iter().any(|principal| principal.counts_tokens());
        if metered && matches!(known, Known::Upgrade { unmetered: false }) {
            return Err(Refusal::UpgradeNotMetered);
        }
        if metered && self.partial_answer {
            return Err(Refusal::PartialAnswer);
        }
        if budgeted {
            let hidden = matches!(&known, Known::Body(ask) if ask.hidden_content);
            for target in named {
                if target.price.is_none() && policy.unpriced == Unpriced::Deny {
                    return Err(Refusal::UnpricedTarget { target: (&*target.name).into() });
                }
                if hidden && target.max_input_tokens.is_none() {
                    return Err(Refusal::UnboundedCost { target: (&*target.name).into() });
                }
            }
        }
        // Which of them answers is the upstream's choice.
        self.price = dearest(named);
        self.reservation = match known {
            Known::Body(ask) => reserve(self.api, named, self.price, ask),
            Known::Bare | Known::Upgrade { .. } => bare_call(self.price),
        };
        if principals.is_empty() {
            return Ok(self.forward(None));
        }
        self.stage = Stage::Admitting;
        Ok(Step::Admit(Charges { principals, reservation: self.reservation }))
    }
}

/// Whether the request asks for another protocol than HTTP.
fn asks_to_leave(head: &Head<'_>, edit: &mut Editor<'_>) -> bool {
    let mut fields = head.all("upgrade").peekable();
    if fields.peek().is_none() {
        return false;
    }
    let stays = fields.any(offers_http);
    if stays {
        edit(Edit::Remove("upgrade"));
        edit(Edit::Remove("http2-settings"));
    }
    !stays
}

/// Whether only some fields of the answer are asked for: Google's APIs take a mask for all methods ("System parameters" in
/// their documentation).
fn asks_for_a_part(head: &Head<'_>, target: &str) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let names = query.split('&').filter_map(|pair| decode(pair.split('=').next().unwrap_or(pair)));
    names.into_iter().any(|name| matches!(&*name, "fields" | "$fields"))
        || head.first("x-goog-fieldmask").is_some()
}

/// What the body is. Of two types servers differ in which one they take.
fn content_type<'h>(head: &Head<'h>) -> Result<Option<&'h str>, Refusal> {
    let mut all = head.all("content-type");
    let first = all.next();
    let unclear = || Refusal::InvalidBody(Cow::Borrowed("the head needs one content-type, in ASCII"));
    if all.any(|other| Some(other) != first) {
        return Err(unclear());
    }
    first.map(|value| ascii::text(value).ok_or_else(unclear)).transpose()
}

/// All of a request's content-encodings; a second field goes on where the first one ends (RFC 9110, 5.3).
fn content_encoding(head: &Head<'_>) -> Result<Option<String>, Refusal> {
    let mut all = None;
    for value in head.all("content-encoding") {
        let text = core::str::from_utf8(value).map_err(|_| Refusal::UnsupportedEncoding)?;
        let all = all.get_or_insert_with(String::new);
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(text);
    }
    Ok(all)
}

/// The one target that route, path and body name.
fn named_target<'p>(
    policy: &'p Policy,
    of_route: Option<TargetIx>,
    of_path: Option<&str>,
    of_body: Option<&str>,
) -> Result<(TargetIx, &'p Target), Refusal> {
    if let Some(ix) = of_route {
        // It was there when the route was read, and may be gone since.
        let gone = || Refusal::TargetNotAllowed { target: policy.targets.name(ix.0).into() };
        return Ok((ix, policy.targets.get(ix.0).ok_or_else(gone)?));
    }
    let name = match (of_path, of_body) {
        (Some(path), Some(body)) if path != body.strip_prefix("models/").unwrap_or(body) => {
            return Err(Refusal::InvalidBody(Cow::Borrowed("`/model` names another model than the path")));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err(Refusal::ModelRequired),
    };
    policy.target(name).ok_or_else(|| Refusal::TargetNotAllowed { target: name.into() })
}
