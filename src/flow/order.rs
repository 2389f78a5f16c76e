//! Which of a lane's events may go next: what waits for what. Changes nothing.

use smol_str::SmolStr;

use super::lane::{Lane, Limits, Mode};
use crate::domain::Offset;
use crate::domain::policy::Ordering;

impl Lane {
    /// Whether so many deliveries wait that no further event is started or read. In an ordered
    /// lane those before the last of them are: the waiting ones may be waiting for them.
    pub(super) fn is_stuck(&self, offset: Offset, limits: Limits) -> bool {
        let last = self.waiting.last().unwrap_or(0);
        let ordered = self.subscription.wish.policy.ordering != Ordering::None;
        let tried = self.waiting.len() - self.waiting.delayed();
        tried >= limits.retries_max && !(ordered && offset <= last)
    }

    /// Position in the queue of the first event that need not wait for another one.
    pub(super) fn first_free(&self, ordering: Ordering, limits: Limits) -> Option<usize> {
        let head = self.queue.front()?.entry.offset;
        if self.is_stuck(head, limits) {
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
    pub(super) fn first_due(&self, ordering: Ordering) -> Option<Offset> {
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
