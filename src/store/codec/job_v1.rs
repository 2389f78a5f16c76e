//! Version 1 of the records of jobs, of letters that are redriven, and of what is forgotten.
//! Frozen: never changed, only followed by a version 2.

use serde::{Deserialize, Serialize};

use super::Error;
use super::envelope::time;
use crate::domain::command::Actor;
use crate::domain::job::{self, Counts, Handed, Skipped};
use crate::domain::letter::{self, Id};
use crate::domain::{Timestamp, record};

#[derive(Serialize, Deserialize)]
pub(super) struct Job {
    id: u64,
    owner: Option<String>,
    admin: bool,
    choice: Choice,
    rate_per_second: Option<u32>,
    created_at: i64,
    total: u64,
    state: State,
    /// Handed over, delivered, died again, dropped.
    counts: [u64; 4],
    /// Event gone, subscription ended.
    skipped: [u64; 2],
}

#[derive(Serialize, Deserialize)]
struct Choice {
    ids: Vec<(u32, u64)>,
    subscription: Option<String>,
    code: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
}

#[derive(Serialize, Deserialize)]
enum State {
    Running,
    Done(i64),
    Cancelled(i64),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Redriven {
    job: u64,
    due: i64,
    letters: Vec<(u32, u64, Option<String>)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Forgotten {
    letters: Vec<(u32, u64)>,
    jobs: Vec<u64>,
    why: Why,
}

#[derive(Serialize, Deserialize)]
enum Why {
    Purged,
    Expired,
    Dropped,
}

impl From<&job::Job> for Job {
    fn from(job: &job::Job) -> Self {
        let millis = |time: &Timestamp| time.as_millisecond();
        let Counts { handed, delivered, died, dropped } = job.counts;
        Self {
            id: job.id,
            owner: job.actor.owner.clone(),
            admin: job.actor.admin,
            choice: Choice {
                ids: pairs(&job.choice.ids),
                subscription: job.choice.subscription.clone(),
                code: job.choice.code.clone(),
                since: job.choice.since.as_ref().map(millis),
                until: job.choice.until.as_ref().map(millis),
            },
            rate_per_second: job.rate_per_second,
            created_at: job.created_at.as_millisecond(),
            total: job.total,
            state: match &job.state {
                job::State::Running => State::Running,
                job::State::Done(at) => State::Done(millis(at)),
                job::State::Cancelled(at) => State::Cancelled(millis(at)),
            },
            counts: [handed, delivered, died, dropped],
            skipped: [job.skipped.event_gone, job.skipped.subscription_ended],
        }
    }
}

impl TryFrom<Job> for job::Job {
    type Error = Error;

    fn try_from(held: Job) -> Result<Self, Error> {
        let [handed, delivered, died, dropped] = held.counts;
        let [event_gone, subscription_ended] = held.skipped;
        Ok(Self {
            id: held.id,
            actor: Actor { owner: held.owner, admin: held.admin },
            choice: letter::Choice {
                ids: ids(held.choice.ids),
                subscription: held.choice.subscription,
                code: held.choice.code,
                since: held.choice.since.map(time).transpose()?,
                until: held.choice.until.map(time).transpose()?,
            },
            rate_per_second: held.rate_per_second,
            created_at: time(held.created_at)?,
            total: held.total,
            state: match held.state {
                State::Running => job::State::Running,
                State::Done(at) => job::State::Done(time(at)?),
                State::Cancelled(at) => job::State::Cancelled(time(at)?),
            },
            counts: Counts { handed, delivered, died, dropped },
            skipped: Skipped { event_gone, subscription_ended },
        })
    }
}

impl From<&record::Redriven> for Redriven {
    fn from(redriven: &record::Redriven) -> Self {
        let handed = |it: &Handed| (it.letter.subscription, it.letter.offset, it.key.clone());
        Self {
            job: redriven.job,
            due: redriven.due.as_millisecond(),
            letters: redriven.letters.iter().map(handed).collect(),
        }
    }
}

impl TryFrom<Redriven> for record::Redriven {
    type Error = Error;

    fn try_from(held: Redriven) -> Result<Self, Error> {
        let handed = |(subscription, offset, key)| {
            let letter = Id { subscription, offset };
            Handed { letter, key }
        };
        let letters = held.letters.into_iter().map(handed).collect();
        Ok(Self { job: held.job, due: time(held.due)?, letters })
    }
}

impl From<&record::Forgotten> for Forgotten {
    fn from(forgotten: &record::Forgotten) -> Self {
        Self {
            letters: pairs(&forgotten.letters),
            jobs: forgotten.jobs.clone(),
            why: match forgotten.why {
                record::Why::Purged => Why::Purged,
                record::Why::Expired => Why::Expired,
                record::Why::Dropped => Why::Dropped,
            },
        }
    }
}

impl From<Forgotten> for record::Forgotten {
    fn from(held: Forgotten) -> Self {
        Self {
            letters: ids(held.letters),
            jobs: held.jobs,
            why: match held.why {
                Why::Purged => record::Why::Purged,
                Why::Expired => record::Why::Expired,
                Why::Dropped => record::Why::Dropped,
            },
        }
    }
}

fn pairs(ids: &[Id]) -> Vec<(u32, u64)> {
    ids.iter().map(|id| (id.subscription, id.offset)).collect()
}

fn ids(pairs: Vec<(u32, u64)>) -> Vec<Id> {
    pairs.into_iter().map(|(subscription, offset)| Id { subscription, offset }).collect()
}
