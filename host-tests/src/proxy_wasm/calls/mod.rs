//! The host calls that a module may import.

mod buffers;
mod context;
mod headers;
mod metrics;
mod properties;
mod shared;
mod wasi;

use wasmtime::{AsContextMut, Caller, InstancePre, Linker};

use super::state::VmState;
use super::{Dialect, Effect, HostCall, Module, ModuleError, Status};

/// The failure of a host call.
pub(crate) enum Refusal {
    /// The module gets this status.
    Status(Status),
    /// The module traps.
    Trap(wasmtime::Error),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal::Status(status)
    }
}

impl Refusal {
    fn trap(reason: impl Into<String>) -> Refusal {
        Refusal::Trap(wasmtime::Error::msg(reason.into()))
    }
}

pub(crate) type Answer<T = ()> = Result<T, Refusal>;

/// A host call in progress: the module's memory and the VM's state.
pub(crate) struct Call<'a> {
    caller: Caller<'a, VmState>,
}

impl Call<'_> {
    fn state(&self) -> &VmState {
        self.caller.data()
    }

    fn state_mut(&mut self) -> &mut VmState {
        self.caller.data_mut()
    }

    fn dialect(&self) -> Dialect {
        self.state().shared.options.dialect
    }

    /// Counts the call, lets the scheduler switch to another VM, and applies injected faults.
    #[inline]
    fn begin(&mut self, call: HostCall) -> Answer {
        let state = self.caller.data_mut();
        state.counts[call as usize] += 1;
        if let Some(turn) = state.turn.as_ref().filter(|_| call.is_shared()) {
            turn.yield_before(call);
        }
        match state.shared.faults.check(call) {
            None => Ok(()),
            Some(Effect::Answer(status)) => Err(Refusal::Status(status)),
            Some(Effect::LoseSwap) => {
                state.lose_swap = true;
                Ok(())
            }
            Some(Effect::Trap) => Err(Refusal::trap(format!("injected fault in {call:?}"))),
        }
    }

    /// Returns the module's memory together with the state.
    #[inline]
    fn memory_and_state(&mut self) -> (&mut [u8], &mut VmState) {
        match self.caller.data().memory {
            Some(memory) => memory.data_and_store_mut(&mut self.caller),
            // `Module` rejects modules without a memory; only `_start` could run before it is known.
            None => (&mut [], self.caller.data_mut()),
        }
    }

    #[inline]
    fn bytes(&mut self, at: u32, size: u32) -> Answer<(&[u8], &mut VmState)> {
        let (memory, state) = self.memory_and_state();
        Ok((slice(memory, at, size)?, state))
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> Answer {
        let (memory, _) = self.memory_and_state();
        let at = at as usize;
        let place = memory.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len()));
        place.ok_or(Status::InvalidMemoryAccess)?.copy_from_slice(bytes);
        Ok(())
    }

    fn write_u32(&mut self, at: u32, value: u32) -> Answer {
        self.write(at, &value.to_le_bytes())
    }

    fn write_u64(&mut self, at: u32, value: u64) -> Answer {
        self.write(at, &value.to_le_bytes())
    }

    /// Copies bytes into memory that the module allocates for them. An empty value is a null pointer, as in
    /// Envoy, which the Rust SDK reads as `None`.
    fn give(&mut self, bytes: &[u8], pointer_at: u32, size_at: u32) -> Answer {
        let pointer = if bytes.is_empty() { 0 } else { self.place(bytes)? };
        self.write_u32(pointer_at, pointer)?;
        self.write_u32(size_at, bytes.len() as u32)
    }

    fn place(&mut self, bytes: &[u8]) -> Answer<u32> {
        let pointer = self.reserve(bytes.len() as u32)?;
        self.write(pointer, bytes)?;
        Ok(pointer)
    }

    /// Lets the module allocate memory.
    fn reserve(&mut self, size: u32) -> Answer<u32> {
        let allocate = self.state().allocate.clone().ok_or(Status::InternalFailure)?;
        match allocate.call(self.caller.as_context_mut(), size).map_err(Refusal::Trap)? {
            0 => Err(Status::InvalidMemoryAccess.into()),
            pointer => Ok(pointer),
        }
    }

    /// Runs `fill` on the VM's reusable buffer and copies the result to the module.
    fn give_scratch(
        &mut self,
        pointer_at: u32,
        size_at: u32,
        fill: impl FnOnce(&VmState, &mut Vec<u8>) -> Answer,
    ) -> Answer {
        let mut scratch = std::mem::take(&mut self.state_mut().scratch);
        scratch.clear();
        let filled = fill(self.state(), &mut scratch);
        let given = filled.and_then(|()| self.give(&scratch, pointer_at, size_at));
        self.state_mut().scratch = scratch;
        given
    }
}

fn slice(memory: &[u8], at: u32, size: u32) -> Answer<&[u8]> {
    let at = at as usize;
    let found = memory.get(at..).and_then(|rest| rest.get(..size as usize));
    Ok(found.ok_or(Status::InvalidMemoryAccess)?)
}

fn status(answer: Answer) -> wasmtime::Result<u32> {
    match answer {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Refusal::Status(status)) => Ok(status as u32),
        Err(Refusal::Trap(error)) => Err(error),
    }
}

/// The host calls of a dialect by name.
struct Imports {
    linker: Linker<VmState>,
    names: Vec<(&'static str, &'static str)>,
}

/// `env!(imports, Log, proxy_log => log, (level: u32, at: u32, size: u32))`
macro_rules! env {
    ($imports:ident, $call:ident, $name:ident => $function:path, ($($argument:ident: $type:ty),*)) => {
        $imports.names.push(("env", stringify!($name)));
        $imports.linker.func_wrap("env", stringify!($name), |caller: Caller<'_, VmState> $(, $argument: $type)*| {
            let mut call = Call { caller };
            let begun = call.begin(HostCall::$call);
            status(begun.and_then(|()| $function(&mut call $(, $argument)*)))
        })?;
    };
}
use env;

/// Links a module with the host calls of a dialect.
pub(crate) fn link(module: &Module) -> Result<InstancePre<VmState>, ModuleError> {
    let compiled = module.compiled();
    let invalid = |error: wasmtime::Error| ModuleError::Invalid(format!("{error:#}"));
    let mut imports = Imports { linker: Linker::new(compiled.engine()), names: Vec::new() };
    define(&mut imports).map_err(invalid)?;
    let unknown =
        compiled.imports().filter(|import| !imports.names.contains(&(import.module(), import.name())));
    let unknown: Vec<String> =
        unknown.map(|import| format!("`{}.{}`", import.module(), import.name())).collect();
    if !unknown.is_empty() {
        return Err(ModuleError::UnknownImports { imports: unknown });
    }
    imports.linker.instantiate_pre(compiled).map_err(invalid)
}

fn define(imports: &mut Imports) -> wasmtime::Result<()> {
    context::define(imports)?;
    buffers::define(imports)?;
    headers::define(imports)?;
    metrics::define(imports)?;
    properties::define(imports)?;
    shared::define(imports)?;
    wasi::define(imports)
}
