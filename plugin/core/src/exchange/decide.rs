//! The decision about a request: its credential, target and charge, from the headers or once the body is read.

use alloc::borrow::Cow;
use alloc::rc::Rc;
use alloc::string::{String, ToString};

use smol_str::SmolStr;

use super::authorize::{
    Call, CallForm, Grant, ShadowMode, TargetNames, Trace, authorize, identify, identify_digest,
    named_target, with_shorter_name,
};
use super::count::Instances;
use super::parameters;
use super::sanitize::{Sanitized, sanitize, sanitize_public, set_target_header};
use super::{Action, Exchange, ExchangeState, PendingBody};
use crate::api::Api;
use crate::auth::identity::Identity;
use crate::config::{GatewayConfig, UnknownMembers, UnknownQuery, Unmatched};
use crate::exchange::models;
use crate::http::answer_format::AnswerFormat;
use crate::http::framing::offers_http;
use crate::http::headers::{HeaderMutation, HeaderMutator, Headers};
use crate::http::query::QueryParameter;
use crate::http::rejection::Rejection;
use crate::http::spelling::check_ungoverned;
use crate::http::{query, route};
use crate::llm::dialect::Dialect;
use crate::llm::request::{BodyParser, BodyPatch, LlmRequest, include_usage};
use crate::policy::{Policy, Target, TargetId};
use crate::text::ascii;
use crate::time::Timestamp;

impl Exchange {
    pub(super) fn decide_headers(
        &mut self,
        config: &GatewayConfig,
        head: &Headers<'_>,
        end_of_stream: bool,
        now: &dyn Fn() -> Timestamp,
        edit: &mut HeaderMutator<'_>,
        trace: &mut impl Trace,
    ) -> Result<Action, Rejection> {
        let method = head.text(":method").unwrap_or_default();
        let Some(target) = head.text(":path") else {
            return Err(Rejection::AmbiguousPath);
        };
        if let Some(action) = self.health(config, method, target) {
            return Ok(action);
        }
        if let Some(action) = self.manages(config, head, target, end_of_stream) {
            return Ok(action);
        }
        let found = route::of_request(&config.routes, method, target, head)?;
        let leaves_http = requests_upgrade(head, edit) || method == "CONNECT";
        let Some(route::RouteMatch { route, path, model }) = found else {
            return match config.unmatched {
                Unmatched::Pass => self.pass(config, head, None, (method, target), edit),
                Unmatched::Deny => Err(Rejection::UnknownRoute),
            };
        };
        self.api = route.api;
        if route.exact {
            // The text of the route, which is no secret.
            self.log.path = Some(SmolStr::new(path));
        }
        let model = model.or_else(|| route.path_model.as_deref().map(String::from));
        self.format.provider = route.api.provider().unwrap_or_default();
        if route.public {
            return self.pass(config, head, Some(route), (method, target), edit);
        }

        let credential = config.credentials.find(head, target)?;
        let policy = config.policy.read();
        let (digest, identity) = identify(&policy, &credential.key, now, trace)
            .map_err(|rejection| self.map_unknown_key(rejection))?;
        self.log.take_identity(&identity);
        self.instances = Some(Instances::of(&identity));
        if route.api == Api::Models {
            self.format = AnswerFormat::of(route.api, target, head);
            return Ok(match models::answer(&policy, &identity, self.format.provider, path) {
                Ok(response) => self.answer(response),
                Err(rejection) => self.refuse_always(&rejection),
            });
        }
        let removes = config.unknown_query == UnknownQuery::Remove;
        let keeps = |parameter: &QueryParameter<'_>| !removes || parameters::is_known(route, parameter);
        let sanitized = sanitize(config, &credential, head, target, &keeps, &self.log, edit);
        if let Some(shadow) = ShadowMode::of(config.mode, &identity) {
            trace.step(|| super::Step::Shadow(shadow));
            self.shadow = Some(sanitized);
        }
        refuse_unserved(route.api, target)?;
        self.partial_response =
            Dialect::of(route.api).partial_responses && requests_partial_response(head, target);

        let unknown = match config.unknown_query {
            UnknownQuery::Deny => parameters::first_unknown(&config.credentials, route, target),
            UnknownQuery::Remove | UnknownQuery::Allow => None,
        };
        let reads_body = Dialect::of(route.api).reads_body;
        if leaves_http && reads_body && !matches!(method, "GET" | "CONNECT") {
            // A server that does not know the protocol answers the call, with the models that its body names.
            let reason = "a request with `Upgrade` has none; send it without that header";
            return Err(Rejection::InvalidBody(Cow::Borrowed(reason)));
        }
        if leaves_http || !reads_body {
            self.format = AnswerFormat::of(route.api, target, head);
            let mut query = query::models(target);
            if !leaves_http {
                // A parameter of an API of the operator's may have this name too.
                query.retain(|name| policy.target(name).is_some());
            }
            let names = TargetNames {
                route: route.target,
                path: model.as_deref(),
                query: &query,
                ..TargetNames::default()
            };
            let form =
                if leaves_http { CallForm::Upgrade { unmetered: route.unmetered } } else { CallForm::Bare };
            let decided = named_target(&policy, names, trace)
                .and_then(|target| {
                    unknown.map_or(Ok(()), Err)?;
                    self.authorize(sanitized, config, &policy, &identity, target, form, None, edit, trace)
                })
                .map_err(|rejection| with_shorter_name(&policy, &identity, rejection));
            self.tell_target(edit);
            return decided;
        }
        if end_of_stream {
            return Err(Rejection::InvalidBody(Cow::Borrowed("there is none, and this API needs one")));
        }
        let length = head.first("content-length");
        let bytes = length.and_then(|length| ascii::text(length)?.parse::<u64>().ok());
        if bytes.is_some_and(|bytes| bytes > config.max_body) {
            return Err(Rejection::BodyTooLarge { max: config.max_body });
        }
        let encoding = content_encoding(head)?;
        let reader = BodyParser::for_head(content_type(head)?, encoding.as_deref())?.for_api(route.api);
        // The usage in an encoded response cannot be read. A request without the field accepts any coding (RFC 9110,
        // 12.5.3).
        edit(HeaderMutation::Replace("accept-encoding", "identity"));
        self.state = ExchangeState::Body(PendingBody {
            sanitized,
            key: digest,
            model,
            target: route.target,
            query: query::models(target),
            unknown,
            reader,
            received: 0,
            announced: length.is_some(),
        });
        Ok(Action::Hold)
    }

