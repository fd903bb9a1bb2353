//! The windows that a limit may have.

/// What a limit counts, and over which span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum Window {
    /// Requests in any 60 s.
    Rpm = 0,
    /// Tokens in any 60 s.
    Tpm = 1,
    /// Requests in any 3600 s.
    Rph = 2,
    /// Requests in a UTC day.
    Rpd = 3,
    /// Tokens in a UTC day.
    Tpd = 4,
}

impl Window {
    /// All windows, in the order of their discriminants.
    pub const ALL: [Window; 5] = [Window::Rpm, Window::Tpm, Window::Rph, Window::Rpd, Window::Tpd];

    /// The field's name in a policy, and the second half of a scope such as `team_rpm`.
    pub fn name(self) -> &'static str {
        match self {
            Window::Rpm => "rpm",
            Window::Tpm => "tpm",
            Window::Rph => "rph",
            Window::Rpd => "rpd",
            Window::Tpd => "tpd",
        }
    }

    /// Whether it counts tokens (else requests).
    pub fn counts_tokens(self) -> bool {
        matches!(self, Window::Tpm | Window::Tpd)
    }
}
