//! The rules that each request is held against by itself. What is under way beside it is the
//! ledger's.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings::domain::delivery::Outcome;
use tidings::domain::event::Event;
use tidings::domain::policy::{OnGone, Ordering};
use tidings::domain::record::Entry;
use tidings::domain::sink::Sink;
use tidings::domain::subscription::{Start, State, Subscription};
use tidings::domain::{Offset, Timestamp};

use crate::model::Model;
use crate::oracle::Fault;
use crate::wishes::order_key;

/// A delivery: the subscription's number and the event's offset.
pub(crate) type Name = (u32, Offset);

/// A request as the hub starts it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) number: u32,
    /// The events that are sent.
    pub(crate) events: Vec<Entry>,
    /// Each event's attempt, counted from 1.
    pub(crate) attempts: BTreeMap<Offset, usize>,
    pub(crate) probe: bool,
    pub(crate) replay: bool,
}

/// A subscription as the hub knows it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What it was from which offset on; the last is in force.
    pub(crate) versions: Vec<(Offset, Subscription)>,
    pub(crate) gone: bool,
    /// The last start in this life and the rate then.
    pub(crate) started: Option<(Timestamp, Option<u32>)>,
    /// Until when its target wants to be left alone.
    pub(crate) hold: Option<(Timestamp, String)>,
    /// By key: the last event of those that arrived for the first time in this life.
    pub(crate) newest: BTreeMap<String, Offset>,
}

impl Known {
    /// Whether it ever had another filter.
    pub(crate) fn changed_filter(&self) -> bool {
        let filters = self.versions.iter().map(|(_, held)| &held.wish.filter);
        filters.clone().zip(filters.skip(1)).any(|(one, next)| one != next)
    }
}

/// How a delivery stands in this life of the process.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) spent: usize,
    /// Attempts that do not count: 410 waits for the end to be written.
    pub(crate) extra: usize,
    pub(crate) concluded: bool,
    /// It may be: the last attempt failed, and the next would have come too late.
    pub(crate) aged: bool,
    /// It waited when the process began: the cursor may stand before it and come to it again.
    pub(crate) restored: bool,
}

/// What an outcome makes of a delivery, as the policy has it.
pub(crate) fn settle(standing: &mut Standing, held: &Subscription, outcome: &Outcome) {
    let policy = &held.wish.policy;
    let worth = match outcome {
        // Be it that it goes to another target by now.
        Outcome::Answered { status: 410, .. } if policy.on_gone == OnGone::End => {
            standing.extra += 1;
            return;
        }
        Outcome::Answered { status, .. } => {
            matches!(status, 408 | 425 | 429) || (500..600).contains(status)
        }
        Outcome::Failed(_) => true,
        Outcome::Refused(_) => false,
    };
    let last = standing.spent > policy.retry.len();
    standing.concluded = is_done(outcome) || !worth || last;
    standing.aged = policy.max_age.is_some();
}

pub(crate) fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered { status, .. } if (200..300).contains(status))
}

/// Active, or parked, and within the lease.
pub(crate) fn check_window(held: &Subscription, now: Timestamp) -> Result<(), Fault> {
    let number = held.number;
    if !matches!(held.state, State::Active | State::Parked(_)) {
        return Err(format!("{number} is {:?} and is sent to", held.state));
    }
    match held.lease {
        Some(lease) if lease.expires_at <= now => {
            Err(format!("{number} is sent to at {now}, its lease ended {}", lease.expires_at))
        }
        _ => Ok(()),
    }
}

/// Not faster than its rate, not before its target wants to hear of it again.
pub(crate) fn check_pace(known: &Known, held: &Subscription, now: Timestamp) -> Result<(), Fault> {
    let rate = held.wish.policy.rate_per_second;
    if let (Some(rate), Some((started, before))) = (rate, known.started)
        && before == Some(rate)
    {
        let pace = Duration::from_secs(1) / rate;
        if now.duration_since(started).unsigned_abs() < pace {
            return Err(format!("{} starts again within {pace:?}", held.number));
        }
    }
    match &known.hold {
        Some((until, url)) if *until > now && *url == url_of(held) => {
            Err(format!("{} is to be left alone until {until}", held.number))
        }
        _ => Ok(()),
    }
}

/// The event is in the log as it is sent, matches what was asked for once, and lies where it was
/// asked for.
pub(crate) fn check_own(
    known: &Known,
    request: &Request,
    entry: &Entry,
    model: &Model,
    redriven: bool,
) -> Result<(), Fault> {
    let name = (request.number, entry.offset);
    let event = entry.event().ok_or_else(|| format!("{name:?} is no event"))?;
    if model.event(entry.offset) != Some(event) {
        return Err(format!("{name:?} is not what was accepted"));
    }
    if !known.versions.iter().any(|(_, held)| held.wish.filter.matches(event)) {
        return Err(format!("{name:?} matches nothing"));
    }
    let first = known.versions.first().map_or(0, |(created, held)| begins(*created, held));
    match entry.offset < first && !request.replay && !redriven {
        true => Err(format!("{name:?} lies before {first}, where it begins")),
        false => Ok(()),
    }
}

/// Neither too late nor too early.
pub(crate) fn check_time(
    held: &Subscription,
    known: &Known,
    request: &Request,
    entry: &Entry,
    now: Timestamp,
) -> Result<(), Fault> {
    let name = (held.number, entry.offset);
    let age = now.duration_since(entry.at).unsigned_abs();
    if held.wish.policy.max_age.is_some_and(|max| age > max) && !request.replay {
        return Err(format!("{name:?} is sent {age:?} after it was stored"));
    }
    let late = known.versions.iter().all(|(_, it)| it.wish.policy.delay_until.is_some());
    let until = entry.event().and_then(delayed_until).filter(|_| late);
    match until {
        Some(until) if until > now => Err(format!("{name:?} is sent before {until}")),
        _ => Ok(()),
    }
}

/// When the publisher wants an event to be sent.
pub(crate) fn delayed_until(event: &Event) -> Option<Timestamp> {
    let data: serde_json::Value = serde_json::from_slice(&event.data.as_ref()?.bytes).ok()?;
    data.get("at")?.as_str()?.parse().ok()
}

/// What a strict or keyed order goes by.
pub(crate) fn key_of(held: &Subscription, entry: &Entry) -> Option<String> {
    let subject = entry.event().and_then(|event| event.subject.as_deref());
    match held.wish.policy.ordering {
        Ordering::None => None,
        Ordering::Key => order_key(held, subject).map(str::to_owned),
        Ordering::Strict => Some(String::new()),
    }
}

/// Where a subscription begins that was created at an offset.
pub(crate) fn begins(created: Offset, held: &Subscription) -> Offset {
    match held.wish.start {
        Start::Now => created + 1,
        Start::Earliest => 0,
        Start::Offset(from) => from,
    }
}

pub(crate) fn url_of(held: &Subscription) -> String {
    match &held.wish.sink {
        Sink::Http { url, .. } => url.to_string(),
        Sink::Steps => String::new(),
    }
}
