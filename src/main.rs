//! The program `redrive`: everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    redrive::cli::run(std::env::args_os())
}
