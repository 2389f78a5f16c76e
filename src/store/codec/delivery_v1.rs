//! Version 1 of the records of delivery and of tokens. Frozen: never changed, only followed by a
//! version 2.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use super::envelope::{millis, time};
use crate::domain::delivery::{self, Outcome};
use crate::domain::grant::{Grant, Grants};
use crate::domain::record;

#[derive(Serialize, Deserialize)]
pub(super) struct Token {
    id: String,
    name: String,
    grants: Vec<String>,
    digest: [u8; 32],
    created_at: i64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Retry {
    pub(super) subscription: u32,
    pub(super) offset: u64,
    pub(super) due: i64,
    pub(super) attempts: Vec<Attempt>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct DeadLetter {
    pub(super) subscription: u32,
    pub(super) subscription_id: String,
    pub(super) offset: u64,
    pub(super) at: i64,
    /// 0 exhausted, 1 permanent, 2 address, 3 age.
    pub(super) reason: u8,
    pub(super) attempts: Vec<Attempt>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Progress {
    matched: u64,
    lagging: Vec<(u32, u64)>,
    caught_up: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Attempt {
    at: i64,
    took_ms: u64,
    outcome: AttemptOutcome,
}

#[derive(Serialize, Deserialize)]
enum AttemptOutcome {
    Answered(u16, Option<u64>),
    Failed(String),
    Refused(String),
}

impl From<&record::Token> for Token {
    fn from(token: &record::Token) -> Self {
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            grants: token.grants.0.iter().map(Grant::to_string).collect(),
            digest: token.digest,
            created_at: token.created_at.as_millisecond(),
        }
    }
}

impl TryFrom<Token> for record::Token {
    type Error = Error;

    fn try_from(held: Token) -> Result<Self, Error> {
        let grants: Result<Vec<Grant>, Error> =
            held.grants.iter().map(|text| Ok(Grant::parse(text)?)).collect();
        Ok(Self {
            id: held.id,
            name: held.name,
            grants: Grants(grants?),
            digest: held.digest,
            created_at: time(held.created_at)?,
        })
    }
}

#[cfg(test)]
impl From<&delivery::Retry> for Retry {
    fn from(retry: &delivery::Retry) -> Self {
        Self {
            subscription: retry.subscription,
            offset: retry.offset,
            due: retry.due.as_millisecond(),
            attempts: retry.attempts.iter().map(Attempt::from).collect(),
        }
    }
}

impl From<&record::Progress> for Progress {
    fn from(progress: &record::Progress) -> Self {
        Self {
            matched: progress.matched,
            lagging: progress.lagging.clone(),
            caught_up: progress.caught_up.clone(),
        }
    }
}

impl From<Progress> for record::Progress {
    fn from(held: Progress) -> Self {
        let Progress { matched, lagging, caught_up } = held;
        Self { matched, lagging, caught_up, replays: vec![], replays_over: vec![] }
    }
}

impl From<&delivery::Attempt> for Attempt {
    fn from(attempt: &delivery::Attempt) -> Self {
        Self {
            at: attempt.at.as_millisecond(),
            took_ms: millis(attempt.took),
            outcome: match &attempt.outcome {
                Outcome::Answered { status, retry_after } => {
                    AttemptOutcome::Answered(*status, retry_after.map(millis))
                }
                Outcome::Failed(why) => AttemptOutcome::Failed(why.clone()),
                Outcome::Refused(why) => AttemptOutcome::Refused(why.clone()),
            },
        }
    }
}

pub(super) fn attempts(held: Vec<Attempt>) -> Result<Vec<delivery::Attempt>, Error> {
    let one = |attempt: Attempt| {
        Ok(delivery::Attempt {
            at: time(attempt.at)?,
            took: Duration::from_millis(attempt.took_ms),
            outcome: match attempt.outcome {
                AttemptOutcome::Answered(status, retry_after) => Outcome::Answered {
                    status,
                    retry_after: retry_after.map(Duration::from_millis),
                },
                AttemptOutcome::Failed(why) => Outcome::Failed(why),
                AttemptOutcome::Refused(why) => Outcome::Refused(why),
            },
            // What version 1 cannot say, version 2 does.
            step: 0,
            answer: None,
        })
    };
    held.into_iter().map(one).collect()
}
