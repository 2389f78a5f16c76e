//! Committing: a group becomes one frame on disk, then visible in the tables and the tail. One at a
//! time, in the order in which they were decided.

use std::sync::Arc;

use super::group::Group;
use super::thread::Core;
use crate::clock::Stopwatch;
use crate::domain::record::{Entry, Record};
use crate::domain::{Offset, Timestamp};
use crate::store::log::Log;
use crate::store::marker::Marker;
use crate::store::staged::Totals;
use crate::store::tables::Batch;
use crate::store::{Error, key};
use crate::telemetry::Metrics;

/// Records after which `applied` is noted even if no row changed, so that a start replays little.
const APPLIED_STEP: u64 = 4_096;

/// The way to the disk. Whoever holds it commits.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) log: Log,
    pub(super) applied: Offset,
    pub(super) marker: Marker,
    pub(super) metrics: Arc<Metrics>,
    /// Why nothing can be written any more.
    pub(super) broken: Option<Error>,
}

/// How far the disk is.
#[derive(Debug, Clone)]
pub(super) struct Committed {
    /// Counts failures.
    pub(super) generation: u64,
    pub(super) next: Offset,
    pub(super) newest: Timestamp,
    pub(super) totals: Totals,
    /// Why the last group failed that did.
    pub(super) failure: Option<Error>,
}

impl Committed {
    /// Why a group fails that was decided upon one that did.
    pub(super) fn why(&self) -> Error {
        let unknown = || Error::Io("the group before it failed".to_owned());
        self.failure.clone().unwrap_or_else(unknown)
    }
}

impl Commit {
    /// Writes a group and makes it visible. An outer error is one that cannot be survived.
    pub(super) fn commit(
        &mut self,
        core: &Core,
        group: &mut Group,
    ) -> Result<Result<(), Error>, Error> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let committed = core.committed();
        if committed.generation != group.generation {
            return Ok(Err(committed.why()));
        }
        if group.entries.is_empty() {
            group.set_done();
            return Ok(Ok(()));
        }
        let count = u32::try_from(group.entries.len()).expect("groups are bounded");
        let watch = Stopwatch::start();
        if let Err(error) = self.log.append(&mut group.frame, count, group.at) {
            return self.fail(core, error);
        }
        let took = watch.elapsed();
        if core.lone.count(group.waiting.len(), took) {
            core.queue.call();
        }
        self.metrics.store_commit_seconds.observe(took.as_secs_f64());
        if self.metrics.health.set_store_failed(false) {
            tracing::info!("groups can be written again");
        }
        self.metrics.store_commits.inc();
        self.metrics.store_records.inc_by(u64::from(count));
        self.metrics.store_written_bytes.inc_by(group.frame.len() as u64);
        match self.make_visible(core, group) {
            Ok(()) => Ok(Ok(())),
            Err(error) => self.fail(core, error),
        }
    }

    /// The tables have the group before the tail has it, and both before anyone is answered.
    fn make_visible(&mut self, core: &Core, group: &mut Group) -> Result<(), Error> {
        let shared = &core.shared;
        for entry in &group.entries {
            note_token(core, entry);
        }
        let entries = std::mem::take(&mut group.entries);
        let mut let_go = Vec::new();
        let noted = || {
            *shared.totals.lock().expect("no panic while totals are held") = group.totals.clone();
            let_go = shared.tail.push(entries);
        };
        let mut writes = group.writes();
        if writes.is_empty() && group.next - self.applied >= APPLIED_STEP {
            note_applied(writes.to_mut(), group.next);
        }
        if !writes.is_empty() {
            self.applied = group.next;
        }
        shared.images.change(&*shared.tables, &writes, noted)?;
        core.set_committed(|held| {
            (held.next, held.newest) = (group.next, group.at);
            held.totals = group.totals.clone();
        });
        drop(writes);
        group.let_go = let_go;
        group.set_done();
        Ok(())
    }

    /// Takes note of a group that could not be written. What was decided upon it fails too.
    fn fail(&mut self, core: &Core, error: Error) -> Result<Result<(), Error>, Error> {
        if !self.metrics.health.set_store_failed(true) {
            tracing::error!(%error, "groups cannot be written; their senders are told so");
        }
        core.set_committed(|held| {
            held.generation += 1;
            held.failure = Some(error.clone());
        });
        match error {
            Error::Full(_) | Error::Io(_) | Error::Gone(_) => Ok(Err(error)),
            fatal => {
                self.broken = Some(fatal.clone());
                Err(fatal)
            }
        }
    }

    /// Writes down where all ended. The last thing that is done.
    pub(super) fn close(&mut self, core: &Core) -> Result<(), Error> {
        let mut writes = Batch::new();
        note_applied(&mut writes, core.committed().next);
        core.shared.tables.apply(&writes)?;
        core.shared.tables.close()?;
        self.log.close();
        self.marker.clear(&*core.host)
    }
}

fn note_token(core: &Core, entry: &Entry) {
    let tokens = || core.shared.tokens.write().expect("no panic while tokens are held");
    match &entry.record {
        Record::Token(token) => {
            tokens().insert(token.id.clone(), token.clone());
        }
        Record::TokenRevoked { id } => {
            tokens().remove(id);
        }
        Record::Event(_)
        | Record::Subscription(_)
        | Record::SubscriptionRemoved { .. }
        | Record::Retry(_)
        | Record::Settled { .. }
        | Record::DeadLetter(_)
        | Record::Progress(_)
        | Record::Gap { .. }
        | Record::Job(_)
        | Record::Redriven(_)
        | Record::Forgotten(_)
        | Record::Replay(_)
        | Record::ReplayEnded { .. }
        | Record::ExpiryTold { .. } => {}
    }
}

/// Notes in a batch that the tables hold all records before an offset.
pub(super) fn note_applied(writes: &mut Batch, next: Offset) {
    writes.insert(key::meta(key::APPLIED).0, Some(key::number_row(next)));
}
