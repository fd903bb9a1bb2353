//! The differences between real hosts.

/// The family of hosts that a process emulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// Envoy, Istio, Higress, ATS (proxy-wasm-cpp-host): a write to a missing key succeeds with any
    /// compare-and-swap number, 0 overwrites, one number series for the whole process, keys cannot be
    /// removed. Integers in properties are 8 bytes little-endian.
    #[default]
    Envoy,
    /// Envoy with the shared data of nginx with WasmX (ngx_wasm_module): version 0 inserts a missing key and
    /// never overwrites. The filter rejects such a host; nothing else of nginx is emulated.
    InsertIfAbsent,
    /// A host that returns `Ok` for everything that needs memory between requests, and stores nothing: no
    /// shared data, queues, ticks or metrics (like FastEdge for shared data).
    Forgetful,
    /// A host that returns `Unimplemented` for the same calls and for callouts (APISIX, CDN plugins).
    Unimplemented,
}

impl Dialect {
    /// The dialects that the filter supports, for tests that run on each.
    pub const SUPPORTED: [Dialect; 3] = [Dialect::Envoy, Dialect::Forgetful, Dialect::Unimplemented];

    /// Returns true if shared data is shared and stored.
    pub fn has_shared_data(self) -> bool {
        matches!(self, Dialect::Envoy | Dialect::InsertIfAbsent)
    }
}
