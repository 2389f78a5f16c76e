//! Deciding: commands become records, against the state as it will be once all that was decided
//! before is on disk.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};

use tokio::sync::mpsc;

use super::commit::{Commit, Committed, note_applied};
use super::group::{COMMANDS_MAX, Group, LetGo, Pending};
use super::submit::{Failure, Message};
use super::thread::Core;
use crate::domain::command::{Command, Decision, Refusal, Reply, Rules, View};
use crate::domain::decide::decide;
use crate::domain::record::Entry;
use crate::domain::{Offset, Timestamp};
use crate::store::floor::Floor;
use crate::store::staged::{Outcome, Staged, Totals};
use crate::store::window::Window;
use crate::store::{Error, codec, fold};

/// Commands that are decided before the disk is asked again whether it is free.
const STEP: usize = 144;

/// More that the tail let go of is dropped at once, whatever waits.
const LET_GO_MAX: usize = 4 * COMMANDS_MAX;

/// The state that commands are decided against.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) queue: mpsc::UnboundedReceiver<Message>,
    /// Received and not decided yet.
    pub(super) inbox: VecDeque<Message>,
    pub(super) let_go: LetGo,
    pub(super) window: Window,
    pub(super) totals: Totals,
    pub(super) next: Offset,
    pub(super) newest: Timestamp,
    pub(super) generation: u64,
    /// Groups that were decided and may not be in the tables yet, oldest first.
    pub(super) pending: Vec<Arc<Pending>>,
    pub(super) rules: Rules,
    pub(super) floor: Arc<Floor>,
    /// It was told to close: nothing more is decided.
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

impl Stage {
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
                    self.receive_now();
                } else {
                    core.sleep(|| receive_into(&mut self.queue, &mut self.inbox));
                }
                continue;
            }
            let Some((group, closing)) = self.decide_inbox(core, STEP)? else { continue };
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
        self.receive_now();
        let gathered = |(group, closing)| Gathered { group, commit: core.commit(), closing };
        Ok(self.decide_inbox(core, COMMANDS_MAX)?.map(gathered))
    }

    /// Takes what there is.
    fn receive_now(&mut self) {
        while self.inbox.len() < COMMANDS_MAX
            && let Ok(message) = self.queue.try_recv()
        {
            self.inbox.push_back(message);
        }
    }

    /// Decides what is in the inbox, at most `max` commands and as far as there is room in the
    /// group that waits for the disk, or in a new one. `true`: it was told to close.
    fn decide_inbox(&mut self, core: &Core, max: usize) -> Result<Option<(Group, bool)>, Error> {
        let committed = core.committed();
        let mut group = core.take_from_slot().unwrap_or_default();
        if !group.is_empty() && group.generation != committed.generation {
            group.answer(&core.room, &Err(committed.why()));
            core.put_away(std::mem::take(&mut group), &mut self.let_go);
        }
        if group.is_empty() {
            group = core.empty_group();
            group.at = whole_millis(core.host.now());
        }
        self.catch_up(&committed);
        let under = self.pending.iter().map(|pending| pending.writes.clone()).collect();
        let Self { inbox, window, totals, next, newest, rules, floor, .. } = self;
        let mut deciding = Deciding {
            staged: Staged::new(&*core.shared.tables, window, totals.clone(), *next, *newest)
                .over(under),
            group: &mut group,
            rules,
            floor,
            room: None,
        };
        let mut closing = false;
        for _ in 0..max {
            if closing || deciding.group.is_full() {
                break;
            }
            let Some(message) = inbox.pop_front() else { break };
            closing = deciding.take(message)?;
        }
        let outcome = deciding.staged.finish();
        self.closed = closing;
        self.note(&mut group, outcome);
        if group.is_empty() && !closing {
            core.put_away(group, &mut self.let_go);
            return Ok(None);
        }
        Ok(Some((group, closing)))
    }

    /// Learns what became of the groups that were on their way.
    fn catch_up(&mut self, committed: &Committed) {
        self.pending.retain(|pending| !pending.is_done());
        if self.generation != committed.generation {
            for pending in self.pending.drain(..).rev() {
                self.window.take_back(&pending.prints);
            }
            self.totals = committed.totals.clone();
            (self.next, self.newest) = (committed.next, committed.newest);
            self.generation = committed.generation;
        }
        self.window.trim(self.pending.iter().map(|pending| pending.prints.len()).sum());
    }

    /// Goes on from where a group leaves the state.
    fn note(&mut self, group: &mut Group, outcome: Outcome) {
        let Outcome { mut writes, totals, prints } = outcome;
        let first = group.entries.first().map_or(self.next, |first| first.offset);
        self.next = first + group.entries.len() as u64;
        if !writes.is_empty() {
            note_applied(&mut writes, self.next);
        }
        if !group.entries.is_empty() {
            self.newest = group.at;
        }
        self.totals = totals;
        (group.next, group.generation) = (self.next, self.generation);
        group.totals = self.totals.clone();
        // A part that changes nothing is of no use to anybody, and would stay if nobody waits for
        // its group.
        if !(writes.is_empty() && prints.is_empty()) {
            let part = Arc::new(Pending::new(writes, prints));
            group.parts.push(part.clone());
            self.pending.push(part);
        }
    }
}

/// A group that is being decided.
struct Deciding<'a> {
    staged: Staged<'a>,
    group: &'a mut Group,
    rules: &'a Rules,
    floor: &'a Floor,
    /// Whether there is room for input; asked once a group.
    room: Option<Result<(), Error>>,
}

impl Deciding<'_> {
    /// Decides a message. True: it says to close.
    fn take(&mut self, message: Message) -> Result<bool, Error> {
        let (command, answer, share) = match message {
            Message::Command(command, answer, share) => (command, answer, share),
            Message::Called => return Ok(false),
            Message::Close => return Ok(true),
        };
        self.group.share += usize::try_from(share).unwrap_or(usize::MAX);
        if Floor::concerns(&command)
            && let Err(error) = self.room.get_or_insert_with(|| self.floor.look())
        {
            let _ = answer.send(Err(Failure::Store(error.clone())));
            return Ok(false);
        }
        let decided = self.decide(command);
        match decided {
            Ok(decided) => {
                self.group.waiting.push((answer, decided));
                Ok(false)
            }
            Err(error) => {
                let _ = answer.send(Err(Failure::Store(error.clone())));
                Err(error)
            }
        }
    }

    /// Decides a command and adds its records to the group.
    fn decide(&mut self, command: Command) -> Result<Result<Reply, Refusal>, Error> {
        let at = self.group.at;
        let Decision { records, reply } = match decide(&self.staged, command, at, self.rules) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        for record in records {
            let offset = self.staged.next_offset();
            codec::encode(&record, &mut self.group.frame);
            fold::apply(&mut self.staged, offset, at, &record)?;
            self.group.entries.push(Entry { offset, at, record });
        }
        Ok(Ok(reply))
    }
}

/// Waits for messages and takes what there is. None come once nobody can send any.
fn receive_into(queue: &mut mpsc::UnboundedReceiver<Message>, inbox: &mut VecDeque<Message>) {
    let mut messages = Vec::with_capacity(COMMANDS_MAX);
    if queue.blocking_recv_many(&mut messages, COMMANDS_MAX) == 0 {
        messages.push(Message::Close);
    }
    inbox.extend(messages);
}

/// The time in the precision that records keep, so that what is in memory is what is on disk.
fn whole_millis(now: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
