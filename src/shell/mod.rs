//! The commands that a person types. Above everything else; only `main` imports it.

mod backup;
mod check;
mod client;
mod command_line;
mod demo;
mod exit_code;
mod explain;
mod explained;
mod print;
mod publish;
mod serve;
mod tail;
mod token;

pub use command_line::main;

use crate::{config, run, store};

/// Why a command failed; each has its exit code.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// 2: the command line is off.
    #[error("{0}")]
    Usage(String),
    /// 78: the configuration is off.
    #[error("configuration: {0}")]
    Config(#[from] config::Error),
    /// 69, 73, 75 or 1, by what is inside.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The same, for commands that open the store themselves.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// 1: anything else.
    #[error("{0}")]
    Fault(String),
}
