//! Layer 2, the river: events come in, are matched, and are brought to their targets.
//!
//! Everything that changes goes through `Ingest` to the single writer. Never here: a wire format
//! of a face, a file, a socket that `net::dial` did not open.

mod attempt;
mod dispatch;
mod gate;
mod ingest;
mod lane;
mod lanes;
mod live;
mod matcher;
mod roster;
mod settle;
mod sweep;

pub use dispatch::Dispatch;
pub use gate::{Caller, Gate};
pub use ingest::{Ingest, Receipt, Ticket};
pub use lanes::{LaneStatus, Lanes};
pub use sweep::Sweep;

use crate::domain::command::Refusal;
use crate::store;

/// Why something was not done, and so what the caller can do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// It was decided against: the request has to change.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too much waits for the disk: try again in a moment.
    #[error("too many changes wait for the disk")]
    Busy,
    /// The disk is full: try again when there is room.
    #[error("the disk is full")]
    DiskFull,
    /// The store failed.
    #[error("{0}")]
    Store(String),
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Closed,
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Busy => Self::Busy,
            store::Error::Full(_) | store::Error::Floor { .. } => Self::DiskFull,
            store::Error::Closed => Self::Closed,
            other => Self::Store(other.to_string()),
        }
    }
}

impl From<store::Failure> for Error {
    fn from(failure: store::Failure) -> Self {
        match failure {
            store::Failure::Refused(refusal) => Self::Refused(refusal),
            store::Failure::Store(error) => error.into(),
        }
    }
}
