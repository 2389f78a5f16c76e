//! The log: segments in order, the truth that everything else is a fold of.
//!
//! Opening cuts a torn tail (a last write that the power cut short) and refuses to cut anything
//! that was once known to be on disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use super::Error;
use super::frame::{self, HEADER};
use super::lock::make_private_dir;
use super::segment::{SEGMENT_HEADER, Segment};
use crate::domain::record::Entry;
use crate::domain::{Offset, Timestamp};

/// Bytes read from disk at once, roughly.
const READ_BYTES: usize = 1 << 20;

/// The log, open for appending. There is one, and the writer owns it.
#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    segment_size: u64,
    segments: Segments,
    next: Offset,
    newest: Timestamp,
}

/// The segments, open for reading from any thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segments {
    /// In order of their first offsets. Guards memory only.
    list: Arc<RwLock<Vec<Arc<Segment>>>>,
}

impl Log {
    /// Opens the log in a directory, or begins one.
    pub(crate) fn open(dir: &Path, segment_size: u64) -> Result<Self, Error> {
        make_private_dir(dir)?;
        let mut list = Vec::new();
        let paths = segment_paths(dir)?;
        let last = paths.len().saturating_sub(1);
        for (index, path) in paths.into_iter().enumerate() {
            match Segment::open(path.clone())? {
                Some(segment) => list.push(Arc::new(segment)),
                None if index == last => {
                    std::fs::remove_file(&path).map_err(|error| Error::io(&path, &error))?;
                }
                None => return Err(Error::Damaged { path, position: 0 }),
            }
        }
        let (next, newest) = match list.last() {
            Some(segment) => recover(segment)?,
            None => (0, Timestamp::UNIX_EPOCH),
        };
        let newest = match list.len().checked_sub(2) {
            Some(before) if next == list[before + 1].first => last_time(&list[before])?,
            _ => newest,
        };
        // What a killed process left in the page cache alone is not on disk yet, and nobody may be
        // told that it is.
        if let Some(last) = list.last() {
            last.sync()?;
        }
        sync_dir(dir)?;
        dir.parent().map_or(Ok(()), sync_dir)?;
        let segments = Segments { list: Arc::new(RwLock::new(list)) };
        let mut log = Self { dir: dir.to_owned(), segment_size, segments, next, newest };
        if log.segments.last().is_none() {
            log.roll()?;
        }
        Ok(log)
    }

    /// Offset of the next record.
    pub(crate) fn next(&self) -> Offset {
        self.next
    }

    /// When the newest record was written.
    pub(crate) fn newest(&self) -> Timestamp {
        self.newest
    }

    /// The segments, for reading.
    pub(crate) fn segments(&self) -> Segments {
        self.segments.clone()
    }

    /// Writes a group of records as one frame and waits until it is on disk. The first `HEADER`
    /// bytes of `frame` are free for the header.
    pub(crate) fn append(
        &mut self,
        frame: &mut [u8],
        count: u32,
        at: Timestamp,
    ) -> Result<(), Error> {
        if frame.len() > frame::BODY_MAX as usize {
            return Err(Error::Io(format!("{} bytes are too many for one group", frame.len())));
        }
        let full = self.segments.last().is_none_or(|last| {
            let bytes = last.bytes();
            bytes > SEGMENT_HEADER && bytes + frame.len() as u64 > self.segment_size
        });
        if full {
            self.roll()?;
        }
        frame::fill(frame, count, self.next, self.next, at.as_millisecond());
        let segment = self.segments.last().expect("roll() left a segment");
        segment.append(frame)?;
        self.next += u64::from(count);
        self.newest = at;
        Ok(())
    }

    fn roll(&mut self) -> Result<(), Error> {
        let segment = Segment::create(&self.dir, self.next)?;
        sync_dir(&self.dir)?;
        self.segments.push(segment);
        Ok(())
    }
}

impl Segments {
    /// Reads entries from `from` on: at most `max`, fewer where a segment or about a MiB ends.
    /// Empty only at the end of the log.
    pub(crate) fn read(&self, from: Offset, max: usize) -> Result<Vec<Entry>, Error> {
        let Some((segment, next)) = self.holding(from) else { return Ok(Vec::new()) };
        let from = from.max(segment.first);
        let entries = segment.read(from, max, READ_BYTES)?;
        match (entries.first(), next) {
            (Some(entry), _) if entry.offset != from => {
                Err(Error::Damaged { path: segment.path().to_owned(), position: 0 })
            }
            (None, Some(next)) if from == next.first => next.read(from, max, READ_BYTES),
            (None, Some(next)) => Err(Error::Damaged { path: next.path().to_owned(), position: 0 }),
            (Some(_) | None, _) => Ok(entries),
        }
    }

    /// Offset of the oldest record that there is.
    pub(crate) fn oldest(&self) -> Offset {
        self.lock().first().map_or(0, |segment| segment.first)
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().iter().map(|segment| segment.bytes()).sum()
    }

