//! Records of every shape, for properties. Never here: a property.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::json;
use smol_str::SmolStr;

use super::job_samples::job;
use super::samples::{at, event, subscription};
use crate::domain::Timestamp;
use crate::domain::access::{Access, Auth, Identity, Tls};
use crate::domain::attribute::Value;
use crate::domain::delivery::{Attempt, DeadLetter, Outcome, Reason, Retry};
use crate::domain::encoding::Encoding;
use crate::domain::event::{Data, Event, Form, Message, Origin};
use crate::domain::filter::Filter;
use crate::domain::gap::Missing;
use crate::domain::grant::{Grant, Grants};
use crate::domain::job::{Counts, Handed, Job, Skipped, State as JobState};
use crate::domain::lease::{Asked, Lease};
use crate::domain::letter::{Choice, Id};
use crate::domain::policy::{Class, OnExhausted, OnGone, Ordering, Policy};
use crate::domain::record::{Forgotten, Progress, Record, Redriven, Token, Why};
use crate::domain::secret::Secret;
use crate::domain::sign::{Key, Keys, Scheme};
use crate::domain::sink::{Method, Sink};
use crate::domain::subscription::{End, Signing, Start, State, Subscription};
use crate::domain::topic::Topic;

pub(super) fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

/// Both short enough to lie inside a `SmolStr` and too long for it.
pub(super) fn word() -> impl Strategy<Value = SmolStr> {
    "\\PC{0,30}".prop_map(SmolStr::from)
}

pub(super) fn time() -> impl Strategy<Value = Timestamp> {
    (-1_000_000_000_000i64..10_000_000_000_000).prop_map(at)
}

pub(super) fn span() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

pub(super) fn of<T: Clone + std::fmt::Debug + 'static>(
    values: &[T],
) -> impl Strategy<Value = T> + use<T> {
    proptest::sample::select(values.to_vec())
}

pub(super) fn events() -> impl Strategy<Value = Event> {
    let value = prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<i32>().prop_map(Value::Integer),
        word().prop_map(Value::String),
    ];
    let data = (vec(any::<u8>(), 0..40), of(&[Form::Json, Form::Text, Form::Binary]))
        .prop_map(|(bytes, form)| Data { bytes: Bytes::from(bytes), form });
    let message = (word(), any::<u8>(), any::<bool>(), option::of(word())).prop_flat_map(
        |(publisher, qos, utf8, response_topic)| {
            let rest = (option::of(vec(any::<u8>(), 0..9)), vec((word(), word()), 0..3));
            rest.prop_map(move |(correlation_data, user_properties)| {
                Box::new(Message {
                    publisher: publisher.clone(),
                    qos,
                    utf8,
                    response_topic: response_topic.clone(),
                    correlation_data: correlation_data.map(Bytes::from),
                    user_properties,
                })
            })
        },
    );
    let names = (word(), word(), word(), option::of(word()), option::of(word()));
    let rest = (vec((word(), value), 0..3), "[a-z]{1,5}(/[a-z0-9]{1,4}){0,3}", option::of(data));
    let origin = of(&[Origin::Raw, Origin::CloudEvent]);
    (names, rest, origin, option::of(message)).prop_map(|(names, rest, origin, message)| {
        let (id, source, kind, subject, dataschema) = names;
        let (extensions, topic, data) = rest;
        let topic = Topic::parse(&topic).expect("valid");
        Event {
            id,
            source,
            kind,
            subject,
            dataschema,
            extensions,
            topic,
            data,
            origin,
            message,
            ..event()
        }
    })
}

pub(super) fn policies() -> impl Strategy<Value = Policy> {
    let class = prop_oneof![
        (100u16..600).prop_map(Class::Status),
        (1u16..6).prop_map(Class::Hundred),
        Just(Class::Network),
    ];
    let limits = (span(), any::<u32>(), option::of(any::<u32>()), option::of(any::<u64>()));
    let ends = (
        of(&[OnGone::End, OnGone::Fail]),
        of(&[OnExhausted::DeadLetter, OnExhausted::Drop]),
        of(&[Ordering::None, Ordering::Key, Ordering::Strict]),
    );
    let lists = (vec(span(), 0..4), vec(class.clone(), 0..3), vec(class, 0..3));
    (limits, ends, lists, option::of(span())).prop_map(|(limits, ends, lists, max_age)| {
        let (timeout, max_in_flight, rate_per_second, hold) = limits;
        let (on_gone, on_exhausted, ordering) = ends;
        let (retry, retry_on, ignore) = lists;
        Policy {
            timeout,
            max_in_flight,
            rate_per_second,
            ordering,
            retry,
            retry_on,
            ignore,
            on_gone,
            on_exhausted,
            max_age,
            hold,
            key: None,
            delay_until: None,
            sample: None,
        }
    })
}

