//! What is kept in memory of the log, filled from its end at a start: the de-duplication window and
//! the tail. Never here: a change on disk but for damage that is reported.

use std::collections::VecDeque;
use std::ops::Range;

use super::Error;
use super::log::Segments;
use super::tail::Tail;
use super::window::Window;
use crate::domain::Offset;

/// Records read at once.
const BATCH: usize = 4_096;

/// The window and the tail, filled once while something else is waited for.
#[derive(Debug)]
pub(crate) struct Warmth<'a> {
    segments: &'a Segments,
    tail: &'a Tail,
    window: Window,
    filled: Option<Result<(), Error>>,
}

impl<'a> Warmth<'a> {
    /// A window of at most so many events, not filled yet.
    pub(crate) fn new(segments: &'a Segments, tail: &'a Tail, window_size: usize) -> Self {
        Self { segments, tail, window: Window::new(window_size), filled: None }
    }

    /// Fills both, unless that was done. What went wrong is told at the end.
    pub(crate) fn fill(&mut self) {
        if self.filled.is_none() {
            self.filled = Some(warm(self.segments, self.tail, &mut self.window));
        }
    }

    /// The window, filled.
    pub(crate) fn finish(mut self) -> Result<Window, Error> {
        self.fill();
        self.filled.unwrap_or(Ok(())).map(|()| self.window)
    }
}

/// Fills the window and the tail from the end of the log.
fn warm(segments: &Segments, tail: &Tail, window: &mut Window) -> Result<(), Error> {
    let (oldest, end) = (segments.oldest(), segments.end());
    let back = |offset: Offset, records: usize| {
        offset.saturating_sub(u64::try_from(records).unwrap_or(u64::MAX)).max(oldest)
    };
    let mut start = back(end, window.size_max().max(1));
    let (mut next, mut events) = (start, 0);
    loop {
        let entries = segments.read(next, BATCH)?;
        let Some(last) = entries.last() else { break };
        next = last.offset + 1;
        for entry in &entries {
            if let Some(event) = entry.event() {
                window.insert(&event.source, &event.id, entry.offset);
                events += 1;
            }
        }
        window.trim(0);
        tail.push(entries);
    }
    // Records that are no events left room in the window: older events belong into it. Where a part
    // of the log is gone there may be any number of offsets without records.
    let mut reach = BATCH;
    while start > oldest && !window.is_full() {
        let missing = window.size_max().saturating_sub(events).max(BATCH);
        let from = back(start, missing.max(reach));
        let found = warm_older(segments, from..start, missing, window)?;
        events += found;
        start = from;
        reach = if found == 0 { reach.saturating_mul(2) } else { BATCH };
    }
    Ok(())
}

/// Takes the newest events of a stretch before all that the window holds into it, the newest first.
/// How many there are.
fn warm_older(
    segments: &Segments,
    stretch: Range<Offset>,
    most: usize,
    window: &mut Window,
) -> Result<usize, Error> {
    let mut prints = VecDeque::new();
    let mut next = stretch.start;
    while next < stretch.end {
        let entries = segments.read(next, BATCH)?;
        let Some(last) = entries.last() else { break };
        next = last.offset + 1;
        for entry in entries.iter().filter(|entry| entry.offset < stretch.end) {
            if let Some(event) = entry.event() {
                prints.push_back((window.print(&event.source, &event.id), entry.offset));
            }
        }
        prints.drain(..prints.len().saturating_sub(most));
    }
    let events = prints.len();
    for (print, offset) in prints.into_iter().rev() {
        window.insert_older(print, offset);
    }
    Ok(events)
}
