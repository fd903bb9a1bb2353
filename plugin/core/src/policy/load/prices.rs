//! Turns price records into prices.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::collections::sort::sort_by_key;
use crate::money::{Above, Price, PriceLevel, Tier};
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics};
use crate::policy::load::records::{AboveRecord, PriceRecord};
use crate::policy::load::value::{Count, OneOrMore};
use crate::secret::redact::redact_quoted;

/// Reads a price. What is wrong with it is reported relative to its record.
pub(super) fn read_price(record: PriceRecord, report: &mut Diagnostics) -> Price {
    let (rates, above, tiers) = record.parts();
    let level = PriceLevel { rates, above: read_thresholds(above, report) };
    let tiers = tiers.map_or(Vec::new(), |tiers| tiers.0).into_iter().map(|(name, tier)| {
        report.within("tiers", |report| {
            report.within(&name, |report| {
                if !is_tier_name(&name) {
                    report
                        .error(DiagnosticKind::Expected { expected: TIER_NAME, found: redact_quoted(&name) });
                }
                let (rates, above) = tier.parts();
                Tier {
                    name: name.clone(),
                    level: PriceLevel { rates, above: read_thresholds(above, report) },
                }
            })
        })
    });
    let mut tiers: Vec<Tier> = tiers.collect();
    sort_by_key(&mut tiers, |tier| tier.name.clone());
    Price::of(level, tiers.into())
}

const TIER_NAME: &str =
    "the name of a service tier: a lower-case letter, then up to 31 of lower-case letters, digits, `_`, `-`";

fn is_tier_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && name.len() <= 32
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

/// Reads the prices above thresholds, sorted. One without a valid threshold was reported.
fn read_thresholds(records: Option<OneOrMore<AboveRecord>>, report: &mut Diagnostics) -> Box<[Above]> {
    let mut list: Vec<Above> = Vec::new();
    for (position, record) in records.map_or(Vec::new(), |records| records.0) {
        let (rates, Some(Count(input_tokens))) = record.parts() else { continue };
        if list.iter().any(|other| other.input_tokens == input_tokens) {
            let expected = "another threshold than those before it";
            let place = position.map_or_else(String::new, |position| position.to_string());
            report.within("above", |report| {
                report.within(&place, |report| {
                    report.within("input_tokens", |report| {
                        report.error(DiagnosticKind::Expected { expected, found: input_tokens.to_string() });
                    });
                });
            });
        }
        list.push(Above { input_tokens, rates });
    }
    sort_by_key(&mut list, |above| above.input_tokens);
    list.into()
}
