//! Several events in one request: the CloudEvents JSON batch format. Each is settled on its own;
//! what cannot be sent does not hold back the others.

use super::lane::{Lane, Limits};
use super::strand::{Begin, Strand};
use crate::domain::Timestamp;
use crate::domain::encoding::{BATCH_BYTES_MAX, Batch, Encoding};
use crate::domain::lease::after;
use crate::domain::policy::Ordering;
use crate::domain::record::Entry;

impl Strand {
    /// Until when the first event waits for others. `None`: no longer.
    pub(super) fn fills_until(&self, batch: Batch, now: Timestamp) -> Option<Timestamp> {
        let first = self.queue.front()?;
        let is_full = self.queue.len() >= usize::try_from(batch.max).unwrap_or(usize::MAX);
        // The wall clock may have been set back since.
        let until = after(first.since.min(now), batch.wait);
        (!is_full && until > now).then_some(until)
    }

    /// Starts what goes with an event that was started.
    pub(super) fn fill(
        &mut self,
        first: &Begin,
        batch: Batch,
        ordering: Ordering,
        limits: Limits,
    ) -> Vec<Begin> {
        let weight = |begin: &Begin| begin.entry.as_ref().map_or(0, Entry::weight);
        let (mut others, mut bytes) = (Vec::new(), weight(first));
        while others.len() + 1 < usize::try_from(batch.max).unwrap_or(usize::MAX)
            && bytes < BATCH_BYTES_MAX
            && let Some(begin) = self.pick(ordering, limits).and_then(|pick| self.start(pick))
        {
            bytes += weight(&begin);
            others.push(begin);
        }
        others
    }
}

impl Lane {
    /// How events go together, if they do.
    pub(super) fn batch(&self) -> Option<Batch> {
        match self.subscription.wish.encoding {
            Encoding::Batch(batch) => Some(batch),
            _ => None,
        }
    }
}
