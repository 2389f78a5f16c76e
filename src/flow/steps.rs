//! A template's steps, in order, from the first that is not done: requests are sent, events are
//! handed to the writer. What is done is not done again.

use std::collections::BTreeMap;

use super::Error;
use super::attempt::{Run, Tried, Unsent, unmakeable};
use crate::domain::delivery::{Outcome, Reason};
use crate::domain::event::Event;
use crate::domain::filter::Facts;
use crate::domain::template::{
    Context, Defaults, Emitted, Part, Refused, Rendered, Response, Template, derive,
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
    ) -> Result<Tried, Unsent> {
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
                    let made = self.occasion(event, &subscription).of_step(step, request);
                    let made = made.map_err(unmakeable)?;
                    let of_server = made.url.origin().ascii_serialization() == *self.task.server;
                    let (tried, answer) = self.send(made, of_server).await?;
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
        let context = Context {
            facts: &Facts::new(event),
            captures,
            subscription: &self.task.subscription,
            responses: &self.task.begin.responses,
            keys: &self.tools.templates.keys,
            output_bytes_max: self.tools.templates.output_max,
        };
        template.render(self.step, &context).map_err(|fault| unmakeable(fault.to_string()))
    }

    /// Keeps what later steps may use of an answer.
    fn capture(&self, template: &Template, answer: Option<&Answer>) -> Response {
        let mut response = Response::default();
        let Some(answer) = answer else { return response };
        let held: usize = self.task.begin.responses.iter().map(weight).sum();
        let mut room = self.tools.templates.capture_max.saturating_sub(held);
        for part in template.captured(self.step) {
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

    /// Has a derived event stored. Its id is the same at every try, so that it is stored once.
    async fn emit(&self, emitted: &Emitted, parent: &Event) -> Result<Tried, Unsent> {
        let subscription = &self.task.subscription;
        let (number, offset) = (subscription.number, self.task.begin.offset);
        let id = format!("{number}-{offset}-{}", self.step);
        let source = format!("/v1/subscriptions/{}", subscription.id);
        let defaults = Defaults { id: &id, source: &source, time: self.at, offset };
        let event = derive(emitted, parent, defaults, self.tools.templates.hops_max);
        let event = event.map_err(|refused| match refused {
            Refused::TooManyHops { .. } => Unsent::Unmakeable(Reason::Hops, refused.to_string()),
            Refused::Invalid(_) => unmakeable(refused.to_string()),
        })?;
        let owner = subscription.owner.as_deref();
        if !self.tools.gate.owner_may_publish(owner, event.topic.as_str()) {
            let topic = event.topic.as_str();
            return Err(unmakeable(format!("the owner has no grant publish for {topic}")));
        }
        match self.tools.ingest.publish(event).await {
            Ok(_receipt) => Ok(self.done()),
            Err(Error::Refused(refusal)) => Err(unmakeable(refusal.to_string())),
            Err(error) => Err(Unsent::Unready(error.to_string())),
        }
    }

    fn done(&self) -> Tried {
        let outcome = Outcome::Answered { status: EMITTED, retry_after: None };
        Tried { attempt: self.attempt(outcome), request: None, of_server: false }
    }
}

fn weight(response: &Response) -> usize {
    let headers = response.headers.iter().map(|(name, value)| name.len() + value.len());
    let body = response.body.as_ref().map_or(0, |body| body.to_string().len());
    headers.sum::<usize>() + body
}
