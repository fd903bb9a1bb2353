//! The figures of a usage object.

use super::Usage;
use crate::llm::dialect::{Dialect, Figure};
use crate::money::Pico;

/// The figures as the provider wrote them: nanoseconds, pico-dollars, or the number of something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    values: [u64; Figure::COUNT],
    /// A bit for each figure that was set.
    set: u32,
}

const _: () = assert!(Figure::COUNT <= u32::BITS as usize, "each figure has a bit");

impl Default for Figures {
    fn default() -> Self {
        Figures { values: [0; Figure::COUNT], set: 0 }
    }
}

impl Figures {
    fn get(&self, figure: Figure) -> Option<u64> {
        let value = self.values.get(figure as usize)?;
        (self.set >> figure as u32 & 1 != 0).then_some(*value)
    }

    /// A figure, or 0.
    fn amount(&self, figure: Figure) -> u64 {
        self.get(figure).unwrap_or(0)
    }

    /// Sets a figure, whatever it was.
    pub(super) fn set(&mut self, figure: Figure, value: u64) {
        self.set |= 1 << figure as u32;
        if let Some(slot) = self.values.get_mut(figure as usize) {
            *slot = value;
        }
    }

    /// Sets a figure, unless it is larger already.
    pub(super) fn raise(&mut self, figure: Figure, value: u64) {
        self.set(figure, self.amount(figure).max(value));
    }

    /// Adds to a figure.
    pub(super) fn add(&mut self, figure: Figure, value: u64) {
        self.set(figure, self.amount(figure).saturating_add(value));
    }

    /// Discards a figure.
    pub(super) fn clear(&mut self, figure: Figure) {
        self.set &= !(1 << figure as u32);
    }

    /// The cost that was reported.
    pub(super) fn cost(&self) -> Option<Pico> {
        let ticks = || self.get(Figure::CostTicks).map(|ticks| Pico(u128::from(ticks)).times(PICO_PER_TICK));
        self.get(Figure::Cost).map(|cost| Pico(cost.into())).or_else(ticks)
    }

    /// The length of the recording that was reported, in nanoseconds.
    pub(super) fn nanoseconds(&self) -> Option<u64> {
        self.get(Figure::Seconds)
    }

    /// The searches that were reported.
    pub(super) fn searches(&self) -> u64 {
        let other = self.amount(Figure::OtherSearches);
        self.amount(Figure::Searches).saturating_add(other)
    }

    /// The usage that the figures amount to; `None` if neither input nor output was reported.
    pub(super) fn usage(&self, dialect: &Dialect) -> Option<Usage> {
        let format = dialect.usage;
        let figure = |figure: Figure| self.amount(figure);
        let input = self.get(Figure::BilledInput).or(self.get(Figure::Input));
        let output = self.get(Figure::BilledOutput).or(self.get(Figure::Output));
        // Without output, the total is the input (Voyage, Jina).
        let total = self.get(Figure::Total);
        let (input, total) = if dialect.has_output { (input, total) } else { (input.max(total), None) };
        if input.is_none() && output.is_none() {
            return None;
        }
        let apart = figure(Figure::CachedApart).saturating_add(figure(Figure::CacheWriteApart));
        let cached_input = figure(Figure::Cached).saturating_add(figure(Figure::CachedApart));
        let cache_write_1h = figure(Figure::CacheWriteHour);
        let cache_write = figure(Figure::CacheWrite)
            .max(cache_write_1h.saturating_add(figure(Figure::CacheWriteShort)))
            .saturating_add(figure(Figure::CacheWriteApart));
        let reasoning = figure(Figure::Reasoning);
        let mut input = input.unwrap_or(0).saturating_add(figure(Figure::ToolInput)).saturating_add(apart);
        if !format.input_includes_cache {
            input = input.saturating_add(cached_input).saturating_add(cache_write);
        }
        let mut output = output.unwrap_or(0);
        if !format.output_includes_reasoning {
            output = output.saturating_add(reasoning);
        }
        // Some leave reasoning out of the output, and a client may have a part of the figures left out: the total
        // shows it.
        let output = total.unwrap_or(0).saturating_sub(input).max(output);
        Some(Usage {
            input,
            output,
            cached_input,
            cache_write,
            cache_write_1h,
            input_audio: figure(Figure::InputAudio).saturating_sub(figure(Figure::CachedAudio)),
            output_audio: figure(Figure::OutputAudio),
            input_image: figure(Figure::InputImage).saturating_sub(figure(Figure::CachedImage)),
            output_image: self.get(Figure::OutputImage).unwrap_or(if dialect.draws { output } else { 0 }),
            reasoning,
        })
    }
}

