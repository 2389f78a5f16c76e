//! Records: everything that must survive, in the words of the domain. How they are written to disk
//! is the store's business alone.

use std::sync::Arc;

use super::delivery::{DeadLetter, Retry};
use super::event::Event;
use super::gap::Missing;
use super::grant::Grants;
use super::job::{Handed, Job};
use super::letter;
use super::replay::Replay;
use super::subscription::Subscription;
use super::{Offset, Timestamp};

/// One entry of the log. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// An event was accepted.
    Event(Arc<Event>),
    /// A subscription was created or changed: its whole new state.
    Subscription(Arc<Subscription>),
    /// A subscription is forgotten.
    SubscriptionRemoved {
        /// Its number.
        number: u32,
        /// Its id.
        id: String,
    },
    /// A token was created.
    Token(Arc<Token>),
    /// A token was revoked.
    TokenRevoked {
        /// Its id.
        id: String,
    },
    /// A delivery failed and waits.
    Retry(Arc<Retry>),
    /// A delivery that waited is done.
    Settled {
        /// The subscription's number.
        subscription: u32,
        /// The event.
        offset: Offset,
    },
    /// A delivery was given up.
    DeadLetter(Arc<DeadLetter>),
    /// How far delivery has come.
    Progress(Arc<Progress>),
    /// A subscription came to offsets that the log no longer has, and passed over them.
    Gap {
        /// The subscription's number.
        subscription: u32,
        /// What it was not given.
        missing: Missing,
    },
    /// A job began or ended: its whole new state. In between its counts follow from what becomes
    /// of its letters.
    Job(Arc<Job>),
    /// Dead letters were handed back to delivery: they wait for their first attempt.
    Redriven(Arc<Redriven>),
    /// Dead letters and jobs are forgotten.
    Forgotten(Arc<Forgotten>),
    /// A subscription is given a range of the log once more.
    Replay(Arc<Replay>),
    /// It was told that a subscription's lease is expiring.
    ExpiryTold {
        /// The subscription's number.
        subscription: u32,
    },
    /// A replay was given up.
    ReplayEnded {
        /// The subscription's number.
        subscription: u32,
    },
}

/// Dead letters that were handed back to delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// The job that it is a part of.
    pub job: Offset,
    /// When the first attempt is due.
    pub due: Timestamp,
    /// The letters.
    pub letters: Vec<Handed>,
}

/// Dead letters and jobs that are no longer kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// The letters.
    pub letters: Vec<letter::Id>,
    /// The jobs.
    pub jobs: Vec<Offset>,
    /// Why.
    pub why: Why,
}

/// Why something is no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Somebody asked for it.
    Purged,
    /// It was kept long enough, or there are too many.
    Expired,
    /// A redriven letter was given up again, and its subscription keeps no dead letters.
    Dropped,
}

/// How far delivery has come. Written in batches, not per delivery.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Every event before this offset was matched against every subscription.
    pub matched: Offset,
    /// Lanes that lag and moved: all before the offset is done or has a retry or dead letter.
    pub lagging: Vec<(u32, Offset)>,
    /// Lanes that lagged and do no longer: they have nothing left to do before `matched`.
    pub caught_up: Vec<u32>,
    /// Replays that moved: all before the offset is done or has a retry or dead letter.
    pub replays: Vec<(u32, Offset)>,
    /// Replays of which everything is done.
    pub replays_over: Vec<u32>,
}

impl Progress {
    /// Whether it tells nothing but how far matching is.
    pub fn is_empty(&self) -> bool {
        self.lagging.is_empty()
            && self.caught_up.is_empty()
            && self.replays.is_empty()
            && self.replays_over.is_empty()
    }
}

/// Who may do what. The secret itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id: the first part of the token's text.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// What its bearer may do.
    pub grants: Grants,
    /// SHA-256 of the secret.
    pub digest: [u8; 32],
    /// When it was created.
    pub created_at: Timestamp,
}

/// A record at its place in the log. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its place.
    pub offset: Offset,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub record: Record,
}

impl Entry {
    /// The event, if the entry is one.
    pub fn event(&self) -> Option<&Event> {
        match &self.record {
            Record::Event(event) => Some(event),
            Record::Subscription(_)
            | Record::SubscriptionRemoved { .. }
            | Record::Token(_)
            | Record::TokenRevoked { .. }
            | Record::Retry(_)
            | Record::Settled { .. }
            | Record::DeadLetter(_)
            | Record::Progress(_)
            | Record::Gap { .. }
            | Record::Job(_)
            | Record::Redriven(_)
            | Record::Forgotten(_)
            | Record::Replay(_)
            | Record::ReplayEnded { .. }
            | Record::ExpiryTold { .. } => None,
        }
    }

    /// Bytes that the entry holds in memory, roughly.
    pub fn weight(&self) -> usize {
        match &self.record {
            Record::Event(event) => event.weight(),
            Record::Subscription(held) => held.weight(),
            _ => 256,
        }
    }
}
