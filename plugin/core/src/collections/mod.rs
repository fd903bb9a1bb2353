//! A Bloom filter over names, a sort that is small in wasm, and a bound on held bytes.

pub mod held_bytes;
pub mod name_filter;
pub(crate) mod sort;
