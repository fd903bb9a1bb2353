//! Whether a request is sent on: who asks, for what, and what that is to be charged.

use alloc::borrow::Cow;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::reserve::{bare_call, dearest, reserve};
use super::{Action, Exchange, ExchangeState, PendingBody};
use crate::admission::AdmissionRequest;
use crate::api::Api;
use crate::auth::credential::Credential;
use crate::auth::identity::{Identity, authenticate, authenticate_digest};
use crate::config::{GatewayConfig, Unmatched};
use crate::exchange::models;
use crate::http::framing::offers_http;
use crate::http::headers::{HeaderMutation, HeaderMutator, Headers};
use crate::http::rejection::Rejection;
use crate::http::{query, route};
use crate::llm::dialect::Dialect;
use crate::llm::request::{BodyParser, LlmRequest, include_usage};
use crate::policy::{Mode, Policy, Target, TargetId, Unpriced};
use crate::text::ascii;
use crate::time::Timestamp;

/// What is known of a request when its target is.
enum KnownTarget<'a> {
    /// Its body was read.
    Body(&'a LlmRequest),
    /// Nobody reads its bodies.
    Bare,
    /// It leaves HTTP; whether it may although it cannot be metered.
    Upgrade { unmetered: bool },
}

impl Exchange {
    pub(super) fn decide_headers(
        &mut self,
        gateway: &GatewayConfig,
        head: &Headers<'_>,
        end_of_stream: bool,
        now: &dyn Fn() -> Timestamp,
        edit: &mut HeaderMutator<'_>,
    ) -> Result<Action, Rejection> {
        let method = head.text(":method").unwrap_or_default();
        let Some(target) = head.text(":path") else {
            return Err(Rejection::AmbiguousPath);
        };
        if let Some(step) = self.manages(gateway, head, target, end_of_stream) {
            return Ok(step);
        }
        let found = route::of_request(&gateway.routes, method, target, head)?;
        let leaves_http = asks_to_leave(head, edit) || method == "CONNECT";
        let Some(route::RouteMatch { route, path, model }) = found else {
            return match gateway.unmatched {
                Unmatched::Pass => self.pass(gateway, head, (method, target), edit),
                Unmatched::Deny => Err(Rejection::UnknownRoute),
            };
        };
        self.api = route.api;
        if route.public {
            return self.pass(gateway, head, (method, target), edit);
        }

        let Credential { key, sources: places } = gateway.credentials.find(head, target)?;
        let policy = gateway.policy.read();
        let (digest, identity) =
            authenticate(&policy, &key, now).map_err(|rejection| self.map_unknown_key(rejection))?;
        self.log.take_identity(&identity);
        self.shadow = gateway.mode == Mode::Shadow || identity.team.mode == Mode::Shadow;
        if route.api == Api::Models {
            return Ok(match models::answer(&policy, &identity, head, path) {
                Ok(answer) => self.answer(answer),
                Err(rejection) => self.refuse_always(&rejection),
            });
        }
        self.partial_answer = Dialect::of(route.api).partial_responses && asks_for_a_part(head, target);
        gateway.credentials.remove(places, target, edit);
        self.set_identity_headers(head, edit);

        if leaves_http || !Dialect::of(route.api).reads_body {
            let (ix, target) = named_target(&policy, route.target, model.as_deref(), None)?;
            let known = if leaves_http {
                KnownTarget::Upgrade { unmetered: route.unmetered }
            } else {
                KnownTarget::Bare
            };
            let governed = self.authorize(gateway, &policy, &identity, ix, target, known);
            self.tell_target(edit);
            return governed;
        }
        if end_of_stream {
            return Err(Rejection::InvalidBody(Cow::Borrowed("there is none, and this API needs one")));
        }
        let length = head.first("content-length");
        let bytes = length.and_then(|length| ascii::text(length)?.parse::<u64>().ok());
        if bytes.is_some_and(|bytes| bytes > gateway.max_body) {
            return Err(Rejection::BodyTooLarge { max: gateway.max_body });
        }
        let encoding = content_encoding(head)?;
        let reader = BodyParser::for_head(content_type(head)?, encoding.as_deref())?;
        // An encoded answer hides its usage.
        if head.first("accept-encoding").is_some() {
            edit(HeaderMutation::Remove("accept-encoding"));
        }
        self.state = ExchangeState::Body(PendingBody {
            key: digest,
            model,
            target: route.target,
            reader,
            received: 0,
            announced: length.is_some(),
        });
        Ok(Action::Hold)
    }

