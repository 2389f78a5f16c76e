//! A history of deliveries: the store on its failing machine, the board that decides what is sent,
//! targets that change, and a driver in the place of the dispatcher, one step after the other.
//! Never here: what is right (that is the ledger's).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use tidings::domain::command::{Change, Command, Settlement};
use tidings::domain::lease::after;
use tidings::flow::{Board, Gate};
use tidings::store::Reader;
use tidings::telemetry::Metrics;

use crate::account;
use crate::commands::copy;
use crate::courier::Flight;
use crate::delivered::Delivered;
use crate::dice::Dice;
use crate::history::History;
use crate::ledger::Ledger;
use crate::machine::{Death, Lie};
use crate::oracle::Fault;
use crate::setting;
use crate::targets::Targets;
use crate::wishes::{Wishes, admin};

/// Steps in which everything has to come to rest that is left to do in the end.
const ROUNDS_MAX: u64 = 4_000;

/// A way in which the driver is wrong, to see that the oracle notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slip {
    /// It does as it should.
    None,
    /// Now and then an outcome is not written.
    DropsOutcome,
    /// Progress is written before outcomes that came before it.
    ProgressFirst,
    /// Deliveries that wait are forgotten when it starts again.
    ForgetsRetries,
    /// A failure is taken for a success.
    BelievesAll,
    /// Its clock is an hour slow where it asks what to start, until all is to rest.
    SlowClock,
    /// It starts what it is given twice.
    StartsTwice,
}

#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) history: History,
    board: Option<Board>,
    /// The process that the board lives in.
    process: u64,
    pub(crate) targets: Targets,
    pub(crate) ledger: Ledger,
    wishes: Wishes,
    pub(crate) under_way: BTreeMap<u64, Flight>,
    pub(crate) tickets: u64,
    pub(crate) dice: Dice,
    pub(crate) slip: Slip,
    /// Outcomes that a wrong driver holds back.
    late: Vec<Command>,
    pub(crate) seen: Delivered,
}

/// Runs a history from beginning to end.
pub(crate) fn run(seed: u64, slip: Slip, loud: bool) -> Result<Delivered, Fault> {
    let mut delivery = Delivery::new(seed, slip, loud);
    delivery.history.open()?;
    delivery.renew()?;
    for _ in 0..delivery.dice.between(30, 160) {
        delivery.step()?;
    }
    delivery.heal()?;
    delivery.rest()?;
    let end = delivery.dice.pick(&[None, Some(Death::Kill), Some(Death::PowerCut)]);
    if let Some(death) = end {
        delivery.history.restart(death)?;
        delivery.renew()?;
        delivery.rest()?;
    }
    let model = &delivery.history.oracle.model;
    let now = delivery.history.machine.now();
    delivery.seen.accounted = account::settle(&delivery.ledger, model, now)?;
    delivery.seen.redriven = delivery.ledger.redriven.len() as u64;
    delivery.seen.letters = model.fold.dead_letters.len() as u64;
    delivery.seen.digest = delivery.history.machine.digest();
    Ok(delivery.seen)
}

impl Delivery {
    fn new(seed: u64, slip: Slip, loud: bool) -> Self {
        let mut dice = Dice::new(seed);
        let config = setting::delivery(&mut dice);
        let limits = &config.delivery;
        let (all, each) = (limits.in_flight_max, limits.target_in_flight_max);
        let ledger = Ledger::new(all, each, limits.park_after);
        let history = History::of(seed, dice.child(), config, Lie::None, loud);
        Self {
            history,
            board: None,
            process: 0,
            targets: Targets::new(dice.child()),
            ledger,
            wishes: Wishes::new(dice.child()),
            under_way: BTreeMap::new(),
            tickets: 0,
            dice,
            slip,
            late: vec![],
            seen: Delivered::default(),
        }
    }

