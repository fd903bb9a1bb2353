//! The state machine of one request and its response, driven by an adapter.
//!
//! ```text
//! request_headers(), request_body() -> Hold | SignIn | Admit | Forward | Answer | Manage
//! SignIn: the adapter reads the verified JWT and calls signed_in() -> Hold | Answer | Manage
//! Admit:  the adapter runs admission::acquire on its counter store and calls admitted() -> Forward | Answer
//! Manage: the adapter runs replication::PolicyStore::manage, sends the reply and calls managed()
//! response_headers(), response_body() -> the bytes for the client
//! finish() -> the settlement, once
//! count() -> the ended call for the ledger, once
//! ```
//!
//! | module | content |
//! |---|---|
//! | `decide` | the order of the checks on headers and body |
//! | [`authorize`] | identity, access and charge; shared with `tollgate explain` |
//! | `sanitize` | removal of credentials and forged identity headers |
//! | `forward` | forwarding and rejection, shadow mode, `Retry-After` |
//! | `cost` | prices times quantities |
//! | `reserve` | upper bounds of tokens and cost |
//! | `response` | usage in the response |
//! | `settle` | the actual usage and its cost |
//! | `count` | the ended call, for the usage that is kept |
//! | `models` | the model list |
//! | `parameters` | the parameters of a query that are in a table |
//! | `managed` | requests of the management API |
//! | `health` | the health endpoints |
//! | [`access_log`] | the fields for logs and metrics |
//! | [`series`] | the series of the metrics with their labels |
//!
//! Header mutations are passed to a [`HeaderMutator`] as they become known. If the request is then answered here, they
//! have no effect.

pub mod access_log;
pub mod authorize;
mod cost;
mod count;
mod decide;
mod forward;
pub(crate) mod health;
mod managed;
mod models;
mod parameters;
mod reserve;
mod response;
mod sanitize;
pub mod series;
mod settle;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

pub use authorize::{Step, Trace};
pub use cost::{CallPrice, Units};
use count::Instances;
pub use forward::Forward;
use sanitize::Sanitized;
use smol_str::SmolStr;

use crate::admin;
use crate::admin::body_buffer::{BodyBuffer, ManagementHead};
use crate::admission::status::RateLimitStatus;
use crate::admission::{
    AdmissionError, AdmissionRequest, Admitted, Correction, NotAdmitted, Receipt, Reservation,
};
use crate::api::Api;
use crate::config::{FailureMode, GatewayConfig};
use crate::counters::StoreError;
use crate::exchange::access_log::AccessLogEntry;
use crate::http::answer_format::AnswerFormat;
use crate::http::headers::{HeaderMutator, Headers};
use crate::http::local_response::LocalResponse;
use crate::http::query;
use crate::http::rejection::Rejection;
use crate::llm::request::{BodyParser, BodyPatch};
use crate::llm::usage::{UsageChunkFilter, UsageMeter};
use crate::policy::{Abandoned, TargetId};
use crate::quota::QuotaScope;
use crate::secret::api_key::{self, Digest};
use crate::secret::redact;
use crate::time::{Clock, Timestamp};

/// The adapter's next action.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Hold everything back: the decision needs more of the body.
    Hold,
    /// Read the caller of a management request from the JWT that the host has verified, and pass it to
    /// [`Exchange::signed_in`].
    SignIn,
    /// Run [`crate::admission::acquire`] and pass its result to [`Exchange::admitted`].
    Admit(AdmissionRequest),
    /// Forward the request, with [`Forward::body_patch`] applied.
    Forward(Forward),
    /// Respond without an upstream.
    Answer(LocalResponse),
    /// Run [`crate::replication::PolicyStore::manage`], send its reply, and call [`Exchange::managed`].
    Manage(Box<admin::AdminRequest>),
}

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    config: Rc<GatewayConfig>,
    state: ExchangeState,
    log: AccessLogEntry,
    /// The caller's instances, until the call is counted.
    instances: Option<Instances>,
    rate_limit_status: RateLimitStatus,
    api: Api,
    format: AnswerFormat,
    /// Present in shadow mode: the request is forwarded although it is rejected.
    shadow: Option<Sanitized>,
    /// The fleet's keys were never read, so an unknown key may be one of them.
    awaits_keys: bool,
    /// The change to the body of the forwarded request.
    body_patch: Option<BodyPatch>,
    reservation: Reservation,
    /// The scope of the narrowest budget that applies.
    budget: Option<QuotaScope>,
    /// The price of the call.
    price: Option<CallPrice>,
    /// The charge if the call ends before its response does.
    abandoned: Abandoned,
    /// The most output tokens that such a call is taken to have generated unseen.
    unseen_reasoning: u64,
    /// The most input tokens that the target reads, by the policy.
    max_input_tokens: Option<u64>,
    /// The request's body was read, so its response holds usage.
    metered: bool,
    /// Only some fields of the response were requested, perhaps without the usage.
    partial_response: bool,
    /// The response may not show its cost; see [`crate::llm::request::LlmRequest::unmetered_output`].
    unseen_output: bool,
    /// The response holds a usage chunk that the client did not request.
    usage_added: bool,
    meter: Option<UsageMeter>,
    /// The content-length of the response.
    announced: Option<u64>,
    usage_filter: Option<UsageChunkFilter>,
    /// The response's HTTP status; 0 before it arrives.
    status: u16,
}

