//! Header and trailer maps.

use wasmtime::Caller;

use super::super::abi::{MapType, read_pairs, write_pairs};
use super::super::state::VmState;
use super::super::{HeaderMap, HostCall, Status};
use super::{Answer, Call, Imports, env, slice, status};

pub(super) fn define(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports, GetHeaderMapPairs, proxy_get_header_map_pairs => pairs, (kind: u32, pointer_at: u32, size_at: u32));
    env!(imports, SetHeaderMapPairs, proxy_set_header_map_pairs => set_pairs, (kind: u32, data: u32, size: u32));
    env!(imports, GetHeaderMapValue, proxy_get_header_map_value => value,
        (kind: u32, name: u32, name_size: u32, pointer_at: u32, size_at: u32));
    env!(imports, ReplaceHeaderMapValue, proxy_replace_header_map_value => replace,
        (kind: u32, name: u32, name_size: u32, value: u32, value_size: u32));
    env!(imports, RemoveHeaderMapValue, proxy_remove_header_map_value => remove, (kind: u32, name: u32, name_size: u32));
    env!(imports, AddHeaderMapValue, proxy_add_header_map_value => add,
        (kind: u32, name: u32, name_size: u32, value: u32, value_size: u32));
    env!(imports, GetHeaderMapSize, proxy_get_header_map_size => map_size, (kind: u32, size_at: u32));
    Ok(())
}

/// Returns a map that can be read now: while its callback runs or has paused, and in `on_log`.
fn readable(state: &VmState, kind: MapType) -> Option<&HeaderMap> {
    match kind {
        MapType::CalloutHeaders => return state.callout.as_ref().map(|callout| &callout.headers),
        MapType::CalloutTrailers => return state.callout.as_ref().map(|callout| &callout.trailers),
        _ => {}
    }
    let stream = state.stream()?;
    let (request, response) = (&stream.request, &stream.response);
    match kind {
        MapType::RequestHeaders if request.headers_open || stream.logging => request.headers.as_ref(),
        MapType::ResponseHeaders if response.headers_open || stream.logging => response.headers.as_ref(),
        MapType::RequestTrailers if request.trailers_open => request.trailers.as_ref(),
        MapType::ResponseTrailers if response.trailers_open || stream.logging => response.trailers.as_ref(),
        _ => None,
    }
}

/// Returns a map that can be changed now; not in `on_log`.
fn writable(state: &mut VmState, kind: MapType) -> Answer<&mut HeaderMap> {
    let stream = state.stream_mut().ok_or(Status::BadArgument)?;
    let (request, response) = (&mut stream.request, &mut stream.response);
    let map = match kind {
        MapType::RequestHeaders if request.headers_open => request.headers.as_mut(),
        MapType::ResponseHeaders if response.headers_open => response.headers.as_mut(),
        MapType::RequestTrailers if request.trailers_open => request.trailers.as_mut(),
        MapType::ResponseTrailers if response.trailers_open => response.trailers.as_mut(),
        _ => None,
    };
    Ok(map.ok_or(Status::BadArgument)?)
}

fn map_type(kind: u32) -> Answer<MapType> {
    Ok(MapType::from_abi(kind).ok_or(Status::BadArgument)?)
}

fn pairs(call: &mut Call<'_>, kind: u32, pointer_at: u32, size_at: u32) -> Answer {
    let kind = map_type(kind)?;
    call.give_scratch(pointer_at, size_at, |state, bytes| {
        // As in Envoy: a missing map is empty in this call, unlike in all others.
        if let Some(map) = readable(state, kind).filter(|map| !map.is_empty()) {
            write_pairs(map.iter(), bytes);
        }
        Ok(())
    })
}

fn set_pairs(call: &mut Call<'_>, kind: u32, data: u32, size: u32) -> Answer {
    let kind = map_type(kind)?;
    let (bytes, state) = call.bytes(data, size)?;
    let pairs = read_pairs(bytes).ok_or(Status::BadArgument)?;
    let map = HeaderMap::from_iter(pairs);
    *writable(state, kind)? = map;
    Ok(())
}

fn value(call: &mut Call<'_>, kind: u32, name: u32, name_size: u32, pointer_at: u32, size_at: u32) -> Answer {
    let kind = map_type(kind)?;
    let (memory, state) = call.memory_and_state();
    let name = slice(memory, name, name_size)?;
    let map = readable(state, kind).ok_or(Status::BadArgument)?;
    let value = map.get(name).ok_or(Status::NotFound)?.to_vec();
    call.give(&value, pointer_at, size_at)
}

fn replace(call: &mut Call<'_>, kind: u32, name: u32, name_size: u32, value: u32, value_size: u32) -> Answer {
    let kind = map_type(kind)?;
    let (memory, state) = call.memory_and_state();
    let (name, value) = (slice(memory, name, name_size)?, slice(memory, value, value_size)?);
    writable(state, kind)?.set(name, value);
    Ok(())
}

fn remove(call: &mut Call<'_>, kind: u32, name: u32, name_size: u32) -> Answer {
    let kind = map_type(kind)?;
    let (name, state) = call.bytes(name, name_size)?;
    writable(state, kind)?.remove(name);
    Ok(())
}

fn add(call: &mut Call<'_>, kind: u32, name: u32, name_size: u32, value: u32, value_size: u32) -> Answer {
    let kind = map_type(kind)?;
    let (memory, state) = call.memory_and_state();
    let (name, value) = (slice(memory, name, name_size)?, slice(memory, value, value_size)?);
    writable(state, kind)?.add(name, value);
    Ok(())
}

fn map_size(call: &mut Call<'_>, kind: u32, size_at: u32) -> Answer {
    let kind = map_type(kind)?;
    let size = readable(call.state(), kind).ok_or(Status::BadArgument)?.byte_size();
    call.write_u32(size_at, size as u32)
}
