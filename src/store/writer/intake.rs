//! Taking commands from the queue: they are decided, and what was decided goes to the disk when
//! that is free.

use std::collections::VecDeque;
use std::sync::MutexGuard;

use super::commit::Commit;
use super::group::{COMMANDS_MAX, Group, LetGo};
use super::stage::Stage;
use super::submit::Message;
use super::thread::Core;
use crate::store::Error;

/// Commands that are decided before the disk is asked again whether it is free.
const STEP: usize = 144;

/// More that the tail let go of is dropped at once, whatever waits.
const LET_GO_MAX: usize = 4 * COMMANDS_MAX;

/// What was taken from the queue.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Received and not decided yet.
    inbox: VecDeque<Message>,
    let_go: LetGo,
    /// It was told to close: nothing more is taken.
    pub(super) closed: bool,
}

/// A group that goes to the disk now.
pub(super) struct Gathered<'a> {
    pub(super) group: Group,
    /// The way to the disk, held.
    pub(super) commit: MutexGuard<'a, Commit>,
    /// Nothing follows.
    pub(super) closing: bool,
}

impl Intake {
    /// Decides what comes until the disk is free for it. What is decided while it is not stands in
    /// the core's slot, where whoever has the disk finds it.
    pub(super) fn gather<'a>(&mut self, core: &'a Core) -> Result<Gathered<'a>, Error> {
        let mut has_added = false;
        loop {
            core.answer_finished(&mut self.let_go);
            if self.let_go.len() > LET_GO_MAX {
                self.let_go.clear();
            }
            if self.inbox.is_empty() {
                if let Some(gathered) = core.ready_group() {
                    return Ok(gathered);
                }
                self.let_go.clear();
                if std::mem::take(&mut has_added) {
                    core.rest();
                } else {
                    let tick = core.lone.tick();
                    core.queue.sleep(tick);
                    if tick.is_some() {
                        core.lone.look();
                    }
                }
                core.queue.take(&mut self.inbox, COMMANDS_MAX);
                continue;
            }
            let mut stage = core.stage();
            let Some((group, closing)) = self.decide(core, &mut stage, STEP)? else { continue };
            let commit = match closing || group.is_full() {
                true => Some(core.commit()),
                false => core.try_commit(),
            };
            match commit {
                Some(commit) => return Ok(Gathered { group, commit, closing }),
                None => {
                    core.put_into_slot(group);
                    has_added = true;
                }
            }
        }
    }

    /// Decides what waits now. `None`: nothing came that has to be answered after a commit.
    pub(super) fn gather_now<'a>(&mut self, core: &'a Core) -> Result<Option<Gathered<'a>>, Error> {
        core.queue.take(&mut self.inbox, COMMANDS_MAX);
        let mut stage = core.stage();
        let gathered = |(group, closing)| Gathered { group, commit: core.commit(), closing };
        Ok(self.decide(core, &mut stage, COMMANDS_MAX)?.map(gathered))
    }

    /// Decides what is in the inbox, at most `max` commands. `true`: it was told to close.
    fn decide(
        &mut self,
        core: &Core,
        stage: &mut Stage,
        max: usize,
    ) -> Result<Option<(Group, bool)>, Error> {
        let Self { inbox, let_go, .. } = self;
        let mut commands = std::iter::from_fn(|| inbox.pop_front()).take(max);
        let decided = stage.decide(core, &mut commands, let_go);
        self.closed = stage.closed;
        decided
    }
}
