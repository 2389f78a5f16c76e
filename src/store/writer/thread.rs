//! The writer itself.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::submit::{Answer, Failure, Message, Submit};
use crate::clock::Stopwatch;
use crate::config;
use crate::domain::command::{Command, Reply, Rules};
use crate::domain::decide::decide;
use crate::domain::record::{Entry, Record};
use crate::domain::{Offset, Timestamp};
use crate::store::floor::Floor;
use crate::store::host::Host;
use crate::store::log::{HEADER, Log};
use crate::store::marker::Marker;
use crate::store::reader::Shared;
use crate::store::staged::{Outcome, Staged, Totals};
use crate::store::tables::Batch;
use crate::store::window::Window;
use crate::store::{Error, codec, fold, key};
use crate::telemetry::Metrics;

/// Most commands of one group.
const GROUP_COMMANDS_MAX: usize = 512;

/// A group of about this size takes no further command.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// Records after which `applied` is noted even if no row changed, so that a start replays little.
const APPLIED_STEP: u64 = 4_096;

/// What a writer works with.
#[derive(Debug)]
pub(crate) struct Deps {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) log: Log,
    pub(crate) shared: Arc<Shared>,
    pub(crate) window: Window,
    pub(crate) rules: Rules,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) marker: Marker,
    pub(crate) floor: Arc<Floor>,
}

/// The writer. `run` is its thread.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Receiver<Message>,
    deps: Deps,
    totals: Totals,
    applied: Offset,
}

/// A command that was decided and waits for the disk.
struct Decided {
    answer: oneshot::Sender<Answer>,
    reply: Reply,
}

/// The records of a group.
struct Group {
    frame: Vec<u8>,
    entries: Vec<Arc<Entry>>,
    waiting: Vec<Decided>,
}

impl Writer {
    pub(crate) fn new(deps: Deps, limits: &config::Log) -> (Self, Submit) {
        let (sender, queue) = mpsc::channel(limits.queue_max);
        let submit = Submit::new(sender, limits.queue_bytes_max.0);
        let totals = deps.shared.totals.lock().expect("no panic while totals are held").clone();
        let applied = deps.log.next();
        (Self { queue, deps, totals, applied }, submit)
    }

    /// Serves commands until it is told to close or cannot go on.
    pub fn run(mut self) -> Result<(), Error> {
        let mut messages = Vec::with_capacity(GROUP_COMMANDS_MAX);
        loop {
            let received = self.queue.blocking_recv_many(&mut messages, GROUP_COMMANDS_MAX);
            if received == 0 || self.handle(&mut messages)? {
                return self.close();
            }
        }
    }

    /// Serves what waits now, without waiting for more. True: it was told to close, and has.
    pub fn turn(&mut self) -> Result<bool, Error> {
        let mut messages = Vec::new();
        while messages.len() < GROUP_COMMANDS_MAX
            && let Ok(message) = self.queue.try_recv()
        {
            messages.push(message);
        }
        let closing = self.handle(&mut messages)?;
        if closing {
            self.close()?;
        }
        Ok(closing)
    }

