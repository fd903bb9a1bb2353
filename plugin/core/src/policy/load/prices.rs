//! Prices in a document. One function reads all three forms of them, since their fields are nearly the same.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::collections::sort::sort_by_key;
use crate::json::node::Node;
use crate::money::{Above, Pico, Price, PriceLevel, Rate, Tier};
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics};
use crate::policy::load::record::open;
use crate::policy::load::value::{Count, FromNode, PerMillion, PerUnit, report_duplicates};
use crate::secret::redact::redact_quoted;

/// The price of a target. A price that is left out is the nearest more general one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRecord(pub Price);

/// The place of prices in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Target,
    Above,
    Tier,
}

const INPUT_TOKENS: &str = "input_tokens";
const ABOVE: &str = "above";
const TIERS: &str = "tiers";

impl Form {
    /// The fields besides those of [`Rate`].
    fn others(self) -> &'static [&'static str] {
        match self {
            Form::Target => &[ABOVE, TIERS],
            Form::Above => &[INPUT_TOKENS],
            Form::Tier => &[ABOVE],
        }
    }

    fn required(self) -> &'static [&'static str] {
        match self {
            Form::Target => &["input", "output"],
            Form::Above => &[INPUT_TOKENS],
            Form::Tier => &[],
        }
    }
}

/// The contents of an object with prices.
#[derive(Default)]
struct Given {
    level: PriceLevel,
    tiers: Vec<Tier>,
    /// The threshold; 0 without a valid one.
    input_tokens: u64,
}

fn read(node: Node, form: Form, report: &mut Diagnostics) -> Option<Given> {
    let mut fields: Vec<&'static str> = Rate::ALL.iter().map(|rate| rate.name()).collect();
    fields.extend(form.others());
    let members = open(node, &fields, form.required(), report)?;
    let mut given = Given::default();
    for (name, value) in members {
        let is_field = form.others().contains(&name.as_str());
        report.within(&name, |report| match Rate::named(&name) {
            Some(rate) => given.level.rates.set(rate, read_rate(rate, value, report)),
            None if !is_field => {}
            None if name == INPUT_TOKENS => {
                given.input_tokens = Count::read(value, report).map_or(0, |count| count.0);
            }
            None if name == ABOVE => given.level.above = read_thresholds(value, report),
            None => given.tiers = read_tiers(value, report),
        });
    }
    Some(given)
}

fn read_rate(rate: Rate, value: Node, report: &mut Diagnostics) -> Option<Pico> {
    if rate.is_per_token() {
        PerMillion::read(value, report).map(|price| price.0)
    } else {
        PerUnit::read(value, report).map(|price| price.0)
    }
}

/// Reads the prices above thresholds, a list or one of them, sorted. One without a valid threshold was reported.
fn read_thresholds(node: Node, report: &mut Diagnostics) -> Box<[Above]> {
    let mut list: Vec<Above> = Vec::new();
    match node {
        Node::Array(items) => {
            for (position, item) in items.into_iter().enumerate() {
                report.within(&position.to_string(), |report| {
                    let Some(above) = read_threshold(item, report) else { return };
                    if list.iter().any(|other| other.input_tokens == above.input_tokens) {
                        let expected = "another threshold than those before it";
                        let found = above.input_tokens.to_string();
                        report.within(INPUT_TOKENS, |report| {
                            report.error(DiagnosticKind::Expected { expected, found });
                        });
                    }
                    list.push(above);
                });
            }
        }
        one @ (Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Object(_)) => {
            list.extend(read_threshold(one, report));
        }
    }
    sort_by_key(&mut list, |above| above.input_tokens);
    list.into()
}

fn read_threshold(node: Node, report: &mut Diagnostics) -> Option<Above> {
    let Given { level, input_tokens, tiers: _ } = read(node, Form::Above, report)?;
    (input_tokens > 0).then_some(Above { input_tokens, rates: level.rates })
}

fn read_tiers(node: Node, report: &mut Diagnostics) -> Vec<Tier> {
    let Node::Object(members) = node else {
        report.error(DiagnosticKind::Expected { expected: "an object", found: node.describe() });
        return Vec::new();
    };
    report_duplicates(&members, report);
    let mut tiers: Vec<Tier> = Vec::new();
    for (name, value) in members {
        report.within(&name, |report| {
            if !is_tier_name(&name) {
                report.error(DiagnosticKind::Expected { expected: TIER_NAME, found: redact_quoted(&name) });
            }
            if let Some(Given { level, tiers: _, input_tokens: _ }) = read(value, Form::Tier, report) {
                tiers.push(Tier { name: name.as_str().into(), level });
            }
        });
    }
    sort_by_key(&mut tiers, |tier| tier.name.clone());
    tiers
}

impl FromNode for PriceRecord {
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        let Given { level, tiers, input_tokens: _ } = read(node, Form::Target, report)?;
        Some(PriceRecord(Price::of(level, tiers.into())))
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        schema(Form::Target)
    }
}

/// Returns the JSON Schema of an object with prices.
#[cfg(feature = "schema")]
fn schema(form: Form) -> serde_json::Value {
    use serde_json::{Map, Value, json};
    let described = |mut schema: Value, words: &str| {
        let of_form = schema.get("description").and_then(|form| form.as_str());
        let description =
            alloc::format!("{words}{}", of_form.map(|form| alloc::format!(" ({form})")).unwrap_or_default());
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".into(), description.into());
        }
        schema
    };
    let mut properties = Map::new();
    for rate in Rate::ALL {
        let value = if rate.is_per_token() { PerMillion::schema() } else { PerUnit::schema() };
        properties.insert(rate.name().into(), described(value, rate.description()));
    }
    for name in form.others() {
        let (value, words) = match *name {
            INPUT_TOKENS => (
                Count::schema(),
                "The threshold: a call with more input tokens, cached ones included, has these prices as a whole.",
            ),
            ABOVE => (
                json!({ "oneOf": [schema(Form::Above), { "type": "array", "items": schema(Form::Above) }] }),
                "Other prices for calls with more input tokens than a threshold. Several thresholds are a list. A price that is \
                 left out is that of a shorter call.",
            ),
            _ => (
                json!({ "type": "object", "additionalProperties": schema(Form::Tier) }),
                "Other prices for service tiers, by the name of the tier in answers. A price that is left out is that of the target.",
            ),
        };
        properties.insert((*name).into(), described(value, words));
    }
    json!({ "type": "object", "properties": properties, "required": form.required(), "additionalProperties": false })
}

const TIER_NAME: &str =
    "the name of a service tier: a lower-case letter, then up to 31 of lower-case letters, digits, `_`, `-`";

fn is_tier_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && name.len() <= 32
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}
