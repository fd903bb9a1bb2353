//! The rate-limit headers of a response.

use alloc::format;
use alloc::string::String;

use super::status::{RateLimitStatus, TightestWindow};
use crate::quota::QuotaScope;
use crate::text::format::duration;
use crate::time::SECOND;

/// The rate-limit headers that responses carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderStyle {
    /// `x-ratelimit-*`, as OpenAI sends them.
    #[default]
    OpenAi,
    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
    Ietf,
    /// Both styles.
    Both,
    /// Only `x-tollgate-*` and `Retry-After`.
    None,
}

impl RateLimitStatus {
    /// Calls `emit` with every rate-limit header: its value in this style, or `None` if the response must not carry it.
    /// `budget` is the scope of the budget that governs the request.
    pub fn headers(
        &self,
        style: HeaderStyle,
        budget: Option<QuotaScope>,
        emit: &mut dyn FnMut(&'static str, Option<&str>),
    ) {
        let (openai, ietf) = match style {
            HeaderStyle::OpenAi => (true, false),
            HeaderStyle::Ietf => (false, true),
            HeaderStyle::Both => (true, true),
            HeaderStyle::None => (false, false),
        };
        const REQUESTS: [&str; 3] =
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
        const TOKENS: [&str; 3] =
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];
        for ([limit, remaining, reset], tight) in [(REQUESTS, self.requests), (TOKENS, self.tokens)] {
            if let Some(tight) = tight.filter(|_| openai) {
                emit(limit, Some(itoa::Buffer::new().format(tight.limit)));
                emit(remaining, Some(itoa::Buffer::new().format(tight.remaining)));
                emit(reset, Some(duration(tight.reset).as_str()));
            } else {
                [limit, remaining, reset].into_iter().for_each(|name| emit(name, None));
            }
        }
        let both = if ietf { [self.requests, self.tokens] } else { [None; 2] };
        let items = |item: fn(&TightestWindow) -> String| {
            both.iter().flatten().map(item).reduce(|all, one| format!("{all}, {one}"))
        };
        let left = items(|tight| {
            let seconds = tight.reset.div_ceil(SECOND);
            format!("\"{}\";r={};t={seconds}", tight.label(), tight.remaining)
        });
        emit("ratelimit", left.as_deref());
        let limits = items(|tight| {
            format!("\"{}\";q={};w={}", tight.label(), tight.limit, tight.window.span().seconds())
        });
        emit("ratelimit-policy", limits.as_deref());
        let budget = budget.map(|scope| scope.label(None));
        emit("x-tollgate-scope", self.tightest().map(|tight| tight.label()).or(budget));
        emit("x-tollgate-warning", self.warning());
    }
}