pub(super) fn subscriptions() -> impl Strategy<Value = Subscription> {
    let filters = [
        json!({"topic": "a/#"}),
        json!({"exact": {"type": "a"}}),
        json!({"all": [{"prefix": {"id": "a"}}, {"not": {"suffix": {"id": "b"}}}]}),
    ];
    let filters = filters.map(|filter| Filter::parse(&filter).expect("valid"));
    let sink = (of(&[Method::Post, Method::Put, Method::Patch]), btree_map(text(), text(), 0..3))
        .prop_map(|(method, headers)| {
            let url = "https://worker.lan/a?b=c".parse().expect("valid");
            let access = Box::default();
            Sink::Http { url, method, headers, access }
        });
    let signing = option::of(any::<[u8; 32]>()).prop_map(|key| match key {
        None => Signing::None,
        Some(key) => Signing::StandardWebhooks(Keys::new(Key::new(Scheme::V1, key))),
    });
    let asked = prop_oneof![
        Just(Asked::Default),
        Just(Asked::Forever),
        any::<u64>().prop_map(Asked::Seconds)
    ];
    let start =
        prop_oneof![Just(Start::Now), Just(Start::Earliest), any::<u64>().prop_map(Start::Offset)];
    let lease =
        (any::<u64>(), time()).prop_map(|(seconds, expires_at)| Lease { seconds, expires_at });
    let ends = of(&[End::Expired, End::Gone, End::Revoked, End::Deleted]);
    let state = prop_oneof![
        Just(State::Active),
        Just(State::Paused),
        time().prop_map(State::Parked),
        (ends, time()).prop_map(|(end, at)| State::Ended(end, at))
    ];
    let encoding = of(&[Encoding::Structured, Encoding::Binary, Encoding::Raw]);
    let ids = (text(), any::<u32>(), any::<u64>(), option::of(text()), option::of(text()));
    let wish = (of(&filters), sink, encoding, signing, policies(), asked, start);
    (ids, wish, option::of(lease), state, time()).prop_map(|(ids, wish, lease, state, at)| {
        let (id, number, version, owner, name) = ids;
        let mut held = Subscription { id, number, version, owner, lease, state, ..subscription() };
        held.updated_at = at;
        held.wish.name = name;
        let (filter, sink, encoding, signing, policy, asked, start) = wish;
        (held.wish.filter, held.wish.sink, held.wish.encoding) = (filter, sink, encoding);
        (held.wish.signing, held.wish.policy) = (signing, policy.into());
        (held.wish.lease, held.wish.start) = (asked, start);
        held
    })
}

pub(super) fn secret() -> impl Strategy<Value = Secret> {
    let bytes = (any::<bool>(), vec(any::<u8>(), 0..40));
    bytes.prop_map(|(open, bytes)| if open { Secret::Open(bytes) } else { Secret::Sealed(bytes) })
}

pub(super) fn accesses() -> impl Strategy<Value = Access> {
    let auth = prop_oneof![
        secret().prop_map(Auth::Bearer),
        (text(), secret()).prop_map(|(user, password)| Auth::Basic(user, password)),
        (text(), secret()).prop_map(|(name, value)| Auth::Header(name, value)),
    ];
    let identity = (text(), secret()).prop_map(|(certificate, key)| Identity { certificate, key });
    let tls =
        (option::of(text()), option::of(identity)).prop_map(|(ca, identity)| Tls { ca, identity });
    let headers = btree_map("key-[a-z]{3}", secret(), 0..3);
    (headers, option::of(auth), option::of(tls)).prop_map(|(headers, auth, tls)| Access {
        headers,
        auth,
        tls,
    })
}

pub(super) fn keys() -> impl Strategy<Value = Keys> {
    let key = || {
        (secret(), option::of(any::<[u8; 32]>())).prop_map(|(secret, public)| match public {
            None => Key::V1(secret),
            Some(public) => Key::V1a(secret, public),
        })
    };
    (key(), vec((key(), time()), 0..3)).prop_map(|(newest, older)| Keys { newest, older })
}

pub(super) fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let outcome = prop_oneof![
        (any::<u16>(), option::of(span()))
            .prop_map(|(status, retry_after)| Outcome::Answered { status, retry_after }),
        text().prop_map(Outcome::Failed),
        text().prop_map(Outcome::Refused),
    ];
    vec(
        (time(), span(), outcome).prop_map(|(at, took, outcome)| Attempt {
            at,
            took,
            outcome,
            step: 0,
            answer: None,
        }),
        0..4,
    )
}

