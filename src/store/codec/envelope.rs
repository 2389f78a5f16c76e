//! The envelope of a record: kind u8, version u8, length u32, body. The only place that knows
//! bincode.
//!
//! Each version is one frozen struct in a file of its own (`*_v1`, `*_v2`), with golden bytes in
//! the tests. Fields and variants are only ever appended, as a new version. An unknown version is
//! refused with the release that is needed; an older one is read for ever.

use std::sync::Arc;
use std::time::Duration;

use bincode::Options;
use serde::{Deserialize, Serialize};

use super::{
    Error, delivery_v1, delivery_v2, delivery_v3, event_v1, job_v1, subscription_v1,
    subscription_v2, subscription_v3, subscription_v4, subscription_v5,
};
use crate::domain::Timestamp;
use crate::domain::gap::Missing;
use crate::domain::record::Record;
use crate::domain::replay::Replay;

/// Largest body that is read or written. Far above what an event may have.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// Bytes before a body.
const HEAD: usize = 6;

pub(super) const EVENT: u8 = 1;
const SUBSCRIPTION: u8 = 2;
const SUBSCRIPTION_REMOVED: u8 = 3;
const TOKEN: u8 = 4;
const TOKEN_REVOKED: u8 = 5;
const RETRY: u8 = 6;
const SETTLED: u8 = 7;
const DEAD_LETTER: u8 = 8;
const PROGRESS: u8 = 9;
const GAP: u8 = 10;
const JOB: u8 = 11;
const REDRIVEN: u8 = 12;
const FORGOTTEN: u8 = 13;
const REPLAY: u8 = 14;
const REPLAY_ENDED: u8 = 15;
const EXPIRY_TOLD: u8 = 16;

/// Appends a record's bytes.
pub(crate) fn encode(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let kind = match record {
        Record::Event(event) => {
            event_v1::write_event(event, out);
            EVENT
        }
        Record::Subscription(held) => {
            body(SUBSCRIPTION, &subscription_v5::Subscription::from(&**held), out)
        }
        Record::SubscriptionRemoved { number, id } => {
            body(SUBSCRIPTION_REMOVED, &(number, id), out)
        }
        Record::Token(token) => body(TOKEN, &delivery_v1::Token::from(&**token), out),
        Record::TokenRevoked { id } => body(TOKEN_REVOKED, id, out),
        Record::Retry(retry) => body(RETRY, &delivery_v3::Retry::from(&**retry), out),
        Record::Settled { subscription, offset } => body(SETTLED, &(subscription, offset), out),
        Record::DeadLetter(letter) => {
            body(DEAD_LETTER, &delivery_v3::DeadLetter::from(&**letter), out)
        }
        Record::Progress(progress) => {
            body(PROGRESS, &delivery_v3::Progress::from(&**progress), out)
        }
        Record::Gap { subscription, missing } => {
            body(GAP, &(subscription, missing.from, missing.to), out)
        }
        Record::Job(job) => body(JOB, &job_v1::Job::from(&**job), out),
        Record::Redriven(redriven) => body(REDRIVEN, &job_v1::Redriven::from(&**redriven), out),
        Record::Forgotten(it) => body(FORGOTTEN, &job_v1::Forgotten::from(&**it), out),
        Record::Replay(replay) => {
            body(REPLAY, &(replay.subscription, replay.from, replay.to, replay.cursor), out)
        }
        Record::ReplayEnded { subscription } => body(REPLAY_ENDED, subscription, out),
        Record::ExpiryTold { subscription } => body(EXPIRY_TOLD, subscription, out),
    };
    let length = u32::try_from(out.len() - start - HEAD).expect("bodies are bounded at ingest");
    out[start] = kind;
    out[start + 1] = version(kind);
    out[start + 2..start + HEAD].copy_from_slice(&length.to_le_bytes());
}

/// The version that is written of a kind: the newest.
fn version(kind: u8) -> u8 {
    match kind {
        SUBSCRIPTION => 5,
        DEAD_LETTER => 3,
        RETRY | PROGRESS => 2,
        _ => 1,
    }
}

/// A record's bytes on their own, as tables keep them.
pub(crate) fn to_bytes(record: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    encode(record, &mut out);
    out
}

