//! What one lane shows: counters that it sets and others look at, without disturbing it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::lanes::LaneStatus;
use crate::domain::gap::Gap;
use crate::domain::latency::Latency;
use crate::domain::replay::Replay;
use crate::domain::{Offset, Timestamp};

/// No time.
const NONE: i64 = i64::MIN;

/// What a lane shows.
#[derive(Debug)]
pub(super) struct Stats {
    cursor: AtomicU64,
    in_flight: AtomicUsize,
    queued: AtomicUsize,
    retrying: AtomicUsize,
    delivered: AtomicU64,
    failed: AtomicU64,
    lagging: AtomicBool,
    /// Milliseconds after 1970, or `NONE`.
    oldest: AtomicI64,
    /// What is there once something has happened. Guards memory only.
    rest: Mutex<Option<Box<Rest>>>,
}

#[derive(Debug, Default)]
struct Rest {
    last_error: Option<String>,
    gap: Option<Gap>,
    replay: Option<Replay>,
    parked_until: Option<Timestamp>,
    /// How long attempts take, and how late events are done.
    latencies: (Latency, Latency),
}

/// Where a lane stands.
pub(super) struct Shown {
    pub(super) cursor: Offset,
    pub(super) in_flight: usize,
    pub(super) queued: usize,
    pub(super) retrying: usize,
    pub(super) lagging: bool,
    pub(super) oldest: Option<Timestamp>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            cursor: AtomicU64::default(),
            in_flight: AtomicUsize::default(),
            queued: AtomicUsize::default(),
            retrying: AtomicUsize::default(),
            delivered: AtomicU64::default(),
            failed: AtomicU64::default(),
            lagging: AtomicBool::default(),
            oldest: AtomicI64::new(NONE),
            rest: Mutex::default(),
        }
    }
}

impl Stats {
    /// All of it. `matched` is how far the matcher is.
    pub(super) fn status(&self, matched: Offset) -> LaneStatus {
        let lagging = self.lagging.load(Ordering::Relaxed);
        let cursor = self.cursor.load(Ordering::Relaxed);
        let oldest = self.oldest.load(Ordering::Relaxed);
        let held = self.held();
        let rest = held.as_deref();
        let of = |latency: &Latency| Some((latency.quantile(50)?, latency.quantile(99)?));
        LaneStatus {
            cursor: if lagging { cursor } else { matched.max(cursor) },
            in_flight: self.in_flight.load(Ordering::Relaxed),
            queued: self.queued.load(Ordering::Relaxed),
            retrying: self.retrying.load(Ordering::Relaxed),
            oldest: Timestamp::from_millisecond(oldest).ok().filter(|_| lagging),
            attempt: rest.and_then(|rest| of(&rest.latencies.0)),
            delay: rest.and_then(|rest| of(&rest.latencies.1)),
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            lagging,
            last_error: rest.and_then(|rest| rest.last_error.clone()),
            parked_until: rest.and_then(|rest| rest.parked_until),
            gap: rest.and_then(|rest| rest.gap),
            replay: rest.and_then(|rest| rest.replay),
        }
    }

    pub(super) fn show(&self, shown: &Shown) {
        self.cursor.store(shown.cursor, Ordering::Relaxed);
        self.in_flight.store(shown.in_flight, Ordering::Relaxed);
        self.queued.store(shown.queued, Ordering::Relaxed);
        self.retrying.store(shown.retrying, Ordering::Relaxed);
        self.lagging.store(shown.lagging, Ordering::Relaxed);
        // Between two reads of the log nothing is in memory: what was known holds on.
        if let Some(oldest) = shown.oldest {
            self.oldest.store(oldest.as_millisecond(), Ordering::Relaxed);
        }
    }

    pub(super) fn gap(&self) -> Option<Gap> {
        self.held().as_ref().and_then(|rest| rest.gap)
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.held().as_ref().and_then(|rest| rest.last_error.clone())
    }

    pub(super) fn set_gap(&self, gap: Option<Gap>) {
        if gap.is_some() || self.held().is_some() {
            self.change(|rest| rest.gap = gap);
        }
    }

    pub(super) fn set_replay(&self, replay: Option<Replay>) {
        if replay.is_some() || self.held().is_some() {
            self.change(|rest| rest.replay = replay);
        }
    }

    pub(super) fn set_parked_until(&self, until: Option<Timestamp>) {
        if until.is_some() || self.held().is_some() {
            self.change(|rest| rest.parked_until = until);
        }
    }

    /// Counts an event that is done: how long its attempt took, and how long ago it was stored.
    pub(super) fn count_delivered(&self, took: Duration, delay: Option<Duration>) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.change(|rest| {
            rest.latencies.0.add(took);
            if let Some(delay) = delay {
                rest.latencies.1.add(delay);
            }
        });
    }

    pub(super) fn count_failed(&self, why: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.change(|rest| rest.last_error = Some(why));
    }

    fn change(&self, change: impl FnOnce(&mut Rest)) {
        change(self.held().get_or_insert_default());
    }

    fn held(&self) -> MutexGuard<'_, Option<Box<Rest>>> {
        self.rest.lock().expect("no panic while it is held")
    }
}
