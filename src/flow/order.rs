//! Which of a strand's events may go next: what waits for what. Changes nothing.

use smol_str::SmolStr;

use super::lane::Limits;
use super::strand::{Mode, Strand};
use crate::domain::Offset;
use crate::domain::policy::Ordering;

/// An event that may go next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// One that waited.
    Again(Offset),
    /// One at a position of the queue.
    First(usize),
}

impl Strand {
    /// The event that may go next.
    pub(super) fn pick(&self, ordering: Ordering, limits: Limits) -> Option<Pick> {
        let again = self.first_due(ordering).map(Pick::Again);
        again.or_else(|| self.first_free(ordering, limits).map(Pick::First))
    }

    /// Whether so many deliveries wait that no further event is started or read. In an ordered
    /// strand those before the last of them are: the waiting ones may be waiting for them.
    pub(super) fn is_stuck(&self, offset: Offset, ordering: Ordering, limits: Limits) -> bool {
        let last = self.waiting.last().unwrap_or(0);
        let ordered = ordering != Ordering::None;
        let tried = self.waiting.len() - self.waiting.delayed();
        tried >= limits.retries_max && !(ordered && offset <= last)
    }

    /// Position in the queue of the first event that need not wait for another one.
    fn first_free(&self, ordering: Ordering, limits: Limits) -> Option<usize> {
        let head = self.queue.front()?.entry.offset;
        if self.is_stuck(head, ordering, limits) {
            return None;
        }
        match ordering {
            Ordering::None => Some(0),
            // An earlier event goes first, also where a crash let a later one fail before it.
            Ordering::Strict => {
                let earlier = self.waiting.first();
                earlier.is_none_or(|offset| head < offset).then_some(0)
            }
            Ordering::Key => self.queue.iter().position(|queued| match &queued.key {
                None => true,
                Some(key) => {
                    let earlier = self.waiting.first_of(key);
                    !self.is_flying(key)
                        && earlier.is_none_or(|offset| queued.entry.offset < offset)
                }
            }),
        }
    }

    /// The first of the due ones that need not wait for another event.
    fn first_due(&self, ordering: Ordering) -> Option<Offset> {
        let looked = |offset: Offset| self.mode == Mode::Live || self.position > offset;
        match ordering {
            Ordering::None => self.waiting.due().next(),
            Ordering::Strict => {
                let first = self.waiting.first()?;
                let head = self.queue.front().is_none_or(|queued| queued.entry.offset > first);
                (self.waiting.is_due(first) && head && looked(first)).then_some(first)
            }
            Ordering::Key => self.waiting.due().find(|offset| {
                let Some(key) = self.waiting.key(*offset) else { return true };
                let mut queued =
                    self.queue.iter().take_while(|queued| queued.entry.offset < *offset);
                looked(*offset)
                    && self.waiting.first_of(key) == Some(*offset)
                    && !self.is_flying(key)
                    && !queued.any(|queued| queued.key.as_ref() == Some(key))
            }),
        }
    }

    /// Whether an event with a key is under way.
    fn is_flying(&self, key: &SmolStr) -> bool {
        self.in_flight.values().any(|started| started.key.as_ref() == Some(key))
    }
}
