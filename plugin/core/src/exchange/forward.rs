//! The two ends of a decision: the request is forwarded, or rejected with a response of the gateway's own.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::sanitize::{Sanitized, sanitize_trailers};
use super::{Action, Exchange, ExchangeState};
use crate::admission::Receipt;
use crate::exchange::access_log::Decision;
use crate::http::answer_format::{AnswerFormat, grpc_message, grpc_status};
use crate::http::headers::{HeaderMutator, Headers};
use crate::http::local_response::{JSON, LocalResponse};
use crate::http::rejection::Rejection;
use crate::llm::request::BodyPatch;
use crate::secret::api_key;
use crate::secret::redact::without_known;

/// Permission to forward a request: its credential and forged identity headers were removed through the
/// [`HeaderMutator`]. Only an [`Exchange`] makes one.
///
/// ```compile_fail
/// tollgate_core::exchange::Action::Forward(tollgate_core::exchange::Forward { patch: None });
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Forward {
    patch: Option<BodyPatch>,
    _sanitized: Sanitized,
}

impl Forward {
    pub(super) fn new(sanitized: Sanitized, patch: Option<BodyPatch>) -> Self {
        Forward { patch, _sanitized: sanitized }
    }

    /// The change to apply to the request body, which the host holds completely. If the request had a content-length,
    /// the new one was already set through the [`HeaderMutator`].
    pub fn body_patch(&self) -> Option<&BodyPatch> {
        self.patch.as_ref()
    }
}

impl Exchange {
    /// Forwards a request with a key.
    pub(super) fn forward(&mut self, sanitized: Sanitized, receipt: Option<Receipt>) -> Action {
        self.state = ExchangeState::Running(sanitized, receipt);
        if self.log.decision == Decision::Undecided {
            self.log.decision = Decision::Allowed;
        }
        Action::Forward(Forward::new(sanitized, self.body_patch.take()))
    }

    /// Forwards a request that needs no key.
    pub(super) fn forward_public(&mut self, sanitized: Sanitized) -> Action {
        self.state = ExchangeState::Forwarded(sanitized);
        self.log.decision = Decision::Public;
        Action::Forward(Forward::new(sanitized, None))
    }

    /// Removes keys, identity headers and names of other methods and paths from the request's trailers, which some servers merge
    /// into its headers.
    pub fn trailers(&self, fields: &Headers<'_>, edit: &mut HeaderMutator<'_>) {
        sanitize_trailers(&self.config, fields, self.log.decision == Decision::Public, edit);
    }

    pub(super) fn answer(&mut self, response: LocalResponse) -> Action {
        self.state = ExchangeState::Over;
        self.log.decision = Decision::Answered;
        self.log.status = response.status;
        let mut response = response;
        self.private(&mut response.fields);
        Action::Answer(response)
    }

    /// Adds the fields of every local response: it depends on the key, so that no cache may keep it.
    fn private(&self, fields: &mut Vec<(&'static str, String)>) {
        fields.push(("cache-control", "no-store".into()));
        fields.push(("vary", self.config.credentials.vary()));
    }

    /// Rejects a request by the policy; in shadow mode the rejection is recorded and the request is forwarded.
    pub(super) fn refuse(&mut self, rejection: &Rejection) -> Action {
        match self.shadow {
            Some(sanitized) if !is_unreadable(rejection) => {
                self.log.decision = Decision::Shadowed;
                self.log.reason = Some(rejection.label().code);
                self.forward(sanitized, None)
            }
            _ => self.refuse_always(rejection),
        }
    }

    /// Rejects a request by its headers, in the form that they name.
    pub(super) fn refuse_head(&mut self, rejection: &Rejection, head: &Headers<'_>) -> Action {
        self.format = AnswerFormat::of(self.api, head.text(":path").unwrap_or_default(), head);
        self.refuse(rejection)
    }

    /// Rejects a request in every mode.
    pub(super) fn refuse_always(&mut self, rejection: &Rejection) -> Action {
        self.state = ExchangeState::Over;
        let label = rejection.label();
        let mut fields = Vec::new();
        self.rate_limit_status.headers(self.config.headers, self.budget, &mut |name, value| {
            fields.extend(value.map(|value| (name, value.to_owned())));
        });
        if let Rejection::Denied(exceeded) = rejection {
            fields.retain(|(name, _)| *name != "x-tollgate-scope");
            fields.push(("x-tollgate-scope", exceeded.label().to_owned()));
        }
        if let Some((seconds, millis)) = rejection.retry_after() {
            fields.push(("retry-after", seconds.to_string()));
            fields.push(("retry-after-ms", millis.to_string()));
        }
        if rejection.should_not_retry() {
            fields.push(("x-should-retry", "false".into()));
        }
        self.log.decision = Decision::Denied;
        self.log.status = label.status;
        self.log.reason = Some(label.code);
        fields.extend(rejection.challenge().map(|challenge| ("www-authenticate", challenge.to_owned())));
        self.private(&mut fields);
        let policy = self.config.policy.read();
        let plain = |text: &str| {
            let is_secret = |word: &[u8]| policy.contains_secret(&api_key::digest(word));
            without_known(text, is_secret).into_owned()
        };
        let response = match self.format.grpc {
            None => {
                fields.push((JSON.0, JSON.1.to_owned()));
                let body = plain(&rejection.body(self.format.provider));
                LocalResponse { status: label.status, fields, body }
            }
            Some(grpc) => {
                fields.push((JSON.0, grpc.content_type().to_owned()));
                fields.push(("grpc-status", grpc_status(label.status).to_string()));
                fields.push(("grpc-message", grpc_message(&plain(&rejection.message()))));
                LocalResponse { status: 200, fields, body: String::new() }
            }
        };
        Action::Answer(response)
    }
}

/// True for a request that cannot be read unambiguously, so that no mode forwards it.
fn is_unreadable(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::InvalidBody(_)
            | Rejection::ModelMismatch { .. }
            | Rejection::BodyTooLarge { .. }
            | Rejection::UnsupportedType(_)
            | Rejection::UnsupportedEncoding
            | Rejection::AmbiguousKey
            | Rejection::AmbiguousPath
    )
}
