//! A backup's file as a machine that can only be read: the store is looked at in it as it would be
//! in a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::domain::{Offset, Timestamp};
use crate::store::Error;
use crate::store::host::{Host, HostFile};
use crate::store::tables::{Memory, Tables};

/// Name of the manifest; it is the last file of a backup, so one without it broke off.
pub(super) const MANIFEST: &str = "manifest.json";

/// Version of the layout of a backup.
pub(super) const FORMAT: u32 = 1;

/// Longest manifest that is read.
const MANIFEST_MAX: u64 = 16 << 20;

/// Read at once.
const CHUNK: usize = 1 << 20;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// The release that wrote it.
    pub release: String,
    /// When it was begun, Unix milliseconds.
    pub taken_at_millis: i64,
    /// Offset of its oldest record.
    pub oldest_offset: Offset,
    /// The offset after its newest record.
    pub next_offset: Offset,
    /// Its files.
    pub files: Vec<Member>,
}

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its path below the data directory.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its crc32.
    pub crc32: u32,
}

/// A backup's file, open.
#[derive(Debug)]
pub(super) struct Archive {
    file: Arc<File>,
    /// Position and length in the file, by path.
    members: BTreeMap<PathBuf, (u64, u64)>,
    pub(super) manifest: Manifest,
}

impl Archive {
    /// Opens a backup and checks every byte of it against its manifest.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::io(path, &error);
        let file = Arc::new(File::open(path).map_err(failed)?);
        let mut members = BTreeMap::new();
        let mut tar = tar::Archive::new(&*file);
        let unreadable = |error: io::Error| {
            Error::Backup(format!("{} broke off or is none: {error}", path.display()))
        };
        for entry in tar.entries_with_seek().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.path().map_err(unreadable)?.into_owned();
            members.insert(name, (entry.raw_file_position(), entry.size()));
        }
        let bad = |why: &str| Error::Backup(format!("{}: {why}", path.display()));
        let place = members.remove(Path::new(MANIFEST));
        let (position, length) = place.ok_or_else(|| bad("it has no manifest: it broke off"))?;
        if length > MANIFEST_MAX {
            return Err(bad("its manifest is too long"));
        }
        let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut text, position).map_err(failed)?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| bad(&format!("manifest: {error}")))?;
        if manifest.format > FORMAT {
            let release = &manifest.release;
            return Err(Error::Newer(format!(
                "{} was written by Tidings {release}; install that release or a later one",
                path.display()
            )));
        }
        let archive = Self { file, members, manifest };
        archive.check(path)?;
        Ok(archive)
    }

    /// The paths of its files that belong into a data directory.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.members.keys().map(PathBuf::as_path)
    }

    fn check(&self, path: &Path) -> Result<(), Error> {
        let bad = |why: String| Err(Error::Backup(format!("{}: {why}", path.display())));
        if self.members.len() != self.manifest.files.len() {
            return bad("it has not the files that its manifest names".to_owned());
        }
        let mut chunk = vec![0; CHUNK];
        for Member { path: name, bytes, crc32 } in &self.manifest.files {
            let place = self.members.get(Path::new(name)).filter(|_| is_ours(name));
            let Some((position, length)) = place else {
                return bad(format!("{name} is not a file that belongs into a backup"));
            };
            let mut hasher = crc32fast::Hasher::new();
            let (mut position, end) = (*position, position + length);
            while position < end {
                let left = usize::try_from(end - position).unwrap_or(CHUNK).min(CHUNK);
                let part = &mut chunk[..left];
                let read = self.file.read_exact_at(part, position);
                read.map_err(|error| Error::io(path, &error))?;
                hasher.update(part);
                position += left as u64;
            }
            if length != bytes || hasher.finalize() != *crc32 {
                return bad(format!("{name} is damaged"));
            }
        }
        Ok(())
    }
}

/// Whether a path is one that a backup may bring: nothing else is ever written.
fn is_ours(path: &str) -> bool {
    let numbered = |name: &str| name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    let name = path.strip_prefix("log/").and_then(|name| name.strip_suffix(".seg"));
    let other = path.strip_prefix("snapshots/").and_then(|name| name.strip_suffix(".snap"));
    name.or(other).is_some_and(numbered)
}

/// A file in a backup's file.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    position: u64,
    length: u64,
}

impl Host for Archive {
    fn open(&self, path: &Path) -> io::Result<Box<dyn HostFile>> {
        let place = self.members.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Part { file: self.file.clone(), position: place.0, length: place.1 }))
    }

    fn create(&self, _path: &Path) -> io::Result<Box<dyn HostFile>> {
        Err(read_only())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Err(read_only())
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inside = |path: &&PathBuf| path.parent() == Some(dir);
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        Ok(self.members.keys().filter(inside).filter_map(name).collect())
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(read_only())
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        Err(read_only())
    }

    fn remove_dir(&self, _dir: &Path) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Err(read_only())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(0)
    }

    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn boot_id(&self) -> Option<String> {
        None
    }

    fn open_tables(&self, _dir: &Path, _cache: u64) -> Result<Box<dyn Tables>, Error> {
        Ok(Box::new(Memory::default()))
    }
}

impl HostFile for Part {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
        let most = into.len().min(left);
        FileExt::read_at(&*self.file, &mut into[..most], self.position + position)
    }

    fn write_all_at(&self, _bytes: &[u8], _position: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(read_only())
    }

    fn set_len(&self, _length: u64) -> io::Result<()> {
        Err(read_only())
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "a backup is only read")
}
