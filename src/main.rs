//! The program `redrive`: everything it does is in the library.

use std::process::ExitCode;

/// Deliveries and dead letters are many small values: the system's allocator took a fifth of the processor's time with them.
/// This one gives back what is not used, by a thread of its own, and stays within a memory limit that mimalloc overran.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    redrive::cli::run(std::env::args_os())
}
