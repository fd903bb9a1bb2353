//! Recorded responses of providers, metered as a whole and cut everywhere.
//!
//! `TOLLGATE_RECORDINGS` names a folder of recorded responses with a `manifest.json`; without it the
//! project's own samples are read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use tollgate_core::api::Api;
use tollgate_core::llm::usage::{UsageMeter, UsageReport};
use tollgate_core::money::Pico;

/// Below this size every cut is tried.
const SMALL: usize = 4000;

struct Recording {
    name: String,
    api: Api,
    content_type: &'static str,
    bytes: Vec<u8>,
    /// Input, output, cached input, reasoning.
    figures: [u64; 4],
    /// The input that was written to a cache, if the manifest has it.
    cache_write: Option<u64>,
    /// Figures that only some prices depend on, and the service tier; `None` if the manifest does not have them.
    details: Option<Value>,
}

fn folders() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    std::env::var_os("TOLLGATE_RECORDINGS").map(PathBuf::from).into_iter().chain([own]).collect()
}

fn recordings() -> Vec<Recording> {
    folders().iter().flat_map(|folder| read_folder(folder)).collect()
}

fn read_folder(folder: &Path) -> Vec<Recording> {
    let manifest = fs::read(folder.join("manifest.json")).expect("the manifest is readable");
    let manifest: Vec<Value> = serde_json::from_slice(&manifest).expect("the manifest is a list");
    assert!(!manifest.is_empty());
    let has_details = manifest.iter().any(|entry| !entry["details"].is_null());
    let read = |entry: &Value| {
        let name = entry["file"].as_str().expect("a file name").to_owned();
        let figure = |name: &str| entry["usage"][name].as_u64().expect("a figure");
        Recording {
            api: Api::named(entry["api"].as_str().unwrap()).expect("an API"),
            content_type: if entry["stream"] == true { "text/event-stream" } else { "application/json" },
            bytes: fs::read(folder.join(&name)).expect("the recording is readable"),
            figures: ["input", "output", "cached_input", "reasoning"].map(figure),
            cache_write: entry["usage"]["cache_write"].as_u64(),
            details: has_details.then(|| entry["details"].clone()),
            name,
        }
    };
    manifest.iter().map(read).collect()
}

fn metered<'a>(
    api: Api,
    content_type: Option<&str>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> UsageReport {
    let mut meter = UsageMeter::new(api, content_type);
    for piece in pieces {
        meter.push(piece);
    }
    meter.finish()
}

impl Recording {
    fn metered<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> UsageReport {
        metered(self.api, Some(self.content_type), pieces)
    }
}

/// Meters a response of which everything is read.
fn detailed<'a>(recording: &Recording, pieces: impl IntoIterator<Item = &'a [u8]>) -> UsageReport {
    let mut meter = UsageMeter::new(recording.api, Some(recording.content_type)).with_details();
    for piece in pieces {
        meter.push(piece);
    }
    meter.finish()
}

fn figures(metered: &UsageReport) -> Option<[u64; 4]> {
    metered.usage.map(|usage| [usage.input, usage.output, usage.cached_input, usage.reasoning])
}

#[test]
fn every_recording_has_the_manifests_figures() {
    for recording in recordings() {
        let whole = recording.metered([recording.bytes.as_slice()]);
        assert_eq!(figures(&whole), Some(recording.figures), "{}", recording.name);
        if recording.cache_write.is_some() {
            let written = whole.usage.map(|usage| usage.cache_write);
            assert_eq!(written, recording.cache_write, "{}", recording.name);
        }
        assert!(!whole.failed, "{}", recording.name);
        assert_eq!(
            metered(recording.api, None, [recording.bytes.as_slice()]),
            whole,
            "{} without a type",
            recording.name
        );
    }
}

#[test]
fn a_whole_response_is_metered_alike() {
    for recording in recordings() {
        let mut meter = UsageMeter::new(recording.api, Some(recording.content_type));
        meter.push_whole(&recording.bytes);
        let (whole, pieces) = (meter.finish(), recording.metered([recording.bytes.as_slice()]));
        let of = |metered: UsageReport| (metered.usage, metered.complete, metered.closed);
        assert_eq!(of(whole), of(pieces), "{}", recording.name);
    }
}

#[test]
fn cuts_change_nothing() {
    for recording in recordings() {
        let whole = recording.metered([recording.bytes.as_slice()]);
        assert_eq!(recording.metered(recording.bytes.chunks(1)), whole, "{} byte by byte", recording.name);
        let step = if recording.bytes.len() <= SMALL { 1 } else { recording.bytes.len() / 100 };
        for cut in (0..recording.bytes.len()).step_by(step) {
            let (head, tail) = recording.bytes.split_at(cut);
            assert_eq!(recording.metered([head, tail]), whole, "{} cut at {cut}", recording.name);
        }
    }
}

