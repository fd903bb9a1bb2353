//! Errors of the host.

use std::path::PathBuf;

use super::StreamId;

/// An error that prevents loading a module.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The messages describe the fields.
pub enum ModuleError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("not a WebAssembly module: it has {found}, where the magic number `\\0asm` should be")]
    NotWasm { found: String },
    #[error("a WebAssembly component, not a core module: build it for `wasm32-wasip1` as a `cdylib`")]
    Component,
    #[error("not a valid WebAssembly module: {0}")]
    Invalid(String),
    #[error(
        "not a proxy-wasm module: it exports no `proxy_abi_version_*` function; a filter for ABI 0.2.1 exports `proxy_abi_version_0_2_1`"
    )]
    NotProxyWasm,
    #[error(
        "the module exports {found}; this host supports `proxy_abi_version_0_2_1` and `proxy_abi_version_0_2_0`"
    )]
    WrongAbi { found: String },
    #[error("the module does not export {missing}")]
    MissingExport { missing: &'static str },
    #[error("the export `{name}` does not have the type that ABI 0.2.1 gives it: {reason}")]
    WrongExport { name: &'static str, reason: String },
    #[error("the module imports functions that this host does not provide: {}", .imports.join(", "))]
    UnknownImports { imports: Vec<String> },
}

/// An error while a process takes a configuration or a VM starts.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The messages describe the fields.
pub enum StartError {
    #[error(transparent)]
    Module(#[from] ModuleError),
    #[error("a VM cannot be created: {0}")]
    Instance(String),
    #[error("the module failed to start: `proxy_on_vm_start` returned false")]
    StartRefused,
    #[error("the module rejected its configuration: `proxy_on_configure` returned false (see its log)")]
    ConfigurationRefused,
    #[error(transparent)]
    Vm(#[from] VmError),
}

/// An error of an event in a VM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The messages describe the fields.
pub enum VmError {
    /// The module trapped. The VM and all of its streams are dead, without a last callback.
    #[error("the module trapped in `{callback}`: {reason}")]
    Trapped { callback: &'static str, reason: String },
    /// The VM is dead. Answer 503 and call [`Vm::reload`](super::Vm::reload).
    #[error("the VM is dead since the module trapped in `{callback}`; reload it")]
    Dead { callback: &'static str },
    #[error("the VM has no stream {0:?}: it was closed, or cut when the module trapped")]
    UnknownStream(StreamId),
    #[error("the VM has no callout {0}: it was answered, or made by a VM that is gone")]
    UnknownCallout(u32),
}
