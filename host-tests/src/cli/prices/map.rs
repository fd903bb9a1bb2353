//! LiteLLM's public price map: JSON with an entry for each model, in dollars for each token.

use std::convert::Infallible;

use tollgate_core::json::lexer::{Container, JsonText, Lexer, Scalar, Visitor};
use tollgate_core::json::node::{Builder, Node};
use tollgate_core::money::Rate;

use super::amount::{is_zero, scaled};
use super::offer::{Mode, Offer, Reason};

/// The modes of entries whose calls have prices here.
fn mode(name: &str) -> Option<Mode> {
    match name {
        "chat" | "completion" | "responses" => Some(Mode::Text),
        "embedding" | "rerank" => Some(Mode::Vectors),
        "image_generation" | "image_edit" => Some(Mode::Images),
        "audio_transcription" => Some(Mode::Transcription),
        "audio_speech" => Some(Mode::Speech),
        _ => None,
    }
}

/// The beginnings of fields, of which the longest counts. What may follow: a threshold, and a tier.
const PRICES: [(&str, Rate); 11] = [
    ("input_cost_per_token", Rate::Input),
    ("output_cost_per_token", Rate::Output),
    ("cache_read_input_token_cost", Rate::CachedInput),
    ("input_cost_per_token_cache_hit", Rate::CachedInput),
    ("cache_creation_input_token_cost", Rate::CacheWrite),
    ("cache_creation_input_token_cost_above_1hr", Rate::CacheWriteHour),
    ("input_cost_per_audio_token", Rate::InputAudio),
    ("output_cost_per_audio_token", Rate::OutputAudio),
    ("input_cost_per_image_token", Rate::InputImage),
    ("output_cost_per_image_token", Rate::OutputImage),
    ("input_cost_per_request", Rate::Request),
];

/// The tiers that fields end with. `batches` is none: batches are not served.
const TIERS: [&str; 5] = ["priority", "flex", "fast", "ultrafast", "balanced"];

/// Fields without an effect on what a call costs here: batches are not served, Databricks states prices a second time in units of its
/// own, and a region's surcharge follows from the upstream that the operator chose.
fn is_aside(field: &str) -> bool {
    field.ends_with("_batches") || field.contains("_dbu_") || field.contains("_uplift_multiplier")
}

/// The reasons to leave out fields that contain these words.
const REASONS: [(&str, Reason); 15] = [
    ("_per_pixel", Reason::ByPixel),
    ("_video_", Reason::ByVideo),
    ("_cost_per_image_", Reason::BySize),
    ("input_cost_per_image", Reason::ImageInput),
    ("_per_second", Reason::SoundBySecond),
    ("cache_read_input_audio_token", Reason::CachedMedia),
    ("cache_read_input_image_token", Reason::CachedMedia),
    ("_above_12hr", Reason::LongCache),
    ("_reasoning_token", Reason::Reasoning),
    ("off_peak", Reason::Hours),
    ("_grounding_", Reason::Tools),
    ("code_interpreter", Reason::Tools),
    ("file_search", Reason::Tools),
    ("computer_use", Reason::Tools),
    ("vector_store", Reason::Tools),
];

/// The entries of a map that have prices of calls, in its order. `None`: it is no such map.
pub fn read(map: &Node, free: bool) -> Option<Vec<Offer>> {
    let Node::Object(entries) = map else { return None };
    let has_mode = |entry: &Node| text(entry, "mode").is_some();
    if !entries.iter().any(|(_, entry)| has_mode(entry)) {
        return None;
    }
    let entries = entries.iter().filter(|(name, _)| name != "sample_spec");
    Some(entries.filter_map(|(name, entry)| offer(name, entry, free)).collect())
}

fn member<'n>(entry: &'n Node, name: &str) -> Option<&'n Node> {
    match entry {
        Node::Object(members) => members.iter().find(|(known, _)| known == name).map(|(_, value)| value),
        _ => None,
    }
}

fn text<'n>(entry: &'n Node, name: &str) -> Option<&'n str> {
    match member(entry, name)? {
        Node::String(text) => Some(text),
        _ => None,
    }
}

