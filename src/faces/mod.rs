//! The HTTP face: the native API, event streams, probes and the web page.
//!
//! It decodes requests, asks `flow`, and encodes answers. Never here: a decision about events or
//! subscriptions, a write that does not go through `flow`, an outbound connection.

mod api;
mod auth;
mod body;
mod codes;
mod pages;
mod path;
mod probes;
mod problem;
mod query;
mod router;
mod routes;
mod select;
mod sessions;
mod setup;
mod sse;

pub(crate) use api::tokens::{check_room as check_token_room, parse as parse_token};
pub use codes::CODES;
pub use router::{Deps, router};
