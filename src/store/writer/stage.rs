//! Deciding: commands become records, against the state as it will be once all that was decided
//! before is on disk.

use std::sync::Arc;

use super::commit::{Committed, note_applied};
use super::group::{Group, LetGo, Pending};
use super::submit::{Failure, Message};
use super::thread::Core;
use crate::domain::command::{Command, Decision, Refusal, Reply, Rules, View};
use crate::domain::decide::decide;
use crate::domain::record::{Entry, Record};
use crate::domain::vault::Vault;
use crate::domain::{Offset, Timestamp};
use crate::store::floor::Floor;
use crate::store::staged::{Outcome, Staged, Totals};
use crate::store::window::Window;
use crate::store::{Error, codec, fold};

/// The state that commands are decided against.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) window: Window,
    pub(super) totals: Totals,
    pub(super) next: Offset,
    pub(super) newest: Timestamp,
    pub(super) generation: u64,
    /// Groups that were decided and may not be in the tables yet, oldest first.
    pub(super) pending: Vec<Arc<Pending>>,
    pub(super) rules: Rules,
    pub(super) floor: Arc<Floor>,
    pub(super) vault: Arc<Vault>,
    /// It was told to close: nothing more is decided.
    pub(super) closed: bool,
}

impl Stage {
    /// Decides commands as far as there is room in the group that waits for the disk, or in a new
    /// one. `true`: it was told to close.
    pub(super) fn decide(
        &mut self,
        core: &Core,
        commands: &mut dyn Iterator<Item = Message>,
        let_go: &mut LetGo,
    ) -> Result<Option<(Group, bool)>, Error> {
        let committed = core.committed();
        let mut group = core.take_from_slot().unwrap_or_default();
        if !group.is_empty() && group.generation != committed.generation {
            group.answer(&core.room, &Err(committed.why()));
            core.put_away(std::mem::take(&mut group), let_go);
        }
        if group.is_empty() {
            group = core.empty_group();
            group.at = whole_millis(core.host.now());
        }
        self.catch_up(&committed);
        let under = self.pending.iter().map(|pending| pending.writes.clone()).collect();
        let Self { window, totals, next, newest, rules, floor, vault, .. } = self;
        let mut deciding = Deciding {
            staged: Staged::new(&*core.shared.tables, window, totals.clone(), *next, *newest)
                .over(under),
            group: &mut group,
            rules,
            floor,
            vault,
            room: None,
        };
        let mut closing = false;
        while !closing && !deciding.group.is_full() {
            let Some(message) = commands.next() else { break };
            closing = deciding.take(message)?;
        }
        let outcome = deciding.staged.finish();
        self.closed = closing;
        self.note(&mut group, outcome);
        if group.is_empty() && !closing {
            core.put_away(group, let_go);
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
            self.floor.count(group.frame.len() as u64);
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
    vault: &'a Vault,
    /// Whether there is room for input; asked once a group.
    room: Option<Result<(), Error>>,
}

impl Deciding<'_> {
    /// Decides a message. True: it says to close.
    fn take(&mut self, message: Message) -> Result<bool, Error> {
        let (command, answer, share) = match message {
            Message::Command(command, answer, share) => (command, answer, share),
            Message::Close => return Ok(true),
        };
        self.group.share += usize::try_from(share).unwrap_or(usize::MAX);
        if Floor::concerns(&command)
            && let Err(error) = self.room.get_or_insert_with(|| self.floor.check())
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
    fn decide(&mut self, mut command: Command) -> Result<Result<Reply, Refusal>, Error> {
        let at = self.group.at;
        self.seal(&mut command);
        let Decision { records, reply } = match decide(&self.staged, command, at, self.rules) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        for mut record in records {
            self.seal_kept(&mut record);
            let offset = self.staged.next_offset();
            codec::encode(&record, &mut self.group.frame);
            fold::apply(&mut self.staged, offset, at, &record)?;
            self.group.entries.push(Entry { offset, at, record });
        }
        Ok(Ok(reply))
    }

    /// Seals the secrets that come in, so that what is decided compares them with sealed ones.
    fn seal(&self, command: &mut Command) {
        match command {
            Command::Put(put) => put.wish.seal(self.vault, &put.id),
            Command::Rotate(rotation) => {
                rotation.key.secret_mut().seal(self.vault, &rotation.id);
            }
            _ => {}
        }
    }

    /// Seals what an older release left open: nothing is written with a secret in the open.
    fn seal_kept(&self, record: &mut Record) {
        if let Record::Subscription(held) = record
            && held.wish.is_open()
        {
            let held = Arc::make_mut(held);
            held.wish.seal(self.vault, &held.id);
        }
    }
}

/// The time in the precision that records keep, so that what is in memory is what is on disk.
fn whole_millis(now: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
