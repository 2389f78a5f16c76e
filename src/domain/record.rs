//! Records: everything that must survive, in the words of the domain. How they are written to disk
//! is the store's business alone.

use std::sync::Arc;

use super::delivery::{DeadLetter, Retry};
use super::event::Event;
use super::gap::Missing;
use super::grant::Grants;
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
            | Record::Replay(_)
            | Record::ReplayEnded { .. }
            | Record::ExpiryTold { .. } => None,
        }
    }

    /// Bytes that the entry holds in memory, roughly.
    pub fn weight(&self) -> usize {
        self.event().map_or(256, Event::weight)
    }
}
