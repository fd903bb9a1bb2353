//! A stream's usage, and what is left without the extra chunk, do not depend on the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_core::api::Api;
use tollgate_core::llm::usage::{Usage, UsageChunkFilter, UsageMeter};

fn read(api: Api, pieces: [&[u8]; 2]) -> (Option<Usage>, String) {
    let (mut meter, mut strip) = (UsageMeter::new(api, Some("text/event-stream")), UsageChunkFilter::new());
    let mut out = Vec::new();
    for piece in pieces {
        meter.push(piece);
        out.extend_from_slice(&strip.push(piece));
    }
    out.extend(strip.finish());
    // In an event that is not JSON, a null stays or goes.
    (meter.finish().usage, String::from_utf8_lossy(&out).replace(",\"usage\":null", ""))
}

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (api, cut, stream) = input;
    let apis = [Api::OpenAiChat, Api::OpenAiResponses, Api::AnthropicMessages, Api::GeminiGenerate];
    let api = apis[usize::from(api) % apis.len()];
    let cut = usize::from(cut).min(stream.len());
    assert_eq!(read(api, [&stream[..cut], &stream[cut..]]), read(api, [stream, &[]]));
});
