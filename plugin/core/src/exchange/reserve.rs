//! The charge before a call runs: an upper bound of its tokens and cost.

use super::cost::{CallPrice, SEARCHES, Units, cost_of_units, known_tier};
use crate::admission::Reservation;
use crate::api::{Api, Provider};
use crate::llm::dialect::Dialect;
use crate::llm::request::{LlmRequest, MediaTokens};
use crate::money::{Pico, Price, Rate, Rates};
use crate::policy::{CostSource, Target};

/// The names of a request for no tier with prices of its own.
const NO_TIER: [&str; 3] = ["default", "standard", "standard_only"];

/// The reservation of a call that any of these targets may answer, at this price. `hidden`: the upstream reads content that the
/// body does not show.
pub(super) fn reserve(
    api: Api,
    named: &[&Target],
    call: Option<&CallPrice>,
    request: &LlmRequest,
    hidden: bool,
) -> Reservation {
    let input = |shown| input_of(named, shown, hidden);
    let price = call.map(|call| &call.price);
    let output = output_tokens(Dialect::of(api), api, named, price, request);
    let input_tokens = input(request.likely_input_tokens(api));
    let (mut input_cost, mut cost) = (Pico(0), Pico(0));
    if let Some(call) = call {
        let most = input(request.most_input_tokens(api));
        let price = &call.price;
        let each_output;
        (input_cost, each_output) = if price.details.is_none() {
            let dearest = price.input.max(price.cached_input).max(price.cache_write);
            (dearest.times(most).plus(price.request.times(call.units.calls)), price.output)
        } else {
            let rates = price.highest(&|tier| may_be_served_in(api, price, request, tier), most);
            let input_cost = most_input_cost(api, &rates, request, hidden, most);
            let each_output =
                rates.get(Rate::Output).max(rates.get(Rate::OutputAudio)).max(rates.get(Rate::OutputImage));
            (input_cost.plus(cost_of_units(&rates, &call.units)), each_output)
        };
        cost = input_cost.plus(each_output.times(output));
    }
    Reservation { input_tokens, tokens: input_tokens.saturating_add(output), input_cost, cost }
}

/// The input of a call that shows so much of it: a target's maximum caps the estimate, and stands in for content that the body does
/// not show.
fn input_of(named: &[&Target], shown: u64, hidden: bool) -> u64 {
    let of_target = |target: &&Target| match target.max_input_tokens {
        Some(most) if hidden => most,
        Some(most) => shown.min(most),
        None => shown,
    };
    named.iter().map(of_target).max().unwrap_or(shown)
}

/// The most that the input can cost, which is at most this number of tokens.
fn most_input_cost(api: Api, rates: &Rates, request: &LlmRequest, hidden: bool, most: u64) -> Pico {
    let hour = if request.hour_cache { rates.get(Rate::CacheWriteHour) } else { Pico(0) };
    let text =
        rates.get(Rate::Input).max(rates.get(Rate::CachedInput)).max(rates.get(Rate::CacheWrite)).max(hour);
    let (audio, image) = (text.max(rates.get(Rate::InputAudio)), text.max(rates.get(Rate::InputImage)));
    if hidden {
        return audio.max(image).times(most);
    }
    let MediaTokens { image: images, sound, mixed } = request.media_in(api).most_tokens_by_kind();
    let parts =
        [(request.most_text_tokens(api), text), (images, image), (sound, audio), (mixed, audio.max(image))];
    let each = parts.iter().fold(Pico(0), |sum, (tokens, price)| sum.plus(price.times(*tokens)));
    let present = parts.iter().filter(|(tokens, _)| *tokens > 0);
    let dearest = present.map(|(_, price)| *price).max().unwrap_or_default();
    // The target's maximum caps the sum of all kinds.
    each.min(dearest.times(most))
}

