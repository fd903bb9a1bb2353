//! The cost of a call, reserved and actual: the one place where prices and quantities meet.

use alloc::boxed::Box;

use crate::api::{Api, Provider};
use crate::llm::usage::{Usage, UsageReport};
use crate::money::{Pico, Price, Rate, Rates};

/// The searches that are reserved for a call whose provider may search. More are charged if there were more.
pub(super) const SEARCHES: u64 = 10;

const SECOND: u128 = 1_000_000_000;

/// The quantities of a call that are no tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Calls; in the images API, images.
    pub calls: u64,
    /// Images that the call orders.
    pub images: u64,
    /// Searches that the provider runs.
    pub searches: u64,
    /// Nanoseconds of recordings.
    pub nanoseconds: u64,
    /// Characters of a text to speak.
    pub characters: u64,
}

/// The price of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallPrice {
    /// The price; that of several targets, if any of them may answer.
    pub price: Price,
    /// The most units that the call may have. Its calls, images and characters are exact.
    pub units: Units,
    /// The service tier that the request names.
    pub tier: Option<Box<str>>,
    /// The cost that the provider reports counts, if it reports one.
    pub is_reported: bool,
}

impl CallPrice {
    /// The cost of a call with this usage. `whole`: the response is complete.
    pub(super) fn cost(&self, api: Api, mut usage: Usage, report: &UsageReport, whole: bool) -> Pico {
        let reported = report.cost.filter(|_| self.is_reported);
        if let (Some(cost), true) = (reported, whole) {
            return cost;
        }
        // The output of speech is sound.
        if self.units.characters > 0 && usage.output_audio == 0 {
            usage.output_audio = usage.output;
        }
        let units = Units {
            searches: report.searches,
            nanoseconds: report.nanoseconds.unwrap_or(self.units.nanoseconds),
            ..self.units
        };
        let priced = if self.price.details.is_none() {
            usual_cost(&self.price, &usage, &units)
        } else {
            // The tier of a response that is not complete may not have been named yet.
            let requested = self.tier.as_deref().filter(|_| !whole);
            let tier = report.tier.as_deref().or(requested).map(|name| known_tier(api, &self.price, name));
            detailed_cost(&self.price.rates(tier, usage.input), &usage, &units)
        };
        reported.map_or(priced, |cost| cost.max(priced))
    }

    /// The cost of a call whose provider reports no tokens, if it reports what the cost depends on instead.
    pub(super) fn cost_without_tokens(&self, api: Api, report: &UsageReport) -> Option<Pico> {
        let by_time = report.nanoseconds.is_some() && self.price.rates(None, 0).get(Rate::Second) != Pico(0);
        let is_known = by_time || report.cost.is_some() && self.is_reported;
        is_known.then(|| self.cost(api, Usage::default(), report, true))
    }
}

/// The tier of this name among those with prices. OpenAI has two names for one ("Fast mode" in its guides).
pub(super) fn known_tier<'n>(api: Api, price: &Price, name: &'n str) -> &'n str {
    let other = match name {
        "fast" => "priority",
        "priority" => "fast",
        _ => return name,
    };
    let is_alias = api.provider() == Some(Provider::OpenAi) && !price.has_tier(name) && price.has_tier(other);
    if is_alias { other } else { name }
}

/// The cost at prices that are the same for every call, and for all input and all output.
fn usual_cost(price: &Price, usage: &Usage, units: &Units) -> Pico {
    let fresh = usage.input.saturating_sub(usage.cached_input).saturating_sub(usage.cache_write);
    sum([
        (fresh, price.input),
        (usage.cached_input, price.cached_input),
        (usage.cache_write, price.cache_write),
        (usage.output, price.output),
        (units.calls, price.request),
    ])
}

// Not inlined: few targets have such prices.
#[inline(never)]
fn detailed_cost(rates: &Rates, usage: &Usage, units: &Units) -> Pico {
    // Cached input is text first: cached sound and images are left out of their figures if they are known.
    let fresh = usage.input.saturating_sub(usage.cached_input).saturating_sub(usage.cache_write);
    let input_audio = usage.input_audio.min(fresh);
    let input_image = usage.input_image.min(fresh.saturating_sub(input_audio));
    let for_an_hour = usage.cache_write_1h.min(usage.cache_write);
    let output_audio = usage.output_audio.min(usage.output);
    let output_image = usage.output_image.min(usage.output.saturating_sub(output_audio));
    let tokens = sum([
        (fresh.saturating_sub(input_audio).saturating_sub(input_image), rates.get(Rate::Input)),
        (input_audio, rates.get(Rate::InputAudio)),
        (input_image, rates.get(Rate::InputImage)),
        (usage.cached_input, rates.get(Rate::CachedInput)),
        (usage.cache_write.saturating_sub(for_an_hour), rates.get(Rate::CacheWrite)),
        (for_an_hour, rates.get(Rate::CacheWriteHour)),
        (usage.output.saturating_sub(output_audio).saturating_sub(output_image), rates.get(Rate::Output)),
        (output_audio, rates.get(Rate::OutputAudio)),
        (output_image, rates.get(Rate::OutputImage)),
    ]);
    tokens.plus(cost_of_units(rates, units))
}

/// The cost of what is no tokens.
pub(super) fn cost_of_units(rates: &Rates, units: &Units) -> Pico {
    let time = Pico(rates.get(Rate::Second).0.saturating_mul(units.nanoseconds.into()).div_ceil(SECOND));
    sum([
        (units.calls, rates.get(Rate::Request)),
        (units.images, rates.get(Rate::Image)),
        (units.searches, rates.get(Rate::Search)),
        (1, time),
        (units.characters, rates.get(Rate::Character)),
    ])
}

fn sum<const N: usize>(parts: [(u64, Pico); N]) -> Pico {
    parts.into_iter().fold(Pico(0), |sum, (count, price)| sum.plus(price.times(count)))
}
