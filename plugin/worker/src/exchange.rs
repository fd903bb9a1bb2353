//! One request and its response: the core's state machine with types for TypeScript.

use std::rc::Rc;

use serde::Serialize;
use tollgate_core::admission::status::RateLimitStatus;
use tollgate_core::admission::{AdmissionError, Admitted, NotAdmitted, Receipt};
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::{StoreError, UnavailableError};
use tollgate_core::exchange as core;
use tollgate_core::http::headers;
use tollgate_core::http::headers::Headers;
use tollgate_core::http::local_response::LocalResponse as LocalAnswer;
use tollgate_core::llm::request::BodyPatch;
use tollgate_core::time::Now;
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::wire::{self, Outcome};

/// The next action.
#[derive(Debug, Serialize, Tsify)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Step {
    /// Hold everything back, and pass more of the request's body.
    Hold,
    /// Let the object of this organization admit these charges; call `admitted` or `unavailable` with the
    /// result.
    Admit {
        /// The organization's id.
        organization: String,
        /// The charges, for the object.
        #[serde(with = "serde_bytes")]
        #[tsify(type = "Uint8Array")]
        charges: Vec<u8>,
    },
    /// Forward the request after these changes to its head, in this order. `:path` is the path with its
    /// query.
    Forward {
        /// Changes to the head.
        edits: Vec<Edit>,
        /// A change to the body, all of which was held.
        #[serde(skip_serializing_if = "Option::is_none")]
        splice: Option<Splice>,
    },
    /// Send this response without the upstream.
    Answer {
        /// The HTTP status.
        status: u16,
        /// Fields of the head, without content-length.
        fields: Vec<(String, String)>,
        /// The body, as JSON.
        body: String,
    },
}

/// A change to a head.
#[derive(Debug, Serialize, Tsify)]
pub struct Edit {
    /// The header field.
    pub name: String,
    /// Its new and only value; absent if it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A replacement of bytes of a body.
#[derive(Debug, Serialize, Tsify)]
pub struct Splice {
    /// The offset of the first replaced byte.
    pub start: u32,
    /// The offset of the first byte after the replaced ones.
    pub end: u32,
    /// The new bytes.
    pub put: String,
}

/// Names and values of everything recorded about a request, for logs. Never a key, a digest or a body.
#[derive(Debug, Serialize, Tsify)]
pub struct Facts(pub Vec<(String, String)>);

/// One request and its response. Call `free` after `facts`.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Exchange {
    exchange: core::Exchange,
    /// Changes to the request's head, until it is forwarded.
    edits: Vec<Edit>,
}

