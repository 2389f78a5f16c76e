//! The native API under `/v1`: decodes JSON into the domain's words and prints them back. Never
//! decides; that is the domain's.

pub(crate) mod backup;
pub(crate) mod changes;
pub(crate) mod dead_letter;
pub(crate) mod dead_letters;
pub(crate) mod events;
mod fields;
pub(crate) mod history;
pub(crate) mod jobs;
mod listing;
mod mask;
mod merge;
mod mode;
mod precondition;
pub(crate) mod printed;
pub(crate) mod redrives;
pub(crate) mod replay;
mod shape;
mod shape_encoding;
mod shape_policy;
mod shape_sink;
pub(crate) mod status;
pub(crate) mod subscriptions;
pub(crate) mod tokens;
