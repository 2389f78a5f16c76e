//! A file that is there while the store is open. It holds the kernel's boot id, so that a start
//! after a power cut is known as such.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Error;
use super::host::{Host, read_full};

/// Longest boot id that is read.
const BOOT_ID_MAX: usize = 256;

/// The marker of a data directory.
#[derive(Debug)]
pub(crate) struct Marker {
    path: PathBuf,
    state: PathBuf,
    /// The tables on disk are not those that are used.
    disowned: AtomicBool,
}

impl Marker {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join("running"),
            state: dir.join("state"),
            disowned: AtomicBool::new(false),
        }
    }

    /// Whether the last stop was not clean and the machine was booted since.
    pub(crate) fn tells_of_another_boot(&self, host: &dyn Host) -> bool {
        match (self.noted(host), host.boot_id()) {
            (Some(noted), Some(boot)) => noted != boot,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// On disk before the tables are touched: what a power cut leaves must be known as such.
    pub(crate) fn set(&self, host: &dyn Host) -> Result<(), Error> {
        let boot_id = host.boot_id().unwrap_or_default();
        let write = || {
            let file = host.create(&self.path)?;
            file.write_all_at(boot_id.as_bytes(), 0)?;
            file.sync_data()?;
            self.path.parent().map_or(Ok(()), |dir| host.sync_dir(dir))
        };
        write().map_err(|error| Error::io(&self.path, &error))
    }

    /// The tables on disk are not those that are used: a clean stop says nothing about them.
    pub(crate) fn disown(&self) {
        self.disowned.store(true, Ordering::Relaxed);
    }

    /// Notes a clean stop, after what the tables' engine left in the page cache is on disk.
    pub(crate) fn clear(&self, host: &dyn Host) -> Result<(), Error> {
        if self.disowned.load(Ordering::Relaxed) {
            return Ok(());
        }
        let failed = |error: std::io::Error| Error::io(&self.state, &error);
        for name in host.names(&self.state).map_err(failed)? {
            let path = self.state.join(name);
            // A directory of the engine's own holds nothing that counts.
            if let Ok(file) = host.open(&path) {
                file.sync_data().map_err(failed)?;
            }
        }
        host.remove(&self.path).map_err(|error| Error::io(&self.path, &error))
    }

    /// What the marker says; `None` if there is none. One that cannot be read says nothing good.
    fn noted(&self, host: &dyn Host) -> Option<String> {
        let file = match host.open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(_) => return Some(String::new()),
            Ok(file) => file,
        };
        let mut text = vec![0; BOOT_ID_MAX];
        let read = read_full(&*file, &mut text, 0).unwrap_or(0);
        Some(String::from_utf8_lossy(&text[..read]).into_owned())
    }
}
