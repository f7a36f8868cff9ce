//! A global allocator that reports how many bytes are allocated or freed.
#![allow(unsafe_code, unreachable_pub)]

use std::alloc::{GlobalAlloc, Layout, System};

/// The system allocator; calls the function with every change of the bytes held. That function must
/// not allocate.
pub struct Counting(pub fn(isize));

// SAFETY: every call is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        (self.0)(layout.size() as isize);
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        (self.0)(-(layout.size() as isize));
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(ptr, layout) }
    }
}
