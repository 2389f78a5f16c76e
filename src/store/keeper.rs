//! The keeper: takes snapshots of the tables and lets go what of the log is no longer needed, in
//! small steps beside the writer. Whatever fails is tried again later; nothing depends on it but
//! disk space and the time that a rebuild takes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Error;
use super::host::Host;
use super::reader::Shared;
use super::retention::{self, Keep, Piece, Plan};
use super::snapshot::{Snapshot, Writing, remove_partial};
use crate::config::Config;
use crate::domain::{Offset, Timestamp};
use crate::stop::Stop;
use crate::telemetry::Metrics;

/// Snapshots that are kept: should the newest turn out to be damaged there is another one.
const SNAPSHOTS_KEPT: usize = 2;

/// Pause between looks at what there is to do.
const PAUSE: Duration = Duration::from_secs(1);

/// Pause between snapshots that only retention asks for, and after one that failed.
const SNAPSHOT_PAUSE_MILLIS: i64 = 10_000;

/// A snapshot is worth its writing once the log has grown by so many times its size.
const GROWTH: u64 = 4;

/// The keeper. `run` is its part.
#[derive(Debug)]
pub struct Keeper {
    host: Arc<dyn Host>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    keep: Keep,
    snapshot_bytes: u64,
    dir: PathBuf,
    writing: Option<Writing>,
    failed_at: Option<i64>,
}

impl Keeper {
    pub(crate) fn new(
        host: Arc<dyn Host>,
        config: &Config,
        shared: Arc<Shared>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let keep = Keep { age: config.log.retention_age.0, bytes: config.log.retention_bytes.0 };
        Self {
            host,
            shared,
            metrics,
            keep,
            snapshot_bytes: config.log.snapshot_every.0,
            dir: config.data.dir.join("snapshots"),
            writing: None,
            failed_at: None,
        }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: Stop) -> Result<(), Error> {
        let shared = self.shared.clone();
        // Dropping `telling` loses nothing: what it was asked for is still asked for.
        tokio::select! {
            ended = self.work(stop) => ended,
            () = shared.tail.telling() => Ok(()),
        }
    }

    async fn work(mut self, stop: Stop) -> Result<(), Error> {
        loop {
            let stopping = stop.clone();
            let turns = tokio::task::spawn_blocking(move || {
                while !stopping.is_set() && self.turn() {}
                self
            });
            self = turns.await.map_err(|error| Error::Fatal(error.to_string()))?;
            // Both arms only wait.
            tokio::select! {
                () = stop.wait() => return Ok(()),
                () = sleep(PAUSE) => {}
            }
        }
    }

    /// One small step. True: there is more to do at once.
    pub fn turn(&mut self) -> bool {
        if let Some(writing) = self.writing.take() {
            return self.write_on(writing);
        }
        if self.shared.tables.settle() {
            return true;
        }
        let plan = self.plan();
        self.let_go(plan);
        // Also what waited for a reader to let go of it.
        if let Err(error) = self.shared.spares.recycle() {
            tracing::warn!(%error, "a file of the log cannot be recycled");
        }
        let _told_by_its_log_line = self.shared.floor.look();
        self.show();
        self.is_due(plan) && self.begin()
    }

    fn begin(&mut self) -> bool {
        match Writing::begin(&*self.host, &self.dir, &self.shared) {
            Ok(writing) => self.writing = Some(writing),
            Err(error) => self.fail(&error),
        }
        self.writing.is_some()
    }

    fn write_on(&mut self, mut writing: Writing) -> bool {
        let done = match writing.step(&self.shared) {
            Ok(true) => {
                self.writing = Some(writing);
                return true;
            }
            Ok(false) => writing.finish(&*self.host, &self.shared),
            Err(error) => Err(error),
        };
        match done {
            Ok(snapshot) => {
                tracing::info!(as_of = snapshot.as_of, bytes = snapshot.bytes, "snapshot written");
                self.metrics.store_snapshots.inc();
                self.failed_at = None;
                self.take(snapshot);
                true
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        }
    }

    /// Takes a new snapshot in, and the oldest ones away.
    fn take(&self, snapshot: Snapshot) {
        let mut held = self.shared.snapshots.lock().expect("no panic while they are held");
        held.retain(|other| other.as_of != snapshot.as_of);
        held.insert(0, snapshot);
        let kept = SNAPSHOTS_KEPT.min(held.len());
        for old in held.split_off(kept) {
            if let Err(error) = self.host.remove(&old.path) {
                tracing::warn!(%error, path = %old.path.display(), "an old snapshot stays");
            }
        }
    }

    fn fail(&mut self, error: &Error) {
        tracing::error!(%error, "no snapshot could be written; the log is kept until there is one");
        self.shared.images.end();
        remove_partial(&*self.host, &self.dir);
        self.failed_at = Some(self.host.now().as_millisecond());
    }

    fn plan(&self) -> Plan {
        let piece = |segment: &Arc<super::log::Segment>| Piece {
            next: segment.next(),
            bytes: segment.capacity(),
            last_at: segment.last_at(),
        };
        let pieces: Vec<Piece> = self.shared.segments.all().iter().map(piece).collect();
        match self.shared.pins() {
            Ok(pins) => retention::plan(&pieces, self.keep, self.floor(), &pins, self.now()),
            Err(error) => {
                tracing::error!(%error, "nothing of the log goes: nobody knows who needs it");
                Plan { wanted: 0, allowed: 0 }
            }
        }
    }

    /// To where the log may go: from the older of the kept snapshots on it is needed.
    fn floor(&self) -> Offset {
        let held = self.shared.snapshots.lock().expect("no panic while they are held");
        held.get(SNAPSHOTS_KEPT - 1).map_or(0, |older| older.as_of)
    }

    fn let_go(&self, plan: Plan) {
        let taken = self.shared.segments.take_before(plan.allowed);
        if !taken.is_empty() {
            tracing::info!(segments = taken.len(), oldest = plan.allowed, "old records went");
            self.shared.spares.retire(taken);
        }
    }

    /// Whether a snapshot is worth its writing, or retention waits for one.
    fn is_due(&self, plan: Plan) -> bool {
        let now = self.now().as_millisecond();
        let recent = |at: i64| (at..at.saturating_add(SNAPSHOT_PAUSE_MILLIS)).contains(&now);
        if self.failed_at.is_some_and(recent) {
            return false;
        }
        let held = self.shared.snapshots.lock().expect("no panic while they are held");
        let (as_of, bytes, at) = held
            .first()
            .map_or((0, 0, None), |newest| (newest.as_of, newest.bytes, Some(newest.at)));
        let enough = self.snapshot_bytes.max(bytes.saturating_mul(GROWTH));
        let grown = self.shared.segments.bytes_from(as_of) >= enough;
        let waited_for = plan.wanted > plan.allowed && !at.is_some_and(recent);
        (grown || waited_for) && self.shared.tail.next() > as_of
    }

    fn show(&self) {
        let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let (shared, metrics) = (&self.shared, &self.metrics);
        metrics.store_log_bytes.set(gauge(shared.segments.bytes() + shared.spares.bytes()));
        metrics.store_disk_free_bytes.set(gauge(shared.floor.free()));
        metrics.store_damaged_ranges.set(gauge(shared.segments.damage().len() as u64));
    }

    fn now(&self) -> Timestamp {
        self.host.now()
    }
}
