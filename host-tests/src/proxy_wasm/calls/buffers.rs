//! Buffers: bodies and configurations.

use wasmtime::Caller;

use super::super::abi::BufferType;
use super::super::state::VmState;
use super::super::{HostCall, Status};
use super::{Answer, Call, Imports, env, slice, status};

pub(super) fn define(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports, GetBufferBytes, proxy_get_buffer_bytes => get,
        (kind: u32, start: u32, size: u32, pointer_at: u32, size_at: u32));
    env!(imports, SetBufferBytes, proxy_set_buffer_bytes => set,
        (kind: u32, start: u32, size: u32, data: u32, data_size: u32));
    env!(imports, GetBufferStatus, proxy_get_buffer_status => buffer_status, (kind: u32, size_at: u32, flags_at: u32));
    Ok(())
}

/// Returns a buffer of this kind, if the context has one.
fn buffer(state: &VmState, kind: BufferType) -> Option<&[u8]> {
    match kind {
        BufferType::RequestBody => Some(&state.stream()?.request.body),
        BufferType::ResponseBody => Some(&state.stream()?.response.body),
        BufferType::CalloutBody => Some(&state.callout.as_ref()?.body),
        BufferType::VmConfiguration => Some(&state.shared.options.vm_configuration),
        BufferType::PluginConfiguration => Some(&state.root()?.configuration),
        BufferType::Network | BufferType::GrpcMessage | BufferType::CallData => None,
    }
}

fn get(call: &mut Call<'_>, kind: u32, start: u32, size: u32, pointer_at: u32, size_at: u32) -> Answer {
    let kind = BufferType::from_abi(kind).ok_or(Status::BadArgument)?;
    let available = buffer(call.state(), kind).ok_or(Status::NotFound)?.len();
    let start = start as usize;
    let end = available.min(start.saturating_add(size as usize));
    if start >= end {
        // As in Envoy: no bytes, and the module's pointers are left unchanged.
        return Ok(());
    }
    // Allocate first: the buffer is in the same store as the module's allocator.
    let pointer = call.reserve((end - start) as u32)?;
    let (memory, state) = call.memory_and_state();
    let source =
        buffer(state, kind).and_then(|bytes| bytes.get(start..end)).ok_or(Status::InternalFailure)?;
    let place = memory.get_mut(pointer as usize..).and_then(|rest| rest.get_mut(..source.len()));
    place.ok_or(Status::InvalidMemoryAccess)?.copy_from_slice(source);
    call.write_u32(pointer_at, pointer)?;
    call.write_u32(size_at, (end - start) as u32)
}

/// Changes a buffer as Envoy does: replaces a prefix, appends, or replaces all. A range in the middle is
/// `BadArgument`.
fn set(call: &mut Call<'_>, kind: u32, start: u32, size: u32, data: u32, data_size: u32) -> Answer {
    let kind = BufferType::from_abi(kind).ok_or(Status::BadArgument)?;
    let (memory, state) = call.memory_and_state();
    let data = slice(memory, data, data_size)?;
    let body = match (kind, state.stream_mut()) {
        (BufferType::RequestBody, Some(stream)) => &mut stream.request.body,
        (BufferType::ResponseBody, Some(stream)) => &mut stream.response.body,
        (BufferType::RequestBody | BufferType::ResponseBody, None) => return Err(Status::NotFound.into()),
        _ => return Err(Status::BadArgument.into()),
    };
    let (start, size) = (start as usize, size as usize);
    if start == 0 {
        let dropped = size.min(body.len());
        body.splice(..dropped, data.iter().copied());
    } else if start >= body.len() {
        body.extend_from_slice(data);
    } else {
        return Err(Status::BadArgument.into());
    }
    Ok(())
}

fn buffer_status(call: &mut Call<'_>, kind: u32, size_at: u32, flags_at: u32) -> Answer {
    let kind = BufferType::from_abi(kind).ok_or(Status::BadArgument)?;
    let size = buffer(call.state(), kind).ok_or(Status::NotFound)?.len();
    call.write_u32(size_at, size as u32)?;
    call.write_u32(flags_at, 0)
}
