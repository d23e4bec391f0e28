//! The program `redrive`: everything it does is in the library.

use std::process::ExitCode;

/// Deliveries and dead letters are many small values. With the system's allocator they cost a fifth of the processor's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    redrive::cli::run(std::env::args_os())
}
