//! Requests of the management API.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;

use super::{Action, Exchange, ExchangeState};
use crate::admin::body_buffer::{BodyBuffer, MAX_BODY, TooLarge};
use crate::admin::problem::Problem;
use crate::config::GatewayConfig;
use crate::exchange::access_log::Decision;
use crate::http::headers::Headers;
use crate::http::rejection::Rejection;
use crate::http::route;

impl Exchange {
    /// The action for a request below the management API's prefix; `None` for another path.
    pub(super) fn manages(
        &mut self,
        gateway: &GatewayConfig,
        head: &Headers<'_>,
        target: &str,
        end_of_stream: bool,
    ) -> Option<Action> {
        let manage = gateway.admin.as_ref()?;
        Some(match BodyBuffer::begin(&manage.prefix, head, target) {
            Err(TooLarge) => self.too_large(),
            Ok(intake) => {
                let mut intake = intake?;
                if route::plain_path(target).is_err() {
                    return Some(self.refuse_managing(
                        400,
                        &Rejection::AmbiguousPath.message(),
                        "ambiguous_path",
                    ));
                }
                // The body of an unknown caller is not read. A JWT names its caller only when the request is decided.
                let waits = manage.jwt.is_some() || intake.has_known_token(&gateway.policy.read());
                if !end_of_stream && !waits {
                    intake.skip_body();
                }
                self.state = ExchangeState::BufferingBody(Box::new(intake));
                if end_of_stream || !waits { self.take_in() } else { Action::Hold }
            }
        })
    }

    /// Ends buffering and returns the complete management request to decide.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other state has a body")]
    pub(super) fn take_in(&mut self) -> Action {
        match core::mem::replace(&mut self.state, ExchangeState::Managing) {
            ExchangeState::BufferingBody(intake) => Action::Manage(Box::new(intake.finish())),
            _ => Action::Hold,
        }
    }

    pub(super) fn too_large(&mut self) -> Action {
        let detail = format!("A request of the management API has at most {MAX_BODY} bytes.");
        self.refuse_managing(413, &detail, "body_too_large")
    }

    fn refuse_managing(&mut self, status: u16, detail: &str, code: &'static str) -> Action {
        self.managed(status, Some(Cow::Borrowed(code)));
        Action::Answer(Problem::new(status, code, detail).response())
    }

    /// Records the reply to a management request. `reason`: the code of its rejection.
    pub fn managed(&mut self, status: u16, reason: Option<Cow<'static, str>>) {
        self.state = ExchangeState::Over;
        self.log.decision = if reason.is_some() { Decision::Denied } else { Decision::Answered };
        self.log.status = status;
        self.log.reason = reason;
    }
}
