//! One request and its answer: the state machine an adapter drives.
//!
//! ```text
//! head() -> Hold | Admit | Forward | Answer        body() -> the same
//! head(), body() -> Respond, or Manage: the adapter has it decided and says so with managed()
//! Admit: the adapter runs the admission on its cells and calls admitted() -> Forward | Answer
//! answer_head()                                    answer_body() -> what of it the client sees
//! end() -> the settlement, once
//! ```
//!
//! Changes to a head are told to an [`HeaderMutator`] as they become known; those of a request that is then answered here
//! were for nothing.

pub mod access_log;
mod decide;
mod forward;
mod managed;
mod models;
mod reserve;
mod response;
mod settle;

use crate::http::local_response::LocalResponse;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use crate::admin;
use crate::admin::body_buffer::{BodyBuffer, TooLarge};
use crate::admission::status::RateLimitStatus;
use crate::admission::{
    AdmissionError, AdmissionRequest, Admitted, Correction, NotAdmitted, Receipt, Reservation,
};
use crate::api::Api;
use crate::config::{FailureMode, GatewayConfig};
use crate::counters::StoreError;
use crate::exchange::access_log::AccessLogEntry;
use crate::http::headers::{HeaderMutator, Headers};
use crate::http::rejection::Rejection;
use crate::llm::request::{BodyParser, BodyPatch};
use crate::llm::usage::{UsageChunkFilter, UsageMeter};
use crate::money::Price;
use crate::policy::TargetId;
use crate::quota::QuotaScope;
use crate::secret::api_key::Digest;
use crate::time::{Clock, Timestamp};

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Hold everything back: the decision needs more of the body.
    Hold,
    /// Run [`crate::admission::admit`] on these and report to [`Exchange::admitted`].
    Admit(AdmissionRequest),
    /// Send it on, with this change to the body, all of which is held at that moment. Where its length was announced,
    /// the editor was told the new one.
    Forward(Option<BodyPatch>),
    /// Answer it here.
    Answer(LocalResponse),
    /// Give it to [`crate::replication::PolicyStore::manage`], answer it, and report to [`Exchange::managed`].
    Manage(Box<admin::AdminRequest>),
    /// Answer it here as the management API does.
    Respond(LocalResponse),
}

/// One request and its answer.
#[derive(Debug)]
pub struct Exchange {
    config: Rc<GatewayConfig>,
    state: ExchangeState,
    log: AccessLogEntry,
    rate_limit_status: RateLimitStatus,
    api: Api,
    /// Refusals are recorded only.
    shadow: bool,
    /// A key that is not known may be one of the fleet's, which was never read.
    awaits_keys: bool,
    /// What will be changed when the request is sent on.
    body_edit: Option<BodyPatch>,
    reservation: Reservation,
    /// Whose budget governs it: the narrowest one's.
    budget: Option<QuotaScope>,
    price: Option<Price>,
    /// The request had a body that was read, so its answer holds usage.
    metered: bool,
    /// A part of the answer was asked for, perhaps without its usage.
    partial_answer: bool,
    /// The answer may not show what it costs; see [`crate::llm::request::LlmRequest::unseen_output`].
    unseen_output: bool,
    /// The answer holds a chunk that the client did not ask for.
    usage_added: bool,
    meter: Option<UsageMeter>,
    /// How long the answer says that it is.
    announced: Option<u64>,
    usage_filter: Option<UsageChunkFilter>,
    /// Of the answer; 0: none came.
    status: u16,
}

#[derive(Debug)]
enum ExchangeState {
    /// The head has not come.
    Fresh,
    /// The body decides; held back.
    Body(PendingBody),
    /// A management request whose body is still coming.
    BufferingBody(Box<BodyBuffer>),
    /// It is being decided, or kept.
    Managing,
    /// The cells are being asked.
    Admitting,
    /// Sent on; the receipt, if it was charged.
    Running(Option<Receipt>),
    /// Answered here, or settled.
    Over,
}

/// What is known before the body is.
#[derive(Debug)]
struct PendingBody {
    key: Digest,
    /// From the path, where it names one.
    model: Option<String>,
    target: Option<TargetId>,
    reader: BodyParser,
    /// Bytes of the body so far.
    received: u64,
    /// The head says how long the body is.
    announced: bool,
}

impl Exchange {
    /// Says before the head comes that the fleet's keys were never read: then a key that is not known here is no
    /// reason for a 401, which clients take to be final.
    pub fn policy_not_loaded(&mut self) {
        self.awaits_keys = true;
    }

