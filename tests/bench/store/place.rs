//! Where the data lies: a directory on the disk of the build (not in a /tmp that may be memory),
//! removed at the end.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

/// The directory of one run.
#[derive(Debug)]
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// Makes one.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
        Ok(Self { dir })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A new directory in it, gone with the value.
    pub(crate) fn fresh(&self) -> anyhow::Result<tempfile::TempDir> {
        Ok(tempfile::tempdir_in(self.path())?)
    }
}

/// The files of a directory tree in the order of their paths.
pub(crate) fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut open, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            match path.is_dir() {
                true => open.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The segments of a store's log.
pub(crate) fn segments(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = files(&dir.join("log"))?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    Ok(found)
}

/// Has the kernel forget what it holds of a directory's files, as after a power cut.
pub(crate) fn make_cold(dir: &Path) -> anyhow::Result<()> {
    for path in files(dir)? {
        let file = match File::open(path) {
            // A store that is open gives files other names or removes them.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file?,
        };
        // Only pages that are on disk can be forgotten.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// How many segments of a store's log wait to be written again.
pub(crate) fn spares(dir: &Path) -> anyhow::Result<usize> {
    let is_spare = |path: &&PathBuf| path.extension().is_some_and(|end| end == "spare");
    Ok(files(&dir.join("log"))?.iter().filter(is_spare).count())
}
