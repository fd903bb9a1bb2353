//! Recorded responses of providers through the module: whole and cut, with the manifest's figures in the
//! access log.
//!
//! `TOLLGATE_RECORDINGS` names a folder of recorded responses with a `manifest.json`; without it the
//! project's own samples are read.

mod filtered;

use std::path::{Path, PathBuf};

use filtered::{Filtered, configuration, logged};
use serde_json::{Value, json};
use tollgate_host::proxy_wasm::Ending;

/// Below this size every cut is tested.
const SMALL: usize = 1_500;
/// The number of cuts of a larger one.
const CUTS: usize = 20;

struct Recording {
    name: String,
    path: &'static str,
    content_type: &'static str,
    bytes: Vec<u8>,
    figures: [String; 3],
}

fn recordings() -> Vec<Recording> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin/core/tests/samples");
    let folders = std::env::var_os("TOLLGATE_RECORDINGS").map(PathBuf::from).into_iter().chain([own]);
    folders.flat_map(|folder| read_folder(&folder)).collect()
}

fn read_folder(folder: &Path) -> Vec<Recording> {
    let manifest = std::fs::read(folder.join("manifest.json")).expect("the manifest is readable");
    let manifest: Vec<Value> = serde_json::from_slice(&manifest).expect("the manifest is a list");
    assert!(!manifest.is_empty());
    let read = |entry: &Value| {
        let name = entry["file"].as_str().expect("a file name").to_owned();
        Recording {
            path: match entry["api"].as_str().expect("an API") {
                "openai-chat" => filtered::CHAT,
                "openai-completions" => "/v1/completions",
                "openai-responses" => "/v1/responses",
                "openai-embeddings" => "/v1/embeddings",
                "openai-images" => "/v1/images/generations",
                "openai-audio" => "/v1/audio/transcriptions",
                "rerank" => "/v1/rerank",
                "anthropic-messages" => "/v1/messages",
                "gemini-generate" => "/v1beta/models/small:streamGenerateContent",
                other => panic!("no API is called {other}"),
            },
            content_type: if entry["stream"] == true { "text/event-stream" } else { "application/json" },
            bytes: std::fs::read(folder.join(&name)).expect("the recording is readable"),
            figures: ["input", "output", "cached_input"].map(|figure| entry["usage"][figure].to_string()),
            name,
        }
    };
    manifest.iter().map(read).collect()
}

/// Passes the recording through the filter in these chunks, asserts that the client gets every byte, and
/// returns the figures of the log.
fn through(filter: &mut Filtered, recording: &Recording, pieces: &[&[u8]]) -> [String; 3] {
    // The client requests usage itself, so nothing is removed.
    let body = br#"{"model":"small","stream":true,"stream_options":{"include_usage":true}}"#;
    let (stream, _) = filter.admitted(recording.path, body);
    filter.answers(stream, "200", recording.content_type);
    let mut seen = Vec::new();
    for piece in pieces {
        seen.extend(filter.more(stream, piece, false));
    }
    seen.extend(filter.more(stream, b"", true));
    assert!(seen == recording.bytes, "{}", recording.name);
    let closed = filter.close(stream, &Ending::Complete);
    ["input_tokens", "output_tokens", "cached_tokens"]
        .map(|name| logged(&closed, name).unwrap_or("none").to_owned())
}

#[test]
fn every_recording_has_the_manifests_figures_whole_and_cut() {
    let mut filter = Filtered::new(&configuration(json!({}), json!({"max": "1000000000"})));
    let all = recordings();
    assert!(all.len() >= 8);
    for recording in &all {
        let bytes = recording.bytes.as_slice();
        assert_eq!(through(&mut filter, recording, &[bytes]), recording.figures, "{}", recording.name);
        for size in [7, 997] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(
                through(&mut filter, recording, &pieces),
                recording.figures,
                "{} in pieces of {size}",
                recording.name
            );
        }
        let step = if bytes.len() <= SMALL { 1 } else { bytes.len() / CUTS };
        for cut in (0..bytes.len()).step_by(step) {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(
                through(&mut filter, recording, &[head, tail]),
                recording.figures,
                "{} cut at {cut}",
                recording.name
            );
        }
    }
}
