//! The segments, for reading from any thread. Whatever is damaged is passed over and reported;
//! everything else is read.

use std::collections::VecDeque;
use std::sync::{Arc, RwLock};

use super::entries::Hole;
use super::quarantine::Quarantine;
use super::segment::Segment;
use super::walk::Step;
use crate::domain::record::Entry;
use crate::domain::{Offset, Timestamp};
use crate::store::{Damage, Error};

/// Bytes read from disk at once, roughly.
const READ_BYTES: usize = 1 << 20;

/// The segments, open for reading. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    /// In order of their first offsets. Guards memory only.
    list: Arc<RwLock<VecDeque<Arc<Segment>>>>,
    quarantine: Arc<Quarantine>,
}

impl Segments {
    pub(crate) fn new(list: Vec<Arc<Segment>>, quarantine: Arc<Quarantine>) -> Self {
        Self { list: Arc::new(RwLock::new(list.into())), quarantine }
    }

    /// Reads entries from `from` on: at most `max`, fewer where a segment or about a MiB ends.
    /// Empty only at the end of the log. What is damaged is left out.
    pub(crate) fn read(&self, from: Offset, max: usize) -> Result<Vec<Entry>, Error> {
        let mut from = from;
        loop {
            let Some((segment, next)) = self.holding(from) else { return Ok(Vec::new()) };
            let until = next.as_ref().map_or(Offset::MAX, |next| next.first());
            let start = from.max(segment.first());
            let (entries, holes) = segment.read(start, until, max, READ_BYTES)?;
            for hole in holes {
                self.report(&segment, hole);
            }
            match next {
                Some(next) if entries.is_empty() => from = next.first(),
                Some(_) | None => return Ok(entries),
            }
        }
    }

    /// Reports a stretch that cannot be read.
    pub(crate) fn report(&self, segment: &Segment, hole: Hole) {
        self.quarantine.take(segment, hole);
    }

    /// Where damage is reported.
    pub(crate) fn quarantine(&self) -> &Arc<Quarantine> {
        &self.quarantine
    }

    /// Offset of the oldest record that there is.
    pub(crate) fn oldest(&self) -> Offset {
        self.lock().front().map_or(0, |segment| segment.first())
    }

    /// Offset after the newest record that there is.
    pub(crate) fn end(&self) -> Offset {
        self.lock().back().map_or(0, |segment| segment.next())
    }

    /// Bytes of the files of segments that begin at or after an offset.
    pub(crate) fn bytes_from(&self, offset: Offset) -> u64 {
        let behind = |segment: &&Arc<Segment>| segment.first() >= offset;
        self.lock().iter().filter(behind).map(|segment| segment.readable()).sum()
    }

    /// Damage that is known.
    pub(crate) fn damage(&self) -> Vec<Damage> {
        self.quarantine.list()
    }

    /// How many segments there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Bytes of all segments' files.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().iter().map(|segment| segment.capacity()).sum()
    }

    /// All segments as they are now. They are not recycled as long as somebody holds them.
    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        self.lock().iter().cloned().collect()
    }

    /// Offset of the first record written at or after a time; `None` if there is none. A binary
    /// search over segments and their indexes, then a walk over at most 64 KiB.
    pub(crate) fn offset_at(&self, time: Timestamp) -> Result<Option<Offset>, Error> {
        let millis = time.as_millisecond();
        let list = self.all();
        let at = list.partition_point(|segment| segment.latest() < millis);
        for segment in list.iter().skip(at) {
            let begin = segment.mark(|mark| mark.latest < millis);
            let mut walk = segment.walk(begin.position, segment.readable());
            let mut next = begin.offset;
            loop {
                let position = walk.position();
                match walk.step() {
                    Step::Frame(header, _) if header.at_millis >= millis => {
                        return Ok(Some(header.lsn));
                    }
                    Step::Frame(header, _) => next = header.end(),
                    Step::Bad => {
                        walk.seek(position);
                        let hole = segment.hole(&mut walk, next, segment.next());
                        self.report(segment, hole);
                        next = hole.to;
                    }
                    Step::End => break,
                }
            }
        }
        Ok(None)
    }

    pub(super) fn last(&self) -> Option<Arc<Segment>> {
        self.lock().back().cloned()
    }

    /// Adds a segment at the end, in place of one that begins with the same record.
    pub(super) fn push(&self, segment: Segment) {
        let mut list = self.list.write().expect("no panic while the list is held");
        if list.back().is_some_and(|last| last.first() == segment.first()) {
            list.pop_back();
        }
        list.push_back(Arc::new(segment));
    }

    /// Takes out the segments whose records all lie before an offset, but never the last one.
    pub(crate) fn take_before(&self, offset: Offset) -> Vec<Arc<Segment>> {
        let mut list = self.list.write().expect("no panic while the list is held");
        let mut taken = Vec::new();
        while list.get(1).is_some_and(|second| second.first() <= offset) {
            taken.extend(list.pop_front());
        }
        taken
    }

    /// The segment that an offset lies in, or the first one after it, and its successor.
    fn holding(&self, offset: Offset) -> Option<(Arc<Segment>, Option<Arc<Segment>>)> {
        let list = self.lock();
        let at = list.partition_point(|segment| segment.first() <= offset).saturating_sub(1);
        Some((list.get(at)?.clone(), list.get(at + 1).cloned()))
    }

    fn lock(&self) -> std::sync::RwLockReadGuard<'_, VecDeque<Arc<Segment>>> {
        self.list.read().expect("no panic while the list is held")
    }
}
