//! The chunk that the added `include_usage` causes never reaches the client; every other byte does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use tollgate_core::llm::usage::UsageChunkFilter;

const CONTENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n";
const EXTRA: &str =
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"details\":{\"x\":[]}}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn stripped(stream: &str, sizes: &[usize]) -> String {
    let mut strip = UsageChunkFilter::new();
    let (mut out, mut rest) = (Vec::new(), stream.as_bytes());
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, others) = rest.split_at((*size).min(rest.len()));
        out.extend_from_slice(&strip.push(piece));
        rest = others;
    }
    out.extend(strip.finish());
    String::from_utf8(out).unwrap()
}

/// OpenAI writes the null of chunks that are not the extra one as their last member.
fn without_null(stream: &str) -> String {
    stream.replace(",\"usage\":null", "")
}

#[test]
fn a_null_is_removed_with_one_comma() {
    for (sent, seen) in [
        (r#"{"usage":null}"#, "{}"),
        (r#"{"usage": null , "choices": [{}]}"#, r#"{ "choices": [{}]}"#),
        (
            r#"{"id": "a", "usage": null, "choices": [{"usage": null}]}"#,
            r#"{"id": "a", "choices": [{"usage": null}]}"#,
        ),
        (
            r#"{"n":1,"usage":null,"obfuscation":",\"usage\":null"}"#,
            r#"{"n":1,"obfuscation":",\"usage\":null"}"#,
        ),
        (r#"{"choices":[{}] ,"usage":null}"#, r#"{"choices":[{}]}"#),
        (r#"{"usage":null"#, r#"{"usage":null"#),
    ] {
        for size in 1..sent.len() {
            assert_eq!(stripped(&format!("data: {sent}\n\n"), &[size]), format!("data: {seen}\n\n"));
        }
    }
}

#[test]
fn only_the_extra_chunk_is_removed() {
    let kept = [
        CONTENT,
        DONE,
        ": comment\n\n",
        "event: x\ndata: 1\n\n",
        // Azure's filter results, a chunk with both, a chunk without choices.
        "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1}}\n\n",
        "data: {\"usage\":{\"prompt_tokens\":1}}\n\n",
        "data: {\"x\":{\"choices\":[],\"usage\":{}}}\n\n",
        "data: {\"choices\":[],\"usage\":{}} x\n\n",
        "data: the end without a blank line",
    ]
    .concat();
    let (first, rest) = kept.split_at(CONTENT.len());
    let stream = [first, EXTRA, rest].concat();
    for end in ["\n", "\r\n", "\r"] {
        let (stream, kept) = (stream.replace('\n', end), without_null(&kept).replace('\n', end));
        for size in 1..stream.len() {
            assert_eq!(stripped(&stream, &[size]), kept, "{end:?}, pieces of {size}");
        }
    }
}

#[test]
fn a_long_event_is_not_held_back() {
    let mut strip = UsageChunkFilter::new();
    let long = format!("data: {{\"usage\":\"{}", "x".repeat(20_000));
    assert_eq!(&*strip.push(long.as_bytes()), long.as_bytes());
    assert_eq!(&*strip.push(b"y"), b"y");
    assert_eq!(&*strip.push(b"\"}\n\n"), b"\"}\n\n");
    assert!(strip.push(EXTRA.as_bytes()).is_empty());
}

proptest! {
    #[test]
    fn pieces_change_nothing(
        picks in proptest::collection::vec(0..3_usize, 0..12),
        sizes in proptest::collection::vec(1..90_usize, 1..20),
    ) {
        let stream: String = picks.iter().map(|pick| [CONTENT, EXTRA, DONE][*pick]).collect();
        prop_assert_eq!(stripped(&stream, &sizes), without_null(&stream.replace(EXTRA, "")));
    }
}