#[derive(Debug)]
enum ExchangeState {
    /// Before the request's headers.
    Fresh,
    /// Held back until the body is read.
    Body(PendingBody),
    /// A management request whose caller is not known yet.
    SigningIn(Box<ManagementHead>),
    /// A management request whose body is incomplete.
    BufferingBody(Box<BodyBuffer>),
    /// A management request that is being decided or stored.
    Managing,
    /// Held back until the admission.
    Admitting(Sanitized),
    /// Forwarded with a key, and not settled; the receipt if it was charged.
    Running(Sanitized, Option<Receipt>),
    /// Forwarded, with nothing to settle.
    Forwarded(Sanitized),
    /// Answered here, or given up.
    Over,
}

/// The part of a decision that is known before the body is.
#[derive(Debug)]
struct PendingBody {
    sanitized: Sanitized,
    key: Digest,
    /// The model in the path.
    model: Option<String>,
    /// The target of the route.
    target: Option<TargetId>,
    /// The models in the query.
    query: Vec<String>,
    /// The rejection of a parameter of the query that is in no table.
    unknown: Option<Rejection>,
    reader: BodyParser,
    /// Bytes of the body so far.
    received: u64,
    /// The headers announce the body's length.
    announced: bool,
}

impl Exchange {
    /// Marks the fleet's keys as never read: an unknown key is then rejected with 503 instead of 401, which clients
    /// take to be final. To be called before the headers.
    pub fn policy_not_loaded(&mut self) {
        self.awaits_keys = true;
    }

    /// A stream that has just begun.
    pub fn new(config: Rc<GatewayConfig>) -> Self {
        Exchange {
            config,
            state: ExchangeState::Fresh,
            log: AccessLogEntry::default(),
            instances: None,
            rate_limit_status: RateLimitStatus::default(),
            api: Api::Plain,
            format: AnswerFormat::default(),
            shadow: None,
            awaits_keys: false,
            body_patch: None,
            reservation: Reservation::default(),
            budget: None,
            price: None,
            abandoned: Abandoned::Seen,
            unseen_reasoning: 0,
            max_input_tokens: None,
            metered: false,
            partial_response: false,
            unseen_output: false,
            usage_added: false,
            meter: None,
            announced: None,
            usage_filter: None,
            status: 0,
        }
    }

    /// True while the request is undecided: every callback of its stream has to pause.
    pub fn is_held(&self) -> bool {
        match self.state {
            ExchangeState::Body(_)
            | ExchangeState::Admitting(_)
            | ExchangeState::SigningIn(_)
            | ExchangeState::BufferingBody(_)
            | ExchangeState::Managing => true,
            ExchangeState::Fresh
            | ExchangeState::Running(..)
            | ExchangeState::Forwarded(_)
            | ExchangeState::Over => false,
        }
    }

    /// The bytes of the request's body that the host holds while the request is undecided.
    pub fn held_bytes(&self) -> u64 {
        match &self.state {
            ExchangeState::Body(pending) => pending.received,
            // Management requests have a bound of their own.
            ExchangeState::Fresh
            | ExchangeState::SigningIn(_)
            | ExchangeState::BufferingBody(_)
            | ExchangeState::Managing
            | ExchangeState::Admitting(_)
            | ExchangeState::Running(..)
            | ExchangeState::Forwarded(_)
            | ExchangeState::Over => 0,
        }
    }

    /// Rejects the request, because there is no room for its [`Exchange::held_bytes`].
    pub fn cannot_hold(&mut self) -> Action {
        self.refuse_always(&Rejection::Busy)
    }

    /// The request's fields for logs and metrics.
    pub fn log(&self) -> &AccessLogEntry {
        &self.log
    }

    /// Decides on the request's headers. The clock is read only if the request is decided now or its key may have
    /// expired.
    pub fn request_headers(
        &mut self,
        head: &Headers<'_>,
        end_of_stream: bool,
        now: impl Clock,
        edit: &mut HeaderMutator<'_>,
    ) -> Action {
        self.request_headers_traced(head, end_of_stream, now, edit, &mut ())
    }

