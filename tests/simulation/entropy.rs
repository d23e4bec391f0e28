//! The system's random numbers, decided by the seed: this test binary brings its own `getrandom`, which the standard library
//! (for the order of its hash maps), the crate of that name and tokio all call.
//!
//! Nothing of the product knows of it. One seed runs in one process, so the stream is the seed's alone.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::chance::Chance;

static STATE: AtomicU64 = AtomicU64::new(0);

/// Begins the stream of a seed.
pub(crate) fn begin(seed: u64) {
    STATE.store(seed ^ 0x5EED_5EED_5EED_5EED, Ordering::SeqCst);
}

fn fill(bytes: &mut [u8]) {
    for piece in bytes.chunks_mut(8) {
        let at = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
        let number = Chance::new(at).next().to_be_bytes();
        piece.copy_from_slice(&number[..piece.len()]);
    }
}

/// Stands before the C library's function of this name.
///
/// # Safety
/// As `getrandom(2)`: `buffer` holds `length` bytes.
#[expect(unsafe_code, reason = "the C function has this shape")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: the caller owns the buffer, as for the function that this stands for.
    fill(unsafe { std::slice::from_raw_parts_mut(buffer, length) });
    isize::try_from(length).unwrap_or(isize::MAX)
}
