//! Commands: what the hub is asked to do, the answers, and what deciding needs to know.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::delivery::{DeadLetter, Retry};
use super::event::Event;
use super::gap::{Gap, Missing};
use super::job::{Handed, Job, Skipped};
use super::lease::Bounds;
use super::letter::{self, Choice};
use super::record::{Progress, Record, Token};
use super::replay::Replay;
use super::sign::Key;
use super::sink::Sink;
use super::subscription::{End, Subscription, Wish};
use super::{Invalid, Offset, Timestamp};

/// Something the hub is asked to do. Decided one after the other by the single writer.
#[derive(Debug)]
pub enum Command {
    /// Accept an event.
    Publish(Arc<Event>),
    /// Create or replace a subscription.
    Put(Box<Put>),
    /// Change a subscription that there is.
    Change {
        /// Its id.
        id: String,
        /// Who asks.
        actor: Actor,
        /// The change.
        change: Change,
    },
    /// Sign with a new key from now on.
    Rotate(Box<Rotation>),
    /// End what is due: leases; and forget what was kept long enough: ended subscriptions, dead
    /// letters, ended jobs.
    Sweep,
    /// Keep a new token.
    CreateToken(Token),
    /// Revoke a token and end what it owns.
    RevokeToken(String),
    /// Note that deliveries failed and wait, are done after waiting, or were given up.
    Settle(Vec<Settlement>),
    /// Note how far delivery has come.
    Checkpoint(Progress),
    /// End a subscription whose target is gone, unless it has another target by now.
    EndGone {
        /// Its number.
        number: u32,
        /// The target that is gone.
        sink: Sink,
    },
    /// Note that subscriptions wait since their target does not work.
    Park {
        /// Their numbers.
        numbers: Vec<u32>,
        /// What the target said last.
        error: String,
    },
    /// Note that the target of parked subscriptions works again.
    Unpark {
        /// Their numbers.
        numbers: Vec<u32>,
    },
    /// Give a subscription a range of the log once more.
    Replay {
        /// Its id.
        id: String,
        /// Who asks.
        actor: Actor,
        /// The first offset.
        from: Offset,
        /// One past the last; `None`: where the log ends.
        to: Option<Offset>,
    },
    /// Give a replay up.
    EndReplay {
        /// The subscription's id.
        id: String,
        /// Who asks.
        actor: Actor,
    },
    /// Note what subscriptions passed over since the log no longer has it.
    Gap(Vec<Overtaken>),
    /// Begin to hand dead letters back to delivery.
    Redrive(Box<Redrive>),
    /// Hand dead letters back to delivery, as part of a job that is running.
    HandOver {
        /// The job.
        job: Offset,
        /// The letters.
        letters: Vec<Handed>,
    },
    /// Note that a job has come to its end.
    EndJob {
        /// The job.
        job: Offset,
        /// What it left alone.
        skipped: Skipped,
    },
    /// End a job before its end.
    CancelJob {
        /// The job.
        job: Offset,
        /// Who asks.
        actor: Actor,
    },
    /// Forget dead letters.
    Purge {
        /// The letters.
        letters: Vec<letter::Id>,
        /// Who asks.
        actor: Actor,
    },
}

/// A redrive that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// Who asks.
    pub actor: Actor,
    /// Which letters.
    pub choice: Choice,
    /// Most letters to be handed over in a second.
    pub rate_per_second: Option<u32>,
    /// How many letters that is now.
    pub total: u64,
}

/// A subscription that came to offsets which are no longer in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overtaken {
    /// Its number.
    pub subscription: u32,
    /// What it was not given.
    pub missing: Missing,
}

/// Creation or replacement of a subscription.
#[derive(Debug)]
pub struct Put {
    /// Its id.
    pub id: String,
    /// What is asked for.
    pub wish: Wish,
    /// Who asks.
    pub actor: Actor,
    /// What must be true of the subscription so far.
    pub expect: Expect,
}

/// What a writer believes about the subscription so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it is.
    Anything,
    /// There is none.
    Nothing,
    /// It stands at this version.
    Version(u64),
}

/// A change of a subscription that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Renew the lease; `None` asks for as long as before.
    Renew(Option<u64>),
    /// Stop delivering, keep the cursor.
    Pause,
    /// Deliver again.
    Resume,
    /// End and forget it.
    Delete,
}

/// A new signing key for a subscription that there is.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// Its id.
    pub id: String,
    /// Who asks.
    pub actor: Actor,
    /// The new key.
    pub key: Key,
    /// How long the key so far signs beside it.
    pub overlap: Duration,
}

/// What became of a delivery that is an exception to its lane's cursor.
#[derive(Debug, Clone)]
pub enum Settlement {
    /// It failed and waits.
    Retry(Retry),
    /// It waited and is done.
    Done {
        /// The subscription's number.
        subscription: u32,
        /// The event.
        offset: Offset,
    },
    /// It waited and was given up, and its subscription keeps no dead letters.
    Dropped {
        /// The subscription's number.
        subscription: u32,
        /// The event.
        offset: Offset,
    },
    /// It was given up.
    Dead {
        /// What is kept of it.
        letter: DeadLetter,
        /// Whether an event tells of it. Off for events that tell of dead letters themselves.
        announce: bool,
    },
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The token's id; `None` with `--dev`.
    pub owner: Option<String>,
    /// May change what others own.
    pub admin: bool,
}

