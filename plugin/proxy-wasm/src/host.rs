//! Host calls on bytes, with every status as a value. Hand-written where `proxy_wasm::hostcalls` (0.2.5) panics, which
//! cuts every stream of a worker. For the host calls made here it reports these statuses, and panics at others:
//!
//! | host call | reported besides `Ok` |
//! |---|---|
//! | log, current time, tick period | none |
//! | set buffer, replace or remove a header, set a property, local response, define a metric | none |
//! | header map | none; panics also if a name is not UTF-8, or the map is cut short |
//! | buffer, shared data | `NotFound` |
//! | property | `NotFound`, `SerializationFailure`, `InternalFailure` |
//! | set shared data | `CasMismatch` |
//! | HTTP call | `BadArgument`, `InternalFailure`; its dispatcher panics at the response to a call that was not made with it |
//! | effective context | `BadArgument` |
//! | increment a metric | `NotFound`, `BadArgument` |
//!
//! Hosts that lack a call return `UNIMPLEMENTED` (12), which is no value of the SDK's `Status`.

use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, Status};
use tollgate_core::counters::{Cas, HostStatus, SharedData, SharedDataKind, SharedValue};

const OK: u32 = Status::Ok as u32;
const NOT_FOUND: u32 = Status::NotFound as u32;
const CAS_MISMATCH: u32 = Status::CasMismatch as u32;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(kind: u32, start: usize, dropped: usize, data: *const u8, size: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_get_shared_data(
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        name: *const u8,
        name_size: usize,
        data: *const u8,
        size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_effective_context(id: u32) -> u32;
    fn proxy_continue_stream(kind: u32) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(bytes: *mut u8, size: usize) -> u32;
    #[cfg(not(feature = "bare"))]
    fn environ_sizes_get(count: *mut usize, size: *mut usize) -> u32;
    #[cfg(not(feature = "bare"))]
    fn environ_get(variables: *mut *mut u8, bytes: *mut u8) -> u32;
}

/// Takes over data that the host wrote into memory of this module.
///
/// # Safety
/// `data` and `size` come from one successful host call, which got the memory from `proxy_on_memory_allocate` with
/// exactly that capacity.
unsafe fn owned(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: see above.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, HostStatus> {
    let mut data = core::ptr::null_mut();
    let mut size = 0;
    match call(&mut data, &mut size) {
        // SAFETY: the call has just succeeded.
        OK => Ok(unsafe { owned(data, size) }),
        status => Err(HostStatus(status)),
    }
}

/// Writes a line to the host's log, redacted.
pub fn log(level: LogLevel, text: &str) {
    let text = &*tollgate_core::secret::redact::log_line(text);
    // SAFETY: the host reads `text` during the call only.
    unsafe { proxy_log(level as u32, text.as_ptr(), text.len()) };
}

/// The wall clock, in nanoseconds since the Unix epoch.
pub fn wall() -> u64 {
    let mut wall = 0;
    // SAFETY: the call writes one u64.
    unsafe { proxy_get_current_time_nanoseconds(&mut wall) };
    wall
}

/// The clock that windows follow, in nanoseconds: the monotonic one of Envoy and its kin, the only hosts known to
/// share it between VMs.
pub fn monotonic(kind: SharedDataKind) -> Option<u64> {
    const MONOTONIC: u32 = 1;
    let mut monotonic = 0;
    // SAFETY: the call writes one u64.
    let shared = kind == SharedDataKind::CompareAndSwap
        && unsafe { clock_time_get(MONOTONIC, 1, &mut monotonic) == OK };
    shared.then_some(monotonic)
}

/// Random bytes for secrets. `None` if the host has none.
pub fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the host writes `N` bytes.
    (unsafe { random_get(bytes.as_mut_ptr(), N) } == OK).then_some(bytes)
}

/// Returns the value of an environment variable that the host shows to this module. `None` also if it is not UTF-8.
#[cfg(not(feature = "bare"))]
pub fn environment(name: &str) -> Option<String> {
    let (mut count, mut size) = (0, 0);
    // SAFETY: the call writes two sizes.
    if unsafe { environ_sizes_get(&mut count, &mut size) } != OK {
        return None;
    }
    let (mut variables, mut bytes) = (vec![core::ptr::null_mut(); count], vec![0_u8; size]);
    // SAFETY: the host writes `count` pointers and `size` bytes, as it has just said.
    if unsafe { environ_get(variables.as_mut_ptr(), bytes.as_mut_ptr()) } != OK {
        return None;
    }
    // Each variable ends with a zero byte.
    bytes.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

/// Directs the following host calls to another context, until the end of the callback at the latest.
pub fn set_effective_context(id: u32) -> Result<(), HostStatus> {
    // SAFETY: no memory is involved.
    status(unsafe { proxy_set_effective_context(id) })
}

/// Lets the request of the effective context go on, after a callback of it that paused.
pub fn continue_request() -> Result<(), HostStatus> {
    const REQUEST: u32 = 0;
    // SAFETY: no memory is involved.
    status(unsafe { proxy_continue_stream(REQUEST) })
}

/// Returns a property of the stream.
pub fn property(path: &[&str]) -> Result<Vec<u8>, HostStatus> {
    let path = path.join("\0");
    // SAFETY: the out-pointers are valid, and the path is read, during the call only.
    returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Sends a POST to a cluster, with these headers besides the pseudo-headers. Returns the token of its response.
pub fn post(
    cluster: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
    timeout_millis: u32,
) -> Result<u32, HostStatus> {
    let mut head = vec![(":method", "POST"), (":path", path), (":authority", cluster), (":scheme", "http")];
    head.extend_from_slice(fields);
    let map = serialize(&head);
    let mut token = 0;
    // SAFETY: everything is read, and one u32 written, during the call only.
    status(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            map.as_ptr(),
            map.len(),
            body.as_ptr(),
            body.len(),
            core::ptr::null(),
            0,
            timeout_millis,
            &mut token,
        )
    })
    .map(|()| token)
}

/// Sets the tick period. An error means that there are no ticks.
pub fn set_tick_period(millis: u32) -> Result<(), HostStatus> {
    // SAFETY: no memory is involved.
    status(unsafe { proxy_set_tick_period_milliseconds(millis) })
}

/// Returns up to `most` bytes of a buffer from `start` on; fewer at its end.
pub fn buffer(kind: BufferType, start: usize, most: usize) -> Result<Vec<u8>, HostStatus> {
    // SAFETY: the two out-pointers are valid for the call.
    returned(|data, size| unsafe { proxy_get_buffer_bytes(kind as u32, start, most, data, size) })
}

/// Replaces the first `dropped` bytes of a buffer.
pub fn replace_front(kind: BufferType, dropped: usize, bytes: &[u8]) -> Result<(), HostStatus> {
    // SAFETY: the bytes are read during the call only.
    status(unsafe { proxy_set_buffer_bytes(kind as u32, 0, dropped, bytes.as_ptr(), bytes.len()) })
}

/// Appends bytes to a buffer.
pub fn append(kind: BufferType, bytes: &[u8]) -> Result<(), HostStatus> {
    // SAFETY: the bytes are read during the call only.
    status(unsafe { proxy_set_buffer_bytes(kind as u32, u32::MAX as usize, 0, bytes.as_ptr(), bytes.len()) })
}

/// Returns a header map in the ABI's serialization, which [`fields`] reads.
pub fn header_map(map: MapType) -> Result<Vec<u8>, HostStatus> {
    // SAFETY: as above.
    returned(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })
}

