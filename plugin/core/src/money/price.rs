//! The prices of a target, and the choice among them.
//!
//! A target has one price for each kind of unit. It may have others for calls with more input than a threshold, and others again
//! for service tiers. A price that a policy leaves out is the nearest more general one: first the same kind in a more
//! general place (the tier above a threshold, the tier, the target above a threshold, the target), then the kind that
//! [`Rate::more_general`] names, in the same places.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::Pico;
use crate::collections::sort::once;

/// The table of prices. Expands `$then!` with its rows:
///
/// ```text
/// /// Documentation, also of the field in the JSON Schema.
/// Variant { field, type of the field's value, the more general price or `none` }
/// ```
macro_rules! rates {
    ($then:ident!) => {
        $then! {
            /// Price of input tokens.
            Input { input, PerMillion, none }
            /// Price of output tokens, including reasoning tokens.
            Output { output, PerMillion, none }
            /// Price of input tokens read from a cache. Default: `input`.
            CachedInput { cached_input, PerMillion, Input }
            /// Price of input tokens written to a cache. Default: `input`.
            CacheWrite { cache_write, PerMillion, Input }
            /// Price of input tokens written to a cache for an hour. Default: `cache_write`.
            CacheWriteHour { cache_write_1h, PerMillion, CacheWrite }
            /// Price of input tokens of sound. Default: `input`.
            InputAudio { input_audio, PerMillion, Input }
            /// Price of output tokens of sound. Default: `output`.
            OutputAudio { output_audio, PerMillion, Output }
            /// Price of input tokens of images. Default: `input`.
            InputImage { input_image, PerMillion, Input }
            /// Price of output tokens of images. Default: `output`.
            OutputImage { output_image, PerMillion, Output }
            /// Price of each call, in addition to its tokens; in the images API, of each image. Default: 0.
            Request { request, PerUnit, none }
            /// Price of each image that a call of the images API orders. Default: 0.
            Image { image, PerUnit, none }
            /// Price of each search that the provider runs. Default: 0.
            Search { search, PerUnit, none }
            /// Price of each second of a recording. Default: 0.
            Second { second, PerUnit, none }
            /// Price of each character of a text to speak. Default: 0.
            Character { character, PerUnit, none }
        }
    };
}

macro_rules! define_rates {
    ($(#[doc = $doc:literal] $variant:ident { $field:ident, $unit:ident, $general:ident })*) => {
        /// A kind of price.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rate {
            $(#[doc = $doc] $variant,)*
        }

        impl Rate {
            /// All kinds, in the order of the fields of a policy.
            pub const ALL: &'static [Rate] = &[$(Rate::$variant),*];

            /// Returns the name of the field in a policy.
            pub fn name(self) -> &'static str {
                match self {
                    $(Rate::$variant => stringify!($field),)*
                }
            }

            /// Returns the kind whose price applies if there is none of this kind; `None`: the price is then 0.
            pub fn more_general(self) -> Option<Rate> {
                match self {
                    $(Rate::$variant => define_rates!(@general $general),)*
                }
            }

            /// Returns true for a price per token, and false for one per unit.
            pub fn is_per_token(self) -> bool {
                match self {
                    $(Rate::$variant => define_rates!(@per_token $unit),)*
                }
            }

            /// Returns the description in the schema of a policy.
            #[cfg(feature = "schema")]
            pub fn description(self) -> &'static str {
                match self {
                    $(Rate::$variant => $doc.trim_ascii(),)*
                }
            }
        }
    };
    (@general none) => { None };
    (@general $general:ident) => { Some(Rate::$general) };
    (@per_token PerMillion) => { true };
    (@per_token PerUnit) => { false };
}
rates!(define_rates!);

impl Rate {
    /// The number of kinds.
    pub const COUNT: usize = Rate::ALL.len();

    /// Returns the kind whose field in a policy has this name.
    pub fn named(name: &str) -> Option<Rate> {
        Rate::ALL.iter().copied().find(|rate| rate.name() == name)
    }
}

/// A value for each kind of price. An array instead of fields: what is done for each kind is compiled once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateTable<T>([T; Rate::COUNT]);

impl<T: Copy + Default> RateTable<T> {
    /// Makes a table of the values that a function returns.
    pub fn of(mut value: impl FnMut(Rate) -> T) -> Self {
        let mut table = Self::default();
        for (slot, rate) in table.0.iter_mut().zip(Rate::ALL) {
            *slot = value(*rate);
        }
        table
    }

