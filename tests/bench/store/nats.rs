//! NATS JetStream, and how a client publishes to a stream of it and waits for the PubAck.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::event;
use crate::load::Dialogue;
use crate::peers::{Peer, free_port};

/// When JetStream brings what it acknowledges to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// `sync_interval: always`, which the server knows since 2.10.
    Always,
    /// The file system writes each `write` through (`chattr +S`): what comes closest before 2.10.
    Through,
    /// As it comes: every two minutes. An acknowledgement promises nothing then.
    Lazy,
}

/// What the installed server can do, the most durable first.
pub(crate) fn kinds(dir: &Path) -> anyhow::Result<Vec<Sync>> {
    let file = configuration(dir, 4_222, Sync::Always)?;
    let tested = Command::new("nats-server").arg("-t").arg("-c").arg(file).output()?;
    Ok(match tested.status.success() {
        true => vec![Sync::Always],
        false => vec![Sync::Through, Sync::Lazy],
    })
}

/// Starts a server with one stream kept in files.
pub(crate) async fn start(dir: &Path, sync: Sync) -> anyhow::Result<Peer> {
    let port = free_port()?;
    let file = configuration(dir, port, sync)?;
    if sync == Sync::Through {
        let status = Command::new("chattr").arg("+S").arg(dir).stderr(Stdio::null()).status()?;
        anyhow::ensure!(status.success(), "chattr +S is refused here");
    }
    let mut command = Command::new("nats-server");
    command.arg("-c").arg(file);
    let peer = Peer::start(command, SocketAddr::from(([127, 0, 0, 1], port))).await?;
    create_stream(peer.address)?;
    Ok(peer)
}

fn configuration(dir: &Path, port: u16, sync: Sync) -> anyhow::Result<std::path::PathBuf> {
    let interval = if sync == Sync::Always { ", sync_interval: always" } else { "" };
    let file = dir.join("nats.conf");
    let text = format!(
        "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {:?}{interval} }}\n",
        dir.join("data")
    );
    std::fs::write(&file, text)?;
    Ok(file)
}

fn create_stream(server: SocketAddr) -> anyhow::Result<()> {
    let mut socket = TcpStream::connect(server)?;
    let asked = json!({
        "name": "bench", "subjects": ["bench.>"], "storage": "file",
        "retention": "limits", "num_replicas": 1,
    })
    .to_string();
    write!(socket, "CONNECT {{\"verbose\":false}}\r\nSUB made 1\r\n")?;
    write!(socket, "PUB $JS.API.STREAM.CREATE.bench made {}\r\n{asked}\r\n", asked.len())?;
    for line in BufReader::new(socket).lines() {
        let line = line?;
        anyhow::ensure!(!line.starts_with("-ERR"), "{line}");
        if line.contains("stream_create_response") {
            anyhow::ensure!(!line.contains("\"error\""), "{line}");
            return Ok(());
        }
    }
    anyhow::bail!("the server closed the connection")
}

/// `PUB` with a reply subject.
pub(crate) struct Nats;

impl Dialogue for Nats {
    fn hello(&self, client: u32) -> Vec<u8> {
        format!("CONNECT {{\"verbose\":false}}\r\nSUB ack.{client} 1\r\nPING\r\n").into_bytes()
    }

    /// INFO comes unasked; PONG says that the rest was taken.
    fn welcomed(&self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        let found = bytes.windows(6).position(|six| six == b"PONG\r\n");
        Ok(found.map(|at| at + 6))
    }

    fn request(&self, client: u32, out: &mut Vec<u8>) {
        let head = format!("PUB bench.{client} ack.{client} {}\r\n", event::BYTES);
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&event::payload());
        out.extend_from_slice(b"\r\n");
    }

    /// `MSG ack.1 1 29\r\n{"stream":"bench", "seq":1}\r\n`, with PINGs of the server before it.
    fn answered(&self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        let line_end = |from: usize| {
            let rest = bytes.get(from..)?;
            Some(from + rest.windows(2).position(|two| two == b"\r\n")? + 2)
        };
        let mut start = 0;
        while let Some(end) = line_end(start) {
            let line = &bytes[start..end];
            if line != b"PING\r\n" {
                anyhow::ensure!(line.starts_with(b"MSG "), "{}", String::from_utf8_lossy(line));
                let Some(whole) = line_end(end) else { return Ok(None) };
                let body = String::from_utf8_lossy(&bytes[end..whole]);
                anyhow::ensure!(body.contains("\"seq\""), "{body}");
                return Ok(Some(whole));
            }
            start = end;
        }
        Ok(None)
    }
}