#[test]
fn every_recording_has_the_manifests_details() {
    for recording in recordings() {
        let Recording { name, details, bytes, .. } = &recording;
        let whole = detailed(&recording, [bytes.as_slice()]);
        let usage = whole.usage.unwrap();
        for (figure, found) in [
            ("cache_write_1h", usage.cache_write_1h),
            ("input_audio", usage.input_audio),
            ("output_audio", usage.output_audio),
            ("input_image", usage.input_image),
            ("output_image", usage.output_image),
            ("searches", whole.searches),
        ] {
            let Some(details) = details else { continue };
            // Image models report no parts if all of their output is images.
            let all =
                if figure == "output_image" && recording.api == Api::OpenAiImages { usage.output } else { 0 };
            assert_eq!(found, details[figure].as_u64().unwrap_or(all), "{name}: {figure}");
        }
        let details = details.as_ref().unwrap_or(&Value::Null);
        if let Some(cost) = details["cost"].as_u64() {
            assert_eq!(whole.cost, Some(Pico(cost.into())), "{name}");
        }
        if let Some(tier) = details["tier"].as_str() {
            assert_eq!(whole.tier.as_deref(), Some(tier), "{name}");
        }
        let plain = recording.metered([bytes.as_slice()]);
        assert_eq!((plain.tier, plain.usage, plain.cost), (None, whole.usage, whole.cost), "{name}");
        let of = |metered: &UsageReport| {
            (metered.complete, metered.closed, metered.failed, metered.output_seen_tokens)
        };
        let plain = recording.metered([bytes.as_slice()]);
        assert_eq!(of(&plain), of(&whole), "{name}");
    }
}

#[test]
fn cuts_change_no_details() {
    for recording in recordings() {
        let Recording { name, bytes, .. } = &recording;
        let whole = detailed(&recording, [bytes.as_slice()]);
        assert_eq!(detailed(&recording, bytes.chunks(1)), whole, "{name} byte by byte");
        let step = if bytes.len() <= SMALL { 1 } else { bytes.len() / 100 };
        for cut in (0..bytes.len()).step_by(step) {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(detailed(&recording, [head, tail]), whole, "{name} cut at {cut}");
        }
        let mut meter = UsageMeter::new(recording.api, Some(recording.content_type)).with_details();
        meter.push_whole(bytes);
        assert_eq!(meter.finish(), whole, "{name} as a whole");
    }
}

