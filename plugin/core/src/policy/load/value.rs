//! The types of values in a document: the reader and the JSON Schema of each.

#![allow(clippy::wildcard_enum_match_arm, reason = "the types of JSON values are fixed")]

use crate::secret::api_key::Digest;
use crate::secret::redact::without_secrets;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::collections::sort::sort;
use crate::json::node::Node;
use crate::money::{DOLLAR, Pico};
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics};
use crate::time::{Timestamp, parse_rfc3339};

/// A type that is read from a JSON value.
pub trait FromNode: Sized {
    /// Reads a value and reports everything that is wrong with it. `None` if nothing usable is left.
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self>;

    /// Returns the JSON Schema of the type (draft 2020-12).
    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value;
}

fn expected<T>(report: &mut Diagnostics, expected: &'static str, node: &Node) -> Option<T> {
    report.error(DiagnosticKind::Expected { expected, found: node.describe() });
    None
}

/// Defines a string type by its check, its schema pattern and its description.
macro_rules! text_form {
    ($(#[$doc:meta])* $name:ident, $words:literal, $pattern:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub Box<str>);

        impl FromNode for $name {
            fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
                let check: fn(&str) -> Option<String> = $check;
                match &node {
                    Node::String(text) => match check(text) {
                        Some(text) => Some($name(text.into())),
                        None => expected(report, $words, &node),
                    },
                    _ => expected(report, $words, &node),
                }
            }

            #[cfg(feature = "schema")]
            fn schema() -> serde_json::Value {
                serde_json::json!({ "type": "string", "pattern": $pattern, "description": $words })
            }
        }
    };
}

text_form! {
    /// The id of an organization, team, user, service account or key.
    Id, "an id: a letter or digit, then up to 63 of letters, digits, `.`, `_`, `@`, `+`, `-`",
    "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$",
    |text| is_id(text).then(|| text.to_string())
}
text_form! {
    /// The public name of a target, or `*` for the whole catalog where a list may have it.
    TargetName, "a target name: 1 to 128 visible ASCII characters", "^[!-~]{1,128}$",
    |text| is_target_name(text).then(|| text.to_string())
}
text_form! {
    /// The name of an access group; compared trimmed and in lower case.
    GroupName, "an access group: `^[a-z0-9][a-z0-9._-]{0,63}$` once trimmed and lower-cased",
    "^\\s*[A-Za-z0-9][A-Za-z0-9._-]{0,63}\\s*$", group_name
}
text_form! {
    /// A text for display.
    DisplayText, "a text of 1 to 200 characters without control characters, and without a key", "^[^\\u0000-\\u001f\\u007f]{1,200}$",
    |text| (!text.is_empty() && text.chars().count() <= 200 && !text.chars().any(|c| c < ' ' || c == '\u{7f}') && without_secrets(text) == text).then(|| text.to_string())
}
text_form! {
    /// The owner of a key.
    OwnerName, "an owner: `user/ID` or `service_account/ID`", "^(user|service_account)/[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$",
    |text| text.split_once('/').is_some_and(|(kind, id)| matches!(kind, "user" | "service_account") && is_id(id)).then(|| text.to_string())
}
text_form! {
    /// An HTTP field name (RFC 9110, section 5.1) in lower case.
    HeaderName, "a header name: lower-case letters, digits and `-`", "^[a-z0-9][a-z0-9_-]{0,63}$",
    |text| (!text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))).then(|| text.to_string())
}
text_form! {
    /// An HTTP method. Methods are case-sensitive (RFC 9110, section 9.1) and every registered one is in capitals:
    /// `get` would never match.
    Method, "a method in capitals, such as GET", "^[A-Z][A-Z0-9-]{0,31}$",
    |text| (text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_uppercase()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')).then(|| text.to_string())
}

text_form! {
    /// A visible ASCII text, such as the value of a header or the name of a query parameter.
    Token, "1 to 200 visible ASCII characters", "^[!-~]{1,200}$",
    |text| (!text.is_empty() && text.len() <= 200 && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_string())
}

fn is_id(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= 64
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte))
}

