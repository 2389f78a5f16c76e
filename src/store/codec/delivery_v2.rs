//! Version 2 of the dead letter: version 1 and the reason that the event is gone. Frozen: never
//! changed, only followed by a version 3.

use serde::{Deserialize, Serialize};

use super::envelope::{malformed, time};
use super::{Error, delivery_v1};
use crate::domain::delivery;

#[derive(Serialize, Deserialize)]
pub(super) struct DeadLetter {
    subscription: u32,
    subscription_id: String,
    offset: u64,
    at: i64,
    reason: Reason,
    attempts: Vec<delivery_v1::Attempt>,
}

#[derive(Serialize, Deserialize)]
enum Reason {
    Exhausted,
    Permanent,
    Address,
    Age,
    EventGone,
}

impl TryFrom<delivery_v1::DeadLetter> for DeadLetter {
    type Error = Error;

    fn try_from(held: delivery_v1::DeadLetter) -> Result<Self, Error> {
        Ok(Self {
            subscription: held.subscription,
            subscription_id: held.subscription_id,
            offset: held.offset,
            at: held.at,
            reason: match held.reason {
                0 => Reason::Exhausted,
                1 => Reason::Permanent,
                2 => Reason::Address,
                3 => Reason::Age,
                other => return Err(malformed(format!("reason {other}"))),
            },
            attempts: held.attempts,
        })
    }
}

impl From<&delivery::DeadLetter> for DeadLetter {
    fn from(letter: &delivery::DeadLetter) -> Self {
        Self {
            subscription: letter.subscription,
            subscription_id: letter.subscription_id.clone(),
            offset: letter.offset,
            at: letter.at.as_millisecond(),
            reason: match letter.reason {
                delivery::Reason::Exhausted => Reason::Exhausted,
                delivery::Reason::Permanent => Reason::Permanent,
                delivery::Reason::Address => Reason::Address,
                delivery::Reason::Age => Reason::Age,
                delivery::Reason::EventGone => Reason::EventGone,
                // What version 2 cannot say, version 3 does.
                delivery::Reason::Template | delivery::Reason::Hops => Reason::Permanent,
            },
            attempts: letter.attempts.iter().map(delivery_v1::Attempt::from).collect(),
        }
    }
}

impl TryFrom<DeadLetter> for delivery::DeadLetter {
    type Error = Error;

    fn try_from(held: DeadLetter) -> Result<Self, Error> {
        Ok(Self {
            subscription: held.subscription,
            subscription_id: held.subscription_id,
            offset: held.offset,
            at: time(held.at)?,
            reason: match held.reason {
                Reason::Exhausted => delivery::Reason::Exhausted,
                Reason::Permanent => delivery::Reason::Permanent,
                Reason::Address => delivery::Reason::Address,
                Reason::Age => delivery::Reason::Age,
                Reason::EventGone => delivery::Reason::EventGone,
            },
            attempts: delivery_v1::attempts(held.attempts)?,
            // What version 2 cannot say, version 3 does.
            request: None,
            note: None,
            replay: false,
        })
    }
}
