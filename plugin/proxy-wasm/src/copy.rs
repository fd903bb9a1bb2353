//! What the compiler calls for copies and comparisons of a few bytes to a few hundred, as names, structs and records have.
//!
//! The C library's own copy leaves all that is above 32 bytes to the engine, whose way out and back costs more than these
//! do; its comparison goes byte by byte.

use std::arch::wasm32::{v128, v128_load, v128_store};

/// As C has it.
///
/// # Safety
/// `size` bytes can be read at `from` and written at `to`, and the two do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    // SAFETY: no offset is above `size`, which the caller promises for both; bytes may be copied twice.
    unsafe {
        if size >= 16 {
            let last = size - 16;
            let mut at = 0;
            while at < last {
                chunk(to.add(at), from.add(at));
                at += 16;
            }
            chunk(to.add(last), from.add(last));
        } else if size >= 8 {
            part(to, from, 0);
            part(to, from, size - 8);
        } else {
            let mut at = 0;
            while at < size {
                *to.add(at) = *from.add(at);
                at += 1;
            }
        }
    }
    to
}

unsafe fn chunk(to: *mut u8, from: *const u8) {
    // SAFETY: as the caller promises; unaligned addresses are as good as others.
    unsafe { v128_store(to.cast::<v128>(), v128_load(from.cast::<v128>())) }
}

unsafe fn part(to: *mut u8, from: *const u8, at: usize) {
    // SAFETY: as above.
    unsafe { to.add(at).cast::<u64>().write_unaligned(word(from.add(at))) }
}

/// As C has it.
///
/// # Safety
/// `size` bytes can be read at both.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, size: usize) -> i32 {
    let last = size.saturating_sub(8);
    let mut at = 0;
    // SAFETY: no offset is above `size`, which the caller promises for both.
    unsafe {
        // What is the same is passed over in words, the last of which may begin in the one before.
        while size >= 8 && word(one.add(at)) == word(other.add(at)) {
            if at == last {
                return 0;
            }
            at = last.min(at + 8);
        }
        while at < size {
            let [one, other] = [*one.add(at), *other.add(at)];
            if one != other {
                return i32::from(one) - i32::from(other);
            }
            at += 1;
        }
    }
    0
}

unsafe fn word(at: *const u8) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { at.cast::<u64>().read_unaligned() }
}
