//! The raw disk: one write and one `fdatasync` a group, nothing else. What no log can beat.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one loop runs. Short, so that many can be alternated with what they are compared to.
const TIME: Duration = Duration::from_millis(200);

/// Length of the file that is overwritten.
const OLD_BYTES: usize = 64 << 20;

/// A directory's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    old: File,
}

/// Groups a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Groups {
    /// Appending to a new file.
    pub(crate) append: f64,
    /// Over blocks that were written before, as a recycled segment has them.
    pub(crate) overwrite: f64,
}

impl Disk {
    /// Writes the file that will be overwritten.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let mut old = tempfile::tempfile_in(dir)?;
        old.write_all(&vec![b'o'; OLD_BYTES])?;
        old.sync_all()?;
        Ok(Self { dir: dir.to_owned(), old })
    }

    /// Runs both loops with groups of so many bytes.
    pub(crate) fn groups(&self, bytes: usize) -> anyhow::Result<Groups> {
        let file = tempfile::tempfile_in(&self.dir)?;
        Ok(Groups {
            append: groups_per_second(&file, bytes, usize::MAX)?,
            overwrite: groups_per_second(&self.old, bytes, OLD_BYTES)?,
        })
    }
}

fn groups_per_second(file: &File, bytes: usize, end: usize) -> anyhow::Result<f64> {
    let group = vec![b'x'; bytes];
    let (mut groups, mut position) = (0_u32, 0);
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        if position + bytes > end {
            position = 0;
        }
        file.write_all_at(&group, u64::try_from(position)?)?;
        file.sync_data()?;
        position += bytes;
        groups += 1;
    }
    Ok(f64::from(groups) / begin.elapsed().as_secs_f64())
}
