//! Loading a policy.

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

/// Loading that many keys, natively.
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

/// What a policy of that many keys takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Its text.
    pub document: usize,
    /// The index, natively, as the counting allocator sees it.
    pub index: usize,
    /// How much larger a VM's memory is than with an empty policy; it comes in pages of 64 KiB and never shrinks.
    pub vm: usize,
}

/// Measures them.
///
/// # Panics
/// If the filter does not take the policy.
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
