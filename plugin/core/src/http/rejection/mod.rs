//! Rejections: the status, code, message and body of a response to a request that is not forwarded.

mod envelope;
mod message;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;

use crate::llm::request::BodyError;
use crate::quota::{QuotaExceeded, QuotaReason};
use crate::secret::redact;
use crate::time::SECOND;

/// A reason not to forward a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No source of keys holds one.
    MissingKey,
    /// Two sources hold different keys.
    AmbiguousKey,
    /// The key is unknown, blocked or revoked; the client cannot tell which.
    InvalidKey,
    /// The key has the prefix of Tollgate's own keys and a wrong checksum.
    MistypedKey,
    /// The key has expired. Only a client that has the key sees this.
    ExpiredKey,
    /// The team, the organization or the service account is blocked; holds the error code.
    Blocked(&'static str),
    /// No route matches the request.
    UnknownRoute,
    /// Proxies and servers may interpret the path differently.
    AmbiguousPath,
    /// Servers may read another target's name in the query.
    AmbiguousQuery {
        /// The parameter that names the target.
        name: Box<str>,
    },
    /// The path serves objects of an account at the provider, which all teams share.
    StoredObjectsNotServed,
    /// The path hands out a credential of the provider, or opens a connection past the gateway.
    DirectSessionsNotServed,
    /// The request names no target.
    ModelRequired,
    /// The request names two models. One would be decided about, and the other called.
    ModelMismatch {
        /// The name that would be decided about: the target of the route, or the model in the path.
        target: Box<str>,
        /// The place of the other name.
        place: &'static str,
        /// The other name.
        other: Box<str>,
    },
    /// The target is not granted or unknown; the client cannot tell which.
    TargetNotAllowed {
        /// The name in the request.
        target: Box<str>,
        /// The longest target that the caller may call and whose name the requested one begins with.
        shorter: Option<Box<str>>,
    },
    /// The body cannot be read, or two readers could read it differently; holds the reason.
    InvalidBody(Cow<'static, str>),
    /// The body has a member that the API's table does not have.
    UnknownMember {
        /// Its name.
        name: Box<str>,
    },
    /// The query has a parameter that the API's table does not have, or not with this value.
    UnknownParameter {
        /// Its name.
        name: Box<str>,
    },
    /// The body has a media type that is not read, or one that servers read differently; holds the reason.
    UnsupportedType(Cow<'static, str>),
    /// The body has a content-encoding.
    UnsupportedEncoding,
    /// The body is larger than the configured maximum.
    BodyTooLarge {
        /// The maximum in bytes.
        max: u64,
    },
    /// The request is a protocol upgrade, and a token limit or a budget applies.
    UpgradeNotMetered,
    /// The request selects fields of the response, perhaps without its usage, and a token limit or a budget applies.
    PartialAnswer,
    /// A budget applies and the target has no price.
    UnpricedTarget {
        /// The target.
        target: Box<str>,
    },
    /// The cost of the request has no bound: the upstream reads content that the body does not show.
    UnboundedCost {
        /// The target.
        target: Box<str>,
    },
    /// A limit or a budget is exceeded.
    Denied(Box<QuotaExceeded>),
    /// The key is unknown here, and the fleet's keys have not been read yet: it may be one of them.
    KeysUnavailable,
    /// The gateway holds as many bytes of request bodies as it may.
    Busy,
    /// The counters are unavailable, so that limits cannot be checked.
    LimitsUnavailable,
    /// The model list does not contain the model.
    NoSuchModel {
        /// The name in the request.
        target: Box<str>,
    },
}

impl From<BodyError> for Rejection {
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other rejection is treated alike")]
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::UnsupportedEncoding { .. } => Rejection::UnsupportedEncoding,
            error @ (BodyError::UnsupportedType { .. } | BodyError::Boundary) => {
                Rejection::UnsupportedType(Cow::Owned(error.to_string()))
            }
            other => Rejection::InvalidBody(Cow::Owned(other.to_string())),
        }
    }
}

/// The machine-readable part of a rejection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// The HTTP status.
    pub status: u16,
    /// OpenAI's `type`.
    pub kind: &'static str,
    /// OpenAI's `code`: also the reason in logs and metrics.
    pub code: Cow<'static, str>,
    /// OpenAI's `param`.
    pub param: Option<Cow<'static, str>>,
}

