//! Invalid modules, rejected with the reason.

mod modules;

use tollgate_host::proxy_wasm::{Log, Module, ModuleError, Process, StartError, Vm};

const ABI: &str = r#"(func (export "proxy_abi_version_0_2_1"))"#;
const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const ALLOCATOR: &str = r#"(func (export "malloc") (param i32) (result i32) (i32.const 1024))"#;

fn load(parts: &[&str]) -> Result<Module, ModuleError> {
    let text = format!("(module {})", parts.join("\n"));
    Module::from_bytes(&wat::parse_str(text).unwrap())
}

fn message(result: Result<Module, ModuleError>) -> String {
    result.expect_err("it is no filter").to_string()
}

#[test]
fn a_file_that_is_not_webassembly_is_rejected_with_its_content() {
    let text = message(Module::from_bytes(b"#!/bin/sh"));
    assert!(text.contains("not a WebAssembly module") && text.contains("#!/b"), "{text}");
    assert!(message(Module::from_bytes(b"")).contains("nothing"));
    assert!(message(Module::load("/nowhere/filter.wasm")).contains("/nowhere/filter.wasm"));
    assert!(matches!(Module::from_bytes(b"\0asm\x0d\0\x01\0"), Err(ModuleError::Component)));
    assert!(matches!(Module::from_bytes(b"\0asm\x01\0\0\0\xff"), Err(ModuleError::Invalid(_))));
}

#[test]
fn a_missing_export_is_reported_by_name() {
    assert!(matches!(load(&[]), Err(ModuleError::NotProxyWasm)));
    let old = load(&[r#"(func (export "proxy_abi_version_0_1_0"))"#]);
    assert!(message(old).contains("proxy_abi_version_0_1_0"));
    assert!(message(load(&[ABI])).contains("`memory`"));
    assert!(message(load(&[ABI, MEMORY])).contains("proxy_on_memory_allocate"));
    assert!(load(&[ABI, MEMORY, ALLOCATOR]).is_ok());
}

#[test]
fn an_unknown_import_is_reported_by_name() {
    let text = message(load(&[
        r#"(import "env" "proxy_teleport" (func))"#,
        r#"(import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32 i32) (result i32)))"#,
        r#"(import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))"#,
        ABI,
        MEMORY,
        ALLOCATOR,
    ]));
    assert!(text.contains("`env.proxy_teleport`, `wasi_snapshot_preview1.sock_accept`"), "{text}");
    assert!(!text.contains("proxy_log"));
}

#[test]
fn a_callback_of_a_wrong_type_is_reported_by_name() {
    let tick = r#"(func (export "proxy_on_tick") (param i32 i32))"#;
    let module = load(&[ABI, MEMORY, ALLOCATOR, tick]).unwrap();
    let error = Process::builder(&module).log(Log::discard()).start(b"").err().unwrap();
    assert!(error.to_string().contains("`proxy_on_tick`"), "{error}");
}

#[test]
fn a_module_without_callbacks_lets_everything_pass() {
    let module = load(&[ABI, MEMORY, ALLOCATOR]).unwrap();
    let process = Process::builder(&module).start(b"anything").unwrap();
    let mut vm = process.worker().unwrap();
    let id = vm.open(Default::default()).unwrap();
    let head = vm.request_headers(id, modules::post(), false).unwrap().forward().unwrap();
    assert_eq!(head.headers, Some(modules::post()));
    assert_eq!(vm.request_body(id, b"x", true).unwrap().forward().unwrap().body, b"x");
    vm.close(id, &Default::default()).unwrap();
}

#[test]
fn initialize_runs_before_anything_else() {
    let module = modules::from_wat(
        r#"(module (memory (export "memory") 1) (global $ready (mut i32) (i32.const 0))
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 1024))
            (func (export "_initialize") (global.set $ready (i32.const 1)))
            (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (global.get $ready)))"#,
    );
    Process::builder(&module).start(b"").unwrap();
}

#[test]
fn memory_over_the_limit_is_rejected_at_start_and_does_not_grow_later() {
    let module = load(&[ABI, r#"(memory (export "memory") 32)"#, ALLOCATOR]).unwrap();
    let start = |limit| Process::builder(&module).memory_limit(limit).log(Log::discard()).start(b"");
    assert!(start(2 << 20).is_ok());
    assert!(matches!(start(1 << 20), Err(StartError::Instance(_))));

    let grows = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
        (i32.eq (memory.grow (i32.const 40)) (i32.const -1)))"#;
    let module = load(&[ABI, MEMORY, ALLOCATOR, grows]).unwrap();
    Process::builder(&module)
        .memory_limit(2 << 20)
        .start(b"")
        .expect("growing failed, as the module wants it");
    assert!(matches!(
        Process::builder(&module).memory_limit(4 << 20).start(b""),
        Err(StartError::ConfigurationRefused)
    ));
}

#[test]
fn a_vm_can_be_sent_to_its_thread() {
    fn is_send<T: Send>() {}
    is_send::<Vm>();
    fn is_shared<T: Send + Sync + Clone>() {}
    is_shared::<Process>();
    is_shared::<Module>();
}
