//! A strand: one run of events through a lane, in the order of the log: what it has looked at, what
//! is queued, under way and waiting. A lane has one that follows the log, and perhaps one that
//! replays.

use std::collections::{BTreeMap, VecDeque};

use smol_str::SmolStr;

use super::lane::Limits;
use super::order::Pick;
use super::waiting::{Past, Waiting, Waitings};
use crate::domain::delivery::Retry;
use crate::domain::policy::Ordering;
use crate::domain::record::Entry;
use crate::domain::subscription::Subscription;
use crate::domain::template::Response;
use crate::domain::{Offset, Timestamp};

/// One run of events.
#[derive(Debug)]
pub(super) struct Strand {
    /// Everything before it was looked at: queued, started or no match. A live strand looks at
    /// everything that the matcher does, from here on.
    pub(super) position: Offset,
    pub(super) mode: Mode,
    pub(super) queue: VecDeque<Queued>,
    queue_bytes: usize,
    pub(super) in_flight: BTreeMap<Offset, Started>,
    pub(super) waiting: Waitings,
}

/// Where a strand gets its events from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// From the matcher.
    Live,
    /// From the log, from its own position.
    Behind {
        /// A read is under way.
        reading: bool,
    },
}

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) entry: Entry,
    pub(super) key: Option<SmolStr>,
    /// When it was queued.
    pub(super) since: Timestamp,
}

#[derive(Debug)]
pub(super) struct Started {
    past: Past,
    retried: bool,
    /// When the event was stored, at its first attempt.
    stored: Option<Timestamp>,
    pub(super) key: Option<SmolStr>,
}

/// What became of an event that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is queued, or was known before.
    Yes,
    /// There is no room: the strand falls behind here.
    No,
    /// It waits until this time, as its publisher wants; that is to be written down.
    Delayed(Timestamp),
}

/// An attempt that begins.
#[derive(Debug, Default)]
pub(super) struct Begin {
    /// The event.
    pub(super) offset: Offset,
    /// The event itself, at its first attempt.
    pub(super) entry: Option<Entry>,
    /// The attempt's number, counted from 1.
    pub(super) number: usize,
    /// What a template's steps were answered that are done.
    pub(super) responses: Vec<Response>,
}

/// A delivery that came back.
#[derive(Debug)]
pub(super) struct Finished {
    /// What was before the last attempt.
    pub(super) past: Past,
    /// It had waited for a retry before.
    pub(super) retried: bool,
    pub(super) key: Option<SmolStr>,
    /// It is part of a replay.
    pub(super) replay: bool,
}

impl Strand {
    pub(super) fn new(position: Offset, mode: Mode) -> Self {
        Self {
            position,
            mode,
            queue: VecDeque::new(),
            queue_bytes: 0,
            in_flight: BTreeMap::new(),
            waiting: Waitings::default(),
        }
    }

    /// Takes an event in that matches. An event that has an attempt behind it already is not taken
    /// twice.
    pub(super) fn take(
        &mut self,
        subscription: &Subscription,
        entry: &Entry,
        now: Timestamp,
        limits: Limits,
    ) -> Taken {
        let offset = entry.offset;
        if self.is_trying(offset) {
            return Taken::Yes;
        }
        let event = entry.event();
        let key = event.and_then(|event| subscription.order_key(event));
        let until = event.and_then(|event| subscription.delayed_until(event));
        let until = until.filter(|until| *until > now);
        let is_full = match until {
            Some(_) => self.waiting.delayed() >= limits.delayed_max,
            None => {
                self.queue.len() >= limits.queue_max || self.queue_bytes >= limits.queue_bytes_max
            }
        };
        if is_full {
            self.position = offset;
            self.mode = Mode::Behind { reading: false };
            return Taken::No;
        }
        if let Some(until) = until {
            self.waiting.insert(offset, Waiting { past: Past::default(), key, delayed: true });
            return Taken::Delayed(until);
        }
        self.queue_bytes += entry.weight();
        self.queue.push_back(Queued { entry: entry.clone(), key, since: now });
        Taken::Yes
    }

    /// Whether an event is under way or waits.
    pub(super) fn is_trying(&self, offset: Offset) -> bool {
        self.waiting.contains(offset) || self.in_flight.contains_key(&offset)
    }

    /// Whether an event is queued.
    pub(super) fn is_queued(&self, offset: Offset) -> bool {
        self.queue.binary_search_by_key(&offset, |queued| queued.entry.offset).is_ok()
    }

