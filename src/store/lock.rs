//! One process at a time: an advisory lock on a file in the data directory. The kernel frees it
//! with the process, however that ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::Error;

/// Holds the data directory as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or names the process that holds it.
    pub fn take(dir: &Path) -> Result<Self, Error> {
        make_private_dir(dir)?;
        let path = dir.join("lock");
        let failed = |error: &std::io::Error| Error::io(&path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(Error::Locked(format!("process {}", holder.trim())));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(&error)),
        }
        // Only for people: a full disk must not keep the hub from starting.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// Makes a directory that only this user may enter, parents included.
pub(super) fn make_private_dir(dir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Error::io(dir, &error))
}
