//! The way in: events and commands on their way to the writer. Who may do what was checked before.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::domain::Offset;
use crate::domain::command::{Command, Refusal, Reply};
use crate::domain::event::Event;
use crate::flow::Error;
use crate::store::{Pending, Submit};
use crate::telemetry::Metrics;

/// The only way to change anything. Clones share it.
#[derive(Debug, Clone)]
pub struct Ingest {
    submit: Submit,
    metrics: Arc<Metrics>,
}

/// Where an event is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its place in the log.
    pub offset: Offset,
    /// It was stored before, inside the de-duplication window.
    pub duplicate: bool,
}

/// An event that was handed over and is not on disk yet; a future of its receipt.
#[derive(Debug)]
pub struct Ticket {
    pending: Pending,
    metrics: Arc<Metrics>,
}

impl Ingest {
    /// A way in to a writer.
    pub fn new(submit: Submit, metrics: Arc<Metrics>) -> Self {
        Self { submit, metrics }
    }

    /// Stores an event, waiting for room in the writer's queue. Returns after the `fdatasync`.
    pub async fn publish(&self, event: Event) -> Result<Receipt, Error> {
        let pending = self.submit.send(Command::Publish(Arc::new(event))).await?;
        self.ticket(pending).await
    }

    /// Stores events in order, all handed over before the first is waited for, so that they share
    /// group commits.
    pub async fn publish_all(&self, events: Vec<Event>) -> Vec<Result<Receipt, Error>> {
        let mut tickets = Vec::with_capacity(events.len());
        for event in events {
            let sent = self.submit.send(Command::Publish(Arc::new(event))).await;
            tickets.push(sent.map(|pending| self.ticket(pending)));
        }
        let mut receipts = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            receipts.push(match ticket {
                Ok(ticket) => ticket.await,
                Err(error) => Err(error.into()),
            });
        }
        receipts
    }

    /// Hands an event over without waiting. `Busy` where the writer's queue is full.
    pub fn offer(&self, event: Event) -> Result<Ticket, Error> {
        match self.submit.offer(Command::Publish(Arc::new(event))) {
            Ok(pending) => Ok(self.ticket(pending)),
            Err(error) => Err(error.into()),
        }
    }

    /// Has a command decided and carried out. Returns after the `fdatasync`.
    pub async fn execute(&self, command: Command) -> Result<Reply, Error> {
        let revoked = match &command {
            Command::RevokeToken(id) => Some(id.clone()),
            _ => None,
        };
        let mut reply = self.carry_out(command).await?;
        while let (Reply::Again, Some(id)) = (&reply, &revoked) {
            reply = match self.carry_out(Command::RevokeToken(id.clone())).await {
                Err(Error::Refused(Refusal::NoToken(_))) => Reply::Done,
                other => other?,
            };
        }
        Ok(reply)
    }

    async fn carry_out(&self, command: Command) -> Result<Reply, Error> {
        let pending = self.submit.send(command).await?;
        pending.await.map_err(|_| Error::Closed)?.map_err(Error::from)
    }

    fn ticket(&self, pending: Pending) -> Ticket {
        Ticket { pending, metrics: self.metrics.clone() }
    }
}

/// Waits until the event is on disk.
impl Future for Ticket {
    type Output = Result<Receipt, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let told = ready!(Pin::new(&mut self.pending).poll(context));
        Poll::Ready(match told.map_err(|_| Error::Closed)?? {
            Reply::Published { offset, duplicate } => {
                match duplicate {
                    true => self.metrics.flow_duplicates.inc(),
                    false => self.metrics.flow_events.inc(),
                };
                Ok(Receipt { offset, duplicate })
            }
            other => Err(Error::Store(format!("an event was answered with {other:?}"))),
        })
    }
}
