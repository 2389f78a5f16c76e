//! Testing a subscription: an event of its own goes to the target exactly as a delivery would, and
//! the answer comes back to who asked. Stores nothing; spends no attempt, no rate, no trust.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;

use super::attempt::{self, Tools};
use super::preview::{BODY_SHOWN_MAX, Planned};
use super::request::{Made, Occasion, Unmade};
use crate::clock::{self, Stopwatch};
use crate::domain::delivery::{Answer, Outcome, Reason};
use crate::domain::encoding::Encoding;
use crate::domain::event::Event;
use crate::domain::filter::Facts;
use crate::domain::subscription::Subscription;
use crate::domain::template::{Rendered, Response, Template};
use crate::domain::trial;
use crate::net::dial;

/// Tests at the same time, all subscriptions together.
const TRIALS_MAX: usize = 8;

/// The longest part of an answer's headers, and of its body, that is shown.
const HEADERS_SHOWN_MAX: usize = 4_096;
const ANSWER_SHOWN_MAX: usize = 4_096;

/// Tests subscriptions. Clones share it.
#[derive(Debug, Clone)]
pub struct Trial {
    tools: Arc<Tools>,
    permits: Arc<Semaphore>,
}

/// What came of a test.
#[derive(Debug)]
pub struct Tried {
    /// The event that it was done with.
    pub event: Event,
    /// A delivery would have been done with that.
    pub is_delivered: bool,
    /// Each request and its answer, in order.
    pub exchanges: Vec<Exchange>,
}

/// A step of a test.
#[derive(Debug)]
pub struct Exchange {
    /// What was sent, or would have been.
    pub planned: Planned,
    /// What came back; `None` where nothing was sent.
    pub outcome: Option<Outcome>,
    /// The answer, if there was one.
    pub answer: Option<Answer>,
    /// How long it took.
    pub took: Duration,
}

impl Trial {
    pub(super) fn new(tools: Arc<Tools>) -> Self {
        Self { tools, permits: Arc::new(Semaphore::new(TRIALS_MAX)) }
    }

    /// Tests a subscription with some data. `None`: as many tests run as may.
    pub async fn run(&self, subscription: &Subscription, data: Option<&Value>) -> Option<Tried> {
        let _permit = self.permits.try_acquire().ok()?;
        let now = clock::now();
        let event = trial::event(&clock::sortable_id().to_string(), subscription, data, now);
        let offset = self.tools.reader.next_offset();
        let first = self.tools.first_time(subscription, &event, offset, now);
        let occasion = Occasion { test: true, ..first };
        let exchanges = match &subscription.wish.encoding {
            Encoding::Template(template) => self.take_steps(template, &occasion).await,
            Encoding::Structured | Encoding::Binary | Encoding::Raw | Encoding::Batch(_) => {
                let (exchange, _answer) = self.send(&occasion, occasion.alone(), "/sink").await;
                vec![exchange]
            }
        };
        let is_delivered = exchanges.iter().all(|exchange| is_done(subscription, exchange));
        Some(Tried { event, is_delivered, exchanges })
    }

    async fn take_steps(&self, template: &Template, occasion: &Occasion<'_>) -> Vec<Exchange> {
        let captures = occasion.subscription.wish.filter.captures(&Facts::new(occasion.event));
        let (mut exchanges, mut responses) = (Vec::new(), Vec::new());
        for step in 0..template.steps() {
            let rendered = self.tools.render(template, step, occasion, &captures, &responses);
            let (exchange, response) = match rendered {
                Ok(Rendered::Request(request)) => {
                    let made = occasion.of_step(step, request);
                    let pointer = format!("/template/steps/{step}");
                    let (exchange, answer) = self.send(occasion, made, &pointer).await;
                    let keep = |answer| self.tools.capture(template, step, &answer, &responses);
                    (exchange, answer.map(keep).unwrap_or_default())
                }
                Ok(Rendered::Emit(emitted)) => {
                    let derived = self.tools.derive(occasion, step, &emitted);
                    (Exchange::unsent(Planned::emitted(derived, step)), Response::default())
                }
                Err(fault) => (Exchange::unsent(Planned::faulty(&fault)), Response::default()),
            };
            let goes_on = is_done(occasion.subscription, &exchange);
            exchanges.push(exchange);
            responses.push(response);
            if !goes_on {
                break;
            }
        }
        exchanges
    }

    async fn send(
        &self,
        occasion: &Occasion<'_>,
        made: Result<Made, Unmade>,
        pointer: &str,
    ) -> (Exchange, Option<dial::Answer>) {
        let mut made = match made {
            Ok(made) => made,
            Err(unmade) => return (Exchange::unmade(pointer, unmade.to_string()), None),
        };
        let identity = made.identity.take();
        let planned = Planned::Request(made.shown(BODY_SHOWN_MAX));
        let request = match made.into_request() {
            Ok(request) => request,
            Err(detail) => return (Exchange::unmade(pointer, detail), None),
        };
        let watch = Stopwatch::start();
        let limit = occasion.subscription.wish.policy.timeout;
        let client = &self.tools.client;
        let (outcome, answer) = match client.send_as(request, identity.as_ref(), limit).await {
            Ok(answer) => {
                let (status, retry_after) = (answer.status.as_u16(), None);
                (Outcome::Answered { status, retry_after }, Some(answer))
            }
            Err(refused @ dial::Failure::Refused { .. }) => {
                (Outcome::Refused(refused.to_string()), None)
            }
            Err(failed) => (Outcome::Failed(failed.to_string()), None),
        };
        let shown = answer
            .as_ref()
            .map(|answer| attempt::excerpt(answer, HEADERS_SHOWN_MAX, ANSWER_SHOWN_MAX));
        let (outcome, took) = (Some(outcome), watch.elapsed());
        (Exchange { planned, outcome, answer: shown, took }, answer)
    }
}

/// Whether a delivery would go on after a step, or be done.
fn is_done(subscription: &Subscription, exchange: &Exchange) -> bool {
    match (&exchange.planned, &exchange.outcome) {
        (_, Some(outcome)) => subscription.wish.policy.counts_as_done(outcome),
        (Planned::Emit(_), None) => true,
        (Planned::Request(_) | Planned::Fault { .. } | Planned::Unknown(_), None) => false,
    }
}

impl Exchange {
    fn unsent(planned: Planned) -> Self {
        Self { planned, outcome: None, answer: None, took: Duration::ZERO }
    }

    fn unmade(pointer: &str, detail: String) -> Self {
        let (reason, pointer) = (Reason::Template, pointer.to_owned());
        Self::unsent(Planned::Fault { reason, pointer, detail })
    }
}
