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
        "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"usage\":{\"prompt_tokens\":1}}\n\n",
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
fn the_extra_chunk_is_removed_in_every_shape_that_servers_give_it() {
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens_details":{"reasoning_tokens":0}}"#;
    for extra in [
        format!(r#"{{"id":"c","choices":[],{usage}}}"#),
        format!(r#"{{"id":"c",{usage},"choices":[]}}"#),
        format!(r#"{{ "id" : "c" , "choices" : [ ] , {usage} }}"#),
        format!(r#"{{"id":"c","choices":null,{usage}}}"#),
        // LiteLLM's proxy, with and without members of the choice that are null.
        format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{}}}}],{usage}}}"#),
        format!(
            r#"{{"id":"c","choices":[{{"finish_reason":null,"index":0,"delta":{{"content":"","role":null,"tool_calls":[]}},"logprobs":null}}],{usage}}}"#
        ),
        // Legacy completions.
        format!(r#"{{"id":"c","choices":[{{"index":0,"text":"","finish_reason":null}}],{usage}}}"#),
    ] {
        for extra in [format!("data: {extra}\n\n"), format!("event: chunk\nid: 7\ndata:{extra}\n\n")] {
            let stream = [CONTENT, &extra, DONE].concat();
            for end in ["\n", "\r\n", "\r"] {
                let (stream, kept) =
                    (stream.replace('\n', end), without_null(&[CONTENT, DONE].concat()).replace('\n', end));
                for size in 1..stream.len() {
                    assert_eq!(stripped(&stream, &[size]), kept, "{end:?}, pieces of {size}");
                }
            }
        }
    }
}

#[test]
fn a_chunk_with_an_answer_keeps_its_usage() {
    for choice in [
        r#"{"index":0,"delta":{"content":"a"}}"#,
        r#"{"index":0,"delta":{"role":"assistant","content":""}}"#,
        r#"{"index":0,"delta":{},"finish_reason":"stop"}"#,
        r#"{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":""}}]}}"#,
        r#"{"index":0,"delta":{},"logprobs":{"content":[{"token":"a"}]}}"#,
        r#"{"index":0,"delta":{"audio":{"data":"AA"}}}"#,
        r#"{"index":0,"text":" "}"#,
        r#"{"index":0,"delta":{}},{"index":1,"delta":{"content":"a"}}"#,
        "1",
    ] {
        let stream = format!("data: {{\"choices\":[{choice}],\"usage\":{{\"prompt_tokens\":1}}}}\n\n");
        for size in 1..=stream.len() {
            assert_eq!(stripped(&stream, &[size]), stream, "pieces of {size}");
        }
    }
}

/// The bytes that pass before the stream ends.
fn passes(bytes: &str) -> String {
    let mut whole = UsageChunkFilter::new();
    let whole = whole.push(bytes.as_bytes()).into_owned();
    let mut each = UsageChunkFilter::new();
    let each: Vec<u8> = bytes.as_bytes().chunks(1).flat_map(|byte| each.push(byte).into_owned()).collect();
    assert_eq!(whole, each, "{bytes}");
    String::from_utf8(whole).unwrap()
}

#[test]
fn nothing_is_held_that_cannot_be_the_extra_chunk() {
    for bytes in [
        ":",
        ": ping",
        ": ping\n",
        ": ping\n\n: pi",
        "retry: 100\n",
        "\u{feff}data: [DO",
        "data: [",
        "data: [DONE]",
        "data: [DONE]\n",
        "data: the end",
        "data: 1",
        "data: {\"id\":\"c\"}",
        "data: {\"error\":{\"message\":\"x\"}}",
        "data: {\"choices\":[],\"prompt_filter_results\":[]}",
        "event: x\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"x\":1,\"y\":[",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usages\":n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n: ping",
    ] {
        assert_eq!(passes(bytes), bytes);
    }
    // After an event of each kind.
    for before in [CONTENT, EXTRA, DONE] {
        let kept = passes(before);
        for next in [": ping\r\n", "data: [DONE]", "data: {\"id\":1}", "\n"] {
            assert_eq!(passes(&(before.to_owned() + next)), kept.clone() + next);
        }
    }
}

