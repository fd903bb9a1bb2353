//! The actual usage of a request, and its cost.

use super::{Exchange, ExchangeState};
use crate::admission::{ActualUsage, Receipt, Reservation};
use crate::llm::usage::{Usage, UsageMeter, UsageReport};
use crate::money::Pico;
use crate::policy::Abandoned;

impl Exchange {
    /// Takes the end of the stream, and returns the arguments of [`crate::admission::settle`]; `None` from the second
    /// call on. `complete`: the upstream ended its response.
    pub fn finish(&mut self, complete: bool) -> Option<(Receipt, ActualUsage)> {
        let (sanitized, receipt) = match core::mem::replace(&mut self.state, ExchangeState::Over) {
            ExchangeState::Running(sanitized, receipt) => (sanitized, receipt),
            ExchangeState::Forwarded(sanitized) => {
                self.state = ExchangeState::Forwarded(sanitized);
                return None;
            }
            ExchangeState::Fresh
            | ExchangeState::Body(_)
            | ExchangeState::SigningIn(_)
            | ExchangeState::BufferingBody(_)
            | ExchangeState::Managing
            | ExchangeState::Admitting(_)
            | ExchangeState::Over => return None,
        };
        self.state = ExchangeState::Forwarded(sanitized);
        self.log.status = self.status;
        let metered = self.meter.take().map(UsageMeter::finish);
        let (actual, usage) = self.actual(metered, complete);
        let exceeds = |most: &u64| usage.is_some_and(|usage| usage.input > *most);
        self.log.over_max_input = self.max_input_tokens.filter(exceeds);
        self.log.usage = usage;
        self.log.cost = actual.cost;
        self.log.estimated = actual.estimated;
        receipt.map(|receipt| (receipt, actual))
    }

    /// Records that the proxy responds with an error of its own. No effect once the upstream's headers have arrived.
    pub fn upstream_failed(&mut self) {
        if self.status == 0 {
            self.status = 500;
        }
    }

    /// The usage of an ended call, the one rule for every host:
    ///
    /// | ending | usage |
    /// |---|---|
    /// | another status than 2xx, or an error of the proxy's own | nothing |
    /// | the provider reported it | as reported; of an incomplete response at least the output that was seen |
    /// | a failure reported in a 2xx | nothing; in a stream, the estimated input and the output that was seen |
    /// | complete, or with output that cannot be counted | the reservation; its cost as far as the provider reports a cost or a time |
    /// | the client left, also before any response | the estimated input and the output that was seen; the reservation, if the target says `abandoned: reserved` and no more is reported |
    /// | the same, of a target with `reasoning` | besides, as much unseen output as a model may need to reason, within the reservation; not if some was reported |
    ///
    /// A call in the background goes on although its client has left: its reservation stays.
    fn actual(&self, metered: Option<UsageReport>, complete: bool) -> (ActualUsage, Option<Usage>) {
        let Reservation { input_tokens, tokens, input_cost: _, cost } = self.reservation;
        // The client left before the response; a proxy that gives up an upstream responds itself.
        let unanswered = self.status == 0;
        if !self.metered {
            // Its charge was exact.
            let ran = unanswered || (100..400).contains(&self.status);
            return (
                if ran { ActualUsage { tokens, cost, estimated: false } } else { ActualUsage::default() },
                None,
            );
        }
        let whole =
            metered.as_ref().map_or(complete, |metered| metered.closed || complete && metered.complete);
        // The usage in an encoded response cannot be read.
        let uncounted = metered.as_ref().is_none_or(|metered| metered.uncounted);
        let unseen = self.unseen_output || !unanswered && uncounted;
        let report = metered.unwrap_or_default();
        let seen = report.output_seen_tokens;
        let refused = !unanswered && !(200..300).contains(&self.status);
        if self.abandoned == Abandoned::Reserved && !whole && !refused && !report.failed {
            let reported = report.usage.unwrap_or_default();
            let usage = Usage {
                input: reported.input.max(input_tokens),
                output: reported.output.max(seen).max(tokens.saturating_sub(input_tokens)),
                ..reported
            };
            let tokens = usage.input.saturating_add(usage.output);
            let cost = self.cost(usage, &report, false).max(cost);
            return (ActualUsage { tokens, cost, estimated: true }, Some(usage));
        }
        match report.usage {
            _ if refused => (ActualUsage::default(), None),
            Some(usage) => {
                let left = if usage.reasoning == 0 && !report.failed { self.with_unseen(seen) } else { seen };
                let output = if whole { usage.output } else { usage.output.max(left) };
                let usage = Usage { output, ..usage };
                let actual = ActualUsage {
                    tokens: usage.input.saturating_add(output),
                    cost: self.cost(usage, &report, whole),
                    estimated: !whole,
                };
                (actual, Some(usage))
            }
            None if report.failed && !report.in_parts => (ActualUsage::default(), None),
            None if !report.failed && (whole || unseen) => {
                let output = tokens.saturating_sub(input_tokens);
                let usage = Usage { input: input_tokens, output, ..Usage::default() };
                let reported = self.price.as_ref().filter(|_| whole);
                let actual = match reported.and_then(|call| call.cost_without_tokens(self.api, &report)) {
                    Some(cost) => ActualUsage { tokens, cost, estimated: false },
                    None => ActualUsage { tokens, cost, estimated: true },
                };
                (actual, Some(usage))
            }
            None => {
                let output = if report.failed { seen } else { self.with_unseen(seen) };
                let usage = Usage { input: input_tokens, output, ..Usage::default() };
                let tokens = input_tokens.saturating_add(output);
                (ActualUsage { tokens, cost: self.cost(usage, &report, false), estimated: true }, Some(usage))
            }
        }
    }

    /// Adds to the output that was seen the reasoning that may have been generated, within the reservation.
    fn with_unseen(&self, seen: u64) -> u64 {
        let Reservation { input_tokens, tokens, .. } = self.reservation;
        let room = tokens.saturating_sub(input_tokens).saturating_sub(seen);
        seen.saturating_add(self.unseen_reasoning.min(room))
    }

    fn cost(&self, usage: Usage, report: &UsageReport, whole: bool) -> Pico {
        self.price.as_ref().map_or(Pico(0), |call| call.cost(self.api, usage, report, whole))
    }
}
