//! Properties and foreign functions.

use wasmtime::Caller;

use super::super::state::VmState;
use super::super::stream::Stream;
use super::super::{Dialect, HeaderMap, HostCall, Status};
use super::{Answer, Call, Imports, env, slice, status};

pub(super) fn define(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports, GetProperty, proxy_get_property => get, (path: u32, path_size: u32, pointer_at: u32, size_at: u32));
    env!(imports, SetProperty, proxy_set_property => set, (path: u32, path_size: u32, value: u32, value_size: u32));
    env!(imports, CallForeignFunction, proxy_call_foreign_function => foreign,
        (name: u32, name_size: u32, argument: u32, argument_size: u32, pointer_at: u32, size_at: u32));
    Ok(())
}

fn get(call: &mut Call<'_>, path: u32, path_size: u32, pointer_at: u32, size_at: u32) -> Answer {
    let mut scratch = std::mem::take(&mut call.state_mut().scratch);
    scratch.clear();
    let (memory, state) = call.memory_and_state();
    let found = slice(memory, path, path_size).and_then(|path| find(state, path, &mut scratch));
    let given = found.and_then(|()| call.give(&scratch, pointer_at, size_at));
    call.state_mut().scratch = scratch;
    given
}

fn set(call: &mut Call<'_>, path: u32, path_size: u32, value: u32, value_size: u32) -> Answer {
    let (memory, state) = call.memory_and_state();
    let (path, value) = (slice(memory, path, path_size)?, slice(memory, value, value_size)?);
    // As in Envoy: filter state belongs to a stream; a root context has none.
    let stream = state.stream_mut().ok_or(Status::NotFound)?;
    stream.written.insert(path.to_vec(), value.to_vec());
    Ok(())
}

/// The destination of a property's value.
struct Value<'a> {
    into: &'a mut Vec<u8>,
}

impl Value<'_> {
    fn text(self, text: &str) -> Answer {
        self.bytes(text.as_bytes())
    }

    fn bytes(self, bytes: &[u8]) -> Answer {
        self.into.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes 8 bytes, little-endian.
    fn number(self, number: u64) -> Answer {
        self.bytes(&number.to_le_bytes())
    }

    fn header(self, headers: Option<&HeaderMap>, name: &[u8]) -> Answer {
        let value = headers.and_then(|headers| headers.get(name)).ok_or(Status::NotFound)?;
        self.bytes(value)
    }
}

