//! The way in of one connection: from a PUBLISH to the log, and its answer once the log has it on
//! disk. Answers go out in the order in which the messages came (MQTT 5 section 4.6).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::domain::command::Refusal;
use crate::domain::event::Event;
use crate::domain::topic::Topic;
use crate::flow::{Error, Ingest, Receipt, Ticket};

use super::decode::Publish;
use super::handshake::Client;
use super::publish;
use super::reason::Reason;
use super::wire::Version;

type Storing = Pin<Box<dyn Future<Output = Result<Receipt, Error>> + Send>>;

/// Messages that are on their way into the log, in order.
#[derive(Default)]
pub(super) struct Inbound {
    waiting: VecDeque<Waiting>,
    front: Option<(u16, Storing)>,
    /// The newest message waits for room in the queue to the log.
    blocked: bool,
    answers: Vec<Answer>,
}

/// What became of a message. The identifier is 0 with QoS 0.
pub(super) struct Answer {
    pub(super) id: u16,
    pub(super) verdict: Verdict,
}

/// Whether a message is stored.
pub(super) enum Verdict {
    Stored,
    Refused { reason: Reason, words: Option<String> },
}

struct Waiting {
    id: u16,
    step: Step,
}

enum Step {
    Ticket(Ticket),
    Storing(Storing),
    Refused { reason: Reason, words: Option<String> },
}

impl Inbound {
    /// Whether another message may be taken in.
    pub(super) fn has_room(&self, messages_max: u16) -> bool {
        let open = self.waiting.len() + usize::from(self.front.is_some());
        !self.blocked && open < usize::from(messages_max)
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.front.is_none()
    }

    /// Takes a message in. An error ends the connection; messages that can be refused for
    /// themselves get their answer in their turn.
    pub(super) fn accept(
        &mut self,
        publish: &Publish<'_>,
        client: &Client,
        ingest: &Ingest,
    ) -> Result<(), Reason> {
        check_offered(publish, client.version)?;
        let step = match judge(publish, client) {
            Ok(event) => match ingest.offer(event) {
                Ok(ticket) => Step::Ticket(ticket),
                Err(Error::Busy) => match judge(publish, client) {
                    Ok(event) => self.wait_for_room(event, ingest),
                    Err(refused) => refused,
                },
                Err(error) => refusal(error),
            },
            // Nobody could be told about a message of QoS 0, except that it was one too wrong.
            Err(Step::Refused { reason, .. })
                if publish.qos == 0 && reason != Reason::NOT_AUTHORIZED =>
            {
                return Err(reason);
            }
            Err(refused) => refused,
        };
        self.waiting.push_back(Waiting { id: publish.id, step });
        Ok(())
    }

    /// Waits until at least one answer is there. Safe to drop: nothing is taken out before it is
    /// kept in `answers`.
    pub(super) async fn answered(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    /// The answers so far.
    pub(super) fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    fn wait_for_room(&mut self, event: Event, ingest: &Ingest) -> Step {
        self.blocked = true;
        let ingest = ingest.clone();
        Step::Storing(Box::pin(async move { ingest.publish(event).await }))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some((id, storing)) = &mut self.front {
                let Poll::Ready(result) = storing.as_mut().poll(context) else { break };
                let verdict =
                    result.map_or_else(|error| refusal(error).into(), |_| Verdict::Stored);
                self.answers.push(Answer { id: *id, verdict });
                self.front = None;
            }
            let Some(Waiting { id, step }) = self.waiting.pop_front() else {
                // The message that waited for room was the newest of all.
                self.blocked = false;
                break;
            };
            match step {
                Step::Ticket(ticket) => self.front = Some((id, Box::pin(ticket.wait()))),
                Step::Storing(storing) => self.front = Some((id, storing)),
                refused @ Step::Refused { .. } => {
                    self.answers.push(Answer { id, verdict: refused.into() });
                }
            }
        }
        if self.answers.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl From<Step> for Verdict {
    fn from(step: Step) -> Self {
        match step {
            Step::Refused { reason, words } => Self::Refused { reason, words },
            Step::Ticket(_) | Step::Storing(_) => Self::Stored,
        }
    }
}

/// What was not offered in the CONNACK ends the connection when it is used all the same.
fn check_offered(publish: &Publish<'_>, version: Version) -> Result<(), Reason> {
    if publish.qos > 1 {
        return Err(Reason::QOS);
    }
    if publish.retain && version == Version::V5 {
        return Err(Reason::RETAIN);
    }
    // Not a name that is refused but no topic name at all (MQTT-3.3.2-2).
    if publish.topic.contains(['+', '#']) {
        return Err(Reason::TOPIC_NAME);
    }
    Ok(())
}

fn judge(publish: &Publish<'_>, client: &Client) -> Result<Event, Step> {
    let refused = |reason| {
        move |error: crate::domain::Invalid| Step::Refused { reason, words: Some(error.detail) }
    };
    let topic = Topic::parse(publish.topic).map_err(refused(Reason::TOPIC_NAME))?;
    if !client.caller.grants.may_publish(topic.as_str()) {
        return Err(Step::Refused { reason: Reason::NOT_AUTHORIZED, words: None });
    }
    publish::event(publish, topic, &client.source).map_err(refused(Reason::PAYLOAD_FORMAT))
}

fn refusal(error: Error) -> Step {
    let reason = match &error {
        Error::Refused(Refusal::Invalid(_)) => Reason::PAYLOAD_FORMAT,
        Error::Refused(_) => Reason::IMPLEMENTATION,
        Error::Busy | Error::DiskFull => Reason::QUOTA,
        Error::Store(_) | Error::Closed => Reason::UNSPECIFIED,
    };
    Step::Refused { reason, words: Some(error.to_string()) }
}
