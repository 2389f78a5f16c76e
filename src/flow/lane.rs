//! A lane: the runner of one subscription. A cursor and its exceptions, in memory, bounded.
//!
//! Pure but for the counters it shows: the dispatcher tells it what happened and asks it what to
//! start next. It never sends, waits or reads by itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

use super::lanes::Stats;
use super::targets::Server;
use super::waiting::{Past, Waiting, Waitings};
use crate::domain::breaker::Start;
use crate::domain::delivery::Retry;
use crate::domain::lease::after;
use crate::domain::policy::Ordering;
use crate::domain::record::Entry;
use crate::domain::subscription::Subscription;
use crate::domain::template::Response;
use crate::domain::{Offset, Timestamp};

/// Bounds that the operator sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Events that wait in memory.
    pub(super) queue_max: usize,
    /// Their bytes.
    pub(super) queue_bytes_max: usize,
    /// Requests under way for one subscription, whatever its policy asks for: no subscription may
    /// take all there are.
    pub(super) in_flight_max: usize,
    /// Deliveries that wait for a retry.
    pub(super) retries_max: usize,
    /// Deliveries that wait since their publisher wants them to be late.
    pub(super) delayed_max: usize,
}

/// The runner of one subscription.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) subscription: Arc<Subscription>,
    pub(super) stats: Arc<Stats>,
    /// Where it delivers to.
    pub(super) server: Server,
    /// It waits for something that is under way to its target to come back.
    pub(super) blocked: bool,
    /// Its target does not work, and the writer was told or is about to be.
    pub(super) told_parked: bool,
    /// Everything before it was looked at: queued, started or no match. A live lane looks at
    /// everything that the matcher does, from here on.
    pub(super) position: Offset,
    pub(super) mode: Mode,
    pub(super) queue: VecDeque<Queued>,
    queue_bytes: usize,
    pub(super) in_flight: BTreeMap<Offset, Started>,
    pub(super) waiting: Waitings,
    next_start: Timestamp,
    held_until: Timestamp,
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
pub(super) struct Queued {
    pub(super) entry: Entry,
    pub(super) key: Option<SmolStr>,
}

#[derive(Debug)]
pub(super) struct Started {
    past: Past,
    retried: bool,
    pub(super) key: Option<SmolStr>,
}

/// What became of an event that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is queued, or was known before.
    Yes,
    /// There is no room: the lane falls behind here.
    No,
    /// It waits until this time, as its publisher wants; that is to be written down.
    Delayed(Timestamp),
}

/// What a lane wants to do.
#[derive(Debug)]
pub(super) enum Next {
    /// Start the first attempt of this event.
    First(Entry),
    /// Start another attempt.
    Again {
        /// The event.
        offset: Offset,
        /// The attempt's number.
        number: usize,
        /// What a template's steps were answered that are done.
        responses: Vec<Response>,
    },
    /// Nothing before this time: the rate is used up.
    At(Timestamp),
    /// Nothing before this time: the target does not work.
    Shut(Timestamp),
    /// Nothing until something that is under way to the target comes back.
    Blocked,
    /// Nothing until something happens.
    Nothing,
}

/// A delivery that came back.
#[derive(Debug)]
pub(super) struct Finished {
    /// What was before the last attempt.
    pub(super) past: Past,
    /// It had waited for a retry before.
    pub(super) retried: bool,
    pub(super) key: Option<SmolStr>,
}

impl Lane {
    pub(super) fn new(
        subscription: Arc<Subscription>,
        server: Server,
        position: Offset,
        mode: Mode,
    ) -> Self {
        Self {
            subscription,
            server,
            blocked: false,
            told_parked: false,
            stats: Arc::new(Stats::default()),
            position,
            mode,
            queue: VecDeque::new(),
            queue_bytes: 0,
            in_flight: BTreeMap::new(),
            waiting: Waitings::default(),
            next_start: Timestamp::UNIX_EPOCH,
            held_until: Timestamp::UNIX_EPOCH,
            ending: false,
            ready: false,
            hungry: false,
            noted: None,
        }
    }

