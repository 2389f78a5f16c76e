//! One file of the log: a header, frames, and once it is full a footer. Reading is safe from any
//! thread; only the writer appends.
//!
//! The file has its full size from the beginning. What lies behind the last frame is zeros or what
//! a recycled file held before: the salt tells it from this segment's frames.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::footer::{self, Footer, MARK, Mark, TRAILER};
use super::frame;
use super::header::{self, COPY, Found, Header};
use super::walk::Walk;
use crate::domain::Offset;
use crate::store::Error;
use crate::store::host::{Host, HostFile, read_full};

/// Distance between entries of the sparse index.
const INDEX_STEP: u64 = 64 << 10;

/// The two copies of the header lie in two of these.
const PAGE: usize = 4_096;

/// A segment, open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: Header,
    path: PathBuf,
    file: Box<dyn HostFile>,
    /// Length of the file.
    capacity: AtomicU64,
    /// Bytes that are known to be on disk; readers stop there.
    readable: AtomicU64,
    /// Offset after the last record.
    next: AtomicU64,
    /// Guards memory only.
    summary: Mutex<Summary>,
}

/// What is known of the frames.
#[derive(Debug, Default)]
struct Summary {
    count: u64,
    first_at: Option<i64>,
    last_at: i64,
    /// The newest time of any record of the log up to here.
    latest: i64,
    marks: Vec<Mark>,
    /// Position and length of the last frame, if it was read or written since the start.
    last_frame: Option<(u64, u64)>,
    /// The marks stand in the footer and were not read yet.
    footer: Option<Footer>,
    seal: Seal,
}

/// Whether a footer stands at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Seal {
    /// Reads show none. One that was taken away may be on disk still, if the sync of that failed.
    #[default]
    Unseen,
    /// There is none, on disk neither.
    None,
    Written,
}

/// What opening a file led to.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A segment.
    Segment(Box<Segment>),
    /// A file without anything that tells how to read it, of this length.
    Headless(u64),
}

impl Segment {
    /// Writes a new segment into a file that nobody else reads, and waits until it is on disk.
    pub(crate) fn begin(
        file: Box<dyn HostFile>,
        path: PathBuf,
        header: Header,
        capacity: u64,
        latest: i64,
    ) -> io::Result<Self> {
        let bytes = header.to_bytes();
        file.set_len(capacity)?;
        file.write_all_at(&bytes, 0)?;
        file.write_all_at(&bytes, COPY)?;
        file.sync_data()?;
        let segment = Self::new(file, path, header, capacity);
        let mut summary = segment.summary();
        (summary.latest, summary.seal) = (latest, Seal::None);
        drop(summary);
        Ok(segment)
    }

    /// Opens a file that by its name begins with an offset. What is in it is known if it is sealed,
    /// else nothing is readable yet.
    pub(crate) fn open(host: &dyn Host, path: &Path, first: Offset) -> Result<Opened, Error> {
        let failed = |error: io::Error| Error::io(path, &error);
        let file = host.open(path).map_err(failed)?;
        let length = file.length().map_err(failed)?;
        let mut beginning = vec![0; header::REACH];
        let read = read_pages(&*file, &mut beginning);
        let trailer = read_trailer(&*file, length);
        let header = match Header::find(&beginning[..read]) {
            Found::Header(header) => header,
            Found::Newer(release) => return Err(newer(path, &release)),
            // The footer has what is needed of the header.
            Found::Nothing => match trailer {
                Some((footer, salt)) => Header::new(footer.first, salt),
                None => return Ok(Opened::Headless(length)),
            },
        };
        if header.first != first {
            return Ok(Opened::Headless(length));
        }
        let segment = Self::new(file, path.to_owned(), header, length);
        let own = trailer.filter(|(footer, salt)| {
            *salt == segment.header.salt
                && footer.first == segment.header.first
                && footer.data_end.saturating_add(footer::length(0)) <= length
        });
        if let Some((footer, _)) = own {
            segment.take_footer(footer);
        }
        Ok(Opened::Segment(Box::new(segment)))
    }

    fn new(file: Box<dyn HostFile>, path: PathBuf, header: Header, capacity: u64) -> Self {
        let (start, first) = (header.data_start(), header.first);
        Self {
            header,
            path,
            file,
            capacity: AtomicU64::new(capacity),
            readable: AtomicU64::new(start),
            next: AtomicU64::new(first),
            summary: Mutex::default(),
        }
    }

    /// Offset of the first record.
    pub(crate) fn first(&self) -> Offset {
        self.header.first
    }

