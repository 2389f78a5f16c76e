//! Samples for tests: one of each, plain and valid.

use std::collections::BTreeMap;

use serde_json::json;

use super::delivery::{DeadLetter, Reason};
use super::encoding::Encoding;
use super::filter::Filter;
use super::lease::{Asked, Lease};
use super::policy::Policy;
use super::sink::{Method, Sink};
use super::subscription::{Signing, Start, State, Subscription, Wish};
use super::{Offset, Timestamp};

/// A time so many seconds after 1970.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("small")
}

/// What a plain webhook on everything asks for.
pub(crate) fn wish() -> Wish {
    Wish {
        name: None,
        labels: BTreeMap::new(),
        filter: Filter::parse(&json!({"topic": "#"})).expect("valid"),
        sink: Sink::Http {
            url: "http://worker.lan/hook".parse().expect("valid"),
            method: Method::Post,
            headers: BTreeMap::new(),
            access: Box::default(),
        },
        encoding: Encoding::Structured,
        signing: Signing::None,
        lease: Asked::Seconds(600),
        start: Start::Now,
        policy: Policy::default().into(),
    }
}

/// An active subscription with a lease of so many seconds since 1970.
pub(crate) fn subscription(number: u32, lease_seconds: i64) -> Subscription {
    let seconds = u64::try_from(lease_seconds).expect("positive");
    Subscription {
        id: format!("s{number}"),
        number,
        version: 1,
        owner: None,
        wish: wish(),
        lease: Some(Lease { seconds, expires_at: at(lease_seconds) }),
        state: State::Active,
        created_at: at(0),
        updated_at: at(0),
    }
}

/// A delivery of a subscription that was given up at a time, without any attempt.
pub(crate) fn letter(subscription: u32, offset: Offset, at: Timestamp) -> DeadLetter {
    DeadLetter {
        subscription,
        subscription_id: format!("s{subscription}"),
        offset,
        at,
        reason: Reason::Exhausted,
        attempts: vec![],
        request: None,
        note: None,
        replay: false,
    }
}
