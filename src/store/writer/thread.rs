//! The writer itself: two threads that take turns. While one waits for the disk the other decides
//! what comes next, so that neither the disk nor the processor waits for the other. Commands are
//! decided one after the other and groups are committed one after the other, in the same order.
//! (Where nobody else is about, the sender itself does both: see `direct`.)

use std::sync::{Arc, Condvar, Mutex, MutexGuard, TryLockError, TryLockResult};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::commit::{Commit, Committed};
use super::direct::Lone;
use super::group::{Group, LetGo};
use super::intake::{Gathered, Intake};
use super::queue::Queue;
use super::stage::Stage;
use super::submit::{Message, Submit};
use crate::config;
use crate::domain::command::Rules;
use crate::domain::vault::Vault;
use crate::store::Error;
use crate::store::floor::Floor;
use crate::store::host::Host;
use crate::store::log::Log;
use crate::store::marker::Marker;
use crate::store::reader::Shared;
use crate::store::window::Window;
use crate::telemetry::Metrics;

/// Most empty groups that are kept.
const EMPTY_MAX: usize = 4;

/// How long commands gather before they are added to a group that waits for the disk. Far below
/// what the disk takes for a group.
const REST: Duration = Duration::from_micros(50);

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

/// The writer. `run` is its two threads.
#[derive(Debug)]
pub struct Writer {
    pub(super) core: Arc<Core>,
}

/// What both threads share. `intake` is taken before `stage` and that before `commit`, never the
/// other way round.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) host: Arc<dyn Host>,
    pub(super) shared: Arc<Shared>,
    /// Held by who takes commands from the queue; also while it waits for them.
    intake: Mutex<Intake>,
    /// Held by who decides, until what was decided has the disk or stands in the slot.
    stage: Mutex<Stage>,
    /// Held by who writes. This one lock is about the disk: it is the turn to use it.
    commit: Mutex<Commit>,
    /// Guards memory only.
    committed: Mutex<Committed>,
    /// A group that was decided and waits for the disk. Guards memory only.
    slot: Mutex<Option<Group>>,
    /// Groups that are committed and not answered yet. Guards memory only.
    finished: Mutex<Vec<(Group, Result<(), Error>)>>,
    /// There is one more of them.
    one_more: Condvar,
    /// Empty groups whose buffers are used again. Guards memory only.
    empty: Mutex<Vec<Group>>,
    pub(super) queue: Queue,
    pub(super) lone: Lone,
    /// The queue's room, which is given back with the answers.
    pub(super) room: Arc<Semaphore>,
}

impl Writer {
    /// A writer that seals secrets in a vault.
    pub(crate) fn new(deps: Deps, vault: Arc<Vault>, limits: &config::Log) -> (Self, Submit) {
        let Deps { host, log, shared, window, rules, metrics, marker, floor } = deps;
        let totals = shared.totals.lock().expect("no panic while totals are held").clone();
        let (next, newest) = (log.next(), log.newest());
        let stage = Stage {
            window,
            totals: totals.clone(),
            next,
            newest,
            generation: 0,
            pending: Vec::new(),
            rules,
            floor,
            vault,
            closed: false,
        };
        let commit = Commit { log, applied: next, marker, metrics, broken: None };
        let core = Core {
            host,
            shared,
            intake: Mutex::new(Intake::default()),
            stage: Mutex::new(stage),
            commit: Mutex::new(commit),
            committed: Mutex::new(Committed { generation: 0, next, newest, totals, failure: None }),
            slot: Mutex::default(),
            finished: Mutex::default(),
            one_more: Condvar::new(),
            empty: Mutex::default(),
            queue: Queue::default(),
            lone: Lone::default(),
            room: Arc::new(Semaphore::new(Submit::room(limits))),
        };
        let core = Arc::new(core);
        let submit = Submit::new(&core, limits);
        (Self { core }, submit)
    }

    /// Serves commands until it is told to close or cannot go on.
    pub fn run(self) -> Result<(), Error> {
        let core = &self.core;
        std::thread::scope(|scope| {
            let named = std::thread::Builder::new().name("writer".to_owned());
            let other = named.spawn_scoped(scope, || core.work());
            let other = other.map_err(|error| Error::Fatal(error.to_string()))?;
            let ended = core.work();
            let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            ended.and(other)
        })
    }

    /// Serves what waits now, without waiting for more. True: it was told to close, and has.
    pub fn turn(&mut self) -> Result<bool, Error> {
        let mut intake = self.core.intake();
        if intake.closed {
            return Ok(true);
        }
        let gathered = intake.gather_now(&self.core)?;
        drop(intake);
        gathered.map_or(Ok(false), |gathered| self.core.finish(gathered))
    }
}

/// Whoever waits for room learns that there is nobody to make any.
impl Drop for Writer {
    fn drop(&mut self) {
        self.core.room.close();
        self.core.queue.close();
    }
}

impl Core {
    /// One thread's work: decide, commit, answer, again.
    pub(super) fn work(&self) -> Result<(), Error> {
        loop {
            let mut intake = self.intake();
            if intake.closed {
                return Ok(());
            }
            let gathered = intake.gather(self);
            if gathered.is_err() {
                intake.closed = true;
            }
            drop(intake);
            if self.finish(gathered?).inspect_err(|_| self.give_up())? {
                return Ok(());
            }
        }
    }

