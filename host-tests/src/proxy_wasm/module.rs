//! A compiled module that is a valid proxy-wasm filter.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Engine, ExternType, Instance, Store, TypedFunc, WasmParams, WasmResults};

use super::state::VmState;
use super::{ModuleError, calls};

/// A proxy-wasm module, compiled once and shared by all processes.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Compiled>,
}

struct Compiled {
    module: wasmtime::Module,
    size: usize,
}

impl Module {
    /// Reads and compiles a file in WebAssembly's binary format.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a proxy-wasm module for ABI 0.2.1 (or 0.2.0).
    pub fn load(path: impl AsRef<Path>) -> Result<Module, ModuleError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path)
            .map_err(|source| ModuleError::Unreadable { path: path.to_owned(), source })?;
        Module::from_bytes(&bytes)
    }

    /// Compiles a module.
    ///
    /// # Errors
    /// If the bytes are not a proxy-wasm module for ABI 0.2.1 (or 0.2.0).
    pub fn from_bytes(bytes: &[u8]) -> Result<Module, ModuleError> {
        check_magic(bytes)?;
        let module = wasmtime::Module::from_binary(&engine()?, bytes).map_err(invalid)?;
        Module::checked(module, bytes.len())
    }

    /// Loads the module `bytes` from machine code that [`Module::machine_code`] returned for it.
    ///
    /// Returns `None` if the machine code belongs to another module, or was made by another version of wasmtime or for
    /// another processor.
    ///
    /// # Errors
    /// As [`Module::from_bytes`].
    ///
    /// # Safety
    /// The machine code is executed unchecked, outside of the sandbox. It must come from [`Module::machine_code`], and must
    /// have been stored where only trusted programs can write.
    pub unsafe fn from_machine_code(bytes: &[u8], code: &[u8]) -> Result<Option<Module>, ModuleError> {
        let Some(code) = code.strip_prefix(code_key(bytes).as_slice()) else { return Ok(None) };
        // SAFETY: the caller guarantees the origin of the code. Version and processor are checked by wasmtime.
        match unsafe { wasmtime::Module::deserialize(&engine()?, code) } {
            Ok(module) => Module::checked(module, bytes.len()).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The machine code of this module, which was compiled from `bytes`: a digest, then the serialized code.
    ///
    /// # Errors
    /// If wasmtime cannot serialize the module.
    pub fn machine_code(&self, bytes: &[u8]) -> Result<Vec<u8>, ModuleError> {
        let mut code = code_key(bytes);
        code.extend(self.inner.module.serialize().map_err(invalid)?);
        Ok(code)
    }

    fn checked(module: wasmtime::Module, size: usize) -> Result<Module, ModuleError> {
        check_exports(&module)?;
        let module = Module { inner: Arc::new(Compiled { module, size }) };
        // Envoy's imports are all there are; another dialect is checked when a process starts.
        calls::link(&module)?;
        Ok(module)
    }

    /// Returns the size of the binary, in bytes.
    pub fn size(&self) -> usize {
        self.inner.size
    }

    /// The underlying wasmtime module, for tests that call its exports without a proxy-wasm host.
    pub fn compiled(&self) -> &wasmtime::Module {
        &self.inner.module
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({} bytes)", self.inner.size)
    }
}

fn engine() -> Result<Engine, ModuleError> {
    Engine::new(&Config::new()).map_err(invalid)
}

fn invalid(error: wasmtime::Error) -> ModuleError {
    ModuleError::Invalid(format!("{error:#}"))
}

fn check_magic(bytes: &[u8]) -> Result<(), ModuleError> {
    if !bytes.starts_with(b"\0asm") {
        let found = match bytes.get(..bytes.len().min(4)).unwrap_or_default() {
            [] => "nothing".to_owned(),
            start => format!("`{}`", start.escape_ascii()),
        };
        return Err(ModuleError::NotWasm { found });
    }
    // The second half of the version field is 1 for components and 0 for core modules.
    match bytes.get(4..8) {
        Some([_, _, 1, 0]) => Err(ModuleError::Component),
        _ => Ok(()),
    }
}

fn check_exports(module: &wasmtime::Module) -> Result<(), ModuleError> {
    let marker = "proxy_abi_version_";
    let versions: Vec<&str> =
        module.exports().map(|export| export.name()).filter(|name| name.starts_with(marker)).collect();
    if versions.is_empty() {
        return Err(ModuleError::NotProxyWasm);
    }
    if !versions.iter().any(|name| matches!(*name, "proxy_abi_version_0_2_1" | "proxy_abi_version_0_2_0")) {
        return Err(ModuleError::WrongAbi { found: versions.join(", ") });
    }
    if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
        return Err(ModuleError::MissingExport { missing: "its `memory`" });
    }
    let allocators = ["proxy_on_memory_allocate", "malloc"];
    if !allocators.iter().any(|name| module.get_export(name).is_some()) {
        let missing = "`proxy_on_memory_allocate` or `malloc`, which hosts need to pass data";
        return Err(ModuleError::MissingExport { missing });
    }
    Ok(())
}

