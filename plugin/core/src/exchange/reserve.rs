//! The charge before a call runs: an upper bound of its tokens and cost.

use crate::admission::Reservation;
use crate::api::Api;
use crate::llm::dialect::Dialect;
use crate::llm::request::LlmRequest;
use crate::money::{Pico, Price};
use crate::policy::Target;

/// The reservation of a call that any of these targets may answer, at this price. `hidden`: the upstream reads content that the
/// body does not show.
pub(super) fn reserve(
    api: Api,
    named: &[&Target],
    price: Option<Price>,
    request: &LlmRequest,
    hidden: bool,
) -> Reservation {
    // A target's maximum caps the estimate, and stands in for content that the body does not show.
    let input = |shown: u64| {
        let of_target = |target: &&Target| match target.max_input_tokens {
            Some(most) if hidden => most,
            Some(most) => shown.min(most),
            None => shown,
        };
        named.iter().map(of_target).max().unwrap_or(shown)
    };
    let output = output_tokens(Dialect::of(api), api, named, price, request);
    let input_tokens = input(request.likely_input_tokens(api));
    let (mut input_cost, mut cost) = (Pico(0), Pico(0));
    if let Some(price) = price {
        let dearest = price.input.max(price.cached_input).max(price.cache_write);
        input_cost = dearest.times(input(request.most_input_tokens(api))).plus(price.request);
        cost = input_cost.plus(price.output.times(output));
    }
    Reservation { input_tokens, tokens: input_tokens.saturating_add(output), input_cost, cost }
}

/// The output tokens of all choices: of each as many as the request permits, and at most the target's maximum.
fn output_tokens(
    dialect: &Dialect,
    api: Api,
    named: &[&Target],
    price: Option<Price>,
    request: &LlmRequest,
) -> u64 {
    let free = price.is_none_or(|price| price.output == Pico(0));
    if !dialect.has_output || dialect.output_if_priced && free {
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

/// The price of a request in which the price of a call is paid for each image.
pub(super) fn price_of_choices(api: Api, price: Price, request: &LlmRequest) -> Price {
    if !Dialect::of(api).priced_by_choice {
        return price;
    }
    Price { request: price.request.times(request.choices.unwrap_or(1).max(1)), ..price }
}

/// The number of answers to a prompt, or of the frames of all images.
fn answers(request: &LlmRequest) -> u64 {
    let choices = request.choices.unwrap_or(1).max(1);
    choices.saturating_mul(request.frames.unwrap_or(1).max(1))
}

/// The reservation of a call whose bodies are not read: the price per call.
pub(super) fn bare_call(price: Option<Price>) -> Reservation {
    let cost = price.map_or(Pico(0), |price| price.request);
    Reservation { input_tokens: 0, tokens: 0, input_cost: cost, cost }
}

/// The highest price for each kind of token; `None` if no target has a price.
pub(super) fn highest_price(named: &[&Target]) -> Option<Price> {
    named.iter().filter_map(|target| target.price).reduce(|one, other| Price {
        input: one.input.max(other.input),
        output: one.output.max(other.output),
        cached_input: one.cached_input.max(other.cached_input),
        cache_write: one.cache_write.max(other.cache_write),
        request: one.request.max(other.request),
    })
}
