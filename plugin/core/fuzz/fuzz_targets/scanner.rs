//! A JSON body is read alike however it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_core::llm::request::{BodyError, BodyParser, LlmRequest};

fn read(pieces: [&[u8]; 2]) -> Result<LlmRequest, BodyError> {
    let mut reader = BodyParser::for_head(Some("application/json"), None)?;
    for piece in pieces {
        reader.push(piece)?;
    }
    reader.finish().cloned()
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, body) = input;
    let cut = usize::from(cut).min(body.len());
    assert_eq!(read([&body[..cut], &body[cut..]]), read([body, &[]]));
});
