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
mod handover;
mod hold;
mod host;
#[cfg(test)]
mod hostile_tests;
mod keeper;
mod key;
mod letters;
mod lock;
mod log;
mod machine;
mod marker;
mod open;
mod reader;
mod rebuild;
mod redrives;
mod resume;
mod retention;
mod seal_key;
mod sled_tables;
mod snapshot;
mod staged;
mod status;
mod tables;
mod tail;
#[cfg(test)]
mod tests;
mod verify;
mod warmth;
mod window;
mod writer;

use std::path::Path;

pub use backup::{Manifest, Rehearsed, rehearse, restore};
pub use host::{Host, HostFile};
pub use keeper::Keeper;
pub use key::Key;
pub use letters::Dues;
pub use lock::Lock;
pub use open::{Store, open, open_on};
pub use reader::{Counts, DeadLetterKey, Reader, Stretch};
pub use resume::Resume;
pub use seal_key::check_seal_key;
pub use status::{Damage, Disk, Snapshot, StoreStatus};
pub use tables::{Batch, Memory, Rows, Tables};
pub use verify::{Findings, repair, repair_on, verify};
pub use writer::{Answer, Failure, Pending, Submit, Writer};

/// What went wrong, and so what the caller can do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The disk is full: nothing was written, try again when there is room.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The disk is nearly full: new input is refused, so that delivery can go on.
    #[error("the disk is nearly full: {free} bytes are free, new input needs {floor}")]
    Floor {
        /// Bytes that are free.
        free: u64,
        /// Bytes below which new input is refused: `log.disk_floor`.
        floor: u64,
    },
    /// Reading or writing failed: nothing was written.
    #[error("{0}")]
    Io(String),
    /// The key that seals secrets cannot be used as it is.
    #[error("{0}")]
    Key(String),
    /// A backup cannot be written or read.
    #[error("backup: {0}")]
    Backup(String),
    /// There is no such file (any more).
    #[error("{0}")]
    Gone(String),
    /// The writer cannot go on: the process has to stop and start anew.
    #[error("the store cannot go on: {0}")]
    Fatal(String),
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
