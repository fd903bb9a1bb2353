//! Sending on, and answering instead.

use crate::http::local_response::LocalResponse;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Action, Exchange, ExchangeState};
use crate::admission::Receipt;
use crate::collections::name_filter::NameFilter;
use crate::config::GatewayConfig;
use crate::exchange::access_log::Decision;
use crate::http::headers::{HeaderMutation, HeaderMutator, Headers};
use crate::http::rejection::Rejection;
use crate::secret::api_key;

/// Headers the upstream may trust, in the order of [`crate::exchange::access_log::AccessLogEntry::identity`].
const IDENTITY: [&str; 5] =
    ["x-tollgate-organization", "x-tollgate-team", "x-tollgate-user", "x-tollgate-key", "x-tollgate-target"];

impl Exchange {
    pub(super) fn forward(&mut self, receipt: Option<Receipt>) -> Action {
        self.state = ExchangeState::Running(receipt);
        if self.log.decision == Decision::Undecided {
            self.log.decision = Decision::Allowed;
        }
        Action::Forward(self.body_edit.take())
    }

    /// Sends on what no key is needed for; a client's word about who it is does not pass, and no key of ours. Another
    /// credential may be what that upstream asks for.
    pub(super) fn forward_ungoverned(
        &mut self,
        gateway: &GatewayConfig,
        head: &Headers<'_>,
        target: &str,
        edit: &mut HeaderMutator<'_>,
    ) -> Action {
        let knows = |key: &[u8]| gateway.policy.read().contains_secret(&api_key::digest(key));
        gateway.credentials.remove(gateway.credentials.ours(head, target, knows), target, edit);
        self.set_identity_headers(head, edit);
        self.state = ExchangeState::Over;
        self.log.decision = Decision::Public;
        Action::Forward(None)
    }

    /// The request's trailers: some servers take them for more of its head, and what a client says there about who it is does
    /// not pass either.
    pub fn trailers(&self, fields: &Headers<'_>, edit: &mut HeaderMutator<'_>) {
        remove_identity(fields, edit);
    }

    /// Replaces the identity headers, and removes every other spelling of ours that a client sent.
    pub(super) fn set_identity_headers(&self, head: &Headers<'_>, edit: &mut HeaderMutator<'_>) {
        remove_identity(head, edit);
        for (name, value) in IDENTITY.into_iter().zip(self.log.identity()) {
            if let Some(value) = value {
                edit(HeaderMutation::Replace(name, value));
            }
        }
    }

    /// Tells the upstream which target was decided on.
    pub(super) fn tell_target(&self, edit: &mut HeaderMutator<'_>) {
        if let Some(target) = &self.log.target {
            edit(HeaderMutation::Replace("x-tollgate-target", target));
        }
    }

    pub(super) fn answer(&mut self, answer: LocalResponse) -> Action {
        self.state = ExchangeState::Over;
        self.log.decision = Decision::Answered;
        self.log.status = answer.status;
        Action::Answer(answer)
    }

    /// A refusal by the policy: in shadow mode it is recorded, and the request passes.
    pub(super) fn refuse(&mut self, rejection: Rejection) -> Action {
        if self.shadow && !is_unreadable(&rejection) {
            self.log.decision = Decision::Shadowed;
            self.log.reason = Some(rejection.label().code);
            return self.forward(None);
        }
        self.refuse_always(&rejection)
    }

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
        Action::Answer(LocalResponse { status: label.status, fields, body: rejection.body(self.api) })
    }
}

fn remove_identity(head: &Headers<'_>, edit: &mut HeaderMutator<'_>) {
    for name in head.like(NameFilter::of(IDENTITY.into_iter())) {
        let ours = |known: &str| {
            known.len() == name.len()
                && known
                    .bytes()
                    .zip(name)
                    .all(|(a, b)| a == b.to_ascii_lowercase() || (a == b'-' && *b == b'_'))
        };
        if IDENTITY.iter().any(|known| ours(known)) {
            edit(HeaderMutation::Remove(&String::from_utf8_lossy(name)));
        }
    }
}

/// Nothing can be decided about it, in whatever mode.
fn is_unreadable(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::InvalidBody(_)
            | Rejection::BodyTooLarge { .. }
            | Rejection::UnsupportedEncoding
            | Rejection::AmbiguousKey
            | Rejection::AmbiguousPath
    )
}