    /// No key is needed.
    fn pass(
        &mut self,
        gateway: &GatewayConfig,
        head: &Headers<'_>,
        (method, target): (&str, &str),
        edit: &mut HeaderMutator<'_>,
    ) -> Result<Action, Rejection> {
        if route::is_governed_in_other_case(&gateway.routes, method, target, head) {
            return Err(Rejection::AmbiguousPath);
        }
        Ok(self.forward_ungoverned(gateway, head, target, edit))
    }

    pub(super) fn decide_body(&mut self, now: Timestamp, edit: &mut HeaderMutator<'_>) -> Action {
        let ExchangeState::Body(pending) = core::mem::replace(&mut self.state, ExchangeState::Admitting)
        else {
            return Action::Hold;
        };
        let gateway = Rc::clone(&self.config);
        let PendingBody { key, model, target, mut reader, announced, .. } = pending;
        let is_json = matches!(reader, BodyParser::Json(_));
        let ask = match reader.finish() {
            Ok(ask) => ask,
            Err(error) => return self.refuse_always(&error.into()),
        };
        self.metered = true;
        self.unseen_output = ask.unmetered_output;
        if is_json && Dialect::of(self.api).usage_on_request {
            self.ask_for_usage(ask, announced, edit);
        }
        let policy = gateway.policy.read();
        // Who may was decided for the head; it may have changed since.
        let found =
            authenticate_digest(&policy, &key, now).map_err(|rejection| self.map_unknown_key(rejection));
        let decided = found.and_then(|identity| {
            let (ix, target) = named_target(&policy, target, model.as_deref(), ask.model.as_deref())?;
            self.authorize(&gateway, &policy, &identity, ix, target, KnownTarget::Body(ask))
        });
        self.tell_target(edit);
        decided.unwrap_or_else(|rejection| self.refuse(rejection))
    }

    fn map_unknown_key(&self, rejection: Rejection) -> Rejection {
        if self.awaits_keys && rejection == Rejection::InvalidKey {
            Rejection::KeysUnavailable
        } else {
            rejection
        }
    }

    /// Streams of these APIs report usage on request only.
    fn ask_for_usage(&mut self, ask: &LlmRequest, announced: bool, edit: &mut HeaderMutator<'_>) {
        let Some(put) = include_usage(ask) else { return };
        if announced {
            edit(HeaderMutation::Replace("content-length", &put.length_of(ask.bytes).to_string()));
        }
        self.usage_added = true;
        self.body_edit = Some(put);
    }

