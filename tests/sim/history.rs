//! One history: a seed decides what is asked, what fails, when the process dies and how. Never
//! here: what is right (that is the oracle's).

use jiff::SignedDuration;
use tidings::config::Config;
use tidings::domain::command::Command;
use tidings::store::{self, Store};
use tokio::runtime::Runtime;

use crate::audit;
use crate::commands::{Commands, words};
use crate::dice::Dice;
use crate::machine::{Death, Faults, Lie, Machine};
use crate::oracle::{Fault, Oracle, Told};
use crate::setting;

/// What a history has seen, to know that histories get everywhere.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) acknowledged: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) found_unacknowledged: u64,
    pub(crate) kills: u64,
    pub(crate) cuts: u64,
    pub(crate) stops: u64,
    pub(crate) fatal: u64,
    pub(crate) failed_openings: u64,
    pub(crate) retained_away: u64,
    pub(crate) snapshots: u64,
    pub(crate) digest: u64,
}

#[derive(Debug)]
pub(crate) struct History {
    pub(crate) machine: Machine,
    pub(crate) oracle: Oracle,
    pub(crate) dice: Dice,
    pub(crate) seen: Seen,
    pub(crate) config: Config,
    pub(crate) runtime: Runtime,
    pub(crate) commands: Commands,
    pub(crate) store: Option<Store>,
    /// Which commands of the last turn were acknowledged.
    pub(crate) taken: Vec<bool>,
    /// Up to here the log was read back.
    pub(crate) read_to: u64,
}

/// Runs a history of faults from beginning to end.
pub(crate) fn run(seed: u64, lie: Lie, loud: bool) -> Result<Seen, Fault> {
    let mut history = History::new(seed, lie, loud);
    history.open()?;
    for _ in 0..history.dice.between(20, 90) {
        history.step()?;
    }
    history.heal();
    history.must_publish()?;
    let end = history.dice.pick(&[None, Some(Death::Kill), Some(Death::PowerCut)]);
    match end {
        Some(death) => history.die(death),
        None => history.stop()?,
    }
    history.open()?;
    history.must_publish()?;
    history.seen.digest = history.machine.digest();
    Ok(history.seen)
}

impl History {
    pub(crate) fn new(seed: u64, lie: Lie, loud: bool) -> Self {
        let mut dice = Dice::new(seed);
        let config = setting::config(&mut dice);
        Self::of(seed, dice, config, lie, loud)
    }

    /// With a configuration of its own.
    pub(crate) fn of(seed: u64, mut dice: Dice, config: Config, lie: Lie, loud: bool) -> Self {
        let machine = Machine::new(&config.data.dir, dice.child(), lie, loud);
        let oracle = Oracle::new(config.rules(), config.events.dedup_window);
        let commands = Commands::new(dice.child());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let seen = Seen::default();
        machine.tell(&format!("seed {seed}: {:?}", config.log));
        let (store, taken, read_to) = (None, vec![], 0);
        Self { machine, oracle, dice, seen, config, runtime, commands, store, taken, read_to }
    }

    fn step(&mut self) -> Result<(), Fault> {
        let by = i64::try_from(self.dice.below(5_000)).expect("small");
        self.machine.move_clock(SignedDuration::from_millis(by));
        match self.dice.below(100) {
            0..60 => self.groups(),
            60..75 => self.keep(),
            75..80 => {
                self.leap();
                Ok(())
            }
            80..87 => {
                self.faults();
                Ok(())
            }
            87..89 => {
                self.heal();
                self.must_publish()
            }
            89..94 => {
                // It dies in the middle of something.
                self.machine.light(self.dice.below(60));
                Ok(())
            }
            94..96 => self.restart(Death::Kill),
            96..98 => self.restart(Death::PowerCut),
            _ => {
                self.stop()?;
                self.open()
            }
        }
    }

    fn groups(&mut self) -> Result<(), Fault> {
        for _ in 0..self.dice.between(1, 6) {
            if !self.one_group()? {
                return self.restart_somehow();
            }
        }
        Ok(())
    }

    /// Some commands, written together. False: the process has to end.
    pub(crate) fn one_group(&mut self) -> Result<bool, Fault> {
        let count = match self.dice.below(10) {
            0 => self.dice.between(5, 40),
            _ => self.dice.between(1, 5),
        };
        let now = self.machine.now();
        let next = |_| self.commands.next(&self.oracle.model, now);
        let commands: Vec<Command> = (0..count).map(next).collect();
        self.turn(commands)
    }

    /// Hands commands over and lets the writer take them. False: the process has to end.
    pub(crate) fn turn(&mut self, commands: Vec<Command>) -> Result<bool, Fault> {
        let store = self.store.as_mut().expect("open between steps");
        let mut waiting = Vec::new();
        for command in commands {
            self.machine.tell(&words(&command));
            let pending = store.submit.offer(crate::commands::copy(&command));
            waiting.push((command, pending.map_err(|error| error.to_string())?));
        }
        let turned = store.writer.turn();
        let mut told: Vec<Told> = Vec::new();
        for (command, mut pending) in waiting {
            let answer = pending.try_recv().ok();
            self.machine.tell(&format!("  told {answer:?}"));
            match &answer {
                Some(Ok(_)) => self.seen.acknowledged += 1,
                Some(Err(store::Failure::Refused(_))) => {}
                Some(Err(_)) | None => self.seen.unacknowledged += 1,
            }
            told.push((command, answer));
        }
        self.taken = told.iter().map(|(_, answer)| matches!(answer, Some(Ok(_)))).collect();
        let innocent = self.machine.fired() == 0 && !self.machine.is_dead();
        let unanswered = told
            .iter()
            .find(|(_, answer)| matches!(answer, None | Some(Err(store::Failure::Store(_)))));
        if let (true, Some((command, answer))) = (innocent && !self.below_floor(), unanswered) {
            return Err(format!("{} got {answer:?}, and nothing had failed", words(command)));
        }
        self.oracle.hear(told, self.machine.now())?;
        self.machine.tell(&format!("  turn {turned:?}"));
        match turned {
            _ if self.machine.is_dead() => Ok(false),
            Ok(false) => {
                let read = self.read_on();
                // A machine that is dead by now reads nothing.
                if self.machine.is_dead() { Ok(false) } else { read.map(|()| true) }
            }
            Ok(true) => Err("the writer closed unasked".to_owned()),
            Err(error) if innocent => Err(format!("the writer stopped ({error}) for no reason")),
            Err(_) => {
                self.seen.fatal += 1;
                Ok(false)
            }
        }
    }

