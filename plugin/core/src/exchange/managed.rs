//! Requests of the management API.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;

use super::{Exchange, Stage, Step};
use crate::admin::body_buffer::{Intake, MAX_BODY, TooLarge};
use crate::admin::problem::Problem;
use crate::config::Gateway;
use crate::exchange::access_log::Decision;
use crate::http::headers::Head;
use crate::http::rejection::Refusal;
use crate::http::route;

impl Exchange {
    /// What to do with a request below the management API's prefix; `None`: it is not.
    pub(super) fn manages(
        &mut self,
        gateway: &Gateway,
        head: &Head<'_>,
        target: &str,
        end_of_stream: bool,
    ) -> Option<Step> {
        let manage = gateway.manage.as_ref()?;
        Some(match Intake::begin(&manage.prefix, head, target) {
            Err(TooLarge) => self.too_large(),
            Ok(intake) => {
                let mut intake = intake?;
                if route::plain_path(target).is_err() {
                    return Some(self.refuse_managing(
                        400,
                        &Refusal::AmbiguousPath.message(),
                        "ambiguous_path",
                    ));
                }
                // Nobody's body would be kept for nothing; who a JWT names is known only when it is decided.
                let waits = manage.jwt.is_some() || intake.is_signed(&gateway.policy.read());
                if !end_of_stream && !waits {
                    intake.leave_unread();
                }
                self.stage = Stage::Intake(Box::new(intake));
                if end_of_stream || !waits { self.take_in() } else { Step::Hold }
            }
        })
    }

    /// The body is whole.
    pub(super) fn take_in(&mut self) -> Step {
        match core::mem::replace(&mut self.stage, Stage::Managing) {
            Stage::Intake(intake) => Step::Manage(Box::new(intake.finish())),
            _ => Step::Hold,
        }
    }

    pub(super) fn too_large(&mut self) -> Step {
        let detail = format!("A request of the management API has at most {MAX_BODY} bytes.");
        self.refuse_managing(413, &detail, "body_too_large")
    }

    fn refuse_managing(&mut self, status: u16, detail: &str, code: &'static str) -> Step {
        self.managed(status, Some(Cow::Borrowed(code)));
        Step::Respond(Problem::new(status, code, detail).response())
    }

    /// A management request was answered with this status; `reason`: the code of its refusal.
    pub fn managed(&mut self, status: u16, reason: Option<Cow<'static, str>>) {
        self.stage = Stage::Over;
        self.facts.decision = if reason.is_some() { Decision::Denied } else { Decision::Answered };
        self.facts.status = status;
        self.facts.reason = reason;
    }
}
