//! A lane: the runner of one subscription. A cursor and its exceptions, in memory, bounded.
//!
//! Pure but for the counters it shows: the dispatcher tells it what happened and asks it what to
//! start next. It never sends, waits or reads by itself.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::lanes::Stats;
use crate::domain::delivery::{Attempt, Retry};
use crate::domain::event::Event;
use crate::domain::lease::after;
use crate::domain::policy::Ordering;
use crate::domain::record::Entry;
use crate::domain::subscription::Subscription;
use crate::domain::{Offset, Timestamp};

/// How far into the queue `ordering: key` looks for an event whose key is free.
const KEY_SCAN_MAX: usize = 64;

/// Bounds that the operator sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Events that wait in memory.
    pub(super) queue_max: usize,
    /// Deliveries that wait for a retry.
    pub(super) retries_max: usize,
}

/// The runner of one subscription.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) subscription: Arc<Subscription>,
    pub(super) stats: Arc<Stats>,
    /// Everything before it was looked at: queued, started or no match. A live lane looks at
    /// everything that the matcher does, from here on.
    pub(super) position: Offset,
    pub(super) mode: Mode,
    queue: VecDeque<Arc<Entry>>,
    in_flight: BTreeMap<Offset, Started>,
    waiting: BTreeMap<Offset, Waiting>,
    due: VecDeque<Offset>,
    next_start: Timestamp,
    /// Its target is gone and the writer was told: nothing more is started.
    pub(super) ending: bool,
    /// It stands in the queue of lanes that might start something.
    pub(super) ready: bool,
    /// It stands in the queue of lanes that might read the log.
    pub(super) hungry: bool,
    /// The cursor that the tables hold, if they hold one.
    pub(super) noted: Option<Offset>,
}

/// Where a lane gets its events from.
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
struct Started {
    attempts: Vec<Attempt>,
    retried: bool,
    key: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    attempts: Vec<Attempt>,
    key: Option<String>,
}

/// What a lane wants to do.
#[derive(Debug)]
pub(super) enum Next {
    /// Start the first attempt of this event.
    First(Arc<Entry>),
    /// Start another attempt.
    Again {
        /// The event.
        offset: Offset,
        /// The attempt's number.
        number: usize,
    },
    /// Nothing before this time: the rate is used up.
    At(Timestamp),
    /// Nothing until something happens.
    Nothing,
}

/// A delivery that came back.
#[derive(Debug)]
pub(super) struct Finished {
    /// All attempts so far, the last one included.
    pub(super) attempts: Vec<Attempt>,
    /// It had waited for a retry before.
    pub(super) retried: bool,
    pub(super) key: Option<String>,
}

impl Lane {
    pub(super) fn new(subscription: Arc<Subscription>, position: Offset, mode: Mode) -> Self {
        Self {
            subscription,
            stats: Arc::new(Stats::default()),
            position,
            mode,
            queue: VecDeque::new(),
            in_flight: BTreeMap::new(),
            waiting: BTreeMap::new(),
            due: VecDeque::new(),
            next_start: Timestamp::UNIX_EPOCH,
            ending: false,
            ready: false,
            hungry: false,
            noted: None,
        }
    }

    /// Takes an event in that matches. False: there is no room, the lane falls behind here.
    /// An event that has an attempt behind it already is not taken twice.
    pub(super) fn take(&mut self, entry: &Arc<Entry>, limits: Limits) -> bool {
        let offset = entry.offset;
        if self.waiting.contains_key(&offset) || self.in_flight.contains_key(&offset) {
            return true;
        }
        if self.queue.len() >= limits.queue_max {
            self.fall_behind(entry.offset);
            return false;
        }
        self.queue.push_back(entry.clone());
        true
    }

    /// From here on the lane reads the log by itself.
    pub(super) fn fall_behind(&mut self, position: Offset) {
        self.position = position;
        self.mode = Mode::Behind { reading: false };
    }

    /// Whether it should read on: behind, not reading, room for more, and allowed to deliver.
    pub(super) fn wants_to_read(&self, now: Timestamp, limits: Limits) -> bool {
        self.mode == Mode::Behind { reading: false }
            && !self.ending
            && self.queue.len() <= limits.queue_max / 2
            && self.waiting.len() < limits.retries_max
            && self.subscription.may_deliver(now)
    }

