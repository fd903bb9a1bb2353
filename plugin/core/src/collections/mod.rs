//! A Bloom filter over names, a sort that is small in wasm, and bounds on held bytes and on logs.

pub mod held_bytes;
pub mod name_filter;
pub(crate) mod shares;
pub(crate) mod sort;
