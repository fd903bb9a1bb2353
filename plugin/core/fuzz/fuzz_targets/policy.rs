//! A policy is loaded or refused alike however it is cut, and never refused without a reason.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_core::policy::PolicyLoader;

/// The findings; `None`: it loads.
fn read(pieces: [&[u8]; 2]) -> Option<Vec<String>> {
    let mut loader = PolicyLoader::default();
    for piece in pieces {
        loader.push(piece);
    }
    let findings = loader.finish().err()?;
    assert!(!findings.is_empty());
    Some(findings.iter().map(ToString::to_string).collect())
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, text) = input;
    let cut = usize::from(cut).min(text.len());
    assert_eq!(read([&text[..cut], &text[cut..]]), read([text, &[]]));
});