pub(super) fn letters(reasons: &'static [Reason]) -> impl Strategy<Value = DeadLetter> {
    let place = (any::<u32>(), text(), any::<u64>());
    (place, time(), of(reasons), attempts()).prop_map(|(place, at, reason, attempts)| {
        let (subscription, subscription_id, offset) = place;
        DeadLetter {
            subscription,
            subscription_id,
            offset,
            at,
            reason,
            attempts,
            request: None,
            note: None,
            replay: false,
        }
    })
}

pub(super) fn retries() -> impl Strategy<Value = Retry> {
    (any::<u32>(), any::<u64>(), time(), attempts()).prop_map(|held| {
        let (subscription, offset, due, attempts) = held;
        let (delayed, replay, responses) = (false, false, vec![]);
        Retry { subscription, offset, due, attempts, delayed, replay, responses }
    })
}

pub(super) fn ids() -> impl Strategy<Value = Vec<Id>> {
    let id = (any::<u32>(), any::<u64>());
    vec(id.prop_map(|(subscription, offset)| Id { subscription, offset }), 0..4)
}

pub(super) fn jobs() -> impl Strategy<Value = Job> {
    let choice = (ids(), option::of(text()), option::of(text()), option::of(time()));
    let choice = choice.prop_map(|(ids, subscription, code, since)| {
        let until = since;
        Choice { ids, subscription, code, since, until }
    });
    let state = prop_oneof![
        Just(JobState::Running),
        time().prop_map(JobState::Done),
        time().prop_map(JobState::Cancelled),
    ];
    let numbers = (any::<u64>(), option::of(any::<u32>()), any::<[u64; 4]>(), any::<[u64; 2]>());
    (choice, state, numbers).prop_map(|(choice, state, numbers)| {
        let (id, rate_per_second, [handed, delivered, died, dropped], skipped) = numbers;
        let counts = Counts { handed, delivered, died, dropped };
        let [event_gone, subscription_ended] = skipped;
        let skipped = Skipped { event_gone, subscription_ended };
        Job { id, choice, rate_per_second, state, counts, skipped, ..job() }
    })
}

pub(super) fn of_jobs() -> impl Strategy<Value = Record> {
    let redriven = (any::<u64>(), time(), ids(), option::of(text()));
    let forgotten = (ids(), vec(any::<u64>(), 0..4));
    let why = of(&[Why::Purged, Why::Expired, Why::Dropped]);
    prop_oneof![
        jobs().prop_map(|job| Record::Job(Arc::new(job))),
        redriven.prop_map(|(job, due, ids, key)| {
            let handed = |letter| Handed { letter, key: key.clone() };
            let letters = ids.into_iter().map(handed).collect();
            Record::Redriven(Arc::new(Redriven { job, due, letters }))
        }),
        (forgotten, why).prop_map(|((letters, jobs), why)| {
            Record::Forgotten(Arc::new(Forgotten { letters, jobs, why }))
        }),
    ]
}

pub(super) fn others() -> impl Strategy<Value = Record> {
    let grants = ["publish:a/#", "subscribe:+", "manage", "admin"];
    let grants = grants.map(|grant| Grant::parse(grant).expect("valid"));
    let token = (text(), text(), vec(of(&grants), 0..4), any::<[u8; 32]>(), time());
    let numbers = (any::<u32>(), any::<u64>(), any::<u64>());
    let marks = (vec((any::<u32>(), any::<u64>()), 0..4), vec(any::<u32>(), 0..4));
    prop_oneof![
        (any::<u32>(), text()).prop_map(|(number, id)| Record::SubscriptionRemoved { number, id }),
        text().prop_map(|id| Record::TokenRevoked { id }),
        token.prop_map(|(id, name, grants, digest, created_at)| {
            Record::Token(Arc::new(Token { id, name, grants: Grants(grants), digest, created_at }))
        }),
        retries().prop_map(|retry| Record::Retry(Arc::new(retry))),
        (any::<u32>(), any::<u64>())
            .prop_map(|(subscription, offset)| Record::Settled { subscription, offset }),
        (any::<u64>(), marks).prop_map(|(matched, (lagging, caught_up))| {
            Record::Progress(Arc::new(Progress {
                matched,
                lagging: lagging.clone(),
                caught_up: caught_up.clone(),
                replays: lagging,
                replays_over: caught_up,
            }))
        }),
        numbers.prop_map(|(subscription, from, to)| {
            Record::Gap { subscription, missing: Missing { from, to } }
        }),
    ]
}