/// The most characters of a member's name in a message. The scanner cuts names at 64 bytes, and a cut secret cannot be recognized.
const MAX_SHOWN: usize = 48;

const AUTHENTICATION: &str = "authentication_error";
const PERMISSION: &str = "permission_error";
const INVALID: &str = "invalid_request_error";

impl Rejection {
    /// Returns the status, type, code and param.
    pub fn label(&self) -> ErrorCode {
        let label = |status, kind, code: &'static str| ErrorCode {
            status,
            kind,
            code: Cow::Borrowed(code),
            param: None,
        };
        let with =
            |label: ErrorCode, param: &'static str| ErrorCode { param: Some(Cow::Borrowed(param)), ..label };
        match self {
            Rejection::MissingKey => label(401, AUTHENTICATION, "missing_api_key"),
            Rejection::AmbiguousKey => label(400, AUTHENTICATION, "ambiguous_api_key"),
            Rejection::InvalidKey | Rejection::MistypedKey => label(401, AUTHENTICATION, "invalid_api_key"),
            Rejection::ExpiredKey => label(401, AUTHENTICATION, "expired_api_key"),
            Rejection::Blocked(code) => label(403, PERMISSION, code),
            Rejection::UnknownRoute => label(404, INVALID, "unknown_route"),
            Rejection::AmbiguousPath => label(400, INVALID, "ambiguous_path"),
            Rejection::AmbiguousQuery { .. } => label(400, INVALID, "ambiguous_query"),
            Rejection::StoredObjectsNotServed => label(403, PERMISSION, "stored_objects_not_served"),
            Rejection::DirectSessionsNotServed => label(403, PERMISSION, "direct_sessions_not_served"),
            Rejection::ModelRequired => with(label(400, INVALID, "model_required"), "model"),
            Rejection::ModelMismatch { .. } => with(label(400, INVALID, "model_mismatch"), "model"),
            Rejection::TargetNotAllowed { .. } => with(label(403, PERMISSION, "target_not_allowed"), "model"),
            Rejection::InvalidBody(_) => label(400, INVALID, "invalid_body"),
            Rejection::UnknownMember { name } => ErrorCode {
                param: Some(Cow::Owned(redact::redact(name, MAX_SHOWN))),
                ..label(400, INVALID, "unknown_member")
            },
            Rejection::UnknownParameter { name } => ErrorCode {
                param: Some(Cow::Owned(redact::redact(name, MAX_SHOWN))),
                ..label(400, INVALID, "unknown_parameter")
            },
            Rejection::UnsupportedType(_) => label(415, INVALID, "unsupported_media_type"),
            Rejection::UnsupportedEncoding => label(415, INVALID, "unsupported_encoding"),
            Rejection::BodyTooLarge { .. } => label(413, INVALID, "body_too_large"),
            Rejection::UpgradeNotMetered => label(403, PERMISSION, "upgrade_not_metered"),
            Rejection::PartialAnswer => with(label(400, INVALID, "partial_answer"), "fields"),
            Rejection::UnpricedTarget { .. } => with(label(403, PERMISSION, "unpriced_target"), "model"),
            Rejection::UnboundedCost { .. } => with(label(400, INVALID, "unbounded_cost"), "model"),
            Rejection::Busy => label(503, "service_unavailable", "busy"),
            Rejection::KeysUnavailable => label(503, "service_unavailable", "keys_unavailable"),
            Rejection::LimitsUnavailable => label(503, "service_unavailable", "limits_unavailable"),
            Rejection::NoSuchModel { .. } => with(label(404, INVALID, "model_not_found"), "model"),
            Rejection::Denied(exceeded) => denied(exceeded),
        }
    }

    /// Returns the seconds for `Retry-After` and the milliseconds for `retry-after-ms`, rounded up; `None` if
    /// waiting does not help.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other rejection is treated alike")]
    pub fn retry_after(&self) -> Option<(u64, u64)> {
        match self {
            Rejection::Denied(exceeded) => {
                exceeded.wait.map(|wait| (wait.div_ceil(SECOND), wait.div_ceil(1_000_000)))
            }
            Rejection::LimitsUnavailable | Rejection::KeysUnavailable | Rejection::Busy => Some((1, 1_000)),
            _ => None,
        }
    }

    /// Returns the value of `WWW-Authenticate`, which every 401 has (RFC 9110, 11.6.1; RFC 6750, 3).
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other rejection is treated alike")]
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            // Without a credential the challenge has no error.
            Rejection::MissingKey => Some("Bearer realm=\"tollgate\""),
            _ if self.label().status == 401 => Some("Bearer realm=\"tollgate\", error=\"invalid_token\""),
            _ => None,
        }
    }

    /// Returns true if a client should give up: the wait is over a minute, or the request can never pass.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other rejection is treated alike")]
    pub fn should_not_retry(&self) -> bool {
        match self {
            Rejection::Denied(exceeded) => exceeded.wait.is_none_or(|wait| wait > 60 * SECOND),
            Rejection::LimitsUnavailable | Rejection::KeysUnavailable | Rejection::Busy => false,
            _ => self.label().status < 500,
        }
    }
}

