//! Layer 0: what Tidings means by its words. Pure functions and plain records.
//!
//! Never here: a clock, dice, a file, a socket, a task. `now` and random bytes come in as
//! arguments, so that the same code runs in production, in the simulator and in fuzzers.

pub mod access;
pub mod address;
pub mod attribute;
pub mod breaker;
mod change;
pub mod cloudevents;
pub mod command;
pub mod decide;
pub mod delivery;
pub mod draft;
pub mod encoding;
pub mod event;
pub mod filter;
pub mod gap;
pub mod grant;
#[cfg(test)]
mod held;
pub mod job;
pub mod latency;
pub mod lease;
pub mod letter;
pub mod objection;
mod park;
pub mod policy;
pub mod quantity;
pub mod record;
mod redrive;
pub mod replay;
#[cfg(test)]
pub(crate) mod samples;
pub mod secret;
pub mod sign;
pub mod sink;
pub mod subscription;
mod sweep;
pub mod template;
mod terms;
pub mod topic;
pub mod trial;
pub mod trie;
pub mod vault;

/// A position in the log, counted in records from 0. The cursor of every reader and the `id` of
/// every SSE frame.
pub type Offset = u64;

/// A point in time. Domain functions are told `now`; they never ask.
pub type Timestamp = jiff::Timestamp;

/// Something the outside said that cannot be accepted: which field, what is wrong, how to say it
/// right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct Invalid {
    /// JSON pointer (RFC 6901) or attribute name of the offending part; empty for the whole.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl Invalid {
    /// Names the field and the fix.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }

    /// The same complaint seen from one level further out.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}
