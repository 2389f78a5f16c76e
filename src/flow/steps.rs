//! A template's steps, in order, from the first that is not done: requests are sent, events are
//! handed to the writer. What is done is not done again.

use std::collections::BTreeMap;

use super::Error;
use super::attempt::{Run, Tools, unmakeable};
use super::parcel::{Carried, Unsent};
use super::request::Occasion;
use crate::domain::delivery::{Outcome, Reason};
use crate::domain::event::Event;
use crate::domain::filter::Facts;
use crate::domain::template::{
    Context, Defaults, Emitted, Fault, Part, Refused, Rendered, Response, Template, derive,
};
use crate::net::dial::Answer;

/// The status of a step that emits: what the hub answers to a publisher.
const EMITTED: u16 = 201;

impl Run<'_> {
    /// Takes the steps that are not done yet.
    pub(super) async fn take_steps(
        &mut self,
        template: &Template,
        event: &Event,
    ) -> Result<Carried, Unsent> {
        let captures = {
            let facts = Facts::new(event);
            self.task.subscription.wish.filter.captures(&facts)
        };
        let mut last = None;
        for step in self.task.begin.responses.len()..template.steps() {
            self.step = step;
            let (tried, response) = match self.render(template, event, &captures)? {
                Rendered::Request(request) => {
                    let subscription = self.task.subscription.clone();
                    let made = match self.occasion(event, &subscription).of_step(step, request) {
                        Ok(made) => made,
                        Err(unmade) => return self.unmade(unmade),
                    };
                    let of_server = made.url.origin().ascii_serialization() == *self.task.server;
                    let kept = made.clone();
                    let again = || Some(kept.sent());
                    let (tried, answer) = self.send(made, of_server, again).await?;
                    let response = self.capture(template, answer.as_ref());
                    (tried, response)
                }
                Rendered::Emit(emitted) => (self.emit(&emitted, event).await?, Response::default()),
            };
            let policy = &self.task.subscription.wish.policy;
            if !policy.counts_as_done(&tried.attempt.outcome) {
                return Ok(tried);
            }
            self.task.begin.responses.push(response);
            last = Some(tried);
        }
        // All steps were done before: the hub stopped between the last one and the note of it.
        Ok(last.unwrap_or_else(|| self.done()))
    }

    fn render(
        &self,
        template: &Template,
        event: &Event,
        captures: &BTreeMap<String, String>,
    ) -> Result<Rendered, Unsent> {
        let occasion = self.occasion(event, &self.task.subscription);
        let responses = &self.task.begin.responses;
        let rendered = self.tools.render(template, self.step, &occasion, captures, responses);
        rendered.map_err(|fault| unmakeable(fault.to_string()))
    }

    /// Keeps what later steps may use of an answer.
    fn capture(&self, template: &Template, answer: Option<&Answer>) -> Response {
        answer.map_or_else(Response::default, |answer| {
            self.tools.capture(template, self.step, answer, &self.task.begin.responses)
        })
    }

    /// Has a derived event stored.
    async fn emit(&self, emitted: &Emitted, parent: &Event) -> Result<Carried, Unsent> {
        let occasion = self.occasion(parent, &self.task.subscription);
        let event = self.tools.derive(&occasion, self.step, emitted);
        let event = event.map_err(|(reason, why)| Unsent::Unmakeable(reason, why))?;
        match self.tools.ingest.publish(event).await {
            Ok(_receipt) => Ok(self.done()),
            Err(Error::Refused(refusal)) => Err(unmakeable(refusal.to_string())),
            Err(error) => Err(Unsent::Unready(error.to_string())),
        }
    }

    fn done(&self) -> Carried {
        let outcome = Outcome::Answered { status: EMITTED, retry_after: None };
        Carried { attempt: self.attempt(outcome), request: None, of_server: false }
    }
}

/// What a step makes: the same for a delivery, for a preview and for a test.
impl Tools {
    /// Renders a step, given what the steps before it were answered.
    pub(super) fn render(
        &self,
        template: &Template,
        step: usize,
        occasion: &Occasion<'_>,
        captures: &BTreeMap<String, String>,
        responses: &[Response],
    ) -> Result<Rendered, Fault> {
        let context = Context {
            facts: &Facts::new(occasion.event),
            captures,
            subscription: occasion.subscription,
            responses,
            keys: self.keyring.hmac(),
            output_bytes_max: self.templates.output_max,
        };
        template.render(step, &context)
    }

    /// The parts of a step's answer that later steps may use, beside those of the steps before.
    pub(super) fn capture(
        &self,
        template: &Template,
        step: usize,
        answer: &Answer,
        before: &[Response],
    ) -> Response {
        let mut response = Response::default();
        let held: usize = before.iter().map(weight).sum();
        let mut room = self.templates.capture_max.saturating_sub(held);
        for part in template.captured(step) {
            match part {
                Part::Status => response.status = Some(answer.status.as_u16()),
                Part::Headers => {
                    for (name, value) in &answer.headers {
                        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                        let bytes = name.as_str().len() + value.len();
                        let Some(rest) = room.checked_sub(bytes) else { continue };
                        room = rest;
                        response.headers.insert(name.to_string(), value);
                    }
                }
                // One that is too long is as good as none: half of it would be another value.
                Part::Body if answer.body.len() <= room => {
                    room -= answer.body.len();
                    let text = || String::from_utf8_lossy(&answer.body).into_owned().into();
                    let value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| text());
                    response.body = Some(value);
                }
                Part::Body => {}
            }
        }
        response
    }

    /// The event that a step derives, unless it may not be: why, then. Its id is the same at every
    /// try, so that it is stored once.
    pub(super) fn derive(
        &self,
        occasion: &Occasion<'_>,
        step: usize,
        emitted: &Emitted,
    ) -> Result<Event, (Reason, String)> {
        let Occasion { subscription, event: parent, offset, at: time, .. } = *occasion;
        let id = format!("{}-{offset}-{step}", subscription.number);
        let source = format!("/v1/subscriptions/{}", subscription.id);
        let defaults = Defaults { id: &id, source: &source, time, offset };
        let event = derive(emitted, parent, defaults, self.templates.hops_max);
        let event = event.map_err(|refused| match refused {
            Refused::TooManyHops { .. } => (Reason::Hops, refused.to_string()),
            Refused::Invalid(_) => (Reason::Template, refused.to_string()),
        })?;
        let topic = event.topic.as_str();
        match self.gate.owner_may_publish(subscription.owner.as_deref(), topic) {
            true => Ok(event),
            false => Err((Reason::Template, format!("the owner has no grant publish for {topic}"))),
        }
    }
}

fn weight(response: &Response) -> usize {
    let headers = response.headers.iter().map(|(name, value)| name.len() + value.len());
    let body = response.body.as_ref().map_or(0, |body| body.to_string().len());
    headers.sum::<usize>() + body
}
