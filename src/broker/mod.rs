//! Layer 3: the MQTT front. It owns the sockets of MQTT clients, takes their messages to
//! `flow::Ingest` and follows the log to bring events to who asked for them.
//!
//! Never here: an acknowledgement before the event is durable, a message dropped in silence, a
//! file, an outbound socket, trust in what a client sent.

mod check;
mod decode;
mod encode;
mod fields;
mod front;
mod handshake;
mod inbound;
mod io;
mod mailbox;
mod outbound;
mod publish;
mod reason;
mod registry;
mod render;
mod router;
mod session;
mod subscriptions;
mod wire;

pub use front::{Deps, Front};

use std::net::SocketAddr;

/// Why the front cannot start or go on. All of them end the process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener cannot be had.
    #[error("cannot listen for MQTT on {listen}: {source}")]
    Bind {
        /// `mqtt.listen`.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The router cannot follow the log.
    #[error("the MQTT router cannot read the log: {0}")]
    Log(#[from] crate::store::Error),
    /// The router ended though nobody asked it to.
    #[error("the MQTT router ended")]
    RouterEnded,
}