    /// Returns the value for a kind.
    pub fn get(&self, rate: Rate) -> T {
        self.0.get(rate as usize).copied().unwrap_or_default()
    }

    /// Sets the value for a kind.
    pub fn set(&mut self, rate: Rate, value: T) {
        if let Some(slot) = self.0.get_mut(rate as usize) {
            *slot = value;
        }
    }
}

/// Prices that a policy gives, in one place; `None` where it leaves one out.
pub type GivenRates = RateTable<Option<Pico>>;

/// The prices of one call. Those of tokens are pico-dollars per token (= micro-dollars per million tokens), others
/// pico-dollars per unit.
pub type Rates = RateTable<Pico>;

impl Rates {
    /// Returns the higher one of each two prices.
    fn highest(&self, other: &Rates) -> Rates {
        Rates::of(|rate| self.get(rate).max(other.get(rate)))
    }
}

/// The prices of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Each input token.
    pub input: Pico,
    /// Each output token, reasoning included.
    pub output: Pico,
    /// Each input token served from a cache; the input price if the policy sets none.
    pub cached_input: Pico,
    /// Each input token written to a cache; the input price if the policy sets none.
    pub cache_write: Pico,
    /// Each call.
    pub request: Pico,
    /// All prices as the policy gives them, if there are others than these five. Apart, because few targets have them.
    pub details: Option<Rc<PriceDetails>>,
}

/// All prices of a target that has more than the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceDetails {
    /// Prices of every call.
    pub level: PriceLevel,
    /// Service tiers with prices of their own.
    pub tiers: Box<[Tier]>,
}

/// Prices, and others above thresholds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceLevel {
    /// Prices of calls up to every threshold.
    pub rates: GivenRates,
    /// Prices of longer calls, by rising threshold.
    pub above: Box<[Above]>,
}

/// Prices of a call with more input than a threshold. They apply to the whole call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Above {
    /// The threshold: the most input tokens, cached ones included, to which these prices do not apply.
    pub input_tokens: u64,
    /// The prices.
    pub rates: GivenRates,
}

/// Prices of a service tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The name in answers, in lower case.
    pub name: Box<str>,
    /// The prices.
    pub level: PriceLevel,
}

impl PriceLevel {
    /// The prices above the highest threshold that a call exceeds.
    fn above(&self, input_tokens: u64) -> Option<&GivenRates> {
        self.above.iter().rev().find(|above| input_tokens > above.input_tokens).map(|above| &above.rates)
    }

    /// The numbers of input tokens up to `most` at which other prices begin.
    fn steps(&self, most: u64) -> impl Iterator<Item = u64> {
        let exceeded = self.above.iter().map(|above| above.input_tokens).filter(move |tokens| *tokens < most);
        exceeded.map(|tokens| tokens.saturating_add(1))
    }
}

impl Price {
    /// Makes a price of all that a policy gives.
    #[must_use]
    pub fn of(level: PriceLevel, tiers: Box<[Tier]>) -> Price {
        let others =
            Rate::ALL.iter().filter(|rate| !is_usual(**rate)).any(|rate| level.rates.get(*rate).is_some());
        let is_usual = !others && level.above.is_empty() && tiers.is_empty();
        let details = PriceDetails { level, tiers };
        let rates = details.rates(None, 0);
        Price {
            input: rates.get(Rate::Input),
            output: rates.get(Rate::Output),
            cached_input: rates.get(Rate::CachedInput),
            cache_write: rates.get(Rate::CacheWrite),
            request: rates.get(Rate::Request),
            details: if is_usual { None } else { Some(Rc::new(details)) },
        }
    }

    /// Returns the prices of a call in this tier with this input. A tier without prices of its own has those of every
    /// call.
    #[must_use]
    pub fn rates(&self, tier: Option<&str>, input_tokens: u64) -> Rates {
        match &self.details {
            Some(details) => details.rates(tier, input_tokens),
            None => self.usual(),
        }
    }

    /// Returns the highest price of each kind that a call with at most this input may have, in any of the tiers for which
    /// `may_be` returns true or in none.
    #[must_use]
    pub fn highest(&self, may_be: &dyn Fn(&str) -> bool, most_input: u64) -> Rates {
        let Some(details) = &self.details else { return self.usual() };
        let steps = details.steps(most_input);
        let names = details.tiers.iter().map(|tier| &*tier.name).filter(|name| may_be(name));
        let places = core::iter::once(None).chain(names.map(Some));
        let all = places.flat_map(|tier| steps.iter().map(move |input| details.rates(tier, *input)));
        all.reduce(|one, other| one.highest(&other)).unwrap_or_default()
    }