/// The number in a value, as it is written. Some entries have it in quotes.
fn number(value: &Node) -> Option<&str> {
    match value {
        Node::Number(text) | Node::String(text) => Some(text),
        _ => None,
    }
}

fn count(value: &Node) -> Option<u64> {
    let text = number(value)?;
    text.strip_suffix(".0").unwrap_or(text).parse().ok().filter(|count| *count > 0)
}

fn offer(name: &str, entry: &Node, free: bool) -> Option<Offer> {
    let mode = mode(text(entry, "mode")?)?;
    let mut offer = Offer { name: name.to_owned(), mode, ..Offer::default() };
    let Node::Object(members) = entry else { return None };
    for (field, value) in members {
        take(&mut offer, entry, field, value);
    }
    // The maximum of an embedding is that of one text, of which a call has many.
    if mode != Mode::Vectors {
        offer.max_input_tokens = member(entry, "max_input_tokens").and_then(count);
        offer.max_output_tokens = member(entry, "max_output_tokens").and_then(count);
    }
    offer.complete(free);
    Some(offer)
}

/// Takes one field of an entry.
fn take(offer: &mut Offer, entry: &Node, field: &str, value: &Node) {
    let is_price = ["cost", "price", "pricing", "multiplier"].iter().any(|word| field.contains(word));
    if !is_price || is_aside(field) || *value == Node::Null {
        return;
    }
    if field == "tiered_pricing" {
        return tiered(offer, value);
    }
    if field == "search_context_cost_per_query" {
        return search(offer, value);
    }
    let Some(amount) = number(value) else {
        return offer.leave_out(field, reason(field));
    };
    // Nothing is left out of a call that is free.
    let is_zero = scaled(amount, 0, 30).is_ok_and(|amount| is_zero(&amount));
    let added = match (field, offer.mode) {
        _ if is_repeated(entry, field, offer.mode) => Ok(()),
        ("output_cost_per_image", Mode::Images) => offer.price(Rate::Image, None, None, amount, false),
        ("input_cost_per_image", Mode::Images) if !is_priced(entry, "output_cost_per_image") => {
            offer.price(Rate::Image, None, None, amount, false)
        }
        ("input_cost_per_second", Mode::Transcription) => {
            offer.price(Rate::Second, None, None, amount, false)
        }
        ("output_cost_per_second", Mode::Transcription) if is_zero => Ok(()),
        ("output_cost_per_second", Mode::Transcription) => {
            offer.price(Rate::Second, None, None, amount, false)
        }
        ("input_cost_per_character", Mode::Speech) => offer.price(Rate::Character, None, None, amount, false),
        ("input_cost_per_query", Mode::Vectors) => offer.price(Rate::Request, None, None, amount, false),
        ("output_cost_per_reasoning_token", _) if is_same(entry, field, "output_cost_per_token") => Ok(()),
        _ => match parsed(field) {
            Some((rate, above, tier)) => offer.price(rate, tier, above, amount, false),
            None if is_zero => Ok(()),
            None => Err(reason(field)),
        },
    };
    if let Err(reason) = added {
        offer.leave_out(field, reason);
    }
}

/// Returns true if the entry has a price in this field that is not 0.
fn is_priced(entry: &Node, field: &str) -> bool {
    let amount = member(entry, field).and_then(number).and_then(|amount| scaled(amount, 0, 30).ok());
    amount.is_some_and(|amount| !is_zero(&amount))
}

/// Returns true for a field with the price of what has a price in another field, too: of an image beside that of its tokens, of
/// a second beside that of the tokens of sound. Only one of them is charged.
fn is_repeated(entry: &Node, field: &str, mode: Mode) -> bool {
    let others: &[&str] = match (field, mode) {
        ("output_cost_per_image", _) => &["output_cost_per_image_token"],
        ("input_cost_per_image", Mode::Images) => &["input_cost_per_token", "input_cost_per_image_token"],
        ("input_cost_per_second", Mode::Transcription) => &["input_cost_per_audio_token"],
        ("output_cost_per_second", Mode::Transcription) => {
            &["input_cost_per_second", "input_cost_per_audio_token"]
        }
        ("output_cost_per_second", Mode::Speech) => &["output_cost_per_audio_token"],
        ("input_cost_per_character", Mode::Vectors) => &["input_cost_per_token"],
        _ => &[],
    };
    others.iter().any(|other| is_priced(entry, other))
}

