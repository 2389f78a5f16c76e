//! The native API under `/v1`: decodes JSON into the domain's words and prints them back. Never
//! decides; that is the domain's.

pub(crate) mod backup;
pub(crate) mod changes;
pub(crate) mod dead_letter;
pub(crate) mod dead_letters;
pub(crate) mod events;
pub(crate) mod explain;
mod fate;
mod fields;
pub(crate) mod history;
pub(crate) mod jobs;
mod kinship;
mod listing;
mod mask;
mod merge;
mod mode;
mod planned;
mod precondition;
pub(crate) mod preview;
pub(crate) mod printed;
pub(crate) mod redrives;
pub(crate) mod replay;
pub(crate) mod rotation;
mod shape;
mod shape_access;
mod shape_encoding;
mod shape_policy;
mod shape_signing;
mod shape_sink;
pub(crate) mod status;
pub(crate) mod subscriptions;
pub(crate) mod tokens;
pub(crate) mod trial;
