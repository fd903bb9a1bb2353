//! How a request stands with its limits: what the rate-limit headers say.

use alloc::format;
use alloc::string::String;
use core::fmt;

use smol_str::SmolStr;

use crate::denial::Scope;
use crate::gateway::HeaderStyle;
use crate::limits::Window;
use crate::money::{Budget, Pico};
use crate::time::SECOND;

/// The tightest windows of one request (least remaining of the limit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Standing {
    requests: Option<Tight>,
    tokens: Option<Tight>,
    over_soft_budget: Option<Scope>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
struct Tight {
    scope: Scope,
    window: Window,
    limit: u64,
    remaining: u64,
    reset: u64,
}

impl Tight {
    /// Whether less of this limit remains than of the other.
    fn is_tighter_than(&self, other: &Tight) -> bool {
        // Of equal limits, as most are, it is plain to see.
        if self.limit == other.limit {
            return self.remaining < other.remaining;
        }
        let cross = |a: u64, b: u64| u128::from(a) * u128::from(b);
        cross(self.remaining, other.limit) < cross(other.remaining, self.limit)
    }

    fn label(&self) -> &'static str {
        self.scope.label(Some(self.window))
    }

    fn used_permille(&self) -> u64 {
        // No limit is above 2^53: a thousandfold of it is a number still.
        self.limit.saturating_sub(self.remaining).wrapping_mul(1000) / self.limit.max(1)
    }
}

impl Standing {
    /// Takes note of a window: `used` of `limit`, empty again after `reset` ns.
    pub fn note_window(
        &mut self,
        scope: Scope,
        window: Window,
        limit: u64,
        used: u64,
        reset: impl FnOnce() -> u64,
    ) {
        let mut tight = Tight { scope, window, limit, remaining: limit.saturating_sub(used), reset: 0 };
        let place = if window.counts_tokens() { &mut self.tokens } else { &mut self.requests };
        let same = place.is_some_and(|old| old.scope == scope && old.window == window);
        if same || place.is_none_or(|old| tight.is_tighter_than(&old)) {
            tight.reset = reset();
            *place = Some(tight);
        }
    }

    /// Takes note of a budget: `spent` with this request's reservation.
    pub fn note_budget(&mut self, scope: Scope, budget: &Budget, spent: Pico) {
        if budget.soft.is_some_and(|soft| spent > soft) {
            self.over_soft_budget.get_or_insert(scope);
        }
    }

    /// Whether a budget is above its soft mark.
    pub fn over_soft_budget(&self) -> Option<Scope> {
        self.over_soft_budget
    }

    /// Whether no limit is known of.
    pub fn is_empty(&self) -> bool {
        self.requests.is_none() && self.tokens.is_none()
    }

    /// The headers of an answer: every one that there is, and its value if it has one in these families. `budget`: whose
    /// it is that governs the request, if one does.
    pub fn headers(
        &self,
        style: HeaderStyle,
        budget: Option<Scope>,
        tell: &mut dyn FnMut(&'static str, Option<&str>),
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
                tell(limit, Some(itoa::Buffer::new().format(tight.limit)));
                tell(remaining, Some(itoa::Buffer::new().format(tight.remaining)));
                tell(reset, Some(duration(tight.reset).as_str()));
            } else {
                [limit, remaining, reset].into_iter().for_each(|name| tell(name, None));
            }
        }
        let both = if ietf { [self.requests, self.tokens] } else { [None; 2] };
        let items = |item: fn(&Tight) -> String| {
            both.iter().flatten().map(item).reduce(|all, one| format!("{all}, {one}"))
        };
        let left = items(|tight| {
            let seconds = tight.reset.div_ceil(SECOND);
            format!("\"{}\";r={};t={seconds}", tight.label(), tight.remaining)
        });
        tell("ratelimit", left.as_deref());
        let limits =
            items(|tight| format!("\"{}\";q={};w={}", tight.label(), tight.limit, seconds_of(tight.window)));
        tell("ratelimit-policy", limits.as_deref());
        let budget = budget.map(|scope| scope.label(None));
        tell("x-tollgate-scope", self.tightest().map(|tight| tight.label()).or(budget));
        tell("x-tollgate-warning", self.warning());
    }

    fn tightest(&self) -> Option<Tight> {
        match (self.requests, self.tokens) {
            (Some(requests), Some(tokens)) if tokens.is_tighter_than(&requests) => Some(tokens),
            (requests, tokens) => requests.or(tokens),
        }
    }

    /// What is near its end; a limit's warning does not hide a budget's.
    fn warning(&self) -> Option<&'static str> {
        let used = [self.requests, self.tokens].iter().flatten().map(Tight::used_permille).max();
        let limit = match used.unwrap_or(0) {
            950.. => Some(Near::NinetyFive),
            800.. => Some(Near::Eighty),
            _ => None,
        };
        match (limit, self.over_soft_budget) {
            (None, None) => None,
            (Some(Near::Eighty), None) => Some("approaching_limit"),
            (Some(Near::NinetyFive), None) => Some("near_limit"),
            (None, Some(_)) => Some("soft_budget_exceeded"),
            (Some(Near::Eighty), Some(_)) => Some("approaching_limit, soft_budget_exceeded"),
            (Some(Near::NinetyFive), Some(_)) => Some("near_limit, soft_budget_exceeded"),
        }
    }
}

