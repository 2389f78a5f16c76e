//! Version 1 of the subscription record. Frozen: never changed, only followed by a version 2.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use super::envelope::{malformed, millis, time};
use crate::domain::access::Access;
use crate::domain::encoding::Encoding;
use crate::domain::filter::Filter;
use crate::domain::lease::{Asked, Lease};
use crate::domain::policy::{self, Class, OnExhausted, OnGone, Ordering};
use crate::domain::sign::{Key, Keys};
use crate::domain::sink::{Method, Sink};
use crate::domain::subscription::{self as domain, End, Signing, Start, State, Wish};

#[derive(Serialize, Deserialize)]
pub(super) struct Subscription {
    id: String,
    number: u32,
    version: u64,
    owner: Option<String>,
    name: Option<String>,
    labels: BTreeMap<String, String>,
    /// The filter in its public JSON form.
    filter: String,
    url: String,
    method: String,
    headers: BTreeMap<String, String>,
    encoding: String,
    secret: Option<String>,
    asked: LeaseAsked,
    lease: Option<(u64, i64)>,
    start: StartAt,
    policy: Policy,
    state: Standing,
    created_at: i64,
    updated_at: i64,
}

#[derive(Serialize, Deserialize)]
enum LeaseAsked {
    Default,
    Seconds(u64),
    Forever,
}

#[derive(Serialize, Deserialize)]
enum StartAt {
    Now,
    Earliest,
    Offset(u64),
}

#[derive(Serialize, Deserialize)]
enum Standing {
    Active,
    Paused,
    Expired(i64),
    Gone(i64),
    Revoked(i64),
    Deleted(i64),
}

#[derive(Serialize, Deserialize)]
struct Policy {
    timeout_ms: u64,
    max_in_flight: u32,
    rate_per_second: Option<u32>,
    ordering: u8,
    retry_ms: Vec<u64>,
    retry_on: Vec<String>,
    ignore: Vec<String>,
    end_on_gone: bool,
    drop_on_exhausted: bool,
    max_age_ms: Option<u64>,
}

impl From<&domain::Subscription> for Subscription {
    fn from(held: &domain::Subscription) -> Self {
        // What version 1 cannot say, later ones do.
        let (url, method, headers) = match &held.wish.sink {
            Sink::Http { url, method, headers, access } => {
                let mut headers = headers.clone();
                headers.extend(access.headers.iter().filter_map(|(name, value)| {
                    let value = String::from_utf8(value.as_open()?.to_vec()).ok()?;
                    Some((name.clone(), value))
                }));
                (url.as_str(), *method, headers)
            }
            Sink::Steps => ("http://steps.invalid/", Method::Post, BTreeMap::new()),
        };
        Self {
            id: held.id.clone(),
            number: held.number,
            version: held.version,
            owner: held.owner.clone(),
            name: held.wish.name.clone(),
            labels: held.wish.labels.clone(),
            filter: held.wish.filter.print().to_string(),
            url: url.to_owned(),
            method: method.as_str().to_owned(),
            headers,
            encoding: match &held.wish.encoding {
                Encoding::Batch(_) | Encoding::Template(_) => Encoding::Structured.as_str(),
                encoding => encoding.as_str(),
            }
            .to_owned(),
            secret: match &held.wish.signing {
                Signing::None => None,
                Signing::StandardWebhooks(keys) => keys.newest.reveal(),
            },
            asked: match held.wish.lease {
                // `Keep` is resolved before anything is stored.
                Asked::Default | Asked::Keep => LeaseAsked::Default,
                Asked::Seconds(seconds) => LeaseAsked::Seconds(seconds),
                Asked::Forever => LeaseAsked::Forever,
            },
            lease: held.lease.map(|lease| (lease.seconds, lease.expires_at.as_millisecond())),
            start: match held.wish.start {
                Start::Now => StartAt::Now,
                Start::Earliest => StartAt::Earliest,
                Start::Offset(offset) => StartAt::Offset(offset),
            },
            policy: Policy::from(&*held.wish.policy),
            state: match held.state {
                // What version 1 cannot say, version 3 does.
                State::Active | State::Parked(_) => Standing::Active,
                State::Paused => Standing::Paused,
                State::Ended(End::Expired, at) => Standing::Expired(at.as_millisecond()),
                State::Ended(End::Gone, at) => Standing::Gone(at.as_millisecond()),
                State::Ended(End::Revoked, at) => Standing::Revoked(at.as_millisecond()),
                State::Ended(End::Deleted, at) => Standing::Deleted(at.as_millisecond()),
            },
            created_at: held.created_at.as_millisecond(),
            updated_at: held.updated_at.as_millisecond(),
        }
    }
}

