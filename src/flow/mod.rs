//! Layer 2, the river: events come in, are matched, and are brought to their targets.
//!
//! Everything that changes goes through `Ingest` to the single writer. Never here: a wire format
//! of a face, a file, a socket that `net::dial` did not open.

mod attempt;
mod batch;
mod board;
mod dispatch;
mod follow;
mod gate;
mod ingest;
mod keyring;
mod lane;
mod lanes;
mod letters;
mod live;
mod matcher;
mod order;
mod parcel;
mod preview;
mod progress;
mod redrive;
mod replay;
mod request;
mod roster;
mod settle;
mod stats;
mod steps;
mod strand;
mod sweep;
mod targets;
mod trial;
mod verdict;
mod waiting;

pub use board::Board;
pub use dispatch::Dispatch;
pub use gate::{Caller, Gate};
pub use ingest::{Ingest, Receipt, Ticket};
pub use keyring::Keyring;
pub use lanes::{Behind, LaneStatus, Lanes};
pub use letters::{Found, Walk};
pub use matcher::Index;
pub use parcel::{Carried, Parcel, Report, Task, Unsent};
pub use preview::{Planned, Preview, Seen, Sight, Subject};
pub use redrive::Redrive;
pub use roster::Read;
pub use sweep::Sweep;
pub use trial::{Exchange, Trial, Tried};

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
    /// The disk is nearly full: new input is refused, delivery goes on.
    #[error("the disk is nearly full: {free} bytes are free, log.disk_floor is {floor}")]
    DiskFloor {
        /// Bytes that are free.
        free: u64,
        /// Bytes below which new input is refused.
        floor: u64,
    },
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
            store::Error::Full(_) => Self::DiskFull,
            store::Error::Floor { free, floor } => Self::DiskFloor { free, floor },
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