    /// Serves messages, in one group or more. True: it was told to close.
    fn handle(&mut self, messages: &mut Vec<Message>) -> Result<bool, Error> {
        let mut waiting = messages.drain(..).peekable();
        while waiting.peek().is_some() {
            if self.serve(&mut waiting)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Serves one group out of what waits. True: it was told to close.
    fn serve(&mut self, waiting: &mut impl Iterator<Item = Message>) -> Result<bool, Error> {
        let now = whole_millis(self.deps.host.now());
        let mut group = Group { frame: vec![0; HEADER], entries: vec![], waiting: vec![] };
        let shared = self.deps.shared.clone();
        let mut staged = Staged::new(
            &*shared.tables,
            &self.deps.window,
            self.totals.clone(),
            self.deps.log.next(),
            self.deps.log.newest(),
        );
        let mut room = None;
        let mut closing = false;
        for message in waiting.by_ref() {
            let Message::Command(command, answer, _share) = message else {
                closing = true;
                break;
            };
            if Floor::concerns(&command)
                && let Err(error) = room.get_or_insert_with(|| self.deps.floor.look())
            {
                let _ = answer.send(Err(Failure::Store(error.clone())));
                continue;
            }
            match stage(&mut staged, &mut group, command, now, &self.deps.rules) {
                Ok(reply) => group.waiting.push(Decided { answer, reply }),
                Err(Failure::Refused(refusal)) => {
                    let _ = answer.send(Err(Failure::Refused(refusal)));
                }
                Err(Failure::Store(error)) => {
                    let _ = answer.send(Err(Failure::Store(error.clone())));
                    return Err(error);
                }
            }
            if group.frame.len() >= GROUP_BYTES_MAX {
                break;
            }
        }
        let outcome = staged.finish();
        self.commit(group, outcome, now)?;
        Ok(closing)
    }

    /// Writes a group, makes it visible, and answers. Only what cannot be survived is an error.
    fn commit(&mut self, mut group: Group, outcome: Outcome, now: Timestamp) -> Result<(), Error> {
        if !group.entries.is_empty() {
            let count = u32::try_from(group.entries.len()).expect("groups are bounded");
            let metrics = self.deps.metrics.clone();
            let watch = Stopwatch::start();
            match self.deps.log.append(&mut group.frame, count, now) {
                Ok(()) => metrics.store_commit_seconds.observe(watch.elapsed().as_secs_f64()),
                Err(error) => return self.fail(group, error),
            }
            if metrics.health.set_store_failed(false) {
                tracing::info!("groups can be written again");
            }
            metrics.store_commits.inc();
            metrics.store_records.inc_by(u64::from(count));
            if let Err(error) = self.make_visible(&mut group, outcome) {
                return self.fail(group, error);
            }
        }
        for decided in group.waiting {
            // A waiter that is gone does not need the answer.
            let _ = decided.answer.send(Ok(decided.reply));
        }
        Ok(())
    }

    /// The tables have the group before the tail has it, and both before anyone is answered.
    fn make_visible(&mut self, group: &mut Group, outcome: Outcome) -> Result<(), Error> {
        let Outcome { mut writes, totals } = outcome;
        let next = self.deps.log.next();
        if !writes.is_empty() || next - self.applied >= APPLIED_STEP {
            note_applied(&mut writes, next);
            self.applied = next;
        }
        for entry in &group.entries {
            self.note(entry);
        }
        self.totals = totals;
        let shared = &self.deps.shared;
        let entries = std::mem::take(&mut group.entries);
        shared.images.change(&*shared.tables, &writes, || {
            *shared.totals.lock().expect("no panic while totals are held") = self.totals.clone();
            shared.tail.push(entries);
        })
    }

    fn note(&mut self, entry: &Entry) {
        let tokens = || self.deps.shared.tokens.write().expect("no panic while tokens are held");
        match &entry.record {
            Record::Event(event) => {
                self.deps.window.insert(&event.source, &event.id, entry.offset);
            }
            Record::Token(token) => {
                tokens().insert(token.id.clone(), Arc::new(token.clone()));
            }
            Record::TokenRevoked { id } => {
                tokens().remove(id);
            }
            Record::Subscription(_)
            | Record::SubscriptionRemoved { .. }
            | Record::Retry(_)
            | Record::Settled { .. }
            | Record::DeadLetter(_)
            | Record::Progress(_)
            | Record::Gap { .. } => {}
        }
    }

    fn fail(&self, group: Group, error: Error) -> Result<(), Error> {
        if !self.deps.metrics.health.set_store_failed(true) {
            tracing::error!(%error, "groups cannot be written; their senders are told so");
        }
        for decided in group.waiting {
            let _ = decided.answer.send(Err(Failure::Store(error.clone())));
        }
        match error {
            Error::Full(_) | Error::Io(_) => Ok(()),
            fatal => Err(fatal),
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        let mut writes = Batch::new();
        note_applied(&mut writes, self.deps.log.next());
        self.deps.shared.tables.apply(&writes)?;
        self.deps.shared.tables.close()?;
        self.deps.log.close();
        self.deps.marker.clear(&*self.deps.host)
    }
}

/// Decides a command and adds its records to the group.
fn stage(
    staged: &mut Staged<'_>,
    group: &mut Group,
    command: Command,
    now: Timestamp,
    rules: &Rules,
) -> Result<Reply, Failure> {
    let decision = decide(staged, command, now, rules)?;
    for record in decision.records {
        let offset = crate::domain::command::View::next_offset(staged);
        codec::encode(&record, &mut group.frame);
        fold::apply(staged, offset, now, &record).map_err(Failure::Store)?;
        group.entries.push(Arc::new(Entry { offset, at: now, record }));
    }
    Ok(decision.reply)
}

fn note_applied(writes: &mut Batch, next: Offset) {
    writes.insert(key::meta(key::APPLIED).0, Some(key::number_row(next)));
}

/// The time in the precision that records keep, so that what is in memory is what is on disk.
fn whole_millis(now: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
