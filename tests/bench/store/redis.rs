//! Redis with `appendfsync always`, and how a client appends to a stream of it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::event;
use crate::load::Dialogue;
use crate::peers::{Peer, free_port};

/// Starts a server whose only file is the append-only one; it is never rewritten meanwhile.
pub(crate) async fn start(dir: &Path) -> anyhow::Result<Peer> {
    let port = free_port()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(dir);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
    command.args(["--auto-aof-rewrite-percentage", "0", "--loglevel", "warning"]);
    Peer::start(command, SocketAddr::from(([127, 0, 0, 1], port))).await
}

/// `XADD`: a stream is Redis' log.
pub(crate) struct Resp;

impl Dialogue for Resp {
    fn request(&self, _client: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nd\r\n");
        out.extend_from_slice(format!("${}\r\n", event::BYTES).as_bytes());
        out.extend_from_slice(&event::payload());
        out.extend_from_slice(b"\r\n");
    }

    /// `$15\r\n1700000000000-0\r\n`
    fn answered(&self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        let mut ends = bytes.windows(2).enumerate().filter(|(_, two)| *two == b"\r\n");
        let Some((first, _)) = ends.next() else { return Ok(None) };
        anyhow::ensure!(bytes[0] == b'$', "{}", String::from_utf8_lossy(&bytes[..first]));
        Ok(ends.next().map(|(second, _)| second + 2))
    }
}
