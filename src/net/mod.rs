//! Layer 1: all sockets that are not MQTT's. Outbound ones are made in `dial` and nowhere else.

pub mod dial;
pub mod identity;
mod pools;
pub mod serve;
mod uplink;

/// What went wrong with a socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address to listen on is taken.
    #[error("{0} is in use by another process")]
    AddressInUse(std::net::SocketAddr),
    /// Listening failed for another reason.
    #[error("cannot listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// The certificates of targets' authorities cannot be read.
    #[error("{0}")]
    Roots(String),
}

impl Error {
    /// Says why listening failed.
    pub fn listen(address: std::net::SocketAddr, error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::AddrInUse => Self::AddressInUse(address),
            _ => Self::Listen(address, error),
        }
    }
}
