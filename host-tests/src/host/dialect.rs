//! How real hosts differ.

/// Which family of hosts this one behaves as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// Envoy, Istio, Higress, ATS (proxy-wasm-cpp-host): a missing key takes any compare-and-swap number, 0 overwrites,
    /// one number series for the whole process, nothing can be removed. Integers in properties are 8 bytes little-endian.
    #[default]
    Envoy,
    /// As Envoy, but with the shared data of nginx with WasmX (ngx_wasm_module): version 0 inserts a missing key and
    /// never overwrites. The filter refuses such a host; nothing else of nginx is emulated.
    InsertIfAbsent,
    /// A host that says `Ok` to everything that would need memory between requests, and keeps nothing: no shared data,
    /// queues, ticks or metrics (as FastEdge does for shared data).
    Forgetful,
    /// A host that answers `Unimplemented` to the same calls, and to callouts (APISIX, CDN plugins).
    Unimplemented,
}

impl Dialect {
    /// The dialects that the filter supports, for tests that run on each.
    pub const SUPPORTED: [Dialect; 3] = [Dialect::Envoy, Dialect::Forgetful, Dialect::Unimplemented];

    /// Whether shared data is shared and kept.
    pub fn has_shared_data(self) -> bool {
        matches!(self, Dialect::Envoy | Dialect::InsertIfAbsent)
    }
}
