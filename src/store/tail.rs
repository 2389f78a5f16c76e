//! The recent tail of the log in memory, so that live readers never touch the disk.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, watch};

use crate::domain::Offset;
use crate::domain::record::Entry;

/// The newest entries, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Entries without a gap up to the end of the log. Guards memory only.
    held: Mutex<Held>,
    next: watch::Sender<Offset>,
    /// Who has no time to tell asks somebody to, if there is somebody.
    later: Notify,
    has_teller: AtomicBool,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Held {
    /// With their weights.
    entries: VecDeque<(usize, Entry)>,
    bytes: usize,
}

impl Tail {
    /// An empty tail of a log whose next record has this offset.
    pub(crate) fn new(next: Offset, bytes_max: usize) -> Self {
        let (held, later, has_teller) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Self { held, next: watch::Sender::new(next), later, has_teller, bytes_max }
    }

    /// Adds entries that are on disk: from here on they are read. What there is no room for any
    /// more is handed out, with its weight: dropping it takes longer than all the rest.
    pub(crate) fn push(&self, entries: Vec<Entry>) -> Vec<(usize, Entry)> {
        let mut let_go = Vec::new();
        let Some(next) = entries.last().map(|entry| entry.offset + 1) else { return let_go };
        {
            let mut held = self.held.lock().expect("no panic while the tail is held");
            for entry in entries {
                let last = held.entries.back().map(|(_, last)| last.offset + 1);
                // Behind a gap the tail begins anew: it is read by counting from its front.
                if last.is_some_and(|last| last != entry.offset) {
                    held.entries.clear();
                    held.bytes = 0;
                }
                let weight = entry.weight();
                held.bytes += weight;
                held.entries.push_back((weight, entry));
            }
            while held.bytes > self.bytes_max {
                let Some(oldest) = held.entries.pop_front() else { break };
                held.bytes -= oldest.0;
                let_go.push(oldest);
            }
        }
        self.next.send_if_modified(|held| {
            *held = next;
            false
        });
        let_go
    }

    /// Wakes who waits for what was added.
    pub(crate) fn tell(&self) {
        self.next.send_modify(|_| {});
    }

    /// Has the teller do it, if there is one: waking one task that is about to run costs the
    /// caller nothing.
    pub(crate) fn tell_later(&self) {
        match self.has_teller.load(Ordering::SeqCst) {
            true => self.later.notify_one(),
            false => self.tell(),
        }
    }

    /// Tells for those who have no time for it. Never ends.
    pub(crate) async fn telling(&self) {
        let _teller = Teller::new(self);
        loop {
            self.later.notified().await;
            self.tell();
        }
    }

    /// Entries from an offset on, at most `max`. `None`: the tail does not reach back that far.
    pub(crate) fn read(&self, from: Offset, max: usize) -> Option<Vec<Entry>> {
        if from >= self.next() {
            return Some(Vec::new());
        }
        let held = self.held.lock().expect("no panic while the tail is held");
        let first = held.entries.front()?.1.offset;
        let start = usize::try_from(from.checked_sub(first)?).ok()?;
        Some(held.entries.iter().skip(start).take(max).map(|(_, entry)| entry.clone()).collect())
    }

    /// One past the newest entry.
    pub(crate) fn next(&self) -> Offset {
        *self.next.borrow()
    }

    /// The newest entry, if it is in memory.
    pub(crate) fn last(&self) -> Option<Entry> {
        self.held
            .lock()
            .expect("no panic while the tail is held")
            .entries
            .back()
            .map(|(_, entry)| entry.clone())
    }

    /// Follows the end of the log.
    pub(crate) fn watch(&self) -> watch::Receiver<Offset> {
        self.next.subscribe()
    }
}

/// Who tells for others, for as long as it is there.
struct Teller<'a>(&'a Tail);

impl<'a> Teller<'a> {
    fn new(tail: &'a Tail) -> Self {
        tail.has_teller.store(true, Ordering::SeqCst);
        Self(tail)
    }
}

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        self.0.has_teller.store(false, Ordering::SeqCst);
        // Who asked and was not heard.
        self.0.tell();
    }
}