    /// Reads what is new in the log.
    fn read_on(&mut self) -> Result<(), Fault> {
        let Some(store) = &self.store else { return Ok(()) };
        let from = self.read_to.max(store.reader.oldest_offset());
        let found = audit::read(&self.runtime, &store.reader, from, &mut self.dice)?;
        audit::compare(&self.oracle.model, &found, from)?;
        self.read_to = store.reader.next_offset();
        match self.read_to == self.oracle.model.next {
            true => Ok(()),
            false => Err(format!(
                "the log ends at {}, acknowledged is all up to {}",
                self.read_to, self.oracle.model.next
            )),
        }
    }

    pub(crate) fn keep(&mut self) -> Result<(), Fault> {
        for _ in 0..self.dice.between(1, 12) {
            let store = self.store.as_mut().expect("open between steps");
            let more = store.keeper.turn();
            self.machine.tell(&format!("  keeper's turn: more {more}"));
            if self.machine.is_dead() {
                return self.restart_somehow();
            }
            if !more {
                break;
            }
        }
        self.check_retention()
    }

    /// No segment goes that the newest snapshot does not cover.
    pub(crate) fn check_retention(&mut self) -> Result<(), Fault> {
        let store = self.store.as_ref().expect("open between steps");
        let oldest = store.reader.oldest_offset();
        let snapshots = self.machine.state().snapshots();
        let newest = snapshots.iter().max().copied().unwrap_or(0);
        if oldest > newest {
            return Err(format!("the log begins at {oldest}, the newest snapshot at {newest}"));
        }
        self.seen.snapshots = self.seen.snapshots.max(newest);
        self.seen.retained_away = self.seen.retained_away.max(oldest);
        Ok(())
    }

    fn leap(&mut self) {
        let seconds = match self.dice.below(4) {
            0 => -300,
            1 => 90_000,
            _ => 700,
        };
        self.machine.tell(&format!("clock {seconds}"));
        self.machine.move_clock(SignedDuration::from_secs(seconds));
    }

    pub(crate) fn faults(&mut self) {
        let dice = &mut self.dice;
        let mut rate = || match dice.below(2) {
            0 => 0,
            _ => dice.between(1, 200),
        };
        let faults = Faults { write: rate(), sync: rate(), names: rate() / 4, tables: rate() };
        let pages = (self.dice.chance(500)).then(|| self.dice.index(40));
        self.machine.tell(&format!("{faults:?}, {pages:?} pages free"));
        self.machine.set_faults(faults);
        self.machine.leave_free(pages);
    }

    pub(crate) fn heal(&mut self) {
        self.machine.tell("the machine is healthy");
        self.machine.set_faults(Faults::default());
        self.machine.leave_free(None);
    }

    fn below_floor(&self) -> bool {
        let floor = self.config.log.disk_floor.0;
        self.machine.state().free_bytes() < floor + floor / 8
    }

    /// On a healthy machine an event is stored, at the latest by a process that is new.
    pub(crate) fn must_publish(&mut self) -> Result<(), Fault> {
        for last in [false, true] {
            self.machine.put_out();
            self.machine.move_clock(SignedDuration::from_secs(60));
            self.keep()?;
            let before = self.seen.acknowledged;
            let publish = self.commands.publish_new();
            let goes_on = self.turn(vec![publish])?;
            match (goes_on, self.seen.acknowledged > before) {
                (true, true) => return Ok(()),
                (true, false) => {
                    return Err("nothing can be published on a healthy machine".to_owned());
                }
                (false, _) if last => {
                    return Err("the writer stops on a healthy machine".to_owned());
                }
                (false, _) => self.restart(Death::Kill)?,
            }
        }
        Ok(())
    }

    pub(crate) fn stop(&mut self) -> Result<(), Fault> {
        let store = self.store.as_mut().expect("open between steps");
        store.submit.close();
        let turned = store.writer.turn();
        self.machine.tell(&format!("stop {turned:?}"));
        let reason = self.machine.fired() > 0 || self.machine.is_dead();
        match turned {
            Ok(true) => self.seen.stops += 1,
            Err(_) if reason => {}
            other => return Err(format!("asked to close, the writer said {other:?}")),
        }
        self.die(Death::Kill);
        Ok(())
    }

    pub(crate) fn restart_somehow(&mut self) -> Result<(), Fault> {
        let death = self.dice.pick(&[Death::Kill, Death::PowerCut]);
        self.restart(death)
    }

    pub(crate) fn restart(&mut self, death: Death) -> Result<(), Fault> {
        self.die(death);
        self.open()
    }

    pub(crate) fn die(&mut self, death: Death) {
        self.machine.tell(&format!("{death:?}"));
        match death {
            Death::Kill => self.seen.kills += 1,
            Death::PowerCut => self.seen.cuts += 1,
        }
        self.machine.die(death);
        // Whatever the old process still does as it goes has no effect any more.
        self.store = None;
    }
}
