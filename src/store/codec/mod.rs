//! Records as bytes. Each version is one frozen struct in a file of its own (`*_v1`, `*_v2`), with
//! golden bytes in the tests. Fields and variants are only ever appended, as a new version. An
//! unknown version is refused with the release that is needed; an older one is read for ever.

#[cfg(test)]
mod corpus;
mod delivery_v1;
mod delivery_v2;
mod delivery_v3;
#[cfg(test)]
mod describe;
mod envelope;
mod event_v1;
#[cfg(test)]
mod job_samples;
mod job_v1;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod samples_wishes;
#[cfg(test)]
mod strategies;
mod subscription_v1;
mod subscription_v2;
mod subscription_v3;
mod subscription_v4;
mod subscription_v5;
#[cfg(test)]
mod tests;

pub(crate) use envelope::{decode, encode, from_bytes, to_bytes};
#[cfg(test)]
pub(crate) use job_samples::job as sample_job;

use crate::domain::Invalid;

/// Which kinds and versions of records there are: one more with each that is added. Files note it,
/// so that an older release knows at once that it cannot read them.
pub(crate) const LEVEL: u32 = 8;

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
