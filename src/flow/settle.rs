//! What delivery tells the writer: outcomes that are exceptions, ends, progress. In order, one
//! write under way at a time, repeated until the disk takes it. Progress never overtakes an
//! outcome.

use std::collections::VecDeque;

use crate::domain::command::{Command, Settlement};
use crate::domain::record::Progress;
use crate::store::{Pending, Submit};

/// Most outcomes in one command.
const BATCH_MAX: usize = 256;

/// The way from delivery to the writer.
#[derive(Debug)]
pub(super) struct Settler {
    submit: Submit,
    outcomes: VecDeque<Settlement>,
    ends: VecDeque<u32>,
    under_way: Option<(Write, Pending)>,
    /// The last write was not taken: nothing is written until the next try is called for.
    failed: bool,
}

#[derive(Debug)]
enum Write {
    Outcomes(Vec<Settlement>),
    End(u32),
    Progress,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Outcomes or ends; if they were not taken they are written again.
    Outcome,
    /// Progress, and whether it is on disk.
    Progress(bool),
}

impl Settler {
    pub(super) fn new(submit: Submit) -> Self {
        Self {
            submit,
            outcomes: VecDeque::new(),
            ends: VecDeque::new(),
            under_way: None,
            failed: false,
        }
    }

    /// Takes an outcome in.
    pub(super) fn push(&mut self, outcome: Settlement) {
        self.outcomes.push_back(outcome);
    }

    /// Has a subscription ended whose target is gone.
    pub(super) fn end(&mut self, number: u32) {
        self.ends.push_back(number);
    }

    /// Whether all that was taken in is on disk.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.outcomes.is_empty() && self.ends.is_empty()
    }

    /// Starts the next write if none is under way.
    pub(super) fn start(&mut self) {
        if self.under_way.is_some() || self.failed {
            return;
        }
        if !self.outcomes.is_empty() {
            let count = self.outcomes.len().min(BATCH_MAX);
            let batch: Vec<Settlement> = self.outcomes.drain(..count).collect();
            self.offer(Command::Settle(batch.clone()), Write::Outcomes(batch));
        } else if let Some(number) = self.ends.pop_front() {
            self.offer(Command::EndGone(number), Write::End(number));
        }
    }

    /// Lets a write be tried again that was not taken.
    pub(super) fn try_again(&mut self) {
        self.failed = false;
    }

    /// Writes progress. Only when idle.
    pub(super) fn checkpoint(&mut self, progress: Progress) -> bool {
        assert!(self.is_idle(), "progress never overtakes an outcome");
        self.offer(Command::Checkpoint(progress), Write::Progress)
    }

    /// Waits for the write that is under way; for ever if none is. Safe to drop half-way: the
    /// answer stays in its channel.
    pub(super) async fn written(&mut self) -> Written {
        let Some((_, pending)) = &mut self.under_way else { return std::future::pending().await };
        let good = matches!(pending.await, Ok(Ok(_)));
        match self.under_way.take() {
            Some((Write::Progress, _)) => Written::Progress(good),
            Some((write, _)) => {
                if !good {
                    self.put_back(write);
                }
                Written::Outcome
            }
            None => Written::Outcome,
        }
    }

    /// Waits for the last write, if one is under way.
    pub(super) async fn written_out(&mut self) {
        if self.under_way.is_some() {
            self.written().await;
        }
    }

    fn offer(&mut self, command: Command, write: Write) -> bool {
        match self.submit.offer(command) {
            Ok(pending) => {
                self.under_way = Some((write, pending));
                true
            }
            Err(_) => {
                self.put_back(write);
                false
            }
        }
    }

    fn put_back(&mut self, write: Write) {
        self.failed = true;
        match write {
            Write::Outcomes(batch) => {
                for outcome in batch.into_iter().rev() {
                    self.outcomes.push_front(outcome);
                }
            }
            Write::End(number) => self.ends.push_front(number),
            Write::Progress => {}
        }
    }
}
