//! Files for segments: recycled ones where there are any, else new ones. Overwriting blocks that
//! were written before is faster than appending and writes less to the disk: no block has to be
//! allocated and noted in the file system's journal.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::header::Header;
use super::segment::Segment;
use crate::clock;
use crate::domain::Offset;
use crate::store::host::Host;

/// Most retired files that are kept for the next segments.
const SPARES_MAX: usize = 4;

/// Largest offset that a segment begins with. A file with a larger one in its name is not ours: the
/// offsets behind it would run out.
const FIRST_MAX: Offset = 1 << 62;

/// Retired files, and segments that are to become such.
#[derive(Debug)]
pub(crate) struct Spares {
    host: Arc<dyn Host>,
    dir: PathBuf,
    /// Length of a segment's file.
    size: u64,
    /// Guards memory only.
    free: Mutex<Vec<PathBuf>>,
    /// Retired segments in order, until nobody reads them any more. Guards memory only.
    retired: Mutex<VecDeque<Arc<Segment>>>,
}

impl Spares {
    pub(super) fn new(host: Arc<dyn Host>, dir: PathBuf, size: u64, free: Vec<PathBuf>) -> Self {
        let mut spares =
            Self { host, dir, size, free: Mutex::default(), retired: Mutex::default() };
        for path in free {
            spares.keep(path);
        }
        spares.free.get_mut().expect("nobody else holds it").sort();
        spares
    }

    /// Makes the next segment, with room for a frame of so many bytes. Its content is on disk, its
    /// name not before `sync_names`.
    pub(super) fn segment(&self, first: Offset, latest: i64, room: u64) -> io::Result<Segment> {
        let header = Header::new(first, clock::random());
        let room = room + header.data_start();
        let path = path_of(&self.dir, first);
        let spare = match room <= self.size {
            true => self.free.lock().expect("no panic while it is held").pop(),
            false => None,
        };
        let before = spare.unwrap_or_else(|| path.with_extension("new"));
        let made = self.fill(&before, &path, header, latest, room);
        if made.is_err() {
            // Whatever is wrong with it: the next try begins with another one.
            let _ = self.host.remove(&before);
        }
        made
    }

    /// Waits until the names of the log's files are on disk.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        self.host.sync_dir(&self.dir)
    }

    /// Takes segments that are no longer needed. Their files are recycled once nobody reads them.
    pub(crate) fn retire(&self, segments: Vec<Arc<Segment>>) {
        self.retired.lock().expect("no panic while it is held").extend(segments);
    }

    /// Recycles what nobody reads any more, the oldest first and each on disk before the next: a
    /// start must not find a hole.
    pub(crate) fn recycle(&self) -> io::Result<()> {
        while let Some((path, capacity)) = self.next_unread() {
            let full = self.free.lock().expect("no panic while it is held").len() >= SPARES_MAX;
            let mut spare = (!full && capacity == self.size).then(|| path.with_extension("spare"));
            let done = match &spare {
                Some(spare) => self.host.rename(&path, spare),
                None => self.host.remove(&path),
            };
            match done {
                // It went the last time, and only the sync below failed. Then it may have been
                // removed, since there were enough.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    spare = spare.filter(|spare| self.host.open(spare).is_ok());
                }
                done => done?,
            }
            // Nothing may be overwritten under a name that still says what was there.
            self.sync_names()?;
            self.retired.lock().expect("no panic while it is held").pop_front();
            self.free.lock().expect("no panic while it is held").extend(spare);
        }
        Ok(())
    }

    /// Bytes of the files that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.free.lock().expect("no panic while it is held").len() as u64 * self.size
    }

    fn next_unread(&self) -> Option<(PathBuf, u64)> {
        let retired = self.retired.lock().expect("no panic while it is held");
        let segment = retired.front().filter(|first| Arc::strong_count(first) == 1)?;
        Some((segment.path().to_owned(), segment.capacity()))
    }

    fn keep(&mut self, path: PathBuf) {
        let free = self.free.get_mut().expect("nobody else holds it");
        let fits = || self.host.open(&path)?.length().map(|length| length == self.size);
        if free.len() < SPARES_MAX && fits().unwrap_or(false) {
            free.push(path);
        } else if let Err(error) = self.host.remove(&path) {
            tracing::warn!(%error, path = %path.display(), "a spare file cannot be removed");
        }
    }

    fn fill(
        &self,
        before: &Path,
        path: &Path,
        header: Header,
        latest: i64,
        room: u64,
    ) -> io::Result<Segment> {
        let recycled = before.extension().is_some_and(|extension| extension == "spare");
        let file = match recycled {
            true => self.host.open(before)?,
            false => self.host.create(before)?,
        };
        let capacity = room.max(self.size);
        let segment = Segment::begin(file, path.to_owned(), header, capacity, latest)?;
        self.host.rename(before, path)?;
        Ok(segment)
    }
}

/// The path of the segment that begins with an offset.
pub(crate) fn path_of(dir: &Path, first: Offset) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

/// The offset that a segment's name says; `None` where no log reaches.
pub(crate) fn first_of(path: &Path) -> Option<Offset> {
    path.file_stem()?.to_str()?.parse().ok().filter(|first| *first <= FIRST_MAX)
}
