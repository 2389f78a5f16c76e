//! Looking at what would be delivered: who says no to an event, and the requests that would be
//! made of it. Sends nothing, stores nothing; bounded in time and in what it shows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::Error;
use super::attempt::Tools;
use super::request::{Made, Occasion, Unmade};
use crate::clock::{self, Stopwatch};
use crate::domain::delivery::{Reason, Sent, is_too_old};
use crate::domain::encoding::Encoding;
use crate::domain::event::Event;
use crate::domain::filter::Facts;
use crate::domain::objection::{By, Objection};
use crate::domain::record::{Entry, Record};
use crate::domain::subscription::Subscription;
use crate::domain::template::{Fault, Rendered, Response, Template};
use crate::domain::{Offset, Timestamp};

/// Looks at the same time.
const LOOKS_MAX: usize = 2;

/// After this time a look ends where it is.
const LOOK_TIME_MAX: Duration = Duration::from_secs(2);

/// A look that has shown so many bytes of requests and reasons ends where it is.
const LOOK_BYTES_MAX: usize = 4 << 20;

/// The longest part of one request's body that is shown.
pub(super) const BODY_SHOWN_MAX: usize = 256 << 10;

/// Looks at what would be delivered. Clones share it.
#[derive(Debug, Clone)]
pub struct Preview {
    tools: Arc<Tools>,
    /// Looks take a core each.
    permits: Arc<Semaphore>,
}

/// An event to look at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its place in the log, if it has one.
    pub offset: Option<Offset>,
    /// When it was stored, or would be.
    pub at: Timestamp,
    /// The event.
    pub event: Arc<Event>,
}

/// What came of a look at one event.
#[derive(Debug)]
pub struct Seen {
    /// The event.
    pub subject: Subject,
    /// What says no to it.
    pub objection: Option<Objection>,
    /// It is older than `policy.max_age`: it would be given up.
    pub is_too_old: bool,
    /// It would not be sent before this time, which lies ahead.
    pub delayed_until: Option<Timestamp>,
    /// What would be sent, if nothing says no.
    pub requests: Vec<Planned>,
}

/// What a step of a delivery would do.
#[derive(Debug)]
pub enum Planned {
    /// Send this request.
    Request(Sent),
    /// Store this event.
    Emit(Box<Event>),
    /// Nothing: the delivery would be given up here.
    Fault {
        /// Why.
        reason: Reason,
        /// JSON pointer into the subscription.
        pointer: String,
        /// What is wrong.
        detail: String,
    },
    /// Nobody can say: it depends on these parts of answers to earlier steps.
    Unknown(Vec<String>),
}

/// What a look came to.
#[derive(Debug)]
pub struct Sight<T> {
    /// What was seen, in the order in which it was to be looked at.
    pub seen: Vec<T>,
    /// Everything was looked at: neither time nor room was used up.
    pub is_whole: bool,
}

impl Subject {
    /// The event of an entry, if it is one.
    pub fn of(entry: &Entry) -> Option<Self> {
        let Record::Event(event) = &entry.record else { return None };
        Some(Self { offset: Some(entry.offset), at: entry.at, event: event.clone() })
    }
}

impl Preview {
    pub(super) fn new(tools: Arc<Tools>) -> Self {
        Self { tools, permits: Arc::new(Semaphore::new(LOOKS_MAX)) }
    }

    /// Looks at events as a subscription would get them.
    pub async fn look(
        &self,
        subscription: Subscription,
        subjects: Vec<Subject>,
    ) -> Result<Sight<Seen>, Error> {
        let tools = self.tools.clone();
        self.aside(move || {
            let look = Look { tools: &tools, subscription: &subscription };
            let mut bytes = 0;
            each(subjects, |subject| {
                let seen = look.see(subject);
                bytes += seen.requests.iter().map(Planned::weight).sum::<usize>();
                bytes += seen.objection.as_ref().map_or(0, |said| said.refusal.weight());
                (seen, bytes < LOOK_BYTES_MAX)
            })
        })
        .await
    }

    /// Asks subscriptions what says no to an event at its place in the log.
    pub async fn judge(
        &self,
        subject: Subject,
        subscriptions: Vec<Subscription>,
    ) -> Result<Sight<(Subscription, Option<Objection>)>, Error> {
        let tools = self.tools.clone();
        self.aside(move || {
            let facts = Facts::new(&subject.event);
            let offset = subject.offset.unwrap_or(Offset::MAX);
            let mut bytes = 0;
            each(subscriptions, |subscription| {
                let place = subscription.objection_to_place(offset, subject.at);
                let look = Look { tools: &tools, subscription: &subscription };
                let objection = place.or_else(|| look.objection(&facts));
                bytes += objection.as_ref().map_or(0, |said| said.refusal.weight());
                ((subscription, objection), bytes < LOOK_BYTES_MAX)
            })
        })
        .await
    }

    /// Looks away from those who wait for sockets.
    async fn aside<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_closed| Error::Closed)?;
        let looking = move || {
            let seen = look();
            // Held until the look is over, also when nobody waits any more.
            drop(permit);
            seen
        };
        match tokio::task::spawn_blocking(looking).await {
            Ok(seen) => Ok(seen),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_cancelled) => Err(Error::Closed),
        }
    }
}

