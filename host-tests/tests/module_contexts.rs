//! Callbacks of the filter that hosts should not make: for unknown contexts, and within another callback. The dispatcher
//! of the `proxy-wasm` crate panics at each of them.

use std::sync::LazyLock;

use tollgate_host::build::module;
use wasmtime::{Caller, Engine, Extern, ExternType, Func, Instance, Linker, Module, Store, Val};

const CONTINUE: i32 = 0;
const PAUSE: i32 = 1;
const UNKNOWN: i32 = 99;
const ROOT: i32 = 1;
const STREAM: i32 = 2;

/// The results of the callbacks that were made within another one, with their names.
type Nested = Vec<(String, Option<i32>)>;

/// Both modules that are shipped.
static MODULES: LazyLock<[Module; 2]> = LazyLock::new(|| {
    let engine = Engine::default();
    [&[][..], &["bare"]].map(|features| Module::from_file(&engine, module::build(features).unwrap()).unwrap())
});

/// An instance of the filter in a host whose calls all return `Ok` and nothing else.
struct Filter {
    store: Store<Nested>,
    instance: Instance,
}

impl Filter {
    fn new(module: &Module) -> Filter {
        let mut store = Store::new(module.engine(), Vec::new());
        let mut linker = Linker::new(module.engine());
        linker.func_wrap("env", "proxy_send_local_response", send_local_response).unwrap();
        linker.define_unknown_imports_as_default_values(&mut store, module).unwrap();
        let instance = linker.instantiate(&mut store, module).unwrap();
        let mut filter = Filter { store, instance };
        filter.call("_initialize", &[]);
        filter
    }

    fn callbacks(&mut self) -> Vec<(String, Func)> {
        let exports = self.instance.exports(&mut self.store);
        let callbacks = exports.filter(|export| export.name().starts_with("proxy_on_"));
        let callbacks = callbacks.map(|export| (export.name().to_owned(), export.into_func().unwrap()));
        callbacks.filter(|(name, _)| name != "proxy_on_memory_allocate").collect()
    }

    /// Calls an export. Panics if the module traps.
    fn call(&mut self, name: &str, arguments: &[i32]) -> Option<i32> {
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let results = function.ty(&self.store).results().len();
        let arguments: Vec<Val> = arguments.iter().map(|value| Val::I32(*value)).collect();
        let mut result = vec![Val::I32(-1); results];
        function
            .call(&mut self.store, &arguments, &mut result)
            .unwrap_or_else(|trap| panic!("{name}: {trap:?}"));
        result.first().map(Val::unwrap_i32)
    }

    /// Calls a callback for a context, with zeros in its other parameters.
    fn callback(&mut self, name: &str, context: i32) -> Option<i32> {
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let mut arguments = vec![0; function.ty(&self.store).params().len()];
        arguments[0] = context;
        self.call(name, &arguments)
    }
}

/// A host that runs every callback again while the module sends a local response.
#[allow(clippy::too_many_arguments)] // The ABI has them.
fn send_local_response(
    mut caller: Caller<'_, Nested>,
    _: i32,
    _: i32,
    _: i32,
    _: i32,
    _: i32,
    _: i32,
    _: i32,
    _: i32,
) -> wasmtime::Result<i32> {
    for name in NESTED {
        let Some(Extern::Func(function)) = caller.get_export(name) else { continue };
        let kind = function.ty(&caller);
        let mut arguments = vec![Val::I32(0); kind.params().len()];
        arguments[0] = Val::I32(STREAM);
        let mut result = vec![Val::I32(-1); kind.results().len()];
        function.call(&mut caller, &arguments, &mut result)?;
        caller.data_mut().push((name.to_owned(), result.first().map(Val::unwrap_i32)));
    }
    Ok(0)
}

const NESTED: [&str; 9] = [
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
    "proxy_on_http_call_response",
    "proxy_on_tick",
    "proxy_on_log",
];

/// The result that keeps a stream safe: no request goes on undecided, and no response is held for ever.
fn safe(name: &str) -> Option<i32> {
    match name {
        "proxy_on_request_headers" | "proxy_on_request_body" | "proxy_on_request_trailers" => Some(PAUSE),
        "proxy_on_response_headers" | "proxy_on_response_body" | "proxy_on_response_trailers" => {
            Some(CONTINUE)
        }
        _ => None,
    }
}

#[test]
fn a_callback_for_an_unknown_context_does_not_trap_and_pauses_a_request() {
    for module in MODULES.iter() {
        let mut filter = Filter::new(module);
        let callbacks = filter.callbacks();
        assert!(callbacks.len() >= NESTED.len());
        for (name, _) in callbacks {
            let result = filter.callback(&name, UNKNOWN);
            if let Some(safe) = safe(&name) {
                assert_eq!(result, Some(safe), "{name}");
            }
        }
        assert_eq!(filter.callback("proxy_on_configure", UNKNOWN), Some(0), "no context, no configuration");
    }
}

#[test]
fn a_callback_within_a_callback_does_not_trap_and_pauses_a_request() {
    for module in MODULES.iter() {
        let mut filter = Filter::new(module);
        filter.call("proxy_on_context_create", &[ROOT, 0]);
        filter.call("proxy_on_context_create", &[STREAM, ROOT]);
        // Without a configuration the filter answers 503, in which the host runs the other callbacks.
        assert_eq!(filter.callback("proxy_on_request_headers", STREAM), Some(PAUSE));
        let nested = std::mem::take(filter.store.data_mut());
        assert_eq!(nested.len(), NESTED.len());
        for (name, result) in nested {
            assert_eq!(result, safe(&name), "{name}");
        }
    }
}

#[test]
fn a_context_of_an_unknown_root_or_with_a_used_id_answers_503() {
    for module in MODULES.iter() {
        let mut filter = Filter::new(module);
        for parent in [UNKNOWN, UNKNOWN, ROOT] {
            filter.call("proxy_on_context_create", &[STREAM, parent]);
            assert_eq!(filter.callback("proxy_on_request_headers", STREAM), Some(PAUSE));
            assert_eq!(std::mem::take(filter.store.data_mut()).len(), NESTED.len(), "a local response");
        }
        filter.callback("proxy_on_delete", STREAM);
        filter.callback("proxy_on_delete", STREAM);
    }
}

#[test]
fn a_response_to_an_unknown_callout_is_ignored() {
    for module in MODULES.iter() {
        let mut filter = Filter::new(module);
        filter.call("proxy_on_context_create", &[ROOT, 0]);
        filter.call("proxy_on_http_call_response", &[ROOT, 12345, 0, 0, 0]);
    }
}

#[test]
fn the_module_imports_no_host_call_that_it_does_not_make() {
    // The trait objects of the crate's own dispatcher would import all of them: some hosts have none.
    for import in MODULES.iter().flat_map(Module::imports) {
        let name = import.name();
        assert!(matches!(import.ty(), ExternType::Func(_)), "{name}");
        assert!(!name.contains("grpc") && !name.contains("queue") && !name.contains("foreign"), "{name}");
    }
}
