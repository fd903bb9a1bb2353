//! A Bloom filter over names, and a sort that is small in wasm.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod name_filter;
pub(crate) mod sort;
