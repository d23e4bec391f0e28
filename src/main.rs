//! The program `redrive`: everything it does is in the library.

use std::process::ExitCode;

/// A delivery allocates dozens of small things on one thread and frees them on another: the system's allocator spends a quarter
/// of the broker's time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    redrive::cli::run(std::env::args_os())
}