    /// Takes an event in that matches. An event that has an attempt behind it already is not taken
    /// twice.
    pub(super) fn take(&mut self, entry: &Entry, now: Timestamp, limits: Limits) -> Taken {
        let offset = entry.offset;
        if self.waiting.contains(offset) || self.in_flight.contains_key(&offset) {
            return Taken::Yes;
        }
        let subscription = self.subscription.clone();
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
        self.queue.push_back(Queued { entry: entry.clone(), key });
        Taken::Yes
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

    /// Starts nothing before a time: the target asked for it.
    pub(super) fn hold_until(&mut self, time: Timestamp) {
        self.held_until = self.held_until.max(time);
    }

    /// The subscription has another target: what the old one asked for does not hold for it.
    pub(super) fn retarget(&mut self) {
        (self.ending, self.blocked) = (false, false);
        self.held_until = Timestamp::UNIX_EPOCH;
    }

    /// Whether it should read on: behind, not reading, room for more, and allowed to deliver.
    pub(super) fn wants_to_read(&self, now: Timestamp, limits: Limits) -> bool {
        self.mode == Mode::Behind { reading: false }
            && !self.ending
            && self.queue.len() <= limits.queue_max / 2
            && self.queue_bytes <= limits.queue_bytes_max / 2
            && !self.is_stuck(self.position, limits)
            && self.subscription.may_deliver(now)
    }

    /// What to start next, as far as the target lets it. What is returned counts as started.
    pub(super) fn next(&mut self, now: Timestamp, limits: Limits, target: Start) -> Next {
        let subscription = self.subscription.clone();
        let policy = &subscription.wish.policy;
        let window = usize::try_from(policy.max_in_flight).unwrap_or(usize::MAX);
        let window = window.min(limits.in_flight_max);
        let window = if policy.ordering == Ordering::Strict { 1 } else { window };
        if self.ending || self.in_flight.len() >= window || !subscription.may_deliver(now) {
            return Next::Nothing;
        }
        match target {
            // Which one probes is of no matter; that there is one to probe is.
            Start::Probe | Start::At(_) => self.fall_all_due(),
            Start::Yes | Start::Later => {}
        }
        let again = self.first_due(policy.ordering);
        let first = if again.is_none() { self.first_free(policy.ordering, limits) } else { None };
        if again.is_none() && first.is_none() {
            return Next::Nothing;
        }
        match target {
            Start::Yes | Start::Probe => {}
            Start::Later => return Next::Blocked,
            Start::At(time) => return Next::Shut(time),
        }
        if self.held_until > now {
            return Next::At(self.held_until);
        }
        if let Some(rate) = policy.rate_per_second {
            let pace = Duration::from_secs(1) / rate;
            // The wall clock may have been set back since.
            self.next_start = self.next_start.min(after(now, pace));
            if self.next_start > now {
                return Next::At(self.next_start);
            }
            self.next_start = after(now, pace);
        }
        if let Some(offset) = again
            && let Some(Waiting { past, key, .. }) = self.waiting.remove(offset)
        {
            let (number, responses) = (past.attempts.len() + 1, past.responses.clone());
            self.in_flight.insert(offset, Started { past, retried: true, key });
            return Next::Again { offset, number, responses };
        }
        match first.and_then(|at| self.queue.remove(at)) {
            Some(Queued { entry, key }) => {
                self.queue_bytes -= entry.weight();
                let started = Started { past: Past::default(), retried: false, key };
                self.in_flight.insert(entry.offset, started);
                Next::First(entry)
            }
            None => Next::Nothing,
        }
    }

    /// Takes a delivery back that was started. `None`: it was not, a late answer.
    pub(super) fn finish(&mut self, offset: Offset) -> Option<Finished> {
        let Started { past, retried, key } = self.in_flight.remove(&offset)?;
        Some(Finished { past, retried, key })
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
        let queued = self.queue.iter().position(|queued| queued.entry.offset == offset);
        if let Some(Queued { entry, .. }) = queued.and_then(|at| self.queue.remove(at)) {
            self.queue_bytes -= entry.weight();
        }
        self.waiting.insert(offset, Waiting { past: Past::default(), key, delayed: false });
        self.waiting.fall_due(offset);
    }

    /// Has everything tried again that failed: what it failed by was the target.
    pub(super) fn fall_all_due(&mut self) {
        self.waiting.fall_all_due();
    }

    /// A delivery's time to be tried again has come. False: it does not wait any more.
    pub(super) fn fall_due(&mut self, offset: Offset) -> bool {
        self.waiting.fall_due(offset)
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
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