    /// Access, then what the call is to be charged.
    fn authorize<'p>(
        &mut self,
        gateway: &GatewayConfig,
        policy: &'p Policy,
        identity: &Identity<'p>,
        ix: TargetId,
        target: &'p Target,
        known: KnownTarget<'_>,
    ) -> Result<Action, Rejection> {
        // Also of a refusal it is said what was called, where it is the catalogue's and no stranger's text.
        self.log.target = Some(Rc::clone(&target.name));
        let levels = identity.levels();
        let granted = |found: Option<(TargetId, &'p Target)>, name: &str| {
            found
                .filter(|(ix, target)| levels.reach(*ix, target).is_granted())
                .map(|(_, target)| target)
                .ok_or_else(|| Rejection::TargetNotAllowed { target: name.into() })
        };
        let fallbacks = match &known {
            KnownTarget::Body(ask) => ask.fallbacks.as_slice(),
            KnownTarget::Bare | KnownTarget::Upgrade { .. } => &[],
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
        let principals = identity.principals(&gateway.record_keys, Some((ix, target)));
        self.budget = principals.iter().find(|principal| principal.budget.is_some()).map(|it| it.scope);
        let budgeted = self.budget.is_some();
        let metered = budgeted || principals.iter().any(|principal| principal.counts_tokens());
        if metered && matches!(known, KnownTarget::Upgrade { unmetered: false }) {
            return Err(Rejection::UpgradeNotMetered);
        }
        if metered && self.partial_answer {
            return Err(Rejection::PartialAnswer);
        }
        if budgeted {
            let hidden = matches!(&known, KnownTarget::Body(ask) if ask.external_input);
            for target in named {
                if target.price.is_none() && policy.unpriced == Unpriced::Deny {
                    return Err(Rejection::UnpricedTarget { target: (&*target.name).into() });
                }
                if hidden && target.max_input_tokens.is_none() {
                    return Err(Rejection::UnboundedCost { target: (&*target.name).into() });
                }
            }
        }
        // Which of them answers is the upstream's choice.
        self.price = dearest(named);
        self.reservation = match known {
            KnownTarget::Body(ask) => reserve(self.api, named, self.price, ask),
            KnownTarget::Bare | KnownTarget::Upgrade { .. } => bare_call(self.price),
        };
        if principals.is_empty() {
            return Ok(self.forward(None));
        }
        self.state = ExchangeState::Admitting;
        Ok(Action::Admit(AdmissionRequest { principals, reservation: self.reservation }))
    }
}

/// Whether the request asks for another protocol than HTTP.
fn asks_to_leave(head: &Headers<'_>, edit: &mut HeaderMutator<'_>) -> bool {
    let mut fields = head.all("upgrade").peekable();
    if fields.peek().is_none() {
        return false;
    }
    let stays = fields.any(offers_http);
    if stays {
        edit(HeaderMutation::Remove("upgrade"));
        edit(HeaderMutation::Remove("http2-settings"));
    }
    !stays
}

/// Whether only some fields of the answer are asked for: Google's APIs take a mask for all methods ("System parameters" in
/// their documentation).
fn asks_for_a_part(head: &Headers<'_>, target: &str) -> bool {
    let (_, query) = query::split(target);
    let mut names = query::parameters(query.unwrap_or_default()).filter_map(|parameter| parameter.name());
    names.any(|name| matches!(&*name, "fields" | "$fields")) || head.first("x-goog-fieldmask").is_some()
}

/// What the body is. Of two types servers differ in which one they take.
fn content_type<'h>(head: &Headers<'h>) -> Result<Option<&'h str>, Rejection> {
    let mut all = head.all("content-type");
    let first = all.next();
    let unclear = || Rejection::InvalidBody(Cow::Borrowed("the head needs one content-type, in ASCII"));
    if all.any(|other| Some(other) != first) {
        return Err(unclear());
    }
    first.map(|value| ascii::text(value).ok_or_else(unclear)).transpose()
}

/// All of a request's content-encodings; a second field goes on where the first one ends (RFC 9110, 5.3).
fn content_encoding(head: &Headers<'_>) -> Result<Option<String>, Rejection> {
    let mut all = None;
    for value in head.all("content-encoding") {
        let text = core::str::from_utf8(value).map_err(|_| Rejection::UnsupportedEncoding)?;
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
    of_route: Option<TargetId>,
    of_path: Option<&str>,
    of_body: Option<&str>,
) -> Result<(TargetId, &'p Target), Rejection> {
    if let Some(ix) = of_route {
        // It was there when the route was read, and may be gone since.
        let gone = || Rejection::TargetNotAllowed { target: policy.targets.name(ix.0).into() };
        return Ok((ix, policy.targets.get(ix.0).ok_or_else(gone)?));
    }
    let name = match (of_path, of_body) {
        (Some(path), Some(body)) if path != body.strip_prefix("models/").unwrap_or(body) => {
            return Err(Rejection::InvalidBody(Cow::Borrowed("`/model` names another model than the path")));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err(Rejection::ModelRequired),
    };
    policy.target(name).ok_or_else(|| Rejection::TargetNotAllowed { target: name.into() })
}
