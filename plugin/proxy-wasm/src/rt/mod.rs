//! Runtime: the global allocator, and the functions that the compiler calls for copies and comparisons.

mod alloc;
mod mem;

#[global_allocator]
static ALLOCATOR: alloc::SizeClasses = alloc::SizeClasses::new();