/// How much of a limit is used, in percent and more.
enum Near {
    Eighty,
    NinetyFive,
}

fn seconds_of(window: Window) -> u64 {
    match window {
        Window::Rpm | Window::Tpm => 60,
        Window::Rph => 3_600,
        Window::Rpd | Window::Tpd => 86_400,
    }
}

/// A duration as OpenAI writes it in `x-ratelimit-reset-*`: `250ms`, `8.64s`, `6m0s`, `23h59m59s`. Rounded
/// up, to a millisecond below a minute and to a second above.
pub fn duration(nanos: u64) -> Spelled {
    let millis = nanos.div_ceil(1_000_000);
    let seconds = nanos.div_ceil(SECOND);
    let [minutes, hours] = [seconds / 60, seconds / 3_600];
    let mut text = Spelled { bytes: [0; 16], length: 0 };
    match (millis, seconds) {
        (..1_000, _) => text.put(millis, b"ms"),
        (..60_000, _) => {
            text.put(millis / 1_000, b"");
            let mut left = millis % 1_000;
            if left > 0 {
                text.push(b".");
            }
            while left > 0 {
                text.put(left / 100, b"");
                left = left % 100 * 10;
            }
            text.push(b"s");
        }
        (_, ..3_600) => {
            text.put(minutes, b"m");
            text.put(seconds % 60, b"s");
        }
        _ => {
            text.put(hours, b"h");
            text.put(minutes % 60, b"m");
            text.put(seconds % 60, b"s");
        }
    }
    text
}

/// A duration's text, without an allocation.
#[derive(Clone, Debug)]
pub struct Spelled {
    /// Hours of a u64 of nanoseconds have seven digits, and there are two units below.
    bytes: [u8; 16],
    length: usize,
}

impl Spelled {
    fn put(&mut self, count: u64, unit: &[u8]) {
        self.push(itoa::Buffer::new().format(count).as_bytes());
        self.push(unit);
    }

    fn push(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(bytes) {
            *place = *byte;
        }
        self.length = self.length.saturating_add(bytes.len());
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..self.length).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number in decimal, without an allocation.
pub(crate) fn number(number: u64) -> SmolStr {
    SmolStr::new(itoa::Buffer::new().format(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelled_as_openai_does() {
        let table = [
            (0, "0ms"),
            (1, "1ms"),
            (250_000_000, "250ms"),
            (1_005_000_000, "1.005s"),
            (1_110_000_000, "1.11s"),
            (8_640_000_000, "8.64s"),
            (10 * SECOND, "10s"),
            (59_999_000_000, "59.999s"),
            (59_999_900_000, "1m0s"),
            (360 * SECOND, "6m0s"),
            (86_399 * SECOND, "23h59m59s"),
            (u64::MAX, "5124095h34m34s"),
        ];
        for (nanos, text) in table {
            assert_eq!(duration(nanos).as_str(), text);
        }
    }
}