    fn step(&mut self) -> Result<(), Fault> {
        let by = self.dice.pick(&[0, 0, 10, 200, 1_000, 5_000]);
        self.history.machine.move_clock(SignedDuration::from_millis(by));
        match self.dice.below(100) {
            0..20 => {
                let turned = self.targets.turn();
                self.history.machine.tell(&turned);
            }
            20..24 => self.history.faults(),
            24..28 => self.history.heal(),
            28..32 => self.history.machine.light(self.dice.below(60)),
            32..34 => self.history.restart_somehow()?,
            34..38 => self.history.keep()?,
            38..40 => self.history.machine.move_clock(SignedDuration::from_secs(90)),
            40..41 => {
                self.history.stop()?;
                self.history.open()?;
            }
            _ => {}
        }
        self.renew()?;
        if self.dice.chance(650) {
            let (count, now) = (self.dice.below(4), self.history.machine.now());
            let model = &self.history.oracle.model;
            let wishes = (0..count).map(|_| self.wishes.next(model, now)).collect();
            self.write(wishes)?;
        }
        self.deliver()
    }

    /// What the dispatcher does, or some of it.
    fn deliver(&mut self) -> Result<(), Fault> {
        self.take_back()?;
        if self.dice.chance(700) {
            self.follow();
        }
        if self.dice.chance(700) {
            self.read();
        }
        if self.dice.chance(800) {
            self.start()?;
        }
        if self.dice.chance(300) {
            self.checkpoint();
        }
        if self.dice.chance(700) {
            self.write(vec![])?;
        }
        Ok(())
    }

    /// Where the process is another one, begins anew as a hub does that starts.
    fn renew(&mut self) -> Result<(), Fault> {
        if self.history.machine.is_dead() {
            self.history.restart_somehow()?;
        }
        if self.process == self.history.machine.process() {
            return Ok(());
        }
        self.process = self.history.machine.process();
        self.seen.restarts += 1;
        self.seen.lost_answers += self.under_way.len() as u64;
        self.under_way.clear();
        self.late.clear();
        self.ledger.died(self.history.oracle.model.next);
        let reader = self.reader();
        let resume = self.history.runtime.block_on(reader.resume());
        let mut resume = resume.map_err(|error| error.to_string())?;
        let retries = std::mem::take(&mut resume.retries);
        self.ledger.begin(&self.history.oracle.model, resume.as_of);
        let (config, now) = (&self.history.config, self.history.machine.now());
        let gate = Gate::new(reader, true, None);
        let metrics = Arc::new(Metrics::default());
        let mut board = Board::new(config, resume, gate, metrics, now);
        if self.slip != Slip::ForgetsRetries {
            for retry in retries {
                board.restore(&retry, self.history.oracle.model.event(retry.offset));
            }
        }
        self.board = Some(board);
        Ok(())
    }

    pub(crate) fn reader(&self) -> Reader {
        self.history.store.as_ref().expect("open between steps").reader.clone()
    }

    pub(crate) fn board(&mut self) -> &mut Board {
        self.board.as_mut().expect("there from the start")
    }

    /// What clients ask for and what the board wants to be written, as one group.
    fn write(&mut self, mut commands: Vec<Command>) -> Result<(), Fault> {
        let own = self.board().next_command();
        let own = own.map(|command| self.slipped(command));
        let place = own.is_some().then_some(commands.len());
        commands.extend(own.flatten());
        if self.slip == Slip::ProgressFirst && self.dice.chance(100) {
            commands.append(&mut self.late);
        }
        if !commands.is_empty() {
            let goes_on = self.history.turn(commands)?;
            if !goes_on {
                self.history.restart_somehow()?;
            }
        } else {
            self.history.taken.clear();
        }
        if self.process != self.history.machine.process() {
            return self.renew();
        }
        if let Some(place) = place {
            let taken = self.history.taken.get(place).copied().unwrap_or(true);
            self.board().written(taken);
        }
        Ok(())
    }

    /// What a wrong driver makes of a command.
    fn slipped(&mut self, command: Command) -> Option<Command> {
        match (self.slip, command) {
            (Slip::DropsOutcome, Command::Settle(mut outcomes)) => {
                let is_retry = |outcome: &Settlement| matches!(outcome, Settlement::Retry(_));
                let lost = outcomes.iter().position(is_retry).filter(|_| self.dice.chance(500));
                lost.map(|at| outcomes.remove(at));
                Some(Command::Settle(outcomes)).filter(|_| lost.is_none())
            }
            (Slip::ProgressFirst, command @ Command::Settle(_)) => {
                self.late.push(copy(&command));
                None
            }
            (_, command) => Some(command),
        }
    }

