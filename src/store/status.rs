//! How the store stands on its disk, for those who look. Plain values; never a file's content.

use crate::domain::{Offset, Timestamp};

/// The log, its snapshots, what was damaged, and the room that is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// The oldest record that there is.
    pub oldest_offset: Offset,
    /// One past the newest record.
    pub next_offset: Offset,
    /// Bytes of the log on disk.
    pub bytes: u64,
    /// Files of the log.
    pub segments: u64,
    /// Snapshots of the tables, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// Ranges of the log that could not be read and were set aside, oldest first.
    pub damage: Vec<Damage>,
    /// Room for more.
    pub disk: Disk,
}

/// A snapshot of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// It holds what records before this offset led to.
    pub as_of: Offset,
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub at: Timestamp,
}

/// A range of the log that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file's name in the log's directory.
    pub file: String,
    /// Where in the file it begins.
    pub from_byte: u64,
    /// The first byte after it.
    pub to_byte: u64,
    /// The first record that may be lost.
    pub from_offset: Offset,
    /// The first record after it.
    pub to_offset: Offset,
    /// When it was found.
    pub found_at: Timestamp,
}

/// Room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Below so many free bytes new input is refused.
    pub floor_bytes: u64,
    /// New input is refused now.
    pub refusing: bool,
}