/// Pico-dollars in a tick of xAI's, of which a dollar has 10^10 ("Cost tracking" in its documentation).
const PICO_PER_TICK: u64 = 100;

/// Reads the value of a figure: a count, the cost of a call in pico-dollars, or a time in nanoseconds.
pub(super) fn value(figure: Figure, text: &str) -> Option<u64> {
    match figure {
        // The nearest amount: costs are sums of binary fractions in some servers.
        Figure::Cost => decimal(text, 12).map(|(amount, rest)| amount.saturating_add(u64::from(rest >= 5))),
        Figure::Seconds => decimal(text, 9).map(|(time, rest)| time.saturating_add(u64::from(rest > 0))),
        Figure::Input
        | Figure::Output
        | Figure::Total
        | Figure::Cached
        | Figure::CacheWrite
        | Figure::CachedApart
        | Figure::CacheWriteApart
        | Figure::CacheWriteHour
        | Figure::CacheWriteShort
        | Figure::Reasoning
        | Figure::ToolInput
        | Figure::BilledInput
        | Figure::BilledOutput
        | Figure::InputAudio
        | Figure::OutputAudio
        | Figure::CachedAudio
        | Figure::InputImage
        | Figure::OutputImage
        | Figure::CachedImage
        | Figure::Searches
        | Figure::OtherSearches
        | Figure::CostTicks => count(text),
    }
}

/// Reads a decimal number, times 10^`digits`, without the fraction that is left; and that fraction's first digit, at least 1
/// unless all of it is 0. An amount of more than a `u64` is the largest one.
fn decimal(text: &str, digits: i32) -> Option<(u64, u8)> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = || whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || number.ends_with('.') || !all().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The number of digits that count as whole ones.
    let wholes = i32::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_add(digits)?;
    let (mut value, mut rest, mut at) = (0_u64, 0_u8, 0_i32);
    for byte in all() {
        let digit = byte - b'0';
        if at < wholes {
            value = value.saturating_mul(10).saturating_add(digit.into());
        } else if at == wholes {
            rest = digit;
        } else if digit > 0 {
            rest = rest.max(1);
        }
        at = at.saturating_add(1);
    }
    if at < wholes && value > 0 {
        let zeros = u32::try_from(wholes - at).unwrap_or(u32::MAX);
        value = 10_u64.checked_pow(zeros).map_or(u64::MAX, |scale| value.saturating_mul(scale));
    }
    // All digits lie behind further zeros.
    if wholes < 0 {
        rest = u8::from(all().any(|byte| byte != b'0'));
    }
    Some((value, rest))
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
    use super::{count, decimal, value};
    use crate::llm::dialect::Figure;

    #[test]
    fn costs_and_times_are_read_exactly_and_rounded_only_below_their_last_digit() {
        for (text, digits, read) in [
            ("0.0225", 12, Some((22_500_000_000, 0))),
            ("1.5e-07", 12, Some((150_000, 0))),
            ("1.5E-12", 12, Some((1, 5))),
            ("1.5e-13", 12, Some((0, 1))),
            ("9e-14", 12, Some((0, 1))),
            ("0e-99", 12, Some((0, 0))),
            ("19", 12, Some((19_000_000_000_000, 0))),
            ("0.30000000000000004", 12, Some((300_000_000_000, 1))),
            ("0.1999999999999999", 12, Some((199_999_999_999, 9))),
            ("3", 9, Some((3_000_000_000, 0))),
            ("8.470000267028809", 9, Some((8_470_000_267, 1))),
            ("1e30", 9, Some((u64::MAX, 0))),
            ("99999999999999999999999999", 0, Some((u64::MAX, 0))),
            ("-1", 12, None),
            ("", 12, None),
            (".5", 12, None),
            ("5.", 12, None),
            ("1e", 12, None),
            ("1e99999999999", 12, None),
            ("NaN", 12, None),
        ] {
            assert_eq!(decimal(text, digits), read, "{text}");
        }
        assert_eq!(value(Figure::Cost, "0.1999999999999999"), Some(200_000_000_000));
        assert_eq!(value(Figure::Cost, "0.30000000000000004"), Some(300_000_000_000));
        assert_eq!(value(Figure::Seconds, "8.470000267028809"), Some(8_470_000_268));
        assert_eq!(value(Figure::CostTicks, "37756000"), Some(37_756_000));
    }

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
