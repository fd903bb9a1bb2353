//! Shared data and shared queues.

use wasmtime::Caller;

use super::super::state::VmState;
use super::super::{Dialect, HostCall, Status};
use super::{Answer, Call, Imports, env, slice, status};

pub(super) fn define(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports, GetSharedData, proxy_get_shared_data => get,
        (key: u32, key_size: u32, pointer_at: u32, size_at: u32, cas_at: u32));
    env!(imports, SetSharedData, proxy_set_shared_data => set,
        (key: u32, key_size: u32, value: u32, value_size: u32, cas: u32));
    env!(imports, RegisterSharedQueue, proxy_register_shared_queue => register, (name: u32, name_size: u32, id_at: u32));
    env!(imports, ResolveSharedQueue, proxy_resolve_shared_queue => resolve,
        (vm: u32, vm_size: u32, name: u32, name_size: u32, id_at: u32));
    env!(imports, EnqueueSharedQueue, proxy_enqueue_shared_queue => enqueue, (id: u32, data: u32, size: u32));
    env!(imports, DequeueSharedQueue, proxy_dequeue_shared_queue => dequeue, (id: u32, pointer_at: u32, size_at: u32));
    Ok(())
}

fn get(call: &mut Call<'_>, key: u32, key_size: u32, pointer_at: u32, size_at: u32, cas_at: u32) -> Answer {
    let mut scratch = std::mem::take(&mut call.state_mut().scratch);
    let (memory, state) = call.memory_and_state();
    let read =
        slice(memory, key, key_size).and_then(|key| Ok(state.shared.data.read_into(key, &mut scratch)?));
    let given = read.and_then(|cas| {
        call.give(&scratch, pointer_at, size_at)?;
        call.write_u32(cas_at, cas)
    });
    call.state_mut().scratch = scratch;
    given
}

fn set(call: &mut Call<'_>, key: u32, key_size: u32, value: u32, value_size: u32, cas: u32) -> Answer {
    let (memory, state) = call.memory_and_state();
    let (key, bytes) = (slice(memory, key, key_size)?, slice(memory, value, value_size)?);
    // The SDK passes `None` as a null pointer.
    let bytes = (value != 0 || value_size != 0).then_some(bytes);
    if std::mem::take(&mut state.lose_swap) {
        state.shared.data.write_again(key);
    }
    Ok(state.shared.data.set(key, bytes, cas)?)
}

/// Checks for shared queues, which only hosts with shared data have.
fn has_queues(call: &Call<'_>) -> Answer {
    match call.dialect() {
        Dialect::Envoy | Dialect::InsertIfAbsent => Ok(()),
        Dialect::Forgetful => Err(Status::NotFound.into()),
        Dialect::Unimplemented => Err(Status::Unimplemented.into()),
    }
}

fn register(call: &mut Call<'_>, name: u32, name_size: u32, id_at: u32) -> Answer {
    has_queues(call)?;
    let (name, state) = call.bytes(name, name_size)?;
    let id = state.shared.data.register_queue(name);
    let root = state.root().ok_or(Status::InternalFailure)?.id;
    if !state.queues.contains(&(root, id)) {
        state.queues.push((root, id));
    }
    call.write_u32(id_at, id)
}

fn resolve(call: &mut Call<'_>, _vm: u32, _vm_size: u32, name: u32, name_size: u32, id_at: u32) -> Answer {
    has_queues(call)?;
    let (name, state) = call.bytes(name, name_size)?;
    let id = state.shared.data.resolve_queue(name)?;
    call.write_u32(id_at, id)
}

fn enqueue(call: &mut Call<'_>, id: u32, data: u32, size: u32) -> Answer {
    has_queues(call)?;
    let (item, state) = call.bytes(data, size)?;
    Ok(state.shared.data.enqueue(id, item)?)
}

fn dequeue(call: &mut Call<'_>, id: u32, pointer_at: u32, size_at: u32) -> Answer {
    has_queues(call)?;
    let item = call.state().shared.data.dequeue(id)?;
    call.give(&item, pointer_at, size_at)
}
