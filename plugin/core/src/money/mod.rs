//! Exact amounts of money, and prices: pico-dollars in a `u128`, never a float.

mod price;

use alloc::format;
use alloc::string::{String, ToString};

pub use price::{Above, GivenRates, Price, PriceDetails, PriceLevel, Rate, RateTable, Rates, Tier};

/// US dollars times 10^12.
///
/// A price in micro-dollars per million tokens is the same number of pico-dollars per token, so
/// `tokens * price` needs no division.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
// Aligned to 8 bytes as all other types: an allocation with another alignment costs more.
#[repr(Rust, packed(8))]
pub struct Pico(pub u128);

impl Pico {
    /// Multiplies a price by a count, saturating.
    pub fn times(self, count: u64) -> Pico {
        // The usual case: a product of more than 64 bits is a call in wasm.
        Pico(match (u32::try_from(self.0), u32::try_from(count)) {
            (Ok(price), Ok(count)) => u128::from(u64::from(price) * u64::from(count)),
            _ => self.0.saturating_mul(u128::from(count)),
        })
    }

    /// Adds an amount, saturating.
    pub fn plus(self, other: Pico) -> Pico {
        Pico(self.0.saturating_add(other.0))
    }
}

/// Pico-dollars in one US dollar.
pub const DOLLAR: u128 = 1_000_000_000_000;

/// Formats an amount exactly, in dollars with at least two decimals: `0.00`, `12.50`, `0.000000000001`.
pub fn dollars(amount: Pico) -> String {
    let fraction = format!("{:012}", amount.0 % DOLLAR);
    let mut kept = fraction.trim_end_matches('0').to_string();
    while kept.len() < 2 {
        kept.push('0');
    }
    format!("{}.{kept}", amount.0 / DOLLAR)
}

/// The period after which a budget starts over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub enum Period {
    /// The full hour, UTC.
    Hour,
    /// The UTC day.
    Day,
    /// The week from Monday, UTC.
    Week,
    /// The calendar month, UTC.
    Month,
    /// Unlimited: the budget never starts over.
    #[default]
    Lifetime,
}

/// A money budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Budget {
    /// The most that is spent in a period; 0 blocks.
    pub max: Pico,
    /// The amount above which responses carry a warning; it never blocks.
    pub soft: Option<Pico>,
    /// The period after which it starts over.
    pub period: Period,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_exact_or_saturate() {
        let small = u64::from(u32::MAX);
        for count in [0, 1, small - 1, small, small + 1, u64::MAX] {
            for price in [0, 1, small - 1, small, small + 1, u64::MAX].map(u128::from) {
                assert_eq!(Pico(price).times(count), Pico(price * u128::from(count)), "{price} * {count}");
            }
            for price in [u128::MAX, u128::MAX / 2 + 1] {
                let most = if count > 1 { u128::MAX } else { price * u128::from(count) };
                assert_eq!(Pico(price).times(count), Pico(most), "{price} * {count}");
            }
        }
        assert_eq!(Pico(u128::MAX).plus(Pico(1)), Pico(u128::MAX));
    }
}