/// The records of a decision, in order. Most have one.
pub type Records = SmallVec<[Record; 1]>;

/// What a command led to.
#[derive(Debug)]
pub struct Decision {
    /// What is to be written, in order.
    pub records: Records,
    /// What the caller is told once that is on disk.
    pub reply: Reply,
}

/// What the caller is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The event's place, and whether it was there before.
    Published {
        /// Its place in the log.
        offset: Offset,
        /// It was accepted before, inside the de-duplication window.
        duplicate: bool,
    },
    /// The subscription as it is now.
    Subscription {
        /// Its new state.
        subscription: Arc<Subscription>,
        /// It did not exist before.
        created: bool,
    },
    /// The job as it is now.
    Job(Arc<Job>),
    /// So many dead letters were handed over or forgotten.
    Letters(u64),
    /// Done; there is nothing to tell.
    Done,
    /// A bounded part is done; the same command does the next part.
    Again,
}

/// Why a command is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such subscription, or the caller may not know of it.
    #[error("there is no subscription {0:?}")]
    NoSubscription(String),
    /// There is no such token.
    #[error("there is no token {0:?}")]
    NoToken(String),
    /// There is no such job, or the caller may not know of it.
    #[error("there is no job {0}")]
    NoJob(Offset),
    /// The hub holds as many jobs as it may, and all are running.
    #[error("the hub runs {0} jobs, which is jobs.count_max")]
    JobsFull(usize),
    /// The subscription stands at another version than the caller believes.
    #[error("the subscription stands at version {0}; read it again and repeat")]
    VersionMismatch(u64),
    /// The lease is over; a renewal comes too late.
    #[error("the subscription has ended ({}); put it again to start anew", .0.as_str())]
    Ended(End),
    /// Only one replay at a time.
    #[error("the subscription {0:?} is being replayed; wait for the end, or give that replay up")]
    Replaying(String),
    /// There is no signing key to replace.
    #[error("the deliveries of subscription {0:?} are not signed; set its member signing first")]
    Unsigned(String),
    /// The id is taken by somebody else.
    #[error("the id {0:?} is taken")]
    Taken(String),
    /// The hub holds as many as it may.
    #[error("the hub holds {0} subscriptions, which is subscriptions.count_max")]
    Full(usize),
    /// Something in the request is not acceptable.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The state could not be read.
    #[error("the state cannot be read: {0}")]
    Unreadable(String),
}

/// Rules that an operator sets and decisions follow.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Bounds of leases.
    pub lease: Bounds,
    /// How long an ended subscription can still be looked at.
    pub ended_keep: Duration,
    /// Most subscriptions, ended ones included.
    pub subscriptions_max: usize,
    /// How long dead letters are kept.
    pub letters_keep: std::time::Duration,
    /// Most dead letters.
    pub letters_max: u64,
    /// How long ended jobs are kept.
    pub jobs_keep: std::time::Duration,
    /// Most jobs, ended ones included.
    pub jobs_max: usize,
}

/// What deciding needs to know about the state so far, earlier commands of the same group included.
pub trait View {
    /// A subscription by id.
    fn subscription(&self, id: &str) -> Result<Option<Subscription>, Refusal>;
    /// A subscription by number.
    fn numbered(&self, number: u32) -> Result<Option<Subscription>, Refusal>;
    /// What a subscription passed over so far.
    fn gap(&self, number: u32) -> Result<Option<Gap>, Refusal>;
    /// The replay of a subscription that is under way.
    fn replay(&self, number: u32) -> Result<Option<Replay>, Refusal>;
    /// How many subscriptions there are.
    fn subscription_count(&self) -> usize;
    /// A bounded number of the subscriptions that a token owns and that are not ended.
    fn owned_by(&self, token: &str) -> Result<Vec<Subscription>, Refusal>;
    /// A bounded number of subscriptions whose lease is over at `now`, or is expiring without that
    /// having been told, or that ended at or before `ended_before`.
    fn due(&self, now: Timestamp, ended_before: Timestamp) -> Result<Vec<Subscription>, Refusal>;
    /// The place of a dead letter's record in the log, if there is such a letter.
    fn letter(&self, id: letter::Id) -> Result<Option<Offset>, Refusal>;
    /// How many dead letters there are.
    fn letter_count(&self) -> u64;
    /// The oldest dead letters and when they were given up, at most so many.
    fn oldest_letters(&self, max: usize) -> Result<Vec<(letter::Id, Timestamp)>, Refusal>;
    /// Whether a delivery that waits was a dead letter before.
    fn is_redriven(&self, id: letter::Id) -> Result<bool, Refusal>;
    /// A job.
    fn job(&self, id: Offset) -> Result<Option<Job>, Refusal>;
    /// All jobs, oldest first.
    fn jobs(&self) -> Result<Vec<Job>, Refusal>;
    /// Whether it was told that a subscription's lease is expiring.
    fn expiry_told(&self, held: &Subscription) -> Result<bool, Refusal>;
    /// Whether there is such a token.
    fn has_token(&self, id: &str) -> Result<bool, Refusal>;
    /// Where an event with this source and id was stored, if inside the window.
    fn seen(&self, source: &str, id: &str) -> Option<Offset>;
    /// The number that the next new subscription gets.
    fn next_number(&self) -> u32;
    /// The place that the next record gets.
    fn next_offset(&self) -> Offset;
    /// When the newest record was written.
    fn newest(&self) -> Timestamp;
}
