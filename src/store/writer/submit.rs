//! The way to the writer: a queue that is bounded in commands and bytes.

use std::sync::Arc;

use tokio::sync::{Semaphore, TryAcquireError, mpsc, oneshot};

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
    /// There is something to answer; sent by the writer to itself.
    Called,
    /// End after what was sent before.
    Close,
}

/// Hands commands to the writer. Clones share its queue, which is bounded in commands and bytes.
#[derive(Debug, Clone)]
pub struct Submit {
    /// What bounds it is the room.
    queue: mpsc::UnboundedSender<Message>,
    /// Room for commands that are not answered yet, in KiB.
    room: Arc<Semaphore>,
    room_max: u32,
    /// So much that no more commands than `log.queue_max` have room.
    share_min: u32,
}

impl Submit {
    pub(super) fn new(queue: mpsc::UnboundedSender<Message>, limits: &config::Log) -> Self {
        let room_max = u32::try_from(limits.queue_bytes_max.0 / 1024).unwrap_or(u32::MAX).max(1);
        let count_max = u32::try_from(limits.queue_max).unwrap_or(u32::MAX).max(1);
        let room = usize::try_from(room_max).unwrap_or(Semaphore::MAX_PERMITS);
        let share_min = room_max.div_ceil(count_max);
        Self { queue, room: Arc::new(Semaphore::new(room)), room_max, share_min }
    }

    /// Hands a command over without waiting for room in the queue.
    pub fn offer(&self, command: Command) -> Result<Pending, Error> {
        let share = self.share(&command);
        let permit = self.room.try_acquire_many(share).map_err(|error| match error {
            TryAcquireError::NoPermits => Error::Busy,
            TryAcquireError::Closed => Error::Closed,
        })?;
        permit.forget();
        self.queue(command, share)
    }

    /// Hands a command over, waiting for room in the queue.
    pub async fn send(&self, command: Command) -> Result<Pending, Error> {
        let share = self.share(&command);
        let permit = self.room.acquire_many(share).await;
        permit.map_err(|_| Error::Closed)?.forget();
        self.queue(command, share)
    }

    /// Asks the writer to end after what it was sent before.
    pub fn close(&self) {
        // An error means that it has ended already.
        let _ = self.queue.send(Message::Close);
    }

    fn queue(&self, command: Command, share: u32) -> Result<Pending, Error> {
        let (answer, pending) = oneshot::channel();
        let sent = self.queue.send(Message::Command(command, answer, share));
        sent.map(|()| pending).map_err(|_| Error::Closed)
    }

    pub(super) fn room(&self) -> Arc<Semaphore> {
        self.room.clone()
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
