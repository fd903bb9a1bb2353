//! The charge before a call runs: an upper bound of its tokens and cost.

use crate::admission::Reservation;
use crate::api::Api;
use crate::llm::request::LlmRequest;
use crate::money::{Pico, Price};
use crate::policy::Target;

/// Output tokens reserved if neither the request nor the target has a maximum.
const DEFAULT_OUTPUT: u64 = 4_096;

/// The reservation of a call that any of these targets may answer, at this price.
pub(super) fn reserve(api: Api, named: &[&Target], price: Option<Price>, ask: &LlmRequest) -> Reservation {
    let most = |of: fn(&Target) -> Option<u64>| named.iter().filter_map(|target| of(target)).max();
    let hidden = if ask.external_input { most(|target| target.max_input_tokens).unwrap_or(0) } else { 0 };
    let prompts = if api == Api::OpenAiCompletions { ask.prompts.max(1) } else { 1 };
    let each = match api {
        Api::OpenAiEmbeddings => 0,
        _ => ask
            .max_output
            .of(api)
            .or_else(|| named.iter().map(|target| target.max_output_tokens.unwrap_or(DEFAULT_OUTPUT)).max())
            .unwrap_or(DEFAULT_OUTPUT)
            .max(ask.max_output.of_fallbacks),
    };
    let output = match (ask.choices.unwrap_or(1).max(1), prompts) {
        (1, 1) => each,
        (choices, prompts) => each.saturating_mul(choices).saturating_mul(prompts),
    };
    let input_tokens = ask.likely_input_tokens().max(hidden);
    let most_input = ask.most_input_tokens().max(hidden);
    let cost = price.map_or(Pico(0), |price| {
        let dearest = price.input.max(price.cached_input).max(price.cache_write);
        dearest.times(most_input).plus(price.output.times(output)).plus(price.request)
    });
    Reservation { input_tokens, tokens: input_tokens.saturating_add(output), cost }
}

/// The reservation of a call whose bodies are not read: the price per call.
pub(super) fn bare_call(price: Option<Price>) -> Reservation {
    let cost = price.map_or(Pico(0), |price| price.request);
    Reservation { input_tokens: 0, tokens: 0, cost }
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
