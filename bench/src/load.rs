//! The cost of loading a policy.

use std::hint::black_box;
use std::time::Instant;

use serde_json::json;

use crate::piece::Piece;
use crate::{allocation, native, way, world};

/// The sizes, in keys.
pub const KEYS: [usize; 3] = [1_000, 10_000, 100_000];

fn document(keys: usize) -> String {
    json!({"policy": world::policy(keys)}).to_string()
}

/// Creates a bench that loads this number of keys natively.
pub fn piece(keys: usize) -> Piece {
    let document = document(keys);
    Piece::new(format!("load {keys} keys"), 1, move || {
        let began = Instant::now();
        let gateway = black_box(native::load(&document));
        let elapsed = began.elapsed();
        drop(gateway);
        elapsed
    })
}

/// The memory of a policy with this number of keys, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The size of its JSON text.
    pub document: usize,
    /// The size of the index, natively, by the counting allocator.
    pub index: usize,
    /// The growth of a VM's memory over an empty policy, in pages of 64 KiB that are never returned.
    pub vm: usize,
}

/// Measures the sizes.
///
/// # Panics
/// If the filter rejects the policy.
pub fn sizes(keys: usize) -> Sizes {
    let document = document(keys);
    let (gateway, index) = allocation::kept_by(|| native::load(&document));
    drop(gateway);
    let memory = |keys: usize| {
        let process = way::process(way::filter(), &json!({"policy": world::policy(keys)}));
        way::vm(&process).memory_size()
    };
    Sizes { document: document.len(), index, vm: memory(keys) - memory(0) }
}
