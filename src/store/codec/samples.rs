//! Records for tests: every kind, and of each kind every variant that a release could have
//! written. Only ever appended to: the corpus of old files was made of these.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{job_samples, samples_wishes};
use crate::domain::Timestamp;
use crate::domain::attribute::Value;
use crate::domain::delivery::{Answer, Attempt, DeadLetter, Excerpt, Outcome, Reason, Retry, Sent};
use crate::domain::encoding::Encoding;
use crate::domain::event::{Data, Event, Form, Message, Origin};
use crate::domain::filter::Filter;
use crate::domain::gap::Missing;
use crate::domain::grant::{Grant, Grants};
use crate::domain::lease::{Asked, Lease};
use crate::domain::policy::{Class, OnExhausted, OnGone, Ordering, Policy};
use crate::domain::record::{Progress, Record, Token};
use crate::domain::replay::Replay;
use crate::domain::sign::{Key, Keys, Scheme};
use crate::domain::sink::{Method, Sink};
use crate::domain::subscription::{End, Signing, Start, State, Subscription, Wish};
use crate::domain::template::Response;
use crate::domain::topic::Topic;

/// A time so many milliseconds after 1970.
pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).expect("in range")
}

/// An event with everything that an event can have.
pub(super) fn event() -> Event {
    Event {
        id: "1".into(),
        source: "/s".into(),
        kind: "a.b".into(),
        subject: Some("x".into()),
        time: Some("2026-11-21T10:00:00+01:00".into()),
        datacontenttype: Some("application/json".into()),
        dataschema: None,
        extensions: vec![
            ("n".into(), Value::Integer(-5)),
            ("ok".into(), Value::Boolean(true)),
            ("s".into(), Value::String("t".into())),
        ],
        topic: Topic::parse("a/b").expect("valid"),
        data: Some(Data { bytes: Bytes::from_static(b"{\"a\": 1}"), form: Form::Json }),
        origin: Origin::Raw,
        message: Some(Box::new(Message {
            publisher: "t1/c1".into(),
            qos: 1,
            utf8: true,
            response_topic: Some("r".into()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            user_properties: vec![("k".into(), "v".into())],
        })),
    }
}

/// A subscription with everything that a subscription can have.
pub(super) fn subscription() -> Subscription {
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
                access: Box::default(),
            },
            encoding: Encoding::Binary,
            signing: Signing::StandardWebhooks(Keys::new(Key::new(Scheme::V1, [7; 32]))),
            lease: Asked::Seconds(3_600),
            start: Start::Offset(12),
            policy: Arc::new(Policy {
                ordering: Ordering::Key,
                ignore: vec![Class::Status(412), Class::Network, Class::Hundred(4)],
                max_age: Some(Duration::from_secs(60)),
                rate_per_second: Some(5),
                hold: Some(512 << 20),
                ..Policy::default()
            }),
        },
        lease: Some(Lease { seconds: 3_600, expires_at: at(1_700_000_000_000) }),
        state: State::Ended(End::Gone, at(1_700_000_000_001)),
        created_at: at(1),
        updated_at: at(2),
    }
}

/// An attempt of each outcome.
pub(super) fn attempts() -> Vec<Attempt> {
    let attempt = |outcome| {
        let took = Duration::from_millis(12);
        Attempt { at: at(5), took, outcome, step: 0, answer: None }
    };
    vec![
        attempt(Outcome::Answered { status: 503, retry_after: Some(Duration::from_secs(9)) }),
        attempt(Outcome::Failed("connection reset".to_owned())),
        attempt(Outcome::Refused("loopback".to_owned())),
    ]
}

/// One record of each kind.
pub(super) fn every_kind() -> Vec<Record> {
    let mut all = vec![
        Record::Event(Arc::new(event())),
        Record::Subscription(Arc::new(subscription())),
        Record::SubscriptionRemoved { number: 7, id: "sub_1".to_owned() },
        Record::Token(Arc::new(Token {
            id: "t1".to_owned(),
            name: "ci".to_owned(),
            grants: Grants(vec![Grant::parse("publish:a/#").expect("valid"), Grant::Admin]),
            digest: [9; 32],
            created_at: at(4),
        })),
        Record::TokenRevoked { id: "t1".to_owned() },
        Record::Retry(Arc::new(Retry {
            subscription: 7,
            offset: 8,
            due: at(6),
            attempts: attempts(),
            delayed: false,
            replay: false,
            responses: vec![],
        })),
        Record::Settled { subscription: 7, offset: 8 },
        Record::DeadLetter(Arc::new(DeadLetter {
            subscription: 7,
            subscription_id: "sub_1".to_owned(),
            offset: 8,
            at: at(7),
            reason: Reason::Permanent,
            attempts: attempts(),
            request: None,
            note: None,
            replay: false,
        })),
        Record::Progress(Arc::new(Progress {
            matched: 9,
            lagging: vec![(1, 2)],
            caught_up: vec![3],
            ..Progress::default()
        })),
        Record::Gap { subscription: 7, missing: Missing { from: 10, to: 1 << 33 } },
    ];
    all.extend(job_samples::every_kind());
    all
}

