//! The mailbox of one connection: what the router has for it, and the sign to end it. Bounded; when
//! it is full it turns to *behind*: it lets go of all that it has and takes no more, and the
//! connection goes back to the log. What a stalled client misses is kept there and not here.
//!
//! Never here: a wait. Every lock is held for a few instructions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smol_str::SmolStr;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::domain::Offset;
use crate::domain::record::Entry;

use super::reason::Reason;

/// Bytes of events that one mailbox may keep alive, beside the bound on their number.
const BYTES_MAX: usize = 4 << 20;

/// A queue that has grown beyond this gives its memory back once it is empty.
const IDLE_CAPACITY: usize = 32;

/// An event for a connection and the highest QoS that its matching filters were granted.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) entry: Entry,
    pub(super) qos: u8,
}

/// Shared between a connection, the router and the registry.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// Who the client is as a publisher.
    pub(super) identity: SmolStr,
    items_max: usize,
    /// Guards the queue; pushed to by the router, emptied by the connection.
    state: Mutex<State>,
    wake: Arc<Notify>,
}

/// What taking from a mailbox gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// At least one item.
    Some,
    /// Nothing for now.
    Nothing,
    /// Nothing, and the router has passed the mailbox by: the log has all from this offset on.
    Behind(Offset),
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    bytes: usize,
    /// The first event that was let go of.
    behind: Option<Offset>,
    cut: Option<Reason>,
}

impl Mailbox {
    /// An empty mailbox for a client.
    pub(super) fn new(identity: SmolStr, items_max: usize) -> Self {
        let (state, wake) = (Mutex::default(), Arc::default());
        Self { identity, items_max, state, wake }
    }

    /// Puts an event in, once however many filters match it. `true`: the owner has to be woken.
    pub(super) fn push(&self, entry: &Entry, qos: u8) -> bool {
        let mut state = self.lock();
        if state.behind.is_some() {
            return false;
        }
        if let Some(last) = state.queue.back_mut()
            && last.entry.offset == entry.offset
        {
            last.qos = last.qos.max(qos);
            return false;
        }
        let full = state.queue.len() >= self.items_max || state.bytes >= BYTES_MAX;
        if full && let Some(oldest) = state.queue.front() {
            // Nobody has to be woken: the owner was when `oldest` came.
            state.behind = Some(oldest.entry.offset);
            state.queue = VecDeque::new();
            state.bytes = 0;
            return false;
        }
        let first = state.queue.is_empty();
        state.bytes += entry.weight();
        state.queue.push_back(Item { entry: entry.clone(), qos });
        first
    }

    /// Wakes the owner.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits to be woken. A wake-up while nobody waits is kept, so this is safe to drop.
    pub(super) fn woken(&self) -> OwnedNotified {
        self.wake.clone().notified_owned()
    }

    /// Moves items out: at most `count`, and no more once they have `bytes_max`.
    pub(super) fn take(&self, count: usize, bytes_max: usize, into: &mut VecDeque<Item>) -> Taken {
        let mut state = self.lock();
        let State { queue, bytes, behind, .. } = &mut *state;
        let (mut moved, mut moved_bytes) = (0, 0);
        while moved < count && moved_bytes < bytes_max {
            let Some(item) = queue.pop_front() else { break };
            let weight = item.entry.weight();
            *bytes = bytes.saturating_sub(weight);
            (moved, moved_bytes) = (moved + 1, moved_bytes + weight);
            into.push_back(item);
        }
        if queue.is_empty() && queue.capacity() > IDLE_CAPACITY {
            *queue = VecDeque::new();
        }
        match (moved, *behind) {
            (0, None) => Taken::Nothing,
            (0, Some(oldest)) => Taken::Behind(oldest),
            _ => Taken::Some,
        }
    }

    /// Takes items again.
    pub(super) fn go_live(&self) {
        self.lock().behind = None;
    }

    /// Tells the owner to end the connection. The first reason counts.
    pub(super) fn cut(&self, reason: Reason) {
        self.lock().cut.get_or_insert(reason);
        self.wake();
    }

    /// Why the connection has to end, if it has to.
    pub(super) fn cut_reason(&self) -> Option<Reason> {
        self.lock().cut
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::domain::record::{Progress, Record};

    fn entry(offset: u64) -> Entry {
        with(offset, &Arc::default())
    }

    fn with(offset: u64, progress: &Arc<Progress>) -> Entry {
        Entry { offset, at: clock::now(), record: Record::Progress(progress.clone()) }
    }

    fn offsets(mailbox: &Mailbox, count: usize) -> (Vec<u64>, Taken) {
        let mut taken = VecDeque::new();
        let left = mailbox.take(count, usize::MAX, &mut taken);
        (taken.iter().map(|item| item.entry.offset).collect(), left)
    }

    #[test]
    fn a_full_mailbox_lets_go_of_all_and_takes_no_more_until_it_goes_live() {
        let mailbox = Mailbox::new(SmolStr::default(), 2);
        assert!(mailbox.push(&entry(1), 0), "the first item wakes");
        assert!(!mailbox.push(&entry(2), 0), "the second does not");
        assert_eq!(offsets(&mailbox, 1), (vec![1], Taken::Some));
        let third = Arc::new(Progress::default());
        mailbox.push(&with(3, &third), 0);
        assert_eq!(Arc::strong_count(&third), 2);
        mailbox.push(&entry(4), 0);
        assert_eq!(Arc::strong_count(&third), 1, "let go of");
        assert_eq!(offsets(&mailbox, 9), (vec![], Taken::Behind(2)));
        assert!(!mailbox.push(&entry(5), 0));
        assert_eq!(offsets(&mailbox, 9), (vec![], Taken::Behind(2)));
        mailbox.go_live();
        assert!(mailbox.push(&entry(6), 0));
        assert_eq!(offsets(&mailbox, 9), (vec![6], Taken::Some));
        assert_eq!(offsets(&mailbox, 9), (vec![], Taken::Nothing));
    }

    #[test]
    fn what_is_taken_at_once_is_bounded_in_bytes() {
        let mailbox = Mailbox::new(SmolStr::default(), 9);
        for offset in 1..=3 {
            mailbox.push(&entry(offset), 0);
        }
        let mut taken = VecDeque::new();
        mailbox.take(9, 1, &mut taken);
        assert_eq!(taken.len(), 1, "one at least");
        mailbox.take(9, 257, &mut taken);
        assert_eq!(taken.len(), 3, "256 bytes each");
    }

    #[test]
    fn an_event_that_several_filters_match_comes_once_at_the_highest_qos() {
        let mailbox = Mailbox::new(SmolStr::default(), 2);
        for qos in [0, 1, 0] {
            mailbox.push(&entry(1), qos);
        }
        let mut taken = VecDeque::new();
        mailbox.take(9, usize::MAX, &mut taken);
        assert_eq!((taken.len(), taken[0].qos), (1, 1));
    }

    #[tokio::test]
    async fn a_wake_up_before_the_wait_is_not_lost() {
        let mailbox = Mailbox::new(SmolStr::default(), 2);
        mailbox.cut(Reason::TAKEN_OVER);
        mailbox.cut(Reason::KEEP_ALIVE);
        mailbox.woken().await;
        assert_eq!(mailbox.cut_reason(), Some(Reason::TAKEN_OVER));
    }
}