    /// [`Exchange::request_headers`], reporting each step of the decision.
    pub fn request_headers_traced(
        &mut self,
        head: &Headers<'_>,
        end_of_stream: bool,
        now: impl Clock,
        edit: &mut HeaderMutator<'_>,
        trace: &mut impl Trace,
    ) -> Action {
        if !matches!(self.state, ExchangeState::Fresh) {
            return self.repeat();
        }
        let config = Rc::clone(&self.config);
        let action = self
            .decide_headers(&config, head, end_of_stream, &|| now.timestamp(), edit, trace)
            .unwrap_or_else(|rejection| self.refuse_head(&rejection, head));
        if !matches!(action, Action::Hold) {
            self.log.time = Some(now.timestamp());
        }
        if self.log.path.is_none() {
            self.log.path = head.first(":path").map(|target| logged_path(&config, target));
        }
        action
    }

    /// Takes the next bytes of the request's body. `end_of_stream`: they are the last; trailers imply it, with no bytes.
    pub fn request_body(
        &mut self,
        bytes: &[u8],
        end_of_stream: bool,
        now: Timestamp,
        edit: &mut HeaderMutator<'_>,
    ) -> Action {
        self.request_body_traced(bytes, end_of_stream, now, edit, &mut ())
    }

    /// [`Exchange::request_body`], reporting each step of the decision.
    pub fn request_body_traced(
        &mut self,
        bytes: &[u8],
        end_of_stream: bool,
        now: Timestamp,
        edit: &mut HeaderMutator<'_>,
        trace: &mut impl Trace,
    ) -> Action {
        if self.is_held() {
            // The log's time is that of the last body piece before the decision.
            self.log.time = Some(now);
        }
        if matches!(self.state, ExchangeState::BufferingBody(_)) {
            return self.take_body(bytes, end_of_stream);
        }
        let ExchangeState::Body(pending) = &mut self.state else {
            return self.repeat();
        };
        pending.received = pending.received.saturating_add(bytes.len() as u64);
        let max = self.config.max_body;
        let read = if pending.received > max {
            Err(Rejection::BodyTooLarge { max })
        } else {
            pending.reader.push(bytes).map_err(Rejection::from)
        };
        match read {
            Err(rejection) => self.refuse_always(&rejection),
            Ok(()) if end_of_stream => self.decide_body(now, edit, trace),
            Ok(()) => Action::Hold,
        }
    }

    /// The action for further headers or body when nothing is left to decide: forward if the request was forwarded,
    /// otherwise hold.
    fn repeat(&self) -> Action {
        match self.state {
            ExchangeState::Running(sanitized, _) | ExchangeState::Forwarded(sanitized) => {
                Action::Forward(Forward::new(sanitized, None))
            }
            ExchangeState::Fresh
            | ExchangeState::Body(_)
            | ExchangeState::SigningIn(_)
            | ExchangeState::BufferingBody(_)
            | ExchangeState::Managing
            | ExchangeState::Admitting(_)
            | ExchangeState::Over => Action::Hold,
        }
    }

    /// Takes the result of [`Action::Admit`]. Returns the next action, and the roll-backs that have to be retried later.
    pub fn admitted(&mut self, outcome: Result<Admitted, NotAdmitted>) -> (Action, Vec<Correction>) {
        let ExchangeState::Admitting(sanitized) = self.state else {
            // A repeated result never forwards: the mutations of the headers were handed out with the first one.
            let corrections = match outcome {
                Ok(Admitted { receipt, status: _ }) => receipt.into_corrections(),
                Err(NotAdmitted { unsettled, .. }) => unsettled,
            };
            return (Action::Hold, corrections);
        };
        match outcome {
            Ok(Admitted { receipt, status }) => {
                self.take_rate_limit_status(status);
                (self.forward(sanitized, Some(receipt)), Vec::new())
            }
            Err(NotAdmitted { error, status, unsettled }) => {
                self.take_rate_limit_status(status);
                let action = match error {
                    AdmissionError::Denied(mut exceeded) => {
                        exceeded.input_cost = self.reservation.input_cost;
                        self.refuse(&Rejection::Denied(exceeded))
                    }
                    AdmissionError::Store(error) => {
                        let mode = match error {
                            StoreError::Contention => self.config.on_contention,
                            StoreError::Unavailable(_) => self.config.on_unavailable,
                        };
                        match mode {
                            FailureMode::Deny => self.refuse(&Rejection::LimitsUnavailable),
                            FailureMode::Allow => {
                                self.log.uncounted = true;
                                self.forward(sanitized, None)
                            }
                        }
                    }
                };
                (action, unsettled)
            }
        }
    }

    fn take_rate_limit_status(&mut self, rate_limit_status: RateLimitStatus) {
        self.log.over_soft_budget = rate_limit_status.over_soft_budget();
        self.rate_limit_status = rate_limit_status;
    }
}

/// The path of a request for the log: without a key in any segment. A CONNECT may have a host and a port in its place.
#[cold]
fn logged_path(config: &GatewayConfig, target: &[u8]) -> SmolStr {
    let target = String::from_utf8_lossy(target);
    let (path, _) = query::split(&target);
    let policy = config.policy.read();
    let is_secret = |text: &[u8]| policy.contains_secret(&api_key::digest(text));
    SmolStr::new(redact::path(path, is_secret))
}
