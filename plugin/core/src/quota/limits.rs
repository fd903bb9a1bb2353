//! The five request and token limits a principal may carry.

use crate::quota::Window;
use core::num::NonZeroU64;

/// The limits of one principal; a window without one is not enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// Requests in any 60 s: 1 to 4,294,967,295.
    pub rpm: Option<NonZeroU64>,
    /// Tokens in any 60 s: 1 to 4,294,967,295.
    pub tpm: Option<NonZeroU64>,
    /// Requests in any 3600 s: 1 to 4,294,967,295.
    pub rph: Option<NonZeroU64>,
    /// Requests in a UTC day: 1 to 9,007,199,254,740,991.
    pub rpd: Option<NonZeroU64>,
    /// Tokens in a UTC day: 1 to 9,007,199,254,740,991.
    pub tpd: Option<NonZeroU64>,
}

impl Limits {
    /// The limit of one window.
    pub fn get(&self, window: Window) -> Option<NonZeroU64> {
        match window {
            Window::Rpm => self.rpm,
            Window::Tpm => self.tpm,
            Window::Rph => self.rph,
            Window::Rpd => self.rpd,
            Window::Tpd => self.tpd,
        }
    }

    /// The windows that are limited, in their order, with their limits.
    pub fn iter(&self) -> impl Iterator<Item = (Window, u64)> {
        // Not by `get`, which would tell the windows apart again.
        let Limits { rpm, tpm, rph, rpd, tpd } = *self;
        let all = Window::ALL.into_iter().zip([rpm, tpm, rph, rpd, tpd]);
        all.filter_map(|(window, limit)| Some((window, limit?.get())))
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// Whether a window that counts tokens is limited.
    pub fn counts_tokens(&self) -> bool {
        self.tpm.is_some() || self.tpd.is_some()
    }
}
