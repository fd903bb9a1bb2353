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
//! Changes to a head are told to an [`Editor`] as they become known; those of a request that is then answered here
//! were for nothing.

pub mod access_log;
mod decide;
mod forward;
mod managed;
mod models;
mod reserve;
mod response;
mod settle;

use crate::http::local_response::Answer;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use crate::admin;
use crate::admin::body_buffer::{Intake, TooLarge};
use crate::admission::status::Standing;
use crate::admission::{Admitted, Charges, Correction, NotAdmitted, Receipt, Reservation, Why};
use crate::api::Api;
use crate::config::{Gateway, OnTrouble};
use crate::counters::CellsError;
use crate::exchange::access_log::Facts;
use crate::http::headers::{Editor, Head};
use crate::http::rejection::Refusal;
use crate::llm::request::{BodyEdit, Reader};
use crate::llm::usage::{Meter, UsageStrip};
use crate::money::Price;
use crate::policy::TargetIx;
use crate::quota::Scope;
use crate::secret::api_key::Digest;
use crate::time::{Moment, Timestamp};

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Hold everything back: the decision needs more of the body.
    Hold,
    /// Run [`crate::admission::admit`] on these and report to [`Exchange::admitted`].
    Admit(Charges),
    /// Send it on, with this change to the body, all of which is held at that moment. Where its length was announced,
    /// the editor was told the new one.
    Forward(Option<BodyEdit>),
    /// Answer it here.
    Answer(Answer),
    /// Give it to [`crate::replication::Keeper::manage`], answer it, and report to [`Exchange::managed`].
    Manage(Box<admin::Request>),
    /// Answer it here as the management API does.
    Respond(admin::Response),
}

/// One request and its answer.
#[derive(Debug)]
pub struct Exchange {
    gateway: Rc<Gateway>,
    stage: Stage,
    facts: Facts,
    standing: Standing,
    api: Api,
    /// Refusals are recorded only.
    shadow: bool,
    /// A key that is not known may be one of the fleet's, which was never read.
    awaits_keys: bool,
    /// What will be changed when the request is sent on.
    body_edit: Option<BodyEdit>,
    reservation: Reservation,
    /// Whose budget governs it: the narrowest one's.
    budget: Option<Scope>,
    price: Option<Price>,
    /// The request had a body that was read, so its answer holds usage.
    metered: bool,
    /// A part of the answer was asked for, perhaps without its usage.
    partial_answer: bool,
    /// The answer may not show what it costs; see [`crate::llm::request::Ask::unseen_output`].
    unseen_output: bool,
    /// The answer holds a chunk that the client did not ask for.
    usage_added: bool,
    meter: Option<Meter>,
    /// How long the answer says that it is.
    announced: Option<u64>,
    strip: Option<UsageStrip>,
    /// Of the answer; 0: none came.
    status: u16,
}

#[derive(Debug)]
enum Stage {
    /// The head has not come.
    Fresh,
    /// The body decides; held back.
    Body(Pending),
    /// A management request whose body is still coming.
    Intake(Box<Intake>),
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
struct Pending {
    key: Digest,
    /// From the path, where it names one.
    model: Option<String>,
    target: Option<TargetIx>,
    reader: Reader,
    /// Bytes of the body so far.
    received: u64,
    /// The head says how long the body is.
    announced: bool,
}

impl Exchange {
    /// Says before the head comes that the fleet's keys were never read: then a key that is not known here is no
    /// reason for a 401, which clients take to be final.
    pub fn await_keys(&mut self) {
        self.awaits_keys = true;
    }

    /// A stream that has just begun.
    pub fn new(gateway: Rc<Gateway>) -> Self {
        Exchange {
            gateway,
            stage: Stage::Fresh,
            facts: Facts::default(),
            standing: Standing::default(),
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
            strip: None,
            status: 0,
        }
    }

    /// Whether the request is still undecided: every callback of its stream is to pause.
    pub fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Body(_) | Stage::Admitting | Stage::Intake(_) | Stage::Managing)
    }

    /// What is known about the request, for logs and metrics.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The request's head. The moment is asked for where it is decided now, or may be too late.
    pub fn head(
        &mut self,
        head: &Head<'_>,
        end_of_stream: bool,
        now: impl Moment,
        edit: &mut Editor<'_>,
    ) -> Step {
        if !matches!(self.stage, Stage::Fresh) {
            return Step::Forward(None);
        }
        let gateway = Rc::clone(&self.gateway);
        let step = self
            .decide_head(&gateway, head, end_of_stream, &|| now.timestamp(), edit)
            .unwrap_or_else(|refusal| self.refuse(refusal));
        if !matches!(step, Step::Hold) {
            self.facts.time = Some(now.timestamp());
        }
        step
    }

    /// The next bytes of the request's body, and whether they are the last: trailers say so too, with none.
    pub fn body(&mut self, bytes: &[u8], end_of_stream: bool, now: Timestamp, edit: &mut Editor<'_>) -> Step {
        if self.is_held() {
            // Until it is decided the latest moment is the decision's.
            self.facts.time = Some(now);
        }
        if let Stage::Intake(intake) = &mut self.stage {
            return match intake.body(bytes) {
                Err(TooLarge) => self.too_large(),
                Ok(()) if end_of_stream => self.take_in(),
                Ok(()) => Step::Hold,
            };
        }
        let Stage::Body(pending) = &mut self.stage else {
            return if self.is_held() { Step::Hold } else { Step::Forward(None) };
        };
        pending.received = pending.received.saturating_add(bytes.len() as u64);
        let max = self.gateway.max_body;
        let read = if pending.received > max {
            Err(Refusal::BodyTooLarge { max })
        } else {
            pending.reader.push(bytes).map_err(Refusal::from)
        };
        match read {
            Err(refusal) => self.refuse_always(&refusal),
            Ok(()) if end_of_stream => self.decide_body(now, edit),
            Ok(()) => Step::Hold,
        }
    }

    /// The outcome of [`Step::Admit`]: what to do next, and roll-backs that are to be tried again later.
    pub fn admitted(&mut self, outcome: Result<Admitted, NotAdmitted>) -> (Step, Vec<Correction>) {
        match outcome {
            Ok(Admitted { receipt, standing }) => {
                self.take_standing(standing);
                (self.forward(Some(receipt)), Vec::new())
            }
            Err(NotAdmitted { why, standing, unsettled }) => {
                self.take_standing(standing);
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

    fn take_standing(&mut self, standing: Standing) {
        self.facts.over_soft_budget = standing.over_soft_budget();
        self.standing = standing;
    }
}

/// Whether the API's requests say in their body what they ask for.
fn reads_body(api: Api) -> bool {
    !matches!(api, Api::Plain | Api::Models)
}
