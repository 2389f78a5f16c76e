//! Requests of a history of deliveries: started as the board says, answered as the targets do, and
//! told to the ledger first. Never here: what is right.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tidings::domain::Timestamp;
use tidings::domain::delivery::{Attempt, Outcome};
use tidings::domain::lease::after;
use tidings::flow::{Carried, Parcel, Task, Unsent};

use crate::delivery::{Delivery, Slip};
use crate::oracle::Fault;
use crate::rules::Request;
use crate::targets::Answer;

/// A request under way.
#[derive(Debug)]
pub(crate) struct Flight {
    task: Task,
    parcel: Parcel,
    answer: Answer,
    at: Timestamp,
}

impl Flight {
    /// When the hub knows what became of it.
    pub(crate) fn back(&self) -> Timestamp {
        after(self.at, self.answer.took)
    }
}

impl Delivery {
    /// Starts what can be started.
    pub(crate) fn start(&mut self) -> Result<(), Fault> {
        let (reader, now) = (self.reader(), self.history.machine.now());
        let asks = match self.slip {
            Slip::SlowClock => now - SignedDuration::from_hours(1),
            _ => now,
        };
        loop {
            let count = self.under_way.len();
            let Some(mut task) = self.board().next_task(count, asks) else { return Ok(()) };
            let attempts: BTreeMap<_, _> = task.deliveries().collect();
            let (number, replay) = (task.subscription().number, task.is_replay());
            let parcel = self.history.runtime.block_on(task.pack(&reader, now));
            let events: Vec<_> = parcel.entries().cloned().collect();
            let end = self.history.oracle.model.next;
            let is_sent = |offset| events.iter().any(|entry| entry.offset == offset);
            for offset in attempts.keys().filter(|offset| !is_sent(**offset)) {
                self.ledger.too_old((number, *offset), replay, end);
            }
            if let Some(why) = parcel.unsent().cloned() {
                self.unsent(task, parcel, why, now)?;
                continue;
            }
            let request = Request { number, events, attempts, probe: task.is_probe(), replay };
            self.send(task, parcel, request, now)?;
        }
    }

    fn send(
        &mut self,
        task: Task,
        parcel: Parcel,
        request: Request,
        now: Timestamp,
    ) -> Result<(), Fault> {
        self.tickets += 1;
        let ticket = self.tickets;
        let (number, probe, replay) = (request.number, request.probe, request.replay);
        self.seen.requests += 1;
        self.seen.probes += u64::from(probe);
        self.seen.replayed += u64::from(replay);
        let (held, model) = (task.subscription(), &self.history.oracle.model);
        let answer = self.targets.take(&held.server(), held.wish.policy.timeout);
        let events: Vec<_> = request.events.iter().map(|entry| entry.offset).collect();
        let what =
            format!("{number} {events:?} to {} probe {probe} replay {replay}", held.server());
        self.history.machine.tell(&format!("{ticket}: {what} {answer:?}"));
        if self.slip == Slip::StartsTwice {
            let again = ticket + 1_000_000;
            self.ledger.start(again, request.clone(), answer.arrives, model, now)?;
        }
        self.ledger.start(ticket, request, answer.arrives, model, now)?;
        self.under_way.insert(ticket, Flight { task, parcel, answer, at: now });
        Ok(())
    }

    fn unsent(
        &mut self,
        task: Task,
        parcel: Parcel,
        why: Unsent,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let number = task.subscription().number;
        self.seen.unsent += 1;
        self.history.machine.tell(&format!("{number}: unsent {why:?}"));
        if !matches!(why, Unsent::TooOld) && !self.history.machine.is_dead() {
            return Err(format!("{number}: {why:?}, and the log is whole"));
        }
        let dice = self.throw();
        self.board().note_attempt(task.report(parcel, Err(why)), now, dice);
        Ok(())
    }

    /// Takes in what came back by now.
    pub(crate) fn take_back(&mut self) -> Result<(), Fault> {
        let now = self.history.machine.now();
        let back = self.under_way.iter().filter(|(_, flight)| flight.back() <= now);
        let back: Vec<u64> = back.map(|(ticket, _)| *ticket).collect();
        for ticket in back {
            let Some(flight) = self.under_way.remove(&ticket) else { continue };
            let Flight { task, parcel, answer: Answer { mut outcome, took, .. }, at } = flight;
            self.history.machine.tell(&format!("{ticket} is back: {outcome}"));
            if self.slip == Slip::BelievesAll {
                outcome = Outcome::Answered { status: 200, retry_after: None };
            }
            let end = self.history.oracle.model.next;
            self.ledger.finish(ticket, &outcome, end, now)?;
            let attempt = Attempt { at, took, outcome, step: 0, answer: None };
            let carried = Carried { attempt, request: None, of_server: true };
            let dice = self.throw();
            self.board().note_attempt(task.report(parcel, Ok(carried)), now, dice);
        }
        Ok(())
    }

    /// One of both ends: times on disk are whole milliseconds, and so are these.
    fn throw(&mut self) -> u32 {
        self.dice.pick(&[0, u32::MAX])
    }
}
