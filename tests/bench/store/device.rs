//! What was written to the block device under a directory, by anybody, and by this process.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Place of "sectors written" among a device's numbers, and a sector's bytes.
const SECTORS_WRITTEN: usize = 6;
const SECTOR: u64 = 512;

/// A block device.
#[derive(Debug)]
pub(crate) struct Device {
    dir: File,
    numbers: PathBuf,
}

/// Bytes written so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// To the device, by anybody.
    pub(crate) device: u64,
    /// By this process, metadata not counted.
    pub(crate) process: u64,
}

impl Device {
    /// The one that a directory lies on. An error where that is no block device.
    pub(crate) fn under(dir: &Path) -> anyhow::Result<Self> {
        let dir = File::open(dir)?;
        let id = dir.metadata()?.dev();
        let (major, minor) = (rustix::fs::major(id), rustix::fs::minor(id));
        let numbers = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        anyhow::ensure!(numbers.exists(), "{major}:{minor} is no block device");
        Ok(Self { dir, numbers })
    }

    /// Brings all that waits to the device and reads the counters.
    pub(crate) fn written(&self) -> anyhow::Result<Written> {
        rustix::fs::syncfs(&self.dir)?;
        let text = std::fs::read_to_string(&self.numbers)?;
        let sectors = text.split_whitespace().nth(SECTORS_WRITTEN).context("a short stat")?;
        let own = std::fs::read_to_string("/proc/self/io")?;
        let own = own.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        Ok(Written {
            device: sectors.parse::<u64>()? * SECTOR,
            process: own.context("no write_bytes")?.parse()?,
        })
    }
}
