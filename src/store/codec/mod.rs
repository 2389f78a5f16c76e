//! Records as bytes. Each version is one frozen struct in a file of its own (`*_v1`), with golden
//! bytes in the tests. Fields and variants are only ever appended, as a new version. An unknown
//! version is refused with the release that is needed; an older one is read for ever.

mod delivery_v1;
mod envelope;
mod event_v1;
mod subscription_v1;

pub(crate) use envelope::{decode, encode, from_bytes, to_bytes};

use crate::domain::Invalid;

/// Which kinds and versions of records there are: one more with each that is added. Files note it,
/// so that an older release knows at once that it cannot read them.
pub(crate) const LEVEL: u32 = 1;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Written by a release that knows more than this one.
    #[error(
        "record kind {kind} version {version} needs a newer release of Tidings than {}",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The record's kind.
        kind: u8,
        /// The record's version.
        version: u8,
    },
    /// Not what any release wrote.
    #[error("a record is malformed: {0}")]
    Malformed(String),
}

impl From<Invalid> for Error {
    fn from(error: Invalid) -> Self {
        Self::Malformed(error.to_string())
    }
}

#[cfg(test)]
mod tests;