#[test]
fn other_line_ends_change_nothing() {
    for recording in recordings().iter().filter(|recording| recording.content_type == "text/event-stream") {
        let text = String::from_utf8(recording.bytes.clone()).expect("recordings are UTF-8");
        let text = text.replace("\r\n", "\n");
        let whole = recording.metered([text.as_bytes()]);
        for end in ["\r\n", "\r"] {
            let other = text.replace('\n', end);
            let other = other.as_bytes();
            assert_eq!(recording.metered([other]), whole, "{}", recording.name);
            for size in [1, 7, 64, 1500] {
                assert_eq!(
                    recording.metered(other.chunks(size)),
                    whole,
                    "{} in pieces of {size}",
                    recording.name
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn random_pieces_change_nothing(sizes in proptest::collection::vec(1_usize..4000, 1..40)) {
        for recording in recordings() {
            let whole = recording.metered([recording.bytes.as_slice()]);
            let mut rest = recording.bytes.as_slice();
            let mut pieces = Vec::new();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, others) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = others;
            }
            prop_assert_eq!(recording.metered(pieces), whole, "{}", recording.name);
        }
    }
}

#[test]
fn an_aborted_stream_reports_the_output_seen() {
    let stream = include_bytes!("samples/messages.sse");
    let end = stream.windows(20).position(|part| part == b"event: message_delta").expect("the sample has it");
    let broken = metered(Api::AnthropicMessages, Some("text/event-stream"), [&stream[..end]]);
    assert!(!broken.complete);
    assert_eq!(broken.usage.map(|usage| usage.input), Some(30));
    assert_eq!(broken.output_seen_tokens, 1);
    assert!(metered(Api::AnthropicMessages, Some("text/event-stream"), [stream.as_slice()]).complete);
}

#[test]
fn whole_recordings_are_complete_and_cut_documents_are_not() {
    for recording in recordings().iter().filter(|recording| recording.content_type == "application/json") {
        assert!(recording.metered([recording.bytes.as_slice()]).complete, "{}", recording.name);
        let half = &recording.bytes[..recording.bytes.len() / 2];
        assert!(!recording.metered([half]).complete, "{}", recording.name);
    }
}

#[test]
fn sound_holds_no_usage() {
    let sound =
        metered(Api::OpenAiAudio, Some("audio/mpeg"), [br#"{"usage":{"input_tokens":1}}"#.as_slice()]);
    let expected = UsageReport { uncounted: true, complete: true, ..UsageReport::default() };
    assert_eq!(sound, expected);
    assert!(!metered(Api::OpenAiAudio, Some("audio/mpeg"), []).uncounted, "nothing came");
}

#[test]
fn json_that_is_labelled_as_text_is_read() {
    let answer = br#" {"usage":{"prompt_tokens":1,"completion_tokens":2}}"#.as_slice();
    for content_type in ["text/plain", "text/plain; charset=utf-8"] {
        for size in [1, answer.len()] {
            let metered = metered(Api::OpenAiChat, Some(content_type), answer.chunks(size));
            assert_eq!((figures(&metered), metered.closed), (Some([1, 2, 0, 0]), true));
        }
    }
    let transcript = metered(Api::OpenAiAudio, Some("text/plain"), [b"Good morning.".as_slice()]);
    assert_eq!((transcript.usage, transcript.uncounted, transcript.complete), (None, true, true));
    // The caller chooses what a recording says.
    for said in [r#"{"error":"x"}"#, r#"{"usage":{"input_tokens":0,"output_tokens":0}}"#] {
        for size in [1, said.len()] {
            let metered = metered(Api::OpenAiAudio, Some("text/plain"), said.as_bytes().chunks(size));
            assert_eq!((metered.usage, metered.failed, metered.uncounted), (None, false, true), "{said}");
        }
    }
}

#[test]
fn output_other_than_text_is_uncounted() {
    let events = Some("text/event-stream");
    for (api, content_type, answer, uncounted) in [
        (
            Api::OpenAiImages,
            events,
            r#"data: {"type":"image_generation.partial_image","b64_json":"AA"}"#,
            true,
        ),
        (Api::OpenAiImages, Some("application/json"), r#"{"data":[{"b64_json":"AA"#, true),
        (Api::OpenAiAudio, events, r#"data: {"type":"speech.audio.delta","audio":"AA"}"#, true),
        (Api::OpenAiAudio, events, r#"data: {"type":"transcript.text.delta","delta":"a"}"#, false),
        (Api::OpenAiChat, events, r#"data: {"choices":[{"delta":{"role":"assistant"}}]}"#, false),
        (Api::OpenAiChat, Some("image/png"), "\u{1}", true),
    ] {
        let answer = format!("{answer}\n\n");
        assert_eq!(metered(api, content_type, [answer.as_bytes()]).uncounted, uncounted, "{answer}");
    }
}

#[test]
fn unreadable_documents_are_not_taken_for_truncated() {
    let deep = format!(r#"{{"input":{}{},"usage":{{"input_tokens":1}}}}"#, "[".repeat(600), "]".repeat(600));
    for answer in [deep.as_str(), "data: {\"usage\":null}\n\n", "{]"] {
        let metered = metered(Api::AnthropicMessages, Some("application/json"), [answer.as_bytes()]);
        assert_eq!((metered.usage, metered.complete, metered.closed), (None, true, false), "{answer}");
    }
}

#[test]
fn passes_not_included_in_the_usage_are_added() {
    let usage = r#"{"input_tokens":23000,"iterations":[
        {"type":"compaction","input_tokens":180000,"output_tokens":3500,"cache_creation":{"input_tokens":1}},
        {"type":"message","input_tokens":23000,"output_tokens":1000},
        {"input_tokens":10,"output_tokens":5,"cache_read_input_tokens":3,"cache_creation_input_tokens":2,
         "type":"advisor_message","model":"m"}],"output_tokens":1000}"#
        .replace('\n', "");
    let plain = r#"{"input_tokens":23000,"output_tokens":1}"#;
    let none = r#"{"output_tokens":1000,"iterations":null}"#;
    let document = format!(r#"{{"content":[],"usage":{usage}}}"#);
    let event = |usage: &str| {
        format!("event: message_delta\ndata: {{\"type\":\"message_delta\",\"usage\":{usage}}}\n\n")
    };
    let start = format!("data: {{\"type\":\"message_start\",\"message\":{{\"usage\":{plain}}}}}\n\n");
    // Passes that are reported twice, and then not at all, are added once.
    let stream = [start, event(&usage), event(&usage), event(none)].concat();
    for (content_type, answer) in [("application/json", document), ("text/event-stream", stream)] {
        for size in 1..=answer.len() {
            let metered = metered(Api::AnthropicMessages, Some(content_type), answer.as_bytes().chunks(size));
            assert_eq!(figures(&metered), Some([203_015, 4_505, 3, 0]), "{content_type} in pieces of {size}");
            assert_eq!(metered.usage.map(|usage| usage.cache_write), Some(2));
        }
    }
}

#[test]
fn the_total_of_gemini_completes_missing_figures() {
    for (usage, written) in [
        (r#"{"promptTokenCount":9,"totalTokenCount":281}"#, 272),
        (
            r#"{"promptTokenCount":9,"candidatesTokenCount":28,"toolUsePromptTokenCount":1,"totalTokenCount":282}"#,
            272,
        ),
        (r#"{"promptTokenCount":9,"candidatesTokenCount":28,"thoughtsTokenCount":244}"#, 272),
        (r#"{"promptTokenCount":9,"totalTokenCount":9}"#, 0),
    ] {
        let answer = format!(r#"{{"usageMetadata":{usage}}}"#);
        let metered = metered(Api::GeminiGenerate, Some("application/json"), [answer.as_bytes()]);
        assert_eq!(metered.usage.map(|usage| usage.output), Some(written), "{usage}");
    }
}
