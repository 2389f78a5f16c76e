//! The program. Everything is in the library; see `shell` for the commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidings::shell::main(std::env::args_os())
}