    /// What to start next. What is returned counts as started.
    pub(super) fn next(&mut self, now: Timestamp, limits: Limits) -> Next {
        let subscription = self.subscription.clone();
        let policy = &subscription.wish.policy;
        let window = usize::try_from(policy.max_in_flight).unwrap_or(usize::MAX);
        let window = if policy.ordering == Ordering::Strict { 1 } else { window };
        if self.ending || self.in_flight.len() >= window || !subscription.may_deliver(now) {
            return Next::Nothing;
        }
        let first = self.first_free(policy.ordering, limits);
        if self.due.is_empty() && first.is_none() {
            return Next::Nothing;
        }
        if let Some(rate) = policy.rate_per_second {
            if self.next_start > now {
                return Next::At(self.next_start);
            }
            self.next_start = after(now, Duration::from_secs(1) / rate);
        }
        while let Some(offset) = self.due.pop_front() {
            if let Some(Waiting { attempts, key }) = self.waiting.remove(&offset) {
                let number = attempts.len() + 1;
                self.in_flight.insert(offset, Started { attempts, retried: true, key });
                return Next::Again { offset, number };
            }
        }
        match first.and_then(|at| self.queue.remove(at)) {
            Some(entry) => {
                let key = key_of(policy.ordering, entry.event());
                let started = Started { attempts: vec![], retried: false, key };
                self.in_flight.insert(entry.offset, started);
                Next::First(entry)
            }
            None => Next::Nothing,
        }
    }

    /// Takes a delivery back that was started. `None`: it was not, a late answer.
    pub(super) fn finish(&mut self, offset: Offset, attempt: Attempt) -> Option<Finished> {
        let Started { mut attempts, retried, key } = self.in_flight.remove(&offset)?;
        attempts.push(attempt);
        Some(Finished { attempts, retried, key })
    }

    /// Puts a delivery among those that wait.
    pub(super) fn wait(&mut self, retry: &Retry, key: Option<String>) {
        let waiting = Waiting { attempts: retry.attempts.clone(), key };
        self.waiting.insert(retry.offset, waiting);
    }

    /// A delivery's time to be tried again has come. False: it does not wait any more.
    pub(super) fn fall_due(&mut self, offset: Offset) -> bool {
        let waits = self.waiting.contains_key(&offset) && !self.due.contains(&offset);
        if waits {
            self.due.push_back(offset);
        }
        waits
    }

    /// All events before it are done or wait for a retry of their own. `matched` is how far the
    /// matcher is.
    pub(super) fn cursor(&self, matched: Offset) -> Offset {
        let looked =
            if self.mode == Mode::Live { matched.max(self.position) } else { self.position };
        let started = self.in_flight.iter().find(|(_, started)| !started.retried);
        let started = started.map_or(looked, |(offset, _)| *offset);
        self.queue.front().map_or(looked, |entry| entry.offset).min(started)
    }

    /// Whether there is nothing left to do before what the matcher has matched.
    pub(super) fn is_caught_up(&self, matched: Offset) -> bool {
        self.mode == Mode::Live
            && self.position <= matched
            && self.queue.is_empty()
            && self.in_flight.values().all(|started| started.retried)
    }

    /// Shows where it stands.
    pub(super) fn show(&self, matched: Offset) {
        self.stats.show(
            self.cursor(matched),
            self.in_flight.len(),
            self.queue.len(),
            self.waiting.len(),
            !self.is_caught_up(matched),
        );
    }

    /// Position in the queue of the first event that need not wait for another one.
    fn first_free(&self, ordering: Ordering, limits: Limits) -> Option<usize> {
        if self.queue.is_empty() || self.waiting.len() >= limits.retries_max {
            return None;
        }
        match ordering {
            Ordering::None => Some(0),
            Ordering::Strict => self.waiting.is_empty().then_some(0),
            Ordering::Key => {
                let waiting = self.waiting.values().filter_map(|waiting| waiting.key.as_deref());
                let started = self.in_flight.values().filter_map(|started| started.key.as_deref());
                let taken: HashSet<&str> = waiting.chain(started).collect();
                let free = |entry: &Arc<Entry>| {
                    key_of(ordering, entry.event()).is_none_or(|key| !taken.contains(key.as_str()))
                };
                self.queue.iter().take(KEY_SCAN_MAX).position(free)
            }
        }
    }
}

/// What orders an event among others: with `ordering: key` its subject.
pub(super) fn key_of(ordering: Ordering, event: Option<&Event>) -> Option<String> {
    match ordering {
        Ordering::Key => event.and_then(|event| event.subject.clone()),
        Ordering::None | Ordering::Strict => None,
    }
}
