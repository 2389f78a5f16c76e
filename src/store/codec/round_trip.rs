//! Property: each record kind in each version reads back as what was written.

use std::sync::Arc;

use proptest::prelude::*;
use serde::Serialize;

use super::{
    delivery_v1, delivery_v2, envelope, from_bytes, subscription_v1, subscription_v2,
    subscription_v3, subscription_v4, to_bytes,
};
use crate::domain::delivery::Reason;
use crate::domain::record::{Progress, Record};
use crate::domain::sink::Sink;
use crate::domain::subscription::{Signing, State};

use super::strategies::*;

/// A record's bytes in an older version.
pub(super) fn older(kind: u8, version: u8, value: &impl Serialize) -> Vec<u8> {
    let mut body = Vec::new();
    envelope::body(kind, value, &mut body);
    let length = u32::try_from(body.len()).expect("small");
    [&[kind, version][..], &length.to_le_bytes(), &body].concat()
}

proptest! {
    #[test]
    fn an_event_reads_back(event in events()) {
        let record = Record::Event(Arc::new(event));
        prop_assert_eq!(from_bytes(&to_bytes(&record)).expect("own bytes"), record);
    }

    #[test]
    fn a_subscription_reads_back_and_older_versions_know_less_of_it(held in subscriptions()) {
        let fourth = older(2, 4, &subscription_v4::Subscription::from(&held));
        let third = older(2, 3, &subscription_v3::Subscription::from(&held));
        let second = older(2, 2, &subscription_v2::Subscription::from(&held));
        let bytes = older(2, 1, &subscription_v1::Subscription::from(&held));
        let record = Record::Subscription(Arc::new(held.clone()));
        prop_assert_eq!(from_bytes(&to_bytes(&record)).expect("own bytes"), record.clone());
        prop_assert_eq!(from_bytes(&fourth).expect("own bytes"), record.clone());
        prop_assert_eq!(from_bytes(&third).expect("own bytes"), record);
        let mut before = held;
        if before.state.is_parked() {
            before.state = State::Active;
        }
        let record = Record::Subscription(Arc::new(before.clone()));
        prop_assert_eq!(from_bytes(&second).expect("own bytes"), record);
        std::sync::Arc::make_mut(&mut before.wish.policy).hold = None;
        let record = Record::Subscription(Arc::new(before));
        prop_assert_eq!(from_bytes(&bytes).expect("own bytes"), record);
    }

    #[test]
    fn secrets_read_back(held in subscriptions(), keys in keys(), asked in accesses()) {
        let mut held = held;
        held.wish.signing = Signing::StandardWebhooks(keys);
        if let Sink::Http { access, .. } = &mut held.wish.sink {
            **access = asked;
        }
        let record = Record::Subscription(Arc::new(held));
        prop_assert_eq!(from_bytes(&to_bytes(&record)).expect("own bytes"), record);
    }

    #[test]
    fn a_dead_letter_of_version_2_reads_back(letter in letters(&Reason::ALL[..5])) {
        let bytes = older(8, 2, &delivery_v2::DeadLetter::from(&letter));
        let read = from_bytes(&bytes).expect("own bytes");
        prop_assert_eq!(read, Record::DeadLetter(Arc::new(letter)));
    }

    #[test]
    fn progress_of_version_1_reads_back(matched in any::<u64>(), number in any::<u32>()) {
        let (lagging, caught_up) = (vec![(number, matched)], vec![number]);
        let held = Progress { matched, lagging, caught_up, ..Progress::default() };
        let bytes = older(9, 1, &delivery_v1::Progress::from(&held));
        let read = from_bytes(&bytes).expect("own bytes");
        prop_assert_eq!(read, Record::Progress(Arc::new(held)));
    }

    #[test]
    fn a_retry_of_version_1_reads_back(held in retries()) {
        let bytes = older(6, 1, &delivery_v1::Retry::from(&held));
        let read = from_bytes(&bytes).expect("own bytes");
        prop_assert_eq!(read, Record::Retry(Arc::new(held)));
    }

    #[test]
    fn a_dead_letter_reads_back(letter in letters(&Reason::ALL)) {
        let record = Record::DeadLetter(Arc::new(letter));
        prop_assert_eq!(from_bytes(&to_bytes(&record)).expect("own bytes"), record);
    }

    #[test]
    fn a_dead_letter_of_version_1_reads_back(letter in letters(&Reason::ALL[..4])) {
        let reason = Reason::ALL.iter().position(|reason| *reason == letter.reason);
        let held = delivery_v1::DeadLetter {
            subscription: letter.subscription,
            subscription_id: letter.subscription_id.clone(),
            offset: letter.offset,
            at: letter.at.as_millisecond(),
            reason: u8::try_from(reason.expect("one of all")).expect("few"),
            attempts: letter.attempts.iter().map(delivery_v1::Attempt::from).collect(),
        };
        let read = from_bytes(&older(8, 1, &held)).expect("own bytes");
        prop_assert_eq!(read, Record::DeadLetter(Arc::new(letter)));
    }

    #[test]
    fn every_other_kind_reads_back(record in prop_oneof![others(), of_jobs()]) {
        prop_assert_eq!(from_bytes(&to_bytes(&record)).expect("own bytes"), record);
    }
}
