//! The usage and text of a response: derived from the request's bytes, so that the same request always costs
//! the same.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::gemini::get;
use super::simulate::Simulation;

/// Numbers and words that depend on the request alone.
#[derive(Clone, Debug)]
pub struct Draw {
    seed: [u64; 4],
    /// The usage that the response reports.
    pub usage: Usage,
    /// True if the response stopped at the requested maximum.
    pub cut_short: bool,
    words: usize,
    choices: u64,
    maximum: Option<u64>,
    /// True if the request selects the usage.
    selected: bool,
}

/// Tokens as a provider bills them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All input, cached or not.
    pub input: u64,
    /// The cached part of the input.
    pub cached: u64,
    /// All output, including reasoning, for all choices together.
    pub output: u64,
    /// The part of the output that the response does not show.
    pub reasoning: u64,
}

/// The usual upper bound of a response, in tokens.
const USUAL_OUTPUT: u64 = 400;
/// The estimate for a request that sets no maximum; some responses are longer.
const ASSUMED_OUTPUT: u64 = 4096;

const WORDS: [&str; 32] = [
    "the", "gate", "opens", "for", "a", "key", "that", "is", "known", "and", "counts", "what", "passes",
    "so", "no", "one", "pays", "twice", "toll", "by", "token", "each", "team", "sees", "its", "own", "share",
    "of", "road", "ahead", "at", "dawn",
];

impl Draw {
    /// Derives usage and text from the path and the body; `request` is the body if it is JSON.
    pub fn new(path: &str, body: &[u8], request: &Value, simulation: &Simulation) -> Draw {
        let mut hash = Sha256::new();
        hash.update(path.as_bytes());
        hash.update([0]);
        hash.update(body);
        let digest = hash.finalize();
        let mut seed = [0; 4];
        for (number, bytes) in seed.iter_mut().zip(digest.chunks_exact(8)) {
            *number = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
        let maximum = requested_maximum(request);
        let choices = choices(request);
        let (usage, visible) = match (simulation.usage, simulation.tokens) {
            (Some((input, output, cached)), tokens) => {
                let usage = Usage { input, cached, output, reasoning: 0 };
                (usage, tokens.unwrap_or(output / choices))
            }
            (None, Some(tokens)) => {
                let usage = Usage { output: tokens.saturating_mul(choices), ..input(seed, body.len()) };
                (usage, tokens)
            }
            (None, None) => {
                let (output, reasoning) = output(seed, maximum);
                let usage = Usage {
                    output: output.saturating_mul(choices),
                    reasoning: reasoning.saturating_mul(choices),
                    ..input(seed, body.len())
                };
                (usage, output - reasoning)
            }
        };
        Draw {
            seed,
            usage,
            cut_short: maximum.is_some_and(|maximum| usage.output / choices >= maximum),
            words: usize::try_from(visible).unwrap_or(usize::MAX).min(4000),
            choices,
            maximum,
            selected: simulation.usage.is_some() || simulation.tokens.is_some(),
        }
    }

    /// Sets the output to a complete response of this length, within the requested maximum. A usage that the
    /// request selects remains.
    pub fn set_length(&mut self, tokens: u64) {
        self.cut_short = false;
        if !self.selected {
            let tokens = tokens.min(self.maximum.unwrap_or(u64::MAX));
            self.usage.output = tokens.saturating_mul(self.choices);
            self.usage.reasoning = 0;
        }
    }

    /// Returns the text, one token at a time.
    pub fn words(&self) -> impl Iterator<Item = String> + use<> {
        let mut state = self.seed[3] | 1;
        (0..self.words.max(1)).map(move |index| {
            // xorshift: any sequence works if it is reproducible.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let word = WORDS[(state % WORDS.len() as u64) as usize];
            if index == 0 { word.to_owned() } else { format!(" {word}") }
        })
    }

    /// Returns the text as a whole.
    pub fn text(&self) -> String {
        self.words().collect()
    }

    /// Returns an id such as `chatcmpl-0123456789abcdef`.
    pub fn id(&self, prefix: &str) -> String {
        format!("{prefix}{:016x}", self.seed[2])
    }

    /// Returns numbers in -1..1, for embeddings.
    pub fn vector(&self, index: usize, dimensions: usize) -> Vec<f32> {
        (0..dimensions)
            .map(|dimension| {
                let mixed = (self.seed[1] ^ ((index as u64) << 32 | dimension as u64))
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15);
                (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }
}

/// Returns about four bytes per token, plus or minus 40 percent; sometimes half of it is cached.
fn input(seed: [u64; 4], bytes: usize) -> Usage {
    let bytes = bytes as u64;
    let percent = 60 + seed[0] % 81;
    let input = (bytes * percent / 400).max(1);
    let cached = if seed[0] >> 32 & 3 == 0 { input / 2 } else { 0 };
    Usage { input, cached, ..Usage::default() }
}

/// Returns output and reasoning of one choice. A provider respects the requested maximum; without one, one
/// response in eight is longer than any estimate.
fn output(seed: [u64; 4], maximum: Option<u64>) -> (u64, u64) {
    let drawn = seed[1] >> 8;
    match maximum {
        Some(maximum) => (1 + drawn % maximum.clamp(1, USUAL_OUTPUT), 0),
        None if seed[1] & 7 == 0 => {
            let reasoning = ASSUMED_OUTPUT + drawn % 2000;
            (reasoning + 1 + drawn % USUAL_OUTPUT, reasoning)
        }
        None => (1 + drawn % USUAL_OUTPUT, 0),
    }
}

/// Returns the maximum that the request sets, in any API's spelling.
fn requested_maximum(request: &Value) -> Option<u64> {
    ["max_completion_tokens", "max_tokens", "max_output_tokens"]
        .iter()
        .find_map(|name| request[name].as_u64())
        .or_else(|| get(get(request, "generationConfig"), "maxOutputTokens").as_u64())
}

/// Returns the number of requested choices.
pub fn choices(request: &Value) -> u64 {
    request["n"]
        .as_u64()
        .or_else(|| get(get(request, "generationConfig"), "candidateCount").as_u64())
        .unwrap_or(1)
        .clamp(1, 128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn draw(request: &Value) -> Draw {
        Draw::new("/v1/chat/completions", request.to_string().as_bytes(), request, &Simulation::default())
    }

    #[test]
    fn the_same_request_costs_the_same() {
        let request = json!({"model": "m", "messages": []});
        assert_eq!(draw(&request).usage, draw(&request).usage);
        assert_eq!(draw(&request).text(), draw(&request).text());
    }

    #[test]
    fn usage_is_above_and_below_an_estimate() {
        let (mut input, mut output) = ([false; 2], [false; 2]);
        for number in 0..200 {
            let request = json!({"model": "m", "messages": [{"role": "user", "content": format!("question {number}")}]});
            let usage = draw(&request).usage;
            let estimate = request.to_string().len() as u64 / 4;
            input[usize::from(usage.input > estimate)] = true;
            output[usize::from(usage.output > ASSUMED_OUTPUT)] = true;
            assert!(usage.cached <= usage.input && usage.reasoning < usage.output);
            assert!(usage.input <= request.to_string().len() as u64, "no more than a token a byte");
        }
        assert_eq!((input, output), ([true; 2], [true; 2]));
    }

    #[test]
    fn a_requested_maximum_is_kept() {
        for number in 0..200 {
            let draw = draw(&json!({"max_tokens": 5, "n": 2, "user": number.to_string()}));
            assert!(draw.usage.output <= 10);
            assert_eq!(draw.cut_short, draw.usage.output == 10);
        }
    }
}