    /// Offset of the first record written at or after a time; `None` if there is none.
    pub(crate) fn offset_at(&self, time: Timestamp) -> Result<Option<Offset>, Error> {
        let list: Vec<Arc<Segment>> = self.lock().iter().cloned().collect();
        let mut start = 0;
        for (index, segment) in list.iter().enumerate() {
            match segment.header_at(SEGMENT_HEADER)? {
                Some((header, _)) if header.at_millis < time.as_millisecond() => start = index,
                Some(_) | None => {}
            }
        }
        for segment in &list[start.min(list.len())..] {
            let mut position = SEGMENT_HEADER;
            while let Some((header, _)) = segment.header_at(position)? {
                if header.at_millis >= time.as_millisecond() {
                    return Ok(Some(header.lsn));
                }
                position += header.frame_bytes();
            }
        }
        Ok(None)
    }

    fn last(&self) -> Option<Arc<Segment>> {
        self.lock().last().cloned()
    }

    fn push(&self, segment: Segment) {
        let mut list = self.list.write().expect("no panic while the list is held");
        list.push(Arc::new(segment));
    }

    /// The segment that an offset lies in, or the first one after it, and its successor.
    fn holding(&self, offset: Offset) -> Option<(Arc<Segment>, Option<Arc<Segment>>)> {
        let list = self.lock();
        let at = list.partition_point(|segment| segment.first <= offset).saturating_sub(1);
        Some((list.get(at)?.clone(), list.get(at + 1).cloned()))
    }

    fn lock(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.list.read().expect("no panic while the list is held")
    }
}

/// Walks the frames of the last segment and cuts what a torn write left behind the last whole one.
fn recover(segment: &Segment) -> Result<(Offset, Timestamp), Error> {
    let (mut position, mut next) = (SEGMENT_HEADER, segment.first);
    let mut newest = Timestamp::UNIX_EPOCH;
    loop {
        match whole_frame_at(segment, position, next) {
            Ok(Some((end, bytes, at))) => {
                position += bytes;
                next = end;
                newest = Timestamp::from_millisecond(at).unwrap_or(newest);
            }
            Ok(None) => break,
            Err(error) => return Err(error),
        }
    }
    if position < segment.bytes() {
        if let Some(at) = later_witness(segment, position, next)? {
            tracing::error!(segment = %segment.path().display(), position, witness = at,
                "a frame is damaged that was once on disk");
            return Err(Error::Damaged { path: segment.path().to_owned(), position });
        }
        let bytes = segment.bytes() - position;
        tracing::warn!(segment = %segment.path().display(), bytes, "cut a torn write off the log");
        segment.cut(position)?;
    }
    Ok((next, newest))
}

/// The frame at a position, if it is whole and in sequence: end offset, bytes, time.
fn whole_frame_at(
    segment: &Segment,
    position: u64,
    next: Offset,
) -> Result<Option<(Offset, u64, i64)>, Error> {
    let (header, head) = match segment.header_at(position) {
        Ok(Some(found)) => found,
        Ok(None) | Err(Error::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    match segment.body_at(position, &header, &head) {
        Ok(_) if header.lsn == next => {
            Ok(Some((header.end(), header.frame_bytes(), header.at_millis)))
        }
        Ok(_) | Err(Error::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks behind a bad frame for a whole one that had the bad one's records as synced.
pub(super) fn later_witness(
    segment: &Segment,
    position: u64,
    next: Offset,
) -> Result<Option<u64>, Error> {
    let text = std::fs::read(segment.path()).map_err(|error| Error::io(segment.path(), &error))?;
    let start = usize::try_from(position).unwrap_or(usize::MAX).saturating_add(1);
    let rest = text.get(start..).unwrap_or_default();
    for at in frame::candidates(rest) {
        let Some(head) = rest[at..].first_chunk::<HEADER>() else { break };
        let Some(header) = frame::read_header(head) else { continue };
        let Ok(length) = usize::try_from(header.body_bytes) else { continue };
        let Some(body) = rest.get(at + HEADER..at + HEADER + length) else { continue };
        if header.synced > next && frame::is_whole(&header, head, body, segment.salt()) {
            return Ok(Some(position + 1 + at as u64));
        }
    }
    Ok(None)
}

fn last_time(segment: &Segment) -> Result<Timestamp, Error> {
    let (mut position, mut newest) = (SEGMENT_HEADER, Timestamp::UNIX_EPOCH);
    while let Some((header, _)) = segment.header_at(position)? {
        newest = Timestamp::from_millisecond(header.at_millis).unwrap_or(newest);
        position += header.frame_bytes();
    }
    Ok(newest)
}

pub(super) fn segment_paths(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(dir).map_err(|error| Error::io(dir, &error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::io(dir, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| Error::io(dir, &error))
}
