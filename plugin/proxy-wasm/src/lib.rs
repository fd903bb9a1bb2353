//! Tollgate as a proxy-wasm filter.
