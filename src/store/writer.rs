//! The writer: one thread that takes all that waits, decides it, writes it as one frame, syncs,
//! applies it to the tables, and answers. There is no other way to change anything.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};

use super::Error;
use super::codec;
use super::fold;
use super::frame::HEADER;
use super::key;
use super::log::Log;
use super::open::Marker;
use super::reader::Shared;
use super::staged::{Outcome, Staged, Totals};
use super::tables::Batch;
use super::window::Window;
use crate::clock::{self, Stopwatch};
use crate::config;
use crate::domain::command::{Command, Refusal, Reply, Rules};
use crate::domain::decide::decide;
use crate::domain::record::{Entry, Record};
use crate::domain::{Offset, Timestamp};
use crate::telemetry::Metrics;

/// Most commands of one group.
const GROUP_COMMANDS_MAX: usize = 512;

/// A group of about this size takes no further command.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// Records after which `applied` is noted even if no row changed, so that a start replays little.
const APPLIED_STEP: u64 = 4_096;

/// What a command's sender is told.
pub type Answer = Result<Reply, Failure>;

/// Why a command led to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// It was decided against.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] Error),
}

/// An answer that is still to come.
pub type Pending = oneshot::Receiver<Answer>;

#[derive(Debug)]
enum Message {
    /// The permit stands for the command's share of the queue's bytes.
    Command(Command, oneshot::Sender<Answer>, OwnedSemaphorePermit),
    Close,
}

/// Hands commands to the writer. Clones share its queue, which is bounded in commands and bytes.
#[derive(Debug, Clone)]
pub struct Submit {
    queue: mpsc::Sender<Message>,
    /// Room for waiting commands, in KiB.
    room: Arc<Semaphore>,
    room_max: u32,
}

impl Submit {
    fn new(queue: mpsc::Sender<Message>, bytes_max: u64) -> Self {
        let room_max = u32::try_from(bytes_max / 1024).unwrap_or(u32::MAX).max(1);
        let room = usize::try_from(room_max).unwrap_or(Semaphore::MAX_PERMITS);
        Self { queue, room: Arc::new(Semaphore::new(room)), room_max }
    }

    /// Hands a command over without waiting for room in the queue.
    pub fn offer(&self, command: Command) -> Result<Pending, Error> {
        let share = self.share(&command);
        let permit =
            self.room.clone().try_acquire_many_owned(share).map_err(|error| match error {
                TryAcquireError::NoPermits => Error::Busy,
                TryAcquireError::Closed => Error::Closed,
            })?;
        let (answer, pending) = oneshot::channel();
        match self.queue.try_send(Message::Command(command, answer, permit)) {
            Ok(()) => Ok(pending),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::Closed),
        }
    }

    /// Hands a command over, waiting for room in the queue.
    pub async fn send(&self, command: Command) -> Result<Pending, Error> {
        let share = self.share(&command);
        let permit = self.room.clone().acquire_many_owned(share).await;
        let permit = permit.map_err(|_| Error::Closed)?;
        let (answer, pending) = oneshot::channel();
        let sent = self.queue.send(Message::Command(command, answer, permit)).await;
        sent.map(|()| pending).map_err(|_| Error::Closed)
    }

    /// Asks the writer to end after what it was sent before.
    pub async fn close(&self) {
        // An error means that it has ended already.
        let _ = self.queue.send(Message::Close).await;
    }

    /// The command's share of the queue, in KiB. One that is larger than the whole gets the whole.
    fn share(&self, command: &Command) -> u32 {
        let bytes = match command {
            Command::Publish(event) => event.weight(),
            _ => 1024,
        };
        u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.room_max)
    }
}

/// The writer. `run` is its thread.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Receiver<Message>,
    log: Log,
    shared: Arc<Shared>,
    window: Window,
    totals: Totals,
    applied: Offset,
    rules: Rules,
    metrics: Arc<Metrics>,
    marker: Marker,
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
    pub(crate) fn new(
        log: Log,
        shared: Arc<Shared>,
        window: Window,
        rules: Rules,
        metrics: Arc<Metrics>,
        limits: &config::Log,
        marker: Marker,
    ) -> (Self, Submit) {
        let (sender, queue) = mpsc::channel(limits.queue_max);
        let submit = Submit::new(sender, limits.queue_bytes_max.0);
        let totals = shared.totals.lock().expect("no panic while totals are held").clone();
        let applied = log.next();
        (Self { queue, log, shared, window, totals, applied, rules, metrics, marker }, submit)
    }

    /// Serves commands until it is told to close or cannot go on.
    pub fn run(mut self) -> Result<(), Error> {
        let mut messages = Vec::with_capacity(GROUP_COMMANDS_MAX);
        loop {
            if self.queue.blocking_recv_many(&mut messages, GROUP_COMMANDS_MAX) == 0 {
                return self.close();
            }
            let mut waiting = messages.drain(..).peekable();
            while waiting.peek().is_some() {
                let closing = self.serve(&mut waiting)?;
                if closing {
                    drop(waiting);
                    return self.close();
                }
            }
        }
    }

    /// Serves one group out of what waits. True: it was told to close.
    fn serve(&mut self, waiting: &mut impl Iterator<Item = Message>) -> Result<bool, Error> {
        let now = now_millis();
        let mut group = Group { frame: vec![0; HEADER], entries: vec![], waiting: vec![] };
        let shared = self.shared.clone();
        let mut staged = Staged::new(
            &*shared.tables,
            &self.window,
            self.totals.clone(),
            self.log.next(),
            self.log.newest(),
        );
        let mut closing = false;
        for message in waiting.by_ref() {
            let Message::Command(command, answer, _share) = message else {
                closing = true;
                break;
            };
            match stage(&mut staged, &mut group, command, now, &self.rules) {
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
            let watch = Stopwatch::start();
            match self.log.append(&mut group.frame, count, now) {
                Ok(()) => self.metrics.store_commit_seconds.observe(watch.elapsed().as_secs_f64()),
                Err(error) => return self.fail(group, error),
            }
            if self.metrics.health.set_store_failed(false) {
                tracing::info!("groups can be written again");
            }
            self.metrics.store_commits.inc();
            self.metrics.store_records.inc_by(u64::from(count));
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
        let next = self.log.next();
        if !writes.is_empty() || next - self.applied >= APPLIED_STEP {
            note_applied(&mut writes, next);
            self.shared.tables.apply(&writes)?;
            self.applied = next;
        }
        for entry in &group.entries {
            self.note(entry);
        }
        self.totals = totals;
        *self.shared.totals.lock().expect("no panic while totals are held") = self.totals.clone();
        self.metrics
            .store_log_bytes
            .set(i64::try_from(self.shared.segments.bytes()).unwrap_or(i64::MAX));
        self.shared.tail.push(std::mem::take(&mut group.entries));
        Ok(())
    }

    fn note(&mut self, entry: &Entry) {
        let tokens = || self.shared.tokens.write().expect("no panic while tokens are held");
        match &entry.record {
            Record::Event(event) => self.window.insert(&event.source, &event.id, entry.offset),
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
        if !self.metrics.health.set_store_failed(true) {
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

    fn close(self) -> Result<(), Error> {
        let mut writes = Batch::new();
        note_applied(&mut writes, self.log.next());
        self.shared.tables.apply(&writes)?;
        self.shared.tables.close()?;
        self.marker.clear()
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
fn now_millis() -> Timestamp {
    let now = clock::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