fn denied(exceeded: &QuotaExceeded) -> ErrorCode {
    let scope = exceeded.scope.name();
    match exceeded.reason {
        QuotaReason::LimitReached { window, .. } | QuotaReason::LimitHeld { window, .. } => {
            let param = format!("{scope}_{}", window.name());
            ErrorCode {
                status: 429,
                kind: "rate_limit_error",
                code: Cow::Owned(format!("{param}_exceeded")),
                param: Some(Cow::Owned(param)),
            }
        }
        QuotaReason::InputAboveLimit { window, .. } => ErrorCode {
            status: 400,
            kind: INVALID,
            code: Cow::Borrowed("request_too_large_for_limit"),
            param: Some(Cow::Owned(format!("{scope}_{}", window.name()))),
        },
        QuotaReason::BudgetSpent { .. } | QuotaReason::BudgetHeld { .. } => ErrorCode {
            status: 429,
            kind: "budget_exceeded",
            code: Cow::Owned(format!("{scope}_budget_exceeded")),
            param: Some(Cow::Borrowed(scope)),
        },
        QuotaReason::CostAboveBudget { .. } => ErrorCode {
            status: 400,
            kind: INVALID,
            code: Cow::Borrowed("request_too_large_for_budget"),
            param: Some(Cow::Borrowed(scope)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Pico, dollars};
    use crate::quota::{PrincipalKind, QuotaScope, Window};

    #[test]
    fn a_key_sent_as_a_model_is_redacted() {
        let target = "sk-tg-demo-secretsecretsecretsecretsecretsecretsecretsecret".into();
        let message = Rejection::TargetNotAllowed { target, shorter: None }.message();
        assert!(message.starts_with("`sk-tg-demo-…` is not available"), "{message}");
    }

    #[test]
    fn a_reached_team_limit_names_itself_and_its_wait() {
        let rejection = Rejection::Denied(Box::new(QuotaExceeded {
            scope: QuotaScope::whole(PrincipalKind::Team),
            reason: QuotaReason::LimitReached { window: Window::Rpm, limit: 3, used: 3, requested: 1 },
            wait: Some(12_000_000_001),
            input_cost: Pico(0),
        }));
        let label = rejection.label();
        assert_eq!(
            (label.status, &*label.code, label.param.as_deref()),
            (429, "team_rpm_exceeded", Some("team_rpm"))
        );
        assert_eq!(rejection.retry_after(), Some((13, 12_001)));
        assert!(!rejection.should_not_retry());
        assert_eq!(
            rejection.message(),
            "The team's limit of 3 requests per minute is reached: 3 are counted and this request needs 1. Try again in 12.001s."
        );
    }

    #[test]
    fn text_of_the_client_is_shortened_and_has_no_control_characters() {
        let message = Rejection::TargetNotAllowed {
            target: format!("a\u{1b}[31m{}", "x".repeat(500)).into(),
            shorter: None,
        }
        .message();
        assert!(!message.contains('\u{1b}'));
        assert!(message.len() < 200);
    }

    #[test]
    fn a_blocked_principal_is_named_in_words() {
        for (code, words) in
            [("team_blocked", "the team is"), ("service_account_blocked", "the service account is")]
        {
            let message = Rejection::Blocked(code).message();
            assert!(message.starts_with(&format!("Refused: {words} blocked. ")), "{message}");
        }
    }

    #[test]
    fn amounts_are_written_exactly() {
        assert_eq!(dollars(Pico(0)), "0.00");
        assert_eq!(dollars(Pico(12_500_000_000_000)), "12.50");
        assert_eq!(dollars(Pico(1)), "0.000000000001");
    }
}
