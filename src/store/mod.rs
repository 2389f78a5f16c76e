//! Layer 1: all files and bytes on disk. Blocking inside, async handles outside.
//!
//! The log is the truth; the tables are a fold over it and can be thrown away. Never here: a
//! decision (those are `domain`'s), a socket, an acknowledgement before the `fdatasync` returned.

mod backup;
mod codec;
#[cfg(test)]
mod damage_tests;
mod floor;
mod fold;
mod host;
mod keeper;
mod key;
mod lock;
mod log;
mod machine;
mod marker;
mod open;
mod reader;
mod rebuild;
mod retention;
mod sled_tables;
mod snapshot;
mod staged;
mod tables;
mod tail;
#[cfg(test)]
mod tests;
mod verify;
mod window;
mod writer;

use std::path::Path;

pub use backup::{Manifest, Rehearsed, rehearse, restore};
pub use host::{Host, HostFile};
pub use keeper::Keeper;
pub use lock::Lock;
pub use log::Damage;
pub use open::{Store, open, open_on};
pub use reader::{Counts, DeadLetterKey, Reader, Resume};
pub use tables::{Batch, Memory, Rows, Tables};
pub use verify::{Findings, repair, verify};
pub use writer::{Answer, Failure, Pending, Submit, Writer};

/// What went wrong, and so what the caller can do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The disk is full: nothing was written, try again when there is room.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Reading or writing failed: nothing was written.
    #[error("{0}")]
    Io(String),
    /// A backup cannot be written or read.
    #[error("backup: {0}")]
    Backup(String),
    /// There is no such file (any more).
    #[error("{0}")]
    Gone(String),
    /// The writer cannot go on: the process has to stop and start anew.
    #[error("the store cannot go on: {0}")]
    Fatal(String),
    /// There is less room on the disk than the floor: nothing new is taken in.
    #[error("the disk has {free} bytes free, fewer than the {floor} of log.disk_floor")]
    Floor {
        /// Free bytes.
        free: u64,
        /// The floor.
        floor: u64,
    },
    /// Written by a newer release.
    #[error("{0}")]
    Newer(String),
    /// Another process holds the data directory.
    #[error("the data directory is in use by {0}")]
    Locked(String),
    /// The tables cannot be used; they are rebuilt from the log.
    #[error("the tables are broken: {0}")]
    Tables(String),
    /// Too many commands wait for the writer.
    #[error("too many commands wait for the writer")]
    Busy,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    fn io(path: &Path, error: &std::io::Error) -> Self {
        let text = format!("{}: {error}", path.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Gone(text),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full(text),
            _ => Self::Io(text),
        }
    }
}
