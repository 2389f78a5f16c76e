//! Appending to the log: one frame, one write, one `fdatasync`.
//!
//! A write that fails leaves nothing behind: its place is written again. A sync that fails leaves
//! its segment for good, because what the kernel still held of it may be gone: the frame is written
//! anew to another file, and if that fails too the process stops.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::entries::Hole;
use super::footer;
use super::frame;
use super::quarantine::Quarantine;
use super::recover::{Recovered, recover};
use super::segment::Segment;
use super::segments::Segments;
use super::spares::Spares;
use crate::domain::{Offset, Timestamp};
use crate::store::host::Host;
use crate::store::{Error, codec};

/// The log, open for appending. There is one, and the writer owns it.
#[derive(Debug)]
pub(crate) struct Log {
    segments: Segments,
    spares: Arc<Spares>,
    next: Offset,
    newest: Timestamp,
    /// The last segment may be appended to.
    writable: bool,
    /// The last segment's name may not be on disk yet.
    unnamed: bool,
    roll_after: Duration,
}

/// Bounds that the operator sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Length of a segment's file.
    pub(crate) segment_size: u64,
    /// Age of a segment's first record after which the next one is begun.
    pub(crate) roll_after: Duration,
}

impl Log {
    /// Opens the log in a directory, or begins one.
    pub(crate) fn open(
        host: &Arc<dyn Host>,
        dir: &Path,
        quarantine: Arc<Quarantine>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::io(dir, &error);
        host.create_dir(dir).map_err(failed)?;
        let found = recover(&**host, dir, &quarantine, true)?;
        // What a killed process left in the page cache alone is not on disk yet, and nobody may be
        // told that it is.
        if let Some(last) = found.segments.last() {
            last.write_last_again().map_err(failed)?;
            last.sync().map_err(failed)?;
        }
        host.sync_dir(dir).map_err(failed)?;
        dir.parent().map_or(Ok(()), |parent| host.sync_dir(parent)).map_err(failed)?;
        Ok(Self::of(host, dir, quarantine, limits, found))
    }

    /// Opens a log that is only read: nothing on the machine is changed.
    pub(crate) fn read(
        host: &Arc<dyn Host>,
        dir: &Path,
        quarantine: Arc<Quarantine>,
    ) -> Result<Self, Error> {
        let found = recover(&**host, dir, &quarantine, false)?;
        let limits = Limits { segment_size: 0, roll_after: Duration::MAX };
        Ok(Self::of(host, dir, quarantine, limits, found))
    }

    fn of(
        host: &Arc<dyn Host>,
        dir: &Path,
        quarantine: Arc<Quarantine>,
        limits: Limits,
        found: Recovered,
    ) -> Self {
        let Recovered { segments, next, spares, .. } = found;
        let newest = segments.iter().rev().find_map(|segment| segment.last_at()).unwrap_or(0);
        let current = |last: &Arc<Segment>| {
            last.header.version > 1 && last.header.level == codec::LEVEL && last.next() == next
        };
        let writable = segments.last().is_some_and(current);
        let spares = Spares::new(host.clone(), dir.to_owned(), limits.segment_size, spares);
        Self {
            segments: Segments::new(segments, quarantine),
            spares: Arc::new(spares),
            next,
            newest: Timestamp::from_millisecond(newest).unwrap_or(Timestamp::UNIX_EPOCH),
            writable,
            unnamed: false,
            roll_after: limits.roll_after,
        }
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

    /// What becomes of segments that are no longer needed.
    pub(crate) fn spares(&self) -> Arc<Spares> {
        self.spares.clone()
    }

    /// Something else knows of records before an offset: none of these offsets is given again, and
    /// those that the log lacks are reported.
    pub(crate) fn not_before(&mut self, offset: Offset, dir: &Path) {
        if offset <= self.next {
            return;
        }
        let hole = Hole { from_byte: 0, to_byte: 0, from: self.next, to: offset };
        let last = self.segments.last();
        let path = last.map_or_else(|| dir.join("none"), |last| last.path().to_owned());
        self.segments.quarantine().take_file(&path, hole);
        self.next = offset;
        self.writable = false;
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
        let mut segment = self.segment_for(frame.len() as u64, at)?;
        self.name()?;
        frame::fill(frame, count, self.next, self.next, at.as_millisecond());
        segment.write(frame).map_err(|error| Error::io(segment.path(), &error))?;
        if let Err(error) = segment.sync() {
            segment = self.write_elsewhere(frame, &segment, &error)?;
        }
        let header = frame.first_chunk().and_then(frame::read_header);
        let header = header.expect("it was filled in above");
        segment.extend(&header, segment.readable());
        self.next += u64::from(count);
        self.newest = at;
        Ok(())
    }

    /// Seals what was written, so that the next start knows where it ended.
    pub(crate) fn close(&mut self) {
        if let Some(last) = self.segments.last().filter(|_| self.writable)
            && !last.is_sealed()
            && let Err(error) = last.seal()
        {
            tracing::warn!(%error, "the last segment is not sealed; the next start reads it");
        }
    }

    /// The segment that the next frame goes to.
    fn segment_for(&mut self, bytes: u64, at: Timestamp) -> Result<Arc<Segment>, Error> {
        let old = |segment: &Segment| {
            let age = segment.first_at().map(|first| at.as_millisecond().saturating_sub(first));
            let age = age.and_then(|age| u64::try_from(age).ok()).unwrap_or(0);
            Duration::from_millis(age) >= self.roll_after
        };
        match self.segments.last() {
            Some(last) if self.writable && last.has_room(bytes) && !old(&last) => {
                if last.may_be_sealed() {
                    last.unseal().map_err(|error| Error::io(last.path(), &error))?;
                }
                Ok(last)
            }
            Some(_) | None => self.roll(bytes),
        }
    }

    fn roll(&mut self, bytes: u64) -> Result<Arc<Segment>, Error> {
        self.close();
        let latest = self.segments.last().map_or(i64::MIN, |last| last.latest());
        let made = self.spares.segment(self.next, latest, bytes + footer::length(2));
        let segment = made.map_err(|error| Error::io(Path::new("the next segment"), &error))?;
        // From here on it is the last one, whatever else fails: a start would see it.
        self.segments.push(segment);
        (self.writable, self.unnamed) = (true, true);
        Ok(self.segments.last().expect("one was pushed"))
    }

    /// Sees to it that the last segment is found by a start.
    fn name(&mut self) -> Result<(), Error> {
        if self.unnamed {
            self.spares.sync_names().map_err(|error| Error::io(Path::new("log"), &error))?;
            self.unnamed = false;
        }
        Ok(())
    }

    /// The sync of a segment failed: it gets no further frame, and this one goes to the next.
    fn write_elsewhere(
        &mut self,
        frame: &mut [u8],
        failed: &Segment,
        error: &io::Error,
    ) -> Result<Arc<Segment>, Error> {
        let path = failed.path().display().to_string();
        tracing::error!(%error, segment = path, "fdatasync failed; the log goes on in a new file");
        self.writable = false;
        let fatal = |error: io::Error| Error::Fatal(format!("fdatasync of {path} failed: {error}"));
        let stuck = |error: Error| Error::Fatal(error.to_string());
        let segment = self.roll(frame.len() as u64).map_err(stuck)?;
        self.name().map_err(stuck)?;
        segment.write(frame).map_err(fatal)?;
        segment.sync().map_err(fatal)?;
        Ok(segment)
    }
}
