//! The shared data of nginx with WasmX is detected, and the configuration rejected with the reason.

mod modules;

use modules::filter;
use serde_json::json;
use tollgate_host::proxy_wasm::{Dialect, Log, LogLevel, Process, SharedData, StartError};

/// Returns the errors that the filter logs when it rejects its configuration with this shared data.
fn refused(data: &SharedData) -> Vec<String> {
    let (sink, log) = Log::capture();
    let builder = Process::builder(&filter()).shared_data(data.clone()).log(sink);
    let started = builder.start(json!({"policy": {"version": 1}}).to_string().as_bytes());
    assert!(matches!(started, Err(StartError::ConfigurationRefused)));
    let errors = log.lines().into_iter().filter(|line| line.level >= LogLevel::Error);
    errors.map(|line| line.text).collect()
}

#[test]
fn a_host_with_the_shared_data_of_nginx_with_wasmx_is_refused_with_the_reason() {
    let data = SharedData::new(Dialect::InsertIfAbsent);
    // The second start finds the record of the first one's probe.
    for _ in 0..2 {
        let [error] = &refused(&data)[..] else { panic!("one error") };
        for words in
            ["nginx with WasmX", "not supported", "held for its body hangs", "removed headers are still sent"]
        {
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(data.len(), 1, "the probe's record");
    }
}

#[test]
fn hosts_of_the_supported_dialects_are_not_refused() {
    for dialect in Dialect::SUPPORTED {
        let process = Process::builder(&filter()).dialect(dialect).log(Log::discard());
        process.start(json!({"policy": {"version": 1}}).to_string().as_bytes()).expect("it is supported");
    }
}
