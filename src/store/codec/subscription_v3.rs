//! Version 3 of the subscription record: version 2 and since when it is parked. Frozen: never
//! changed, only followed by a version 4.

use serde::{Deserialize, Serialize};

use super::envelope::time;
use super::{Error, subscription_v2};
use crate::domain::subscription as domain;

#[derive(Serialize, Deserialize)]
pub(super) struct Subscription {
    before: subscription_v2::Subscription,
    /// Milliseconds after 1970; of an active subscription alone.
    parked_since: Option<i64>,
}

impl From<subscription_v2::Subscription> for Subscription {
    fn from(before: subscription_v2::Subscription) -> Self {
        Self { before, parked_since: None }
    }
}

impl From<&domain::Subscription> for Subscription {
    fn from(held: &domain::Subscription) -> Self {
        let parked_since = match held.state {
            domain::State::Parked(since) => Some(since.as_millisecond()),
            domain::State::Active | domain::State::Paused | domain::State::Ended(..) => None,
        };
        Self { before: held.into(), parked_since }
    }
}

impl TryFrom<Subscription> for domain::Subscription {
    type Error = Error;

    fn try_from(held: Subscription) -> Result<Self, Error> {
        let mut subscription = Self::try_from(held.before)?;
        if let (domain::State::Active, Some(since)) = (subscription.state, held.parked_since) {
            subscription.state = domain::State::Parked(time(since)?);
        }
        Ok(subscription)
    }
}
