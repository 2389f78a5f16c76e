//! Deciding: commands become records, against the state as it will be once all that was decided
//! before is on disk.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc;

use super::commit::{Commit, Committed, note_applied};
use super::group::{COMMANDS_MAX, Group, Pending};
use super::submit::{Failure, Message};
use super::thread::Core;
use crate::clock::Stopwatch;
use crate::domain::command::{Command, Decision, Refusal, Reply, Rules, View};
use crate::domain::decide::decide;
use crate::domain::record::Entry;
use crate::domain::{Offset, Timestamp};
use crate::store::floor::Floor;
use crate::store::staged::{Outcome, Staged, Totals};
use crate::store::window::Window;
use crate::store::{Error, codec, fold};

/// How long a thread that has nothing to do stays awake before it sleeps: being woken takes as long
/// as a fast disk takes to sync, and whoever was just answered may be back at once.
const AWAKE: Duration = Duration::from_micros(100);

/// The state that commands are decided against.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) queue: mpsc::Receiver<Message>,
    /// Received and not decided yet.
    pub(super) inbox: VecDeque<Message>,
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

/// How a group was gathered.
pub(super) struct Gathered<'a> {
    /// The way to the disk is free and held.
    pub(super) commit: MutexGuard<'a, Commit>,
    /// Nothing follows.
    pub(super) closing: bool,
}

impl Stage {
    /// Decides what waits, and what comes while another group is on its way to the disk. `waits`:
    /// for a first command, too. `None`: nothing came that has to be answered after a commit.
    pub(super) fn gather<'a>(
        &mut self,
        core: &'a Core,
        group: &mut Group,
        waits: bool,
    ) -> Result<Option<Gathered<'a>>, Error> {
        if self.inbox.is_empty() && !self.receive(waits) {
            if !waits {
                return Ok(None);
            }
            self.closed = true;
        }
        group.clear();
        self.catch_up(&core.committed());
        let under = self.pending.iter().map(|pending| pending.writes.clone()).collect();
        let Self { queue, inbox, window, totals, next, newest, rules, floor, .. } = self;
        let mut deciding = Deciding {
            staged: Staged::new(&*core.shared.tables, window, totals.clone(), *next, *newest)
                .over(under),
            group,
            rules,
            floor,
            room: None,
        };
        deciding.group.at = whole_millis(core.host.now());
        let mut closing = self.closed;
        let commit = loop {
            while let (false, Some(message)) = (closing, inbox.pop_front()) {
                closing = deciding.take(message)?;
                if deciding.group.is_full() {
                    break;
                }
            }
            if deciding.group.is_empty() && !closing {
                return Ok(None);
            }
            if closing || !waits || deciding.group.is_full() {
                break core.commit();
            }
            if let Some(commit) = wait_for_disk(core, queue, inbox) {
                break commit;
            }
        };
        let outcome = deciding.staged.finish();
        self.closed = closing;
        self.note(group, outcome);
        Ok(Some(Gathered { commit, closing }))
    }

    /// Fills the inbox. False: nothing came.
    fn receive(&mut self, waits: bool) -> bool {
        if waits {
            receive_into(&mut self.queue, &mut self.inbox);
        } else {
            while self.inbox.len() < COMMANDS_MAX
                && let Ok(message) = self.queue.try_recv()
            {
                self.inbox.push_back(message);
            }
        }
        !self.inbox.is_empty()
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
        self.next += group.entries.len() as u64;
        if !writes.is_empty() {
            note_applied(&mut writes, self.next);
        }
        if !group.entries.is_empty() {
            self.newest = group.at;
        }
        self.totals = totals;
        (group.next, group.generation) = (self.next, self.generation);
        group.totals = self.totals.clone();
        group.staged = Arc::new(Pending::new(writes, prints));
        self.pending.push(group.staged.clone());
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
        if Floor::concerns(&command)
            && let Err(error) = self.room.get_or_insert_with(|| self.floor.look())
        {
            let _ = answer.send(Err(Failure::Store(error.clone())));
            return Ok(false);
        }
        let decided = self.decide(command);
        match decided {
            Ok(decided) => {
                self.group.hold(share);
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
            self.group.entries.push(Arc::new(Entry { offset, at, record }));
        }
        Ok(Ok(reply))
    }
}

/// Waits until the disk is free or further messages came, whichever is first.
fn wait_for_disk<'a>(
    core: &'a Core,
    queue: &mut mpsc::Receiver<Message>,
    inbox: &mut VecDeque<Message>,
) -> Option<MutexGuard<'a, Commit>> {
    let watch = Stopwatch::start();
    while watch.elapsed() < AWAKE {
        if let Some(commit) = core.try_commit() {
            return Some(commit);
        }
        if let Ok(message) = queue.try_recv() {
            inbox.push_back(message);
            return None;
        }
        std::thread::yield_now();
    }
    core.commit_or_be_called().or_else(|| {
        receive_into(queue, inbox);
        None
    })
}

/// Waits for messages and takes what there is. None come once nobody can send any.
fn receive_into(queue: &mut mpsc::Receiver<Message>, inbox: &mut VecDeque<Message>) {
    let watch = Stopwatch::start();
    while watch.elapsed() < AWAKE {
        if let Ok(message) = queue.try_recv() {
            inbox.push_back(message);
            return;
        }
        std::thread::yield_now();
    }
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
