//! Reading a segment's records. Stretches without whole frames are passed over and told.

use std::ops::Range;

use super::footer::Mark;
use super::frame;
use super::segment::Segment;
use super::walk::{Step, Walk};
use crate::domain::record::Entry;
use crate::domain::{Offset, Timestamp};
use crate::store::{Error, codec};

/// Bytes that an entry is taken to have before it is read.
const ENTRY_BYTES: usize = 1 << 10;

/// Fewer bytes than this are not worth a second thread.
const TWO_MIN: usize = 512 << 10;

/// A stretch of a segment without whole frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) from_byte: u64,
    pub(crate) to_byte: u64,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
}

impl Segment {
    /// Reads entries from `from` on and before `until`, until `max` entries or about `bytes_max`
    /// bytes are read or the segment ends. Holes that were met are told. Where much is wanted a
    /// second thread reads the second half: taking records apart takes longer than reading them.
    /// The kernel is not told what is read next: by itself it reads ahead in large pages, on such
    /// advice in small ones, which costs a fifth of the whole replay's processor time.
    pub(crate) fn read(
        &self,
        from: Offset,
        until: Offset,
        max: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Entry>, Vec<Hole>), Error> {
        let about = max.saturating_mul(ENTRY_BYTES).min(bytes_max);
        let begin = self.mark(|mark| mark.offset <= from);
        let to_the_end = |begin: Mark| {
            let walk = self.walk(begin.position, self.readable()).beginning_with(about);
            let wanted = begin.offset.max(from)..until;
            self.read_part(begin.offset, walk, wanted, max, bytes_max)
        };
        if about < TWO_MIN {
            return to_the_end(begin);
        }
        let behind = |bytes: usize| {
            let most = begin.position + bytes as u64;
            self.mark(|mark| mark.position <= most && mark.offset <= until)
        };
        let (middle, end) = (behind(about / 2), behind(about));
        if middle.offset <= from || end.offset <= middle.offset {
            return to_the_end(begin);
        }
        let part = |begin: Mark, end: Mark| {
            let bytes = usize::try_from(end.position - begin.position).unwrap_or(usize::MAX);
            let walk = self.walk(begin.position, end.position).beginning_with(bytes);
            let wanted = begin.offset.max(from)..end.offset;
            self.read_part(begin.offset, walk, wanted, max, usize::MAX)
        };
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| part(middle, end));
            let first = part(begin, middle);
            (first, second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (mut entries, mut holes) = first?;
        if entries.len() < max {
            let (more, more_holes) = second?;
            entries.extend(more);
            entries.truncate(max);
            holes.extend(more_holes);
        }
        // No entries would mean that there are none up to the segment's end.
        if entries.is_empty() {
            let (more, more_holes) = to_the_end(end)?;
            entries = more;
            holes.extend(more_holes);
        }
        Ok((entries, holes))
    }

    /// Reads the entries that are wanted along a walk, which begins with the record `next`.
    fn read_part(
        &self,
        mut next: Offset,
        mut walk: Walk<'_>,
        wanted: Range<Offset>,
        max: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Entry>, Vec<Hole>), Error> {
        let (mut entries, mut holes, mut bytes) = (Vec::new(), Vec::new(), 0);
        let until = wanted.end.min(self.next());
        while next < until && entries.len() < max && bytes < bytes_max {
            let position = walk.position();
            match walk.step() {
                Step::Frame(header, body) if header.lsn == next => {
                    next = header.end();
                    if next > wanted.start {
                        bytes += body.len();
                        if self.decode(&header, body, &wanted, &mut entries)? == Read::Malformed {
                            holes.push(hole(position, walk.position(), header.lsn, next));
                        }
                    }
                }
                Step::End => {
                    holes.push(hole(position, position, next, until));
                    break;
                }
                Step::Frame(..) | Step::Bad => {
                    walk.seek(position);
                    let found = self.hole(&mut walk, next, until);
                    next = found.to;
                    holes.push(found);
                }
            }
        }
        entries.truncate(max);
        Ok((entries, holes))
    }

    /// The stretch without whole frames at a walk's position; the walk goes behind it.
    pub(crate) fn hole(&self, walk: &mut Walk<'_>, next: Offset, until: Offset) -> Hole {
        let from_byte = walk.position();
        match walk.search(next).filter(|header| header.lsn < until) {
            Some(header) => hole(from_byte, walk.position(), next, header.lsn),
            None => {
                walk.seek(walk.limit().max(from_byte));
                hole(from_byte, walk.position(), next, until.max(next))
            }
        }
    }

    fn decode(
        &self,
        header: &frame::Header,
        body: &[u8],
        wanted: &Range<Offset>,
        entries: &mut Vec<Entry>,
    ) -> Result<Read, Error> {
        let Ok(at) = Timestamp::from_millisecond(header.at_millis) else {
            return Ok(Read::Malformed);
        };
        let (mut rest, before) = (body, entries.len());
        for offset in header.lsn..header.end() {
            match codec::decode(&mut rest) {
                Ok(record) if wanted.contains(&offset) => {
                    entries.push(Entry { offset, at, record });
                }
                Ok(_) => {}
                Err(error @ codec::Error::Newer { .. }) => {
                    let path = self.path().display();
                    return Err(Error::Newer(format!("{path}: {error}")));
                }
                Err(codec::Error::Malformed(_)) => {
                    entries.truncate(before);
                    return Ok(Read::Malformed);
                }
            }
        }
        Ok(Read::Whole)
    }
}

/// Whether a frame's records could be read.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Whole,
    /// The checksum is right and the records are not: a defect of what wrote them.
    Malformed,
}

fn hole(from_byte: u64, to_byte: u64, from: Offset, to: Offset) -> Hole {
    Hole { from_byte, to_byte, from, to }
}
