//! Events that are only scanned are metered like events that are parsed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::api::Api;
use tollgate_core::llm::usage::{UsageMeter, UsageReport};

const APIS: [Api; 5] = [
    Api::OpenAiChat,
    Api::OpenAiResponses,
    Api::AnthropicMessages,
    Api::GeminiGenerate,
    Api::OpenAiEmbeddings,
];

/// Names and texts with a meaning in some API, and similar ones without.
const WORDS: [&str; 25] = [
    "content",
    "text",
    "delta",
    "type",
    "usage",
    "usageMetadata",
    "arguments",
    "reasoning_content",
    "us",
    "x\"content",
    "\":\"",
    "\"usage\":{",
    "message_stop",
    "response.completed",
    "output_tokens",
    "[DONE]",
    "error",
    "status",
    "object",
    "failed",
    "response",
    "choices",
    "meta",
    "tokens",
    "response.failed",
];

fn metered<'a>(api: Api, pieces: impl IntoIterator<Item = &'a [u8]>) -> UsageReport {
    let mut meter = UsageMeter::new(api, Some("text/event-stream"));
    pieces.into_iter().for_each(|piece| meter.push(piece));
    meter.finish()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![proptest::sample::select(&WORDS[..]).prop_map(Into::into), ".{0,30}", "[\"\\\\:{u\r\n]{0,6}"]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<u16>().prop_map(Into::into), text().prop_map(Into::into)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(text(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An event with some known members.
fn event() -> impl Strategy<Value = Value> {
    let word = || proptest::sample::select(&WORDS[..]);
    let value = prop_oneof![3 => word().prop_map(Value::from), 1 => value()];
    let members = proptest::collection::vec((word(), value), 1..5);
    members.prop_map(|members| {
        Value::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_stream_is_metered_alike_in_whole_events_and_byte_by_byte(
        events in proptest::collection::vec(prop_oneof![value(), event()], 1..4),
        spaced in any::<bool>(),
        escaped in any::<bool>(),
        named in proptest::sample::select(&["", "", "event: error", "event:error", "event: errors", "event: x", "e"][..]),
        end in proptest::sample::select(&["\n", "\r\n", "\r"][..]),
    ) {
        let written = |event: &Value| match spaced {
            true => serde_json::to_string_pretty(event).unwrap().replace('\n', ""),
            false => event.to_string(),
        };
        let written = |event: &Value| match escaped {
            true => written(event)
                .replace("\"usage", "\"\\u0075sage")
                .replace("typ", "t\\u0079p")
                .replace("message_", "message\\u005f"),
            false => written(event),
        };
        let first = if named.is_empty() { String::new() } else { format!("{named}{end}") };
        let events: Vec<String> =
            events.iter().map(|event| format!("{first}data: {}{end}{end}", written(event))).collect();
        let stream = events.concat();
        for api in APIS {
            let parsed = metered(api, stream.as_bytes().chunks(1));
            prop_assert_eq!(&metered(api, [stream.as_bytes()]), &parsed, "{:?} whole: {}", api, stream);
            let each = metered(api, events.iter().map(String::as_bytes));
            prop_assert_eq!(each, parsed, "{:?} in events: {}", api, stream);
        }
    }
}

#[test]
fn a_null_usage_is_skipped_and_a_usage_object_is_read() {
    let chunk = |usage: Value| format!("data: {}\n\n", json!({"choices": [{"usage": null}], "usage": usage}));
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 4});
    for stream in [
        chunk(usage.clone()) + &chunk(Value::Null),
        chunk(Value::Null) + &chunk(usage.clone()),
        chunk(Value::Null) + &format!("data: {{\"usage\":null,\"usage\":{usage}}}\n\n"),
    ] {
        let metered = metered(Api::OpenAiChat, [stream.as_bytes()]);
        assert_eq!(metered.usage.map(|usage| (usage.input, usage.output)), Some((3, 4)), "{stream}");
    }
}

/// A document like a response: known members at its top and below, and texts that resemble them.
fn document() -> impl Strategy<Value = Value> {
    let usage = prop_oneof![
        Just(
            json!({"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}})
        ),
        Just(json!({"input_tokens": 2, "output_tokens": 1})),
        value().prop_map(|other| json!({"input_tokens": 2, "iterations": [
            {"input_tokens": 8, "type": "compaction", "usage": other}, other, {"type": "message", "output_tokens": 1}
        ]})),
        Just(json!({"promptTokenCount": 4, "candidatesTokenCount": 6})),
        Just(Value::Null),
        value(),
    ];
    let name =
        proptest::sample::select(&["usage", "usageMetadata", "response", "message", "z", "a", "\\"][..]);
    let member = (name, prop_oneof![2 => usage, 2 => value(), 1 => event()]);
    let object = proptest::collection::vec(member, 0..4).prop_map(|members| {
        Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    });
    let wrapped =
        (proptest::sample::select(&["response", "message", "choices", "usage"][..]), object.clone())
            .prop_map(
                |(name, inner)| json!({name: inner, "z": "\"usage\":{", "usage": {"prompt_tokens": 1}}),
            );
    let listed = proptest::collection::vec(object.clone(), 0..3).prop_map(Value::Array);
    prop_oneof![4 => object, 2 => wrapped, 1 => listed]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn a_document_is_metered_alike_as_a_whole_and_byte_by_byte(
        document in document(),
        spaced in any::<bool>(),
        api in proptest::sample::select(&APIS[..]),
        cut in any::<Option<proptest::sample::Index>>(),
    ) {
        let mut written = match spaced {
            true => serde_json::to_string_pretty(&document).unwrap(),
            false => document.to_string(),
        };
        if let Some(cut) = cut {
            // A truncated document is never complete.
            let at = (0..=cut.index(written.len())).rev().find(|at| written.is_char_boundary(*at));
            written.truncate(at.unwrap_or(0));
        }
        let mut meter = UsageMeter::new(api, Some("application/json"));
        meter.push_whole(written.as_bytes());
        let whole = meter.finish();
        let mut meter = UsageMeter::new(api, Some("application/json"));
        written.as_bytes().chunks(1).for_each(|byte| meter.push(byte));
        let pieces = meter.finish();
        if pieces.closed {
            prop_assert_eq!((whole.usage, whole.complete, whole.closed), (pieces.usage, true, true), "{}", written);
        }
    }
}
