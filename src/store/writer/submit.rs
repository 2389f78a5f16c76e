//! The way to the writer: a queue that is bounded in commands and bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};

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
    /// The permit stands for the command's share of the queue's bytes.
    Command(Command, oneshot::Sender<Answer>, OwnedSemaphorePermit),
    /// The disk is free; sent by the writer to itself.
    Called,
    /// End after what was sent before.
    Close,
}

/// Hands commands to the writer. Clones share its queue, which is bounded in commands and bytes.
#[derive(Debug, Clone)]
pub struct Submit {
    queue: mpsc::Sender<Message>,
    /// Room for waiting commands, in KiB.
    room: Arc<Semaphore>,
    room_max: u32,
}

impl Submit {
    pub(super) fn new(queue: mpsc::Sender<Message>, bytes_max: u64) -> Self {
        let room_max = u32::try_from(bytes_max / 1024).unwrap_or(u32::MAX).max(1);
        let room = usize::try_from(room_max).unwrap_or(Semaphore::MAX_PERMITS);
        Self { queue, room: Arc::new(Semaphore::new(room)), room_max }
    }

    /// Hands a command over without waiting for room in the queue.
    pub fn offer(&self, command: Command) -> Result<Pending, Error> {
        let share = self.share(&command);
        let permit =
            self.room.clone().try_acquire_many_owned(share).map_err(|error| match error {
                TryAcquireError::NoPermits => Error::Busy,
                TryAcquireError::Closed => Error::Closed,
            })?;
        let (answer, pending) = oneshot::channel();
        match self.queue.try_send(Message::Command(command, answer, permit)) {
            Ok(()) => Ok(pending),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::Closed),
        }
    }

    /// Hands a command over, waiting for room in the queue.
    pub async fn send(&self, command: Command) -> Result<Pending, Error> {
        let share = self.share(&command);
        let permit = self.room.clone().acquire_many_owned(share).await;
        let permit = permit.map_err(|_| Error::Closed)?;
        let (answer, pending) = oneshot::channel();
        let sent = self.queue.send(Message::Command(command, answer, permit)).await;
        sent.map(|()| pending).map_err(|_| Error::Closed)
    }

    /// Asks the writer to end after what it was sent before.
    pub async fn close(&self) {
        // An error means that it has ended already.
        let _ = self.queue.send(Message::Close).await;
    }

    /// The command's share of the queue, in KiB. One that is larger than the whole gets the whole.
    fn share(&self, command: &Command) -> u32 {
        let bytes = match command {
            Command::Publish(event) => event.weight(),
            _ => 1024,
        };
        u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.room_max)
    }
}