impl TryFrom<Subscription> for domain::Subscription {
    type Error = Error;

    fn try_from(held: Subscription) -> Result<Self, Error> {
        let filter: serde_json::Value = serde_json::from_str(&held.filter).map_err(malformed)?;
        let key = held.secret.as_deref().map(Key::parse).transpose()?;
        let (headers, access) = Access::of_headers(held.headers);
        let ended = |why, at| Ok::<_, Error>(State::Ended(why, time(at)?));
        Ok(Self {
            id: held.id,
            number: held.number,
            version: held.version,
            owner: held.owner,
            wish: Wish {
                name: held.name,
                labels: held.labels,
                filter: Filter::parse(&filter)?,
                sink: Sink::Http {
                    url: held.url.parse().map_err(malformed)?,
                    method: Method::parse(&held.method)?,
                    headers,
                    access: Box::new(access),
                },
                encoding: Encoding::parse(&held.encoding)?,
                signing: key.map_or(Signing::None, |key| Signing::StandardWebhooks(Keys::new(key))),
                lease: match held.asked {
                    LeaseAsked::Default => Asked::Default,
                    LeaseAsked::Seconds(seconds) => Asked::Seconds(seconds),
                    LeaseAsked::Forever => Asked::Forever,
                },
                start: match held.start {
                    StartAt::Now => Start::Now,
                    StartAt::Earliest => Start::Earliest,
                    StartAt::Offset(offset) => Start::Offset(offset),
                },
                policy: Arc::new(held.policy.try_into()?),
            },
            lease: match held.lease {
                None => None,
                Some((seconds, at)) => Some(Lease { seconds, expires_at: time(at)? }),
            },
            state: match held.state {
                Standing::Active => State::Active,
                Standing::Paused => State::Paused,
                Standing::Expired(at) => ended(End::Expired, at)?,
                Standing::Gone(at) => ended(End::Gone, at)?,
                Standing::Revoked(at) => ended(End::Revoked, at)?,
                Standing::Deleted(at) => ended(End::Deleted, at)?,
            },
            created_at: time(held.created_at)?,
            updated_at: time(held.updated_at)?,
        })
    }
}

impl From<&policy::Policy> for Policy {
    fn from(held: &policy::Policy) -> Self {
        let texts = |classes: &[Class]| classes.iter().map(Class::to_string).collect();
        Self {
            timeout_ms: millis(held.timeout),
            max_in_flight: held.max_in_flight,
            rate_per_second: held.rate_per_second,
            ordering: match held.ordering {
                Ordering::None => 0,
                Ordering::Key => 1,
                Ordering::Strict => 2,
            },
            retry_ms: held.retry.iter().copied().map(millis).collect(),
            retry_on: texts(&held.retry_on),
            ignore: texts(&held.ignore),
            end_on_gone: held.on_gone == OnGone::End,
            drop_on_exhausted: held.on_exhausted == OnExhausted::Drop,
            max_age_ms: held.max_age.map(millis),
        }
    }
}

impl TryFrom<Policy> for policy::Policy {
    type Error = Error;

    fn try_from(held: Policy) -> Result<Self, Error> {
        let classes = |texts: Vec<String>| -> Result<Vec<Class>, Error> {
            texts.iter().map(|text| Class::parse(text).map_err(Error::from)).collect()
        };
        Ok(Self {
            timeout: Duration::from_millis(held.timeout_ms),
            max_in_flight: held.max_in_flight,
            rate_per_second: held.rate_per_second,
            ordering: match held.ordering {
                0 => Ordering::None,
                1 => Ordering::Key,
                2 => Ordering::Strict,
                other => return Err(malformed(format!("ordering {other}"))),
            },
            retry: held.retry_ms.into_iter().map(Duration::from_millis).collect(),
            retry_on: classes(held.retry_on)?,
            ignore: classes(held.ignore)?,
            on_gone: if held.end_on_gone { OnGone::End } else { OnGone::Fail },
            on_exhausted: match held.drop_on_exhausted {
                true => OnExhausted::Drop,
                false => OnExhausted::DeadLetter,
            },
            max_age: held.max_age_ms.map(Duration::from_millis),
            hold: None,
            key: None,
            delay_until: None,
            sample: None,
        })
    }
}