    /// Offset after the last record.
    pub(crate) fn next(&self) -> Offset {
        self.next.load(Ordering::Acquire)
    }

    /// Position after the last frame.
    pub(crate) fn readable(&self) -> u64 {
        self.readable.load(Ordering::Acquire)
    }

    /// Position after the last frame and offset after the last record, of one moment.
    pub(crate) fn extent(&self) -> (u64, Offset) {
        let _no_frame_is_taken_in_meanwhile = self.summary();
        (self.readable(), self.next())
    }

    /// Length of the file.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Acquire)
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has a footer.
    pub(crate) fn is_sealed(&self) -> bool {
        self.summary().seal == Seal::Written
    }

    /// Whether a start after a power cut might find a footer. Then nothing may be written: what
    /// stands behind the end that a footer tells is lost.
    pub(crate) fn may_be_sealed(&self) -> bool {
        self.summary().seal != Seal::None
    }

    /// Whether a frame of so many bytes still fits, and the footer behind it.
    pub(crate) fn has_room(&self, frame_bytes: u64) -> bool {
        let marks = self.summary().marks.len() + 1;
        self.readable() + frame_bytes + footer::length(marks) <= self.capacity()
    }

    /// Seals a frame with the checksum and writes it behind the readable part. Nobody reads it yet.
    pub(crate) fn write(&self, frame: &mut [u8]) -> io::Result<()> {
        frame::seal(frame, &self.header.salt);
        self.file.write_all_at(frame, self.readable())
    }

    /// Waits until what was written is on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Whether its footer and the sparse index in it are whole.
    pub(crate) fn has_index(&self) -> bool {
        self.mark(|_| false);
        let summary = self.summary();
        summary.seal == Seal::Written && (!summary.marks.is_empty() || summary.count == 0)
    }

    /// Takes a frame in that stands at a position, in the order of the frames.
    pub(crate) fn extend(&self, header: &frame::Header, position: u64) {
        let mut summary = self.summary();
        summary.latest = summary.latest.max(header.at_millis);
        summary.first_at.get_or_insert(header.at_millis);
        summary.last_at = header.at_millis;
        summary.count += u64::from(header.count);
        let far = |mark: &Mark| mark.position + INDEX_STEP <= position;
        if summary.marks.last().is_none_or(far) {
            let latest = summary.latest;
            summary.marks.push(Mark { offset: header.lsn, position, latest });
        }
        summary.last_frame = Some((position, header.frame_bytes()));
        // In this order: who sees the offset finds the frame.
        self.readable.store(position + header.frame_bytes(), Ordering::Release);
        self.next.store(header.end(), Ordering::Release);
    }

    /// Writes the last frame again as it is read. A sync that failed before the process died may
    /// have left it in the page cache, where no later sync would take it from.
    pub(crate) fn write_last_again(&self) -> io::Result<()> {
        let Some((position, length)) = self.summary().last_frame else { return Ok(()) };
        let mut frame = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let read = self.read_at(&mut frame, position)?;
        self.file.write_all_at(&frame[..read], position)
    }

    /// Sets from where on the newest time is counted. Before any frame is taken in.
    pub(crate) fn after_latest(&self, latest: i64) {
        let mut summary = self.summary();
        if summary.seal != Seal::Written {
            summary.latest = latest;
        }
    }

    /// Ends the segment with a footer and waits until that is on disk.
    pub(crate) fn seal(&self) -> io::Result<()> {
        let mut summary = self.summary();
        let marks = footer::marks_to_bytes(&summary.marks);
        let entries = u32::try_from(summary.marks.len()).map_err(io::Error::other)?;
        let footer = Footer {
            first: self.first(),
            next: self.next(),
            count: summary.count,
            data_end: self.readable(),
            first_at: summary.first_at.unwrap_or(summary.latest),
            last_at: summary.last_at,
            latest: summary.latest,
            marks: entries,
            marks_crc: crc32fast::hash(&marks),
        };
        let length = footer::length(summary.marks.len());
        let capacity = self.capacity().max(self.readable() + length);
        // Whatever fails below, the footer may be there from now on.
        summary.seal = Seal::Written;
        let bytes = [marks, footer.to_bytes(self.header.salt)].concat();
        self.file.write_all_at(&bytes, capacity - length)?;
        self.file.set_len(capacity)?;
        self.file.sync_data()?;
        self.capacity.store(capacity, Ordering::Release);
        Ok(())
    }

