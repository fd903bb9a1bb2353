//! Requests of the management API.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;

use super::{Action, Exchange, ExchangeState};
use crate::admin::body_buffer::ManagementHead;
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
        let is_head = head.text(":method") == Some("HEAD");
        let head = ManagementHead::read(&manage.prefix, head, target, end_of_stream)?;
        if route::plain_path(target).is_err() {
            let problem = Problem::new(400, "ambiguous_path", Rejection::AmbiguousPath.message());
            return Some(self.refuse_managing(&problem, is_head));
        }
        self.state = ExchangeState::SigningIn(Box::new(head));
        Some(if manage.jwt.is_some() { Action::SignIn } else { self.signed_in(None) })
    }

    /// Takes the result of [`Action::SignIn`]: the claim of the JWT that the host has verified, if there is one. An
    /// unknown caller is answered here, before its body is read.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other state waits for the caller")]
    pub fn signed_in(&mut self, subject: Option<String>) -> Action {
        let head = match core::mem::replace(&mut self.state, ExchangeState::Over) {
            ExchangeState::SigningIn(head) => *head,
            other => {
                self.state = other;
                return Action::Hold;
            }
        };
        let (config, bodiless, is_head) = (Rc::clone(&self.config), head.is_bodiless(), head.is_head());
        match head.sign_in(&config.policy.read(), subject, &config.held_bytes) {
            Ok(buffer) => {
                self.state = ExchangeState::BufferingBody(Box::new(buffer));
                if bodiless { self.take_in() } else { Action::Hold }
            }
            // The caller may be in etcd.
            Err(problem) if self.awaits_keys && problem.status == 401 => {
                self.refuse_managing(&Problem::never_read(), is_head)
            }
            Err(problem) => self.refuse_managing(&problem, is_head),
        }
    }

    /// Takes the next bytes of a management request's body.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other state has a body")]
    pub(super) fn take_body(&mut self, bytes: &[u8], end_of_stream: bool) -> Action {
        match &mut self.state {
            ExchangeState::BufferingBody(buffer) => match buffer.append(bytes) {
                Err(problem) => self.refuse_managing(&problem, false),
                Ok(()) if end_of_stream => self.take_in(),
                Ok(()) => Action::Hold,
            },
            _ => Action::Hold,
        }
    }

    /// Ends buffering and returns the complete management request to decide.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other state has a body")]
    fn take_in(&mut self) -> Action {
        match core::mem::replace(&mut self.state, ExchangeState::Managing) {
            ExchangeState::BufferingBody(buffer) => Action::Manage(Box::new(buffer.finish())),
            _ => Action::Hold,
        }
    }

    fn refuse_managing(&mut self, problem: &Problem, is_head: bool) -> Action {
        self.managed(problem.status, Some(Cow::Borrowed(problem.code)));
        let mut response = problem.response();
        if is_head {
            response.body.clear();
        }
        Action::Answer(response)
    }

    /// Records the reply to a management request. `reason`: the code of its rejection.
    pub fn managed(&mut self, status: u16, reason: Option<Cow<'static, str>>) {
        self.state = ExchangeState::Over;
        self.log.decision = if reason.is_some() { Decision::Denied } else { Decision::Answered };
        self.log.status = status;
        self.log.reason = reason;
    }
}
