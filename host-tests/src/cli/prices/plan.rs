//! The changes that prices of a file make to the text of a policy.

use std::collections::BTreeMap;

use serde_json::Value;
use tollgate_core::money::Rate;
use tollgate_core::policy::load::is_target_name;

use super::amount::scaled;
use super::edit::{Edits, Place};
use super::offer::{Level, Offer, Prices, Reason};

/// The changes, and what the file has for the targets.
#[derive(Debug, Default)]
pub struct Plan {
    pub edits: Edits,
    /// The targets that change, in the order of the file of prices.
    pub changes: Vec<Change>,
    /// The number of targets that have everything already.
    pub same: usize,
    /// The number of targets whose `max_input_tokens` change.
    pub maxima: usize,
    /// Figures left out of targets whose other prices are taken.
    pub in_part: Vec<(String, Vec<(String, Reason)>)>,
    /// The targets that get no price.
    pub not_at_all: Vec<(String, Reason)>,
    /// The number of targets of the policy that the file does not have.
    pub absent: usize,
}

/// A change of a target.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub target: String,
    pub is_new: bool,
    /// Each field with its old and new value.
    pub words: Vec<String>,
}

/// Returns the changes to a policy, or to a gateway configuration with a policy. `creates`: targets that the policy does not have
/// are added if this is true for their name.
pub fn plan(text: &str, offers: &[Offer], creates: impl Fn(&str) -> bool) -> Option<Plan> {
    let whole = Place::of(text)?;
    let policy = whole.member("policy").unwrap_or(&whole);
    let targets = policy.member("targets");
    let mut plan = Plan::default();
    let mut new = Vec::new();
    for offer in offers {
        let place = targets.and_then(|targets| targets.member(&offer.name));
        if place.is_none() && !creates(&offer.name) {
            continue;
        }
        let missing = offer.missing();
        let mut words = Vec::new();
        match place {
            Some(place) => {
                let is_unpriced = place.member("price").is_none() && missing.is_some();
                if is_unpriced || offer.is_empty() {
                    plan.not_at_all.push((offer.name.clone(), missing.unwrap_or(Reason::NoPrice)));
                    continue;
                }
                words = changed(text, place, offer, &mut plan.edits);
            }
            None => {
                let wrong = if is_target_name(&offer.name) && offer.name != "*" {
                    missing
                } else {
                    Some(Reason::Name)
                };
                if let Some(reason) = wrong {
                    plan.not_at_all.push((offer.name.clone(), reason));
                    continue;
                }
                new.push((offer.name.clone(), target(offer)));
                words.extend(offer.level.prices.iter().map(|(name, amount)| format!("{name} {amount}")));
                words.extend(offer.level.above.keys().map(|tokens| format!("above {tokens}")));
                words.extend(offer.tiers.keys().map(|tier| format!("tier {tier}")));
                words.extend(offer.max_input_tokens.map(|tokens| format!("max_input_tokens {tokens}")));
            }
        }
        if !offer.left_out.is_empty() {
            plan.in_part.push((offer.name.clone(), offer.left_out.clone()));
        }
        plan.maxima += usize::from(words.iter().any(|word| word.starts_with("max_input_tokens")));
        if words.is_empty() {
            plan.same += 1;
        } else {
            plan.changes.push(Change { target: offer.name.clone(), is_new: place.is_none(), words });
        }
    }
    match targets {
        Some(targets) => {
            plan.edits.append(text, targets, &new);
            let is_offered = |name: &String| offers.iter().any(|offer| offer.name == *name);
            plan.absent = targets.members.iter().filter(|(name, ..)| !is_offered(name)).count();
        }
        None if new.is_empty() => {}
        None => {
            let all: Vec<String> =
                new.iter().map(|(name, target)| format!("{}: {target}", quoted(name))).collect();
            plan.edits.append(text, policy, &[("targets".to_owned(), format!("{{ {} }}", all.join(", ")))]);
        }
    }
    Some(plan)
}

