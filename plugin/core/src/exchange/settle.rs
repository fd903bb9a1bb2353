//! What a request turned out to have used.

use super::{Exchange, ExchangeState};
use crate::admission::{ActualUsage, Receipt, Reservation};
use crate::llm::usage::{Usage, UsageMeter, UsageReport};
use crate::money::Pico;

impl Exchange {
    /// The end of the stream, however it came; `complete`: the upstream ended its answer. Gives what is to
    /// be settled with [`crate::admission::settle`]. Only the first call has anything.
    pub fn finish(&mut self, complete: bool) -> Option<(Receipt, ActualUsage)> {
        let (sanitized, receipt) = match core::mem::replace(&mut self.state, ExchangeState::Over) {
            ExchangeState::Running(sanitized, receipt) => (sanitized, receipt),
            ExchangeState::Forwarded(sanitized) => {
                self.state = ExchangeState::Forwarded(sanitized);
                return None;
            }
            ExchangeState::Fresh
            | ExchangeState::Body(_)
            | ExchangeState::BufferingBody(_)
            | ExchangeState::Managing
            | ExchangeState::Admitting(_)
            | ExchangeState::Over => return None,
        };
        self.state = ExchangeState::Forwarded(sanitized);
        self.log.status = self.status;
        let metered = self.meter.take().map(UsageMeter::finish);
        let (actual, usage) = self.actual(metered, complete);
        self.log.usage = usage;
        self.log.cost = actual.cost;
        self.log.estimated = actual.estimated;
        receipt.map(|receipt| (receipt, actual))
    }

    /// No answer of the upstream comes, unless its head has: the proxy answers with an error of its own in its place.
    pub fn upstream_failed(&mut self) {
        if self.status == 0 {
            self.status = 500;
        }
    }

    /// As reported; without a report: nothing if there was no answer or it is no success, the estimate for a
    /// complete one and where the output cannot be seen, the input's estimate and the output seen for one that broke off.
    /// What goes on unseen goes on although nobody waited for its answer.
    fn actual(&self, metered: Option<UsageReport>, complete: bool) -> (ActualUsage, Option<Usage>) {
        let Reservation { input_tokens, tokens, cost } = self.reservation;
        if !self.metered {
            // Known before it ran, and known exactly.
            let ran = (100..400).contains(&self.status);
            return (
                if ran { ActualUsage { tokens, cost, estimated: false } } else { ActualUsage::default() },
                None,
            );
        }
        let whole = metered.map_or(complete, |metered| metered.closed || complete && metered.complete);
        let seen = metered.map_or(0, |metered| metered.output_seen_tokens);
        // An encoded answer is not metered at all.
        let unseen = self.unseen_output || metered.is_none_or(|metered| metered.uncounted);
        let goes_on = self.status == 0 && self.unseen_output;
        let failed = !goes_on && !(200..300).contains(&self.status);
        match metered.and_then(|metered| metered.usage) {
            Some(usage) => {
                let output = if whole { usage.output } else { usage.output.max(seen) };
                let usage = Usage { output, ..usage };
                let actual = ActualUsage {
                    tokens: usage.input.saturating_add(output),
                    cost: self.cost(usage),
                    estimated: !whole,
                };
                (actual, Some(usage))
            }
            None if failed => (ActualUsage::default(), None),
            None if whole || unseen => {
                let output = tokens.saturating_sub(input_tokens);
                let usage = Usage { input: input_tokens, output, ..Usage::default() };
                (ActualUsage { tokens, cost, estimated: true }, Some(usage))
            }
            None => {
                let usage = Usage { input: input_tokens, output: seen, ..Usage::default() };
                let tokens = input_tokens.saturating_add(seen);
                (ActualUsage { tokens, cost: self.cost(usage), estimated: true }, Some(usage))
            }
        }
    }

    fn cost(&self, usage: Usage) -> Pico {
        let Some(price) = self.price else { return Pico(0) };
        let fresh = usage.input.saturating_sub(usage.cached_input).saturating_sub(usage.cache_write);
        let parts = [
            (fresh, price.input),
            (usage.cached_input, price.cached_input),
            (usage.cache_write, price.cache_write),
            (usage.output, price.output),
            (1, price.request),
        ];
        parts.into_iter().fold(Pico(0), |sum, (tokens, price)| sum.plus(price.times(tokens)))
    }
}
