//! The program. Everything is in the library; see `shell` for the commands.

use std::process::ExitCode;

/// Events are allocated by one thread and freed by another, and requests in many pieces: what the C
/// library's allocator spends its locks on.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidings::shell::main(std::env::args_os())
}
