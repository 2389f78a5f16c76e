//! What delivery is doing, for those who look: a view on the lanes that never disturbs them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crate::domain::gap::Gap;
use crate::domain::replay::Replay;
use crate::domain::{Offset, Timestamp};

/// The lanes' view. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Lanes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// By the subscription's number. Guards memory only.
    lanes: RwLock<HashMap<u32, Arc<Stats>>>,
    matched: AtomicU64,
}

/// Where one subscription's delivery stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// All events before it are done, or wait for a retry, or were given up.
    pub cursor: Offset,
    /// Requests under way.
    pub in_flight: usize,
    /// Events waiting in memory.
    pub queued: usize,
    /// Deliveries waiting for a retry.
    pub retrying: usize,
    /// Delivered since the hub started.
    pub delivered: u64,
    /// Attempts that failed since the hub started.
    pub failed: u64,
    /// There are events before the end of the log that are not done.
    pub lagging: bool,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
    /// When its target is tried next, if that does not work.
    pub parked_until: Option<Timestamp>,
    /// What it was not given since the log no longer had it.
    pub gap: Option<Gap>,
    /// What it is given once more.
    pub replay: Option<Replay>,
}

/// What a lane shows.
#[derive(Debug, Default)]
pub(super) struct Stats {
    cursor: AtomicU64,
    in_flight: AtomicUsize,
    queued: AtomicUsize,
    retrying: AtomicUsize,
    delivered: AtomicU64,
    failed: AtomicU64,
    lagging: AtomicBool,
    /// Guards memory only.
    last_error: Mutex<Option<String>>,
    /// Guards memory only.
    gap: Mutex<Option<Gap>>,
    /// Guards memory only.
    replay: Mutex<Option<Replay>>,
    /// Guards memory only.
    parked_until: Mutex<Option<Timestamp>>,
}

impl Lanes {
    /// Where a subscription's delivery stands; `None` for an ended one.
    pub fn status(&self, number: u32) -> Option<LaneStatus> {
        let stats =
            self.0.lanes.read().expect("no panic while lanes are held").get(&number)?.clone();
        let lagging = stats.lagging.load(Ordering::Relaxed);
        let matched = self.0.matched.load(Ordering::Relaxed);
        let cursor = stats.cursor.load(Ordering::Relaxed);
        Some(LaneStatus {
            cursor: if lagging { cursor } else { matched.max(cursor) },
            in_flight: stats.in_flight.load(Ordering::Relaxed),
            queued: stats.queued.load(Ordering::Relaxed),
            retrying: stats.retrying.load(Ordering::Relaxed),
            delivered: stats.delivered.load(Ordering::Relaxed),
            failed: stats.failed.load(Ordering::Relaxed),
            lagging,
            last_error: stats.last_error(),
            parked_until: *stats.parked_until.lock().expect("no panic while it is held"),
            gap: stats.gap(),
            replay: *stats.replay.lock().expect("no panic while it is held"),
        })
    }

    pub(super) fn insert(&self, number: u32, stats: Arc<Stats>) {
        self.0.lanes.write().expect("no panic while lanes are held").insert(number, stats);
    }

    pub(super) fn remove(&self, number: u32) {
        self.0.lanes.write().expect("no panic while lanes are held").remove(&number);
    }

    pub(super) fn set_matched(&self, matched: Offset) {
        self.0.matched.store(matched, Ordering::Relaxed);
    }
}

impl Stats {
    pub(super) fn show(
        &self,
        cursor: Offset,
        in_flight: usize,
        queued: usize,
        retrying: usize,
        lagging: bool,
    ) {
        self.cursor.store(cursor, Ordering::Relaxed);
        self.in_flight.store(in_flight, Ordering::Relaxed);
        self.queued.store(queued, Ordering::Relaxed);
        self.retrying.store(retrying, Ordering::Relaxed);
        self.lagging.store(lagging, Ordering::Relaxed);
    }

    pub(super) fn gap(&self) -> Option<Gap> {
        *self.gap.lock().expect("no panic while it is held")
    }

    pub(super) fn set_gap(&self, gap: Option<Gap>) {
        *self.gap.lock().expect("no panic while it is held") = gap;
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().expect("no panic while it is held").clone()
    }

    pub(super) fn set_replay(&self, replay: Option<Replay>) {
        *self.replay.lock().expect("no panic while it is held") = replay;
    }

    pub(super) fn set_parked_until(&self, until: Option<Timestamp>) {
        *self.parked_until.lock().expect("no panic while it is held") = until;
    }

    pub(super) fn count_delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self, why: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().expect("no panic while it is held") = Some(why);
    }
}