    /// Returns true if some output may cost something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        let rates = self.highest(&|_| true, u64::MAX);
        [Rate::Output, Rate::OutputAudio, Rate::OutputImage].iter().any(|rate| rates.get(*rate) != Pico(0))
    }

    /// Returns true if a tier of this name has prices of its own.
    #[must_use]
    pub fn has_tier(&self, name: &str) -> bool {
        self.details.as_ref().is_some_and(|details| details.tier(name).is_some())
    }

    /// Returns the price of a call that any of several targets may answer: in every tier, and with any input, the highest of
    /// their prices. `None` without any.
    #[must_use]
    pub fn highest_of<'a>(mut prices: impl Iterator<Item = &'a Price> + Clone) -> Option<Price> {
        let all = prices.clone();
        let first = prices.next()?;
        if all.clone().all(|price| price.details.is_none()) {
            return Some(prices.fold(first.clone(), |one, other| Price {
                input: one.input.max(other.input),
                output: one.output.max(other.output),
                cached_input: one.cached_input.max(other.cached_input),
                cache_write: one.cache_write.max(other.cache_write),
                request: one.request.max(other.request),
                details: None,
            }));
        }
        if prices.next().is_none() {
            return Some(first.clone());
        }
        let details = all.clone().filter_map(|price| price.details.as_deref());
        let mut steps: Vec<u64> = details.clone().flat_map(|details| details.steps(u64::MAX)).collect();
        once(&mut steps);
        let level = |tier: Option<&str>| {
            let rates = |input: u64| {
                let each = all.clone().map(|price| price.rates(tier, input));
                let highest = each.reduce(|one, other| one.highest(&other)).unwrap_or_default();
                GivenRates::of(|rate| Some(highest.get(rate)))
            };
            let later = steps.iter().filter(|input| **input > 0);
            let above =
                later.map(|input| Above { input_tokens: input.saturating_sub(1), rates: rates(*input) });
            PriceLevel { rates: rates(0), above: above.collect() }
        };
        let mut tiers: Vec<Tier> = Vec::new();
        for name in details.flat_map(|details| &details.tiers).map(|tier| &tier.name) {
            if !tiers.iter().any(|tier| tier.name == *name) {
                tiers.push(Tier { name: name.clone(), level: level(Some(name)) });
            }
        }
        Some(Price::of(level(None), tiers.into()))
    }

    fn usual(&self) -> Rates {
        let Price { input, output, cached_input, cache_write, request, details: _ } = *self;
        Rates::of(|rate| match rate {
            Rate::Input | Rate::InputAudio | Rate::InputImage => input,
            Rate::Output | Rate::OutputAudio | Rate::OutputImage => output,
            Rate::CachedInput => cached_input,
            Rate::CacheWrite | Rate::CacheWriteHour => cache_write,
            Rate::Request => request,
            Rate::Image | Rate::Search | Rate::Second | Rate::Character => Pico(0),
        })
    }
}

/// True for the kinds that a price without details has.
fn is_usual(rate: Rate) -> bool {
    matches!(rate, Rate::Input | Rate::Output | Rate::CachedInput | Rate::CacheWrite | Rate::Request)
}

impl PriceDetails {
    fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.iter().find(|tier| &*tier.name == name)
    }

    // Not inlined: few targets have such prices.
    #[inline(never)]
    fn rates(&self, tier: Option<&str>, input_tokens: u64) -> Rates {
        let tier = tier.and_then(|name| self.tier(name)).map(|tier| &tier.level);
        // From the most special place to the most general one.
        let places = [
            tier.and_then(|level| level.above(input_tokens)),
            tier.map(|level| &level.rates),
            self.level.above(input_tokens),
            Some(&self.level.rates),
        ];
        Rates::of(|rate| {
            let mut kind = Some(rate);
            while let Some(known) = kind {
                if let Some(price) = places.iter().flatten().find_map(|rates| rates.get(known)) {
                    return price;
                }
                kind = known.more_general();
            }
            Pico(0)
        })
    }

    /// The least numbers of input tokens with each combination of prices, up to `most`; the first is 0.
    fn steps(&self, most: u64) -> Vec<u64> {
        let of_tiers = self.tiers.iter().flat_map(|tier| tier.level.steps(most));
        core::iter::once(0).chain(self.level.steps(most)).chain(of_tiers).collect()
    }
}