fn is_same(entry: &Node, one: &str, other: &str) -> bool {
    member(entry, one).is_some() && member(entry, one) == member(entry, other)
}

fn reason(field: &str) -> Reason {
    REASONS.iter().find(|(words, _)| field.contains(words)).map_or(Reason::Other, |(_, reason)| *reason)
}

/// The price that a field names, with its threshold and its tier.
fn parsed(field: &str) -> Option<(Rate, Option<u64>, Option<&str>)> {
    let matching = PRICES.iter().filter_map(|(start, rate)| {
        let rest = field.strip_prefix(start)?;
        (rest.is_empty() || rest.starts_with('_')).then_some((start.len(), *rate, rest))
    });
    let (_, rate, mut rest) = matching.max_by_key(|(length, ..)| *length)?;
    let mut threshold = None;
    if let Some(after) = rest.strip_prefix("_above_")
        && let Some((thousands, after)) = after.split_once("k_tokens")
    {
        threshold = Some(thousands.parse::<u64>().ok()?.checked_mul(1_000)?);
        rest = after;
    }
    match rest.strip_prefix('_') {
        Some(tier) if TIERS.contains(&tier) => Some((rate, threshold, Some(tier))),
        Some(_) => None,
        None => Some((rate, threshold, None)).filter(|_| rest.is_empty()),
    }
}

/// Takes a list of ranges of input tokens, each with its prices.
fn tiered(offer: &mut Offer, ranges: &Node) {
    let Node::Array(ranges) = ranges else { return offer.leave_out("tiered_pricing", Reason::Other) };
    for range in ranges {
        let start = match member(range, "range") {
            Some(Node::Array(ends)) => ends
                .first()
                .and_then(number)
                .and_then(|start| start.strip_suffix(".0").unwrap_or(start).parse::<u64>().ok()),
            _ => None,
        };
        let (Some(start), Node::Object(members)) = (start, range) else {
            offer.leave_out("tiered_pricing", Reason::Other);
            continue;
        };
        for (field, value) in members.iter().filter(|(field, _)| field.contains("cost")) {
            let above = Some(start).filter(|start| *start > 0);
            let added = match (parsed(field), number(value)) {
                (Some((rate, None, None)), Some(amount)) => offer.price(rate, None, above, amount, false),
                _ if field == "output_cost_per_reasoning_token"
                    && is_same(range, field, "output_cost_per_token") =>
                {
                    Ok(())
                }
                _ => Err(reason(field)),
            };
            if let Err(reason) = added {
                offer.leave_out(&format!("tiered_pricing.{field}"), reason);
            }
        }
    }
}

/// Takes the price of a search, of which an entry has one for each size of the context.
fn search(offer: &mut Offer, sizes: &Node) {
    let Node::Object(sizes) = sizes else {
        return offer.leave_out("search_context_cost_per_query", Reason::Other);
    };
    let amounts = sizes.iter().filter_map(|(_, amount)| scaled(number(amount)?, 0, 12).ok());
    let mut amounts: Vec<String> = amounts.collect();
    // Amounts with as many digits before the point compare as texts.
    amounts.sort_by_key(|amount| (amount.find('.'), amount.clone()));
    amounts.dedup();
    let Some(highest) = amounts.last() else { return };
    let highest = highest.clone();
    if let Err(reason) = offer.price(Rate::Search, None, None, &highest, false) {
        offer.leave_out("search_context_cost_per_query", reason);
    }
    if amounts.len() > 1 {
        offer.leave_out("search_context_cost_per_query", Reason::SearchSizes);
    }
}