/// Reads a serialized map: the number of fields, the sizes of each name and value, then each with a zero byte after it;
/// numbers are u32, little-endian. The list ends where the map is malformed.
pub fn fields(map: &[u8]) -> Vec<(&[u8], &[u8])> {
    let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) as usize;
    let Some((count, rest)) = map.split_first_chunk::<4>() else {
        return Vec::new();
    };
    let sizes_length = number(count).saturating_mul(8);
    let Some((sizes, mut texts)) = rest.split_at_checked(sizes_length) else {
        return Vec::new();
    };
    let (words, _) = sizes.as_chunks::<4>();
    let (pairs, _) = words.as_chunks::<2>();
    // At most what the map has room for.
    let mut fields = Vec::with_capacity(pairs.len());
    for [name, value] in pairs {
        let Some((name, [_, rest @ ..])) = texts.split_at_checked(number(name)) else { break };
        let Some((value, rest)) = rest.split_at_checked(number(value)) else { break };
        fields.push((name, value));
        texts = rest.get(1..).unwrap_or_default();
    }
    fields
}

/// Serializes a header map.
fn serialize(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut map = Vec::new();
    let word = |map: &mut Vec<u8>, number: usize| map.extend_from_slice(&(number as u32).to_le_bytes());
    word(&mut map, fields.len());
    for (name, value) in fields {
        word(&mut map, name.len());
        word(&mut map, value.len());
    }
    for text in fields.iter().flat_map(|(name, value)| [name, value]) {
        map.extend_from_slice(text.as_bytes());
        map.push(0);
    }
    map
}

