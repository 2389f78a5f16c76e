//! The log: segments in order, the truth that everything else is a fold of.
//!
//! A segment is a file of fixed size that holds frames; a frame is one group commit. Opening reads
//! the footers of sealed segments and the frames of the last one. What is damaged is quarantined
//! and passed over; a torn tail is overwritten.

mod append;
mod entries;
mod footer;
mod frame;
mod header;
#[cfg(test)]
mod hostile_tests;
mod quarantine;
mod recover;
mod segment;
mod segments;
mod spares;
mod walk;

pub(crate) use append::{Limits, Log};
pub(crate) use frame::HEADER;
pub(crate) use quarantine::Quarantine;
pub(crate) use recover::{Recovered, recover};
pub(crate) use segment::Segment;
pub(crate) use segments::Segments;
pub(crate) use spares::Spares;
pub(crate) use walk::Step;
