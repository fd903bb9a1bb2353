//! The figures of a usage object.

use super::Usage;
use crate::llm::dialect::{Dialect, TokenField};

/// The figures as the provider wrote them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenFields {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    cached_apart: Option<u64>,
    cache_write_apart: Option<u64>,
    reasoning: Option<u64>,
    tool_input: Option<u64>,
    billed_input: Option<u64>,
    billed_output: Option<u64>,
}

impl TokenFields {
    fn slot(&mut self, field: TokenField) -> &mut Option<u64> {
        match field {
            TokenField::Input => &mut self.input,
            TokenField::Output => &mut self.output,
            TokenField::Total => &mut self.total,
            TokenField::Cached => &mut self.cached,
            TokenField::CacheWrite => &mut self.cache_write,
            TokenField::CachedApart => &mut self.cached_apart,
            TokenField::CacheWriteApart => &mut self.cache_write_apart,
            TokenField::Reasoning => &mut self.reasoning,
            TokenField::ToolInput => &mut self.tool_input,
            TokenField::BilledInput => &mut self.billed_input,
            TokenField::BilledOutput => &mut self.billed_output,
        }
    }

    /// Sets a figure, whatever it was.
    pub(super) fn set(&mut self, field: TokenField, value: u64) {
        *self.slot(field) = Some(value);
    }

    /// Sets a figure, unless it is larger already.
    pub(super) fn raise(&mut self, field: TokenField, value: u64) {
        let slot = self.slot(field);
        *slot = Some(slot.unwrap_or(0).max(value));
    }

    /// The usage that the figures amount to; `None` if neither input nor output was reported.
    pub(super) fn usage(&self, dialect: &Dialect) -> Option<Usage> {
        let format = dialect.usage;
        let (input, output) = (self.billed_input.or(self.input), self.billed_output.or(self.output));
        // Without output, the total is the input (Voyage, Jina).
        let (input, total) =
            if dialect.has_output { (input, self.total) } else { (input.max(self.total), None) };
        if input.is_none() && output.is_none() {
            return None;
        }
        let figure = |figure: Option<u64>| figure.unwrap_or(0);
        let apart = figure(self.cached_apart).saturating_add(figure(self.cache_write_apart));
        let cached_input = figure(self.cached).saturating_add(figure(self.cached_apart));
        let cache_write = figure(self.cache_write).saturating_add(figure(self.cache_write_apart));
        let reasoning = figure(self.reasoning);
        let mut input = figure(input).saturating_add(figure(self.tool_input)).saturating_add(apart);
        if !format.input_includes_cache {
            input = input.saturating_add(cached_input).saturating_add(cache_write);
        }
        let mut output = figure(output);
        if !format.output_includes_reasoning {
            output = output.saturating_add(reasoning);
        }
        // Some leave reasoning out of the output, and a client may have a part of the figures left out: the total
        // shows it.
        let output = figure(total).saturating_sub(input).max(output);
        Some(Usage { input, output, cached_input, cache_write, reasoning })
    }
}

/// Reads a figure: a decimal number whose value is a whole one, such as `10`, `10.0` or `1e1`.
pub(super) fn count(text: &str) -> Option<u64> {
    if let Ok(value) = text.parse() {
        return if text.starts_with('+') { None } else { Some(value) };
    }
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || number.ends_with('.') || !digits().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let places = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    let digits_before = i32::try_from(whole.len() + fraction.len()).ok()?.checked_sub(places)?;
    let (mut value, mut at) = (0_u64, 0);
    for byte in digits() {
        let digit = u64::from(byte - b'0');
        if at < digits_before {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else if digit != 0 {
            return None;
        }
        at += 1;
    }
    if value == 0 {
        return Some(0);
    }
    value.checked_mul(10_u64.checked_pow(u32::try_from(digits_before - at).unwrap_or(0))?)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn whole_numbers_are_read_in_every_spelling_and_others_are_not() {
        for (text, value) in [
            ("0", 0),
            ("10", 10),
            ("10.0", 10),
            ("10.000", 10),
            ("0.0", 0),
            ("1e1", 10),
            ("1.5E+1", 15),
            ("100e-1", 10),
            ("0e99", 0),
            ("18446744073709551615", u64::MAX),
            ("18446744073709551615.0", u64::MAX),
        ] {
            assert_eq!(count(text), Some(value), "{text}");
        }
        for text in [
            "",
            ".",
            "-1",
            "-0.0",
            "+1",
            "10.5",
            "10.",
            ".5",
            "1e-1",
            "ten",
            "10 ",
            " 10",
            "0x10",
            "1_0",
            "1e",
            "e1",
            "1e99",
            "1e99999999999",
            "18446744073709551616",
            "18446744073709551616.0",
            "1.0.0",
            "NaN",
            "١",
        ] {
            assert_eq!(count(text), None, "{text}");
        }
    }
}
