//! Size-class free lists over the system allocator. Hand-written, because with the system allocator alone a request
//! executes 7.4 % more instructions: it merges each freed block with its neighbours and splits it again for the next
//! request, which needs the same sizes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// The number of small size classes: 12 bytes, and 8 more each time. The system allocator rounds up to 16, less the 4
/// of its header, so that the rounding wastes little.
const SMALL: usize = 72;

/// The largest small size class, in bytes.
const LARGEST_SMALL: usize = 12 + 8 * (SMALL - 1);

/// The number of large size classes: 64 bytes more each time, up to 4.5 KiB. Records of shared data, header maps and
/// most bodies are of such sizes.
const LARGE: usize = 64;

/// The largest number of free bytes in one class: what many requests hold while they wait for their responses.
const MAX_FREE: usize = 32 * 1024;

/// The alignment of every block. Allocations that need more go to the system allocator.
const ALIGN: usize = 8;

/// The allocator of a VM, which has one thread.
pub struct SizeClasses([Cell<FreeList>; SMALL + LARGE]);

/// Free blocks of one size, each of which holds the address of the next.
#[derive(Clone, Copy)]
struct FreeList {
    first: Option<NonNull<Block>>,
    /// The size of all blocks together.
    bytes: usize,
}

struct Block {
    next: Option<NonNull<Block>>,
}

// SAFETY: a VM has one thread.
unsafe impl Sync for SizeClasses {}

impl SizeClasses {
    pub const fn new() -> Self {
        SizeClasses([const { Cell::new(FreeList { first: None, bytes: 0 }) }; SMALL + LARGE])
    }

    /// Returns the free list for a layout, and the size of its blocks. `None`: the system allocator serves it.
    fn class(&self, layout: Layout) -> Option<(&Cell<FreeList>, usize)> {
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
        let list = self.0.get(place).filter(|_| layout.align() <= ALIGN)?;
        Some((list, size))
    }
}

/// The layout of a block of this size.
fn block(size: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and no size is near the end of memory.
    unsafe { Layout::from_size_align_unchecked(size, ALIGN) }
}

/// Allocates from the system; rare, and kept out of the fast path.
#[cold]
#[inline(never)]
unsafe fn new(layout: Layout) -> *mut u8 {
    // SAFETY: by the caller.
    unsafe { System.alloc(layout) }
}

/// Returns memory to the system.
#[cold]
#[inline(never)]
unsafe fn release(at: *mut u8, layout: Layout) {
    // SAFETY: by the caller.
    unsafe { System.dealloc(at, layout) }
}

// SAFETY: a block comes from `System` with the layout that `class` gives for the one requested, which is at least as
// large and aligned, and goes back with the same; in between it is in one free list or allocated once.
unsafe impl GlobalAlloc for SizeClasses {
    // Never inlined, like the others: there are thousands of call sites.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((list, size)) = self.class(layout) else {
            // SAFETY: by the caller.
            return unsafe { new(layout) };
        };
        let FreeList { first, bytes } = list.get();
        let Some(first) = first else {
            // SAFETY: its size is not 0.
            return unsafe { new(block(size)) };
        };
        // SAFETY: `dealloc` wrote it, and a free block is not in use.
        let next = unsafe { first.as_ref().next };
        list.set(FreeList { first: next, bytes: bytes.wrapping_sub(size) });
        first.as_ptr().cast()
    }

    #[inline(never)]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some((list, size)) = self.class(layout) else {
            // SAFETY: by the caller.
            return unsafe { release(at, layout) };
        };
        let FreeList { first, bytes } = list.get();
        match NonNull::new(at.cast::<Block>()) {
            Some(freed) if bytes.wrapping_add(size) <= MAX_FREE => {
                // SAFETY: it has room for an address, is aligned for one, and is not in use.
                unsafe { freed.write(Block { next: first }) };
                list.set(FreeList { first: Some(freed), bytes: bytes.wrapping_add(size) });
            }
            // SAFETY: it came from there with this layout.
            _ => unsafe { release(at, block(size)) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else {
            return ptr::null_mut();
        };
        match (self.class(layout), self.class(new)) {
            // SAFETY: by the caller.
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
