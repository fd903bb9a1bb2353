//! The entry of a file of prices for one target.

use std::collections::BTreeMap;

use tollgate_core::money::Rate;

use super::amount::{Unfit, is_zero, scaled};

/// Prices by the name of their field in a policy, as a policy has them.
pub type Prices = BTreeMap<&'static str, String>;

/// Prices, and others above numbers of input tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    pub prices: Prices,
    pub above: BTreeMap<u64, Prices>,
}

/// The kinds of calls, as far as their prices differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Text is generated: input and output have prices.
    #[default]
    Text,
    /// Embeddings, reranking: there is no output.
    Vectors,
    /// Images.
    Images,
    /// Recordings become text.
    Transcription,
    /// Text becomes sound.
    Speech,
}

/// One line or entry of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The target's name.
    pub name: String,
    pub mode: Mode,
    pub level: Level,
    pub tiers: BTreeMap<String, Level>,
    pub max_input_tokens: Option<u64>,
    pub max_output_tokens: Option<u64>,
    /// Prices of zero were removed.
    pub had_zeros: bool,
    /// Figures that a policy cannot have, with the reason.
    pub left_out: Vec<(String, Reason)>,
}

/// The reason why a part of a file is not in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    NoPrice,
    Zero,
    NoOutput,
    Name,
    Number,
    Fine,
    ByPixel,
    BySize,
    ByVideo,
    ImageInput,
    SoundBySecond,
    CachedMedia,
    LongCache,
    Reasoning,
    Hours,
    Tools,
    SearchSizes,
    Other,
}

impl Reason {
    pub fn text(self) -> &'static str {
        match self {
            Reason::NoPrice => "the file has no price that a policy can have",
            Reason::Zero => "a price of zero counts as unknown without `--free`",
            Reason::NoOutput => "the file has no price of output",
            Reason::Name => "not the name of a target: 1 to 128 visible ASCII characters",
            Reason::Number => "not a decimal number",
            Reason::Fine => "more decimals than a price can have",
            Reason::ByPixel => "prices by the pixel",
            Reason::BySize => "prices by the size of an image",
            Reason::ByVideo => "prices of video",
            Reason::ImageInput => "a price for each image of a request",
            Reason::SoundBySecond => "a price by the second in an API that reports none",
            Reason::CachedMedia => "prices of cached sound and images",
            Reason::LongCache => "prices of caches that are kept for hours",
            Reason::Reasoning => "reasoning has another price than output",
            Reason::Hours => "other prices at other hours",
            Reason::Tools => "prices of tools that the provider runs",
            Reason::SearchSizes => "several prices of a search: the highest one is taken",
            Reason::Other => "a price without a counterpart",
        }
    }
}

impl From<Unfit> for Reason {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::NoNumber | Unfit::TooLarge => Reason::Number,
            Unfit::TooFine => Reason::Fine,
        }
    }
}

impl Offer {
    /// The level of a tier, or that of every call.
    pub fn level_of(&mut self, tier: Option<&str>) -> &mut Level {
        match tier {
            Some(tier) => self.tiers.entry(tier.to_owned()).or_default(),
            None => &mut self.level,
        }
    }

    /// Adds a price. `per_million`: the number is dollars for a million tokens, not for one.
    pub fn price(
        &mut self,
        rate: Rate,
        tier: Option<&str>,
        above: Option<u64>,
        number: &str,
        per_million: bool,
    ) -> Result<(), Reason> {
        let (places, most) = match (rate.is_per_token(), per_million) {
            (true, false) => (6, 6),
            (true, true) => (0, 6),
            (false, _) => (0, 12),
        };
        let amount = scaled(number, places, most)?;
        let level = self.level_of(tier);
        let prices = match above {
            Some(threshold) => level.above.entry(threshold).or_default(),
            None => &mut level.prices,
        };
        prices.insert(rate.name(), amount);
        Ok(())
    }

    /// Returns true if there is nothing to take.
    pub fn is_empty(&self) -> bool {
        let has_maxima = self.max_input_tokens.is_some() || self.max_output_tokens.is_some();
        self.level == Level::default() && self.tiers.is_empty() && !has_maxima
    }

    /// The reason why the offer gives a target no price; `None`: it gives one.
    pub fn missing(&self) -> Option<Reason> {
        let has = |name: &str| self.level.prices.contains_key(name);
        match (has("input"), has("output")) {
            (true, true) => None,
            _ if self.had_zeros => Some(Reason::Zero),
            (true, false) => Some(Reason::NoOutput),
            (false, _) => Some(self.left_out.first().map_or(Reason::NoPrice, |(_, reason)| *reason)),
        }
    }

    /// Records what is left out.
    pub fn leave_out(&mut self, what: &str, reason: Reason) {
        self.left_out.push((what.to_owned(), reason));
    }

    /// Removes prices of zero, which are unknown ones, unless `free`; and adds those of zero that a policy has to have.
    pub fn complete(&mut self, free: bool) {
        if !free {
            let levels = self.tiers.values_mut().chain([&mut self.level]);
            for level in levels {
                for prices in level.above.values_mut().chain([&mut level.prices]) {
                    let all = prices.len();
                    prices.retain(|_, amount| !is_zero(amount));
                    self.had_zeros |= prices.len() < all;
                }
                level.above.retain(|_, prices| !prices.is_empty());
            }
            self.tiers.retain(|_, level| *level != Level::default());
        }
        let given = |names: &[&str]| names.iter().any(|name| self.level.prices.contains_key(name));
        let is_priced = match self.mode {
            Mode::Text => false,
            Mode::Vectors => given(&["input", "request"]),
            Mode::Images => given(&["image", "request", "output_image", "output"]),
            Mode::Transcription => given(&["second", "request", "input", "input_audio"]),
            Mode::Speech => given(&["character", "request", "output", "output_audio"]),
        };
        if !is_priced {
            return;
        }
        // A missing price is that of the sound or the images, if there is one.
        let special =
            [("input", ["input_audio", "input_image"]), ("output", ["output_audio", "output_image"])];
        for (name, others) in special {
            let other = others.iter().find_map(|other| self.level.prices.get(other).cloned());
            self.level.prices.entry(name).or_insert_with(|| other.unwrap_or_else(|| "0.00".to_owned()));
        }
    }
}
