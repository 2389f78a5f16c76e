//! Where damage is written down: each stretch of the log that cannot be read is copied into a file
//! of its own, with a report beside it. The log itself is left as it is. An operator who has seen a
//! report may delete both files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::entries::Hole;
use super::segment::Segment;
use crate::domain::{Offset, Timestamp};
use crate::store::Damage;
use crate::store::host::{Host, HostFile, read_full};

/// Most stretches that are written down; more are only logged and counted.
const REPORTS_MAX: usize = 1_000;

/// Copied at once.
const CHUNK: usize = 64 << 10;

/// A report as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    file: String,
    from_byte: u64,
    to_byte: u64,
    from_offset: Offset,
    to_offset: Offset,
    found_at: String,
}

/// The register of damage.
#[derive(Debug)]
pub(crate) struct Quarantine {
    host: Arc<dyn Host>,
    dir: PathBuf,
    /// Written to disk only by who added to it. Guards memory only.
    list: Mutex<Vec<Damage>>,
    /// Whether anything is written to disk at all.
    writes: bool,
}

impl Quarantine {
    /// Reads the reports that are there.
    pub(crate) fn open(host: Arc<dyn Host>, dir: PathBuf) -> Self {
        let mut list: Vec<Damage> = Vec::new();
        let mut names = host.names(&dir).unwrap_or_default();
        names.sort();
        for name in names.iter().filter(|name| name.ends_with(".json")).take(REPORTS_MAX) {
            list.extend(read_report(&*host, &dir.join(name)));
        }
        Self { host, dir, list: Mutex::new(list), writes: true }
    }

    /// A register that only keeps in memory what is reported, beginning with what is known.
    pub(crate) fn dry(host: Arc<dyn Host>, dir: PathBuf) -> Self {
        Self { writes: false, ..Self::open(host, dir) }
    }

    /// All damage that is known, oldest report first.
    pub(crate) fn list(&self) -> Vec<Damage> {
        self.list.lock().expect("no panic while the list is held").clone()
    }

    /// Takes a stretch of a segment in, unless it is known.
    pub(super) fn take(&self, segment: &Segment, hole: Hole) {
        let name = segment.path().file_name().unwrap_or_default();
        let damage = self.damage(&name.to_string_lossy(), hole);
        if self.add(&damage) {
            let read = |into: &mut [u8], position| segment.read_at(into, position);
            self.write(&damage, &read);
        }
    }

    /// Takes a file in that cannot be read at all, or the place of one that is missing.
    pub(super) fn take_file(&self, path: &Path, hole: Hole) {
        let name = path.file_name().unwrap_or_default();
        let damage = self.damage(&name.to_string_lossy(), hole);
        if self.add(&damage) {
            let file = self.host.open(path);
            let read = |into: &mut [u8], position| match &file {
                Ok(file) => read_full(&**file, into, position),
                Err(_) => Ok(0),
            };
            self.write(&damage, &read);
        }
    }

    fn damage(&self, file: &str, hole: Hole) -> Damage {
        Damage {
            file: file.to_owned(),
            from_byte: hole.from_byte,
            to_byte: hole.to_byte,
            from_offset: hole.from,
            to_offset: hole.to,
            found_at: self.host.now(),
        }
    }

    /// False: it was known before.
    fn add(&self, damage: &Damage) -> bool {
        let mut list = self.list.lock().expect("no panic while the list is held");
        // Where a whole file is missing, the files beside the gap may be others by now.
        let is_missing = |of: &Damage| of.to_byte == 0;
        let same = |known: &Damage| {
            let same_bytes = known.file == damage.file && known.from_byte == damage.from_byte;
            let both_missing =
                is_missing(known) && is_missing(damage) && known.to_offset == damage.to_offset;
            known.from_offset == damage.from_offset && (same_bytes || both_missing)
        };
        if list.iter().any(same) {
            return false;
        }
        let Damage { file, from_byte, to_byte, from_offset, to_offset, .. } = damage;
        tracing::error!(
            file,
            from_byte,
            to_byte,
            from_offset,
            to_offset,
            "a part of the log is damaged and is passed over; the rest is kept"
        );
        let room = list.len() < REPORTS_MAX;
        if room {
            list.push(damage.clone());
        }
        room
    }

    fn write(&self, damage: &Damage, read: &dyn Fn(&mut [u8], u64) -> std::io::Result<usize>) {
        if !self.writes {
            return;
        }
        let name = format!("{}-{}-{}", damage.file, damage.from_byte, damage.from_offset);
        let written = self.host.create_dir(&self.dir).and_then(|()| {
            let copy = self.host.create(&self.dir.join(format!("{name}.bin")))?;
            copy_out(&*copy, damage, read)?;
            let report = self.host.create(&self.dir.join(format!("{name}.json")))?;
            let text =
                serde_json::to_vec_pretty(&Report::from(damage)).map_err(std::io::Error::other)?;
            report.write_all_at(&text, 0)?;
            report.sync_data()?;
            self.host.sync_dir(&self.dir)
        });
        if let Err(error) = written {
            tracing::warn!(%error, name, "damage could not be copied into quarantine");
        }
    }
}

/// Copies the stretch; what cannot be read becomes zeros.
fn copy_out(
    copy: &dyn HostFile,
    damage: &Damage,
    read: &dyn Fn(&mut [u8], u64) -> std::io::Result<usize>,
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut position = damage.from_byte;
    while position < damage.to_byte {
        let left = usize::try_from(damage.to_byte - position).unwrap_or(CHUNK);
        let part = &mut chunk[..left.min(CHUNK)];
        part.fill(0);
        let _unreadable = read(part, position);
        copy.write_all_at(part, position - damage.from_byte)?;
        position += part.len() as u64;
    }
    copy.sync_data()
}

fn read_report(host: &dyn Host, path: &Path) -> Option<Damage> {
    let file = host.open(path).ok()?;
    let mut text = vec![0; 4_096];
    let read = read_full(&*file, &mut text, 0).ok()?;
    let report: Report = serde_json::from_slice(&text[..read]).ok()?;
    Some(report.into())
}

impl From<&Damage> for Report {
    fn from(damage: &Damage) -> Self {
        Self {
            file: damage.file.clone(),
            from_byte: damage.from_byte,
            to_byte: damage.to_byte,
            from_offset: damage.from_offset,
            to_offset: damage.to_offset,
            found_at: damage.found_at.to_string(),
        }
    }
}

impl From<Report> for Damage {
    fn from(report: Report) -> Self {
        Self {
            file: report.file,
            from_byte: report.from_byte,
            to_byte: report.to_byte,
            from_offset: report.from_offset,
            to_offset: report.to_offset,
            found_at: report.found_at.parse().unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}