/// One record of each kind, then one for each variant of their parts.
pub(super) fn every_variant() -> Vec<Record> {
    let mut all = every_kind();
    all.extend(events().into_iter().map(|event| Record::Event(Arc::new(event))));
    all.extend(wishes().into_iter().enumerate().map(|(index, wish)| {
        let number = u32::try_from(index).expect("few");
        let id = format!("wish-{index}");
        let held = Subscription { id, number, wish, state: State::Active, ..subscription() };
        Record::Subscription(Arc::new(held))
    }));
    all.extend(standings().into_iter().map(|held| Record::Subscription(Arc::new(held))));
    all.extend(deliveries());
    all
}

fn events() -> Vec<Event> {
    let data = |bytes: &'static [u8], form| Some(Data { bytes: Bytes::from_static(bytes), form });
    let plain = Event {
        subject: None,
        time: None,
        datacontenttype: None,
        extensions: vec![],
        data: None,
        origin: Origin::CloudEvent,
        message: None,
        ..event()
    };
    let by_mqtt = |qos| {
        let message = Message { publisher: "/c".into(), qos, ..Message::default() };
        Event { message: Some(Box::new(message)), origin: Origin::Raw, ..plain.clone() }
    };
    vec![
        plain.clone(),
        Event { dataschema: Some("urn:x".into()), ..plain.clone() },
        Event { data: data(b"", Form::Text), ..plain.clone() },
        Event { data: data("grün\n".as_bytes(), Form::Text), ..plain.clone() },
        Event { data: data(&[0, 0xff, 0xc3, b'T', b'D', b'F', b'1'], Form::Binary), ..by_mqtt(0) },
        Event { data: data(b"[ 1,2 ]", Form::Json), ..by_mqtt(2) },
        Event { topic: Topic::parse("ü/日本").expect("valid"), ..plain },
    ]
}

fn wishes() -> Vec<Wish> {
    let wish = || subscription().wish;
    let to = |method| Sink::Http {
        url: "http://[2001:db8::1]:8080/a%20b".parse().expect("valid"),
        method,
        headers: BTreeMap::new(),
        access: Box::default(),
    };
    let filter = |value| Filter::parse(&value).expect("valid");
    let mut all = vec![
        Wish { name: None, labels: BTreeMap::new(), ..wish() },
        Wish { signing: Signing::None, ..wish() },
        Wish { lease: Asked::Default, start: Start::Now, ..wish() },
        Wish { lease: Asked::Forever, start: Start::Earliest, ..wish() },
        Wish { filter: filter(json!({"exact": {"type": "a", "source": "/s"}})), ..wish() },
        Wish {
            filter: filter(json!({"any": [
                {"all": [{"prefix": {"subject": "x"}}, {"suffix": {"type": ".z"}}]},
                {"topic": "#"}]})),
            ..wish()
        },
    ];
    all.extend([Method::Post, Method::Put, Method::Patch].map(|m| Wish { sink: to(m), ..wish() }));
    let encodings = [Encoding::Structured, Encoding::Binary, Encoding::Raw];
    all.extend(encodings.map(|encoding| Wish { encoding, ..wish() }));
    all.extend(policies().into_iter().map(|policy| Wish { policy: policy.into(), ..wish() }));
    all.extend(samples_wishes::added(&wish()));
    all
}

fn policies() -> Vec<Policy> {
    let ordered = |ordering| Policy { ordering, ..Policy::default() };
    vec![
        ordered(Ordering::None),
        ordered(Ordering::Key),
        ordered(Ordering::Strict),
        Policy { on_gone: OnGone::Fail, on_exhausted: OnExhausted::Drop, ..Policy::default() },
        Policy { retry: vec![], retry_on: vec![], max_in_flight: 1, ..Policy::default() },
        Policy { retry: vec![Duration::from_millis(1)], ..Policy::default() },
        Policy { hold: Some(0), ..Policy::default() },
        Policy { hold: Some(1 << 40), ..Policy::default() },
    ]
}

