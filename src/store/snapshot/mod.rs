//! Snapshots of the tables: files from which, with the log behind them, the tables can be built
//! anew. Only a snapshot lets old segments go.

mod file;
mod image;
mod writing;

pub(crate) use file::{Snapshot, Source, list};
pub(crate) use image::Images;
pub(crate) use writing::{Writing, remove_partial};
