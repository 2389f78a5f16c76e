//! Backups: one tar file with the newest snapshot, the segments up to one offset, and a manifest
//! with the checksum of each. Taken from a running hub without stopping it; read back into an empty
//! directory, or only rehearsed.

mod archive;
#[cfg(test)]
mod hostile_tests;
mod restore;
mod take;

pub use archive::Manifest;
pub use restore::{Rehearsed, rehearse, restore};

pub(crate) use take::write_backup;