/// Reads a JSON document, with its numbers as they are written.
pub fn node(text: &[u8]) -> Option<Node> {
    let mut reader = Reader::default();
    let mut lexer = Lexer::new(MAX_DEPTH);
    lexer.push(text, &mut reader).ok()?;
    lexer.finish(&mut reader).ok()?;
    reader.whole
}

const MAX_DEPTH: usize = 64;

/// Builds a tree of a whole document.
#[derive(Debug, Default)]
struct Reader {
    builder: Builder,
    whole: Option<Node>,
}

impl Visitor for Reader {
    type Stop = Infallible;

    fn begin(&mut self, _: usize, kind: Container) -> Result<(), Infallible> {
        self.builder.begin(kind);
        Ok(())
    }

    fn end(&mut self, _: usize, _: Container) -> Result<(), Infallible> {
        self.whole = self.builder.end();
        Ok(())
    }

    fn name_bytes(&self, _: usize) -> usize {
        usize::MAX
    }

    fn name(&mut self, _: usize, name: JsonText<'_>) -> Result<(), Infallible> {
        self.builder.name(name.text);
        Ok(())
    }

    fn scalar_bytes(&self, _: usize) -> usize {
        usize::MAX
    }

    fn scalar(&mut self, _: usize, value: Scalar<'_>) -> Result<(), Infallible> {
        self.whole = self.builder.scalar(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(entry: &str, free: bool) -> Offer {
        let map = node(format!(r#"{{"sample_spec":{{"mode":"one of"}},"m":{entry}}}"#).as_bytes()).unwrap();
        read(&map, free).unwrap().remove(0)
    }

    fn prices(prices: &super::super::offer::Prices) -> Vec<String> {
        prices.iter().map(|(name, amount)| format!("{name} {amount}")).collect()
    }

    #[test]
    fn prices_of_tokens_are_read_with_their_threshold_and_tier() {
        let offer = one(
            r#"{"mode":"chat","max_input_tokens":"1000.0","max_output_tokens":50,"input_cost_per_token":1.25E-06,
            "output_cost_per_token":1e-05,"cache_read_input_token_cost":1.25e-07,"cache_creation_input_token_cost":1.5625e-06,
            "cache_creation_input_token_cost_above_1hr":2.5e-06,"input_cost_per_token_above_272k_tokens":2.5e-06,
            "cache_creation_input_token_cost_above_1hr_above_272k_tokens":5e-06,"input_cost_per_token_priority":2.5e-06,
            "output_cost_per_token_above_272k_tokens_priority":4e-05,"input_cost_per_token_batches":1e-07,
            "input_dbu_cost_per_token":1,"output_cost_per_reasoning_token":1e-05}"#,
            false,
        );
        assert_eq!(
            prices(&offer.level.prices),
            ["cache_write 1.5625", "cache_write_1h 2.50", "cached_input 0.125", "input 1.25", "output 10.00"]
        );
        assert_eq!(prices(&offer.level.above[&272_000]), ["cache_write_1h 5.00", "input 2.50"]);
        assert_eq!(prices(&offer.tiers["priority"].prices), ["input 2.50"]);
        assert_eq!(prices(&offer.tiers["priority"].above[&272_000]), ["output 40.00"]);
        assert_eq!((offer.max_input_tokens, offer.max_output_tokens), (Some(1_000), Some(50)));
        assert_eq!(offer.left_out, []);
    }

    #[test]
    fn ranges_of_tokens_are_thresholds() {
        let offer = one(
            r#"{"mode":"chat","tiered_pricing":[{"range":[0,32000.0],"input_cost_per_token":1e-07,"output_cost_per_token":4e-07},
            {"range":[32000.0,128000],"input_cost_per_token":2e-07,"output_cost_per_token":8e-07,"output_cost_per_reasoning_token":9e-07}]}"#,
            false,
        );
        assert_eq!(prices(&offer.level.prices), ["input 0.10", "output 0.40"]);
        assert_eq!(prices(&offer.level.above[&32_000]), ["input 0.20", "output 0.80"]);
        let left_out = ("tiered_pricing.output_cost_per_reasoning_token".to_owned(), Reason::Reasoning);
        assert_eq!(offer.left_out, [left_out]);
    }

    #[test]
    fn units_and_what_is_left_out_depend_on_the_kind_of_call() {
        for (entry, expected, left_out) in [
            (
                r#"{"mode":"audio_transcription","input_cost_per_second":0.0001,"output_cost_per_second":0.0001}"#,
                &["input 0.00", "output 0.00", "second 0.0001"][..],
                &[][..],
            ),
            (
                r#"{"mode":"audio_speech","input_cost_per_character":1.5e-05}"#,
                &["character 0.000015", "input 0.00", "output 0.00"],
                &[],
            ),
            (
                r#"{"mode":"image_generation","output_cost_per_image":0.04,"output_cost_per_pixel":0.0}"#,
                &["image 0.04", "input 0.00", "output 0.00"],
                &[],
            ),
            (
                r#"{"mode":"image_generation","input_cost_per_image":0.04}"#,
                &["image 0.04", "input 0.00", "output 0.00"],
                &[],
            ),
            (
                r#"{"mode":"image_edit","input_cost_per_image":0.01,"output_cost_per_image":0.04}"#,
                &["image 0.04", "input 0.00", "output 0.00"],
                &[Reason::ImageInput],
            ),
            // The price of an image, and that of its tokens once more.
            (
                r#"{"mode":"image_generation","input_cost_per_token":2e-6,"input_cost_per_image":0.0011,
                "output_cost_per_image":0.134,"output_cost_per_image_token":0.00012}"#,
                &["input 2.00", "output 120.00", "output_image 120.00"],
                &[],
            ),
            (
                r#"{"mode":"audio_transcription","input_cost_per_audio_token":2e-6,"input_cost_per_second":5e-5,"output_cost_per_token":1e-5}"#,
                &["input 2.00", "input_audio 2.00", "output 10.00"],
                &[],
            ),
            (r#"{"mode":"image_generation","input_cost_per_pixel":1e-8}"#, &[], &[Reason::ByPixel]),
            (
                r#"{"mode":"rerank","input_cost_per_query":0.002,"input_cost_per_token":0}"#,
                &["input 0.00", "output 0.00", "request 0.002"],
                &[],
            ),
            (
                r#"{"mode":"embedding","input_cost_per_token":2e-8,"output_cost_per_token":0.0,"max_input_tokens":8191}"#,
                &["input 0.02", "output 0.00"],
                &[],
            ),
            (
                r#"{"mode":"chat","input_cost_per_token":1e-6,"output_cost_per_token":1e-6,"input_cost_per_video_per_second":1}"#,
                &["input 1.00", "output 1.00"],
                &[Reason::ByVideo],
            ),
            (
                r#"{"mode":"chat","input_cost_per_token":3e-14,"output_cost_per_token":"x"}"#,
                &[],
                &[Reason::Fine, Reason::Number],
            ),
            (
                r#"{"mode":"chat","input_cost_per_token":1e-6,"output_cost_per_token":0}"#,
                &["input 1.00"],
                &[],
            ),
        ] {
            let offer = one(entry, false);
            assert_eq!(prices(&offer.level.prices), expected, "{entry}");
            let reasons: Vec<Reason> = offer.left_out.iter().map(|(_, reason)| *reason).collect();
            assert_eq!(reasons, left_out, "{entry}");
        }
        let search = r#"{"mode":"chat","input_cost_per_token":1e-6,"output_cost_per_token":1e-6,"search_context_cost_per_query":
            {"search_context_size_low":0.005,"search_context_size_medium":0.01,"search_context_size_high":0.0125}}"#;
        let offer = one(search, false);
        assert_eq!(offer.level.prices["search"], "0.0125");
        assert_eq!(offer.left_out[0].1, Reason::SearchSizes);
        let free = one(r#"{"mode":"chat","input_cost_per_token":0.0,"output_cost_per_token":0}"#, true);
        assert_eq!(prices(&free.level.prices), ["input 0.00", "output 0.00"]);
    }
}