    /// Looks at everything again that was not started: the filter has changed.
    pub(super) fn look_again(&mut self, matched: Offset) {
        if let Some(first) = self.queue.front() {
            self.position = first.entry.offset;
            self.mode = Mode::Behind { reading: false };
        } else if self.mode == Mode::Live {
            self.position = self.position.max(matched);
        }
        self.queue.clear();
        self.queue_bytes = 0;
    }

    /// Whether it should read on: behind, not reading, and room for more.
    pub(super) fn wants_to_read(&self, ordering: Ordering, limits: Limits) -> bool {
        self.mode == Mode::Behind { reading: false }
            && self.queue.len() <= limits.queue_max / 2
            && self.queue_bytes <= limits.queue_bytes_max / 2
            && !self.is_stuck(self.position, ordering, limits)
    }

    /// Starts what was picked.
    pub(super) fn start(&mut self, pick: Pick) -> Option<Begin> {
        match pick {
            Pick::Again(offset) => {
                let Waiting { past, key, .. } = self.waiting.remove(offset)?;
                let (number, responses) = (past.attempts.len() + 1, past.responses.clone());
                self.in_flight.insert(offset, Started { past, retried: true, stored: None, key });
                Some(Begin { offset, entry: None, number, responses })
            }
            Pick::First(at) => {
                let Queued { entry, key, .. } = self.queue.remove(at)?;
                self.queue_bytes -= entry.weight();
                let stored = Some(entry.at);
                let started = Started { past: Past::default(), retried: false, stored, key };
                let offset = entry.offset;
                self.in_flight.insert(offset, started);
                Some(Begin { offset, entry: Some(entry), number: 1, responses: vec![] })
            }
        }
    }

    /// Takes a delivery back that was started. `None`: it was not, a late answer.
    pub(super) fn finish(&mut self, offset: Offset, replay: bool) -> Option<Finished> {
        let Started { past, retried, key, .. } = self.in_flight.remove(&offset)?;
        Some(Finished { past, retried, key, replay })
    }

    /// Puts a delivery among those that wait.
    pub(super) fn wait(&mut self, retry: &Retry, key: Option<SmolStr>) {
        let (attempts, responses) = (retry.attempts.clone(), retry.responses.clone());
        let past = Past { attempts, responses };
        self.waiting.insert(retry.offset, Waiting { past, key, delayed: retry.delayed });
    }

    /// Puts a dead letter among those that wait, and it is due. Where a crash let the lane forget
    /// that it was given up, the delivery that it holds becomes this one.
    pub(super) fn redrive(&mut self, offset: Offset, key: Option<SmolStr>) {
        if let Some(started) = self.in_flight.get_mut(&offset) {
            (started.past, started.retried) = (Past::default(), true);
            return;
        }
        self.let_go(offset);
        self.waiting.insert(offset, Waiting { past: Past::default(), key, delayed: false });
        self.waiting.fall_due(offset);
    }

    /// Forgets an event that is not under way.
    pub(super) fn let_go(&mut self, offset: Offset) {
        self.waiting.remove(offset);
        let queued = self.queue.iter().position(|queued| queued.entry.offset == offset);
        if let Some(Queued { entry, .. }) = queued.and_then(|at| self.queue.remove(at)) {
            self.queue_bytes -= entry.weight();
        }
    }

    /// All events before it are done or wait for a retry of their own. `matched` is how far the
    /// matcher is.
    pub(super) fn cursor(&self, matched: Offset) -> Offset {
        let looked =
            if self.mode == Mode::Live { matched.max(self.position) } else { self.position };
        let started = self.in_flight.iter().find(|(_, started)| !started.retried);
        let started = started.map_or(looked, |(offset, _)| *offset);
        self.queue.front().map_or(looked, |queued| queued.entry.offset).min(started)
    }

    /// When the oldest event was stored that is not done and has no retry of its own, as far as
    /// that is in memory.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let started = self.in_flight.values().find_map(|started| started.stored);
        let queued = self.queue.front().map(|queued| queued.entry.at);
        started.into_iter().chain(queued).min()
    }

    /// Whether there is nothing left to do before what the matcher has matched.
    pub(super) fn is_caught_up(&self, matched: Offset) -> bool {
        self.mode == Mode::Live
            && self.position <= matched
            && self.queue.is_empty()
            && self.in_flight.values().all(|started| started.retried)
    }

    /// Whether nothing of it is queued, under way or waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty() && self.waiting.len() == 0
    }
}
