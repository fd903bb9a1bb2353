//! The figures of a usage object.

use super::Usage;
use crate::llm::dialect::{TokenField, UsageFormat};

/// The figures as the provider wrote them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenFields {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    tool_input: Option<u64>,
}

impl TokenFields {
    pub(super) fn set(&mut self, field: TokenField, value: u64) {
        let slot = match field {
            TokenField::Input => &mut self.input,
            TokenField::Output => &mut self.output,
            TokenField::Total => &mut self.total,
            TokenField::Cached => &mut self.cached,
            TokenField::CacheWrite => &mut self.cache_write,
            TokenField::Reasoning => &mut self.reasoning,
            TokenField::ToolInput => &mut self.tool_input,
        };
        *slot = Some(value);
    }

    /// The usage that the figures amount to; `None` if neither input nor output was reported.
    pub(super) fn usage(&self, format: &UsageFormat) -> Option<Usage> {
        if self.input.is_none() && self.output.is_none() {
            return None;
        }
        let figure = |figure: Option<u64>| figure.unwrap_or(0);
        let (cached_input, cache_write) = (figure(self.cached), figure(self.cache_write));
        let reasoning = figure(self.reasoning);
        let mut input = figure(self.input).saturating_add(figure(self.tool_input));
        if !format.input_includes_cache {
            input = input.saturating_add(cached_input).saturating_add(cache_write);
        }
        let mut output = figure(self.output);
        if !format.output_includes_reasoning {
            output = output.saturating_add(reasoning);
        }
        // Some leave reasoning out of the output, and a client may have a part of the figures left out: the total
        // shows it.
        let output = figure(self.total).saturating_sub(input).max(output);
        Some(Usage { input, output, cached_input, cache_write, reasoning })
    }
}
