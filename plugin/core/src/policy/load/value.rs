//! The forms that a document's values have: how each is read, and what a schema says of it.

use crate::secret::api_key::Digest;
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

/// A form of value.
pub trait FromNode: Sized {
    /// Reads it; reports all that is wrong and answers `None` if nothing usable is left.
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self>;

    /// Its JSON Schema (draft 2020-12).
    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value;
}

fn expected<T>(report: &mut Diagnostics, expected: &'static str, node: &Node) -> Option<T> {
    report.error(DiagnosticKind::Expected { expected, found: node.describe() });
    None
}

/// Defines a string form by its check, its pattern and its words.
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
    /// The public name of a target.
    TargetName, "a target's name: 1 to 128 visible ASCII characters", "^[!-~]{1,128}$",
    |text| is_target_name(text).then(|| text.to_string())
}
text_form! {
    /// A target's name, or `*` for the whole catalogue.
    GroupName, "an access group: `^[a-z0-9][a-z0-9._-]{0,63}$` once trimmed and lower-cased",
    "^\\s*[A-Za-z0-9][A-Za-z0-9._-]{0,63}\\s*$", group_name
}
text_form! {
    /// Words for people.
    DisplayText, "a text of 1 to 200 characters without control characters", "^[^\\u0000-\\u001f\\u007f]{1,200}$",
    |text| (!text.is_empty() && text.chars().count() <= 200 && !text.chars().any(|c| c < ' ' || c == '\u{7f}')).then(|| text.to_string())
}
text_form! {
    /// The owner of a key.
    OwnerName, "an owner: `user/ID` or `service_account/ID`", "^(user|service_account)/[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$",
    |text| text.split_once('/').is_some_and(|(kind, id)| matches!(kind, "user" | "service_account") && is_id(id)).then(|| text.to_string())
}
text_form! {
    /// An HTTP field name (RFC 9110, 5.1), lower case.
    HeaderName, "a header name: lower-case letters, digits and `-`", "^[a-z0-9][a-z0-9_-]{0,63}$",
    |text| (!text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))).then(|| text.to_string())
}
text_form! {
    /// A method. They are compared with case (RFC 9110, 9.1), and every registered one is in capitals: `get` would
    /// match nothing.
    Method, "a method in capitals, such as GET", "^[A-Z][A-Z0-9-]{0,31}$",
    |text| (text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_uppercase()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')).then(|| text.to_string())
}

text_form! {
    /// A visible ASCII text such as a header's value or a query parameter's name.
    Token, "1 to 200 visible ASCII characters", "^[!-~]{1,200}$",
    |text| (!text.is_empty() && text.len() <= 200 && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_string())
}

fn is_id(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= 64
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte))
}

/// Whether the text can be a target's name.
pub fn is_target_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A group's name as it is stored, if it is one.
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

/// Largest number that every JSON reader holds exactly (RFC 8259, 6).
const MOST_EXACT: u64 = 9_007_199_254_740_991;

#[inline(never)]
fn whole(node: &Node, most: u64) -> Option<u64> {
    match node {
        Node::Number(text) => text.parse().ok().filter(|number| *number <= most),
        _ => None,
    }
}

/// Defines a form of whole number.
macro_rules! number_form {
    ($(#[$doc:meta])* $name:ident($inner:ty), $words:literal, $least:literal, $most:expr, $make:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl $name {
            /// The smallest number of this form.
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
    /// A limit over a sliding window.
    SlidingLimit(NonZeroU64), "a whole number from 1 to 4294967295 (leave the field out for no limit)",
    1, 4_294_967_295_u64, NonZeroU64::new
}
number_form! {
    /// A limit over a day.
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
    /// The version of this document's form.
    Version(u64), "1, the version of this form", 1, 1_u64, Some
}

/// A decimal number as a string, with at most `digits` decimals, times 10^`digits`.
fn decimal(text: &str, digits: usize) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let dangling = whole.is_empty() || (text.contains('.') && fraction.is_empty());
    if dangling || !plain(whole) || !plain(fraction) || fraction.len() > digits || whole.len() > 15 {
        return None;
    }
    format!("{whole}{fraction:0<digits$}").parse().ok()
}

/// Defines a form of money.
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
    /// A price per million tokens, kept as pico-dollars a token.
    PerMillion, 6, 1, "US dollars per million tokens as a decimal string such as \"0.25\", at most 6 decimals",
    "^[0-9]{1,15}(\\.[0-9]{1,6})?$"
}
money_form! {
    /// A price per call.
    PerCall, 6, DOLLAR / 1_000_000, "US dollars per call as a decimal string such as \"0.01\", at most 6 decimals",
    "^[0-9]{1,15}(\\.[0-9]{1,6})?$"
}

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime(pub Timestamp);

const MOMENT: &str = "a moment by RFC 3339 such as \"2027-01-31T00:00:00Z\"";

impl FromNode for DateTime {
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        match &node {
            Node::String(text) => match parse_rfc3339(text) {
                Some(moment) => Some(DateTime(moment)),
                None => expected(report, MOMENT, &node),
            },
            _ => expected(report, MOMENT, &node),
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "format": "date-time", "description": MOMENT })
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
            // Whatever stands here may be a secret put in the wrong place.
            report.error(DiagnosticKind::Expected { expected: DIGEST, found: "something else".to_string() });
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

/// A list whose items keep their place in it, so that later findings can point at them.
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

/// A value that stands there, though it may be wrong: that was said, and nothing else is to be said because of it.
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

/// An object used as a map, its entries in the order of the text.
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

/// Reports names that stand twice in one object.
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
