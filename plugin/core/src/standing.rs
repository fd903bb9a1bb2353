//! How a request stands with its limits: what the rate-limit headers say.

use smol_str::{SmolStr, SmolStrBuilder, format_smolstr};

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
        let cross = |a: u64, b: u64| u128::from(a) * u128::from(b);
        cross(self.remaining, other.limit) < cross(other.remaining, self.limit)
    }

    fn label(&self) -> SmolStr {
        let mut label = SmolStrBuilder::new();
        label.push_str(self.scope.name());
        label.push('_');
        label.push_str(self.window.name());
        label.finish()
    }

    fn used_permille(&self) -> u64 {
        // No limit is above 2^53: a thousandfold of it is a number still.
        self.limit.saturating_sub(self.remaining).saturating_mul(1000) / self.limit.max(1)
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

    /// The headers of an answer, in the configured families.
    pub fn headers(&self, style: HeaderStyle, mut add: impl FnMut(&'static str, SmolStr)) {
        let (openai, ietf) = match style {
            HeaderStyle::OpenAi => (true, false),
            HeaderStyle::Ietf => (false, true),
            HeaderStyle::Both => (true, true),
            HeaderStyle::None => (false, false),
        };
        if openai {
            if let Some(tight) = self.requests {
                add("x-ratelimit-limit-requests", number(tight.limit));
                add("x-ratelimit-remaining-requests", number(tight.remaining));
                add("x-ratelimit-reset-requests", duration(tight.reset));
            }
            if let Some(tight) = self.tokens {
                add("x-ratelimit-limit-tokens", number(tight.limit));
                add("x-ratelimit-remaining-tokens", number(tight.remaining));
                add("x-ratelimit-reset-tokens", duration(tight.reset));
            }
        }
        if ietf {
            let both = [self.requests, self.tokens];
            let items = |item: fn(&Tight) -> SmolStr| {
                both.iter().flatten().map(item).reduce(|all, one| format_smolstr!("{all}, {one}"))
            };
            if let Some(items) = items(|tight| {
                let seconds = tight.reset.div_ceil(SECOND);
                format_smolstr!("\"{}\";r={};t={seconds}", tight.label(), tight.remaining)
            }) {
                add("ratelimit", items);
            }
            if let Some(items) = items(|tight| {
                format_smolstr!("\"{}\";q={};w={}", tight.label(), tight.limit, seconds_of(tight.window))
            }) {
                add("ratelimit-policy", items);
            }
        }
        if let Some(tight) = self.tightest() {
            add("x-tollgate-scope", tight.label());
        }
        if let Some(warning) = self.warning() {
            add("x-tollgate-warning", warning);
        }
    }

    fn tightest(&self) -> Option<Tight> {
        match (self.requests, self.tokens) {
            (Some(requests), Some(tokens)) if tokens.is_tighter_than(&requests) => Some(tokens),
            (requests, tokens) => requests.or(tokens),
        }
    }

    /// What is near its end; a limit's warning does not hide a budget's.
    fn warning(&self) -> Option<SmolStr> {
        let used = [self.requests, self.tokens].iter().flatten().map(Tight::used_permille).max();
        let limit = match used.unwrap_or(0) {
            950.. => Some("near_limit"),
            800.. => Some("approaching_limit"),
            _ => None,
        };
        let budget = self.over_soft_budget.map(|_| "soft_budget_exceeded");
        match (limit, budget) {
            (Some(limit), Some(budget)) => Some(format_smolstr!("{limit}, {budget}")),
            (one, other) => one.or(other).map(SmolStr::new_static),
        }
    }
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
pub fn duration(nanos: u64) -> SmolStr {
    let millis = nanos.div_ceil(1_000_000);
    let seconds = nanos.div_ceil(SECOND);
    let [minutes, hours] = [seconds / 60, seconds / 3_600];
    match (millis, seconds) {
        (..1_000, _) => spelled(&[(millis, "ms")]),
        (..60_000, _) => {
            // A thousandth more has its leading zeros.
            let thousandths = 1_000 + millis % 1_000;
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(thousandths).trim_end_matches('0');
            let digits = digits.strip_prefix('1').unwrap_or_default();
            let mut text = SmolStrBuilder::new();
            text.push_str(itoa::Buffer::new().format(millis / 1_000));
            if !digits.is_empty() {
                text.push('.');
            }
            text.push_str(digits);
            text.push('s');
            text.finish()
        }
        (_, ..3_600) => spelled(&[(minutes, "m"), (seconds % 60, "s")]),
        _ => spelled(&[(hours, "h"), (minutes % 60, "m"), (seconds % 60, "s")]),
    }
}

fn spelled(parts: &[(u64, &str)]) -> SmolStr {
    let mut text = SmolStrBuilder::new();
    for (count, unit) in parts {
        text.push_str(itoa::Buffer::new().format(*count));
        text.push_str(unit);
    }
    text.finish()
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
            (59_999_900_000, "1m0s"),
            (360 * SECOND, "6m0s"),
            (86_399 * SECOND, "23h59m59s"),
        ];
        for (nanos, text) in table {
            assert_eq!(duration(nanos), text);
        }
    }
}
