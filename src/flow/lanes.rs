//! What delivery is doing, for those who look: a view on the lanes that never disturbs them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use super::stats::Stats;

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
    /// Guards memory only.
    behind: Mutex<Vec<Behind>>,
}

/// A lane that is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The subscription's id.
    pub id: String,
    /// Records before the end of the log that it is not done with.
    pub records: u64,
    /// How old the oldest of its events is that is not done, in seconds.
    pub seconds: u64,
    /// Deliveries that are queued, under way or waiting.
    pub pending: usize,
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
    /// When the oldest event was stored that is not done and has no retry of its own.
    pub oldest: Option<Timestamp>,
    /// Of late: how long attempts that were done took, 50 and 99 of a hundred.
    pub attempt: Option<(Duration, Duration)>,
    /// Of late: how long after it was stored an event was done, 50 and 99 of a hundred.
    pub delay: Option<(Duration, Duration)>,
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

impl LaneStatus {
    /// Deliveries that are queued, under way or waiting.
    pub fn pending(&self) -> usize {
        self.queued + self.in_flight + self.retrying
    }

    /// How old the oldest event is that is not done and has no retry of its own, in seconds.
    pub fn age(&self, now: Timestamp) -> u64 {
        let age = self.oldest.map_or(0, |oldest| now.duration_since(oldest).as_secs());
        u64::try_from(age).unwrap_or(0)
    }
}

impl Lanes {
    /// Where a subscription's delivery stands; `None` for an ended one.
    pub fn status(&self, number: u32) -> Option<LaneStatus> {
        let stats =
            self.0.lanes.read().expect("no panic while lanes are held").get(&number)?.clone();
        Some(stats.status(self.0.matched.load(Ordering::Relaxed)))
    }

    /// The lanes that are furthest behind, as of a moment ago; a bounded number.
    pub fn furthest_behind(&self) -> Vec<Behind> {
        self.0.behind.lock().expect("no panic while it is held").clone()
    }

    pub(super) fn set_furthest_behind(&self, behind: Vec<Behind>) {
        *self.0.behind.lock().expect("no panic while it is held") = behind;
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
