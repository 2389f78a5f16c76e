//! Round trips, golden bytes and damage, for each record and version.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::Timestamp;
use crate::domain::attribute::Value;
use crate::domain::delivery::{Attempt, DeadLetter, Outcome, Reason, Retry};
use crate::domain::event::{Data, Event, Form, Message, Origin};
use crate::domain::filter::Filter;
use crate::domain::grant::{Grant, Grants};
use crate::domain::lease::{Asked, Lease};
use crate::domain::policy::{Class, Ordering, Policy};
use crate::domain::record::{Progress, Record, Token};
use crate::domain::sign::Secret;
use crate::domain::subscription::{
    Encoding, End, Method, Signing, Sink, Start, State, Subscription, Wish,
};
use crate::domain::topic::Topic;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).expect("in range")
}

fn event() -> Event {
    Event {
        id: "1".to_owned(),
        source: "/s".to_owned(),
        kind: "a.b".to_owned(),
        subject: Some("x".to_owned()),
        time: Some("2026-11-21T10:00:00+01:00".to_owned()),
        datacontenttype: Some("application/json".to_owned()),
        dataschema: None,
        extensions: vec![
            ("n".to_owned(), Value::Integer(-5)),
            ("ok".to_owned(), Value::Boolean(true)),
            ("s".to_owned(), Value::String("t".to_owned())),
        ],
        topic: Topic::parse("a/b").expect("valid"),
        data: Some(Data { bytes: Bytes::from_static(b"{\"a\": 1}"), form: Form::Json }),
        origin: Origin::Raw,
        message: Some(Box::new(Message {
            publisher: "t1/c1".to_owned(),
            qos: 1,
            utf8: true,
            response_topic: Some("r".to_owned()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            user_properties: vec![("k".to_owned(), "v".to_owned())],
        })),
    }
}

fn subscription() -> Subscription {
    Subscription {
        id: "sub_1".to_owned(),
        number: 7,
        version: 3,
        owner: Some("t1".to_owned()),
        wish: Wish {
            name: Some("thumbnailer".to_owned()),
            labels: BTreeMap::from([("team".to_owned(), "media".to_owned())]),
            filter: Filter::parse(&json!({"not": {"topic": "a/+"}})).expect("valid"),
            sink: Sink::Http {
                url: "https://worker.lan/hook?x=1".parse().expect("valid"),
                method: Method::Put,
                headers: BTreeMap::from([("x-site".to_owned(), "ob-7".to_owned())]),
            },
            encoding: Encoding::Binary,
            signing: Signing::StandardWebhooks(Secret::new([7; 32])),
            lease: Asked::Seconds(3_600),
            start: Start::Offset(12),
            policy: Policy {
                ordering: Ordering::Key,
                ignore: vec![Class::Status(412), Class::Network, Class::Hundred(4)],
                max_age: Some(Duration::from_secs(60)),
                rate_per_second: Some(5),
                ..Policy::default()
            },
        },
        lease: Some(Lease { seconds: 3_600, expires_at: at(1_700_000_000_000) }),
        state: State::Ended(End::Gone, at(1_700_000_000_001)),
        created_at: at(1),
        updated_at: at(2),
    }
}

fn attempts() -> Vec<Attempt> {
    let attempt = |outcome| Attempt { at: at(5), took: Duration::from_millis(12), outcome };
    vec![
        attempt(Outcome::Answered { status: 503, retry_after: Some(Duration::from_secs(9)) }),
        attempt(Outcome::Failed("connection reset".to_owned())),
        attempt(Outcome::Refused("loopback".to_owned())),
    ]
}

fn every_record() -> Vec<Record> {
    vec![
        Record::Event(Box::new(event())),
        Record::Subscription(Box::new(subscription())),
        Record::SubscriptionRemoved { number: 7, id: "sub_1".to_owned() },
        Record::Token(Token {
            id: "t1".to_owned(),
            name: "ci".to_owned(),
            grants: Grants(vec![Grant::parse("publish:a/#").expect("valid"), Grant::Admin]),
            digest: [9; 32],
            created_at: at(4),
        }),
        Record::TokenRevoked { id: "t1".to_owned() },
        Record::Retry(Retry { subscription: 7, offset: 8, due: at(6), attempts: attempts() }),
        Record::Settled { subscription: 7, offset: 8 },
        Record::DeadLetter(DeadLetter {
            subscription: 7,
            subscription_id: "sub_1".to_owned(),
            offset: 8,
            at: at(7),
            reason: Reason::Permanent,
            attempts: attempts(),
        }),
        Record::Progress(Progress { matched: 9, lagging: vec![(1, 2)], caught_up: vec![3] }),
    ]
}

#[test]
fn origin_and_message_are_independent() {
    for origin in [Origin::CloudEvent, Origin::Raw] {
        for message in [None, event().message] {
            let event = Record::Event(Box::new(Event { origin, message, ..event() }));
            assert_eq!(from_bytes(&to_bytes(&event)).expect("own bytes"), event);
        }
    }
}

#[test]
fn every_record_reads_back_as_it_was_written() {
    let mut bytes = Vec::new();
    let records = every_record();
    records.iter().for_each(|record| encode(record, &mut bytes));
    let mut rest = bytes.as_slice();
    for record in &records {
        assert_eq!(&decode(&mut rest).expect("own bytes"), record);
    }
    assert!(rest.is_empty());
}

/// If this fails, the format of a frozen version was changed: append a new version instead.
#[test]
fn the_bytes_of_version_1_never_change() {
    let digests: Vec<u32> =
        every_record().iter().map(|record| crc32fast::hash(&to_bytes(record))).collect();
    assert_eq!(digests, GOLDEN, "digests of the records' bytes");
    assert_eq!(
        to_bytes(&Record::Settled { subscription: 7, offset: 8 }),
        [7, 1, 12, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]
    );
}

const GOLDEN: [u32; 9] = [
    3993736264, 2236806409, 1070838733, 2962477996, 3814128581, 152468493, 30158744, 1326195980,
    3203946432,
];

#[test]
fn an_unknown_version_is_refused_with_the_release_it_needs() {
    let mut bytes = to_bytes(&every_record()[0]);
    bytes[1] = 2;
    let error = from_bytes(&bytes).expect_err("newer");
    assert_eq!(error, Error::Newer { kind: 1, version: 2 });
    assert!(error.to_string().contains("newer release"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = from_bytes(&bytes);
    }

    #[test]
    fn a_damaged_record_never_panics(which in 0usize..9, at in 0usize..400, bit in 0u8..8) {
        let mut bytes = to_bytes(&every_record()[which]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = from_bytes(&bytes);
    }
}
