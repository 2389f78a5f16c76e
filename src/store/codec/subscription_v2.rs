//! Version 2 of the subscription record: version 1 and `policy.hold`. Frozen: never changed, only
//! followed by a version 3.

use serde::{Deserialize, Serialize};

use super::{Error, subscription_v1};
use crate::domain::subscription as domain;

#[derive(Serialize, Deserialize)]
pub(super) struct Subscription {
    before: subscription_v1::Subscription,
    hold: Option<u64>,
}

impl From<subscription_v1::Subscription> for Subscription {
    fn from(before: subscription_v1::Subscription) -> Self {
        Self { before, hold: None }
    }
}

impl From<&domain::Subscription> for Subscription {
    fn from(held: &domain::Subscription) -> Self {
        Self { before: held.into(), hold: held.wish.policy.hold }
    }
}

impl TryFrom<Subscription> for domain::Subscription {
    type Error = Error;

    fn try_from(held: Subscription) -> Result<Self, Error> {
        let mut subscription = Self::try_from(held.before)?;
        std::sync::Arc::make_mut(&mut subscription.wish.policy).hold = held.hold;
        Ok(subscription)
    }
}
