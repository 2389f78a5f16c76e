//! A request to be made, as the board hands it out, and what the board is told of it. Never here: a
//! socket, a wait, a decision on what follows.

use std::sync::Arc;

use super::strand::Begin;
use super::targets::Server;
use crate::domain::delivery::{Attempt, Reason, Sent, is_too_old};
use crate::domain::record::Entry;
use crate::domain::subscription::Subscription;
use crate::domain::template::Response;
use crate::domain::{Offset, Timestamp};
use crate::store::Reader;

/// What an attempt needs to know.
#[derive(Debug)]
pub struct Task {
    pub(super) subscription: Arc<Subscription>,
    pub(super) begin: Begin,
    /// Other events that go with it.
    pub(super) rest: Vec<Begin>,
    pub(super) server: Server,
    /// What comes of it decides for all that deliver there.
    pub(super) probe: bool,
    pub(super) replay: bool,
}

/// The events of a task, looked up: those that can be sent, and those that cannot.
#[derive(Debug)]
pub struct Parcel {
    /// The first event that can be sent, or else the first one.
    head: Other,
    others: Vec<Other>,
}

/// One of the events of a request, and what came of it.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) begin: Begin,
    /// The event, unless it cannot be read.
    pub(super) entry: Option<Entry>,
    /// Why it was not among those that were sent.
    pub(super) unsent: Option<Unsent>,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// The subscription as it was when the attempt started.
    pub(super) sent: Arc<Subscription>,
    pub(super) offset: Offset,
    pub(super) server: Server,
    pub(super) probe: bool,
    pub(super) replay: bool,
    /// The event, unless it cannot be read.
    pub(super) entry: Option<Entry>,
    pub(super) result: Result<Carried, Unsent>,
    /// What a template's steps were answered that are done by now.
    pub(super) responses: Vec<Response>,
    /// Other events that went with it.
    pub(super) others: Vec<Other>,
}

/// An attempt that was carried out.
#[derive(Debug, Clone)]
pub struct Carried {
    /// The attempt.
    pub attempt: Attempt,
    /// The request, where it was no success.
    pub request: Option<Sent>,
    /// The answer came from the server that the lane delivers to, or should have.
    pub of_server: bool,
}

/// Why nothing was sent. Spends no attempt.
#[derive(Debug, Clone)]
pub enum Unsent {
    /// The event is older than `policy.max_age`.
    TooOld,
    /// The event is no longer in the log.
    Gone,
    /// No request can be made of it, now or later.
    Unmakeable(Reason, String),
    /// This machine is cut off: what the target would have said is not known.
    Offline(String),
    /// The log cannot be read or written now.
    Unready(String),
}

impl Task {
    /// The subscription as it is when the attempt starts.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// The events, and which attempt it is for each, counted from 1.
    pub fn deliveries(&self) -> impl Iterator<Item = (Offset, usize)> {
        std::iter::once(&self.begin).chain(&self.rest).map(|begin| (begin.offset, begin.number))
    }

    /// Whether it goes out to see whether the target works.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Whether it is part of a replay.
    pub fn is_replay(&self) -> bool {
        self.replay
    }

    /// Looks the events up, and which of them may be sent at a time. What is asked for once more is
    /// never too old.
    pub async fn pack(&mut self, reader: &Reader, at: Timestamp) -> Parcel {
        let first = std::mem::take(&mut self.begin);
        let mut all = Vec::with_capacity(self.rest.len() + 1);
        for begin in std::iter::once(first).chain(std::mem::take(&mut self.rest)) {
            let found = match &begin.entry {
                Some(entry) => Ok(entry.clone()),
                // In a box: what is seldom needed does not make every attempt larger.
                None => Box::pin(read(reader, begin.offset)).await,
            };
            let (entry, unsent) = match found {
                Ok(entry) => {
                    let is_old = is_too_old(&self.subscription.wish.policy, entry.at, at);
                    let unsent = (is_old && !self.replay).then_some(Unsent::TooOld);
                    (Some(entry), unsent)
                }
                Err(why) => (None, Some(why)),
            };
            all.push(Other { begin, entry, unsent });
        }
        let head = all.iter().position(|other| other.unsent.is_none()).unwrap_or(0);
        let mut head = all.remove(head);
        self.begin = std::mem::take(&mut head.begin);
        Parcel { head, others: all }
    }

    /// What came of it, or why nothing was sent.
    pub fn report(self, parcel: Parcel, result: Result<Carried, Unsent>) -> Report {
        let Self { subscription, begin, server, probe, replay, .. } = self;
        let Begin { offset, responses, .. } = begin;
        let Parcel { head, others } = parcel;
        let (sent, entry) = (subscription, head.entry);
        Report { sent, offset, server, probe, replay, entry, result, responses, others }
    }
}

impl Parcel {
    /// The events that can be sent, in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let all = std::iter::once(&self.head).chain(&self.others);
        all.filter(|other| other.unsent.is_none()).filter_map(|other| other.entry.as_ref())
    }

    /// Why none can be sent, if that is so.
    pub fn unsent(&self) -> Option<&Unsent> {
        self.head.unsent.as_ref()
    }
}

async fn read(reader: &Reader, offset: Offset) -> Result<Entry, Unsent> {
    let read = reader.read_on(offset, 1).await;
    let stretch = read.map_err(|error| Unsent::Unready(error.to_string()))?;
    let entry = stretch.entries.into_iter().find(|entry| entry.offset == offset);
    entry.ok_or_else(|| match stretch.to > offset {
        true => Unsent::Gone,
        false => Unsent::Unready("it lies beyond the end of the log".to_owned()),
    })
}