    /// Forwards a request that needs no key: one of a public route, or of none.
    fn pass(
        &mut self,
        config: &GatewayConfig,
        head: &Headers<'_>,
        public: Option<&route::Route>,
        (method, target): (&str, &str),
        edit: &mut HeaderMutator<'_>,
    ) -> Result<Action, Rejection> {
        check_ungoverned(&config.routes, public, method, target, head)?;
        let sanitized = sanitize_public(config, head, target, edit);
        Ok(self.forward_public(sanitized))
    }

    pub(super) fn decide_body(
        &mut self,
        now: Timestamp,
        edit: &mut HeaderMutator<'_>,
        trace: &mut impl Trace,
    ) -> Action {
        let ExchangeState::Body(pending) = core::mem::replace(&mut self.state, ExchangeState::Over) else {
            return Action::Hold;
        };
        let config = Rc::clone(&self.config);
        let PendingBody { sanitized, key, model, target, query, unknown, mut reader, announced, received: _ } =
            pending;
        let is_json = matches!(reader, BodyParser::Json(_));
        let request = match reader.finish() {
            Ok(request) => request,
            Err(error) => return self.refuse_always(&error.into()),
        };
        let dialect = Dialect::of(self.api);
        self.metered = !dialect.free;
        self.unseen_output = request.unmetered_output;
        let usage = is_json && dialect.usage_on_request;
        let usage = usage.then(|| include_usage(request)).flatten();
        let usage =
            usage.map(|patch| UsageRequest { length: patch.length_of(request.bytes), announced, patch });
        let reserved;
        let unknown = unknown.map_or(Ok(()), Err);
        let (request, unknown) = match (config.unknown_members, &request.unknown) {
            (UnknownMembers::Deny, Some(name)) => {
                (request, unknown.and(Err(Rejection::UnknownMember { name: name.clone() })))
            }
            (UnknownMembers::Reserve, Some(_)) => {
                reserved = LlmRequest { external_input: true, ..request.clone() };
                (&reserved, unknown)
            }
            (UnknownMembers::Allow | UnknownMembers::Deny | UnknownMembers::Reserve, _) => (request, unknown),
        };
        let policy = config.policy.read();
        // The policy may have changed since the headers were decided.
        let found =
            identify_digest(&policy, &key, now, trace).map_err(|rejection| self.map_unknown_key(rejection));
        let decided = found.and_then(|identity| {
            // A route's target stands in for a model that the request does not name.
            let default_model = dialect.default_model.filter(|_| model.is_none() && target.is_none());
            let names = TargetNames {
                route: target,
                path: model.as_deref(),
                query: &query,
                body: request.model.as_deref().or(default_model),
            };
            let form = CallForm::Body(request);
            named_target(&policy, names, trace)
                .and_then(|target| {
                    unknown?;
                    self.authorize(sanitized, &config, &policy, &identity, target, form, usage, edit, trace)
                })
                .map_err(|rejection| with_shorter_name(&policy, &identity, rejection))
        });
        self.tell_target(edit);
        decided.unwrap_or_else(|rejection| self.refuse(&rejection))
    }

