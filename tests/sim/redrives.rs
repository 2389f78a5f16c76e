//! Random commands about dead letters and the jobs that redrive them. Never here: what becomes of
//! them.

use tidings::domain::Offset;
use tidings::domain::command::{Actor, Command, Redrive};
use tidings::domain::job::{Handed, Skipped};
use tidings::domain::letter::{Choice, Id};

use crate::dice::Dice;
use crate::model::Model;

/// Where they come from.
#[derive(Debug)]
pub(crate) struct Redrives {
    dice: Dice,
}

impl Redrives {
    pub(crate) fn new(dice: Dice) -> Self {
        Self { dice }
    }

    /// The next command, on the state so far.
    pub(crate) fn next(&mut self, model: &Model) -> Command {
        let job = self.job(model);
        match self.dice.below(20) {
            0..4 => Command::Redrive(Box::new(Redrive {
                actor: self.actor(),
                choice: Choice::default(),
                rate_per_second: None,
                total: model.fold.dead_letters.len() as u64,
            })),
            4..13 => Command::HandOver { job, letters: self.handed(model) },
            13..15 => {
                let skipped = Skipped { event_gone: self.dice.below(3), subscription_ended: 0 };
                Command::EndJob { job, skipped }
            }
            15..17 => Command::CancelJob { job, actor: self.actor() },
            _ => Command::Purge { letters: self.letters(model), actor: self.actor() },
        }
    }

    /// A job that is running, more often than not.
    fn job(&mut self, model: &Model) -> Offset {
        let jobs = model.fold.jobs.values();
        let running: Vec<Offset> = jobs.filter(|job| job.is_running()).map(|job| job.id).collect();
        match running.is_empty() || self.dice.chance(100) {
            true => self.dice.below(model.next + 1),
            false => self.dice.pick(&running),
        }
    }

    fn handed(&mut self, model: &Model) -> Vec<Handed> {
        let letters = self.letters(model).into_iter();
        letters.map(|letter| Handed { letter, key: None }).collect()
    }

    /// Letters that there are, and one that there may not be.
    fn letters(&mut self, model: &Model) -> Vec<Id> {
        let held: Vec<Id> = model.fold.dead_letters.keys().copied().collect();
        let offset = self.dice.below(model.next + 1);
        let mut letters = vec![Id { subscription: 0, offset }];
        if !held.is_empty() {
            letters.extend((0..self.dice.between(1, 5)).map(|_| self.dice.pick(&held)));
        }
        letters
    }

    fn actor(&mut self) -> Actor {
        let owner = self.dice.chance(200).then(|| format!("t{}", self.dice.below(3)));
        Actor { admin: owner.is_none(), owner }
    }
}

/// The same command again.
pub(crate) fn copy(command: &Command) -> Command {
    match command {
        Command::Redrive(asked) => Command::Redrive(asked.clone()),
        Command::HandOver { job, letters } => {
            Command::HandOver { job: *job, letters: letters.clone() }
        }
        Command::EndJob { job, skipped } => Command::EndJob { job: *job, skipped: *skipped },
        Command::CancelJob { job, actor } => Command::CancelJob { job: *job, actor: actor.clone() },
        Command::Purge { letters, actor } => {
            Command::Purge { letters: letters.clone(), actor: actor.clone() }
        }
        other => unreachable!("{other:?} is not about dead letters"),
    }
}

/// The command in a few words.
pub(crate) fn words(command: &Command) -> String {
    match command {
        Command::Redrive(asked) => format!("redrive {}", asked.total),
        Command::HandOver { job, letters } => format!("hand over {} for {job}", letters.len()),
        Command::EndJob { job, .. } => format!("end job {job}"),
        Command::CancelJob { job, .. } => format!("cancel job {job}"),
        Command::Purge { letters, .. } => format!("purge {}", letters.len()),
        other => unreachable!("{other:?} is not about dead letters"),
    }
}
