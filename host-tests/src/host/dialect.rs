//! How real hosts differ.

/// Which family of hosts this one behaves as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// Envoy, Istio, Higress, ATS (proxy-wasm-cpp-host): a missing key takes any compare-and-swap number, 0 overwrites,
    /// one number series for the whole process, nothing can be removed. Integers in properties are 8 bytes little-endian.
    #[default]
    Envoy,
    /// nginx with WasmX (ngx_wasm_module): strict numbers per key, a key is the CRC32 of its name, `set(None)` removes.
    /// Properties are text; no trailers, no pause in response headers, `end_of_stream` is false in headers callbacks;
    /// unsupported calls, a second local reply and a second tick period trap; a module that imports
    /// `proxy_get_log_level` does not load.
    WasmX,
    /// A host that says `Ok` to everything that would need memory between requests, and keeps nothing: no shared data,
    /// queues, ticks or metrics (as FastEdge does for shared data).
    Forgetful,
    /// A host that answers `Unimplemented` to the same calls, and to callouts (APISIX, CDN plugins).
    Unimplemented,
}

impl Dialect {
    /// All of them, for tests that run on each.
    pub const ALL: [Dialect; 4] =
        [Dialect::Envoy, Dialect::WasmX, Dialect::Forgetful, Dialect::Unimplemented];

    /// Whether shared data is shared and kept.
    pub fn has_shared_data(self) -> bool {
        matches!(self, Dialect::Envoy | Dialect::WasmX)
    }

    pub(crate) fn is_wasmx(self) -> bool {
        self == Dialect::WasmX
    }
}