    /// Commits a group, answers, wakes readers after those who wait for answers, and goes on with
    /// the group that was decided meanwhile: then the other thread answers, and the disk waits for
    /// nobody. True: it was the last one.
    fn finish(&self, gathered: Gathered<'_>) -> Result<bool, Error> {
        let Gathered { mut group, mut commit, closing } = gathered;
        loop {
            let outcome = match commit.commit(self, &mut group) {
                Ok(outcome) => outcome,
                Err(fatal) => {
                    group.answer(&self.room, &Err(fatal.clone()));
                    return Err(fatal);
                }
            };
            if let Some(next) = self.take_from_slot() {
                self.hand_over(std::mem::replace(&mut group, next), outcome);
                continue;
            }
            let closed = if closing { commit.close(self) } else { Ok(()) };
            drop(commit);
            // A group that came since was left to whoever has the disk.
            if let Some(gathered) = self.ready_group() {
                self.hand_over(std::mem::replace(&mut group, gathered.group), outcome);
                commit = gathered.commit;
                continue;
            }
            group.answer(&self.room, &outcome);
            self.shared.tail.tell();
            let mut let_go = LetGo::default();
            self.put_away(group, &mut let_go);
            self.answer_finished(&mut let_go);
            return closed.map(|()| closing);
        }
    }

    /// Leaves a group for the other thread to answer.
    fn hand_over(&self, group: Group, outcome: Result<(), Error>) {
        self.finished().push((group, outcome));
        self.call();
    }

    /// Has who decides look for something to answer, or to commit, if it rests or sleeps.
    pub(super) fn call(&self) {
        self.one_more.notify_one();
        self.queue.call();
    }

    /// Lets commands gather for a moment while the disk is busy with the group before them: being
    /// woken by each of them would cost more than deciding it. Ends when there is something to
    /// answer.
    pub(super) fn rest(&self) {
        let is_empty = |finished: &mut Vec<_>| finished.is_empty();
        let rested = self.one_more.wait_timeout_while(self.finished(), REST, is_empty);
        drop(rested.expect("no panic while it is held"));
    }

    /// Answers groups that the other thread committed.
    pub(super) fn answer_finished(&self, let_go: &mut LetGo) {
        let finished = std::mem::take(&mut *self.finished());
        for (mut group, outcome) in finished {
            group.answer(&self.room, &outcome);
            self.shared.tail.tell();
            self.put_away(group, let_go);
        }
    }

    /// The group in the slot, if the disk is free for it. Whoever has the disk looks into the slot
    /// after giving it back, so a group that is left there is not forgotten.
    pub(super) fn ready_group(&self) -> Option<Gathered<'_>> {
        while self.slot().is_some() {
            let commit = self.try_commit()?;
            // It may have been taken to be added to; then it comes back, and the disk is given back
            // before the slot is looked into again.
            if let Some(group) = self.take_from_slot() {
                return Some(Gathered { group, commit, closing: false });
            }
        }
        None
    }

    pub(super) fn take_from_slot(&self) -> Option<Group> {
        self.slot().take()
    }

    pub(super) fn put_into_slot(&self, group: Group) {
        *self.slot() = Some(group);
    }

    /// A group with nothing in it.
    pub(super) fn empty_group(&self) -> Group {
        let held = self.empty.lock().expect("no panic while it is held").pop();
        let mut group = held.unwrap_or_default();
        group.clear();
        group
    }

    /// Keeps a group's buffers for the next one.
    pub(super) fn put_away(&self, mut group: Group, let_go: &mut LetGo) {
        let_go.append(&mut group.let_go);
        // What was refused without waiting for an answer.
        self.room.add_permits(std::mem::take(&mut group.share));
        group.clear();
        let mut empty = self.empty.lock().expect("no panic while it is held");
        if empty.len() < EMPTY_MAX {
            empty.push(group);
        }
    }

    /// Nothing can be written any more: whoever waits for commands ends.
    pub(super) fn give_up(&self) {
        // An error means that nobody waits any more.
        let _ = self.queue.push(Message::Close);
    }

    pub(super) fn commit(&self) -> MutexGuard<'_, Commit> {
        self.commit.lock().expect("no panic while the disk is held")
    }

    pub(super) fn committed(&self) -> Committed {
        self.committed.lock().expect("no panic while it is held").clone()
    }

    pub(super) fn set_committed(&self, change: impl FnOnce(&mut Committed)) {
        change(&mut self.committed.lock().expect("no panic while it is held"));
    }

    pub(super) fn slot(&self) -> MutexGuard<'_, Option<Group>> {
        self.slot.lock().expect("no panic while it is held")
    }

    fn finished(&self) -> MutexGuard<'_, Vec<(Group, Result<(), Error>)>> {
        self.finished.lock().expect("no panic while it is held")
    }

    fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().expect("no panic while commands are taken")
    }

    pub(super) fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().expect("no panic while commands are decided")
    }

    pub(super) fn try_stage(&self) -> Option<MutexGuard<'_, Stage>> {
        unless_held(self.stage.try_lock())
    }

    pub(super) fn try_commit(&self) -> Option<MutexGuard<'_, Commit>> {
        unless_held(self.commit.try_lock())
    }
}

fn unless_held<T>(lock: TryLockResult<MutexGuard<'_, T>>) -> Option<MutexGuard<'_, T>> {
    match lock {
        Ok(guard) => Some(guard),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Poisoned(_)) => panic!("a panic while it was held"),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
pub(super) mod tests;
