//! What the store needs of the machine: files, free space, time, an engine for tables. The real
//! machine is in `machine`; the simulator brings one that fails on purpose.
//!
//! Never here: a decision. Each call does one thing and says whether it was done.

use std::fmt::Debug;
use std::io;
use std::path::Path;

use super::Error;
use super::tables::Tables;
use crate::domain::Timestamp;

/// The machine below the store.
pub trait Host: Send + Sync + Debug {
    /// Opens a file that is there, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn HostFile>>;
    /// Makes a new file that only this user may read; empties one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn HostFile>>;
    /// Makes a directory that only this user may enter, with its parents. Good if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names of the files and directories in a directory, in any order; none if it is not there.
    fn names(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Gives a file or directory another name, in place of what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Waits until the names in a directory are on disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that this user may still write to the disk of a directory.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// The kernel's id of this boot; `None` where it cannot be had.
    fn boot_id(&self) -> Option<String>;
    /// Opens the tables' engine in a directory, with a cache of about so many bytes.
    fn open_tables(&self, dir: &Path, cache_bytes: u64) -> Result<Box<dyn Tables>, Error>;
}

/// An open file.
pub trait HostFile: Send + Sync + Debug {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads at a position; how many bytes were read, zero at the end.
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all bytes at a position. After an error any part of them may be written.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Waits until content and length are on disk (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends (by zeros) to a length.
    fn set_len(&self, length: u64) -> io::Result<()>;
}

/// Reads from a position until the buffer is full or the file ends; how many bytes were read.
pub(crate) fn read_full(file: &dyn HostFile, into: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], position + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
