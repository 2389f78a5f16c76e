//! `GET /v1/dead-letters`: deliveries that were given up, newest first. Shows what was tried and
//! answered, never an event's data.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

use super::listing::{decode, encode};
use super::subscriptions::may_see;
use crate::domain::delivery::{Attempt, DeadLetter, Outcome};
use crate::domain::lease::after;
use crate::domain::letter::Choice;
use crate::domain::record::Entry;
use crate::domain::{Offset, Timestamp};
use crate::faces::auth::need_manage;
use crate::faces::problem::Problem;
use crate::faces::query::{Query, invalid};
use crate::faces::router::Hub;
use crate::flow::Caller;
use crate::store::DeadLetterKey;

const KEYS: [&str; 6] = ["subscription", "since", "until", "code", "limit", "page"];

const LIMIT_MAX: usize = 500;

const LIMIT_DEFAULT: usize = 100;

/// Most letters looked at for a page.
const SCAN_MAX: usize = 10_000;

/// Letters read at a time.
const CHUNK: usize = 256;

/// `GET /v1/dead-letters`
pub(crate) async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, Problem> {
    need_manage(&caller)?;
    let query = Query::parse(raw.as_deref(), &KEYS)?;
    let limit = query.number("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT)?;
    let choice = choice(&query)?;
    let mut before = query.get("page").map(parse_page).transpose()?;
    // What was given up at or after the end is passed over.
    let past = |until| after(until, Duration::from_millis(1));
    before = before.or(choice.until.map(|until| (past(until), 0, 0)));
    let mut sight = Sight::new(&hub, &caller);
    let (mut found, mut looked_at) = (Vec::new(), 0);
    let next = 'scan: loop {
        let chunk = hub.reader.dead_letters(before, CHUNK).await?;
        if chunk.is_empty() {
            break None;
        }
        for letter in chunk {
            if choice.since.is_some_and(|since| letter.at < since) {
                break 'scan None;
            }
            if found.len() == limit || looked_at == SCAN_MAX {
                break 'scan before.map(print_page);
            }
            looked_at += 1;
            before = Some((letter.at, letter.subscription, letter.offset));
            if choice.has(&letter) && sight.reaches(&letter).await? {
                found.push(print(&hub, &caller, &letter).await?);
            }
        }
    };
    Ok(Json(json!({ "dead_letters": found, "next": next })))
}

/// The letters that a query means.
pub(crate) fn choice(query: &Query) -> Result<Choice, Problem> {
    let text = |key| query.get(key).map(str::to_owned);
    let (subscription, code) = (text("subscription"), text("code"));
    let (since, until) = (query.time("since")?, query.time("until")?);
    Ok(Choice { ids: vec![], subscription, code, since, until })
}

/// Which letters a caller may see: those of their own subscriptions, or all with `admin`.
pub(crate) struct Sight<'a> {
    hub: &'a Hub,
    caller: &'a Caller,
    /// Subscription number to verdict; at most one entry per letter looked at.
    known: HashMap<u32, bool>,
}

impl<'a> Sight<'a> {
    /// What a caller may see.
    pub(crate) fn new(hub: &'a Hub, caller: &'a Caller) -> Self {
        Self { hub, caller, known: HashMap::new() }
    }

    /// Whether the caller may see a letter.
    pub(crate) async fn reaches(&mut self, letter: &DeadLetter) -> Result<bool, Problem> {
        if self.caller.grants.is_admin() {
            return Ok(true);
        }
        if let Some(verdict) = self.known.get(&letter.subscription) {
            return Ok(*verdict);
        }
        let held = self.hub.reader.subscription(&letter.subscription_id).await?;
        let verdict = held
            .is_some_and(|held| held.number == letter.subscription && may_see(self.caller, &held));
        self.known.insert(letter.subscription, verdict);
        Ok(verdict)
    }
}

async fn print(hub: &Hub, caller: &Caller, letter: &DeadLetter) -> Result<Value, Problem> {
    let entry = entry(hub, caller, letter.offset).await?;
    let event = entry.as_ref().and_then(Entry::event).map(|event| {
        json!({
            "id": event.id,
            "source": event.source,
            "type": event.kind,
            "topic": event.topic.as_str(),
        })
    });
    Ok(json!({
        "id": letter.name().to_string(),
        "subscription": letter.subscription_id,
        "offset": letter.offset,
        "event": event,
        "code": letter.reason.code(),
        "note": letter.note,
        "at": letter.at.to_string(),
        "attempts": letter.attempts.iter().map(print_attempt).collect::<Value>(),
    }))
}

/// The event at an offset, if the log still has it and the caller may receive it.
pub(crate) async fn entry(
    hub: &Hub,
    caller: &Caller,
    offset: Offset,
) -> Result<Option<Entry>, Problem> {
    if offset < hub.reader.oldest_offset() {
        return Ok(None);
    }
    let found = hub.reader.read(offset, 1).await?.into_iter().next();
    let may_receive = |entry: &Entry| {
        entry.event().is_some_and(|event| caller.grants.may_receive(event.topic.as_str()))
    };
    Ok(found.filter(|entry| entry.offset == offset && may_receive(entry)))
}

/// An attempt in short.
pub(crate) fn print_attempt(attempt: &Attempt) -> Value {
    let took_ms = u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX);
    let mut value = json!({ "at": attempt.at.to_string(), "took_ms": took_ms });
    match &attempt.outcome {
        Outcome::Answered { status, .. } => value["status"] = json!(status),
        Outcome::Failed(problem) | Outcome::Refused(problem) => value["error"] = json!(problem),
    }
    value
}

fn print_page((at, subscription, offset): DeadLetterKey) -> String {
    encode(&format!("{}.{subscription}.{offset}", at.as_nanosecond()))
}

fn parse_page(page: &str) -> Result<DeadLetterKey, Problem> {
    let text = decode(page)?;
    let mut parts = text.split('.');
    let mut read = || {
        let at = Timestamp::from_nanosecond(parts.next()?.parse().ok()?).ok()?;
        let subscription: u32 = parts.next()?.parse().ok()?;
        let offset: Offset = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some((at, subscription, offset))
    };
    read().ok_or_else(|| invalid("page", "take it from the page before"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_reads_back() {
        let key = (Timestamp::from_nanosecond(1_700_000_000_123_456_789).expect("time"), 7, 42);
        assert_eq!(parse_page(&print_page(key)).expect("own"), key);
        for bad in ["", "*", &encode("1.2"), &encode("1.2.3.4"), &encode("a.b.c")] {
            assert!(parse_page(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_attempt_shows_its_status_or_its_error() {
        let check = |outcome: Outcome, member: &str, expected: Value| {
            let took = Duration::from_millis(12);
            let (at, step, answer) = (Timestamp::UNIX_EPOCH, 0, None);
            let printed = print_attempt(&Attempt { at, took, outcome, step, answer });
            assert_eq!((&printed[member], &printed["took_ms"]), (&expected, &json!(12)));
        };
        check(Outcome::Answered { status: 503, retry_after: None }, "status", json!(503));
        check(Outcome::Failed("reset".to_owned()), "error", json!("reset"));
        check(Outcome::Refused("loopback".to_owned()), "error", json!("loopback"));
    }
}