/// Returns true if the provider may serve the call in this tier. A request without a tier, or with `auto`, leaves it to a
/// setting of the provider's.
fn may_be_served_in(api: Api, price: &Price, request: &LlmRequest, tier: &str) -> bool {
    let provider = api.provider();
    if provider == Some(Provider::Anthropic)
        && tier == "fast"
        && !request.fast
        && request.fallbacks.is_empty()
    {
        return false;
    }
    // Vertex AI has a header for it, and other models of the call may have a tier of their own.
    let is_open =
        provider == Some(Provider::Gemini) || request.external_input || !request.fallbacks.is_empty();
    match request.service_tier.as_deref() {
        Some(_) if is_open => true,
        Some(name) if price.has_tier(known_tier(api, price, name)) => {
            known_tier(api, price, name) == tier || tier == "fast" && request.fast
        }
        Some(name) if NO_TIER.contains(&name) => tier == "fast" && request.fast,
        Some(_) | None => true,
    }
}

/// The output tokens of all choices: of each as many as the request permits, and at most the target's maximum.
fn output_tokens(
    dialect: &Dialect,
    api: Api,
    named: &[&Target],
    price: Option<&Price>,
    request: &LlmRequest,
) -> u64 {
    if !dialect.has_output || dialect.output_if_priced && !price.is_some_and(Price::has_output) {
        return 0;
    }
    let requested = request.max_output.of(api).map(|most| most.max(request.max_output.of_fallbacks));
    let of_target = |target: &&Target| match (requested, target.max_output_tokens) {
        (Some(requested), Some(most)) => requested.min(most),
        (Some(requested), None) => requested,
        (None, Some(most)) => most,
        (None, None) => dialect.default_output.max(request.max_output.of_fallbacks),
    };
    let each = named.iter().map(of_target).max().unwrap_or(dialect.default_output);
    let prompts = if dialect.answers_each_prompt { request.prompts.max(1) } else { 1 };
    // The rejected part of a prediction is charged as output (OpenAI, "Predicted Outputs").
    let each = each.saturating_add(request.predicted);
    match (answers(request), prompts) {
        (1, 1) => each,
        (answers, prompts) => each.saturating_mul(answers).saturating_mul(prompts),
    }
}

/// The number of answers to a prompt, or of the frames of all images.
fn answers(request: &LlmRequest) -> u64 {
    let choices = request.choices.unwrap_or(1).max(1);
    choices.saturating_mul(request.frames.unwrap_or(1).max(1))
}

/// The price of a call that any of these targets may answer; `None` if none has a price and no reported cost counts.
/// `request`: `None` for a call whose bodies are not read.
pub(super) fn price_of_call(
    api: Api,
    named: &[&Target],
    request: Option<&LlmRequest>,
    hidden: bool,
) -> Option<CallPrice> {
    let price = Price::highest_of(named.iter().filter_map(|target| target.price.as_ref()));
    // Which of several answers is not known.
    let is_reported = named.iter().all(|target| target.cost == CostSource::Reported);
    if price.is_none() && !is_reported {
        return None;
    }
    let price = price.unwrap_or_default();
    let mut units = Units { calls: 1, ..Units::default() };
    let mut tier = None;
    if let Some(request) = request {
        let dialect = Dialect::of(api);
        let images = if dialect.priced_by_choice { request.choices.unwrap_or(1).max(1) } else { 0 };
        units.calls = images.max(1);
        if price.details.is_some() {
            let seconds = input_of(named, request.media_in(api).most_seconds(), hidden);
            units.images = images;
            units.searches = if hidden { SEARCHES } else { 0 };
            units.nanoseconds = if dialect.speaks { seconds.saturating_mul(1_000_000_000) } else { 0 };
            // No provider takes a text to speak in a form. All of one counts, but its file.
            let in_form =
                if request.form && dialect.speaks && request.media.sounds == 0 { request.bytes } else { 0 };
            units.characters = request.characters.max(in_form);
            tier = request.service_tier.clone();
        }
    }
    Some(CallPrice { price, units, tier, is_reported })
}

/// The reservation of a call whose bodies are not read: the price per call, in the dearest tier.
pub(super) fn bare_call(call: Option<&CallPrice>) -> Reservation {
    let cost = call.map_or(Pico(0), |call| call.price.highest(&|_| true, 0).get(Rate::Request));
    Reservation { input_tokens: 0, tokens: 0, input_cost: cost, cost }
}
