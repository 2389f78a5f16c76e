//! The short way: a lone producer decides and commits its event itself. It then waits for the disk
//! and for no other thread, which is worth a fifth to a third of its rate.
//!
//! Its thread is one of the runtime's, so this is for a disk that answers at once; and because any
//! disk may hang, one of the writer's threads watches: what lasts is told to the runtime, which
//! then has another thread go on with the rest.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{MutexGuard, OnceLock};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

use super::commit::Commit;
use super::group::{Group, LetGo};
use super::stage::Stage;
use super::submit::Message;
use super::thread::Core;

/// Groups of one command in a row after which its sender counts as a lone one.
const LONE: u32 = 16;

/// What a commit may take for its sender to wait in place: all that a task may take.
const QUICK: Duration = Duration::from_millis(1);

/// How often the short way is looked after while it is used.
const TICK: Duration = Duration::from_millis(2);

/// The state and the disk, held.
pub(super) struct ShortWay<'a> {
    stage: MutexGuard<'a, Stage>,
    commit: MutexGuard<'a, Commit>,
}

/// Whether there is a lone producer, and what it is doing.
#[derive(Debug, Default)]
pub(super) struct Lone {
    /// Quick groups of one command in a row, up to now.
    groups: AtomicU32,
    /// Counts beginnings and ends of commits on the short way: odd while one is under way.
    steps: AtomicU64,
    /// Steps when last looked at.
    seen: AtomicU64,
    /// The runtime whose threads take the short way.
    runtime: OnceLock<Handle>,
}

impl Lone {
    /// Counts a group. True: it opens the short way, which has to be looked after from here on.
    pub(super) fn count(&self, commands: usize, took: Duration) -> bool {
        let held = self.groups.load(Ordering::Relaxed);
        let count = if commands == 1 && took < QUICK { (held + 1).min(LONE) } else { 0 };
        if count != held {
            self.groups.store(count, Ordering::Relaxed);
        }
        count == LONE && held < LONE
    }

    /// Whether the short way is open to the caller, who is alone.
    pub(super) fn is_open(&self) -> bool {
        if self.groups.load(Ordering::Relaxed) < LONE {
            return false;
        }
        // Only where the runtime has other threads.
        let Ok(runtime) = Handle::try_current() else { return false };
        runtime.runtime_flavor() == RuntimeFlavor::MultiThread
            && runtime.metrics().num_workers() > 1
    }

    /// How often to look, if at all.
    pub(super) fn tick(&self) -> Option<Duration> {
        (self.groups.load(Ordering::Relaxed) >= LONE).then_some(TICK)
    }

    /// Looks after who is on the short way. Nobody since the last time: it is closed. The same one:
    /// it may have been the thread that waits for the runtime's sockets and timers, so another is
    /// woken.
    pub(super) fn look(&self) {
        let steps = self.steps.load(Ordering::Acquire);
        if self.seen.swap(steps, Ordering::Relaxed) != steps {
            return;
        }
        self.groups.store(0, Ordering::Relaxed);
        if steps % 2 == 1
            && let Some(runtime) = self.runtime.get()
        {
            tracing::debug!("the disk takes its time");
            drop(runtime.spawn(std::future::ready(())));
        }
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::AcqRel);
    }
}

impl Core {
    /// The short way, unless somebody else decides, or has the disk, or waits for it.
    pub(super) fn short_way(&self) -> Option<ShortWay<'_>> {
        let stage = self.try_stage().filter(|stage| !stage.closed)?;
        let nobody_waits = self.slot().is_none();
        let commit = self.try_commit().filter(|_| nobody_waits)?;
        Some(ShortWay { stage, commit })
    }

    /// Decides, commits and answers a command on the caller's thread.
    pub(super) fn commit_here(&self, way: ShortWay<'_>, message: Message) {
        let ShortWay { mut stage, mut commit } = way;
        if let Ok(runtime) = Handle::try_current() {
            self.lone.runtime.get_or_init(|| runtime);
        }
        self.lone.step();
        let mut let_go = LetGo::new();
        let decided = stage.decide(self, &mut std::iter::once(message), &mut let_go);
        drop(stage);
        let (mut group, committed) = match decided {
            Ok(Some((mut group, _))) => {
                let committed = commit.commit(self, &mut group);
                (group, committed)
            }
            Ok(None) => (Group::default(), Ok(Ok(()))),
            Err(fatal) => (Group::default(), Err(fatal)),
        };
        let is_fatal = committed.is_err();
        let outcome = committed.unwrap_or_else(|fatal| {
            commit.broken.get_or_insert(fatal.clone());
            Err(fatal)
        });
        drop(commit);
        self.lone.step();
        if is_fatal {
            self.give_up();
        } else if self.slot().is_some() {
            // Somebody came meanwhile and found the disk taken.
            self.call();
        }
        group.answer(&self.room, &outcome);
        self.shared.tail.tell_later();
        self.put_away(group, &mut let_go);
    }
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod tests;