/// Looks at one after the other until one says that it was the last, or the time is over.
fn each<T, S>(all: Vec<T>, mut look: impl FnMut(T) -> (S, bool)) -> Sight<S> {
    let (watch, count) = (Stopwatch::start(), all.len());
    let mut seen = Vec::with_capacity(count);
    for item in all {
        let (one, goes_on) = look(item);
        seen.push(one);
        if !goes_on || watch.elapsed() > LOOK_TIME_MAX {
            break;
        }
    }
    Sight { is_whole: seen.len() == count, seen }
}

/// A look through one subscription's eyes.
struct Look<'a> {
    tools: &'a Tools,
    subscription: &'a Subscription,
}

impl Look<'_> {
    fn see(&self, subject: Subject) -> Seen {
        let (now, event) = (clock::now(), &*subject.event);
        let objection = self.objection(&Facts::new(event));
        let requests = match objection {
            None => self.plan(&subject, now),
            Some(_) => Vec::new(),
        };
        let until = self.subscription.delayed_until(event);
        Seen {
            is_too_old: is_too_old(&self.subscription.wish.policy, subject.at, now),
            delayed_until: until.filter(|until| *until > now),
            subject,
            objection,
            requests,
        }
    }

    fn objection(&self, facts: &Facts<'_>) -> Option<Objection> {
        let topic = facts.event.topic.as_str();
        let owner = self.subscription.owner.as_deref();
        self.subscription.objection(facts).or_else(|| {
            let may_receive = self.tools.gate.owner_may_receive(owner, topic);
            let detail = format!("the owner has no grant subscribe for {topic}");
            (!may_receive).then(|| Objection::new(By::Grant, "/owner", detail))
        })
    }

    fn plan(&self, subject: &Subject, at: Timestamp) -> Vec<Planned> {
        let offset = subject.offset.unwrap_or_else(|| self.tools.reader.next_offset());
        let occasion = self.tools.first_time(self.subscription, &subject.event, offset, at);
        match &self.subscription.wish.encoding {
            Encoding::Template(template) => self.tools.plan_steps(template, &occasion),
            Encoding::Structured | Encoding::Binary | Encoding::Raw | Encoding::Batch(_) => {
                vec![Planned::of(occasion.alone(), "/sink")]
            }
        }
    }
}

impl Tools {
    /// The first attempt of a delivery.
    pub(super) fn first_time<'a>(
        &'a self,
        subscription: &'a Subscription,
        event: &'a Event,
        offset: Offset,
        at: Timestamp,
    ) -> Occasion<'a> {
        let (attempt, replay, test, vault) = (1, false, false, self.keyring.vault());
        let trace = clock::trace();
        Occasion { subscription, event, offset, attempt, replay, test, at, trace, vault }
    }

    fn plan_steps(&self, template: &Template, occasion: &Occasion<'_>) -> Vec<Planned> {
        let captures = occasion.subscription.wish.filter.captures(&Facts::new(occasion.event));
        // Stands for answers that no step asks about: those that do are not rendered.
        let responses = vec![Response::default(); template.steps()];
        let mut plan = Vec::new();
        for step in 0..template.steps() {
            let needs = template.answers_used(step);
            if !needs.is_empty() {
                plan.push(Planned::Unknown(needs.into_iter().collect()));
                continue;
            }
            let planned = match self.render(template, step, occasion, &captures, &responses) {
                Ok(Rendered::Request(request)) => {
                    let made = occasion.of_step(step, request);
                    Planned::of(made, &format!("/template/steps/{step}"))
                }
                Ok(Rendered::Emit(emitted)) => {
                    Planned::emitted(self.derive(occasion, step, &emitted), step)
                }
                Err(fault) => Planned::faulty(&fault),
            };
            let is_last = matches!(planned, Planned::Fault { .. });
            plan.push(planned);
            if is_last {
                break;
            }
        }
        plan
    }
}

impl Planned {
    fn of(made: Result<Made, Unmade>, pointer: &str) -> Self {
        match made {
            Ok(made) => Self::Request(made.shown(BODY_SHOWN_MAX)),
            Err(unmade) => {
                let (pointer, detail) = (pointer.to_owned(), unmade.to_string());
                Self::Fault { reason: Reason::Template, pointer, detail }
            }
        }
    }

    /// A step that cannot be rendered.
    pub(super) fn faulty(fault: &Fault) -> Self {
        let (reason, pointer) = (Reason::Template, format!("/template{}", fault.place));
        Self::Fault { reason, pointer, detail: fault.problem.to_string() }
    }

    /// What a step that emits comes to.
    pub(super) fn emitted(derived: Result<Event, (Reason, String)>, step: usize) -> Self {
        match derived {
            Ok(event) => Self::Emit(Box::new(event)),
            Err((reason, detail)) => {
                let pointer = format!("/template/steps/{step}/emit");
                Self::Fault { reason, pointer, detail }
            }
        }
    }

    /// Bytes that it takes to show, roughly.
    fn weight(&self) -> usize {
        match self {
            Self::Request(sent) => {
                let headers = sent.headers.iter().map(|(name, value)| name.len() + value.len());
                sent.url.len() + headers.sum::<usize>() + sent.body.bytes.len()
            }
            Self::Emit(event) => event.weight(),
            Self::Fault { .. } | Self::Unknown(_) => 256,
        }
    }
}
