//! What the filter has in the place of the C library's copies and comparisons, in the module itself.

use std::cmp::Ordering;
use std::sync::LazyLock;

use tollgate_host::host::Module;
use tollgate_host::module;
use wasmtime::{Linker, Memory, Store, TypedFunc};

/// Longer than any block, head or record has to be copied in one of the ways.
const MOST: usize = 200;

/// Two pieces of memory that the module gave, each with a margin that must stay as it is.
struct Pieces {
    store: Store<()>,
    memory: Memory,
    at: [usize; 2],
    function: TypedFunc<(u32, u32, u32), u32>,
}

impl Pieces {
    fn new(function: &str) -> Pieces {
        static MODULE: LazyLock<Module> = LazyLock::new(|| module::load(&[]).unwrap());
        let module = MODULE.compiled();
        let mut linker = Linker::new(module.engine());
        linker.define_unknown_imports_as_traps(module).unwrap();
        let mut store = Store::new(module.engine(), ());
        let instance = linker.instantiate(&mut store, module).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let allocate = instance.get_typed_func::<u32, u32>(&mut store, "proxy_on_memory_allocate").unwrap();
        let at = [(); 2].map(|()| allocate.call(&mut store, 4 * MOST as u32).unwrap() as usize);
        let function = instance.get_typed_func(&mut store, function).unwrap();
        Pieces { store, memory, at, function }
    }

    fn piece(&mut self, which: usize) -> &mut [u8] {
        let at = self.at[which];
        &mut self.memory.data_mut(&mut self.store)[at..at + 4 * MOST]
    }

    fn call(&mut self, one: usize, other: usize, size: usize) -> u32 {
        let (one, other) = (self.at[0] + one, self.at[1] + other);
        self.function.call(&mut self.store, (one as u32, other as u32, size as u32)).unwrap()
    }
}

#[test]
fn a_copy_of_any_size_from_and_to_any_place_is_exact_and_no_more() {
    let mut pieces = Pieces::new("memcpy");
    for size in 0..=MOST {
        for (to, from) in [(0, 0), (1, 0), (0, 3), (5, 7), (8, 15), (13, 1)] {
            for (position, byte) in pieces.piece(1).iter_mut().enumerate() {
                *byte = (position * 7 + size) as u8;
            }
            let source = pieces.piece(1)[from..from + size].to_vec();
            pieces.piece(0).fill(0xee);
            let returned = pieces.call(to, from, size);
            assert_eq!(returned as usize, pieces.at[0] + to);
            let copied = pieces.piece(0);
            assert_eq!(copied[to..to + size], source, "{size} bytes from {from} to {to}");
            let beside = copied[..to].iter().chain(&copied[to + size..]);
            assert!(beside.into_iter().all(|byte| *byte == 0xee), "{size} bytes from {from} to {to}");
        }
    }
}

#[test]
fn a_comparison_goes_by_the_first_byte_that_differs() {
    let mut pieces = Pieces::new("memcmp");
    for size in 0..=40 {
        for (one, other) in [(0, 0), (3, 0), (1, 6)] {
            for which in [0, 1] {
                pieces.piece(which).fill(0x80);
            }
            // What follows is nobody's business.
            pieces.piece(0)[one + size] = 1;
            assert_eq!(pieces.call(one, other, size), 0, "{size} equal bytes");
            for differs in 0..size {
                for (byte, order) in [(0x7f, Ordering::Less), (0x81, Ordering::Greater), (0, Ordering::Less)]
                {
                    pieces.piece(0)[one + differs] = byte;
                    // Later bytes would say the opposite.
                    for later in differs + 1..size {
                        pieces.piece(0)[one + later] = if order == Ordering::Less { 0xff } else { 0 };
                    }
                    let found = pieces.call(one, other, size) as i32;
                    assert_eq!(found.cmp(&0), order, "{size} bytes, {byte:#x} at {differs}");
                }
                for byte in &mut pieces.piece(0)[one..one + size] {
                    *byte = 0x80;
                }
            }
        }
    }
}