/// Removes all values of a header.
pub fn remove_header(map: MapType, name: &str) -> Result<(), HostStatus> {
    // SAFETY: the name is read during the call only.
    status(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// Replaces all values of a header with one.
pub fn replace_header(map: MapType, name: &str, value: &str) -> Result<(), HostStatus> {
    // SAFETY: both texts are read during the call only.
    status(unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Sets a property whose path has one part, for the access log.
pub fn set_property(name: &str, value: &str) -> Result<(), HostStatus> {
    // SAFETY: both texts are read during the call only.
    status(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Sends a local response.
pub fn send_local_response(code: u16, fields: &[(&str, &str)], body: &str) -> Result<(), HostStatus> {
    const DETAILS: &str = "tollgate";
    const NOT_GRPC: i32 = -1;
    let map = serialize(fields);
    // SAFETY: everything is read during the call only.
    status(unsafe {
        proxy_send_local_response(
            u32::from(code),
            DETAILS.as_ptr(),
            DETAILS.len(),
            body.as_ptr(),
            body.len(),
            map.as_ptr(),
            map.len(),
            NOT_GRPC,
        )
    })
}

/// Defines a counter.
pub fn define_counter(name: &str) -> Result<u32, HostStatus> {
    let mut id = 0;
    // SAFETY: the name is read, and one u32 written, during the call only.
    status(unsafe { proxy_define_metric(MetricType::Counter as u32, name.as_ptr(), name.len(), &mut id) })
        .map(|()| id)
}

/// Adds to a counter.
pub fn increment_metric(id: u32, by: i64) -> Result<(), HostStatus> {
    // SAFETY: no memory is involved.
    status(unsafe { proxy_increment_metric(id, by) })
}

fn status(status: u32) -> Result<(), HostStatus> {
    if status == OK { Ok(()) } else { Err(HostStatus(status)) }
}

/// The host's shared data.
#[derive(Clone, Copy, Debug)]
pub struct Shared;

impl SharedData for Shared {
    fn get(&mut self, name: &str) -> Result<SharedValue, HostStatus> {
        let mut cas = 0;
        let bytes = returned(|data, size| {
            // SAFETY: the out-pointers are valid, and the name is read, during the call only.
            unsafe { proxy_get_shared_data(name.as_ptr(), name.len(), data, size, &mut cas) }
        });
        match bytes {
            Ok(bytes) => Ok(SharedValue { bytes, version: Some(cas) }),
            Err(HostStatus(NOT_FOUND)) => Ok(SharedValue { bytes: Vec::new(), version: None }),
            Err(other) => Err(other),
        }
    }

    fn set(&mut self, name: &str, bytes: &[u8], version: u32) -> Result<Cas, HostStatus> {
        // SAFETY: name and bytes are read during the call only.
        match unsafe {
            proxy_set_shared_data(name.as_ptr(), name.len(), bytes.as_ptr(), bytes.len(), version)
        } {
            OK => Ok(Cas::Stored),
            CAS_MISMATCH => Ok(Cas::Conflict),
            other => Err(HostStatus(other)),
        }
    }
}