/// A callback of the module; `None` if it is not exported.
type Callback<Parameters, Result = ()> = Option<TypedFunc<Parameters, Result>>;

/// The exported callbacks of a module.
pub(crate) struct Exports {
    pub(crate) allocate: TypedFunc<u32, u32>,
    pub(crate) initialize: Callback<()>,
    pub(crate) context_create: Callback<(u32, u32)>,
    pub(crate) vm_start: Callback<(u32, u32), u32>,
    pub(crate) configure: Callback<(u32, u32), u32>,
    pub(crate) tick: Callback<u32>,
    pub(crate) queue_ready: Callback<(u32, u32)>,
    pub(crate) request: Callbacks,
    pub(crate) response: Callbacks,
    pub(crate) http_call_response: Callback<(u32, u32, u32, u32, u32)>,
    pub(crate) log: Callback<u32>,
    pub(crate) done: Callback<u32, u32>,
    pub(crate) delete: Callback<u32>,
}

/// The callbacks of one direction.
pub(crate) struct Callbacks {
    pub(crate) headers: Callback<(u32, u32, u32), u32>,
    pub(crate) body: Callback<(u32, u32, u32), u32>,
    pub(crate) trailers: Callback<(u32, u32), u32>,
}

impl Exports {
    pub(crate) fn find(instance: &Instance, store: &mut Store<VmState>) -> Result<Exports, ModuleError> {
        let allocate = match typed(instance, store, "proxy_on_memory_allocate")? {
            Some(allocate) => allocate,
            None => typed(instance, store, "malloc")?
                .ok_or(ModuleError::MissingExport { missing: "`proxy_on_memory_allocate` or `malloc`" })?,
        };
        // A reactor exports `_initialize`, a command `_start`; a hand-written module may have neither.
        let initialize = match typed(instance, store, "_initialize")? {
            Some(initialize) => Some(initialize),
            None => typed(instance, store, "_start")?,
        };
        Ok(Exports {
            allocate,
            initialize,
            context_create: typed(instance, store, "proxy_on_context_create")?,
            vm_start: typed(instance, store, "proxy_on_vm_start")?,
            configure: typed(instance, store, "proxy_on_configure")?,
            tick: typed(instance, store, "proxy_on_tick")?,
            queue_ready: typed(instance, store, "proxy_on_queue_ready")?,
            request: Callbacks {
                headers: typed(instance, store, "proxy_on_request_headers")?,
                body: typed(instance, store, "proxy_on_request_body")?,
                trailers: typed(instance, store, "proxy_on_request_trailers")?,
            },
            response: Callbacks {
                headers: typed(instance, store, "proxy_on_response_headers")?,
                body: typed(instance, store, "proxy_on_response_body")?,
                trailers: typed(instance, store, "proxy_on_response_trailers")?,
            },
            http_call_response: typed(instance, store, "proxy_on_http_call_response")?,
            log: typed(instance, store, "proxy_on_log")?,
            done: typed(instance, store, "proxy_on_done")?,
            delete: typed(instance, store, "proxy_on_delete")?,
        })
    }
}

fn typed<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<VmState>,
    name: &'static str,
) -> Result<Option<TypedFunc<P, R>>, ModuleError> {
    let Some(function) = instance.get_func(&mut *store, name) else {
        return Ok(None);
    };
    let typed = function.typed(&*store);
    typed.map(Some).map_err(|error| ModuleError::WrongExport { name, reason: format!("{error:#}") })
}

/// The digest of a module and of the lock file, which names the exact version of wasmtime: wasmtime itself only compares the
/// major one.
fn code_key(bytes: &[u8]) -> Vec<u8> {
    let lock_file = include_bytes!("../../../Cargo.lock");
    Sha256::new().chain_update(lock_file).chain_update(bytes).finalize().to_vec()
}
