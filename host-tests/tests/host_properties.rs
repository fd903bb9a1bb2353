//! Properties in Envoy's encoding.

mod modules;

use modules::{from_wat, ok, post};
use tollgate_host::proxy_wasm::{Ending, HeaderMap, Log, LogLine, Process, StreamInfo};

/// A module that logs the property whose path is the configuration, in the request's headers and in `on_log`;
/// `status N` if there is none.
const READER: &str = r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 4096))
    (data (i32.const 32) "status  ")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
      (global.set $free (i32.add (global.get $free) (local.get $size)))
      (i32.sub (global.get $free) (local.get $size)))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 99) (i32.const 0) (i32.const 4)))
      (i32.const 1))
    (func $read (local $status i32)
      (local.set $status
        (call $property (i32.load (i32.const 0)) (i32.load (i32.const 4)) (i32.const 8) (i32.const 12)))
      (if (local.get $status)
        (then
          (i32.store8 (i32.const 39) (i32.add (i32.const 48) (local.get $status)))
          (drop (call $log (i32.const 2) (i32.const 32) (i32.const 8))))
        (else (drop (call $log (i32.const 2) (i32.load (i32.const 8)) (i32.load (i32.const 12)))))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $read) (i32.const 0))
    (func (export "proxy_on_log") (param i32) (call $read)))"#;

/// Returns the reader's lines of the request's headers and of `on_log`.
fn read(path: &[&str]) -> [String; 2] {
    let (sink, log) = Log::capture();
    let builder = Process::builder(&from_wat(READER)).log(sink).names("gate", "root", "vm");
    let process = builder.start(path.join("\0").as_bytes()).unwrap();
    let mut vm = process.worker().unwrap();
    let info = StreamInfo {
        source: Some("192.0.2.7:4711".parse().unwrap()),
        protocol: "HTTP/1.1".to_owned(),
        connection_id: 9,
        properties: [(vec!["metadata".to_owned(), "jwt".to_owned()], b"alice".to_vec())].into(),
        ..StreamInfo::default()
    };
    let id = vm.open(info).unwrap();
    let mut head = post();
    head.set(":path", "/chat?stream=1");
    vm.request_headers(id, head, false).unwrap();
    vm.request_body(id, b"12345", true).unwrap();
    vm.response_headers(id, HeaderMap::from([(":status", "201")]), true).unwrap();
    vm.close(id, &Ending::ClientGone).unwrap();
    let lines: Vec<LogLine> = log.lines();
    [lines[0].text.clone(), lines[1].text.clone()]
}

fn number(number: u64) -> String {
    String::from_utf8(number.to_le_bytes().to_vec()).unwrap()
}

const MISSING: &str = "status 1";

#[test]
fn numbers_are_eight_bytes() {
    assert_eq!(read(&["source", "port"])[0], "g\u{12}\0\0\0\0\0\0");
    assert_eq!(read(&["request", "size"]), [number(0), number(5)]);
    assert_eq!(read(&["connection_id"])[0], number(9));
}

#[test]
fn the_source_address_has_its_port() {
    assert_eq!(read(&["source", "address"])[0], "192.0.2.7:4711");
    assert_eq!(read(&["destination", "address"])[0], MISSING);
}

#[test]
fn the_request_is_read_from_its_headers() {
    let first = |path: &[&str]| read(path)[0].clone();
    assert_eq!(first(&["request", "path"]), "/chat?stream=1");
    assert_eq!(first(&["request", "url_path"]), "/chat");
    assert_eq!(first(&["request", "query"]), "stream=1");
    assert_eq!(first(&["request", "method"]), "POST");
    assert_eq!(first(&["request", "host"]), "gateway");
    assert_eq!(first(&["request", "headers", ":scheme"]), "http");
    assert_eq!(first(&["request", "protocol"]), "HTTP/1.1");
    assert_eq!(first(&["request", "no such"]), MISSING);
}

#[test]
fn the_ending_is_available_in_on_log() {
    let last = |path: &[&str]| read(path)[1].clone();
    assert_eq!(read(&["response", "code"])[0], MISSING);
    // 201 is not ASCII: its little-endian byte is shown as the replacement character.
    assert_eq!(last(&["response", "code"]), "\u{fffd}\0\0\0\0\0\0\0");
    assert_eq!(last(&["response", "code_details"]), "downstream_remote_disconnect");
    assert_eq!(last(&["response", "flags"]), number(1 << 14));
    assert_eq!(last(&["request", "path"]), "/chat?stream=1", "headers can be read again");
}

#[test]
fn plugin_names_and_the_embedder_s_properties_can_be_read() {
    assert_eq!(read(&["plugin_name"])[0], "gate");
    assert_eq!(read(&["plugin_root_id"])[0], "root");
    assert_eq!(read(&["plugin_vm_id"])[0], "vm");
    assert_eq!(read(&["metadata", "jwt"])[0], "alice");
    assert_eq!(read(&["metadata"])[0], MISSING);
}

#[test]
fn a_foreign_function_that_envoy_has_works_and_an_unknown_one_is_not_found() {
    let module = from_wat(
        r#"(module
            (import "env" "proxy_call_foreign_function" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "set_envoy_filter_state") (data (i32.const 32) "compress")
            (data (i32.const 64) "\0a\04team\12\04blue\18\01")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 1024))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (call $call (i32.const 0) (i32.const 22) (i32.const 64) (i32.const 14) (i32.const 0) (i32.const 0)))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
              (i32.ne (i32.const 1)
                (call $call (i32.const 32) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))"#,
    );
    let process = Process::builder(&module).log(Log::discard()).start(b"").unwrap();
    let mut vm = process.worker().unwrap();
    let id = vm.open(StreamInfo::default()).unwrap();
    assert!(vm.request_headers(id, post(), true).unwrap().forward().is_some(), "status 0");
    assert!(vm.response_headers(id, ok(), true).unwrap().forward().is_some(), "NotFound");
    assert_eq!(vm.close(id, &Ending::Complete).unwrap().properties["team"], b"blue");
}
