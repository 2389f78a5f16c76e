//! What delivery tells the writer: outcomes that are exceptions, ends, progress. In the order in
//! which they came, one write under way at a time, repeated until the disk takes it. Progress is
//! computed when it is queued, so it never tells of an outcome that stands behind it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use super::board::Board;
use super::targets::Parking;
use crate::domain::command::{Command, Overtaken, Settlement};
use crate::domain::record::Progress;
use crate::domain::sink::Sink;
use crate::store::Submit;

/// Most outcomes in one command.
const BATCH_MAX: usize = 256;

/// With so many outcomes waiting for the disk no further attempt is started.
const WAITING_MAX: usize = 4_096;

/// What is to be written, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Write>,
    /// What the command holds that is on its way to the writer.
    under_way: Option<Vec<Write>>,
    /// The last write was not taken: nothing is written until the next try is called for.
    failed: bool,
}

/// The way from delivery to the writer.
pub(super) struct Settler {
    submit: Submit,
    /// Whether the command under way is on disk.
    taken: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
}

#[derive(Debug, Clone)]
enum Write {
    Outcome(Settlement),
    Gap(Overtaken),
    End { number: u32, sink: Sink },
    Progress(Progress),
    Park(Vec<u32>, String),
    Unpark(Vec<u32>),
}

impl std::fmt::Debug for Settler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settler").field("busy", &self.taken.is_some()).finish_non_exhaustive()
    }
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Outcomes, gaps or ends; if they were not taken they are written again.
    Outcome,
    /// Progress, and whether it is on disk.
    Progress(bool),
}

impl Outbox {
    /// Takes an outcome in.
    pub(super) fn push(&mut self, outcome: Settlement) {
        self.waiting.push_back(Write::Outcome(outcome));
    }

    /// Has a subscription ended whose target is gone.
    pub(super) fn end(&mut self, number: u32, sink: Sink) {
        self.waiting.push_back(Write::End { number, sink });
    }

    /// Takes in what a subscription passed over.
    pub(super) fn gap(&mut self, overtaken: Overtaken) {
        self.waiting.push_back(Write::Gap(overtaken));
    }

    /// Has subscriptions parked whose target does not work, or those go on whose target does again.
    pub(super) fn parking(&mut self, parking: Parking) {
        self.waiting.push_back(match parking {
            Parking::Park(numbers, error) => Write::Park(numbers, error),
            Parking::Unpark(numbers) => Write::Unpark(numbers),
        });
    }

    /// Takes progress in. Only one at a time: see `takes_progress`.
    pub(super) fn checkpoint(&mut self, progress: Progress) {
        assert!(self.takes_progress(), "one progress at a time");
        self.waiting.push_back(Write::Progress(progress));
    }

    /// Whether no progress is queued or under way.
    pub(super) fn takes_progress(&self) -> bool {
        let is_progress = |write: &Write| matches!(write, Write::Progress(_));
        let under_way = self.under_way.as_ref().is_some_and(|held| held.iter().any(is_progress));
        !under_way && !self.waiting.iter().any(is_progress)
    }

    /// Whether all that was taken in is on disk.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty()
    }

    /// Whether so much waits that nothing should be added to it.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// The next command, if none is under way. What came of it is told by `written`.
    pub(super) fn next(&mut self) -> Option<Command> {
        if self.under_way.is_some() || self.failed {
            return None;
        }
        let first = self.waiting.pop_front()?;
        let (command, writes) = match first {
            Write::Outcome(outcome) => self.outcomes(outcome),
            Write::Gap(overtaken) => self.gaps(overtaken),
            first => (alone(&first), vec![first]),
        };
        self.under_way = Some(writes);
        Some(command)
    }

    /// Lets a write be tried again that was not taken.
    pub(super) fn try_again(&mut self) {
        self.failed = false;
    }

    /// The command under way is on disk, or was not taken.
    pub(super) fn written(&mut self, taken: bool) -> Written {
        let writes = self.under_way.take().unwrap_or_default();
        self.failed = !taken;
        if let [Write::Progress(_)] = writes.as_slice() {
            return Written::Progress(taken);
        }
        if !taken {
            for write in writes.into_iter().rev() {
                self.waiting.push_front(write);
            }
        }
        Written::Outcome
    }

    fn outcomes(&mut self, first: Settlement) -> (Command, Vec<Write>) {
        let mut outcomes = vec![first];
        while outcomes.len() < BATCH_MAX
            && let Some(Write::Outcome(outcome)) = self.waiting.front()
        {
            outcomes.push(outcome.clone());
            self.waiting.pop_front();
        }
        let writes = outcomes.iter().cloned().map(Write::Outcome).collect();
        (Command::Settle(outcomes), writes)
    }

    fn gaps(&mut self, first: Overtaken) -> (Command, Vec<Write>) {
        let mut all = vec![first];
        while all.len() < BATCH_MAX
            && let Some(Write::Gap(overtaken)) = self.waiting.front()
        {
            all.push(*overtaken);
            self.waiting.pop_front();
        }
        let writes = all.iter().copied().map(Write::Gap).collect();
        (Command::Gap(all), writes)
    }
}

/// The command of a write that has one of its own.
fn alone(write: &Write) -> Command {
    match write {
        Write::End { number, sink } => Command::EndGone { number: *number, sink: sink.clone() },
        Write::Progress(progress) => Command::Checkpoint(progress.clone()),
        Write::Park(numbers, error) => {
            Command::Park { numbers: numbers.clone(), error: error.clone() }
        }
        Write::Unpark(numbers) => Command::Unpark { numbers: numbers.clone() },
        Write::Outcome(outcome) => Command::Settle(vec![outcome.clone()]),
        Write::Gap(overtaken) => Command::Gap(vec![*overtaken]),
    }
}

impl Settler {
    pub(super) fn new(submit: Submit) -> Self {
        Self { submit, taken: None }
    }

    /// Sends the next command if none is under way.
    pub(super) fn start(&mut self, board: &mut Board) {
        let Some(command) = board.next_command() else { return };
        let submit = self.submit.clone();
        self.taken = Some(Box::pin(async move {
            match submit.send(command).await {
                Ok(pending) => matches!(pending.await, Ok(Ok(_))),
                Err(_) => false,
            }
        }));
    }

    /// Waits for the command that is under way; for ever if none is. Safe to drop half-way: it goes
    /// on and is asked again.
    pub(super) async fn taken(&mut self) -> bool {
        let Some(taken) = &mut self.taken else { return std::future::pending().await };
        let is_taken = taken.as_mut().await;
        self.taken = None;
        is_taken
    }
}