/// The changes to a target that exists.
fn changed(text: &str, target: &Place, offer: &Offer, edits: &mut Edits) -> Vec<String> {
    let mut words = Vec::new();
    let mut new = Vec::new();
    let maxima =
        [("max_input_tokens", offer.max_input_tokens), ("max_output_tokens", offer.max_output_tokens)];
    for (name, maximum) in maxima {
        let Some(maximum) = maximum else { continue };
        match target.member(name) {
            Some(place) => {
                let old = place.value(text).and_then(|value| value.as_u64());
                if old != Some(maximum) {
                    edits.replace(place, maximum.to_string());
                    words.push(format!("{name} {} -> {maximum}", old.unwrap_or_default()));
                }
            }
            None => {
                new.push((name.to_owned(), maximum.to_string()));
                words.push(format!("{name} {maximum}"));
            }
        }
    }
    match target.member("price") {
        Some(price) => {
            let mut more = change_level(text, price, &offer.level, "", edits, &mut words);
            let tiers = price.member("tiers");
            let mut new_tiers = Vec::new();
            for (name, level) in &offer.tiers {
                let prefix = format!("tiers.{name}.");
                match tiers.and_then(|tiers| tiers.member(name)) {
                    Some(tier) => {
                        let more = change_level(text, tier, level, &prefix, edits, &mut words);
                        edits.append(text, tier, &more);
                    }
                    None => {
                        new_tiers.push((name.clone(), object(&level_members(level))));
                        words.push(format!("tier {name}"));
                    }
                }
            }
            match tiers {
                Some(tiers) => edits.append(text, tiers, &new_tiers),
                None if new_tiers.is_empty() => {}
                None => more.push(("tiers".to_owned(), object(&new_tiers))),
            }
            edits.append(text, price, &more);
        }
        None => {
            new.push(("price".to_owned(), price(offer)));
            words.extend(offer.level.prices.iter().map(|(name, amount)| format!("{name} {amount}")));
        }
    }
    edits.append(text, target, &new);
    words
}

/// Changes the prices of one place, and returns the members to add to it.
fn change_level(
    text: &str,
    place: &Place,
    level: &Level,
    prefix: &str,
    edits: &mut Edits,
    words: &mut Vec<String>,
) -> Vec<(String, String)> {
    let mut more = Vec::new();
    for (name, amount) in &level.prices {
        let old = place.member(name).map(|place| (place, place.value(text)));
        match old {
            Some((place, old)) => {
                let old = old.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
                if !is_same(&old, amount) {
                    edits.replace(place, quoted(amount));
                    words.push(format!("{prefix}{name} {old} -> {amount}"));
                }
            }
            None => {
                more.push(((*name).to_owned(), quoted(amount)));
                words.push(format!("{prefix}{name} {amount}"));
            }
        }
    }
    if !level.above.is_empty() {
        let place = place.member("above");
        let old =
            place.and_then(|place| place.value(text)).map(|value| thresholds(&value)).unwrap_or_default();
        let mut all = old.clone();
        for (tokens, prices) in &level.above {
            let known = all.entry(*tokens).or_default();
            known.extend(prices.iter().map(|(name, amount)| ((*name).to_owned(), amount.clone())));
        }
        if all != old {
            let tokens: Vec<String> = level.above.keys().map(u64::to_string).collect();
            words.push(format!("{prefix}above {}", tokens.join(" and ")));
            match place {
                Some(place) => edits.replace(place, above(&all)),
                None => more.push(("above".to_owned(), above(&all))),
            }
        }
    }
    more
}

/// Prices by threshold, with amounts as [`scaled`] writes them.
type Thresholds = BTreeMap<u64, BTreeMap<String, String>>;

/// Reads `above` of a policy.
fn thresholds(value: &Value) -> Thresholds {
    let one = std::slice::from_ref(value);
    let all = value.as_array().map_or(one, Vec::as_slice);
    let read = all.iter().filter_map(|above| {
        let tokens = above.get("input_tokens")?.as_u64()?;
        let prices = above.as_object()?.iter().filter_map(|(name, amount)| {
            let amount = amount.as_str()?;
            Some((name.clone(), scaled(amount, 0, 12).unwrap_or_else(|_| amount.to_owned())))
        });
        Some((tokens, prices.collect()))
    });
    read.collect()
}

fn is_same(old: &str, new: &str) -> bool {
    scaled(old, 0, 12).is_ok_and(|old| old == new)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
    format!("{{ {} }}", members.join(", "))
}

/// Prices in the order of a policy's fields.
fn price_members<'p>(price: impl Fn(&str) -> Option<&'p String>) -> Vec<(String, String)> {
    let names = Rate::ALL.iter().map(|rate| rate.name());
    names.filter_map(|name| Some((name.to_owned(), quoted(price(name)?)))).collect()
}

