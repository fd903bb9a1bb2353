//! The bare host calls. They trap on any status but Ok, since the bench would then measure something else.

pub const REQUEST_BODY: u32 = 0;
pub const RESPONSE_BODY: u32 = 1;
pub const CONFIGURATION: u32 = 7;
pub const REQUEST_HEADERS: u32 = 0;
pub const RESPONSE_HEADERS: u32 = 2;
const MONOTONIC: u32 = 1;
const NOT_FOUND: u32 = 1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, size: usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
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
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
}

fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    match call(&mut data, &mut size) {
        0 if data.is_null() => Some(Vec::new()),
        // SAFETY: the host has filled memory that this module allocated with this capacity.
        0 => Some(unsafe { Vec::from_raw_parts(data, size, size) }),
        NOT_FOUND => None,
        _ => std::process::abort(),
    }
}

fn must(status: u32) {
    if status != 0 {
        std::process::abort();
    }
}

pub fn buffer(kind: u32, most: usize) -> Vec<u8> {
    // SAFETY: the out-pointers are valid for the call.
    returned(|data, size| unsafe { proxy_get_buffer_bytes(kind, 0, most, data, size) }).unwrap_or_default()
}

pub fn head(map: u32) -> Vec<u8> {
    // SAFETY: as above.
    returned(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) }).unwrap_or_default()
}

pub fn wall() -> u64 {
    let mut wall = 0;
    // SAFETY: the call writes one u64.
    must(unsafe { proxy_get_current_time_nanoseconds(&mut wall) });
    wall
}

pub fn clocks() -> [u64; 2] {
    let mut monotonic = 0;
    // SAFETY: as above.
    must(unsafe { clock_time_get(MONOTONIC, 1, &mut monotonic) });
    [wall(), monotonic]
}

pub fn remove(name: &str) {
    // SAFETY: the name is read during the call only.
    must(unsafe { proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()) });
}

pub fn replace(map: u32, name: &str, value: &str) {
    // SAFETY: both texts are read during the call only.
    must(unsafe {
        proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    });
}

/// Makes one get and one set, with a record of this size.
pub fn swap(name: &str, size: usize) {
    let mut cas = 0;
    let record = returned(|data, length| {
        // SAFETY: the out-pointers are valid, and the name is read, during the call only.
        unsafe { proxy_get_shared_data(name.as_ptr(), name.len(), data, length, &mut cas) }
    });
    let record = record.unwrap_or_else(|| vec![0; size]);
    // SAFETY: name and record are read during the call only.
    must(unsafe { proxy_set_shared_data(name.as_ptr(), name.len(), record.as_ptr(), record.len(), cas) });
}
