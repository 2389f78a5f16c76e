//! The way in of one connection: from a PUBLISH to the log, and its answer once the log has it on
//! disk. Answers go out in the order in which the messages came (MQTT 5 section 4.6).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::domain::command::Refusal;
use crate::domain::event::Event;
use crate::domain::topic::Topic;
use crate::flow::{Error, Ingest, Receipt, Ticket};

use super::decode::Publish;
use super::handshake::Client;
use super::publish;
use super::reason::Reason;
use super::wire::Version;

/// Bytes of events that one connection may have on their way to the disk; one event may exceed it.
const BYTES_MAX: usize = 4 << 20;

/// Messages that are on their way into the log, in order.
#[derive(Default)]
pub(super) struct Inbound {
    waiting: VecDeque<Waiting>,
    /// Bytes of the events in `waiting`.
    bytes: usize,
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
    /// Bytes of its event, if it has one.
    weight: usize,
    step: Step,
}

enum Step {
    Ticket(Ticket),
    Storing(Pin<Box<dyn Future<Output = Result<Receipt, Error>> + Send>>),
    Judged(Verdict),
}

impl Inbound {
    /// Whether another message may be taken in.
    pub(super) fn has_room(&self, messages_max: u16) -> bool {
        let open = self.waiting.len();
        !self.blocked && self.bytes < BYTES_MAX && open < usize::from(messages_max)
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
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
        let (weight, step) = match judge(publish, client) {
            Ok(event) => (event.weight(), self.hand_over(event, publish, client, ingest)),
            // Nobody could be told about a message of QoS 0, except that it was one too wrong.
            Err(Verdict::Refused { reason, .. })
                if publish.qos == 0 && reason != Reason::NOT_AUTHORIZED =>
            {
                return Err(reason);
            }
            Err(refused) => (0, Step::Judged(refused)),
        };
        self.bytes += weight;
        self.waiting.push_back(Waiting { id: publish.id, weight, step });
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

    fn hand_over(
        &mut self,
        event: Event,
        publish: &Publish<'_>,
        client: &Client,
        ingest: &Ingest,
    ) -> Step {
        match ingest.offer(event) {
            Ok(ticket) => Step::Ticket(ticket),
            Err(Error::Busy) => match judge(publish, client) {
                Ok(event) => self.wait_for_room(event, ingest),
                Err(refused) => Step::Judged(refused),
            },
            Err(error) => Step::Judged(refusal(error)),
        }
    }

    fn wait_for_room(&mut self, event: Event, ingest: &Ingest) -> Step {
        self.blocked = true;
        let ingest = ingest.clone();
        Step::Storing(Box::pin(async move { ingest.publish(event).await }))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(oldest) = self.waiting.front_mut() {
            let Poll::Ready(verdict) = oldest.step.poll(context) else { break };
            self.bytes -= oldest.weight;
            self.answers.push(Answer { id: oldest.id, verdict });
            self.waiting.pop_front();
        }
        // A message that waited for room was the newest of all.
        self.blocked &= !self.waiting.is_empty();
        if self.answers.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Step {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Verdict> {
        let stored = match self {
            Self::Ticket(ticket) => ready!(Pin::new(ticket).poll(context)),
            Self::Storing(storing) => ready!(storing.as_mut().poll(context)),
            Self::Judged(verdict) => {
                return Poll::Ready(std::mem::replace(verdict, Verdict::Stored));
            }
        };
        Poll::Ready(stored.map_or_else(refusal, |_| Verdict::Stored))
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

fn judge(publish: &Publish<'_>, client: &Client) -> Result<Event, Verdict> {
    let refused = |reason| {
        move |error: crate::domain::Invalid| Verdict::Refused { reason, words: Some(error.detail) }
    };
    let topic = Topic::parse(publish.topic).map_err(refused(Reason::TOPIC_NAME))?;
    if !client.caller.grants.may_publish(topic.as_str()) {
        return Err(Verdict::Refused { reason: Reason::NOT_AUTHORIZED, words: None });
    }
    publish::event(publish, topic, &client.publisher).map_err(refused(Reason::PAYLOAD_FORMAT))
}

fn refusal(error: Error) -> Verdict {
    let reason = match &error {
        Error::Refused(Refusal::Invalid(_)) => Reason::PAYLOAD_FORMAT,
        Error::Refused(_) => Reason::IMPLEMENTATION,
        Error::Busy | Error::DiskFull | Error::DiskFloor { .. } => Reason::QUOTA,
        Error::Store(_) | Error::Closed => Reason::UNSPECIFIED,
    };
    Verdict::Refused { reason, words: Some(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Invalid;

    fn waiting(weight: usize) -> Waiting {
        Waiting { id: 1, weight, step: Step::Judged(Verdict::Stored) }
    }

    #[tokio::test]
    async fn messages_on_their_way_to_the_disk_are_bounded_in_number_and_bytes() {
        let mut inbound = Inbound::default();
        assert!(inbound.has_room(1));
        for (weight, count_max, room) in
            [(BYTES_MAX - 1, 2, true), (0, 2, false), (0, 9, true), (1, 9, false)]
        {
            inbound.bytes += weight;
            inbound.waiting.push_back(waiting(weight));
            assert_eq!(inbound.has_room(count_max), room, "{weight} more, {count_max} allowed");
        }
        inbound.answered().await;
        assert_eq!((inbound.answers().len(), inbound.bytes), (4, 0));
        assert!(inbound.has_room(1), "one message at least, whatever its size");
    }

    #[test]
    fn a_disk_without_room_is_a_quota_exceeded() {
        for error in [Error::DiskFull, Error::DiskFloor { free: 1, floor: 2 }] {
            let Verdict::Refused { reason, words } = refusal(error) else { panic!("refused") };
            assert_eq!(reason.0, 0x97);
            assert!(words.is_some_and(|words| words.contains("disk")));
        }
    }

    #[test]
    fn what_the_writer_finds_invalid_is_a_payload_format_fault() {
        let error = Error::Refused(Refusal::Invalid(Invalid::new("/source", "is the hub's own")));
        let Verdict::Refused { reason, words } = refusal(error) else { panic!("refused") };
        assert_eq!(reason, Reason::PAYLOAD_FORMAT);
        assert!(words.is_some_and(|words| words.contains("the hub's own")));
    }
}