    fn map_unknown_key(&self, rejection: Rejection) -> Rejection {
        if self.awaits_keys && rejection == Rejection::InvalidKey {
            Rejection::KeysUnavailable
        } else {
            rejection
        }
    }

    /// Patches the body so that the stream ends with a usage chunk.
    fn request_usage(&mut self, request: UsageRequest, edit: &mut HeaderMutator<'_>) {
        let UsageRequest { patch, length, announced } = request;
        if announced {
            edit(HeaderMutation::Replace("content-length", &length.to_string()));
        }
        self.usage_added = true;
        self.body_patch = Some(patch);
    }

    /// Decides access and charge, and starts the admission if a quota applies.
    #[allow(clippy::too_many_arguments, reason = "the inputs of one decision")]
    fn authorize<'p>(
        &mut self,
        sanitized: Sanitized,
        config: &GatewayConfig,
        policy: &'p Policy,
        identity: &Identity<'p>,
        target: (TargetId, &'p Target),
        form: CallForm<'_>,
        usage: Option<UsageRequest>,
        edit: &mut HeaderMutator<'_>,
        trace: &mut impl Trace,
    ) -> Result<Action, Rejection> {
        // A rejection is logged with its target too, if the catalogue has it.
        self.log.target = Some(Rc::clone(&target.1.name));
        let call = Call { api: self.api, form, partial_response: self.partial_response };
        let Grant { price, admission, requests_usage, abandoned, unseen_output, max_input_tokens } =
            authorize(policy, &config.record_keys, identity, target, &call, &mut self.budget, trace)?;
        self.price = price;
        self.abandoned = abandoned;
        self.max_input_tokens = max_input_tokens;
        self.unseen_reasoning = unseen_output;
        self.reservation = admission.reservation;
        if let Some(usage) = usage.filter(|_| requests_usage) {
            self.request_usage(usage, edit);
        }
        if admission.principals.is_empty() {
            return Ok(self.forward(sanitized, None));
        }
        self.state = ExchangeState::Admitting(sanitized);
        Ok(Action::Admit(admission))
    }

    fn tell_target(&self, edit: &mut HeaderMutator<'_>) {
        if let Some(target) = &self.log.target {
            set_target_header(target, edit);
        }
    }
}

/// A change of the body that requests the usage of a stream.
struct UsageRequest {
    patch: BodyPatch,
    /// The length of the body after the change.
    length: u64,
    /// The headers announce the length of the body.
    announced: bool,
}

/// Rejects requests that no team may send, since all teams share the account at the provider.
fn refuse_unserved(api: Api, target: &str) -> Result<(), Rejection> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other API is served")]
    match api {
        Api::StoredObjects => Err(Rejection::StoredObjectsNotServed),
        Api::DirectSessions => Err(Rejection::DirectSessionsNotServed),
        // `call_id` joins a call that exists, perhaps another team's.
        Api::OpenAiRealtime if query::has(target, "call_id") => Err(Rejection::StoredObjectsNotServed),
        _ => Ok(()),
    }
}

/// True if the request upgrades to another protocol than HTTP. An upgrade to HTTP/2 is removed instead.
fn requests_upgrade(head: &Headers<'_>, edit: &mut HeaderMutator<'_>) -> bool {
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

/// True if only some fields of the response are requested: Google's APIs take a field mask for all methods ("System
/// parameters" in their documentation).
fn requests_partial_response(head: &Headers<'_>, target: &str) -> bool {
    let (_, query) = query::split(target);
    let mut names = query::parameters(query.unwrap_or_default()).filter_map(|parameter| parameter.name());
    names.any(|name| matches!(&*name, "fields" | "$fields")) || head.first("x-goog-fieldmask").is_some()
}

/// The one content-type. Servers differ in which of two they use.
fn content_type<'h>(head: &Headers<'h>) -> Result<Option<&'h str>, Rejection> {
    let mut all = head.all("content-type");
    let first = all.next();
    let unclear = || Rejection::UnsupportedType(Cow::Borrowed("the head needs one content-type, in ASCII"));
    if all.any(|other| Some(other) != first) {
        return Err(unclear());
    }
    first.map(|value| ascii::text(value).ok_or_else(unclear)).transpose()
}

/// The content-encodings of all fields, joined as one list (RFC 9110, 5.3).
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
