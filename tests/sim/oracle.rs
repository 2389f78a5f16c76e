//! The oracle: it knows each answer, and so what must be on disk and what may be. Never here:
//! faults, or a look into the store's files.

use tidings::domain::command::{Command, Reply, Rules};
use tidings::domain::job::Job;
use tidings::domain::record::{Entry, Record};
use tidings::domain::replay::Replay;
use tidings::domain::{Offset, Timestamp};
use tidings::store::{self, Answer, Failure};

use crate::commands::{copy, words};
use crate::model::Model;

/// Why a history is not as it must be.
pub(crate) type Fault = String;

/// A command and what its sender was told; `None`: the process ended first.
pub(crate) type Told = (Command, Option<Answer>);

/// What a command would have written whose sender was told nothing good.
#[derive(Debug)]
struct Attempt {
    at: Timestamp,
    records: Vec<Record>,
    /// It may have been found to be a repetition.
    or_nothing: bool,
}

/// Commands of one turn that were not acknowledged. Those at the front may be found later.
#[derive(Debug)]
struct Unknown {
    base: Offset,
    attempts: Vec<Attempt>,
}

#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) model: Model,
    rules: Rules,
    unknown: Vec<Unknown>,
}

impl Oracle {
    pub(crate) fn new(rules: Rules, window: usize) -> Self {
        Self { model: Model::new(window), rules, unknown: vec![] }
    }

    /// Takes in what the senders of one turn's commands were told, in order.
    pub(crate) fn hear(&mut self, told: Vec<Told>, now: Timestamp) -> Result<(), Fault> {
        // Behind a command that was not written others were decided as if it had been.
        let mut hoped: Option<Model> = None;
        let mut unknown = Unknown { base: self.model.next, attempts: vec![] };
        for (command, answer) in told {
            let what = words(&command);
            match answer {
                Some(Ok(reply)) => {
                    let records = self.accepted(&command, &reply, now);
                    for record in records.map_err(|fault| format!("{what}: {fault}"))? {
                        self.model.add(record.clone(), now);
                        hoped.iter_mut().for_each(|hoped| hoped.add(record.clone(), now));
                    }
                }
                Some(Err(Failure::Refused(refusal))) => {
                    let by = |model: &Model| model.decide(copy(&command), now, &self.rules).err();
                    let models = [Some(&self.model), hoped.as_ref()];
                    if !models
                        .into_iter()
                        .flatten()
                        .any(|model| by(model).as_ref() == Some(&refusal))
                    {
                        return Err(format!("{what}: refused ({refusal}) without a reason"));
                    }
                }
                Some(Err(Failure::Store(error))) if was_never_tried(&error) => {}
                Some(Err(Failure::Store(_))) | None => {
                    let hoped = hoped.get_or_insert_with(|| {
                        unknown.base = self.model.next;
                        self.model.clone()
                    });
                    unknown.attempts.extend(attempt(hoped, &command, now, &self.rules));
                }
            }
        }
        self.unknown.push(unknown);
        let next = self.model.next;
        self.unknown.retain(|unknown| unknown.base == next && !unknown.attempts.is_empty());
        Ok(())
    }

    /// The records of a command that was carried out.
    fn accepted(
        &self,
        command: &Command,
        reply: &Reply,
        now: Timestamp,
    ) -> Result<Vec<Record>, Fault> {
        let model = &self.model;
        if let (Command::Publish(event), Reply::Published { offset, duplicate }) = (command, reply)
        {
            let remembered = model.remembered(&event.source, &event.id);
            let there = model.event(*offset);
            return match duplicate {
                true if there.is_some_and(|there| there.id == event.id) => Ok(vec![]),
                true => Err(format!("told to be at {offset}, where it is not")),
                false if remembered.is_some() => Err(format!("stored twice: {remembered:?}")),
                false if *offset != model.next => {
                    Err(format!("told {offset}, expected {}", model.next))
                }
                false => Ok(vec![Record::Event(event.clone())]),
            };
        }
        match model.decide(copy(command), now, &self.rules) {
            Ok(decision) if decision.reply == *reply => Ok(decision.records.into_vec()),
            other => Err(format!("told {reply:?}, expected {other:?}")),
        }
    }

    /// Takes in what was found behind the last acknowledged record after a restart.
    pub(crate) fn find(&mut self, tail: &[Entry]) -> Result<(), Fault> {
        let fits = |unknown: &Unknown| unknown.base == self.model.next && unknown.fits(tail);
        if !tail.is_empty() && !self.unknown.iter().any(fits) {
            let tail: Vec<_> = tail.iter().map(|entry| (entry.offset, &entry.record)).collect();
            return Err(format!("nobody asked for these in this order: {tail:?}"));
        }
        for entry in tail {
            if entry.offset != self.model.next {
                return Err(format!("found {}, expected {}", entry.offset, self.model.next));
            }
            self.model.add(entry.record.clone(), entry.at);
        }
        self.unknown.clear();
        Ok(())
    }
}

impl Unknown {
    /// Whether these are the records of the first commands, each whole.
    fn fits(&self, tail: &[Entry]) -> bool {
        let (mut rest, mut skipped) = (tail, 0);
        for attempt in &self.attempts {
            let count = attempt.records.len();
            let same = |(entry, record): (&Entry, &Record)| {
                is_same(&entry.record, record, skipped) && entry.at == attempt.at
            };
            if rest.len() >= count && rest.iter().zip(&attempt.records).all(same) {
                rest = &rest[count..];
            } else if attempt.or_nothing {
                skipped += u64::try_from(count).expect("lengths fit");
            } else {
                break;
            }
        }
        rest.is_empty()
    }
}

/// Whether a record is what was expected where so many before it were not written: some name the
/// place that they have in the log.
fn is_same(found: &Record, expected: &Record, skipped: u64) -> bool {
    match (found, expected) {
        (Record::Replay(found), Record::Replay(expected)) => {
            let is_near = (found.to..=found.to + skipped).contains(&expected.to);
            is_near && Replay { to: expected.to, ..**found } == **expected
        }
        (Record::Job(found), Record::Job(expected)) if found.id + skipped == expected.id => {
            Job { id: expected.id, ..(**found).clone() } == **expected
        }
        _ => found == expected,
    }
}

/// What a command would write, which is added to the state that is hoped for.
fn attempt(hoped: &mut Model, command: &Command, now: Timestamp, rules: &Rules) -> Option<Attempt> {
    let records = hoped.decide(copy(command), now, rules).ok()?.records;
    let or_nothing = match command {
        Command::Publish(event) => hoped.was_there(&event.source, &event.id),
        _ => false,
    };
    for record in &records {
        hoped.add(record.clone(), now);
    }
    let records = records.into_vec();
    Some(Attempt { at: now, records, or_nothing }).filter(|attempt| !attempt.records.is_empty())
}

fn was_never_tried(error: &store::Error) -> bool {
    matches!(error, store::Error::Floor { .. } | store::Error::Busy)
}
