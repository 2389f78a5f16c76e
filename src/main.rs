//! The program. Everything is in the library; see `shell` for the commands.

use std::process::ExitCode;

// In place of `malloc`: events are allocated by one thread and freed by another, and requests in
// many pieces, which the C library's allocator spends its locks on. (As Rust's own allocator it
// would have the engine's empty tables of 20 MiB written with zeros.)
#[cfg(feature = "mimalloc")]
use mimalloc as _;

fn main() -> ExitCode {
    tidings::shell::main(std::env::args_os())
}
