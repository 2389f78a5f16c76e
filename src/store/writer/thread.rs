//! The writer itself: two threads that take turns. While one waits for the disk the other decides
//! what comes next, so that neither the disk nor the processor waits for the other. Commands are
//! decided one after the other and groups are committed one after the other, in the same order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use tokio::sync::mpsc;

use super::commit::{Commit, Committed};
use super::group::Group;
use super::stage::{Gathered, Stage};
use super::submit::{Message, Submit};
use crate::config;
use crate::domain::command::Rules;
use crate::store::Error;
use crate::store::floor::Floor;
use crate::store::host::Host;
use crate::store::log::Log;
use crate::store::marker::Marker;
use crate::store::reader::Shared;
use crate::store::window::Window;
use crate::telemetry::Metrics;

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
    core: Core,
    /// The group that `turn` works with.
    group: Group,
}

/// What both threads share. `stage` is taken before `commit`, never the other way round.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) host: Arc<dyn Host>,
    pub(super) shared: Arc<Shared>,
    /// Held by who decides; also while it waits for commands.
    stage: Mutex<Stage>,
    /// Held by who writes. This one lock is about the disk: it is the turn to use it.
    commit: Mutex<Commit>,
    /// Guards memory only.
    committed: Mutex<Committed>,
    /// Who decides has a group ready and waits for the disk.
    ready: AtomicBool,
    /// Calls who decides.
    call: mpsc::WeakSender<Message>,
}

impl Writer {
    pub(crate) fn new(deps: Deps, limits: &config::Log) -> (Self, Submit) {
        let Deps { host, log, shared, window, rules, metrics, marker, floor } = deps;
        let (sender, queue) = mpsc::channel(limits.queue_max);
        let call = sender.downgrade();
        let submit = Submit::new(sender, limits.queue_bytes_max.0);
        let totals = shared.totals.lock().expect("no panic while totals are held").clone();
        let (next, newest) = (log.next(), log.newest());
        let stage = Stage {
            queue,
            inbox: VecDeque::new(),
            window,
            totals: totals.clone(),
            next,
            newest,
            generation: 0,
            pending: Vec::new(),
            rules,
            floor,
            closed: false,
        };
        let commit = Commit { log, applied: next, marker, metrics, failure: None, broken: None };
        let core = Core {
            host,
            shared,
            stage: Mutex::new(stage),
            commit: Mutex::new(commit),
            committed: Mutex::new(Committed { generation: 0, next, newest, totals }),
            ready: AtomicBool::new(false),
            call,
        };
        (Self { core, group: Group::default() }, submit)
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
        let mut stage = self.core.stage();
        if stage.closed {
            return Ok(true);
        }
        let gathered = stage.gather(&self.core, &mut self.group, false)?;
        drop(stage);
        gathered.map_or(Ok(false), |gathered| self.core.finish(gathered, &mut self.group))
    }
}

impl Core {
    /// One thread's work: decide, commit, answer, again.
    fn work(&self) -> Result<(), Error> {
        let mut group = Group::default();
        loop {
            let mut stage = self.stage();
            if stage.closed {
                return Ok(());
            }
            let gathered = stage.gather(self, &mut group, true);
            if gathered.is_err() {
                stage.closed = true;
            }
            drop(stage);
            if let Some(gathered) = gathered?
                && self.finish(gathered, &mut group).inspect_err(|_| self.give_up())?
            {
                return Ok(());
            }
        }
    }

    /// Commits a group and answers. True: it was the last one.
    fn finish(&self, gathered: Gathered<'_>, group: &mut Group) -> Result<bool, Error> {
        let Gathered { mut commit, closing } = gathered;
        let outcome = commit.commit(self, group);
        let closed = match (&outcome, closing) {
            (Ok(_), true) => commit.close(self),
            (Ok(_), false) | (Err(_), _) => Ok(()),
        };
        drop(commit);
        self.call_who_is_ready();
        match outcome {
            Ok(outcome) => group.answer(&outcome),
            Err(fatal) => {
                group.answer(&Err(fatal.clone()));
                return Err(fatal);
            }
        }
        closed.map(|()| closing)
    }

    /// Nothing can be written any more: whoever waits for commands ends.
    fn give_up(&self) {
        if let Some(call) = self.call.upgrade() {
            // Where the queue is full nobody waits for commands; the next one to decide fails.
            let _ = call.try_send(Message::Close);
        }
    }

    pub(super) fn commit(&self) -> MutexGuard<'_, Commit> {
        self.commit.lock().expect("no panic while the disk is held")
    }

    /// The way to the disk if it is free; else a call comes through the queue as soon as it is.
    pub(super) fn commit_or_be_called(&self) -> Option<MutexGuard<'_, Commit>> {
        self.try_commit().or_else(|| {
            self.ready.store(true, Ordering::SeqCst);
            // It may have become free before it could be known that somebody waits.
            self.try_commit().inspect(|_| self.ready.store(false, Ordering::SeqCst))
        })
    }

    pub(super) fn committed(&self) -> Committed {
        self.committed.lock().expect("no panic while it is held").clone()
    }

    pub(super) fn set_committed(&self, change: impl FnOnce(&mut Committed)) {
        change(&mut self.committed.lock().expect("no panic while it is held"));
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().expect("no panic while commands are decided")
    }

    pub(super) fn try_commit(&self) -> Option<MutexGuard<'_, Commit>> {
        match self.commit.try_lock() {
            Ok(commit) => Some(commit),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(_)) => panic!("a panic while the disk was held"),
        }
    }

    fn call_who_is_ready(&self) {
        if self.ready.swap(false, Ordering::SeqCst)
            && let Some(call) = self.call.upgrade()
        {
            // Where the queue is full nobody waits for it.
            let _ = call.try_send(Message::Called);
        }
    }
}