    /// Sees to it that no footer is on disk, so that frames may follow: what a clean stop sealed
    /// goes on after the start. Written even where reads show none, see `Seal::Unseen`.
    pub(crate) fn unseal(&self) -> io::Result<()> {
        self.mark(|_| false);
        let mut summary = self.summary();
        self.file.write_all_at(&[0; TRAILER], self.capacity() - TRAILER as u64)?;
        self.file.sync_data()?;
        summary.seal = Seal::None;
        Ok(())
    }

    /// Says that the records before an offset are all there were, readable or not.
    pub(crate) fn end_at(&self, next: Offset) {
        self.next.store(next, Ordering::Release);
    }

    /// The newest time of any record of the log up to the end of this segment.
    pub(crate) fn latest(&self) -> i64 {
        self.summary().latest
    }

    /// Time of the first frame, if there is one.
    pub(crate) fn first_at(&self) -> Option<i64> {
        self.summary().first_at
    }

    /// Time of the last frame, if there is one.
    pub(crate) fn last_at(&self) -> Option<i64> {
        let summary = self.summary();
        summary.first_at.map(|_| summary.last_at)
    }

    /// A walk over the frames from a position up to a limit.
    pub(crate) fn walk(&self, position: u64, limit: u64) -> Walk<'_> {
        Walk::new(self, position, limit)
    }

    /// Reads at a position, also behind the readable part.
    pub(crate) fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        read_full(&*self.file, into, position)
    }

    /// The last entry of the sparse index for which something is true that is true of all before
    /// it; where it is true of none, the beginning.
    pub(crate) fn mark(&self, is_before: impl Fn(&Mark) -> bool) -> Mark {
        let mut summary = self.summary();
        if let Some(footer) = summary.footer.take() {
            summary.marks = self.read_marks(&footer);
        }
        let start = self.header.data_start();
        let begin = Mark { offset: self.first(), position: start, latest: i64::MIN };
        let before = summary.marks.partition_point(is_before);
        before.checked_sub(1).map_or(begin, |last| summary.marks[last])
    }

    fn take_footer(&self, footer: Footer) {
        let mut summary = self.summary();
        summary.count = footer.count;
        summary.first_at = (footer.count > 0).then_some(footer.first_at);
        (summary.last_at, summary.latest) = (footer.last_at, footer.latest);
        (summary.footer, summary.seal) = (Some(footer), Seal::Written);
        self.next.store(footer.next, Ordering::Release);
        self.readable.store(footer.data_end, Ordering::Release);
    }

    /// The sparse index of the footer; none where it is damaged: reading then begins at the front.
    fn read_marks(&self, footer: &Footer) -> Vec<Mark> {
        let bytes = u64::from(footer.marks) * MARK as u64;
        let position = self.capacity().checked_sub(bytes + TRAILER as u64);
        let length = usize::try_from(bytes).ok().filter(|_| position >= Some(footer.data_end));
        let marks = position.zip(length).and_then(|(position, length)| {
            let mut index = vec![0; length];
            let read = self.read_at(&mut index, position).ok()?;
            footer::marks_from_bytes(&index[..read], footer)
        });
        marks.unwrap_or_else(|| {
            tracing::warn!(segment = %self.path.display(), "the sparse index is damaged");
            Vec::new()
        })
    }

    fn summary(&self) -> std::sync::MutexGuard<'_, Summary> {
        self.summary.lock().expect("no panic while the summary is held")
    }
}

/// Reads what can be read of the first pages; what cannot be read stays zero.
fn read_pages(file: &dyn HostFile, into: &mut [u8]) -> usize {
    let (mut read, mut position) = (0, 0);
    for page in into.chunks_mut(PAGE) {
        let length = read_full(file, page, position).unwrap_or(0);
        position += page.len() as u64;
        if length > 0 {
            read = usize::try_from(position).unwrap_or(usize::MAX);
        }
    }
    read.min(into.len())
}

fn read_trailer(file: &dyn HostFile, length: u64) -> Option<(Footer, frame::Salt)> {
    let mut trailer = [0; TRAILER];
    let position = length.checked_sub(TRAILER as u64)?;
    let read = read_full(file, &mut trailer, position).ok()?;
    (read == TRAILER).then(|| Footer::from_bytes(&trailer)).flatten()
}

fn newer(path: &Path, release: &str) -> Error {
    let needed = if release.is_empty() { "a newer release" } else { release };
    Error::Newer(format!(
        "{} was written by Tidings {needed}; this is {}: install {needed} or later",
        path.display(),
        env!("CARGO_PKG_VERSION"),
    ))
}
