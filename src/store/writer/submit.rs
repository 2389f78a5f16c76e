//! The way to the writer: a queue that is bounded in commands and bytes.

use std::sync::Arc;

use tokio::sync::{Semaphore, TryAcquireError, oneshot};

use super::thread::Core;
use crate::config;
use crate::domain::command::{Command, Refusal, Reply};
use crate::store::Error;

/// What a command's sender is told.
pub type Answer = Result<Reply, Failure>;

/// Why a command led to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// It was decided against.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] Error),
}

/// An answer that is still to come.
pub type Pending = oneshot::Receiver<Answer>;

/// What the writer is sent.
#[derive(Debug)]
pub(super) enum Message {
    /// With its share of the queue's room, which is given back with the answer.
    Command(Command, oneshot::Sender<Answer>, u32),
    /// End after what was sent before.
    Close,
}

/// Hands commands to the writer. Clones share its queue, which is bounded in commands and bytes.
#[derive(Debug, Clone)]
pub struct Submit {
    door: Arc<Door>,
    room_max: u32,
    /// So much that no more commands than `log.queue_max` have room.
    share_min: u32,
}

/// The way to the writer, which ends once nobody has it any more.
#[derive(Debug)]
struct Door(Arc<Core>);

impl Drop for Door {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.queue.push(Message::Close);
    }
}

impl Submit {
    pub(super) fn new(core: &Arc<Core>, limits: &config::Log) -> Self {
        let room_max = u32::try_from(Self::room(limits)).unwrap_or(u32::MAX);
        let count_max = u32::try_from(limits.queue_max).unwrap_or(u32::MAX).max(1);
        let share_min = room_max.div_ceil(count_max);
        Self { door: Arc::new(Door(core.clone())), room_max, share_min }
    }

    /// Room for commands, in KiB.
    pub(super) fn room(limits: &config::Log) -> usize {
        let kib = u32::try_from(limits.queue_bytes_max.0 / 1024).unwrap_or(u32::MAX).max(1);
        usize::try_from(kib).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
    }

    /// Hands a command over without waiting for room in the queue.
    pub fn offer(&self, command: Command) -> Result<Pending, Error> {
        let share = self.share(&command);
        let permit = self.core().room.try_acquire_many(share).map_err(|error| match error {
            TryAcquireError::NoPermits => Error::Busy,
            TryAcquireError::Closed => Error::Closed,
        })?;
        permit.forget();
        self.queue(command, share)
    }

    /// Hands a command over, waiting for room in the queue.
    pub async fn send(&self, command: Command) -> Result<Pending, Error> {
        let share = self.share(&command);
        let permit = self.core().room.acquire_many(share).await;
        permit.map_err(|_| Error::Closed)?.forget();
        self.queue(command, share)
    }

    /// Asks the writer to end after what it was sent before.
    pub fn close(&self) {
        // An error means that it has ended already.
        let _ = self.core().queue.push(Message::Close);
    }

    fn queue(&self, command: Command, share: u32) -> Result<Pending, Error> {
        let (answer, pending) = oneshot::channel();
        let core = self.core();
        let is_event = matches!(command, Command::Publish(_));
        let message = Message::Command(command, answer, share);
        let is_lone = is_event && self.is_alone(share) && core.lone.is_open();
        match if is_lone { core.short_way() } else { None } {
            Some(way) => core.commit_here(way, message),
            None => core.queue.push(message)?,
        }
        Ok(pending)
    }

    fn core(&self) -> &Core {
        &self.door.0
    }

    /// Whether no other command waits for its answer.
    fn is_alone(&self, share: u32) -> bool {
        let free = u32::try_from(self.core().room.available_permits()).unwrap_or(u32::MAX);
        free.saturating_add(share) >= self.room_max
    }

    /// The command's share of the room, in KiB. One that is larger than the whole gets the whole.
    fn share(&self, command: &Command) -> u32 {
        let bytes = match command {
            Command::Publish(event) => event.weight(),
            _ => 1024,
        };
        u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).max(self.share_min).min(self.room_max)
    }
}
