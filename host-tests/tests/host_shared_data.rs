//! The dialects of shared data, with a test for each measurement on real hosts.

mod modules;

use modules::from_wat;
use tollgate_host::proxy_wasm::{Dialect, Log, Process, SharedData, Status, StreamInfo};

const KEY: &[u8] = b"tollgate/1/team";

fn value(data: &SharedData, key: &[u8]) -> Option<Vec<u8>> {
    data.get(key).ok().map(|(value, _)| value)
}

#[test]
fn a_missing_key_with_cas_zero_is_inserted() {
    for dialect in [Dialect::Envoy, Dialect::InsertIfAbsent] {
        let data = SharedData::new(dialect);
        assert_eq!(data.set(KEY, Some(b"a"), 0), Ok(()));
        assert_eq!(value(&data, KEY).as_deref(), Some(&b"a"[..]));
    }
}

#[test]
fn a_missing_key_with_a_cas_is_inserted_on_envoy_and_mismatches_with_insert_if_absent() {
    let envoy = SharedData::new(Dialect::Envoy);
    assert_eq!(envoy.set(KEY, Some(b"a"), u32::MAX), Ok(()));
    assert_eq!(value(&envoy, KEY).as_deref(), Some(&b"a"[..]));
    let strict = SharedData::new(Dialect::InsertIfAbsent);
    assert_eq!(strict.set(KEY, Some(b"a"), u32::MAX), Err(Status::CasMismatch));
    assert_eq!(value(&strict, KEY), None);
}

#[test]
fn an_existing_key_with_cas_zero_is_overwritten_on_envoy_and_mismatches_with_insert_if_absent() {
    for (dialect, answer, left) in
        [(Dialect::Envoy, Ok(()), b"b"), (Dialect::InsertIfAbsent, Err(Status::CasMismatch), b"a")]
    {
        let data = SharedData::new(dialect);
        data.set(KEY, Some(b"a"), 0).unwrap();
        assert_eq!(data.set(KEY, Some(b"b"), 0), answer, "{dialect:?}");
        assert_eq!(value(&data, KEY).as_deref(), Some(&left[..]));
    }
}

#[test]
fn an_existing_key_with_a_wrong_cas_mismatches() {
    for dialect in [Dialect::Envoy, Dialect::InsertIfAbsent] {
        let data = SharedData::new(dialect);
        data.set(KEY, Some(b"a"), 0).unwrap();
        let (_, cas) = data.get(KEY).unwrap();
        assert_eq!(data.set(KEY, Some(b"b"), cas + 1), Err(Status::CasMismatch));
        assert_eq!(data.set(KEY, Some(b"b"), cas), Ok(()));
        assert_eq!(data.set(KEY, Some(b"c"), cas), Err(Status::CasMismatch), "each number is good once");
        assert_eq!(value(&data, KEY).as_deref(), Some(&b"b"[..]));
    }
}

#[test]
fn set_none_stores_an_empty_value() {
    let envoy = SharedData::new(Dialect::Envoy);
    envoy.set(KEY, Some(b"a"), 0).unwrap();
    let (_, cas) = envoy.get(KEY).unwrap();
    envoy.set(KEY, None, cas).unwrap();
    assert_eq!(value(&envoy, KEY), Some(vec![]));
}

#[test]
fn keys_differ_by_their_full_name() {
    let (one, other) = (b"user-91499", b"user-27860002");
    let envoy = SharedData::new(Dialect::Envoy);
    envoy.set(one, Some(b"a"), 0).unwrap();
    assert_eq!(value(&envoy, other), None);
}

#[test]
fn cas_numbers_are_one_series() {
    let data = SharedData::new(Dialect::Envoy);
    data.set(b"a", Some(b"1"), 0).unwrap();
    data.set(b"b", Some(b"1"), 0).unwrap();
    let first = data.get(b"a").unwrap().1;
    data.set(b"a", Some(b"2"), first).unwrap();
    assert_eq!([first, data.get(b"b").unwrap().1, data.get(b"a").unwrap().1], [1, 2, 3]);
}

#[test]
fn a_forgetful_host_says_ok_and_keeps_nothing() {
    let data = SharedData::new(Dialect::Forgetful);
    assert_eq!(data.set(KEY, Some(b"a"), 0), Ok(()));
    assert_eq!(data.set(KEY, Some(b"a"), 9), Ok(()));
    assert_eq!(data.get(KEY), Err(Status::NotFound));
}

#[test]
fn a_host_without_shared_data_answers_unimplemented() {
    let data = SharedData::new(Dialect::Unimplemented);
    assert_eq!(data.set(KEY, Some(b"a"), 0), Err(Status::Unimplemented));
    assert_eq!(data.get(KEY), Err(Status::Unimplemented));
    assert_eq!(Status::Unimplemented as u32, 12);
}

#[test]
fn all_vms_of_a_process_share_the_data_and_other_processes_do_not() {
    let module = modules::cells();
    let process = Process::builder(&module).log(Log::discard()).start(b"p").unwrap();
    for _ in 0..3 {
        let mut vm = process.worker().unwrap();
        let stream = vm.open(StreamInfo::default()).unwrap();
        vm.request_headers(stream, modules::post(), true).unwrap();
    }
    assert_eq!(value(process.shared_data(), b"cell"), Some(vec![3, 0, 0, 0]));
    let other = Process::builder(&module).log(Log::discard()).start(b"p").unwrap();
    assert!(other.shared_data().is_empty());
    let heir = Process::builder(&module).shared_data(process.shared_data().clone()).start(b"p").unwrap();
    assert_eq!(heir.shared_data().len(), 1);
}

/// The Rust SDK reads a null pointer as `None`.
#[test]
fn an_empty_value_comes_as_a_null_pointer() {
    let module = from_wat(
        r#"(module
            (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "keynulladdress")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
            (func (export "proxy_on_configure") (param i32 i32) (result i32)
              (drop (call $get (i32.const 16) (i32.const 3) (i32.const 64) (i32.const 68) (i32.const 72)))
              (if (i32.load (i32.const 64))
                (then (drop (call $log (i32.const 2) (i32.const 23) (i32.const 7))))
                (else (drop (call $log (i32.const 2) (i32.const 19) (i32.const 4)))))
              (i32.and (i32.eqz (i32.load (i32.const 68))) (i32.ne (i32.load (i32.const 72)) (i32.const 0)))))"#,
    );
    let data = SharedData::new(Dialect::Envoy);
    data.set(b"key", Some(b""), 0).unwrap();
    let (sink, log) = Log::capture();
    Process::builder(&module).shared_data(data).log(sink).start(b"").unwrap();
    assert_eq!(log.lines()[0].text, "null");
}
