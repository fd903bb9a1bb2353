//! Memory that comes back soon: what a request asks for, the next one asks for again.
//!
//! Blocks that are given back are kept by their size and handed out again without a search; the standard
//! library's allocator, which this one stands on, joins each with its neighbours and parts them again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// How many small sizes are kept: 12 bytes, and 8 more each time. The allocator below rounds to sixteen, less the four
/// that it keeps beside a block: little is wasted by rounding up.
const SMALL: usize = 72;

/// The largest of them, in bytes.
const LARGEST_SMALL: usize = 12 + 8 * (SMALL - 1);

/// How many larger ones: 64 bytes more each time, up to 4.5 KiB. Records of shared data, heads and most bodies are
/// such.
const LARGE: usize = 64;

/// Bytes that are kept in blocks of one size at most: of small ones what many requests hold while their answers are
/// awaited.
const MOST: usize = 32 * 1024;

/// The alignment of every block; what needs more is not kept.
const ALIGN: usize = 8;

/// The allocator of a VM, which has one thread.
pub struct Memory([Cell<Kept>; SMALL + LARGE]);

/// Blocks of one size that nobody uses, each of which holds the address of the next.
#[derive(Clone, Copy)]
struct Kept {
    first: Option<NonNull<Block>>,
    /// Of all of them together.
    bytes: usize,
}

struct Block {
    next: Option<NonNull<Block>>,
}

// SAFETY: a VM has one thread.
unsafe impl Sync for Memory {}

impl Memory {
    pub const fn new() -> Self {
        Memory([const { Cell::new(Kept { first: None, bytes: 0 }) }; SMALL + LARGE])
    }

    /// Where blocks for this are kept, and how large they are.
    fn kept(&self, layout: Layout) -> Option<(&Cell<Kept>, usize)> {
        let (place, size) = match layout.size().checked_sub(LARGEST_SMALL + 1) {
            None => {
                let step = layout.size().saturating_sub(5) / 8;
                (step, 12 + 8 * step)
            }
            Some(above) => {
                let step = above / 64;
                (SMALL + step, LARGEST_SMALL + 64 * (step + 1))
            }
        };
        let kept = self.0.get(place).filter(|_| layout.align() <= ALIGN)?;
        Some((kept, size))
    }
}

/// A block of this size, as `System` knows it.
fn block(size: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and no size is near the end of memory.
    unsafe { Layout::from_size_align_unchecked(size, ALIGN) }
}

/// A block that nobody has had; seldom, and out of the way of those that are handed out again.
#[cold]
#[inline(never)]
unsafe fn new(layout: Layout) -> *mut u8 {
    // SAFETY: as the caller promises.
    unsafe { System.alloc(layout) }
}

/// The end of a block.
#[cold]
#[inline(never)]
unsafe fn give_back(at: *mut u8, layout: Layout) {
    // SAFETY: as the caller promises.
    unsafe { System.dealloc(at, layout) }
}

// SAFETY: a block comes from `System` with the layout that `kept` gives for what was asked, which is at least that
// large and aligned, and goes back there with the same; between the two it is in one list or in one hand.
unsafe impl GlobalAlloc for Memory {
    // Not inlined, as are the others: they are called from everywhere.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((kept, size)) = self.kept(layout) else {
            // SAFETY: as the caller promises.
            return unsafe { new(layout) };
        };
        let Kept { first, bytes } = kept.get();
        let Some(first) = first else {
            // SAFETY: its size is not 0.
            return unsafe { new(block(size)) };
        };
        // SAFETY: what is in a list was written by `dealloc`, and is used by nobody.
        let next = unsafe { first.as_ref().next };
        kept.set(Kept { first: next, bytes: bytes.wrapping_sub(size) });
        first.as_ptr().cast()
    }

    #[inline(never)]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some((kept, size)) = self.kept(layout) else {
            // SAFETY: as the caller promises.
            return unsafe { give_back(at, layout) };
        };
        let Kept { first, bytes } = kept.get();
        match NonNull::new(at.cast::<Block>()) {
            Some(freed) if bytes.wrapping_add(size) <= MOST => {
                // SAFETY: it has room for an address, is aligned for one, and nobody uses it any more.
                unsafe { freed.write(Block { next: first }) };
                kept.set(Kept { first: Some(freed), bytes: bytes.wrapping_add(size) });
            }
            // SAFETY: it came from there with this layout.
            _ => unsafe { give_back(at, block(size)) },
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