fn above(all: &Thresholds) -> String {
    let one = |(tokens, prices): (&u64, &BTreeMap<String, String>)| {
        let mut members = vec![("input_tokens".to_owned(), tokens.to_string())];
        members.extend(price_members(|name| prices.get(name)));
        object(&members)
    };
    let all: Vec<String> = all.iter().map(one).collect();
    match all.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn level_members(level: &Level) -> Vec<(String, String)> {
    let owned =
        |prices: &Prices| prices.iter().map(|(name, amount)| ((*name).to_owned(), amount.clone())).collect();
    let mut members = price_members(|name| level.prices.get(name));
    if !level.above.is_empty() {
        let all: Thresholds = level.above.iter().map(|(tokens, prices)| (*tokens, owned(prices))).collect();
        members.push(("above".to_owned(), above(&all)));
    }
    members
}

fn price(offer: &Offer) -> String {
    let mut members = level_members(&offer.level);
    if !offer.tiers.is_empty() {
        let tiers: Vec<_> =
            offer.tiers.iter().map(|(name, level)| (name.clone(), object(&level_members(level)))).collect();
        members.push(("tiers".to_owned(), object(&tiers)));
    }
    object(&members)
}

/// A new target.
fn target(offer: &Offer) -> String {
    let mut members = Vec::new();
    members.extend(offer.max_input_tokens.map(|tokens| ("max_input_tokens".to_owned(), tokens.to_string())));
    members
        .extend(offer.max_output_tokens.map(|tokens| ("max_output_tokens".to_owned(), tokens.to_string())));
    members.push(("price".to_owned(), price(offer)));
    object(&members)
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    const POLICY: &str = r#"{
  "version": 1,
  "targets": {
    "b": { "price": { "output": "2.0", "input": "1.000" }, "access_groups": ["x"] },
    "a": {
      "max_input_tokens": 5,
      "price": { "input": "1", "output": "2", "search": "0.5", "above": { "input_tokens": 10, "input": "3" },
        "tiers": { "flex": { "input": "0.5" } } }
    },
    "c": {}
  },
  "teams": {}
}
"#;

    fn planned(policy: &str, table: &str, create: bool) -> (String, Plan) {
        let offers = table::read(table.as_bytes(), false).unwrap();
        let mut plan = plan(policy, &offers, |_| create).unwrap();
        let text = std::mem::take(&mut plan.edits).apply(policy);
        (text, plan)
    }

    #[test]
    fn only_what_differs_is_edited_and_a_second_time_nothing() {
        let table = "target,input,output,cached_input,max_input_tokens,above.input_tokens,above.input,tiers.flex.input,tiers.priority.input\n\
            a,1,2.5,0.1,7,20,4,0.25,9\nb,1,2,,,,,,\nc,1,,,,,,,\nd,1,2,,,,,,\n";
        let (text, plan) = planned(POLICY, table, false);
        let expected = POLICY
            .replace("\"max_input_tokens\": 5", "\"max_input_tokens\": 7")
            .replace(r#""output": "2", "search""#, r#""output": "2.50", "search""#)
            .replace(
                r#"{ "input_tokens": 10, "input": "3" }"#,
                r#"[{ "input_tokens": 10, "input": "3.00" }, { "input_tokens": 20, "input": "4.00" }]"#,
            )
            .replace(
                r#"{ "flex": { "input": "0.5" } }"#,
                r#"{ "flex": { "input": "0.25" }, "priority": { "input": "9.00" } }, "cached_input": "0.10""#,
            );
        assert_eq!(text, expected);
        assert_eq!((plan.changes.len(), plan.same, plan.maxima, plan.absent), (1, 1, 1, 0));
        assert_eq!(plan.not_at_all, [("c".to_owned(), Reason::NoOutput)]);
        assert!(plan.changes[0].words.contains(&"output 2 -> 2.50".to_owned()), "{:?}", plan.changes);
        let (again, plan) = planned(&text, table, false);
        assert_eq!(again, text);
        assert_eq!((plan.changes.len(), plan.same), (0, 2));
    }

    #[test]
    fn targets_are_created_if_that_is_requested() {
        let table = "target,input,output,max_output_tokens\nnew,1,2,9\n\"with space\",1,2,\nfree,0,0,\n";
        for policy in [POLICY, "{\"version\": 1}", "{\"policy\": {\"version\": 1, \"targets\": {}}}"] {
            let (text, plan) = planned(policy, table, true);
            let whole: Value = serde_json::from_str(&text).unwrap();
            let policy = whole.get("policy").unwrap_or(&whole);
            let new =
                serde_json::json!({"max_output_tokens": 9, "price": {"input": "1.00", "output": "2.00"}});
            assert_eq!(policy["targets"]["new"], new, "{text}");
            assert_eq!(
                plan.not_at_all,
                [("with space".to_owned(), Reason::Name), ("free".to_owned(), Reason::Zero)]
            );
            assert_eq!(planned(&text, table, true).0, text);
        }
    }
}
