//! The memory that the filter keeps for a body.

mod modules;

use serde_json::json;
use tollgate_core::secret::api_key::{digest, format_digest};
use tollgate_host::proxy_wasm::{Ending, Flow, HeaderMap, Log, Process, StreamInfo};
use tollgate_host::server::BUFFER_LIMIT;

const KEY: &str = "a-key-of-another-gateway";

/// Returns the memory of a VM after a chat of this size, in chunks as from a proxy.
fn memory_after(size: usize) -> usize {
    let configuration = json!({"policy": {
        "version": 1,
        "targets": {"gpt-5-mini": {}},
        "organizations": {"acme": {"name": "Acme", "access": {"targets": ["*"]}}},
        "teams": {"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 5}}},
        "keys": {"laptop": {"team": "ml", "digest": format_digest(&digest(KEY.as_bytes()))}},
    }});
    let process = Process::builder(&modules::filter())
        .log(Log::discard())
        .buffer_limit(BUFFER_LIMIT)
        .start(configuration.to_string().as_bytes())
        .unwrap();
    let mut vm = process.worker().unwrap();
    let bearer = format!("Bearer {KEY}");
    let head = HeaderMap::from([
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "gateway"),
        (":scheme", "http"),
        ("content-type", "application/json"),
        ("authorization", &bearer),
    ]);
    let empty = json!({"model": "gpt-5-mini", "messages": [{"role": "user", "content": ""}]}).to_string();
    let words = "many words \\n".repeat(size / 12 + 1);
    let body = empty.replace(
        "\"content\":\"\"",
        &format!("\"content\":\"{}\"", &words[..(size - empty.len()) / 12 * 12]),
    );

    let stream = vm.open(StreamInfo::default()).unwrap();
    assert_eq!(vm.request_headers(stream, head, false).unwrap(), Flow::Hold);
    let pieces: Vec<_> = body.as_bytes().chunks(16 * 1024).collect();
    for (position, piece) in pieces.iter().enumerate() {
        let flow = vm.request_body(stream, piece, position + 1 == pieces.len()).unwrap();
        assert_eq!(matches!(flow, Flow::Forward(_)), position + 1 == pieces.len(), "{position}");
    }
    vm.close(stream, &Ending::Complete).unwrap();
    vm.memory_size()
}

#[test]
fn a_body_of_ten_mebibytes_costs_the_vm_no_more_memory_than_one_of_a_hundred_kibibytes() {
    const LARGE: usize = 10 << 20;
    assert_eq!(memory_after(LARGE), memory_after(100 << 10));
}