/// Returns true if the text is a valid target name.
pub fn is_target_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the normalized name of an access group: trimmed and in lower case. `None` if it is not valid.
pub fn group_name(text: &str) -> Option<String> {
    let name = text.trim().to_ascii_lowercase();
    let mut bytes = name.bytes();
    let fits = bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && name.len() <= 64
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    fits.then_some(name)
}

impl FromNode for bool {
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::Bool(value) => Some(value),
            other => expected(report, "true or false", &other),
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "boolean" })
    }
}

/// The largest integer that every JSON reader represents exactly (RFC 8259, section 6).
const MOST_EXACT: u64 = 9_007_199_254_740_991;

#[inline(never)]
fn whole(node: &Node, most: u64) -> Option<u64> {
    match node {
        Node::Number(text) => text.parse().ok().filter(|number| *number <= most),
        _ => None,
    }
}

/// Defines an integer type.
macro_rules! number_form {
    ($(#[$doc:meta])* $name:ident($inner:ty), $words:literal, $least:literal, $most:expr, $make:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl $name {
            /// The minimum.
            pub const LEAST: u64 = $least;
        }

        impl FromNode for $name {
            fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
                let make: fn(u64) -> Option<$inner> = $make;
                match whole(&node, $most).filter(|number| (Self::LEAST..).contains(number)).and_then(make) {
                    Some(number) => Some($name(number)),
                    None => expected(report, $words, &node),
                }
            }

            #[cfg(feature = "schema")]
            fn schema() -> serde_json::Value {
                serde_json::json!({ "type": "integer", "minimum": $least, "maximum": $most, "description": $words })
            }
        }
    };
}

number_form! {
    /// A limit of a sliding window.
    SlidingLimit(NonZeroU64), "a whole number from 1 to 4294967295 (leave the field out for no limit)",
    1, 4_294_967_295_u64, NonZeroU64::new
}
number_form! {
    /// A limit of a UTC day.
    DailyLimit(NonZeroU64), "a whole number from 1 to 9007199254740991 (leave the field out for no limit)",
    1, MOST_EXACT, NonZeroU64::new
}
number_form! {
    /// A count of tokens or bytes.
    Count(u64), "a whole number from 1 to 9007199254740991", 1, MOST_EXACT, Some
}
number_form! {
    /// A small count.
    Small(u32), "a whole number from 0 to 1000000", 0, 1_000_000_u64, |number| u32::try_from(number).ok()
}
number_form! {
    /// The version of the document format.
    Version(u64), "1, the version of the document format", 1, 1_u64, Some
}

/// Parses a decimal number with at most `digits` decimals. Returns it multiplied by 10^`digits`.
fn decimal(text: &str, digits: usize) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let dangling = whole.is_empty() || (text.contains('.') && fraction.is_empty());
    if dangling || !plain(whole) || !plain(fraction) || fraction.len() > digits || whole.len() > 15 {
        return None;
    }
    format!("{whole}{fraction:0<digits$}").parse().ok()
}

/// Defines a money type.
macro_rules! money_form {
    ($(#[$doc:meta])* $name:ident, $digits:literal, $scale:expr, $words:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub Pico);

        impl FromNode for $name {
            fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
                let amount = match &node {
                    Node::String(text) => decimal(text, $digits),
                    _ => None,
                };
                match amount {
                    Some(amount) => Some($name(Pico(amount.saturating_mul($scale)))),
                    None => expected(report, $words, &node),
                }
            }

            #[cfg(feature = "schema")]
            fn schema() -> serde_json::Value {
                serde_json::json!({ "type": "string", "pattern": $pattern, "description": $words })
            }
        }
    };
}

