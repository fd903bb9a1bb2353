//! The choice among a target's prices, against a model of it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::prices::{Call, chat, selling};
use super::*;

/// The names of the prices of tokens, each with the more general one.
const KINDS: [(&str, Option<usize>); 9] = [
    ("input", None),
    ("output", None),
    ("cached_input", Some(0)),
    ("cache_write", Some(0)),
    ("cache_write_1h", Some(3)),
    ("input_audio", Some(0)),
    ("output_audio", Some(1)),
    ("input_image", Some(0)),
    ("output_image", Some(1)),
];

/// Prices in millionths of a dollar for a million tokens, by kind.
type Given = [Option<u64>; 9];

#[derive(Clone, Debug)]
struct Model {
    base: Given,
    above: Option<(u64, Given)>,
    tier: Option<(Given, Option<(u64, Given)>)>,
}

impl Model {
    /// The price of a kind, by the rule as the README has it.
    fn rate(&self, kind: usize, in_tier: bool, input: u64) -> u64 {
        let exceeds = |above: &Option<(u64, Given)>| {
            above.filter(|(threshold, _)| input > *threshold).map(|above| above.1)
        };
        let tier = self.tier.as_ref().filter(|_| in_tier);
        let places = [
            tier.and_then(|tier| exceeds(&tier.1)),
            tier.map(|tier| tier.0),
            exceeds(&self.above),
            Some(self.base),
        ];
        let mut kind = Some(kind);
        while let Some(known) = kind {
            if let Some(price) = places.iter().flatten().find_map(|place| place[known]) {
                return price;
            }
            kind = KINDS[known].1;
        }
        0
    }

    fn document(&self) -> Value {
        let write = |given: &Given| {
            let prices = KINDS.iter().zip(given).filter_map(|((name, _), price)| {
                Some(((*name).to_owned(), json!(format!("0.{:06}", (*price)?))))
            });
            Value::Object(prices.collect())
        };
        let with_above = |given: &Given, above: &Option<(u64, Given)>| {
            let mut price = write(given);
            if let Some((threshold, given)) = above {
                price["above"] = write(given);
                price["above"]["input_tokens"] = json!(threshold);
            }
            price
        };
        let mut price = with_above(&self.base, &self.above);
        if let Some((given, above)) = &self.tier {
            price["tiers"] = json!({ "priority": with_above(given, above) });
        }
        price
    }
}

fn given(all: bool) -> impl Strategy<Value = Given> {
    proptest::array::uniform9(proptest::option::weighted(0.4, 0..1_000_000_u64)).prop_map(move |mut given| {
        if all {
            given[0] = given[0].or(Some(1));
            given[1] = given[1].or(Some(1));
        }
        given
    })
}

fn model() -> impl Strategy<Value = Model> {
    let above = || proptest::option::of((1..1_000_u64, given(false)));
    (given(true), above(), proptest::option::of((given(false), above())))
        .prop_map(|(base, above, tier)| Model { base, above, tier })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_call_costs_what_the_model_says_and_at_most_what_was_reserved(
        model in model(), parts in proptest::array::uniform6(0..400_u64), outputs in proptest::array::uniform3(0..1_000_u64), in_tier: bool,
    ) {
        let gateway = selling(model.document(), json!({ "max_input_tokens": 2_400 }));
        let [fresh, cached, write, hour, audio, image] = parts;
        let input: u64 = parts.iter().sum();
        let [text, spoken, drawn] = outputs;
        let usage = json!({
            "input_tokens": input, "output_tokens": text + spoken + drawn,
            "input_tokens_details": { "cached_tokens": cached, "audio_tokens": audio, "image_tokens": image },
            "cache_creation": { "ephemeral_1h_input_tokens": hour, "ephemeral_5m_input_tokens": write },
            "output_tokens_details": { "audio_tokens": spoken, "image_tokens": drawn },
        });
        let body = chat(json!({ "messages": [{ "content": [{ "image_url": { "url": "https://images.test/1" },
            "cache_control": { "ttl": "1h" } }] }] }));
        let answer = json!({ "usage": usage, "service_tier": if in_tier { "priority" } else { "default" } });
        let quantities = [fresh, text, cached, write, hour, audio, spoken, image, drawn];
        let expected = quantities.iter().enumerate().map(|(kind, tokens)| u128::from(model.rate(kind, in_tier, input) * tokens)).sum::<u128>();
        prop_assert_eq!(Call::new(&gateway, CHAT, &body).costs(&answer), expected);
        // The policy is written as it was read.
        let policy = gateway.policy.read();
        let written = policy.record(tollgate_core::policy::Section::Targets, "small").unwrap();
        let again = selling(written["price"].clone(), json!({ "max_input_tokens": 2_400 }));
        let read = &again.policy.read();
        prop_assert_eq!(read.record(tollgate_core::policy::Section::Targets, "small").unwrap(), written);
        prop_assert_eq!(Call::new(&again, CHAT, &body).costs(&answer), expected);
    }
}