fn find(state: &VmState, path: &[u8], into: &mut Vec<u8>) -> Answer {
    let value = Value { into };
    let options = &state.shared.options;
    let mut parts = path.splitn(2, |byte| *byte == 0);
    let (first, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match first {
        b"plugin_name" => return value.text(&options.plugin_name),
        b"plugin_root_id" => return value.text(&options.root_id),
        b"plugin_vm_id" => return value.text(&options.vm_id),
        _ => {}
    }
    let stream = state.stream().ok_or(Status::NotFound)?;
    if let Some(written) = stream.written.get(path) {
        return value.bytes(written);
    }
    let given = stream.info.properties.iter().find(|(parts, _)| same_path(parts, path));
    if let Some((_, given)) = given {
        return value.bytes(given);
    }
    match first {
        b"request" => request(stream, rest, value),
        b"response" => response(stream, rest, value),
        b"source" => address(stream.info.source, rest, value),
        b"destination" => address(stream.info.destination, rest, value),
        b"connection_id" => value.number(stream.info.connection_id),
        b"connection" if rest == b"id" => value.number(stream.info.connection_id),
        _ => Err(Status::NotFound.into()),
    }
}

fn same_path(parts: &[String], path: &[u8]) -> bool {
    parts.iter().map(String::as_bytes).eq(path.split(|byte| *byte == 0))
}

/// Reads a property of the request. Headers are available in the request's headers phase (or while they are
/// held) and in `on_log`; the host's own data always is.
fn request(stream: &Stream, field: &[u8], value: Value<'_>) -> Answer {
    let side = &stream.request;
    let headers = side.headers.as_ref().filter(|_| side.headers_open || stream.logging);
    match field {
        b"path" => value.header(headers, b":path"),
        b"url_path" => {
            let path = headers.and_then(|headers| headers.get(":path")).ok_or(Status::NotFound)?;
            value.bytes(path.split(|byte| *byte == b'?').next().unwrap_or_default())
        }
        b"query" => {
            let path = headers.and_then(|headers| headers.get(":path")).ok_or(Status::NotFound)?;
            value.bytes(path.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default())
        }
        b"host" => value.header(headers, b":authority"),
        b"scheme" => value.header(headers, b":scheme"),
        b"method" => value.header(headers, b":method"),
        b"referer" => value.header(headers, b"referer"),
        b"useragent" => value.header(headers, b"user-agent"),
        b"id" => value.header(headers, b"x-request-id"),
        b"protocol" => value.text(&stream.info.protocol),
        b"time" => value.number(stream.started),
        b"size" => value.number(side.size),
        _ => match field.strip_prefix(b"headers\0") {
            Some(name) => value.header(headers, name),
            None => Err(Status::NotFound.into()),
        },
    }
}

fn response(stream: &Stream, field: &[u8], value: Value<'_>) -> Answer {
    let side = &stream.response;
    let headers = side.headers.as_ref().filter(|_| side.headers_open || stream.logging);
    match field {
        b"code" if stream.status() != 0 => value.number(u64::from(stream.status())),
        b"code_details" => value.text(stream.details.as_ref().ok_or(Status::NotFound)?),
        b"flags" => value.number(stream.flags),
        b"size" => value.number(side.size),
        _ => match field.strip_prefix(b"headers\0") {
            Some(name) => value.header(headers, name),
            None => Err(Status::NotFound.into()),
        },
    }
}

fn address(address: Option<std::net::SocketAddr>, field: &[u8], value: Value<'_>) -> Answer {
    let address = address.ok_or(Status::NotFound)?;
    match field {
        b"address" => value.text(&address.to_string()),
        b"port" => value.number(u64::from(address.port())),
        _ => Err(Status::NotFound.into()),
    }
}

fn foreign(
    call: &mut Call<'_>,
    name: u32,
    name_size: u32,
    argument: u32,
    argument_size: u32,
    pointer_at: u32,
    size_at: u32,
) -> Answer {
    let dialect = call.dialect();
    let (memory, state) = call.memory_and_state();
    let (name, argument) = (slice(memory, name, name_size)?, slice(memory, argument, argument_size)?);
    match (dialect, name) {
        (Dialect::Envoy, b"clear_route_cache" | b"declare_property") => {}
        (Dialect::Envoy, b"set_envoy_filter_state") => {
            let (path, value) = filter_state(argument).ok_or(Status::BadArgument)?;
            let stream = state.stream_mut().ok_or(Status::NotFound)?;
            stream.written.insert(path, value);
        }
        _ => return Err(Status::NotFound.into()),
    }
    // Null pointers: the caller does not use the result.
    if pointer_at != 0 {
        call.write_u32(pointer_at, 0)?;
    }
    if size_at != 0 {
        call.write_u32(size_at, 0)?;
    }
    Ok(())
}

/// `message SetEnvoyFilterStateArguments { string path = 1; string value = 2; LifeSpan span = 3; }`
fn filter_state(mut bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut path, mut value) = (Vec::new(), Vec::new());
    while let Some((tag, rest)) = varint(bytes) {
        let (number, rest) = varint(rest)?;
        bytes = rest;
        match (tag >> 3, tag & 7) {
            (field, 2) => {
                let (content, rest) = bytes.split_at_checked(usize::try_from(number).ok()?)?;
                bytes = rest;
                match field {
                    1 => path = content.to_vec(),
                    2 => value = content.to_vec(),
                    _ => {}
                }
            }
            (_, 0) => {}
            _ => return None,
        }
    }
    (!path.is_empty()).then_some((path, value))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index).min(63);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}