money_form! {
    /// An amount of money.
    Dollars, 12, DOLLAR / 1_000_000_000_000, "US dollars as a decimal string such as \"12.50\", at most 12 decimals",
    "^[0-9]{1,15}(\\.[0-9]{1,12})?$"
}
money_form! {
    /// A price per million tokens, stored in pico-dollars per token.
    PerMillion, 6, 1, "US dollars per million tokens as a decimal string such as \"0.25\", at most 6 decimals",
    "^[0-9]{1,15}(\\.[0-9]{1,6})?$"
}
money_form! {
    /// A price of one unit: a call, an image, a search, a second or a character.
    PerUnit, 12, DOLLAR / 1_000_000_000_000, "US dollars for each as a decimal string such as \"0.01\", at most 12 decimals",
    "^[0-9]{1,15}(\\.[0-9]{1,12})?$"
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime(pub Timestamp);

const DATE_TIME: &str = "an RFC 3339 date-time such as \"2027-01-31T00:00:00Z\"";

impl FromNode for DateTime {
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        match &node {
            Node::String(text) => match parse_rfc3339(text) {
                Some(moment) => Some(DateTime(moment)),
                None => expected(report, DATE_TIME, &node),
            },
            _ => expected(report, DATE_TIME, &node),
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "format": "date-time", "description": DATE_TIME })
    }
}

const DIGEST: &str = "`sha256:` and 64 hex digits, the SHA-256 of the key as the client sends it";

impl FromNode for Digest {
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        let digest = match &node {
            Node::String(text) => text.strip_prefix("sha256:").and_then(hex),
            _ => None,
        };
        if digest.is_none() {
            // The value is not repeated: it may be a secret in the wrong place.
            report.error(DiagnosticKind::Expected { expected: DIGEST, found: "another value".to_string() });
        }
        digest
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$", "description": DIGEST })
    }
}

fn hex(text: &str) -> Option<Digest> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != 32 {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(digest)
}

impl<T: FromNode> FromNode for Vec<T> {
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::Array(items) => Some(
                items
                    .into_iter()
                    .enumerate()
                    .filter_map(|(position, item)| {
                        report.within(&position.to_string(), |report| T::read(item, report))
                    })
                    .collect(),
            ),
            other => expected(report, "an array", &other),
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "array", "items": T::schema() })
    }
}

/// A list whose items keep their index, so that later diagnostics can point at them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed<T>(pub Vec<(u32, T)>);

impl<T> Default for Indexed<T> {
    fn default() -> Self {
        Indexed(Vec::new())
    }
}

impl<T: FromNode> FromNode for Indexed<T> {
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::Array(items) => {
                let items = (0..).zip(items).filter_map(|(position, item): (u32, Node)| {
                    let value = report.within(&position.to_string(), |report| T::read(item, report))?;
                    Some((position, value))
                });
                Some(Indexed(items.collect()))
            }
            other => expected(report, "an array", &other),
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        <Vec<T> as FromNode>::schema()
    }
}

/// A value that is present. `None` if it is invalid: that was reported, and must not be reported as missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present<T>(pub Option<T>);

impl<T: FromNode> FromNode for Present<T> {
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        Some(Present(T::read(node, report)))
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        T::schema()
    }
}

/// An object used as a map. Entries are in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map<T>(pub Vec<(Box<str>, T)>);

impl<T> Default for Map<T> {
    fn default() -> Self {
        Map(Vec::new())
    }
}

impl<T: FromNode> FromNode for Map<T> {
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::Object(members) => {
                report_duplicates(&members, report);
                let entries = members.into_iter().filter_map(|(name, value)| {
                    let value = report.within(&name, |report| T::read(value, report))?;
                    Some((name.into(), value))
                });
                Some(Map(entries.collect()))
            }
            other => expected(report, "an object", &other),
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

/// Reports names that occur more than once in an object.
pub fn report_duplicates(members: &[(String, Node)], report: &mut Diagnostics) {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    sort(&mut names);
    let mut last = None;
    for pair in names.windows(2) {
        if let [one, two] = pair
            && one == two
            && last != Some(*one)
        {
            last = Some(*one);
            report.within(one, |report| report.error(DiagnosticKind::Duplicate));
        }
    }
}
