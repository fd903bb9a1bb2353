//! Memory that comes back soon: what a request asks for, the next one asks for again.
//!
//! Small blocks that are given back are kept by their size and handed out again without a search; the standard
//! library's allocator, which this one stands on, joins each with its neighbours and parts them again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// How many sizes are kept: 12 bytes, and 8 more each time. They are what the allocator below has blocks of, so that
/// nothing is wasted by rounding up.
const SIZES: usize = 72;

/// Blocks of one size that are kept at most.
const MOST: u32 = 64;

/// The alignment of every block; what needs more is not kept.
const ALIGN: usize = 8;

/// The allocator of a VM, which has one thread.
pub struct Memory([Cell<Kept>; SIZES]);

/// Blocks of one size that nobody uses, each of which holds the address of the next.
#[derive(Clone, Copy)]
struct Kept {
    first: Option<NonNull<Block>>,
    count: u32,
}

struct Block {
    next: Option<NonNull<Block>>,
}

// SAFETY: a VM has one thread.
unsafe impl Sync for Memory {}

impl Memory {
    pub const fn new() -> Self {
        Memory([const { Cell::new(Kept { first: None, count: 0 }) }; SIZES])
    }

    /// Where blocks for this are kept, and how large they are.
    fn kept(&self, layout: Layout) -> Option<(&Cell<Kept>, Layout)> {
        let step = (layout.size().saturating_sub(5)) / 8;
        let kept = self.0.get(step).filter(|_| layout.align() <= ALIGN)?;
        Some((kept, Layout::from_size_align(12 + 8 * step, ALIGN).ok()?))
    }
}

// SAFETY: a block comes from `System` with the layout that `kept` gives for what was asked, which is at least that
// large and aligned, and goes back there with the same; between the two it is in one list or in one hand.
unsafe impl GlobalAlloc for Memory {
    // Not inlined, as are the others: they are called from everywhere.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((kept, block)) = self.kept(layout) else {
            // SAFETY: as the caller promises.
            return unsafe { System.alloc(layout) };
        };
        let Kept { first, count } = kept.get();
        let Some(first) = first else {
            // SAFETY: its size is not 0.
            return unsafe { System.alloc(block) };
        };
        // SAFETY: what is in a list was written by `dealloc`, and is used by nobody.
        let next = unsafe { first.as_ref().next };
        kept.set(Kept { first: next, count: count.wrapping_sub(1) });
        first.as_ptr().cast()
    }

    #[inline(never)]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some((kept, block)) = self.kept(layout) else {
            // SAFETY: as the caller promises.
            return unsafe { System.dealloc(at, layout) };
        };
        let Kept { first, count } = kept.get();
        match NonNull::new(at.cast::<Block>()) {
            Some(freed) if count < MOST => {
                // SAFETY: it has room for an address, is aligned for one, and nobody uses it any more.
                unsafe { freed.write(Block { next: first }) };
                kept.set(Kept { first: Some(freed), count: count.wrapping_add(1) });
            }
            // SAFETY: it came from there with this layout.
            _ => unsafe { System.dealloc(at, block) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else {
            return ptr::null_mut();
        };
        match (self.kept(layout), self.kept(new)) {
            // SAFETY: as the caller promises.
            (None, None) => unsafe { System.realloc(at, layout, size) },
            (Some((_, old)), Some((_, new))) if old == new => at,
            _ => {
                // SAFETY: the new block is another one, and both hold what is copied.
                unsafe {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(at, moved, layout.size().min(size));
                        self.dealloc(at, layout);
                    }
                    moved
                }
            }
        }
    }
}
