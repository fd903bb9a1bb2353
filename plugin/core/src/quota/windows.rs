//! The one table of limit windows, and the code that is generated from it.

use core::num::NonZeroU64;

/// The table of limit windows. Expands `$then!` with its rows, after an argument for it in brackets if there is one:
///
/// ```text
/// /// Documentation, also of the field in the JSON Schema.
/// Variant { field, stored code, unit, span }
/// ```
///
/// - The field is the name in a policy and in the `limits` of a record, and the second half of a label (`team_rpm`).
/// - The stored code is the kind of a block in a counter record. Codes never change; a new window takes a new one.
/// - Rows are in the order in which windows are decided and listed. A new row goes last: the messages of the Worker
///   number the variants by their position.
macro_rules! windows {
    ($then:ident! $($argument:literal)?) => {
        $then! {
            $([$argument])?
            /// Requests per minute, in any 60 seconds.
            Rpm { rpm, 0, Requests, Minute }
            /// Tokens per minute, in any 60 seconds.
            Tpm { tpm, 1, Tokens, Minute }
            /// Requests per hour, in any 3600 seconds.
            Rph { rph, 2, Requests, Hour }
            /// Requests per UTC day.
            Rpd { rpd, 3, Requests, Day }
            /// Tokens per UTC day.
            Tpd { tpd, 4, Tokens, Day }
        }
    };
}
pub(crate) use windows;

/// The unit that a window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowUnit {
    /// Requests.
    Requests,
    /// Input and output tokens.
    Tokens,
}

/// The time that a window covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSpan {
    /// Any 60 seconds (sliding).
    Minute,
    /// Any 3600 seconds (sliding).
    Hour,
    /// A UTC day.
    Day,
}

impl WindowSpan {
    /// The length in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            WindowSpan::Minute => 60,
            WindowSpan::Hour => 3_600,
            WindowSpan::Day => 86_400,
        }
    }
}

macro_rules! define {
    ($($(#[doc = $doc:literal])* $variant:ident { $field:ident, $code:literal, $unit:ident, $span:ident })*) => {
        /// A window that a limit can apply to: the unit it counts, and the time it covers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
        #[repr(u8)]
        pub enum Window {
            $($(#[doc = $doc])* $variant = $code,)*
        }

        impl Window {
            /// All windows, in the order of the table.
            pub const ALL: [Window; [$($code),*].len()] = [$(Window::$variant),*];

            /// The field's name in a policy, and the second half of a label such as `team_rpm`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Window::$variant => stringify!($field),)*
                }
            }

            /// The unit that the window counts.
            pub const fn unit(self) -> WindowUnit {
                match self {
                    $(Window::$variant => WindowUnit::$unit,)*
                }
            }

            /// The time that the window covers.
            pub const fn span(self) -> WindowSpan {
                match self {
                    $(Window::$variant => WindowSpan::$span,)*
                }
            }

            /// The kind of the window's blocks in a counter record.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The window whose blocks are of this kind.
            pub const fn from_code(code: u8) -> Option<Window> {
                match code {
                    $($code => Some(Window::$variant),)*
                    _ => None,
                }
            }
        }

        /// The limits of one principal; a window without one is not enforced. Sliding windows hold 1 to 4,294,967,295,
        /// days 1 to 9,007,199,254,740,991.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
        pub struct Limits {
            $($(#[doc = $doc])* pub $field: Option<NonZeroU64>,)*
        }

        impl Limits {
            /// The limit of one window.
            pub fn get(&self, window: Window) -> Option<NonZeroU64> {
                match window {
                    $(Window::$variant => self.$field,)*
                }
            }

            /// These limits, and for the windows without one those of `others`.
            pub fn or(&self, others: &Limits) -> Limits {
                Limits { $($field: self.$field.or(others.$field),)* }
            }

            /// Returns the tighter limit of both in each window.
            pub fn tighter(&self, other: &Limits) -> Limits {
                let tighter = |one: Option<NonZeroU64>, other: Option<NonZeroU64>| match (one, other) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (only, None) | (None, only) => only,
                };
                Limits { $($field: tighter(self.$field, other.$field),)* }
            }

            /// The windows that are limited, in the order of the table, with their limits.
            pub fn iter(&self) -> impl Iterator<Item = (Window, u64)> {
                // A plain loop: `get` would dispatch on each window.
                let all = Window::ALL.into_iter().zip([$(self.$field),*]);
                all.filter_map(|(window, limit)| Some((window, limit?.get())))
            }

            /// True if a window that counts tokens is limited.
            pub fn counts_tokens(&self) -> bool {
                false $(|| (Window::$variant.counts_tokens() && self.$field.is_some()))*
            }

            /// Removes the limits of the windows that count tokens.
            pub fn remove_tokens(&mut self) {
                $(if Window::$variant.counts_tokens() {
                    self.$field = None;
                })*
            }

            /// Calls `visit` with each token limit that is below `tokens`. Written out, so that other windows cost nothing.
            pub fn below_tokens(&self, tokens: u64, visit: &mut dyn FnMut(Window, u64)) {
                $(if Window::$variant.counts_tokens()
                    && let Some(limit) = self.$field
                    && tokens > limit.get()
                {
                    visit(Window::$variant, limit.get());
                })*
            }
        }
    };
}
windows!(define!);

impl Window {
    /// True if the window counts tokens, false if it counts requests.
    pub const fn counts_tokens(self) -> bool {
        matches!(self.unit(), WindowUnit::Tokens)
    }
}

impl Limits {
    /// True if nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn every_window_has_its_limit_and_its_code() {
        for window in Window::ALL {
            assert_eq!(Window::from_code(window.code()), Some(window));
            let mut limits = Limits::default();
            assert!(limits.is_empty() && limits.get(window).is_none());
            *field(&mut limits, window.name()) = NonZeroU64::new(7);
            assert_eq!(limits.get(window), NonZeroU64::new(7));
            assert!(limits.iter().eq([(window, 7)]));
            assert_eq!(limits.counts_tokens(), window.counts_tokens());
            let below = |tokens| {
                let mut below = Vec::new();
                limits.below_tokens(tokens, &mut |window, limit| below.push((window, limit)));
                below
            };
            assert_eq!(below(7), []);
            assert_eq!(below(8), if window.counts_tokens() { vec![(window, 7)] } else { vec![] });
            limits.remove_tokens();
            assert_eq!(limits.is_empty(), window.counts_tokens());
        }
    }

    fn field<'l>(limits: &'l mut Limits, name: &str) -> &'l mut Option<NonZeroU64> {
        macro_rules! fields {
            ($($(#[doc = $doc:literal])* $variant:ident { $field:ident, $code:literal, $unit:ident, $span:ident })*) => {
                match name {
                    $(stringify!($field) => &mut limits.$field,)*
                    _ => panic!("{name}"),
                }
            };
        }
        windows!(fields!)
    }

    #[test]
    fn stored_codes_never_change() {
        let codes = Window::ALL.map(|window| (window.name(), window.code()));
        assert_eq!(codes, [("rpm", 0), ("tpm", 1), ("rph", 2), ("rpd", 3), ("tpd", 4)]);
    }
}
