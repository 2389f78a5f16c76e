//! One attempt of one delivery: encode, judge the address, sign, send. The order is fixed.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::Gate;
use super::ingest::Ingest;
use super::keyring::Keyring;
use super::parcel::{Carried, Parcel, Report, Task, Unsent};
use super::request::{Made, Occasion, Unmade};
use super::strand::Begin;
use crate::clock::{self, Stopwatch};
use crate::config;
use crate::domain::Timestamp;
use crate::domain::delivery::{Answer, Attempt, Excerpt, Outcome, Reason, Sent};
use crate::domain::encoding::Encoding;
use crate::domain::event::Event;
use crate::domain::record::Entry;
use crate::domain::subscription::Subscription;
use crate::net::dial::{self, Client, Failure};
use crate::store::Reader;

/// The longest part of an answer's body, and of its headers, that is kept with a failed attempt.
const ANSWER_BODY_KEPT_MAX: usize = 1_024;
const ANSWER_HEADERS_KEPT_MAX: usize = 512;

/// What attempts work with. Shared by all of them.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) client: Client,
    pub(super) reader: Reader,
    pub(super) ingest: Ingest,
    pub(super) gate: Gate,
    pub(super) templates: Templates,
    pub(super) keyring: Keyring,
}

/// What templates are rendered with and held to.
#[derive(Debug, Clone)]
pub(super) struct Templates {
    /// The most bytes that one step may make.
    pub(super) output_max: usize,
    /// The most bytes that all captures of one delivery may have.
    pub(super) capture_max: usize,
    /// The longest chain of derived events.
    pub(super) hops_max: u32,
}

impl Templates {
    pub(super) fn new(config: &config::Templates) -> Self {
        Self {
            output_max: config.output_max.bytes(),
            capture_max: config.capture_max.bytes(),
            hops_max: config.hops_max,
        }
    }
}

/// Carries an attempt out.
pub(super) async fn run(mut task: Task, tools: Arc<Tools>) -> Report {
    let (at, watch) = (clock::now(), Stopwatch::start());
    let parcel = task.pack(&tools.reader, at).await;
    let mut run = Run { task, tools: &tools, at, watch, trace: clock::trace(), step: 0 };
    let result = match parcel.unsent() {
        Some(why) => Err(why.clone()),
        None => run.deliver(&parcel).await,
    };
    run.task.report(parcel, result)
}

/// An attempt under way.
pub(super) struct Run<'a> {
    pub(super) task: Task,
    pub(super) tools: &'a Tools,
    pub(super) at: Timestamp,
    watch: Stopwatch,
    /// The trace that it begins, where its event names none.
    trace: (u128, u64),
    /// The template's step that it is at.
    pub(super) step: usize,
}

impl Run<'_> {
    async fn deliver(&mut self, parcel: &Parcel) -> Result<Carried, Unsent> {
        let events: Vec<&Event> = parcel.entries().filter_map(Entry::event).collect();
        let Some(event) = events.first() else {
            let why = "the record is not an event".to_owned();
            return Err(Unsent::Unmakeable(Reason::EventGone, why));
        };
        let subscription = self.task.subscription.clone();
        let occasion = self.occasion(event, &subscription);
        let make = || match &subscription.wish.encoding {
            Encoding::Batch(_) => occasion.batch(&events),
            _ => occasion.whole(),
        };
        if let Encoding::Template(template) = &subscription.wish.encoding {
            // In a box: what is seldom needed does not make every attempt larger.
            return Box::pin(self.take_steps(template, event)).await;
        }
        let again = || make().ok().map(|made| made.sent());
        match make() {
            Ok(made) => self.send(made, true, again).await.map(|(tried, _answer)| tried),
            Err(unmade) => self.unmade(unmade),
        }
    }

    pub(super) fn occasion<'a>(
        &'a self,
        event: &'a Event,
        subscription: &'a Subscription,
    ) -> Occasion<'a> {
        let Begin { offset, number: attempt, .. } = self.task.begin;
        let (replay, vault) = (self.task.replay, self.tools.keyring.vault());
        let (test, at, trace) = (false, self.at, self.trace);
        Occasion { subscription, event, offset, attempt, replay, test, at, trace, vault }
    }

    /// Sends one request, to the server that the lane delivers to or to another one. The answer,
    /// where there was one. `again` shows the request: it is kept where it was no success.
    pub(super) async fn send(
        &self,
        mut made: Made,
        of_server: bool,
        again: impl Fn() -> Option<Sent>,
    ) -> Result<(Carried, Option<dial::Answer>), Unsent> {
        let policy = &self.task.subscription.wish.policy;
        let identity = made.identity.take();
        let request = made.into_request().map_err(unmakeable)?;
        let client = &self.tools.client;
        let sent = client.send_as(request, identity.as_ref(), policy.timeout).await;
        let (outcome, answer) = match sent {
            Ok(answer) => {
                let retry_after = retry_after(&answer.headers, self.at);
                let status = answer.status.as_u16();
                (Outcome::Answered { status, retry_after }, Some(answer))
            }
            Err(refused @ Failure::Refused { .. }) => (Outcome::Refused(refused.to_string()), None),
            Err(Failure::Failed(why)) => (Outcome::Failed(why), None),
            Err(Failure::Offline(why)) => return Err(Unsent::Offline(why)),
        };
        let is_done = policy.counts_as_done(&outcome);
        let mut attempt = self.attempt(outcome);
        let mut request = None;
        if !is_done {
            let part = |answer| excerpt(answer, ANSWER_HEADERS_KEPT_MAX, ANSWER_BODY_KEPT_MAX);
            attempt.answer = answer.as_ref().map(|answer| Box::new(part(answer)));
            request = again();
        }
        Ok((Carried { attempt, request, of_server }, answer))
    }

    /// What comes of it where there is no request. A secret that cannot be opened is an attempt
    /// that failed, by no fault of the target: the operator can bring the right key.
    pub(super) fn unmade(&self, unmade: Unmade) -> Result<Carried, Unsent> {
        match unmade {
            Unmade::Unfit(why) => Err(unmakeable(why)),
            Unmade::Locked(locked) => {
                let attempt = self.attempt(Outcome::Failed(locked.to_string()));
                Ok(Carried { attempt, request: None, of_server: false })
            }
        }
    }

    /// The attempt as it ended just now.
    pub(super) fn attempt(&self, outcome: Outcome) -> Attempt {
        let step = u32::try_from(self.step).unwrap_or(u32::MAX);
        Attempt { at: self.at, took: self.watch.elapsed(), outcome, step, answer: None }
    }
}

pub(super) fn unmakeable(why: String) -> Unsent {
    Unsent::Unmakeable(Reason::Template, why)
}

/// The part of an answer that is kept, or shown.
pub(super) fn excerpt(answer: &dial::Answer, headers_max: usize, body_max: usize) -> Answer {
    let (mut headers, mut left) = (Vec::new(), headers_max);
    for (name, value) in &answer.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let Some(rest) = left.checked_sub(name.as_str().len() + value.len()) else { continue };
        left = rest;
        headers.push((name.to_string(), value));
    }
    Answer { headers, body: Excerpt::of(&answer.body, body_max) }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(date.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().expect("valid");
        let check = |text: &str, expected: Option<u64>| {
            let headers =
                HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).expect("valid"))]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        };
        check("120", Some(120));
        check("Sat, 21 Nov 2026 10:00:30 GMT", Some(30));
        check("Sat, 21 Nov 2026 09:00:00 GMT", None);
        check("soon", None);
        check("-5", None);
    }
}
