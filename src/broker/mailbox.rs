//! The mailbox of one connection: what the router has for it, and the sign to end it. Bounded; when
//! it is full it turns to *behind* and takes no more, and the connection goes back to the log.
//!
//! Never here: a wait. Every lock is held for a few instructions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::record::Entry;

use super::reason::Reason;

/// Bytes of events that one mailbox may keep alive, beside the bound on their number.
const BYTES_MAX: usize = 4 << 20;

/// A queue that has grown beyond this gives its memory back once it is empty.
const IDLE_CAPACITY: usize = 32;

/// An event for a connection and the highest QoS that its matching filters were granted.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) entry: Arc<Entry>,
    pub(super) qos: u8,
}

/// Shared between a connection, the router and the registry.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// What raw events that this client published have as their source.
    pub(super) source: Box<str>,
    items_max: usize,
    /// Guards the queue; pushed to by the router, emptied by the connection.
    state: Mutex<State>,
    wake: Notify,
}

/// What taking from a mailbox gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// At least one item.
    Some,
    /// Nothing for now.
    Nothing,
    /// Nothing, and the router has passed the mailbox by: the log has the rest.
    Behind,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    bytes: usize,
    behind: bool,
    cut: Option<Reason>,
}

impl Mailbox {
    /// An empty mailbox for a client whose raw events have this source.
    pub(super) fn new(source: String, items_max: usize) -> Self {
        let (state, wake) = (Mutex::default(), Notify::new());
        Self { source: source.into(), items_max, state, wake }
    }

    /// Puts an event in, once however many filters match it. `true`: the owner has to be woken.
    pub(super) fn push(&self, entry: &Arc<Entry>, qos: u8) -> bool {
        let mut state = self.lock();
        if state.behind {
            return false;
        }
        if let Some(last) = state.queue.back_mut()
            && last.entry.offset == entry.offset
        {
            last.qos = last.qos.max(qos);
            return false;
        }
        let first = state.queue.is_empty();
        let full = state.queue.len() >= self.items_max || state.bytes >= BYTES_MAX;
        if full && !first {
            state.behind = true;
            return false;
        }
        state.bytes += entry.weight();
        state.queue.push_back(Item { entry: Arc::clone(entry), qos });
        first
    }

    /// Wakes the owner.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits to be woken. A wake-up while nobody waits is kept, so this is safe to drop.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Moves at most `count` items out.
    pub(super) fn take(&self, count: usize, into: &mut VecDeque<Item>) -> Taken {
        let mut state = self.lock();
        let count = count.min(state.queue.len());
        let State { queue, bytes, .. } = &mut *state;
        for item in queue.drain(..count) {
            *bytes = bytes.saturating_sub(item.entry.weight());
            into.push_back(item);
        }
        if queue.is_empty() && queue.capacity() > IDLE_CAPACITY {
            *queue = VecDeque::new();
        }
        match (count, state.behind) {
            (0, false) => Taken::Nothing,
            (0, true) => Taken::Behind,
            _ => Taken::Some,
        }
    }

    /// Takes items again.
    pub(super) fn go_live(&self) {
        self.lock().behind = false;
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

    fn entry(offset: u64) -> Arc<Entry> {
        let record = Record::Progress(Progress::default());
        Arc::new(Entry { offset, at: clock::now(), record })
    }

    fn offsets(mailbox: &Mailbox, count: usize) -> (Vec<u64>, Taken) {
        let mut taken = VecDeque::new();
        let left = mailbox.take(count, &mut taken);
        (taken.iter().map(|item| item.entry.offset).collect(), left)
    }

    #[test]
    fn a_full_mailbox_turns_behind_and_takes_no_more_until_it_goes_live() {
        let mailbox = Mailbox::new(String::new(), 2);
        assert!(mailbox.push(&entry(1), 0), "the first item wakes");
        assert!(!mailbox.push(&entry(2), 0), "the second does not");
        assert!(!mailbox.push(&entry(3), 0));
        assert_eq!(offsets(&mailbox, 1), (vec![1], Taken::Some));
        mailbox.push(&entry(4), 0);
        assert_eq!(offsets(&mailbox, 9), (vec![2], Taken::Some));
        assert_eq!(offsets(&mailbox, 9), (vec![], Taken::Behind));
        assert!(!mailbox.push(&entry(5), 0));
        mailbox.go_live();
        assert!(mailbox.push(&entry(6), 0));
        assert_eq!(offsets(&mailbox, 9), (vec![6], Taken::Some));
        assert_eq!(offsets(&mailbox, 9), (vec![], Taken::Nothing));
    }

    #[test]
    fn an_event_that_several_filters_match_comes_once_at_the_highest_qos() {
        let mailbox = Mailbox::new(String::new(), 2);
        for qos in [0, 1, 0] {
            mailbox.push(&entry(1), qos);
        }
        let mut taken = VecDeque::new();
        mailbox.take(9, &mut taken);
        assert_eq!((taken.len(), taken[0].qos), (1, 1));
    }

    #[tokio::test]
    async fn a_wake_up_before_the_wait_is_not_lost() {
        let mailbox = Mailbox::new(String::new(), 2);
        mailbox.cut(Reason::TAKEN_OVER);
        mailbox.cut(Reason::KEEP_ALIVE);
        mailbox.woken().await;
        assert_eq!(mailbox.cut_reason(), Some(Reason::TAKEN_OVER));
    }
}
