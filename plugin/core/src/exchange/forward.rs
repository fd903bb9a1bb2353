//! Sending on, and answering instead.

use crate::http::local_response::Answer;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Exchange, Stage, Step};
use crate::admission::Receipt;
use crate::collections::name_filter::Sketch;
use crate::config::Gateway;
use crate::exchange::access_log::Decision;
use crate::http::headers::{Edit, Editor, Head};
use crate::http::rejection::Refusal;
use crate::secret::api_key;

/// Headers the upstream may trust, in the order of [`crate::exchange::access_log::Facts::identity`].
const IDENTITY: [&str; 5] =
    ["x-tollgate-organization", "x-tollgate-team", "x-tollgate-user", "x-tollgate-key", "x-tollgate-target"];

impl Exchange {
    pub(super) fn forward(&mut self, receipt: Option<Receipt>) -> Step {
        self.stage = Stage::Running(receipt);
        if self.facts.decision == Decision::Undecided {
            self.facts.decision = Decision::Allowed;
        }
        Step::Forward(self.body_edit.take())
    }

    /// Sends on what no key is needed for; a client's word about who it is does not pass, and no key of ours. Another
    /// credential may be what that upstream asks for.
    pub(super) fn forward_ungoverned(
        &mut self,
        gateway: &Gateway,
        head: &Head<'_>,
        target: &str,
        edit: &mut Editor<'_>,
    ) -> Step {
        let knows = |key: &[u8]| gateway.policy.read().knows(&api_key::digest(key));
        gateway.credentials.remove(gateway.credentials.ours(head, target, knows), target, edit);
        self.tell_identity(head, edit);
        self.stage = Stage::Over;
        self.facts.decision = Decision::Public;
        Step::Forward(None)
    }

    /// The request's trailers: some servers take them for more of its head, and what a client says there about who it is does
    /// not pass either.
    pub fn trailers(&self, fields: &Head<'_>, edit: &mut Editor<'_>) {
        remove_identity(fields, edit);
    }

    /// Replaces the identity headers, and removes every other spelling of ours that a client sent.
    pub(super) fn tell_identity(&self, head: &Head<'_>, edit: &mut Editor<'_>) {
        remove_identity(head, edit);
        for (name, value) in IDENTITY.into_iter().zip(self.facts.identity()) {
            if let Some(value) = value {
                edit(Edit::Replace(name, value));
            }
        }
    }

    /// Tells the upstream which target was decided on.
    pub(super) fn tell_target(&self, edit: &mut Editor<'_>) {
        if let Some(target) = &self.facts.target {
            edit(Edit::Replace("x-tollgate-target", target));
        }
    }

    pub(super) fn answer(&mut self, answer: Answer) -> Step {
        self.stage = Stage::Over;
        self.facts.decision = Decision::Answered;
        self.facts.status = answer.status;
        Step::Answer(answer)
    }

    /// A refusal by the policy: in shadow mode it is recorded, and the request passes.
    pub(super) fn refuse(&mut self, refusal: Refusal) -> Step {
        if self.shadow && !is_unreadable(&refusal) {
            self.facts.decision = Decision::Shadowed;
            self.facts.reason = Some(refusal.label().code);
            return self.forward(None);
        }
        self.refuse_always(&refusal)
    }

    pub(super) fn refuse_always(&mut self, refusal: &Refusal) -> Step {
        self.stage = Stage::Over;
        let label = refusal.label();
        let mut fields = Vec::new();
        self.standing.headers(self.gateway.headers, self.budget, &mut |name, value| {
            fields.extend(value.map(|value| (name, value.to_owned())));
        });
        if let Refusal::Denied(denial) = refusal {
            fields.retain(|(name, _)| *name != "x-tollgate-scope");
            fields.push(("x-tollgate-scope", denial.label().to_owned()));
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

fn remove_identity(head: &Head<'_>, edit: &mut Editor<'_>) {
    for name in head.like(Sketch::of(IDENTITY.into_iter())) {
        let ours = |known: &str| {
            known.len() == name.len()
                && known
                    .bytes()
                    .zip(name)
                    .all(|(a, b)| a == b.to_ascii_lowercase() || (a == b'-' && *b == b'_'))
        };
        if IDENTITY.iter().any(|known| ours(known)) {
            edit(Edit::Remove(&String::from_utf8_lossy(name)));
        }
    }
}

/// Nothing can be decided about it, in whatever mode.
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
