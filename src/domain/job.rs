//! Jobs: work that takes its time and goes on over restarts. There is one kind, the redrive: dead
//! letters are handed back to delivery, one after the other. Pure.

use super::command::Actor;
use super::letter::{self, Choice};
use super::{Offset, Timestamp};

/// A redrive and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Offset of the record that began it. Letters that came after it are no part of it.
    pub id: Offset,
    /// Who asked, and whose letters it may touch.
    pub actor: Actor,
    /// Which letters.
    pub choice: Choice,
    /// Most letters that are handed over in a second.
    pub rate_per_second: Option<u32>,
    /// When it began.
    pub created_at: Timestamp,
    /// How many letters there were to redrive when it was asked for.
    pub total: u64,
    /// How it stands.
    pub state: State,
    /// What became of its letters so far.
    pub counts: Counts,
    /// Letters that stay since they cannot be delivered; known at the end.
    pub skipped: Skipped,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There are letters left to hand over.
    Running,
    /// All were handed over or skipped, at this time. Their deliveries may still be under way.
    Done(Timestamp),
    /// Somebody wanted no more of it, at this time. What was handed over goes on.
    Cancelled(Timestamp),
}

/// What became of a job's letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Handed back to delivery.
    pub handed: u64,
    /// Of these: delivered.
    pub delivered: u64,
    /// Of these: given up again, and dead letters anew.
    pub died: u64,
    /// Of these: forgotten since their subscription ended or drops what is given up.
    pub dropped: u64,
}

/// Letters that a job left alone, by the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skipped {
    /// The event is no longer in the log.
    pub event_gone: u64,
    /// The subscription has ended.
    pub subscription_ended: u64,
}

/// A dead letter that is handed back to delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The letter.
    pub letter: letter::Id,
    /// What its subscription orders it by.
    pub key: Option<String>,
}

impl Job {
    /// When it ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Running => None,
            State::Done(at) | State::Cancelled(at) => Some(at),
        }
    }

    /// Whether there are letters left to hand over.
    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }
}

impl State {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done(_) => "done",
            Self::Cancelled(_) => "cancelled",
        }
    }
}