    fn follow(&mut self) {
        let (reader, now) = (self.reader(), self.history.machine.now());
        let (from, max) = (self.board().matched(), self.dice.pick(&[1, 5, 512]));
        let Ok(stretch) = self.history.runtime.block_on(reader.read_on(from, max)) else { return };
        if stretch.to == from {
            return;
        }
        self.board().follow(&stretch, reader.oldest_offset(), now);
        stretch.entries.iter().for_each(|entry| self.ledger.see_new(entry));
    }

    /// Lanes that are behind read the log.
    fn read(&mut self) {
        let (reader, now) = (self.reader(), self.history.machine.now());
        for _ in 0..self.dice.between(1, 4) {
            let Some(read) = self.board().next_read(now) else { return };
            let max = self.dice.pick(&[1, 3, 512]);
            match self.history.runtime.block_on(reader.read_on(read.from, max)) {
                Ok(stretch) if self.dice.chance(950) => {
                    self.board().take_read(&read, &stretch, now);
                }
                _ => self.board().read_failed(&read, after(now, std::time::Duration::from_secs(1))),
            }
        }
    }

    fn checkpoint(&mut self) {
        let (end, now) = (self.reader().next_offset(), self.history.machine.now());
        self.board().checkpoint(end, now);
    }

    /// From now on everything works, and whoever was paused goes on.
    fn heal(&mut self) -> Result<(), Fault> {
        self.history.heal();
        self.history.machine.put_out();
        self.targets.heal();
        self.renew()?;
        let live = self.history.oracle.model.fold.subscriptions.values();
        let live = live.filter(|held| !held.state.is_ended());
        let resume = |id| Command::Change { id, actor: admin(), change: Change::Resume };
        let commands = live.map(|held| resume(held.id.clone())).collect();
        self.write(commands)
    }

    /// Lets time pass until nothing is left to do.
    fn rest(&mut self) -> Result<(), Fault> {
        let mut why = String::new();
        if self.slip == Slip::SlowClock {
            self.slip = Slip::None;
        }
        for _ in 0..ROUNDS_MAX {
            self.history.machine.put_out();
            self.renew()?;
            let mut commands = vec![Command::Sweep];
            if self.history.oracle.model.fold.jobs.values().any(|job| job.is_running()) {
                commands.push(self.wishes.redrive(&self.history.oracle.model));
            }
            self.write(commands)?;
            let before = self.tickets;
            self.follow();
            self.read();
            self.take_back()?;
            self.start()?;
            self.checkpoint();
            self.write(vec![])?;
            match account::at_rest(&self.history.oracle.model) {
                Ok(()) if self.is_idle() && self.late.is_empty() => return Ok(()),
                Ok(()) => "something is left to do".clone_into(&mut why),
                Err(waits) => why = waits,
            }
            if before == self.tickets {
                self.pass();
            }
        }
        Err(format!("there is no end to it: {why}"))
    }

    fn is_idle(&mut self) -> bool {
        let end = self.history.oracle.model.next;
        let jobs = self.history.oracle.model.fold.jobs.values();
        let jobs = jobs.filter(|job| job.is_running()).count();
        let is_behind = self.board().matched() < end;
        self.under_way.is_empty() && !is_behind && jobs == 0
    }

    /// Until something happens by itself, or a little.
    fn pass(&mut self) {
        let now = self.history.machine.now();
        let wake = self.board().next_wake();
        let back = self.under_way.values().map(Flight::back).min();
        let next = wake.into_iter().chain(back).min().filter(|next| *next > now);
        let by = next.map_or(99, |next| next.duration_since(now).as_millis());
        let by = i64::try_from(by).expect("waits are short");
        self.history.machine.move_clock(SignedDuration::from_millis(by + 1));
    }
}