    /// A stream that has just begun.
    pub fn new(gateway: Rc<GatewayConfig>) -> Self {
        Exchange {
            config: gateway,
            state: ExchangeState::Fresh,
            log: AccessLogEntry::default(),
            rate_limit_status: RateLimitStatus::default(),
            api: Api::Plain,
            shadow: false,
            awaits_keys: false,
            body_edit: None,
            reservation: Reservation::default(),
            budget: None,
            price: None,
            metered: false,
            partial_answer: false,
            unseen_output: false,
            usage_added: false,
            meter: None,
            announced: None,
            usage_filter: None,
            status: 0,
        }
    }

    /// Whether the request is still undecided: every callback of its stream is to pause.
    pub fn is_held(&self) -> bool {
        matches!(
            self.state,
            ExchangeState::Body(_)
                | ExchangeState::Admitting
                | ExchangeState::BufferingBody(_)
                | ExchangeState::Managing
        )
    }

    /// What is known about the request, for logs and metrics.
    pub fn log(&self) -> &AccessLogEntry {
        &self.log
    }

    /// The request's head. The moment is asked for where it is decided now, or may be too late.
    pub fn request_headers(
        &mut self,
        head: &Headers<'_>,
        end_of_stream: bool,
        now: impl Clock,
        edit: &mut HeaderMutator<'_>,
    ) -> Action {
        if !matches!(self.state, ExchangeState::Fresh) {
            return Action::Forward(None);
        }
        let gateway = Rc::clone(&self.config);
        let step = self
            .decide_headers(&gateway, head, end_of_stream, &|| now.timestamp(), edit)
            .unwrap_or_else(|rejection| self.refuse(rejection));
        if !matches!(step, Action::Hold) {
            self.log.time = Some(now.timestamp());
        }
        step
    }

    /// The next bytes of the request's body, and whether they are the last: trailers say so too, with none.
    pub fn request_body(
        &mut self,
        bytes: &[u8],
        end_of_stream: bool,
        now: Timestamp,
        edit: &mut HeaderMutator<'_>,
    ) -> Action {
        if self.is_held() {
            // Until it is decided the latest moment is the decision's.
            self.log.time = Some(now);
        }
        if let ExchangeState::BufferingBody(intake) = &mut self.state {
            return match intake.append(bytes) {
                Err(TooLarge) => self.too_large(),
                Ok(()) if end_of_stream => self.take_in(),
                Ok(()) => Action::Hold,
            };
        }
        let ExchangeState::Body(pending) = &mut self.state else {
            return if self.is_held() { Action::Hold } else { Action::Forward(None) };
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
            Ok(()) if end_of_stream => self.decide_body(now, edit),
            Ok(()) => Action::Hold,
        }
    }

    /// The outcome of [`Step::Admit`]: what to do next, and roll-backs that are to be tried again later.
    pub fn admitted(&mut self, outcome: Result<Admitted, NotAdmitted>) -> (Action, Vec<Correction>) {
        match outcome {
            Ok(Admitted { receipt, status: rate_limit_status }) => {
                self.take_rate_limit_status(rate_limit_status);
                (self.forward(Some(receipt)), Vec::new())
            }
            Err(NotAdmitted { error: why, status: rate_limit_status, unsettled }) => {
                self.take_rate_limit_status(rate_limit_status);
                let trouble = match &why {
                    AdmissionError::Cells(StoreError::Contention) => self.config.on_contention,
                    AdmissionError::Cells(StoreError::Unavailable(_)) => self.config.on_unavailable,
                    AdmissionError::Denied(_) => FailureMode::Deny,
                };
                let step = match (why, trouble) {
                    (AdmissionError::Denied(exceeded), _) => self.refuse(Rejection::Denied(exceeded)),
                    (AdmissionError::Cells(_), FailureMode::Deny) => {
                        self.refuse(Rejection::LimitsUnavailable)
                    }
                    (AdmissionError::Cells(_), FailureMode::Allow) => {
                        self.log.uncounted = true;
                        self.forward(None)
                    }
                };
                (step, unsettled)
            }
        }
    }

    fn take_rate_limit_status(&mut self, rate_limit_status: RateLimitStatus) {
        self.log.over_soft_budget = rate_limit_status.over_soft_budget();
        self.rate_limit_status = rate_limit_status;
    }
}

/// Whether the API's requests say in their body what they ask for.
fn reads_body(api: Api) -> bool {
    !matches!(api, Api::Plain | Api::Models)
}
