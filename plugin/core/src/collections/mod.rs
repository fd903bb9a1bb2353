//! A Bloom filter over names, and a sort that is small in wasm.

pub mod name_filter;
pub(crate) mod sort;