/// Parses names and values in turn, as the flattened fields of a `Headers`.
fn with_head<R>(fields: &[String], use_it: impl FnOnce(&Headers<'_>) -> R) -> R {
    let (pairs, _) = fields.as_chunks::<2>();
    let pairs: Vec<_> = pairs.iter().map(|[name, value]| (name.as_bytes(), value.as_bytes())).collect();
    use_it(&Headers::new(&pairs))
}

/// Converts milliseconds since the Unix epoch (`Date.now`). A worker has no other clock that outlives an
/// isolate.
pub(crate) fn at(millis: f64) -> Now {
    let wall = (millis as u64).saturating_mul(1_000_000);
    Now { wall, monotonic: wall }
}

impl Exchange {
    pub(crate) fn new(gateway: Rc<GatewayConfig>) -> Self {
        Exchange { exchange: core::Exchange::new(gateway), edits: Vec::new() }
    }

    fn step(&mut self, step: core::Action) -> Result<Ts<Step>, JsError> {
        let step = match step {
            core::Action::Hold => Step::Hold,
            core::Action::Admit(charges) => {
                let organization = self.exchange.log().organization.as_deref().unwrap_or_default();
                Step::Admit { organization: organization.to_owned(), charges: wire::encode(&charges)? }
            }
            core::Action::Forward(forward) => Step::Forward {
                edits: std::mem::take(&mut self.edits),
                splice: forward.body_patch().map(Splice::from),
            },
            core::Action::Answer(LocalAnswer { status, fields, body }) => {
                let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                Step::Answer { status, fields, body }
            }
            core::Action::SignIn | core::Action::Manage(_) => {
                return Err(JsError::new("a worker does not serve the management API"));
            }
        };
        Ok(step.into_ts()?)
    }

    fn concluded(&mut self, outcome: Result<Admitted, NotAdmitted>) -> Result<Ts<Step>, JsError> {
        // The object has released everything: its counters change in one transaction.
        let (step, _) = self.exchange.admitted(outcome);
        self.step(step)
    }
}

#[wasm_bindgen]
impl Exchange {
    /// Passes the request's head: `:method`, `:path`, `:authority`, `:scheme` and the fields, as names and
    /// values in turn. `last`: no body follows. `now` is `Date.now()` in every method.
    ///
    /// # Errors
    /// Throws if the step cannot be converted to JavaScript.
    pub fn head(&mut self, fields: Vec<String>, last: bool, now: f64) -> Result<Ts<Step>, JsError> {
        let edits = &mut self.edits;
        let step = with_head(&fields, |head| {
            self.exchange
                .request_headers(head, last, at(now).timestamp(), &mut |edit| edits.push(edit.into()))
        });
        self.step(step)
    }

    /// Passes the next bytes of the request's body. `last`: they are the last ones.
    ///
    /// # Errors
    /// As above.
    pub fn body(&mut self, bytes: &[u8], last: bool, now: f64) -> Result<Ts<Step>, JsError> {
        let edits = &mut self.edits;
        let step =
            self.exchange.request_body(bytes, last, at(now).timestamp(), &mut |edit| edits.push(edit.into()));
        self.step(step)
    }

    /// Passes the object's result for the charges.
    ///
    /// # Errors
    /// Throws if it is another build's result: call `unavailable` then.
    pub fn admitted(&mut self, outcome: &[u8]) -> Result<Ts<Step>, JsError> {
        let outcome = match wire::decode(outcome)? {
            // The receipt stays with the object.
            Outcome::Admitted(standing) => Ok(Admitted { receipt: Receipt::default(), status: standing }),
            Outcome::Denied(denial, standing) => Err(NotAdmitted {
                error: AdmissionError::Denied(Box::new(denial)),
                status: standing,
                unsettled: Vec::new(),
            }),
        };
        self.concluded(outcome)
    }

    /// Reports that the object is unavailable: `on_unavailable` decides.
    ///
    /// # Errors
    /// As above.
    pub fn unavailable(&mut self) -> Result<Ts<Step>, JsError> {
        self.concluded(Err(NotAdmitted {
            error: AdmissionError::Store(StoreError::Unavailable(UnavailableError::Unreachable)),
            status: RateLimitStatus::default(),
            unsettled: Vec::new(),
        }))
    }

    /// Reports that the upstream sends no response and the worker sends an error of its own.
    pub fn unanswered(&mut self) {
        self.exchange.upstream_failed();
    }

    /// Passes the response's head, with `:status` among its fields, and returns the changes to it.
    ///
    /// # Errors
    /// As above.
    #[wasm_bindgen(js_name = answerHead)]
    pub fn answer_head(&mut self, fields: Vec<String>) -> Result<Vec<Ts<Edit>>, JsError> {
        let mut edits: Vec<Edit> = Vec::new();
        with_head(&fields, |head| self.exchange.response_headers(head, &mut |edit| edits.push(edit.into())));
        edits.into_iter().map(|edit| Ok(edit.into_ts()?)).collect()
    }

    /// Passes the next bytes of the response's body (`last`: they are the last ones), and returns the bytes
    /// for the client.
    #[wasm_bindgen(js_name = answerBody)]
    pub fn answer_body(&mut self, bytes: &[u8], last: bool) -> Vec<u8> {
        self.exchange.response_body(bytes, last).into_owned()
    }

    /// Ends the exchange in any state, and returns the settlement for the object. Only the first call returns
    /// one.
    ///
    /// # Errors
    /// As above.
    pub fn end(&mut self, complete: bool) -> Result<Option<Vec<u8>>, JsError> {
        let settlement = self.exchange.finish(complete);
        Ok(settlement.map(|(_, actual)| wire::encode(&actual)).transpose()?)
    }

    /// Returns everything recorded about the request.
    ///
    /// # Errors
    /// As above.
    pub fn facts(&self) -> Result<Ts<Facts>, JsError> {
        let fields = self.exchange.log().fields().into_iter();
        let plain = |name: &str| name.strip_prefix("tollgate.").unwrap_or(name).to_owned();
        Ok(Facts(fields.map(|(name, value)| (plain(name), value.into())).collect()).into_ts()?)
    }
}

impl From<&BodyPatch> for Splice {
    fn from(edit: &BodyPatch) -> Self {
        Splice { start: edit.at.start as u32, end: edit.at.end as u32, put: edit.put.to_owned() }
    }
}

impl From<headers::HeaderMutation<'_>> for Edit {
    fn from(edit: headers::HeaderMutation<'_>) -> Self {
        match edit {
            headers::HeaderMutation::Remove(name) => Edit { name: name.into(), value: None },
            headers::HeaderMutation::Replace(name, value) => {
                Edit { name: name.to_owned(), value: Some(value.to_owned()) }
            }
        }
    }
}