#[test]
fn the_null_of_a_chunk_is_all_that_is_held_of_it() {
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]";
    for null in [",", ",\"us", ", \"usage\" : nul", ",\"usage\":null", ",\"usage\":null "] {
        assert_eq!(passes(&[chunk, null].concat()), chunk);
    }
    for (rest, passed) in [
        (",\"usage\":null}", "}"),
        (",\"usage\":null,", ""),
        (",\"usage\":null,\"x\":", ",\"x\":"),
        (",\"usage\":1,\"x\":", ",\"usage\":1,\"x\":"),
        (",\"x\":{\"usage\":null", ",\"x\":{\"usage\":null"),
    ] {
        assert_eq!(passes(&[chunk, rest].concat()), [chunk, passed].concat());
    }
    let spaces = ",".to_owned() + &" ".repeat(1_000) + "\"usage\":null}\n\n";
    assert_eq!(passes(&[chunk, &spaces].concat()), [chunk, &spaces].concat(), "an unusually long null stays");
}

#[test]
fn held_bytes_are_no_whole_event_but_the_extra_one() {
    // A stream that ends after any of its bytes: what the client misses is no event.
    let azure = "data: {\"choices\":[],\"usage\":null,\"prompt_filter_results\":[{}]}\n\n";
    let stream = [": c\n\n", azure, CONTENT, "event: x\ndata: {\"id\":1}\n\n", EXTRA, DONE].concat();
    for cut in 0..stream.len() {
        let sent = &stream[..cut];
        let passed = passes(sent);
        let mut strip = UsageChunkFilter::new();
        strip.push(sent.as_bytes());
        let held = String::from_utf8(strip.finish()).unwrap();
        assert!(!held.contains('\u{feff}') && stripped(sent, &[cut.max(1)]) == passed.clone() + &held);
        for data in held.lines().filter_map(|line| line.strip_prefix("data: ")) {
            assert!(serde_json::from_str::<serde_json::Value>(data).is_err(), "held: {held}");
        }
    }
}

#[test]
fn comments_within_the_extra_event_pass() {
    let stream = "id: 1\n: a\ndata: {\"choices\":[],\"usage\":{}}\n: b\n\ndata: [DONE]\n\n";
    for end in ["\n", "\r\n", "\r"] {
        let (stream, kept) = (stream.replace('\n', end), ": a\n: b\ndata: [DONE]\n\n".replace('\n', end));
        for size in 1..=stream.len() {
            assert_eq!(stripped(&stream, &[size]), kept, "{end:?}, pieces of {size}");
        }
    }
}

#[test]
fn an_extra_chunk_without_its_blank_line_is_removed() {
    for end in ["", "\n", "\r\n"] {
        let stream = [CONTENT, EXTRA.trim_end(), end].concat();
        assert_eq!(stripped(&stream, &[7]), without_null(CONTENT));
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

/// Members of a chunk, some of which resemble the null or contain one.
const MEMBERS: [&str; 19] = [
    r#""id":"c""#,
    r#""choices":[{"index":0,"delta":{"content":"a"}}]"#,
    r#""choices":[]"#,
    r#""choices":[{"delta":{}}]"#,
    r#""choices":{}"#,
    r#""usage":null"#,
    r#""usage":null"#,
    r#""usage": null"#,
    r#""usage":{"prompt_tokens":1}"#,
    r#""usage":[1]"#,
    r#""x":{"n":1,"usage":null}"#,
    r#""x":{"n":1,"usage":null,"m":2}"#,
    r#""x":[{"n":1,"usage":null},2]"#,
    r#""x":"}""#,
    r#""x":",\"usage\":null""#,
    r#""x\"usage":null"#,
    r#""\u0075sage":null"#,
    r#""usagex":null"#,
    r#""obfuscation":"a\\""#,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]
    #[test]
    fn whole_events_and_pieces_are_filtered_alike(
        members in proptest::collection::vec(proptest::sample::select(&MEMBERS[..]), 0..5),
        comma in proptest::sample::select(&[",", ",", ", ", " ,", ",\ndata:", "\n: c\n"][..]),
        around in proptest::sample::select(&[("{", "}"), ("{ ", " }"), ("[{", "}]"), ("{\"y\":{", "}}"), ("{", "} x")][..]),
        line in proptest::sample::select(&["data: ", "data:", "event: x\ndata: ", "data: {\ndata:", ": c\ndata: ", "dat"][..]),
        end in proptest::sample::select(&["\n\n", "\r\n\r\n", "\r\r", " \n\n", "\n"][..]),
        sizes in proptest::collection::vec(1..40_usize, 1..6),
    ) {
        let event = [line, around.0, &members.join(comma), around.1, end].concat();
        let stream = [&event, DONE, &event, EXTRA, ": ping\n\n", &event].concat();
        let whole = stripped(&stream, &[stream.len()]);
        prop_assert_eq!(&stripped(&stream, &[1]), &whole, "byte by byte: {}", stream);
        prop_assert_eq!(&stripped(&stream, &sizes), &whole, "{}", stream);
        prop_assert_eq!(passes(&stream).len() <= whole.len(), true);
    }
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