fn standings() -> Vec<Subscription> {
    let ended = |why| State::Ended(why, at(9));
    let states = [
        State::Active,
        State::Paused,
        ended(End::Expired),
        ended(End::Gone),
        ended(End::Revoked),
        ended(End::Deleted),
    ];
    let mut all: Vec<Subscription> = (100..)
        .zip(states)
        .map(|(number, state)| Subscription {
            id: state.as_str().to_owned() + &number.to_string(),
            number,
            state,
            ..subscription()
        })
        .collect();
    let id = "endless".to_owned();
    all.push(Subscription { id, number: 200, lease: None, owner: None, ..subscription() });
    let id = "parked".to_owned();
    all.push(Subscription { id, number: 201, state: State::Parked(at(5)), ..subscription() });
    all
}

fn deliveries() -> Vec<Record> {
    let grants = ["publish:#", "subscribe:+/b", "manage", "admin"];
    let grants = grants.map(|text| Grant::parse(text).expect("valid")).to_vec();
    let mut all = vec![Record::Token(Arc::new(Token {
        id: "t2".to_owned(),
        name: "n\u{fc}".to_owned(),
        grants: Grants(grants),
        digest: [255; 32],
        created_at: at(-1),
    }))];
    let offset = 1 << 32;
    all.push(Record::Retry(Arc::new(Retry {
        subscription: 1,
        offset,
        due: at(0),
        attempts: vec![],
        delayed: false,
        replay: false,
        responses: vec![],
    })));
    for (offset, reason) in (0..).zip(Reason::ALL.into_iter().take(5)) {
        let status = 404;
        let outcome = Outcome::Answered { status, retry_after: None };
        let attempts =
            vec![Attempt { at: at(3), took: Duration::ZERO, outcome, step: 0, answer: None }];
        let subscription_id = "s".to_owned();
        all.push(Record::DeadLetter(Arc::new(DeadLetter {
            subscription: 1,
            subscription_id,
            offset,
            at: at(8),
            reason,
            attempts,
            request: None,
            note: None,
            replay: false,
        })));
    }
    all.push(Record::Progress(Arc::new(Progress::default())));
    let lagging = vec![(0, 0), (u32::MAX, 1 << 32)];
    all.push(Record::Progress(Arc::new(Progress {
        matched: 1 << 40,
        lagging,
        ..Progress::default()
    })));
    all.extend(detailed());
    all
}

/// What version 2 of the retry and version 3 of the dead letter added.
fn detailed() -> Vec<Record> {
    let body = Excerpt { bytes: Bytes::from_static(&[b'a', 0xff]), is_cut: true };
    let headers = vec![("server".to_owned(), "x".to_owned())];
    let answer = Some(Box::new(Answer { headers: headers.clone(), body: body.clone() }));
    let outcome = Outcome::Answered { status: 500, retry_after: None };
    let attempts = vec![Attempt { at: at(3), took: Duration::ZERO, outcome, step: 2, answer }];
    let (method, url) = ("POST".to_owned(), "http://a.lan/".to_owned());
    let request = Some(Sent { method, url, headers, body });
    let response = Response {
        status: Some(200),
        headers: BTreeMap::from([("etag".to_owned(), "1".to_owned())]),
        body: Some(json!({"id": [1.5, null]})),
    };
    let responses = vec![response, Response::default()];
    let retry = Retry {
        subscription: 1,
        offset: 3,
        due: at(9),
        attempts: attempts.clone(),
        delayed: false,
        replay: true,
        responses,
    };
    let late = Retry { attempts: vec![], delayed: true, responses: vec![], ..retry.clone() };
    let letter = |reason| DeadLetter {
        subscription: 1,
        subscription_id: "s".to_owned(),
        offset: 9,
        at: at(8),
        reason,
        attempts: attempts.clone(),
        request: request.clone(),
        note: Some("hops".to_owned()),
        replay: true,
    };
    let letters =
        [Reason::Template, Reason::Hops].map(|reason| Record::DeadLetter(Arc::new(letter(reason))));
    let mut all = vec![Record::Retry(Arc::new(retry)), Record::Retry(Arc::new(late))];
    all.extend(letters.into_iter().chain(job_samples::every_variant()));
    all.extend([
        Record::Replay(Arc::new(Replay { subscription: 7, from: 1, to: 9, cursor: 4 })),
        Record::ReplayEnded { subscription: 7 },
        Record::ExpiryTold { subscription: 7 },
        Record::Progress(Arc::new(Progress {
            replays: vec![(7, 5)],
            replays_over: vec![8, 9],
            ..Progress::default()
        })),
    ]);
    all
}