/// Takes one record off the front of `bytes`.
pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Record, Error> {
    let malformed = || Error::Malformed("it ends too early".to_owned());
    let (head, rest) = bytes.split_at_checked(HEAD).ok_or_else(malformed)?;
    let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
    let length = usize::try_from(length).map_err(|_| malformed())?;
    let (body, rest) = rest.split_at_checked(length).ok_or_else(malformed)?;
    *bytes = rest;
    match (head[0], head[1]) {
        (EVENT, 1) => event_v1::read_event(body).map(|event| Record::Event(Arc::new(event))),
        (SUBSCRIPTION, 1) => {
            let held = read::<subscription_v1::Subscription>(body)?;
            let held = subscription_v2::Subscription::from(held);
            read_old_subscription(subscription_v3::Subscription::from(held))
        }
        (SUBSCRIPTION, 2) => {
            let held = read::<subscription_v2::Subscription>(body)?;
            read_old_subscription(subscription_v3::Subscription::from(held))
        }
        (SUBSCRIPTION, 3) => read_old_subscription(read::<subscription_v3::Subscription>(body)?),
        (SUBSCRIPTION, 4) => read_old_subscription(read::<subscription_v4::Subscription>(body)?),
        (SUBSCRIPTION, 5) => read_subscription(read(body)?),
        (SUBSCRIPTION_REMOVED, 1) => {
            read(body).map(|(number, id)| Record::SubscriptionRemoved { number, id })
        }
        (TOKEN, 1) => {
            read::<delivery_v1::Token>(body)?.try_into().map(|held| Record::Token(Arc::new(held)))
        }
        (TOKEN_REVOKED, 1) => read(body).map(|id| Record::TokenRevoked { id }),
        (RETRY, 1) => read_retry(read::<delivery_v1::Retry>(body)?.into()),
        (RETRY, 2) => read_retry(read(body)?),
        (SETTLED, 1) => {
            read(body).map(|(subscription, offset)| Record::Settled { subscription, offset })
        }
        (DEAD_LETTER, 1) => {
            let held: delivery_v2::DeadLetter =
                read::<delivery_v1::DeadLetter>(body)?.try_into()?;
            read_dead_letter(held.into())
        }
        (DEAD_LETTER, 2) => read_dead_letter(read::<delivery_v2::DeadLetter>(body)?.into()),
        (DEAD_LETTER, 3) => read_dead_letter(read(body)?),
        (PROGRESS, 1) => {
            read::<delivery_v1::Progress>(body).map(|held| Record::Progress(Arc::new(held.into())))
        }
        (PROGRESS, 2) => {
            read::<delivery_v3::Progress>(body).map(|held| Record::Progress(Arc::new(held.into())))
        }
        (REPLAY, 1) => read(body).map(|(subscription, from, to, cursor)| {
            Record::Replay(Arc::new(Replay { subscription, from, to, cursor }))
        }),
        (REPLAY_ENDED, 1) => read(body).map(|subscription| Record::ReplayEnded { subscription }),
        (EXPIRY_TOLD, 1) => read(body).map(|subscription| Record::ExpiryTold { subscription }),
        (GAP, 1) => read(body).map(|(subscription, from, to)| {
            let missing = Missing { from, to };
            Record::Gap { subscription, missing }
        }),
        (kind, version) => read_of_jobs(kind, version, body),
    }
}

fn read_of_jobs(kind: u8, version: u8, body: &[u8]) -> Result<Record, Error> {
    match (kind, version) {
        (JOB, 1) => read::<job_v1::Job>(body)?.try_into().map(|job| Record::Job(Arc::new(job))),
        (REDRIVEN, 1) => {
            let held = read::<job_v1::Redriven>(body)?;
            held.try_into().map(|redriven| Record::Redriven(Arc::new(redriven)))
        }
        (FORGOTTEN, 1) => {
            let held = read::<job_v1::Forgotten>(body)?;
            Ok(Record::Forgotten(Arc::new(held.into())))
        }
        _ => Err(Error::Newer { kind, version }),
    }
}

fn read_old_subscription(held: impl Into<subscription_v4::Subscription>) -> Result<Record, Error> {
    read_subscription(held.into().into())
}

fn read_subscription(held: subscription_v5::Subscription) -> Result<Record, Error> {
    held.try_into().map(|subscription| Record::Subscription(Arc::new(subscription)))
}

fn read_retry(held: delivery_v3::Retry) -> Result<Record, Error> {
    held.try_into().map(|retry| Record::Retry(Arc::new(retry)))
}

fn read_dead_letter(held: delivery_v3::DeadLetter) -> Result<Record, Error> {
    held.try_into().map(|letter| Record::DeadLetter(Arc::new(letter)))
}

/// Reads a record that a table holds.
pub(crate) fn from_bytes(mut bytes: &[u8]) -> Result<Record, Error> {
    let record = decode(&mut bytes)?;
    match bytes {
        [] => Ok(record),
        _ => Err(Error::Malformed("bytes follow it".to_owned())),
    }
}

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding()
}

pub(super) fn body<T: Serialize>(kind: u8, value: &T, out: &mut Vec<u8>) -> u8 {
    // With a limit it would go over everything twice. All is bounded before it comes here.
    options().serialize_into(out, value).expect("writing a record into memory cannot fail");
    kind
}

pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    options()
        .with_limit(BODY_BYTES_MAX)
        .deserialize(body)
        .map_err(|error| Error::Malformed(error.to_string()))
}

pub(super) fn malformed(error: impl std::fmt::Display) -> Error {
    Error::Malformed(error.to_string())
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn time(millis: i64) -> Result<Timestamp, Error> {
    Timestamp::from_millisecond(millis).map_err(malformed)
}
