//! Several events in one request: the CloudEvents JSON batch format. Each is settled on its own;
//! what cannot be sent does not hold back the others.

use super::attempt::{Report, Run, Tried, Unsent};
use super::lane::{Lane, Limits};
use super::strand::{Begin, Strand};
use crate::domain::Timestamp;
use crate::domain::delivery::Reason;
use crate::domain::encoding::{BATCH_BYTES_MAX, Batch, Encoding};
use crate::domain::event::Event;
use crate::domain::lease::after;
use crate::domain::policy::Ordering;
use crate::domain::record::Entry;

/// One of the other events of a batch, and what came of it.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) begin: Begin,
    /// The event, unless it cannot be read.
    pub(super) entry: Option<Entry>,
    /// Why it was not among those that were sent.
    pub(super) unsent: Option<Unsent>,
}

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

impl Run<'_> {
    /// Sends what can be sent of a batch. The report tells of the first event that was sent, or of
    /// the first one, and holds the others.
    pub(super) async fn deliver_batch(mut self) -> Report {
        let first = std::mem::take(&mut self.task.begin);
        let mut all = Vec::with_capacity(self.task.rest.len() + 1);
        for begin in std::iter::once(first).chain(std::mem::take(&mut self.task.rest)) {
            let (entry, unsent) = match self.find(&begin).await {
                Ok(entry) => {
                    let unsent = self.check(&entry).err();
                    (Some(entry), unsent)
                }
                Err(why) => (None, Some(why)),
            };
            all.push(Other { begin, entry, unsent });
        }
        let head = all.iter().position(|other| other.unsent.is_none()).unwrap_or(0);
        let mut head = all.remove(head);
        self.task.begin = head.begin;
        let result = match head.unsent.take() {
            Some(why) => Err(why),
            None => self.send_together(head.entry.as_ref(), &all).await,
        };
        self.report(head.entry, result, all)
    }

    async fn send_together(
        &mut self,
        head: Option<&Entry>,
        others: &[Other],
    ) -> Result<Tried, Unsent> {
        let sent = others.iter().filter(|other| other.unsent.is_none());
        let entries = head.into_iter().chain(sent.filter_map(|other| other.entry.as_ref()));
        let events: Vec<&Event> = entries.filter_map(Entry::event).collect();
        let Some(first) = events.first() else {
            let why = "the record is not an event".to_owned();
            return Err(Unsent::Unmakeable(Reason::EventGone, why));
        };
        let subscription = self.task.subscription.clone();
        let occasion = self.occasion(first, &subscription);
        let again = || occasion.batch(&events).ok().map(|made| made.sent());
        match occasion.batch(&events) {
            Ok(made) => self.send(made, true, again).await.map(|(tried, _answer)| tried),
            Err(unmade) => self.unmade(unmade),
        }
    }
}
