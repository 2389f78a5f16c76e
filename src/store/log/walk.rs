//! Reading a segment frame by frame, each one checked, and finding the next whole frame behind a
//! damaged one. A place that the disk cannot read counts as damaged.

use super::frame::{self, HEADER, Header};
use super::segment::Segment;
use crate::domain::Offset;

/// Bytes that the first read of a walk asks for unless it is told better; each further read asks
/// for twice as many.
const CHUNK_MIN: usize = 64 << 10;

/// Most bytes that one read asks for, unless a single frame is longer.
const CHUNK_MAX: usize = 1 << 20;

/// Piece by piece where a large read fails.
const PAGE: u64 = 4_096;

/// Most bytes that are summed up while looking for a whole frame. An event's data may be full of
/// bytes that look like headers; they must not hold up a start.
const SEARCH_MAX: u64 = 1 << 30;

/// A walk over the frames of a segment.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    segment: &'a Segment,
    position: u64,
    limit: u64,
    buffer: Vec<u8>,
    /// Position in the file of the buffer's first byte.
    start: u64,
    chunk: usize,
}

/// What stands at the walk's position.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A whole frame; the walk stands behind it now.
    Frame(Header, &'a [u8]),
    /// No whole frame; the walk stays.
    Bad,
    /// The end.
    End,
}

impl<'a> Walk<'a> {
    /// A walk from a position up to a limit.
    pub(crate) fn new(segment: &'a Segment, position: u64, limit: u64) -> Self {
        Self { segment, position, limit, buffer: Vec::new(), start: position, chunk: CHUNK_MIN }
    }

    /// With a first read of so many bytes, for who knows about how much is wanted.
    pub(crate) fn beginning_with(mut self, bytes: usize) -> Self {
        self.chunk = bytes.clamp(CHUNK_MIN, CHUNK_MAX);
        self
    }

    /// Where the walk stands.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Where it ends.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Goes on somewhere else.
    pub(crate) fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// The frame at the walk's position.
    pub(crate) fn step(&mut self) -> Step<'_> {
        if self.position >= self.limit {
            return Step::End;
        }
        let position = self.position;
        let Some((header, end)) = self.whole_frame() else { return Step::Bad };
        self.position = end;
        let body = self.bytes(position, header.frame_bytes()).and_then(|all| all.get(HEADER..));
        body.map_or(Step::Bad, |body| Step::Frame(header, body))
    }

    /// Looks behind the walk's position for a whole frame that can come after the records before
    /// `next`. The walk goes there; `None` leaves it where it is.
    pub(crate) fn search(&mut self, next: Offset) -> Option<Header> {
        let (back, mut budget) = (self.position, SEARCH_MAX);
        while let Some(found) = self.candidate() {
            self.position = found;
            let header = self.head().filter(|header| header.lsn >= next);
            if let Some(header) = header {
                let bytes = header.frame_bytes();
                if found.checked_add(bytes).is_some_and(|end| end <= self.limit) {
                    if bytes > budget {
                        break;
                    }
                    budget -= bytes;
                    if self.whole_frame().is_some() {
                        return Some(header);
                    }
                }
            }
        }
        self.position = back;
        None
    }

    /// Bytes of a frame at the walk's position that is the next one by its header. Where no whole
    /// frame stands, these are what is left of a write that was cut short.
    pub(crate) fn torn_bytes(&mut self, next: Offset) -> u64 {
        let left = self.limit.saturating_sub(self.position);
        let own = |header: &Header| header.lsn == next;
        self.head().filter(own).map_or(0, |header| header.frame_bytes().min(left))
    }

    fn whole_frame(&mut self) -> Option<(Header, u64)> {
        let header = self.head()?;
        let (position, salt) = (self.position, self.segment.header.salt);
        let end = position.checked_add(header.frame_bytes()).filter(|end| *end <= self.limit)?;
        let (head, body) = self.bytes(position, header.frame_bytes())?.split_first_chunk()?;
        frame::is_whole(&header, head, body, &salt).then_some((header, end))
    }

    fn head(&mut self) -> Option<Header> {
        let head = self.bytes(self.position, HEADER as u64)?;
        head.first_chunk().and_then(frame::read_header)
    }

    /// The next position behind the walk's at which a frame might begin.
    fn candidate(&mut self) -> Option<u64> {
        let mut position = self.position + 1;
        while position < self.limit {
            let want = (self.limit - position).min(CHUNK_MAX as u64);
            // Where so much cannot be read at once, what can be read page by page is looked at.
            let page = (position / PAGE + 1) * PAGE - position;
            let want = if self.bytes(position, want).is_some() { want } else { want.min(page) };
            let bytes = self.bytes(position, want).unwrap_or_default();
            if let Some(at) = frame::candidates(bytes).next() {
                return Some(position + at as u64);
            }
            // A magic may lie across the border of two reads.
            position += if want > 3 { want - 3 } else { want };
        }
        None
    }

    /// Bytes of the file; `None` where they end too early or cannot be read.
    fn bytes(&mut self, position: u64, want: u64) -> Option<&[u8]> {
        let held = self.start + self.buffer.len() as u64;
        if position < self.start || position + want > held {
            self.fill(position, want)?;
        }
        let from = usize::try_from(position - self.start).ok()?;
        self.buffer.get(from..from + usize::try_from(want).ok()?)
    }

    fn fill(&mut self, position: u64, want: u64) -> Option<()> {
        let left = self.limit.checked_sub(position)?;
        if want > left {
            return None;
        }
        let size = want.max(self.chunk as u64).min(left);
        self.chunk = (self.chunk * 2).min(CHUNK_MAX);
        self.buffer.resize(usize::try_from(size).ok()?, 0);
        self.start = position;
        let mut read = self.segment.read_at(&mut self.buffer, position);
        if read.is_err() && want < size {
            self.buffer.truncate(usize::try_from(want).ok()?);
            read = self.segment.read_at(&mut self.buffer, position);
        }
        match read {
            Ok(read) => self.buffer.truncate(read),
            Err(error) => {
                tracing::debug!(%error, position, "a part of the log cannot be read");
                self.buffer.clear();
            }
        }
        (self.buffer.len() as u64 >= want).then_some(())
    }
}
